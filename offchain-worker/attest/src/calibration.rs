//! The limits of [`tolerance`](crate::tolerance), with the measurement that they come from.
//!
//! They are in one committed file, `calibration.json`, which `scripts/calibrate` writes: for each pair of kernels
//! and each type of the rows on the wire, how far honest servers were from honest replays at most, over prompts that
//! are used for nothing else, and limits that are multiples of that. Who pays for a session may also send rows that no
//! text gives, on which honest servers are farther apart: what fails is measured on such rows too, so that nobody can
//! have an honest server convicted by what it sends.

use crate::tolerance::{Limits, Spread};
use quipu_primitives::{DType, Kernel};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// What passes is at most so many times as far away as the farthest honest server was.
pub const PASS: f64 = 2.0;
/// What fails is more than so many times as far away as the farthest was, on rows that no text gives as well.
pub const FAIL: f64 = 8.0;

/// Which kernels stand against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// With what the server computed.
    pub signed: Kernel,
    /// With what the auditor replays.
    pub replayed: Kernel,
    /// Type of the rows.
    pub activations: DType,
}

/// What was measured of a pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The pair.
    #[serde(flatten)]
    pub pair: Pair,
    /// How the two sides differed in what was measured.
    pub how: Vec<String>,
    /// Sessions that were compared.
    pub sessions: u32,
    /// Positions in them.
    pub positions: u64,
    /// The farthest that one was from the other.
    pub farthest: Spread,
    /// The farthest on rows that no text gives.
    pub rough: Spread,
    /// What follows.
    pub limits: Limits,
}

impl Measured {
    /// With the limits that follow from the farthest.
    pub fn new(
        pair: Pair,
        how: Vec<String>,
        sessions: u32,
        positions: u64,
        farthest: Spread,
        rough: Spread,
    ) -> Self {
        // Most rows that are rounded to 16 bits are equal to the bit, the others off by a unit in the last place:
        // how many those are is nothing that a server can be blamed for.
        let median = farthest.median.max(farthest.upper / 2.0);
        let least = Spread { median, ..farthest };
        Measured {
            pair,
            how,
            sessions,
            positions,
            farthest,
            rough,
            limits: Limits {
                pass: least.times(PASS),
                fail: least.max(rough).times(FAIL),
            },
        }
    }
}

/// The calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// With what it was made: the model, the machine, the command.
    pub made_with: String,
    /// The pairs.
    pub pairs: Vec<Measured>,
}

impl Calibration {
    /// The one that is committed. Empty if that can't be read, which a test rules out: then nothing passes by
    /// tolerance, and nothing fails.
    pub fn committed() -> &'static Self {
        static COMMITTED: OnceLock<Calibration> = OnceLock::new();
        COMMITTED.get_or_init(|| {
            let read = serde_json::from_str(include_str!("calibration.json"));
            read.unwrap_or(Calibration {
                made_with: String::new(),
                pairs: Vec::new(),
            })
        })
    }

    /// The limits for a pair, if it was measured.
    pub fn limits(&self, pair: Pair) -> Option<&Limits> {
        let mut pairs = self.pairs.iter();
        let found = pairs.find(|measured| measured.pair == pair);
        found.map(|measured| &measured.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_calibration_is_read_and_its_limits_follow_from_what_was_measured() {
        let committed = Calibration::committed();
        assert!(!committed.pairs.is_empty());
        for measured in &committed.pairs {
            let again = Measured::new(
                measured.pair,
                measured.how.clone(),
                measured.sessions,
                measured.positions,
                measured.farthest,
                measured.rough,
            );
            let close = |a: Spread, b: Spread| {
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
                near(a.median, b.median) && near(a.upper, b.upper) && near(a.most, b.most)
            };
            assert!(
                close(measured.limits.pass, again.limits.pass),
                "{measured:?}"
            );
            assert!(
                close(measured.limits.fail, again.limits.fail),
                "{measured:?}"
            );
            assert!(measured.sessions >= 100, "{measured:?}");
            assert!(measured.limits.pass.median > 0.0, "{measured:?}");
            // Who gives back what came in is at 1, wherever it is.
            assert!(measured.limits.fail.most < 1.0, "{measured:?}");
            assert!(
                !measured.pair.signed.is_exact(),
                "exact ones are compared by their bits"
            );
        }
        let flex = Pair {
            signed: Kernel::FlexF32,
            replayed: Kernel::FlexF32,
            activations: DType::F32,
        };
        assert!(committed.limits(flex).is_some());
        let unknown = Pair {
            signed: Kernel::Cuda,
            ..flex
        };
        assert_eq!(committed.limits(unknown), None);
    }
}
