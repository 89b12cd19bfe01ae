use super::*;
use crate::numbers::{all_kernels, bits, Numbers};

#[test]
fn all_instruction_sets_compute_what_is_specified() {
    let kernels = all_kernels();
    let mut numbers = Numbers(1);
    for round in 0..1_000 {
        let (heads, half) = (1 + numbers.below(5), 1 + numbers.below(70));
        let before = numbers.mixed(heads * 2 * half, 3.0, 8);
        let cos = numbers.mixed(half, 1.0, 50);
        let sin = numbers.mixed(half, 1.0, 50);
        let scale = [1.0, 0.125, 0.08838835][round % 3];
        let mut expected = before.clone();
        for head in expected.chunks_exact_mut(2 * half) {
            for i in 0..half {
                let (a, b) = (head[i], head[half + i]);
                head[i] = a.mul_add(cos[i], 0.0 - b * sin[i]);
                head[half + i] = b.mul_add(cos[i], a * sin[i]);
            }
            if scale != 1.0 {
                head.iter_mut().for_each(|x| *x *= scale);
            }
        }
        for kernels in &kernels {
            let mut found = before.clone();
            rotate(kernels, &mut found, &cos, &sin, scale);
            assert_eq!(bits(&found), bits(&expected), "{}", kernels.isa());
        }
    }
}

#[test]
fn lengths_stay() {
    let mut head = Numbers(2).units(64);
    let before: f64 = head.iter().map(|x| f64::from(*x).powi(2)).sum();
    let (sin, cos): (Vec<f32>, Vec<f32>) = (0..32).map(|i| (i as f32).sin_cos()).unzip();
    rotate(&all_kernels()[0], &mut head, &cos, &sin, 1.0);
    let after: f64 = head.iter().map(|x| f64::from(*x).powi(2)).sum();
    assert!((after / before - 1.0).abs() < 1e-6);
}

#[test]
#[should_panic = "whole heads"]
fn lengths_are_checked() {
    rotate(&all_kernels()[0], &mut [0.0; 6], &[0.0; 2], &[0.0; 2], 1.0);
}
