//! What the server signed about a session, and what it will sign next.
//!
//! The activations of the positions in the cache are committed to as they pass. A range of 32 is
//! signed when it is full; the range that is still open is not. When the cache is lost, two things
//! stay: the signed ranges, whose inputs a replay must bring again, and, within an epoch, the
//! commitment to the open range as it was first handed out.
//!
//! The rows themselves are kept until their range is signed, and given out with the receipt: whoever
//! audits the server asks for what it signed, not for what it would compute again.

use super::Identity;
use bytes::Bytes;
use quipu_attest::{Boundary, CommitError, Range};
use quipu_primitives::{
    receipt::ReceiptHead, AccountBytes, Digest, Receipt, SessionId, RECEIPT_POSITIONS,
};
use quipu_protocol::SignedReceipt;

/// Why rows can't continue the sequence. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The range was signed with other inputs.
    #[error("positions {start} to {end} of this session were signed with other inputs")]
    Signed {
        /// First position.
        start: u32,
        /// One past the last.
        end: u32,
    },
    /// The open range was answered with other inputs in this epoch.
    #[error("positions {start} to {end} had other inputs before; begin a higher epoch")]
    Handed {
        /// First position.
        start: u32,
        /// One past the last.
        end: u32,
    },
    /// No rows of this model.
    #[error(transparent)]
    Rows(#[from] CommitError),
}

/// The rows that a receipt commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// First position.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// What went in.
    pub input: Bytes,
    /// What came out.
    pub output: Bytes,
}

/// A receipt, and the rows behind it.
pub type Signed = (SignedReceipt, Evidence);

/// Rows of the range that is open.
#[derive(Clone, Debug, Default)]
struct Rows {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Rows {
    /// Takes those of the range out.
    fn cut(&mut self, range: &Range, row: usize) -> Evidence {
        let length = (range.end - range.start) as usize * row;
        let cut = |rows: &mut Vec<u8>| {
            let behind = rows.split_off(length.min(rows.len()));
            Bytes::from(std::mem::replace(rows, behind))
        };
        Evidence {
            start: range.start,
            end: range.end,
            input: cut(&mut self.input),
            output: cut(&mut self.output),
        }
    }
}

/// Both ends of the span, up to the same position.
#[derive(Clone, Debug)]
struct Ends {
    input: Boundary,
    output: Boundary,
    /// From the last position that is signed on.
    open: Rows,
}

impl Ends {
    fn new(me: &Identity, session: SessionId) -> Self {
        let boundary = |at| {
            Boundary::new(session, at, me.hidden, me.wire())
                .expect("what is sent can be committed to; qed")
        };
        Ends {
            input: boundary(me.span.start),
            output: boundary(me.span.end),
            open: Rows::default(),
        }
    }
}

/// The input of a step, committed to but not yet computed.
#[derive(Clone, Debug)]
pub struct Prepared {
    input: Boundary,
    /// Ranges that the step completes and that are not signed yet.
    pub ranges: Vec<Range>,
    /// Bytes of the first rows, when they bring a replay to the point where the cache was lost.
    known: Option<usize>,
    /// The rows.
    rows: Bytes,
}

/// The commitments of one session at one server.
#[derive(Clone, Debug)]
pub struct Commitments {
    session: SessionId,
    session_key: AccountBytes,
    signed: Vec<SignedReceipt>,
    now: Ends,
    kept: Option<Ends>,
}

impl Commitments {
    /// Nothing has passed, but `signed` was signed before, in the session with this key.
    pub fn new(
        me: &Identity,
        session: SessionId,
        session_key: AccountBytes,
        signed: Vec<SignedReceipt>,
    ) -> Self {
        Commitments {
            session,
            session_key,
            signed,
            now: Ends::new(me, session),
            kept: None,
        }
    }

    /// The key of the session.
    pub fn session_key(&self) -> &AccountBytes {
        &self.session_key
    }

    /// Positions in the cache.
    pub fn position(&self) -> u32 {
        self.now.input.position()
    }

    /// Positions that [`Commitments::finish`] will have signed.
    pub fn end(&self) -> u32 {
        let open = self.kept.as_ref().unwrap_or(&self.now);
        open.input.position().max(self.signed_end())
    }

    /// Everything that was signed, in order.
    pub fn signed(&self) -> &[SignedReceipt] {
        &self.signed
    }

    /// One past the last position that was signed.
    pub fn signed_end(&self) -> u32 {
        self.signed.last().map_or(0, |last| last.receipt.end)
    }

    /// The end of this server's chain of receipts.
    pub fn head(&self, me: &Identity) -> ReceiptHead {
        ReceiptHead {
            node: me.node,
            span: me.span,
            positions: self.signed_end(),
            head: self.previous(),
        }
    }

    /// Was the last receipt cut short, as only the end of a session does?
    pub fn is_cut(&self) -> bool {
        self.signed
            .last()
            .is_some_and(|last| last.receipt.end - last.receipt.start < RECEIPT_POSITIONS)
    }

    fn previous(&self) -> Digest {
        self.signed
            .last()
            .map(|last| last.receipt.digest())
            .unwrap_or_default()
    }

