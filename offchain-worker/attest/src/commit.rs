//! From activations to leaves, row by row.

use blake2::{digest::consts::U32, Blake2b, Digest as _};
use quipu_primitives::{hash::hash_of, DType, Leaf, SessionId, RECEIPT_POSITIONS};

/// A complete range with its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First position.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// The commitment.
    pub leaf: Leaf,
}

/// Why rows were not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The bytes are no whole number of rows.
    #[error("{got} bytes are no whole number of rows of {row} bytes")]
    Rows {
        /// Bytes of a row.
        row: usize,
        /// Bytes given.
        got: usize,
    },
    /// The type is never sent.
    #[error("activations can't be committed to as {0:?}")]
    Type(DType),
}

/// Commits to what crosses one boundary in one session, cut into ranges of [`RECEIPT_POSITIONS`].
#[derive(Clone, Debug)]
pub struct Boundary {
    session: SessionId,
    boundary: u16,
    hidden: u32,
    dtype: DType,
    row: usize,
    start: u32,
    next: u32,
    bytes: Blake2b<U32>,
}

impl Boundary {
    /// A boundary nothing has crossed yet. `hidden` numbers of `dtype` make a row.
    pub fn new(
        session: SessionId,
        boundary: u16,
        hidden: u32,
        dtype: DType,
    ) -> Result<Self, CommitError> {
        let width = match dtype {
            DType::F32 => 4,
            DType::F16 | DType::Bf16 => 2,
            other => return Err(CommitError::Type(other)),
        };
        Ok(Boundary {
            session,
            boundary,
            hidden,
            dtype,
            row: width * hidden as usize,
            start: 0,
            next: 0,
            bytes: Blake2b::new(),
        })
    }

    /// The next position that is expected.
    pub fn position(&self) -> u32 {
        self.next
    }

    /// Takes the rows of the next positions, and gives the ranges that they complete, in order.
    pub fn push(&mut self, rows: &[u8]) -> Result<Vec<Range>, CommitError> {
        if self.row == 0 || !rows.len().is_multiple_of(self.row) {
            return Err(CommitError::Rows {
                row: self.row,
                got: rows.len(),
            });
        }
        let mut complete = Vec::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let room = (RECEIPT_POSITIONS - (self.next - self.start)) as usize;
            let take = room.min(rest.len() / self.row);
            let (now, later) = rest.split_at(take * self.row);
            self.bytes.update(now);
            self.next += take as u32;
            rest = later;
            if self.next - self.start == RECEIPT_POSITIONS {
                complete.extend(self.cut());
            }
        }
        Ok(complete)
    }

    /// Takes the rows of all positions that are still to come, and gives their ranges: the last of them ends with
    /// the rows.
    pub fn all(mut self, rows: &[u8]) -> Result<Vec<Range>, CommitError> {
        let mut ranges = self.push(rows)?;
        ranges.extend(self.cut());
        Ok(ranges)
    }

    /// Ends the range that is open, if any position is in it: the last of a session.
    pub fn cut(&mut self) -> Option<Range> {
        if self.next == self.start {
            return None;
        }
        let bytes: [u8; 32] = self.bytes.finalize_reset().into();
        let leaf = hash_of(
            b"quipu/leaf/1",
            &(
                self.session,
                self.boundary,
                self.start,
                self.next,
                self.hidden,
                self.dtype,
                bytes,
            ),
        );
        let range = Range {
            start: self.start,
            end: self.next,
            leaf,
        };
        self.start = self.next;
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boundary(session: SessionId, boundary: u16) -> Boundary {
        Boundary::new(session, boundary, 2, DType::F32).unwrap()
    }

    /// Rows of 8 bytes for these many positions.
    fn rows(positions: usize) -> Vec<u8> {
        (0..positions * 8).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn ranges_end_every_32_positions_and_at_the_end() {
        let mut commit = boundary(1, 10);
        let first = commit.push(&rows(33)).unwrap();
        assert_eq!(
            first.iter().map(|r| (r.start, r.end)).collect::<Vec<_>>(),
            [(0, 32)]
        );
        let last = commit.cut().unwrap();
        assert_eq!((last.start, last.end), (32, 33));
        assert_eq!(commit.cut(), None);
    }

    #[test]
    fn a_leaf_binds_session_boundary_positions_and_bytes() {
        let leaf = |session, at, bytes: &[u8]| {
            boundary(session, at)
                .push(bytes)
                .unwrap()
                .first()
                .map(|range| range.leaf)
        };
        let bytes = rows(32);
        let one = leaf(1, 10, &bytes);
        assert_ne!(one, leaf(2, 10, &bytes));
        assert_ne!(one, leaf(1, 11, &bytes));
        let mut other = bytes.clone();
        other[255] ^= 1;
        assert_ne!(one, leaf(1, 10, &other));
        let mut second = boundary(1, 10);
        second.push(&bytes).unwrap();
        assert_ne!(
            one,
            second.push(&bytes).unwrap().first().map(|range| range.leaf)
        );
    }

    #[test]
    fn partial_rows_are_refused_and_change_nothing() {
        let mut commit = boundary(1, 10);
        assert_eq!(
            commit.push(&[0; 9]),
            Err(CommitError::Rows { row: 8, got: 9 })
        );
        assert_eq!(commit.position(), 0);
        assert!(Boundary::new(1, 1, 2, DType::Q4_1).is_err());
    }

    proptest! {
        /// However the rows are cut into steps, the leaves are the same.
        #[test]
        fn leaves_do_not_depend_on_the_steps(steps in proptest::collection::vec(1usize..70, 1..8)) {
            let total: usize = steps.iter().sum();
            let bytes = rows(total);
            let expected = boundary(3, 7).all(&bytes).unwrap();
            let mut stepped = boundary(3, 7);
            let mut got = Vec::new();
            let mut at = 0;
            for step in steps {
                got.extend(stepped.push(&bytes[at * 8..(at + step) * 8]).unwrap());
                at += step;
            }
            got.extend(stepped.cut());
            prop_assert_eq!(got, expected);
        }
    }
}
