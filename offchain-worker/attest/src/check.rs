//! Does what a server signed hold together, and is it what a replay gives?
//!
//! An auditor has the head that a session's receipt root binds, the receipts behind it, and the rows that
//! either neighbour kept. In this order:
//!
//! 1. [`chain`]: the receipts are the server's whole chain, from position 0 to the head.
//! 2. [`boundary`]: the rows are those that the receipts commit to, at the span's entrance and exit.
//! 3. [`exact`]: the rows at the exit are, bit by bit, what a replay of the entrance gives. For
//!    profiles that give the same bits everywhere, any difference is proof.
//!
//! Signatures are the caller's to check: [`Receipt::payload`] says what is signed.

use crate::{Boundary, CommitError, Range};
use quipu_primitives::{
    receipt::ReceiptHead, Digest, NodeId, Receipt, SessionId, Span, RECEIPT_POSITIONS,
};

/// What all receipts of one server in one session must repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The session.
    pub session: SessionId,
    /// The server.
    pub node: NodeId,
    /// Its blocks.
    pub span: Span,
    /// Root of the subnet's weights.
    pub weights_root: Digest,
    /// Digest of its numeric profile.
    pub profile: Digest,
}

impl Service {
    /// What an honest server's receipts say of all that went in and came out, in their order.
    pub fn receipts(&self, input: Vec<Range>, output: Vec<Range>) -> Vec<Receipt> {
        let mut receipts: Vec<Receipt> = Vec::new();
        for (given, gave) in input.into_iter().zip(output) {
            receipts.push(Receipt {
                session: self.session,
                node: self.node,
                span: self.span,
                weights_root: self.weights_root,
                profile: self.profile,
                start: given.start,
                end: given.end,
                input: given.leaf,
                output: gave.leaf,
                previous: receipts.last().map(Receipt::digest).unwrap_or_default(),
            });
        }
        receipts
    }
}

/// Why receipts are not a server's chain. The server's fault, where the server signed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// One is for another session, server or span, or names other weights or another profile.
    #[error("the receipt from position {start} on is about something else")]
    Foreign {
        /// Where it starts.
        start: u32,
    },
    /// One does not begin where the one before it ends, or covers no range that may stand there.
    #[error(
        "a receipt from position {start} to {end} stands where one from {expected} on belongs"
    )]
    Range {
        /// The position that comes next.
        expected: u32,
        /// Where it starts.
        start: u32,
        /// One past its last position.
        end: u32,
    },
    /// One does not name the one before it.
    #[error("the receipt from position {start} on does not continue the one before it")]
    Broken {
        /// Where it starts.
        start: u32,
    },
    /// The head names other blocks, more or fewer positions, or another last receipt.
    #[error("the receipts up to position {positions} are not those of the head")]
    Head {
        /// Positions that the receipts cover.
        positions: u32,
    },
}

/// Are these the receipts behind the head, from the first to the last? Each covers
/// [`RECEIPT_POSITIONS`], but for the last, which may cover fewer.
pub fn chain(
    service: &Service,
    head: &ReceiptHead,
    receipts: &[Receipt],
) -> Result<(), ChainError> {
    let (mut previous, mut next) = (Digest::default(), 0);
    for (index, receipt) in receipts.iter().enumerate() {
        let (start, end) = (receipt.start, receipt.end);
        let about = Service {
            session: receipt.session,
            node: receipt.node,
            span: receipt.span,
            weights_root: receipt.weights_root,
            profile: receipt.profile,
        };
        if about != *service {
            return Err(ChainError::Foreign { start });
        }
        let is_last = index + 1 == receipts.len();
        let fits = match end.checked_sub(start) {
            Some(RECEIPT_POSITIONS) => true,
            Some(length) => is_last && (1..RECEIPT_POSITIONS).contains(&length),
            None => false,
        };
        if start != next || !fits {
            let expected = next;
            return Err(ChainError::Range {
                expected,
                start,
                end,
            });
        }
        if receipt.previous != previous {
            return Err(ChainError::Broken { start });
        }
        (previous, next) = (receipt.digest(), end);
    }
    let found = ReceiptHead {
        node: service.node,
        span: service.span,
        positions: next,
        head: previous,
    };
    match found == *head {
        true => Ok(()),
        false => Err(ChainError::Head { positions: next }),
    }
}

/// Which end of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What went in.
    Entrance,
    /// What came out.
    Exit,
}

/// Why rows are not those of the receipts. The fault of whoever handed them over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// They are no rows of this model.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The receipts commit to other rows.
    #[error("the rows of positions {start} to {end} are not those that were signed")]
    Other {
        /// First position.
        start: u32,
        /// One past the last.
        end: u32,
    },
    /// The receipts cover more or fewer positions.
    #[error("there are rows of {rows} positions where the receipts cover {positions}")]
    Count {
        /// Positions that the rows are of.
        rows: u32,
        /// Positions that the receipts cover.
        positions: u32,
    },
}

