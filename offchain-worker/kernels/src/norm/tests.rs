use super::*;
use crate::numbers::{all_kernels, bits, tree, Numbers};

/// The text of the module's documentation.
fn specified(x: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let mut lanes = [0.0f32; 16];
    for (i, x) in x.iter().enumerate() {
        lanes[i % 16] = x.mul_add(*x, lanes[i % 16]);
    }
    let factor = 1.0 / (tree(lanes) / x.len() as f32 + epsilon).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * factor * w).collect()
}

#[test]
fn all_instruction_sets_compute_what_is_specified() {
    let kernels = all_kernels();
    let mut numbers = Numbers(1);
    for round in 0..1_000 {
        let width = 1 + numbers.below(if round % 10 == 0 { 3_000 } else { 100 });
        let rarity = [20, 1_000_000][round % 2];
        let x = numbers.mixed(width, [1.0, 1e-20, 1e15][round % 3], rarity);
        let weight = numbers.mixed(width, 2.0, rarity);
        let expected = specified(&x, &weight, 1e-5);
        for kernels in &kernels {
            let mut out = vec![7.0; width];
            rms_norm(kernels, &x, &weight, 1e-5, &mut out);
            assert_eq!(bits(&out), bits(&expected), "{}", kernels.isa());
        }
    }
}

#[test]
fn rows_come_out_with_unit_mean_square() {
    let x: Vec<f32> = Numbers(2).units(576);
    let mut out = vec![0.0; 576];
    rms_norm(&all_kernels()[0], &x, &[1.0; 576], 1e-12, &mut out);
    let mean = out.iter().map(|y| f64::from(*y).powi(2)).sum::<f64>() / 576.0;
    assert!((mean - 1.0).abs() < 1e-6, "{mean}");
}

#[test]
#[should_panic = "as many weights as values"]
fn lengths_are_checked() {
    rms_norm(&all_kernels()[0], &[0.0; 2], &[0.0; 3], 0.0, &mut [0.0; 2]);
}
