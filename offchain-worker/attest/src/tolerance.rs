//! How far what a server signed may be from what a replay gives, where kernels don't promise the same bits.
//!
//! For each position t with the rows x (in), s (signed) and r (replayed):
//!
//! ```text
//! d_t = max( ‖m∘(s − r)‖ / ‖m∘(r − x)‖ ,  ‖m̄∘(s − r)‖ / ‖m̄∘r‖ )
//! ```
//!
//! The first is normalised by what the span changes, so that who gives back what came in is at 1. m leaves the
//! *massive* channels out: those whose root mean square over all positions of the replay is more than
//! [`MASSIVE`] times that of the median channel. Trained models have a few, hundreds of times as large as the
//! others, and what is wrong with the others would vanish beside them. They are m̄, and compared by themselves
//! (a span hardly changes them, so they are normalised by what they are): nobody may write into them what it
//! likes. Signs count in both.
//!
//! Of the d_t of all positions three numbers are held against limits: the median, which all positions
//! make; the one that a twentieth of them exceed; and the largest, which finds who does its work but now and then.

use serde::{Deserialize, Serialize};

/// Channels that are so many times as large as the median one are compared by themselves.
pub const MASSIVE: f64 = 16.0;

/// What the distances of all positions come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the positions are farther away.
    pub median: f64,
    /// A twentieth of the positions is farther away.
    pub upper: f64,
    /// No position is farther away.
    pub most: f64,
}

impl Spread {
    /// That of these distances; none at all is no distance.
    pub fn of(distances: &[f64]) -> Self {
        let mut sorted = distances.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return Spread::default();
        };
        Spread {
            median: sorted[last / 2],
            upper: sorted[last * 19 / 20],
            most: sorted[last],
        }
    }

    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        Spread {
            median: self.median.max(other.median),
            upper: self.upper.max(other.upper),
            most: self.most.max(other.most),
        }
    }

    /// So many times as much.
    pub fn times(self, factor: f64) -> Self {
        Spread {
            median: self.median * factor,
            upper: self.upper * factor,
            most: self.most * factor,
        }
    }

    /// Is each at most that of `limit`?
    pub fn is_within(&self, limit: &Self) -> bool {
        self.median <= limit.median && self.upper <= limit.upper && self.most <= limit.most
    }
}

/// Limits for one pair of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// What passes is within all of these.
    pub pass: Spread,
    /// What fails is beyond one of these. Between the two nothing is said.
    pub fail: Spread,
}

/// What limits say of distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// As honest servers are.
    Within,
    /// Neither.
    Between,
    /// As no honest server is.
    Beyond,
}

impl Limits {
    /// Judges.
    pub fn judge(&self, spread: &Spread) -> Judgement {
        if spread.is_within(&self.pass) {
            Judgement::Within
        } else if spread.is_within(&self.fail) {
            Judgement::Between
        } else {
            Judgement::Beyond
        }
    }
}

/// The distance of each position. `None` where the rows are not of the same number, or no whole rows of `hidden`
/// numbers.
pub fn distances(
    input: &[f32],
    signed: &[f32],
    replayed: &[f32],
    hidden: usize,
) -> Option<Vec<f64>> {
    let same = input.len() == signed.len() && signed.len() == replayed.len();
    if hidden == 0 || !same || !input.len().is_multiple_of(hidden) {
        return None;
    }
    let is_massive = massive(replayed, hidden);
    let rows = input
        .chunks(hidden)
        .zip(signed.chunks(hidden))
        .zip(replayed.chunks(hidden));
    let of_row = |((x, s), r): ((&[f32], &[f32]), &[f32])| {
        let (mut off, mut changed, mut off_massive, mut large) = (0.0, 0.0, 0.0, 0.0);
        for channel in 0..hidden {
            let (x, s, r) = (
                f64::from(x[channel]),
                f64::from(s[channel]),
                f64::from(r[channel]),
            );
            let square = (s - r) * (s - r);
            match is_massive[channel] {
                false => {
                    off += square;
                    changed += (r - x) * (r - x);
                }
                true => {
                    off_massive += square;
                    large += r * r;
                }
            }
        }
        ratio(off, changed).max(ratio(off_massive, large))
    };
    Some(rows.map(of_row).collect())
}

/// The root of the ratio of two squares; what differs from nothing is infinitely far away.
fn ratio(off: f64, of: f64) -> f64 {
    match off == 0.0 {
        true => 0.0,
        // Not a number counts as far away as well.
        false => Some((off / of).sqrt())
            .filter(|ratio| !ratio.is_nan())
            .unwrap_or(f64::INFINITY),
    }
}

