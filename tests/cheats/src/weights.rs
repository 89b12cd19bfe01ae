//! Weights that are almost those of the subnet.

use rand::{rngs::StdRng, Rng, SeedableRng};

/// Numbers that share a scale in [`int4`].
const GROUP: usize = 32;

/// Rounds each row of a matrix to 255 steps of its largest number. Vectors stay.
pub fn int8(shape: &[usize], values: &mut [f32]) {
    if let [_, columns] = shape {
        values
            .chunks_mut(*columns)
            .for_each(|row| round(row, 127.0));
    }
}

/// Rounds each 32 numbers of a matrix's row to 15 steps of the largest of them. Vectors stay.
pub fn int4(shape: &[usize], values: &mut [f32]) {
    if let [_, columns] = shape {
        for row in values.chunks_mut(*columns) {
            row.chunks_mut(GROUP).for_each(|group| round(group, 7.0));
        }
    }
}

fn round(values: &mut [f32], steps: f32) {
    let largest = values
        .iter()
        .fold(0f32, |most, value| most.max(value.abs()));
    let scale = largest / steps;
    if scale > 0.0 {
        for value in values {
            *value = (*value / scale).round() * scale;
        }
    }
}

/// Moves every number of a matrix by noise of so much of the matrix's own size (root of the mean square): a
/// checkpoint from a little later in training. Vectors stay.
pub fn perturb(name: &str, shape: &[usize], values: &mut [f32], amount: f32) {
    if shape.len() < 2 || values.is_empty() {
        return;
    }
    let square: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    let size = (square / values.len() as f64).sqrt() as f32;
    let seed = name.bytes().fold(7u64, |hash, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
    });
    let mut noise = StdRng::seed_from_u64(seed);
    for value in values {
        // Uniform, of unit variance.
        *value += amount * size * 3f32.sqrt() * noise.gen_range(-1.0..1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_what_lies_on_the_grid_and_is_off_by_half_a_step_at_most() {
        let mut row: Vec<f32> = (0..64).map(|i| i as f32 - 31.0).collect();
        let before = row.clone();
        int8(&[1, 64], &mut row);
        let step = 32.0 / 127.0;
        for (rounded, value) in row.iter().zip(&before) {
            assert!((rounded - value).abs() <= step / 2.0 + 1e-6);
        }
        assert_ne!(row, before);
        let mut again = row.clone();
        int8(&[1, 64], &mut again);
        for (again, once) in again.iter().zip(&row) {
            assert!((again - once).abs() < 1e-5);
        }
        let mut coarse = before.clone();
        int4(&[1, 64], &mut coarse);
        let off = |a: &[f32]| {
            a.iter()
                .zip(&before)
                .map(|(a, b)| (a - b).abs())
                .sum::<f32>()
        };
        assert!(off(&coarse) > 4.0 * off(&row));
        // Norms are not matrices.
        let mut norm = before.clone();
        int4(&[64], &mut norm);
        perturb("norm", &[64], &mut norm, 0.5);
        assert_eq!(norm, before);
        let mut zeros = vec![0.0; 64];
        int4(&[2, 32], &mut zeros);
        assert_eq!(zeros, vec![0.0; 64]);
    }

    #[test]
    fn noise_has_the_size_that_was_asked_for_and_is_the_same_again() {
        let mut values = vec![2.0f32; 10_000];
        perturb("a", &[100, 100], &mut values, 0.01);
        let square: f32 = values.iter().map(|value| (value - 2.0).powi(2)).sum();
        let size = (square / 10_000.0).sqrt();
        assert!((size - 0.02).abs() < 0.001, "{size}");
        let mut again = vec![2.0f32; 10_000];
        perturb("a", &[100, 100], &mut again, 0.01);
        assert_eq!(again, values);
    }
}
