//! How sure one may be of a share that was counted.

use serde::Serialize;

/// So many of so many, with the exact interval of Clopper and Pearson (1934) for the share, at 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Count {
    /// How often it was looked.
    pub n: u32,
    /// How often it was so.
    pub hits: u32,
    /// The share is not below this.
    pub low: f64,
    /// Nor above this.
    pub high: f64,
}

impl Count {
    /// Counts.
    pub fn new(hits: u32, n: u32) -> Self {
        // Each bound is the share at which what was seen, or more extreme, happens in 2.5 % of all cases.
        const TAIL: f64 = 0.025;
        let low = match hits {
            0 => 0.0,
            _ => solve(|share| 1.0 - at_most(hits - 1, n, share) < TAIL),
        };
        let high = match hits >= n {
            true => 1.0,
            false => solve(|share| at_most(hits, n, share) > TAIL),
        };
        Count { n, hits, low, high }
    }
}

/// The share up to which this holds.
fn solve(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match holds(middle) {
            true => low = middle,
            false => high = middle,
        }
    }
    (low + high) / 2.0
}

/// Probability of at most so many hits.
fn at_most(hits: u32, n: u32, share: f64) -> f64 {
    let (yes, no) = (share.ln(), (-share).ln_1p());
    let mut ways = 0.0;
    let mut sum = 0.0;
    for k in 0..=hits.min(n) {
        if k > 0 {
            ways += f64::from(n - k + 1).ln() - f64::from(k).ln();
        }
        sum += (ways + f64::from(k) * yes + f64::from(n - k) * no).exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `scipy.stats.binomtest(hits, n).proportion_ci(method="exact")`.
    #[test]
    fn the_bounds_are_those_of_the_tables() {
        for (hits, n, low, high) in [
            (0, 10, 0.0, 0.308_497),
            (10, 10, 0.691_503, 1.0),
            (5, 10, 0.187_086, 0.812_914),
            (1, 100, 0.000_253, 0.054_459),
            (950, 1000, 0.934_610, 0.962_665),
            (3000, 3000, 0.998_771, 1.0),
        ] {
            let count = Count::new(hits, n);
            assert!((count.low - low).abs() < 2e-5, "{count:?}");
            assert!((count.high - high).abs() < 2e-5, "{count:?}");
        }
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        let count = Count::new(0, 0);
        assert_eq!((count.low, count.high), (0.0, 1.0));
    }
}
