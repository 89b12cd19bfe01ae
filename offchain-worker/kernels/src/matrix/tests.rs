use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use proptest::prelude::*;

use super::*;
use crate::numbers::{all_kernels, bits, Numbers};
use crate::quantize::BLOCK;
use crate::{Isa, Kernels, QuantizedRows};

/// Numbers of the kinds that a test is about.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// As in a model.
    Sane,
    /// Sane activations with some of any size, infinite ones and NaNs among them; weights of any bits.
    Any,
}

const KINDS: [Kind; 2] = [Kind::Sane, Kind::Any];

struct Case {
    numbers: Numbers,
    kind: Kind,
}

impl Case {
    /// A matrix as a file holds it.
    fn stored(&mut self, format: Format, rows: usize, columns: usize) -> Vec<u8> {
        let blocks = rows * columns / format.block_values();
        let mut stored: Vec<u8> = (0..blocks * format.block_bytes())
            .map(|_| self.numbers.bits() as u8)
            .collect();
        if let Kind::Any = self.kind {
            return stored;
        }
        for block in stored.chunks_exact_mut(format.block_bytes()) {
            let unit = self.numbers.unit();
            let scale = |value: f32| half::f16::from_f32(value).to_le_bytes();
            match format {
                Format::F32 => block.copy_from_slice(&unit.to_le_bytes()),
                Format::F16 => block.copy_from_slice(&scale(unit)),
                Format::Bf16 => {
                    block.copy_from_slice(&half::bf16::from_f32(unit).to_le_bytes());
                }
                Format::Q4_0 | Format::Q8_0 => block[..2].copy_from_slice(&scale(unit / 10.0)),
                Format::Q4_1 | Format::Q4K => {
                    block[..2].copy_from_slice(&scale(unit / 10.0));
                    block[2..4].copy_from_slice(&scale(self.numbers.unit()));
                }
                Format::Q6K => block[208..].copy_from_slice(&scale(unit / 1000.0)),
            }
        }
        stored
    }

    fn matrix(&mut self, format: Format, rows: usize, columns: usize) -> PackedMatrix {
        let stored = self.stored(format, rows, columns);
        PackedMatrix::pack(format, rows, columns, &stored).expect("the right length")
    }

    fn activations(&mut self, tokens: usize, columns: usize) -> Vec<f32> {
        match self.kind {
            Kind::Sane => self.numbers.units(tokens * columns),
            Kind::Any => self.numbers.mixed(tokens * columns, 1e3, 300),
        }
    }
}

/// The product, of activations that are quantised if the weights are.
fn product(kernels: &Kernels, w: &PackedMatrix, x: &[f32], finish: Finish<'_>) -> Vec<f32> {
    let tokens = x.len() / w.columns();
    // What an addition adds to.
    let mut out: Vec<f32> = (0..tokens * w.rows()).map(|i| i as f32 - 7.5).collect();
    let mut quantized = QuantizedRows::new();
    let operand = match w.format().is_quantized() {
        true => {
            let result = kernels.quantize(x, w.columns(), &mut quantized);
            result.expect("whole blocks");
            Operand::Quantized(&quantized)
        }
        false => Operand::F32(x),
    };
    let result = kernels.matmul_with(w, operand, finish, &mut out);
    result.expect("shapes fit");
    out
}

/// Exact bits, NaNs too.
fn raw_bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// BLAKE2b-256 of products with weights of each of [`Format::ALL`]: the specification leaves no bit of
/// them open, and no version may change them.
const GOLDEN: [&str; 8] = [
    "300c1b5b817cd402f34b363c33529cf4ece7e53bdf55979256d3dd3e28b083e0",
    "7e3b9808b2bad3237a38d0db6d0b135ac3d5d9f9be225fc87597e07b63ae5bd8",
    "29fe7a3991731902c371dcba1cf35c312a79e2fa526b298e7af7bca6f1d7c9a1",
    "59a788e811e97d34dbcb38c91a5adec933cb536cb3ead1bbf0ee811df44e62bf",
    "991daad134ee1b25ba6cc3a1fd6bf364884ed582e02528e961dfef428e982471",
    "067b1173c36bf7bf011741e4c6c07610a0ddbfb7115b591dd9be699640e00e53",
    "ca295b1b716276db7eecf346a9cf3b942cac70683a81c5772bf7a2f428b565fa",
    "54001ea3d70ce5e9d2c37b439791d80b677f973ce03a7fb4d15603cc98d35c85",
];

