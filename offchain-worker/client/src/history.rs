//! What crossed each boundary of the chain, kept until the session ends, for fail-over.

use bytes::Bytes;
use quipu_primitives::DType;
use quipu_protocol::{activations::width, Activations, ActivationsHeader, SignedReceipt};
use std::collections::BTreeMap;

/// The rows at every boundary in use, and how positions were cut into steps. The boundary of
/// block 0 has what goes in; the one behind the last block has what comes out.
#[derive(Clone, Debug)]
pub struct History {
    hidden: u32,
    dtype: DType,
    row: usize,
    steps: Vec<u32>,
    boundaries: BTreeMap<u16, Vec<u8>>,
    receipts: BTreeMap<u16, Vec<SignedReceipt>>,
}

impl History {
    /// Of `hidden` numbers of a type in a row. Nothing has crossed yet.
    pub fn new(hidden: u32, dtype: DType) -> Self {
        History {
            hidden,
            dtype,
            row: hidden as usize * width(dtype).unwrap_or(0),
            steps: Vec::new(),
            boundaries: BTreeMap::new(),
            receipts: BTreeMap::new(),
        }
    }

    /// A step of so many positions enters block 0.
    pub fn begin(&mut self, input: &Activations) {
        self.steps.push(input.header.tokens);
        self.append(0, &input.bytes);
    }

    /// Whole rows crossed a boundary.
    pub fn append(&mut self, boundary: u16, rows: &[u8]) {
        self.boundaries
            .entry(boundary)
            .or_default()
            .extend_from_slice(rows);
    }

    /// Only the first positions are left at every boundary: the last step had drafted ones behind
    /// them, which do not count.
    pub fn keep(&mut self, positions: u32) {
        let surplus = self.positions().saturating_sub(positions);
        if let Some(last) = self.steps.last_mut() {
            *last = last.saturating_sub(surplus);
        }
        for rows in self.boundaries.values_mut() {
            rows.truncate(positions as usize * self.row);
        }
    }

    /// Forgets what crossed a boundary behind its first `positions`, but for what there are receipts for:
    /// who gave it failed, and nobody was given it.
    pub fn forget_unseen(&mut self, boundary: u16, positions: u32) {
        let vouched = self
            .receipts(boundary)
            .last()
            .map_or(0, |last| last.receipt.end);
        let kept = positions.max(vouched) as usize * self.row;
        if let Some(rows) = self.boundaries.get_mut(&boundary) {
            rows.truncate(kept);
        }
    }

    /// The partition of the positions into steps.
    pub fn steps(&self) -> &[u32] {
        &self.steps
    }

    /// The positions of the step that begins at `position`, if one does.
    pub fn step_at(&self, position: u32) -> Option<u32> {
        let mut begin = self.positions();
        for step in self.steps.iter().rev() {
            begin = begin.saturating_sub(*step);
            if begin <= position {
                return (begin == position && *step > 0).then_some(*step);
            }
        }
        None
    }

    /// Positions that entered block 0.
    pub fn positions(&self) -> u32 {
        self.crossed(0)
    }

    /// Positions that crossed a boundary.
    pub fn crossed(&self, boundary: u16) -> u32 {
        (self.rows(boundary).len() / self.row.max(1)) as u32
    }

    /// The rows of some positions at a boundary, once all of them crossed it.
    pub fn rows_of(&self, boundary: u16, position: u32, count: u32) -> Option<&[u8]> {
        let (begin, end) = (position as usize, position as usize + count as usize);
        self.rows(boundary).get(begin * self.row..end * self.row)
    }

    /// Every row that crossed a boundary, `[positions, hidden]`.
    pub fn rows(&self, boundary: u16) -> &[u8] {
        self.boundaries.get(&boundary).map_or(&[], Vec::as_slice)
    }

    /// The rows of the last step at a boundary that it has crossed.
    pub fn last_step(&self, boundary: u16) -> &[u8] {
        let tokens = self.steps.last().copied().unwrap_or(0);
        let rows = self.rows(boundary);
        rows.get(rows.len().saturating_sub(tokens as usize * self.row)..)
            .unwrap_or(&[])
    }