    /// The cache is lost. With `same_epoch`, the open range stays as it was handed out.
    pub fn restart(&mut self, me: &Identity, same_epoch: bool) {
        let lost = std::mem::replace(&mut self.now, Ends::new(me, self.session));
        if !same_epoch {
            self.kept = None;
        } else if self.kept.is_none() && lost.input.position() > self.signed_end() {
            self.kept = Some(lost);
        }
    }

    /// Commits to the rows of the next positions, provisionally: nothing changes until
    /// [`Commitments::complete`].
    pub fn prepare(&self, rows: Bytes, row: usize) -> Result<Prepared, Mismatch> {
        let mut input = self.now.input.clone();
        let end = u64::from(input.position()) + rows.len().checked_div(row).unwrap_or(0) as u64;
        let kept = self
            .kept
            .as_ref()
            .filter(|kept| u64::from(kept.input.position()) <= end);
        let Some(kept) = kept else {
            let ranges = self.unsigned(input.push(&rows)?)?;
            return Ok(Prepared {
                input,
                ranges,
                known: None,
                rows,
            });
        };
        let known = (kept.input.position() - input.position()) as usize * row;
        let (old, new) = rows.split_at(known.min(rows.len()));
        self.unsigned(input.push(old)?)?;
        if input.clone().cut() != kept.input.clone().cut() {
            let (start, end) = (self.signed_end(), kept.input.position());
            return Err(Mismatch::Handed { start, end });
        }
        let ranges = self.unsigned(input.push(new)?)?;
        Ok(Prepared {
            input,
            ranges,
            known: Some(known),
            rows,
        })
    }

    /// Takes the signed ranges out, after comparing them.
    fn unsigned(&self, ranges: Vec<Range>) -> Result<Vec<Range>, Mismatch> {
        let mut rest = Vec::new();
        for range in ranges {
            let signed = self.signed.get((range.start / RECEIPT_POSITIONS) as usize);
            match signed.map(|signed| &signed.receipt) {
                None => rest.push(range),
                Some(receipt) if (receipt.input, receipt.end) == (range.leaf, range.end) => {}
                Some(_) => {
                    return Err(Mismatch::Signed {
                        start: range.start,
                        end: range.end,
                    })
                }
            }
        }
        Ok(rest)
    }

    /// The step was computed: signs the ranges that it completes.
    pub fn complete(
        &mut self,
        me: &Identity,
        prepared: Prepared,
        rows: &[u8],
    ) -> Result<Vec<Signed>, CommitError> {
        let (open, known) = match (prepared.known, &self.kept) {
            (Some(known), Some(kept)) => (kept, known),
            _ => (&self.now, 0),
        };
        let mut output = open.output.clone();
        let (given, gave) = (rest(&prepared.rows, known), rest(rows, known));
        // What was signed before is kept as it was.
        let signed_end = self.signed_end();
        let again = signed_end.saturating_sub(output.position()) as usize * me.row();
        let outputs = output
            .push(gave)?
            .into_iter()
            .filter(|range| range.start >= signed_end);
        let pairs: Vec<(Range, Range)> = prepared.ranges.into_iter().zip(outputs).collect();
        let mut open = match (prepared.known, self.kept.as_mut()) {
            (Some(_), Some(kept)) => std::mem::take(&mut kept.open),
            _ => std::mem::take(&mut self.now.open),
        };
        open.input.extend_from_slice(rest(given, again));
        open.output.extend_from_slice(rest(gave, again));
        if prepared.known.is_some() {
            self.kept = None;
        }
        let signed = pairs
            .into_iter()
            .map(|(input, output)| {
                let evidence = open.cut(&input, me.row());
                (self.sign(me, input, output), evidence)
            })
            .collect();
        self.now = Ends {
            input: prepared.input,
            output,
            open,
        };
        Ok(signed)
    }

    /// The session ends here: signs the open range, if there is one.
    pub fn finish(&mut self, me: &Identity) -> Option<Signed> {
        let Ends {
            mut input,
            mut output,
            mut open,
        } = match self.kept.take() {
            Some(kept) => kept,
            None => self.now.clone(),
        };
        if input.position() <= self.signed_end() {
            return None;
        }
        let (input, output) = (input.cut()?, output.cut()?);
        let evidence = open.cut(&input, me.row());
        Some((self.sign(me, input, output), evidence))
    }

    fn sign(&mut self, me: &Identity, input: Range, output: Range) -> SignedReceipt {
        let receipt = Receipt {
            session: self.session,
            node: me.node,
            span: me.span,
            weights_root: me.weights_root,
            profile: me.profile,
            start: input.start,
            end: input.end,
            input: input.leaf,
            output: output.leaf,
            previous: self.previous(),
        };
        let signature = me
            .signer
            .sign(&receipt.payload(&me.genesis, &self.session_key));
        let signed = SignedReceipt { receipt, signature };
        self.signed.push(signed.clone());
        signed
    }
}

/// The rows behind the first so many bytes.
fn rest(rows: &[u8], skip: usize) -> &[u8] {
    rows.get(skip..).unwrap_or(&[])
}
