use super::*;
use crate::numbers::{all_kernels, bits, Numbers};

/// All operations, one after the other, into `out`.
#[inline(always)]
unsafe fn operations<L: Lanes>(a: &[f32], b: &[f32], c: &[f32], count: usize, out: &mut Vec<f32>) {
    let [x, y, z] = [a, b, c].map(|slice| {
        assert_eq!(slice.len(), LANES);
        L::load(slice.as_ptr())
    });
    let results = [
        x.add(y),
        x.sub(y),
        x.mul(y),
        x.div(y),
        x.fma(y, z),
        x.fnma(y, z),
        x.greater(y),
        x.less(y),
        x.first(count, y),
        L::load_part(a.as_ptr(), count),
        L::splat(a[3]),
        L::splat(sum(x)),
        L::splat(greatest(x)),
    ];
    for lanes in results {
        out.extend(to_array(lanes));
    }
    let mut partly = [7.0; LANES];
    x.store_part(partly.as_mut_ptr(), count);
    out.extend(partly);
}

#[inline(always)]
unsafe fn scaled<L: Lanes>(values: &[f32], powers: &[f32], out: &mut [f32]) {
    assert!([values.len(), powers.len(), out.len()] == [LANES; 3]);
    let shifted = L::load(powers.as_ptr()).add(L::splat(TO_INTEGER));
    L::load(values.as_ptr())
        .scale(shifted)
        .store(out.as_mut_ptr());
}

for_each_isa! {
    fn all_operations(a: &[f32], b: &[f32], c: &[f32], count: usize, out: &mut Vec<f32>)
        = operations;
    fn all_scaled(values: &[f32], powers: &[f32], out: &mut [f32]) = scaled;
}

#[test]
fn every_operation_gives_the_bits_of_the_portable_one() {
    let kernels = all_kernels();
    let mut numbers = Numbers(1);
    for round in 0..3_000 {
        let rarity = 1 + round % 9;
        let [a, b, c] = [1.0, 3.0, 0.5].map(|scale| numbers.mixed(LANES, scale, rarity));
        let count = round % (LANES + 1);
        let mut expected = Vec::new();
        all_operations(&kernels[0], &a, &b, &c, count, &mut expected);
        for kernels in &kernels[1..] {
            let mut found = Vec::new();
            all_operations(kernels, &a, &b, &c, count, &mut found);
            assert_eq!(
                bits(&found),
                bits(&expected),
                "{} {a:?} {b:?}",
                kernels.isa()
            );
        }
    }
}

#[test]
fn the_portable_operations_are_those_of_rust() {
    let kernels = &all_kernels()[0];
    let mut numbers = Numbers(2);
    for _ in 0..300 {
        let [a, b, c] = [1.0, 3.0, 0.5].map(|scale| numbers.mixed(LANES, scale, 4));
        let mut found = Vec::new();
        all_operations(kernels, &a, &b, &c, 5, &mut found);
        let each = |operation: fn(f32, f32, f32) -> f32| -> Vec<f32> {
            (0..LANES).map(|l| operation(a[l], b[l], c[l])).collect()
        };
        let expected = [
            each(|a, b, _| a + b),
            each(|a, b, _| a - b),
            each(|a, b, _| a * b),
            each(|a, b, _| a / b),
            each(f32::mul_add),
            each(|a, b, c| -(a.mul_add(b, -c))),
        ]
        .concat();
        // The two ways of writing the last differ where the exact result is a zero, in its sign.
        let same = |a: f32, b: f32| a == b || (a.is_nan() && b.is_nan());
        assert!(found.iter().zip(&expected).all(|(a, b)| same(*a, *b)));
        assert_eq!(bits(&found[..5 * LANES]), bits(&expected[..5 * LANES]));
    }
}

#[test]
fn scaling_by_a_power_of_two_rounds_once() {
    let mut numbers = Numbers(3);
    for kernels in all_kernels() {
        for n in -150..=128 {
            let values: Vec<f32> = (0..LANES).map(|_| 1.25 + 0.75 * numbers.unit()).collect();
            let mut found = vec![0.0; LANES];
            all_scaled(&kernels, &values, &[n as f32; LANES], &mut found);
            for (value, found) in values.iter().zip(found) {
                // The product in f64 is exact; making an f32 of it rounds once.
                let expected = (f64::from(*value) * 2f64.powi(n)) as f32;
                assert_eq!(found.to_bits(), expected.to_bits(), "{value} × 2^{n}");
            }
        }
    }
}
