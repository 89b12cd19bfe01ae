//! Judging what a server showed.
//!
//! | what is shown | verdict |
//! |---|---|
//! | nothing; not signed by the server; no whole chain of receipts; fewer positions than are paid for; other rows than were signed | `Withheld` |
//! | receipts that name other weights, blocks or another profile than the server's seat | `Fail` |
//! | rows whose replay gives other bits, on an exact profile | `Fail` |
//! | on another profile, rows that are farther from their replay than honest servers are: [`tolerance`] | `Fail` |
//! | rows that are a little too far; a pair of kernels that was not measured; rows that the model can't take | `Inconclusive` |
//! | rows whose replay gives the same, or on a profile that isn't exact nearly the same | `Pass` |

use super::{Question, Shown, Wrong};
use async_trait::async_trait;
use quipu_attest::{
    calibration::{Calibration, Pair},
    check::{self, ChainError, End, Service},
    tolerance::{self, Judgement, Spread},
    Boundary, CommitError,
};
use quipu_primitives::{
    audit::{Finding, Subject, Verdict},
    hash::hash_of,
    receipt::ReceiptHead,
    AccountBytes, DType, Digest, Leaf, NodeId, NumericProfile, Receipt,
};
use quipu_protocol::{activations::width, Activations, ActivationsHeader};
use quipu_worker_core::{ports::ComputeError, verify};

/// What the work should have been, as the chain has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Hash of the chain's genesis block.
    pub genesis: Digest,
    /// What all of the server's receipts must repeat.
    pub service: Service,
    /// The key of the session.
    pub session_key: AccountBytes,
    /// Keys that signed for the server since the session was opened.
    pub hotkeys: Vec<AccountBytes>,
    /// Positions that the server is paid for.
    pub paid: u32,
    /// What the server was to compute with.
    pub profile: NumericProfile,
    /// Numbers in a row.
    pub hidden: u32,
}

impl Case {
    /// Type of the rows.
    pub fn dtype(&self) -> DType {
        self.profile.activations
    }

    /// Bytes of a row.
    pub fn row(&self) -> usize {
        self.hidden as usize * width(self.dtype()).unwrap_or(0)
    }

    /// Bytes as rows, where they are whole ones.
    pub fn rows(&self, bytes: Vec<u8>) -> Option<Activations> {
        let tokens = bytes.len().checked_div(self.row())?;
        let header = ActivationsHeader {
            dtype: self.dtype(),
            tokens: u32::try_from(tokens).ok()?,
            hidden: self.hidden,
        };
        Activations::new(header, bytes.into()).ok()
    }

    /// One end of the server's span, which nothing has crossed yet.
    pub fn boundary(&self, end: End) -> Result<Boundary, CommitError> {
        let Service { session, span, .. } = self.service;
        let block = match end {
            End::Entrance => span.start,
            End::Exit => span.end,
        };
        Boundary::new(session, block, self.hidden, self.dtype())
    }
}

/// Judges what servers show.
#[async_trait]
pub trait Examiner: Send + Sync {
    /// What is to be said of it, and why.
    async fn examine(&self, case: Case, shown: Shown) -> (Finding, Reason);
    /// What is to be said of the answer to a job, the digest of the own one, and why.
    async fn examine_answer(&self, question: Question, ended: Ended) -> (Verdict, Digest, Reason);
}

/// What the servers at both ends of a session signed, as [inspected](inspect).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The session, and who answered with it.
    pub subject: Subject,
    /// What went into the first blocks.
    pub input: Activations,
    /// What came out of the last ones.
    pub output: Activations,
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The replay gives the same.
    #[error("the replay gives the same")]
    Same,
    /// No receipt was shown.
    #[error("no receipt was shown")]
    Nothing,
    /// A receipt is not signed by the server for this session.
    #[error("the receipt from position {0} on is not signed by the server")]
    Unsigned(u32),
    /// The receipts are no chain, or name something else than the server's seat.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The receipts cover fewer positions than are paid for.
    #[error("the receipts cover {positions} positions where {paid} are paid for")]
    Unpaid {
        /// Covered.
        positions: u32,
        /// Paid for.
        paid: u32,
    },
    /// Rows are not those that were signed.
    #[error("{0}")]
    Rows(check::RowsError),
    /// The model can't take what went in.
    #[error("what went in can't be replayed")]
    Unplayable,
    /// The replay gives something else from this position on.
    #[error("the replay gives something else at position {0}")]
    Differs(u32),
    /// Nobody measured how far honest servers of this kernel are apart.
    #[error(
        "the replay gives something else at position {0}, and there are no limits for such kernels"
    )]
    Unmeasured(u32),
    /// So far from the replay, which is judged so.
    #[error(
        "the replay is {:.1e} away at half of the positions, {:.1e} at a twentieth, {:.1e} at one: {judged:?} the limits",
        .spread.median, .spread.upper, .spread.most
    )]
    Off {
        /// How far.
        spread: Spread,
        /// What the limits say of it.
        judged: Judgement,
    },
    /// The answer follows from what the servers signed.
    #[error("the answer follows from what the servers signed")]
    Follows,
    /// The answer does not.
    #[error(transparent)]
    Answer(#[from] Wrong),
    /// A server, without whose work the answer can't be judged, does not show it whole.
    #[error("node {0}, who served the answer, does not show its work whole")]
    Others(NodeId),
    /// What the servers show is not what the session was settled with.
    #[error("the servers show other receipts than the session was settled with")]
    Unsettled,
}