fn massive(rows: &[f32], hidden: usize) -> Vec<bool> {
    let mut squares = vec![0.0f64; hidden];
    for row in rows.chunks(hidden) {
        for (square, value) in squares.iter_mut().zip(row) {
            *square += f64::from(*value).powi(2);
        }
    }
    let mut sorted = squares.clone();
    sorted.sort_by(f64::total_cmp);
    let limit = sorted[hidden / 2] * MASSIVE * MASSIVE;
    squares.into_iter().map(|square| square > limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HIDDEN: usize = 8;

    fn rows(positions: usize, salt: usize) -> Vec<f32> {
        (0..positions * HIDDEN)
            .map(|i| ((i * 31 + salt * 17) % 23) as f32 / 7.0 - 1.5)
            .collect()
    }

    fn of(input: &[f32], signed: &[f32], replayed: &[f32]) -> Vec<f64> {
        distances(input, signed, replayed, HIDDEN).unwrap()
    }

    #[test]
    fn who_gives_back_what_came_in_is_at_one_and_who_works_at_zero() {
        let (input, output) = (rows(40, 1), rows(40, 2));
        assert!(of(&input, &output, &output).iter().all(|d| *d == 0.0));
        for distance in of(&input, &input, &output) {
            assert!((distance - 1.0).abs() < 1e-9, "{distance}");
        }
    }

    proptest! {
        #[test]
        fn distances_scale_with_the_error_and_not_with_the_rows(
            factor in 0.001f32..1000.0,
            error in 1e-3f32..1.0,
        ) {
            let (input, output) = (rows(20, 1), rows(20, 2));
            let signed: Vec<f32> = output
                .iter()
                .zip(&input)
                .map(|(r, x)| r + (r - x) * error)
                .collect();
            let spread = Spread::of(&of(&input, &signed, &output));
            prop_assert!((spread.median - f64::from(error)).abs() < 1e-4);
            prop_assert!((spread.most - f64::from(error)).abs() < 1e-4);
            let scaled = |rows: &[f32]| rows.iter().map(|v| v * factor).collect::<Vec<_>>();
            let again = of(&scaled(&input), &scaled(&signed), &scaled(&output));
            prop_assert!((Spread::of(&again).median - f64::from(error)).abs() < 1e-4);
        }
    }

    #[test]
    fn massive_channels_hide_nothing_and_hold_nothing() {
        let (mut input, mut output) = (rows(40, 1), rows(40, 2));
        let set = |rows: &mut [f32], value: f32| {
            rows.chunks_mut(HIDDEN).for_each(|row| row[3] = value);
        };
        set(&mut input, 4_000.0);
        set(&mut output, 4_001.0);
        assert!(massive(&output, HIDDEN)[3]);
        // What is wrong elsewhere is as far away as it would be without them, also where a span adds to them.
        let distance = Spread::of(&of(&input, &input, &output));
        assert!((distance.median - 1.0).abs() < 1e-9, "{distance:?}");
        // And they can't be written to.
        let mut signed = output.clone();
        signed[5 * HIDDEN + 3] = 4_401.1;
        let distances = of(&input, &signed, &output);
        assert!((distances[5] - 0.1).abs() < 1e-4, "{}", distances[5]);
        assert_eq!(distances.iter().filter(|d| **d > 0.0).count(), 1);
        // Nor turned round.
        signed[5 * HIDDEN + 3] = -4_001.0;
        assert!((of(&input, &signed, &output)[5] - 2.0).abs() < 1e-9);
    }

    #[test]
    fn one_position_of_many_shows_in_the_largest_and_a_twentieth_in_the_upper() {
        let mut distances = vec![0.0; 100];
        distances[70] = 1.0;
        let (some, none) = (Spread::of(&distances), Spread::default());
        assert_eq!((some.median, some.upper, some.most), (0.0, 0.0, 1.0));
        distances[..6].fill(0.5);
        assert_eq!(Spread::of(&distances).upper, 0.5);
        let limits = Limits {
            pass: Spread {
                median: 0.1,
                upper: 0.2,
                most: 0.3,
            },
            fail: Spread {
                median: 0.4,
                upper: 0.6,
                most: 0.9,
            },
        };
        assert_eq!(limits.judge(&none), Judgement::Within);
        assert_eq!(
            limits.judge(&Spread { upper: 0.3, ..none }),
            Judgement::Between
        );
        assert_eq!(limits.judge(&some), Judgement::Beyond);
        let nowhere = Spread {
            median: f64::NAN,
            ..none
        };
        assert_eq!(limits.judge(&nowhere), Judgement::Beyond);
        assert_eq!(Spread::of(&[]), none);
    }

    #[test]
    fn what_differs_from_nothing_or_is_no_number_is_beyond_all_limits() {
        let zeros = vec![0.0; HIDDEN];
        let mut signed = zeros.clone();
        assert_eq!(of(&zeros, &signed, &zeros), [0.0]);
        signed[1] = 1e-6;
        assert_eq!(of(&zeros, &signed, &zeros), [f64::INFINITY]);
        signed[1] = f32::NAN;
        assert_eq!(of(&zeros, &signed, &zeros), [f64::INFINITY]);
        let rows = rows(2, 1);
        assert_eq!(distances(&rows, &rows, &rows[..HIDDEN], HIDDEN), None);
        assert_eq!(distances(&rows, &rows, &rows, 3), None);
        assert_eq!(distances(&rows, &rows, &rows, 0), None);
    }
}
