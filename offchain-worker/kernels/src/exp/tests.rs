use super::*;
use crate::numbers::{all_kernels, bits, Numbers};

/// The text of the module's documentation, for one number.
#[allow(clippy::manual_clamp)]
fn specified(x: f32) -> f32 {
    let mut x = x;
    if -104.0 > x {
        x = -104.0;
    }
    if 89.0 < x {
        x = 89.0;
    }
    let t = x.mul_add(LOG2_E, TO_INTEGER);
    let n = t - TO_INTEGER;
    let r = (-n).mul_add(LN2_HIGH, x);
    let r = (-n).mul_add(LN2_LOW, r);
    let mut p = COEFFICIENTS[4];
    for coefficient in COEFFICIENTS[..4].iter().rev() {
        p = p.mul_add(r, *coefficient);
    }
    p = p.mul_add(r, 1.0).mul_add(r, 1.0);
    // In f64 the product with a power of two is exact.
    (f64::from(p) * 2f64.powi(n as i32)) as f32
}

#[test]
fn all_instruction_sets_compute_what_is_specified() {
    let kernels = all_kernels();
    let mut numbers = Numbers(1);
    for round in 0..2_000 {
        let count = 1 + numbers.below(70);
        let scale = [1.0, 10.0, 110.0][round % 3];
        let values = numbers.mixed(count, scale, 5);
        let expected: Vec<f32> = values.iter().map(|x| specified(*x)).collect();
        for kernels in &kernels {
            let mut found = values.clone();
            exp_in_place(kernels, &mut found);
            assert_eq!(bits(&found), bits(&expected), "{}", kernels.isa());
        }
    }
}

#[test]
fn it_is_within_a_unit_in_the_last_place() {
    let mut worst = 0.0f64;
    // Every 997th number between the ends of the range, of either sign.
    for bits in (0..0x42d0_0000u32).step_by(997) {
        for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
            let (found, exact) = (specified(x), f64::from(x).exp());
            if exact > f64::from(f32::MAX) {
                assert_eq!(found, f32::INFINITY, "{x}");
                continue;
            }
            let unit = f64::from(exact as f32)
                .max(f64::from(f32::MIN_POSITIVE))
                .log2()
                .floor();
            let error = (f64::from(found) - exact).abs() / 2f64.powf(unit - 23.0);
            worst = worst.max(error);
        }
    }
    println!("largest error: {worst:.3} units in the last place");
    assert!(worst < 1.0, "{worst}");
}

#[test]
fn its_ends_are_exact() {
    for kernels in all_kernels() {
        let inputs = [
            0.0,
            -0.0,
            -104.0,
            -1e30,
            f32::NEG_INFINITY,
            88.8,
            1e30,
            f32::INFINITY,
        ];
        let mut values = inputs;
        exp_in_place(&kernels, &mut values);
        let infinite = f32::INFINITY;
        let expected = [1.0, 1.0, 0.0, 0.0, 0.0, infinite, infinite, infinite];
        assert_eq!(values.map(f32::to_bits), expected.map(f32::to_bits));
        let mut nan = [f32::NAN];
        exp_in_place(&kernels, &mut nan);
        assert!(nan[0].is_nan());
    }
}
