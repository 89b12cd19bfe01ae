//! Money maths: pure, checked, rounding named.

use core::fmt;

/// Amounts of QPU in its smallest unit: 1 QPU = 10^12.
pub type Balance = u128;

/// 1 QPU in the smallest unit.
pub const QPU: Balance = 1_000_000_000_000;

/// Digits of an amount in QPU behind the point.
pub const DECIMALS: usize = 12;

/// An amount as people read it, exact and with its unit: `1.5 QPU`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InQpu(pub Balance);

impl fmt::Display for InQpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut rest, mut digits) = (self.0 / QPU, self.0 % QPU, DECIMALS);
        if rest == 0 {
            return write!(f, "{whole} QPU");
        }
        while rest % 10 == 0 {
            (rest, digits) = (rest / 10, digits.saturating_sub(1));
        }
        write!(f, "{whole}.{rest:0digits$} QPU")
    }
}

/// What `positions` token positions through `blocks` blocks cost at `price` per position and
/// block. `None` on overflow.
pub fn cost(price: Balance, blocks: u16, positions: u32) -> Option<Balance> {
    // Blocks and positions first: their product always fits, and where it is zero so is the cost.
    price.checked_mul(u128::from(blocks).checked_mul(u128::from(positions))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_amount_is_shown_to_the_last_unit() {
        assert_eq!(QPU, 10u128.pow(DECIMALS as u32));
        for (amount, shown) in [
            (0, "0 QPU"),
            (1, "0.000000000001 QPU"),
            (QPU / 10, "0.1 QPU"),
            (QPU - 1, "0.999999999999 QPU"),
            (QPU, "1 QPU"),
            (QPU * 3 / 2, "1.5 QPU"),
            (10_000 * QPU + 70, "10000.00000000007 QPU"),
            (u128::MAX, "340282366920938463463374607.431768211455 QPU"),
        ] {
            assert_eq!(InQpu(amount).to_string(), shown);
        }
    }

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
