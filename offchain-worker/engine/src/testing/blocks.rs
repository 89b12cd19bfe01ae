//! Plain encoders of the block formats: nearest values, no search for better scales.

use half::{bf16, f16};

use super::TinyStorage as Storage;

/// `values`, a whole number of blocks, in `storage`.
pub(super) fn encode(storage: Storage, values: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    for block in values.chunks(storage.format().block_values()) {
        match storage {
            Storage::F32 => out.extend(block[0].to_le_bytes()),
            Storage::F16 => out.extend(f16::from_f32(block[0]).to_le_bytes()),
            Storage::Bf16 => out.extend(bf16::from_f32(block[0]).to_le_bytes()),
            Storage::Q4_0 => symmetric(block, 8, &mut out),
            Storage::Q5_0 => symmetric(block, 16, &mut out),
            Storage::Q4_1 => with_minimum(block, 15, &mut out),
            Storage::Q5_1 => with_minimum(block, 31, &mut out),
            Storage::Q8_0 => bytes(block, &mut out),
            Storage::Q4K => super_4(block, &mut out),
            Storage::Q6K => super_6(block, &mut out),
        }
    }
    out
}

fn greatest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// The scale as it is stored, and 1 where it is zero, to divide by.
fn put_scale(scale: f32, out: &mut Vec<u8>) -> f32 {
    let stored = f16::from_f32(scale);
    out.extend(stored.to_le_bytes());
    divisor(stored.to_f32())
}

fn divisor(scale: f32) -> f32 {
    if scale == 0.0 {
        1.0
    } else {
        scale
    }
}

fn nearest(value: f32, most: u8) -> u8 {
    value.round().clamp(0.0, f32::from(most)) as u8
}

/// Nibbles, low halves first, behind the fifth bits if there are any.
fn put_nibbles(numbers: &[u8], five_bits: bool, out: &mut Vec<u8>) {
    if five_bits {
        let bits = numbers
            .iter()
            .enumerate()
            .fold(0u32, |bits, (i, n)| bits | u32::from(n >> 4) << i);
        out.extend(bits.to_le_bytes());
    }
    let (low, high) = numbers.split_at(16);
    out.extend(low.iter().zip(high).map(|(l, h)| (l & 15) | (h & 15) << 4));
}

fn symmetric(block: &[f32], zero: u8, out: &mut Vec<u8>) {
    let scale = put_scale(greatest(block) / f32::from(zero - 1), out);
    let number = |x: &f32| nearest(x / scale + f32::from(zero), 2 * zero - 1);
    let numbers: Vec<u8> = block.iter().map(number).collect();
    put_nibbles(&numbers, zero == 16, out);
}

fn with_minimum(block: &[f32], most: u8, out: &mut Vec<u8>) {
    let low = block.iter().copied().fold(f32::INFINITY, f32::min);
    let high = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = put_scale((high - low) / f32::from(most), out);
    let low = f16::from_f32(low);
    out.extend(low.to_le_bytes());
    let number = |x: &f32| nearest((x - low.to_f32()) / scale, most);
    let numbers: Vec<u8> = block.iter().map(number).collect();
    put_nibbles(&numbers, most == 31, out);
}

fn bytes(block: &[f32], out: &mut Vec<u8>) {
    let scale = put_scale(greatest(block) / 127.0, out);
    out.extend(block.iter().map(|x| (x / scale).round() as i8 as u8));
}

fn super_4(block: &[f32], out: &mut Vec<u8>) {
    let subs: Vec<&[f32]> = block.chunks(32).collect();
    let low = |sub: &[f32]| -sub.iter().copied().fold(0.0, f32::min);
    let high = |sub: &[f32]| sub.iter().copied().fold(0.0, f32::max);
    let minima: Vec<f32> = subs.iter().map(|sub| low(sub)).collect();
    let scales: Vec<f32> = subs.iter().map(|s| (high(s) + low(s)) / 15.0).collect();
    let scale = put_scale(greatest(&scales) / 63.0, out);
    let minimum = put_scale(greatest(&minima) / 63.0, out);
    let s: Vec<u8> = scales.iter().map(|x| nearest(x / scale, 63)).collect();
    let m: Vec<u8> = minima.iter().map(|x| nearest(x / minimum, 63)).collect();
    out.extend((0..4).map(|i| s[i] | s[i + 4] >> 4 << 6));
    out.extend((0..4).map(|i| m[i] | m[i + 4] >> 4 << 6));
    out.extend((4..8).map(|i| s[i] & 15 | (m[i] & 15) << 4));
    let numbers = |i: usize| -> Vec<u8> {
        let (step, low) = (scale * f32::from(s[i]), minimum * f32::from(m[i]));
        let number = |x: &f32| nearest((x + low) / divisor(step), 15);
        subs[i].iter().map(number).collect()
    };
    for pair in 0..4 {
        let (low, high) = (numbers(2 * pair), numbers(2 * pair + 1));
        out.extend(low.iter().zip(high).map(|(l, h)| l | h << 4));
    }
}

fn super_6(block: &[f32], out: &mut Vec<u8>) {
    let steps: Vec<f32> = block.chunks(16).map(|sub| greatest(sub) / 31.0).collect();
    let mut end = Vec::new();
    let scale = put_scale(greatest(&steps) / 127.0, &mut end);
    let scales: Vec<u8> = steps.iter().map(|x| nearest(x / scale, 127)).collect();
    let (mut low, mut high) = ([0u8; 128], [0u8; 64]);
    for (i, x) in block.iter().enumerate() {
        let step = divisor(scale * f32::from(scales[i / 16]));
        let number = nearest(x / step + 32.0, 63);
        let (half, quarter, j) = (i / 128, i % 128 / 32, i % 32);
        low[half * 64 + quarter % 2 * 32 + j] |= (number & 15) << (quarter / 2 * 4);
        high[half * 32 + j] |= (number >> 4) << (quarter * 2);
    }
    out.extend(low);
    out.extend(high);
    out.extend(scales);
    out.extend(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        let mut state = 1;
        let values: Vec<f32> = (0..1024)
            .map(|_| crate::testing::uniform(&mut state))
            .collect();
        for (storage, most) in [
            (Storage::F32, 0.0),
            (Storage::F16, 1e-3),
            (Storage::Bf16, 1e-2),
            (Storage::Q4_0, 0.08),
            (Storage::Q4_1, 0.08),
            (Storage::Q5_0, 0.04),
            (Storage::Q5_1, 0.04),
            (Storage::Q8_0, 0.005),
            (Storage::Q4K, 0.1),
            (Storage::Q6K, 0.03),
        ] {
            let bytes = encode(storage, &values);
            let format = storage.format();
            assert_eq!(format.bytes_of(1024), Some(bytes.len() as u64));
            let mut back = vec![0.0; 1024];
            format.dequantize(&bytes, &mut back);
            for (a, b) in values.iter().zip(back) {
                assert!((a - b).abs() <= most, "{format:?}: {a} became {b}");
            }
        }
    }
}
