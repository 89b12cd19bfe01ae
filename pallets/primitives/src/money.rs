//! Money maths: pure, checked, rounding named.

/// Amounts of QPU in its smallest unit: 1 QPU = 10^12.
pub type Balance = u128;

/// 1 QPU in the smallest unit.
pub const QPU: Balance = 1_000_000_000_000;

/// What `positions` token positions through `blocks` blocks cost at `price` per position and
/// block. `None` on overflow.
pub fn cost(price: Balance, blocks: u16, positions: u32) -> Option<Balance> {
    // Blocks and positions first: their product always fits, and where it is zero so is the cost.
    price.checked_mul(u128::from(blocks).checked_mul(u128::from(positions))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_exact_or_nothing() {
        assert_eq!(cost(3, 10, 7), Some(210));
        assert_eq!(cost(QPU, 0, 7), Some(0));
        assert_eq!(cost(u128::MAX, u16::MAX, 0), Some(0));
        assert_eq!(cost(u128::MAX, 0, u32::MAX), Some(0));
        assert_eq!(cost(u128::MAX, 1, 1), Some(u128::MAX));
        assert_eq!(cost(u128::MAX, 2, 1), None);
        assert_eq!(cost(u128::MAX / 2, 1, 3), None);
    }
}