/// Judges what was shown. `replay` runs rows of the positions from 0 on through the server's blocks, and gives
/// what comes out in the same type.
pub fn examine(
    case: &Case,
    shown: &Shown,
    replay: impl FnOnce(&[u8]) -> Result<Vec<u8>, ComputeError>,
) -> (Finding, Reason) {
    match inspect(case, shown) {
        Ok(head) => compare(case, shown, head, replay(&shown.input)),
        Err(found) => found,
    }
}

/// What can be judged without a replay: is it the work of the server, whole, and as it was signed? Gives the
/// head of its receipts if it is.
pub fn inspect(case: &Case, shown: &Shown) -> Result<Digest, (Finding, Reason)> {
    let nothing = Digest::default();
    let found = |verdict, head, reason| {
        let finding = Finding {
            verdict,
            head,
            projection: nothing,
        };
        Err((finding, reason))
    };
    let receipts: Vec<Receipt> = shown
        .receipts
        .iter()
        .map(|signed| signed.receipt.clone())
        .collect();
    let Some(last) = receipts.last() else {
        return found(Verdict::Withheld, nothing, Reason::Nothing);
    };
    for signed in &shown.receipts {
        let payload = signed.receipt.payload(&case.genesis, &case.session_key);
        let mut keys = case.hotkeys.iter();
        if !keys.any(|key| verify(key, &payload, &signed.signature)) {
            let reason = Reason::Unsigned(signed.receipt.start);
            return found(Verdict::Withheld, nothing, reason);
        }
    }
    // From here on it is known what the server stands for.
    let head = last.digest();
    let whole = ReceiptHead {
        node: case.service.node,
        span: case.service.span,
        positions: last.end,
        head,
    };
    match check::chain(&case.service, &whole, &receipts) {
        // It signed that it computed something else than it was paid for.
        Err(error @ ChainError::Foreign { .. }) => {
            return found(Verdict::Fail, head, error.into());
        }
        // What is missing may be there.
        Err(error) => return found(Verdict::Withheld, head, error.into()),
        Ok(()) => {}
    }
    if last.end < case.paid {
        let (positions, paid) = (last.end, case.paid);
        let reason = Reason::Unpaid { positions, paid };
        return found(Verdict::Withheld, head, reason);
    }
    for (end, rows) in [(End::Entrance, &shown.input), (End::Exit, &shown.output)] {
        let checked = case
            .boundary(end)
            .map_err(check::RowsError::from)
            .and_then(|committed| check::boundary(committed, end, &receipts, rows));
        if let Err(error) = checked {
            return found(Verdict::Withheld, head, Reason::Rows(error));
        }
    }
    Ok(head)
}

/// What a replay says of work that was [inspected](inspect), with the head that this gave.
pub fn compare(
    case: &Case,
    shown: &Shown,
    head: Digest,
    replayed: Result<Vec<u8>, ComputeError>,
) -> (Finding, Reason) {
    let (verdict, reason, projection) = match replayed {
        Err(_) => (Verdict::Inconclusive, Reason::Unplayable, Digest::default()),
        Ok(replayed) => {
            let (verdict, reason) = match check::exact(&shown.output, &replayed, case.row()) {
                None => (Verdict::Pass, Reason::Same),
                Some(position) if case.profile.kernel.is_exact() => {
                    (Verdict::Fail, Reason::Differs(position))
                }
                Some(position) => tolerate(case, shown, &replayed, position),
            };
            (verdict, reason, projection(case, &replayed))
        }
    };
    let finding = Finding {
        verdict,
        head,
        projection,
    };
    (finding, reason)
}

/// What is to be said of rows that are not the replay's, bit by bit, from this position on.
fn tolerate(case: &Case, shown: &Shown, replayed: &[u8], position: u32) -> (Verdict, Reason) {
    let kernel = case.profile.kernel;
    let pair = Pair {
        signed: kernel,
        replayed: kernel,
        activations: case.dtype(),
    };
    let Some(limits) = Calibration::committed().limits(pair) else {
        return (Verdict::Inconclusive, Reason::Unmeasured(position));
    };
    let distances = || {
        let (input, replayed) = (numbers(case, &shown.input)?, numbers(case, replayed)?);
        // No model gives what is no number: such rows are infinitely far away.
        let nowhere = || vec![f32::NAN; replayed.len()];
        let signed = numbers(case, &shown.output).unwrap_or_else(nowhere);
        tolerance::distances(&input, &signed, &replayed, case.hidden as usize)
    };
    let Some(distances) = distances() else {
        return (Verdict::Inconclusive, Reason::Unplayable);
    };
    let spread = Spread::of(&distances);
    let judged = limits.judge(&spread);
    let verdict = match judged {
        Judgement::Within => Verdict::Pass,
        Judgement::Between => Verdict::Inconclusive,
        Judgement::Beyond => Verdict::Fail,
    };
    (verdict, Reason::Off { spread, judged })
}

/// Rows as numbers. `None` for what is none.
fn numbers(case: &Case, rows: &[u8]) -> Option<Vec<f32>> {
    case.rows(rows.to_vec())?.to_f32().ok()
}

/// What an auditor says of its own replay: a digest over what it would have committed to as the server. Zeros
/// where that can't be committed to.
pub fn projection(case: &Case, replayed: &[u8]) -> Digest {
    let Service { session, node, .. } = case.service;
    let committed = case.boundary(End::Exit);
    let ranges = committed.and_then(|committed| committed.all(replayed));
    let subject = Subject { session, node };
    ranges.map_or(Digest::default(), |ranges| {
        let leaves: Vec<Leaf> = ranges.into_iter().map(|range| range.leaf).collect();
        hash_of(b"quipu/audit-projection/1", &(subject, leaves))
    })
}

#[cfg(test)]
mod tests;
