use super::*;
use crate::numbers::Numbers;
use crate::Isa;

fn portable() -> Kernels {
    Kernels::new(Isa::Portable, 1).expect("always there")
}

fn quantized(kernels: &Kernels, x: &[f32], columns: usize) -> QuantizedRows {
    let mut out = QuantizedRows::new();
    kernels
        .quantize(x, columns, &mut out)
        .expect("whole blocks");
    out
}

#[test]
fn all_instruction_sets_compute_what_is_specified() {
    let mut numbers = Numbers(1);
    for round in 0..if cfg!(miri) { 4 } else { 400 } {
        let (rows, columns) = (1 + numbers.below(20), 32 * (1 + numbers.below(5)));
        let mut x = numbers.units(rows * columns);
        if round % 2 == 0 {
            for x in &mut x {
                *x = if round % 4 == 0 {
                    f32::from_bits(numbers.bits() as u32)
                } else {
                    numbers.finite()
                };
            }
        }
        let expected = quantized(&portable(), &x, columns);
        for isa in Isa::available() {
            let kernels = Kernels::new(isa, 1).expect("available");
            let found = quantized(&kernels, &x, columns);
            assert_eq!(found.values, expected.values, "{isa}");
            let bits = |rows: &QuantizedRows| -> Vec<_> {
                let scales = rows.scales.iter();
                scales
                    .map(|s| (s.step.to_bits(), s.scaled_sum.to_bits(), s.sum, s.first_sum))
                    .collect()
            };
            assert_eq!(bits(&found), bits(&expected), "{isa}");
        }
    }
}

#[test]
fn integers_are_the_nearest_ones_and_ties_go_to_even() {
    // 127 · 256 steps of 1.
    let mut x = [0.0; 32];
    let given = [
        32512.0, -32512.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 32511.49, 32511.51, -0.0, 127.0, 128.0,
        -128.0, -129.0, 32384.0,
    ];
    x[..given.len()].copy_from_slice(&given);
    let rows = quantized(&portable(), &x, 32);
    let (values, scale) = rows.block(0, 0);
    let expected = [
        32512, -32512, 0, 2, 2, 0, -2, -2, 32511, 32512, 0, 127, 128, -128, -129, 32384,
    ];
    assert_eq!(values.integers()[..given.len()], expected);
    let bytes = |i: usize| (values.high[i], values.low[i]);
    let at = [0, 1, 11, 12, 13, 14, 15].map(bytes);
    let split = [
        (127, 0),
        (-127, 0),
        (0, 127),
        (1, -128),
        (0, -128),
        (-1, 127),
        (127, -128),
    ];
    assert_eq!(at, split);
    let sum = expected.iter().sum();
    let expected = BlockScale {
        step: 1.0,
        scaled_sum: sum as f32,
        sum,
        first_sum: sum,
    };
    assert_eq!(*scale, expected);
}

#[test]
fn any_number_between_rounds_as_its_own_operation_says() {
    let mut numbers = Numbers(2);
    for _ in 0..if cfg!(miri) { 20 } else { 20_000 } {
        let x = numbers.units(32);
        let rows = quantized(&portable(), &x, 32);
        let greatest = x.iter().fold(0f32, |a, x| a.max(x.abs()));
        let (values, scale) = rows.block(0, 0);
        for (x, q) in x.iter().zip(values.integers()) {
            let q = q as f32;
            assert_eq!((x * (GREATEST / greatest)).round_ties_even(), q);
            assert!((q * scale.step - x).abs() <= scale.step * 0.51);
        }
    }
}

#[test]
fn blocks_without_a_scale_are_zeros_or_nan() {
    let tiny = [f32::from_bits(LEAST.to_bits() - 1); 32];
    let least = [LEAST; 32];
    let infinite = std::array::from_fn(|i| if i == 7 { f32::INFINITY } else { 1.0 });
    let nan = std::array::from_fn(|i| if i == 31 { -f32::NAN } else { 1.0 });
    let x = [[0.0; 32], tiny, least, infinite, nan].concat();
    let rows = quantized(&portable(), &x, 32);
    let steps: Vec<_> = (0..5)
        .map(|row| rows.block(row, 0).1.step.to_bits())
        .collect();
    let nan = f32::NAN.to_bits();
    assert_eq!(steps, [0, 0, (LEAST / GREATEST).to_bits(), nan, nan]);
    assert!(rows.row(2).all(|value| value == LEAST));
    assert!(rows.row(1).all(|value| value == 0.0));
}

#[test]
fn rows_keep_their_places_and_memory_is_kept() {
    let mut numbers = Numbers(3);
    let x = numbers.units(19 * 96);
    let mut rows = quantized(&portable(), &x, 96);
    for (row, x) in x.chunks_exact(96).enumerate() {
        let alone = quantized(&portable(), x, 96);
        assert!(rows.row(row).eq(alone.row(0)));
    }
    let memory = rows.values.capacity();
    portable()
        .quantize(&x[..96], 96, &mut rows)
        .expect("whole blocks");
    assert_eq!((rows.rows(), rows.columns()), (1, 96));
    portable()
        .quantize(&x, 96, &mut rows)
        .expect("whole blocks");
    assert_eq!(rows.values.capacity(), memory);
}

#[test]
fn shapes_are_checked() {
    let mut out = QuantizedRows::new();
    let refused = portable().quantize(&[0.0; 40], 20, &mut out);
    assert_eq!(refused, Err(ShapeError::Columns(20)));
    let refused = portable().quantize(&[0.0; 40], 32, &mut out);
    let (expected, found) = (32, 40);
    assert_eq!(refused, Err(ShapeError::Input { expected, found }));
}