    /// Takes the receipts of a server that gives out at a boundary, as far as they continue those
    /// that are there and cover rows that crossed it.
    pub fn absorb(&mut self, boundary: u16, receipts: &[SignedReceipt]) {
        let crossed = self.crossed(boundary);
        let known = self.receipts.entry(boundary).or_default();
        let covered = known.last().map_or(0, |last| last.receipt.end);
        let old = receipts.partition_point(|signed| signed.receipt.start < covered);
        for signed in receipts.iter().skip(old) {
            let next = known.last().map_or(0, |last| last.receipt.end);
            if signed.receipt.start == next && signed.receipt.end <= crossed {
                known.push(signed.clone());
            }
        }
    }

    /// The receipts for what crossed a boundary, in order, each by the server that gave it.
    pub fn receipts(&self, boundary: u16) -> &[SignedReceipt] {
        self.receipts.get(&boundary).map_or(&[], Vec::as_slice)
    }

    /// The rows at a boundary for which there are receipts.
    pub fn vouched_rows(&self, boundary: u16) -> &[u8] {
        let end = self
            .receipts(boundary)
            .last()
            .map_or(0, |last| last.receipt.end);
        let rows = self.rows(boundary);
        rows.get(..end as usize * self.row).unwrap_or(rows)
    }

    /// Forgets the boundaries between `from` and `to`, both exclusive: no server ends there now.
    pub fn forget_between(&mut self, from: u16, to: u16) {
        self.boundaries
            .retain(|boundary, _| *boundary <= from || *boundary >= to);
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.row
    }

    /// Rows as activations.
    pub fn activations(&self, rows: &[u8]) -> Activations {
        let tokens = rows.len().checked_div(self.row).unwrap_or(0) as u32;
        Activations {
            header: ActivationsHeader {
                dtype: self.dtype,
                tokens,
                hidden: self.hidden,
            },
            bytes: Bytes::copy_from_slice(rows),
        }
    }
}

/// The first row at which two runs of rows (of `row` bytes each, of numbers of a type) differ, as far
/// as both go. With a tolerance of 0 they must be the same bits; otherwise the root mean square of a
/// row's difference may be that part of the row's own.
pub fn first_difference(
    known: &[u8],
    got: &[u8],
    row: usize,
    dtype: DType,
    tolerance: f64,
) -> Option<u32> {
    let mut pairs = known
        .chunks_exact(row.max(1))
        .zip(got.chunks_exact(row.max(1)));
    let agree = |(known, got): (&[u8], &[u8])| {
        if known == got || tolerance <= 0.0 {
            return known == got;
        }
        let (Some(known), Some(got)) = (numbers(known, dtype), numbers(got, dtype)) else {
            return false;
        };
        let (mut difference, mut size) = (0.0, 0.0);
        for (known, got) in known.into_iter().zip(got) {
            difference += (known - got).powi(2);
            size += known.powi(2);
        }
        difference <= tolerance * tolerance * size
    };
    pairs.position(|pair| !agree(pair)).map(|row| row as u32)
}

