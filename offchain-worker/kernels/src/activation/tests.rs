use super::*;
use crate::exp::exp_in_place;
use crate::numbers::{all_kernels, bits, Numbers};

#[test]
fn all_instruction_sets_compute_what_is_specified() {
    let kernels = all_kernels();
    let mut numbers = Numbers(1);
    for round in 0..1_000 {
        let count = 1 + numbers.below(70);
        let gate = numbers.mixed(count, [1.0, 100.0][round % 2], 6);
        let up = numbers.mixed(count, 2.0, 6);
        let mut exps: Vec<f32> = gate.iter().map(|x| 0.0 - x).collect();
        exp_in_place(&kernels[0], &mut exps);
        let expected: Vec<f32> = (0..count)
            .map(|i| gate[i] / (1.0 + exps[i]) * up[i])
            .collect();
        for kernels in &kernels {
            let mut found = vec![1.0; count];
            silu_mul(kernels, &gate, &up, &mut found);
            assert_eq!(bits(&found), bits(&expected), "{}", kernels.isa());
        }
    }
}

#[test]
fn large_gates_open_and_close() {
    for kernels in all_kernels() {
        let mut out = [1.0; 4];
        silu_mul(&kernels, &[200.0, -200.0, 0.0, 1.0], &[3.0; 4], &mut out);
        assert_eq!(out[..3], [600.0, 0.0, 0.0]);
        assert!((f64::from(out[3]) - 3.0 / (1.0 + (-1f64).exp())).abs() < 1e-6);
    }
}

#[test]
#[should_panic = "as many gates as values"]
fn lengths_are_checked() {
    silu_mul(&all_kernels()[0], &[0.0; 2], &[0.0; 3], &mut [0.0; 3]);
}
