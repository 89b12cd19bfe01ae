//! Numbers for tests: random ones, and those that give implementations away.

use crate::{Isa, Kernels};

/// A SplitMix64 sequence.
pub(crate) struct Numbers(pub u64);

/// Signed zeros, subnormals, the ends of the range, infinities, NaNs.
const ADVERSARIAL: [u32; 18] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x8000_0001,
    0x007f_ffff,
    0x807f_ffff,
    0x0080_0000,
    0x8080_0000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc0_0001,
    0x3f80_0001,
    0xbf7f_ffff,
    0x42b1_7218,
    0xc2cf_f1b5,
];

impl Numbers {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// In [−1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// In [−1, 1), `count` of them.
    pub fn units(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.unit()).collect()
    }

    /// Any finite number, all exponents alike.
    pub fn finite(&mut self) -> f32 {
        loop {
            let value = f32::from_bits(self.bits() as u32);
            if value.is_finite() {
                return value;
            }
        }
    }

    /// Mostly in [−scale, scale), one in `rarity` adversarial or of any size.
    pub fn mixed(&mut self, count: usize, scale: f32, rarity: usize) -> Vec<f32> {
        let draw = |numbers: &mut Self| match numbers.below(2 * rarity) {
            0 => f32::from_bits(ADVERSARIAL[numbers.below(ADVERSARIAL.len())]),
            1 => numbers.finite(),
            _ => numbers.unit() * scale,
        };
        (0..count).map(|_| draw(self)).collect()
    }
}

/// Bits, with all NaNs alike.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    let canonical = |value: &f32| match value.is_nan() {
        true => 0x7fc0_0000,
        false => value.to_bits(),
    };
    values.iter().map(canonical).collect()
}

/// Kernels for every instruction set that this machine has, on one thread; the portable ones first.
pub(crate) fn all_kernels() -> Vec<Kernels> {
    let mut all = Isa::available();
    all.reverse();
    assert_eq!(all[0], Isa::Portable);
    all.into_iter()
        .map(|isa| Kernels::new(isa, 1).unwrap())
        .collect()
}

/// The sum of 16 lanes, as the crate's documentation has it.
pub(crate) fn tree(mut lanes: [f32; 16]) -> f32 {
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}