/// Are these the rows that the receipts commit to at one end of the span? `committed` is a boundary
/// that nothing has crossed yet, of the session and the block at that end.
pub fn boundary(
    committed: Boundary,
    end: End,
    receipts: &[Receipt],
    rows: &[u8],
) -> Result<(), RowsError> {
    let found = committed.all(rows)?;
    let positions = receipts.last().map_or(0, |last| last.end);
    let rows = found.last().map_or(0, |last| last.end);
    if rows != positions {
        return Err(RowsError::Count { rows, positions });
    }
    for (receipt, found) in receipts.iter().zip(found) {
        let (start, end_of_range) = (receipt.start, receipt.end);
        let leaf = match end {
            End::Entrance => receipt.input,
            End::Exit => receipt.output,
        };
        let signed = Range {
            start,
            end: end_of_range,
            leaf,
        };
        if signed != found {
            return Err(RowsError::Other {
                start,
                end: end_of_range,
            });
        }
    }
    Ok(())
}

/// The first position at which rows of so many bytes differ; one that only one side has differs.
pub fn exact(signed: &[u8], replayed: &[u8], row: usize) -> Option<u32> {
    let row = row.max(1);
    let mut pairs = signed.chunks(row).zip(replayed.chunks(row));
    let first = pairs.position(|(signed, replayed)| signed != replayed);
    let shorter = signed.len().min(replayed.len());
    let first = first.or((signed.len() != replayed.len()).then_some(shorter / row));
    first.map(|position| u32::try_from(position).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quipu_primitives::DType;

    const HIDDEN: u32 = 2;
    const ROW: usize = 8;

    fn service() -> Service {
        Service {
            session: 7,
            node: 3,
            span: Span { start: 10, end: 20 },
            weights_root: [1; 32],
            profile: [2; 32],
        }
    }

    fn at(end: End) -> Boundary {
        let Service { session, span, .. } = service();
        let block = match end {
            End::Entrance => span.start,
            End::Exit => span.end,
        };
        Boundary::new(session, block, HIDDEN, DType::F32).unwrap()
    }

    fn rows(positions: usize, salt: u8) -> Vec<u8> {
        (0..positions * ROW)
            .map(|i| (i % 251) as u8 ^ salt)
            .collect()
    }

    fn ranges(end: End, rows: &[u8]) -> Vec<Range> {
        at(end).all(rows).unwrap()
    }

    /// What an honest server signs about these rows.
    fn signed(input: &[u8], output: &[u8]) -> (ReceiptHead, Vec<Receipt>) {
        let given = ranges(End::Entrance, input);
        let receipts = service().receipts(given, ranges(End::Exit, output));
        (head_of(&receipts), receipts)
    }

    fn head_of(receipts: &[Receipt]) -> ReceiptHead {
        ReceiptHead {
            node: 3,
            span: service().span,
            positions: receipts.last().map_or(0, |last| last.end),
            head: receipts.last().map(Receipt::digest).unwrap_or_default(),
        }
    }

    /// Makes each receipt name the one before it again.
    fn chained(mut receipts: Vec<Receipt>) -> (ReceiptHead, Vec<Receipt>) {
        let mut previous = Digest::default();
        for receipt in &mut receipts {
            receipt.previous = previous;
            previous = receipt.digest();
        }
        (head_of(&receipts), receipts)
    }

    proptest! {
        #[test]
        fn what_is_honest_passes_whatever_its_length(positions in 0usize..100) {
            let (input, output) = (rows(positions, 1), rows(positions, 2));
            let (head, receipts) = signed(&input, &output);
            prop_assert_eq!(chain(&service(), &head, &receipts), Ok(()));
            prop_assert_eq!(boundary(at(End::Entrance), End::Entrance, &receipts, &input), Ok(()));
            prop_assert_eq!(boundary(at(End::Exit), End::Exit, &receipts, &output), Ok(()));
            prop_assert_eq!(exact(&output, &output, ROW), None);
        }

        #[test]
        fn a_bit_that_was_flipped_is_found_and_where(
            positions in 1usize..100,
            at_bit in any::<prop::sample::Index>(),
        ) {
            let output = rows(positions, 2);
            let (_, receipts) = signed(&rows(positions, 1), &output);
            let bit = at_bit.index(output.len() * 8);
            let mut other = output.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let position = (bit / 8 / ROW) as u32;
            prop_assert_eq!(exact(&output, &other, ROW), Some(position));
            let start = position / RECEIPT_POSITIONS * RECEIPT_POSITIONS;
            let end = (start + RECEIPT_POSITIONS).min(positions as u32);
            prop_assert_eq!(
                boundary(at(End::Exit), End::Exit, &receipts, &other),
                Err(RowsError::Other { start, end })
            );
        }
    }

    #[test]
    fn receipts_about_something_else_are_no_part_of_the_chain() {
        let (input, output) = (rows(40, 1), rows(40, 2));
        let (_, honest) = signed(&input, &output);
        let changes: [fn(&mut Receipt); 5] = [
            |it| it.session = 8,
            |it| it.node = 4,
            |it| it.span.end = 21,
            |it| it.weights_root[0] ^= 1,
            |it| it.profile[0] ^= 1,
        ];
        for change in changes {
            let mut receipts = honest.clone();
            change(&mut receipts[1]);
            let (head, receipts) = chained(receipts);
            assert_eq!(
                chain(&service(), &head, &receipts),
                Err(ChainError::Foreign { start: 32 })
            );
        }
    }

    #[test]
    fn a_gap_an_overlap_or_a_range_too_long_or_short_breaks_the_chain() {
        let (_, honest) = signed(&rows(96, 1), &rows(96, 2));
        let with = |index: usize, start, end| {
            let mut receipts = honest.clone();
            (receipts[index].start, receipts[index].end) = (start, end);
            let (head, receipts) = chained(receipts);
            chain(&service(), &head, &receipts)
        };
        let wrong = |expected, start, end| {
            Err(ChainError::Range {
                expected,
                start,
                end,
            })
        };
        assert_eq!(with(0, 1, 33), wrong(0, 1, 33));
        assert_eq!(with(1, 40, 72), wrong(32, 40, 72));
        assert_eq!(with(1, 0, 32), wrong(32, 0, 32));
        assert_eq!(
            with(1, 32, 63),
            wrong(32, 32, 63),
            "short, and not the last"
        );
        assert_eq!(with(1, 32, 65), wrong(32, 32, 65));
        assert_eq!(with(2, 64, 64), wrong(64, 64, 64));
        assert_eq!(with(2, 64, 60), wrong(64, 64, 60));
        assert_eq!(with(2, 64, 97), wrong(64, 64, 97));
        assert_eq!(with(2, 64, 95), Ok(()), "cut short at the end");
    }

    #[test]
    fn receipts_that_do_not_follow_on_each_other_are_not_one_chain() {
        let (head, honest) = signed(&rows(96, 1), &rows(96, 2));
        let mut broken = honest.clone();
        broken[1].previous[0] ^= 1;
        assert_eq!(
            chain(&service(), &head, &broken),
            Err(ChainError::Broken { start: 32 })
        );
        // A range that was signed anew changes everything behind it.
        let mut other = honest.clone();
        other[0].output[0] ^= 1;
        assert_eq!(
            chain(&service(), &head, &other),
            Err(ChainError::Broken { start: 32 })
        );
        let (_, other) = chained(other);
        assert_eq!(
            chain(&service(), &head, &other),
            Err(ChainError::Head { positions: 96 })
        );
        assert_eq!(
            chain(&service(), &head, &honest[..2]),
            Err(ChainError::Head { positions: 64 }),
            "the end was left out"
        );
        let foreign = ReceiptHead { node: 4, ..head };
        assert_eq!(
            chain(&service(), &foreign, &honest),
            Err(ChainError::Head { positions: 96 })
        );
        assert_eq!(
            chain(&service(), &head_of(&[]), &[]),
            Ok(()),
            "nothing was served"
        );
    }

    #[test]
    fn too_many_or_too_few_rows_are_not_those_that_were_signed() {
        let output = rows(40, 2);
        let (_, receipts) = signed(&rows(40, 1), &output);
        let check = |rows: &[u8]| boundary(at(End::Exit), End::Exit, &receipts, rows);
        assert_eq!(
            check(&output[..39 * ROW]),
            Err(RowsError::Count {
                rows: 39,
                positions: 40
            })
        );
        assert_eq!(
            check(&rows(41, 2)),
            Err(RowsError::Count {
                rows: 41,
                positions: 40
            })
        );
        assert_eq!(
            check(&output[..39]),
            Err(RowsError::Commit(CommitError::Rows { row: ROW, got: 39 }))
        );
        // Those of the other end are not these.
        assert_eq!(
            boundary(at(End::Entrance), End::Exit, &receipts, &output),
            Err(RowsError::Other { start: 0, end: 32 })
        );
    }

    #[test]
    fn a_row_that_only_one_side_has_differs() {
        let (long, short) = (rows(3, 0), rows(2, 0));
        assert_eq!(exact(&long, &short, ROW), Some(2));
        assert_eq!(exact(&short, &long, ROW), Some(2));
        assert_eq!(exact(&long[..20], &long, ROW), Some(2));
        assert_eq!(exact(&[], &[], ROW), None);
        assert_eq!(exact(&long, &long, 0), None);
    }
}