#[test]
#[cfg_attr(miri, ignore = "too slow there, and no other code")]
fn the_bits_are_those_of_all_versions_and_machines() {
    for kernels in all_kernels() {
        let digests = Format::ALL.map(|format| {
            let mut hash = Blake2b::<U32>::new();
            for kind in KINDS {
                let numbers = Numbers(9);
                let mut case = Case { numbers, kind };
                let columns = columns_of(format, 3);
                let w = case.matrix(format, 50, columns);
                let x = case.activations(11, columns);
                for value in product(&kernels, &w, &x, Finish::Add) {
                    hash.update(value.to_bits().to_le_bytes());
                }
            }
            let digest = hash.finalize();
            digest
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        });
        assert_eq!(digests, GOLDEN, "{}", kernels.isa());
    }
}

fn columns_of(format: Format, units: usize) -> usize {
    match format.block_values() {
        1 => 1 + 7 * units,
        values => units * values,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 1 } else { 40 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// The property the crate is for, with every format in every case.
    #[test]
    fn instruction_sets_threads_and_batches_change_no_bit(
        seed in any::<u64>(),
        rows in 1..if cfg!(miri) { 20usize } else { 150 },
        units in 1..if cfg!(miri) { 2usize } else { 6 },
        tokens in 1..if cfg!(miri) { 3usize } else { 40 },
        cut in 0..40usize,
        threads in 2..4usize,
    ) {
        for (format, kind) in Format::ALL.into_iter().flat_map(|f| KINDS.map(|kind| (f, kind))) {
            let mut case = Case { numbers: Numbers(seed), kind };
            let columns = columns_of(format, units);
            let w = case.matrix(format, rows, columns);
            let x = case.activations(tokens, columns);
            let bias = case.numbers.mixed(rows, 1.0, 20);
            for finish in [Finish::Store, Finish::Add, Finish::Bias(&bias)] {
                let mut all = all_kernels().into_iter();
                let portable = all.next().expect("always there");
                let expected = raw_bits(&product(&portable, &w, &x, finish));
                for kernels in all {
                    let found = product(&kernels, &w, &x, finish);
                    prop_assert_eq!(&raw_bits(&found), &expected, "{} {:?}", kernels.isa(), w);
                }
                for isa in Isa::available() {
                    let kernels = Kernels::new(isa, threads).expect("available");
                    // On all threads, however small it is.
                    let groups = w.groups();
                    let out = product_shared(&kernels, &w, &x, finish, groups);
                    prop_assert_eq!(&raw_bits(&out), &expected, "{} threads", threads);
                }
            }
            // In two pieces, as chunks of a prompt come.
            let at = cut % tokens * columns;
            let kernels = Kernels::new(Isa::detect(), 1).expect("detected");
            let mut pieces = product(&kernels, &w, &x[..at], Finish::Store);
            pieces.extend(product(&kernels, &w, &x[at..], Finish::Store));
            let whole = product(&kernels, &w, &x, Finish::Store);
            prop_assert_eq!(raw_bits(&pieces), raw_bits(&whole));
        }
    }
}

/// As [`product`], with each group of rows a part of its own.
fn product_shared(
    kernels: &Kernels,
    w: &PackedMatrix,
    x: &[f32],
    finish: Finish<'_>,
    groups: usize,
) -> Vec<f32> {
    let tokens = x.len() / w.columns();
    let mut out: Vec<f32> = (0..tokens * w.rows()).map(|i| i as f32 - 7.5).collect();
    let mut quantized = QuantizedRows::new();
    let operand = match w.format().is_quantized() {
        true => {
            let result = kernels.quantize(x, w.columns(), &mut quantized);
            result.expect("whole blocks");
            Operand::Quantized(&quantized)
        }
        false => Operand::F32(x),
    };
    let result = kernels.matmul_in_parts(w, operand, finish, &mut out, groups);
    result.expect("shapes fit");
    out
}

/// A product of decoded weights and activations, in f64.
fn exact(w: &PackedMatrix, x: &[f32]) -> Vec<f64> {
    let mut weights = vec![0.0; w.columns()];
    let tokens = x.len() / w.columns();
    let mut out = vec![0.0; tokens * w.rows()];
    for row in 0..w.rows() {
        w.row(row, &mut weights).expect("it is there");
        for (token, x) in x.chunks_exact(w.columns()).enumerate() {
            let products = weights.iter().zip(x);
            out[token * w.rows() + row] =
                products.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        }
    }
    out
}

#[test]
#[cfg_attr(miri, ignore = "too slow there, and no other code")]
fn products_are_those_of_the_decoded_weights() {
    let mut case = Case {
        numbers: Numbers(5),
        kind: Kind::Sane,
    };
    for format in Format::ALL {
        let columns = columns_of(format, if format.block_values() == 256 { 2 } else { 9 });
        let w = case.matrix(format, 37, columns);
        let x = case.activations(5, columns);
        let kernels = Kernels::new(Isa::detect(), 1).expect("detected");
        let found = product(&kernels, &w, &x, Finish::Store);
        let seen = if format.is_quantized() {
            let mut rows = QuantizedRows::new();
            kernels
                .quantize(&x, columns, &mut rows)
                .expect("whole blocks");
            (0..5)
                .flat_map(|row| rows.row(row).collect::<Vec<_>>())
                .collect()
        } else {
            x
        };
        for (found, exact) in found.iter().zip(exact(&w, &seen)) {
            let error = (f64::from(*found) - exact).abs();
            assert!(
                error < 2e-5 * (1.0 + exact.abs()),
                "{format:?}: {found} for {exact}"
            );
        }
    }
}

/// A block's values by the formats' definitions, read straight from the stored bytes.
fn decoded(format: Format, block: &[u8]) -> Vec<f32> {
    let f16 = |at: usize| half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    let nibbles = |at: usize| -> Vec<f32> {
        let bytes = &block[at..at + 16];
        let low = bytes.iter().map(|byte| f32::from(byte & 15));
        low.chain(bytes.iter().map(|byte| f32::from(byte >> 4)))
            .collect()
    };
    match format {
        Format::F32 => vec![f32::from_le_bytes([block[0], block[1], block[2], block[3]])],
        Format::F16 => vec![f16(0)],
        Format::Bf16 => vec![f32::from_bits(
            u32::from(u16::from_le_bytes([block[0], block[1]])) << 16,
        )],
        Format::Q4_0 => nibbles(2).iter().map(|n| f16(0) * (n - 8.0)).collect(),
        Format::Q4_1 => nibbles(4).iter().map(|n| f16(0) * n + f16(2)).collect(),
        Format::Q8_0 => block[2..]
            .iter()
            .map(|q| f16(0) * f32::from(*q as i8))
            .collect(),
        Format::Q4K => {
            // Scales and minima are a string of 6-bit numbers in disguise: the first four of each in the
            // low six bits of bytes 0 to 7, the others' low nibbles in bytes 8 to 11, and their upper bits
            // atop the first eight.
            let packed = &block[4..16];
            let value = |i: usize| {
                let sub = i / 32;
                let (s, m) = match sub {
                    0..4 => (packed[sub] & 63, packed[sub + 4] & 63),
                    _ => (
                        packed[sub + 4] & 15 | packed[sub - 4] >> 6 << 4,
                        packed[sub + 4] >> 4 | packed[sub] >> 6 << 4,
                    ),
                };
                let n = block[16 + i / 64 * 32 + i % 32] >> (4 * (sub % 2)) & 15;
                (f16(0) * f32::from(s)) * f32::from(n) - f16(2) * f32::from(m)
            };
            (0..256).map(value).collect()
        }
        Format::Q6K => {
            let value = |i: usize| {
                let (half, quarter, j) = (i / 128, i % 128 / 32, i % 32);
                let low = block[half * 64 + quarter % 2 * 32 + j] >> (quarter / 2 * 4) & 15;
                let upper = block[128 + half * 32 + j] >> (quarter * 2) & 3;
                let s = f32::from(block[192 + i / 16] as i8);
                (f16(208) * s) * (f32::from(low | upper << 4) - 32.0)
            };
            (0..256).map(value).collect()
        }
    }
}

#[test]
fn rows_come_back_as_the_formats_define_them() {
    for (format, kind) in Format::ALL
        .into_iter()
        .flat_map(|f| KINDS.map(|kind| (f, kind)))
    {
        let numbers = Numbers(6);
        let mut case = Case { numbers, kind };
        let (rows, columns) = (18, columns_of(format, 3));
        let stored = case.stored(format, rows, columns);
        let w = PackedMatrix::pack(format, rows, columns, &stored).expect("the right length");
        let row_bytes = stored.len() / rows;
        for (row, stored) in stored.chunks_exact(row_bytes).enumerate() {
            let mut found = vec![0.0; columns];
            w.row(row, &mut found).expect("it is there");
            let blocks = stored.chunks_exact(format.block_bytes());
            let expected: Vec<f32> = blocks.flat_map(|block| decoded(format, block)).collect();
            assert_eq!(bits(&found), bits(&expected), "{format:?}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too slow there, and no other code")]
fn extreme_bytes_overflow_nothing() {
    // The greatest sums that formats and activations allow, of either sign.
    for format in Format::ALL
        .into_iter()
        .filter(|format| format.is_quantized())
    {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let columns = 2 * format.block_values();
            let mut stored =
                vec![byte; 16 * columns / format.block_values() * format.block_bytes()];
            let one = half::f16::from_f32(1.0).to_le_bytes();
            for block in stored.chunks_exact_mut(format.block_bytes()) {
                match format {
                    Format::Q4_1 | Format::Q4K => block[..4].copy_from_slice(&[one, one].concat()),
                    Format::Q6K => block[208..].copy_from_slice(&one),
                    _ => block[..2].copy_from_slice(&one),
                }
            }
            let w = PackedMatrix::pack(format, 16, columns, &stored).expect("the right length");
            // 127 · 256 steps of 1 ÷ 256, where nothing is rounded; or, but for one in each block, a step
            // less than half of them, so that low bytes are −128.
            let greatest = vec![127.0; columns];
            let mut lowest = vec![126.5; columns];
            lowest.iter_mut().step_by(BLOCK).for_each(|x| *x = 127.0);
            let cases = [(&greatest, 0.0), (&lowest, 1e-6)];
            for ((x, rounded), sign) in cases.iter().flat_map(|x| [(x, 1.0), (x, -1.0)]) {
                let x: Vec<f32> = x.iter().map(|x| x * sign).collect();
                for kernels in all_kernels() {
                    let found = product(&kernels, &w, &x, Finish::Store);
                    let expected = exact(&w, &x);
                    for (found, expected) in found.iter().zip(expected) {
                        let error = (f64::from(*found) - expected).abs();
                        let isa = kernels.isa();
                        assert!(
                            error <= rounded * expected.abs(),
                            "{format:?} {isa}: {found} for {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_nan_is_always_the_same_one() {
    for format in Format::ALL {
        let columns = columns_of(format, 1);
        let mut case = Case {
            numbers: Numbers(8),
            kind: Kind::Sane,
        };
        let w = case.matrix(format, 16, columns);
        let mut x = case.activations(2, columns);
        x[0] = f32::INFINITY;
        x[columns] = f32::from_bits(0xffc0_1234);
        for kernels in all_kernels() {
            let found = product(&kernels, &w, &x, Finish::Store);
            let nan = |value: &&f32| value.is_nan();
            let of_nan = if format.is_quantized() {
                &found
            } else {
                &found[16..]
            };
            assert_eq!(of_nan.iter().filter(nan).count(), of_nan.len());
            for value in found.iter().filter(nan) {
                assert_eq!(value.to_bits(), f32::NAN.to_bits(), "{format:?}");
            }
        }
    }
}

#[test]
fn memory_is_what_files_take() {
    let cases = [
        (Format::F32, 4.0),
        (Format::F16, 2.0),
        (Format::Q4_0, 18.0 / 32.0),
        (Format::Q4_1, 20.0 / 32.0),
        (Format::Q8_0, 34.0 / 32.0),
    ];
    for (format, bytes) in cases {
        let stored = vec![0; (64.0 * 576.0 * bytes) as usize];
        let w = PackedMatrix::pack(format, 64, 576, &stored).expect("the right length");
        assert_eq!((w.rows(), w.columns(), w.format()), (64, 576, format));
        assert_eq!(w.bytes(), stored.len());
    }
    for format in [Format::Q4K, Format::Q6K] {
        let stored = vec![0; 16 * 2 * format.block_bytes()];
        let w = PackedMatrix::pack(format, 16, 512, &stored).expect("the right length");
        assert!(w.bytes() as f64 <= stored.len() as f64 * 17.0 / 16.0);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let pack = PackedMatrix::pack;
    for format in Format::ALL {
        let columns = 0;
        let refused = pack(format, 1, columns, &[]).map(drop);
        assert_eq!(refused, Err(MatrixError::Columns { format, columns }));
    }
    let (format, rows, columns, found) = (Format::Q4_0, 2, 48, 54);
    let refused = pack(format, rows, columns, &[0; 54]).map(drop);
    assert_eq!(refused, Err(MatrixError::Columns { format, columns }));
    let refused = pack(format, rows, 64, &[0; 54]).map(drop);
    let columns = 64;
    let length = |rows| MatrixError::Length {
        format,
        rows,
        columns,
        found,
    };
    assert_eq!(refused, Err(length(2)));
    let refused = pack(format, usize::MAX, 64, &[0; 54]).map(drop);
    assert_eq!(refused, Err(length(usize::MAX)));

    let w = pack(format, 2, 64, &[0; 72]).expect("the right length");
    let mut row = [0.0; 64];
    let refused = w.row(2, &mut row);
    assert_eq!(refused, Err(MatrixError::Row { row: 2, rows: 2 }));
    let refused = w.row(0, &mut row[1..]);
    let found = 63;
    assert_eq!(refused, Err(MatrixError::RowLength { columns, found }));

    let kernels = Kernels::new(Isa::detect(), 1).expect("detected");
    let mut x = QuantizedRows::new();
    let result = kernels.quantize(&row, 64, &mut x);
    result.expect("whole blocks");
    let mut out = [0.0; 2];
    let refused = kernels.matmul(&w, &row[..], &mut out);
    assert_eq!(refused, Err(ShapeError::Kind(format)));
    let refused = kernels.matmul(&w, &x, &mut out[1..]);
    let (expected, found) = (2, 1);
    assert_eq!(refused, Err(ShapeError::Output { expected, found }));
    let refused = kernels.matmul_with(&w, &x, Finish::Bias(&row[..1]), &mut out);
    assert_eq!(refused, Err(ShapeError::Bias { expected, found }));
    let result = kernels.quantize(&row, BLOCK, &mut x);
    result.expect("whole blocks");
    let refused = kernels.matmul(&w, &x, &mut out);
    let (expected, found) = (64, 32);
    assert_eq!(refused, Err(ShapeError::Input { expected, found }));

    let dense = pack(Format::F32, 2, 3, &[0; 24]).expect("the right length");
    let refused = kernels.matmul(&dense, &row[..4], &mut out);
    let (expected, found) = (3, 4);
    assert_eq!(refused, Err(ShapeError::Input { expected, found }));
    assert_eq!(
        kernels.matmul(&dense, &x, &mut out),
        Err(ShapeError::Kind(Format::F32))
    );
}

#[test]
fn empty_products_are_empty() {
    for kernels in all_kernels() {
        for format in Format::ALL {
            let columns = columns_of(format, 1);
            let none = PackedMatrix::pack(format, 0, columns, &[]).expect("the right length");
            assert_eq!(
                product(&kernels, &none, &vec![1.0; columns], Finish::Store),
                []
            );
            let stored = vec![0; columns / format.block_values() * format.block_bytes()];
            let w = PackedMatrix::pack(format, 1, columns, &stored).expect("the right length");
            assert_eq!(product(&kernels, &w, &[], Finish::Store), []);
        }
    }
}