/// The numbers of a row; `None` for one that is not of finite numbers of the type, which is then
/// unlike every other.
fn numbers(row: &[u8], dtype: DType) -> Option<Vec<f64>> {
    let header = ActivationsHeader {
        dtype,
        tokens: 1,
        hidden: (row.len() / width(dtype).unwrap_or(1)) as u32,
    };
    let row = Activations::new(header, Bytes::copy_from_slice(row));
    let numbers = row.and_then(|row| row.to_f32()).ok()?;
    Some(numbers.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_by_boundary_and_step() {
        let mut history = History::new(1, DType::F32);
        let rows = |values: &[f32]| Activations::from_f32(values, 1).unwrap();
        history.begin(&rows(&[1.0, 2.0]));
        history.append(4, &rows(&[3.0, 4.0]).bytes);
        history.begin(&rows(&[5.0]));
        assert_eq!((history.steps(), history.positions()), (&[2, 1][..], 3));
        assert_eq!(history.last_step(0), rows(&[5.0]).bytes);
        assert_eq!(history.rows(4), rows(&[3.0, 4.0]).bytes);
        assert_eq!(history.rows(9), &[] as &[u8]);
        assert_eq!(history.activations(history.rows(0)), rows(&[1.0, 2.0, 5.0]));
    }

    #[test]
    fn a_step_is_found_by_where_it_begins() {
        let mut history = History::new(1, DType::F32);
        let rows = |values: &[f32]| Activations::from_f32(values, 1).unwrap();
        history.begin(&rows(&[1.0, 2.0]));
        history.begin(&rows(&[3.0]));
        let found = [0, 1, 2, 3].map(|position| history.step_at(position));
        assert_eq!(found, [Some(2), None, Some(1), None]);
        // What is rejected whole is no step any more.
        history.keep(2);
        assert_eq!(history.step_at(2), None);
        history.begin(&rows(&[4.0]));
        assert_eq!(history.step_at(2), Some(1));
        assert_eq!(history.rows_of(0, 1, 2), Some(&rows(&[2.0, 4.0]).bytes[..]));
        assert_eq!(history.rows_of(0, 1, 3), None);
    }

    #[test]
    fn what_nobody_was_given_is_forgotten_at_its_boundary_alone() {
        let mut history = History::new(1, DType::F32);
        let rows = |values: &[f32]| Activations::from_f32(values, 1).unwrap();
        history.begin(&rows(&[1.0, 2.0]));
        history.append(4, &rows(&[3.0, 4.0]).bytes);
        history.forget_unseen(4, 1);
        assert_eq!((history.crossed(0), history.crossed(4)), (2, 1));
        history.forget_unseen(9, 0);
        assert_eq!(history.crossed(4), 1);
    }

    #[test]
    fn what_does_not_count_is_forgotten_everywhere() {
        let mut history = History::new(1, DType::F32);
        let rows = |values: &[f32]| Activations::from_f32(values, 1).unwrap();
        history.begin(&rows(&[1.0, 2.0]));
        history.append(4, &rows(&[3.0, 4.0]).bytes);
        history.begin(&rows(&[5.0, 6.0, 7.0]));
        history.append(4, &rows(&[8.0, 9.0, 10.0]).bytes);
        history.keep(3);
        assert_eq!((history.steps(), history.positions()), (&[2, 1][..], 3));
        assert_eq!(history.rows(0), rows(&[1.0, 2.0, 5.0]).bytes);
        assert_eq!(history.rows(4), rows(&[3.0, 4.0, 8.0]).bytes);
        assert_eq!(history.last_step(4), rows(&[8.0]).bytes);
        history.keep(9);
        assert_eq!(history.positions(), 3);
    }

    #[test]
    fn boundaries_between_others_are_forgotten() {
        let mut history = History::new(1, DType::F32);
        for boundary in [4, 6, 8] {
            history.append(boundary, &[0; 4]);
        }
        history.forget_between(4, 8);
        assert!(history.rows(6).is_empty());
        assert!(!history.rows(4).is_empty() && !history.rows(8).is_empty());
    }

    #[test]
    fn differences_are_found_as_far_as_both_go() {
        let bytes = |values: &[f32]| Activations::from_f32(values, 1).unwrap().bytes;
        let find = |known: &[f32], got: &[f32], tolerance| {
            first_difference(&bytes(known), &bytes(got), 4, DType::F32, tolerance)
        };
        assert_eq!(find(&[1.0, 2.0], &[1.0, 2.0, 9.0], 0.0), None);
        assert_eq!(find(&[1.0, 2.0], &[1.0, 2.001, 9.0], 0.0), Some(1));
        assert_eq!(find(&[1.0, 2.0], &[1.0, 2.001, 9.0], 0.01), None);
        assert_eq!(find(&[1.0, 2.0], &[1.0, 2.1], 0.01), Some(1));
        assert_eq!(find(&[], &[1.0], 0.0), None);
        // What is no number is like nothing.
        let nan = f32::NAN.to_le_bytes();
        let difference = first_difference(&bytes(&[1.0]), &nan, 4, DType::F32, 0.01);
        assert_eq!(difference, Some(0));
    }
}
