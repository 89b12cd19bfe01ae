//! What the server signed about a session, and what it will sign next.
//!
//! The activations of the positions in the cache are committed to as they pass. A range of 32 is
//! signed when it is full; the range that is still open is not. When the cache is lost, two things
//! stay: the signed ranges, whose inputs a replay must bring again, and, within an epoch, the
//! commitment to the open range as it was first handed out.

use super::Identity;
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

/// Both ends of the span, up to the same position.
#[derive(Clone, Debug)]
struct Ends {
    input: Boundary,
    output: Boundary,
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
    pub fn prepare(&self, rows: &[u8], row: usize) -> Result<Prepared, Mismatch> {
        let mut input = self.now.input.clone();
        let end = u64::from(input.position()) + rows.len().checked_div(row).unwrap_or(0) as u64;
        let kept = self
            .kept
            .as_ref()
            .filter(|kept| u64::from(kept.input.position()) <= end);
        let Some(kept) = kept else {
            let ranges = self.unsigned(input.push(rows)?)?;
            return Ok(Prepared {
                input,
                ranges,
                known: None,
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
    ) -> Result<Vec<SignedReceipt>, CommitError> {
        let (mut output, rows) = match (prepared.known, &self.kept) {
            (Some(known), Some(kept)) => (kept.output.clone(), rows.get(known..).unwrap_or(&[])),
            _ => (self.now.output.clone(), rows),
        };
        let end = self.signed_end();
        let outputs = output
            .push(rows)?
            .into_iter()
            .filter(|range| range.start >= end);
        let pairs: Vec<(Range, Range)> = prepared.ranges.into_iter().zip(outputs).collect();
        self.now = Ends {
            input: prepared.input,
            output,
        };
        if prepared.known.is_some() {
            self.kept = None;
        }
        Ok(pairs
            .into_iter()
            .map(|(input, output)| self.sign(me, input, output))
            .collect())
    }

    /// The session ends here: signs the open range, if there is one.
    pub fn finish(&mut self, me: &Identity) -> Option<SignedReceipt> {
        let Ends {
            mut input,
            mut output,
        } = match self.kept.take() {
            Some(kept) => kept,
            None => self.now.clone(),
        };
        if input.position() <= self.signed_end() {
            return None;
        }
        let (input, output) = (input.cut()?, output.cut()?);
        Some(self.sign(me, input, output))
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
