//! Nibbles of sixteen rows: four lines of 64 bytes for 32 columns. Line `l` has four bytes for each row;
//! their low nibbles are operand `l`, their high nibbles operand `l` + 4.

use super::super::simd::Simd;
use crate::quantize::BLOCK;

/// Bytes of 32 columns.
pub(super) const BYTES: usize = 256;

/// Where the low nibble of column `column` is the low or the high nibble of, in the block.
fn place(column: usize, row: usize) -> usize {
    column % 16 / 4 * 64 + row * 4 + column % 4
}

/// Writes a row's nibbles, given as llama.cpp's 32-blocks have them: column j beside column j + 16.
pub(super) fn put(stored: &[u8], row: usize, block: &mut [u8]) {
    for (column, byte) in stored.iter().enumerate() {
        block[place(column, row)] = *byte;
    }
}

/// A row's nibbles.
pub(super) fn get(block: &[u8], row: usize) -> [u8; BLOCK] {
    std::array::from_fn(|column| {
        let byte = block[place(column, row)];
        if column < 16 {
            byte & 15
        } else {
            byte >> 4
        }
    })
}

/// Operand `o` of rows `row` and on.
///
/// # Safety
/// As [`Simd`] says; `block` has [`BYTES`].
#[inline(always)]
pub(super) unsafe fn operand<S: Simd>(block: *const u8, row: usize, o: usize) -> S::B {
    let line = S::bytes(block.add(o % 4 * 64 + row * 4));
    match o {
        0..4 => S::low(line),
        _ => S::high(line),
    }
}
