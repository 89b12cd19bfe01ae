//! Judging what a server showed.
//!
//! | what is shown | verdict |
//! |---|---|
//! | nothing; not signed by the server; no whole chain of receipts; fewer positions than are paid for; other rows than were signed | `Withheld` |
//! | receipts that name other weights, blocks or another profile than the server's seat | `Fail` |
//! | rows whose replay gives other bits, on an exact profile | `Fail` |
//! | rows whose replay gives other bits, on another profile; rows that the model can't take | `Inconclusive` |
//! | rows whose replay gives the same | `Pass` |

use super::Shown;
use quipu_attest::{
    check::{self, ChainError, End, Service},
    Boundary,
};
use quipu_primitives::{
    audit::{Finding, Subject, Verdict},
    hash::hash_of,
    receipt::ReceiptHead,
    AccountBytes, DType, Digest, Leaf, Receipt,
};
use quipu_protocol::activations::width;
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
    /// Type of the rows.
    pub dtype: DType,
    /// Numbers in a row.
    pub hidden: u32,
    /// Does the profile promise the same bits?
    pub exact: bool,
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
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
        let checked = boundary(case, end)
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
            let row = case.hidden as usize * width(case.dtype).unwrap_or(0);
            let (verdict, reason) = match check::exact(&shown.output, &replayed, row) {
                None => (Verdict::Pass, Reason::Same),
                Some(position) if case.exact => (Verdict::Fail, Reason::Differs(position)),
                Some(position) => (Verdict::Inconclusive, Reason::Differs(position)),
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

fn boundary(case: &Case, end: End) -> Result<Boundary, quipu_attest::CommitError> {
    let Service { session, span, .. } = case.service;
    let block = match end {
        End::Entrance => span.start,
        End::Exit => span.end,
    };
    Boundary::new(session, block, case.hidden, case.dtype)
}

/// What an auditor says of its own replay: a digest over what it would have committed to as the server. Zeros
/// where that can't be committed to.
pub fn projection(case: &Case, replayed: &[u8]) -> Digest {
    let Service { session, node, .. } = case.service;
    let leaves = boundary(case, End::Exit).and_then(|mut committed| {
        let mut ranges = committed.push(replayed)?;
        ranges.extend(committed.cut());
        Ok(ranges
            .into_iter()
            .map(|range| range.leaf)
            .collect::<Vec<Leaf>>())
    });
    let subject = Subject { session, node };
    leaves.map_or(Digest::default(), |leaves| {
        hash_of(b"quipu/audit-projection/1", &(subject, leaves))
    })
}

#[cfg(test)]
mod tests;
