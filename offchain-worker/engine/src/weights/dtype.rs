//! Storage formats of numbers, and their way to f32.
//!
//! The block formats are llama.cpp's. Every value comes out as the same f32 that the reference
//! implementations give: products and sums are rounded one by one, nothing is fused.

use half::{bf16, f16};
use quipu_primitives::DType;

/// A storage format that the engine reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// Values of a K-quant's super-block.
const SUPER: usize = 256;

impl Format {
    /// The format with this number in GGUF, if the engine reads it.
    pub fn from_gguf(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// The name that manifests have for it; `Mixed` where they have none.
    pub fn in_manifests(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::Bf16,
            Self::Q4_0 => DType::Q4_0,
            Self::Q4_1 => DType::Q4_1,
            Self::Q8_0 => DType::Q8_0,
            Self::Q5_0 | Self::Q5_1 | Self::Q4K | Self::Q5K | Self::Q6K => DType::Mixed,
        }
    }

    /// Values in a block.
    pub fn block_values(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => SUPER,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Bytes that `values` numbers take; `None` if they don't fill whole blocks or don't fit a u64.
    pub fn bytes_of(self, values: u64) -> Option<u64> {
        let block = self.block_values() as u64;
        values.is_multiple_of(block).then_some(())?;
        (values / block).checked_mul(self.block_bytes() as u64)
    }

    /// Turns `bytes` into f32. Both hold the same whole number of blocks; what is beyond the
    /// shorter one is left alone.
    pub fn dequantize(self, bytes: &[u8], out: &mut [f32]) {
        let blocks = bytes
            .chunks_exact(self.block_bytes())
            .zip(out.chunks_exact_mut(self.block_values()));
        let convert: fn(&[u8], &mut [f32]) = match self {
            Self::F32 => |b, o| o[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            Self::F16 => |b, o| o[0] = f16_at(b, 0),
            Self::Bf16 => |b, o| o[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32(),
            Self::Q4_0 => q4_0,
            Self::Q4_1 => q4_1,
            Self::Q5_0 => q5_0,
            Self::Q5_1 => q5_1,
            Self::Q8_0 => q8_0,
            Self::Q4K => q4_k,
            Self::Q5K => q5_k,
            Self::Q6K => q6_k,
        };
        for (block, values) in blocks {
            convert(block, values);
        }
    }
}

fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// f16 scale; 32 nibbles, low halves first; value = scale × (nibble − 8).
fn q4_0(block: &[u8], out: &mut [f32]) {
    let scale = f16_at(block, 0);
    for (i, byte) in block[2..18].iter().enumerate() {
        out[i] = scale * (f32::from(byte & 15) - 8.0);
        out[i + 16] = scale * (f32::from(byte >> 4) - 8.0);
    }
}

/// f16 scale, f16 minimum; 32 nibbles; value = scale × nibble + minimum.
fn q4_1(block: &[u8], out: &mut [f32]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    for (i, byte) in block[4..20].iter().enumerate() {
        out[i] = scale * f32::from(byte & 15) + minimum;
        out[i + 16] = scale * f32::from(byte >> 4) + minimum;
    }
}

/// The fifth bits of 32 values, as a little-endian word; the values' low nibbles follow.
fn five_bits(block: &[u8], at: usize, mut put: impl FnMut(usize, f32)) {
    let high = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    for (i, byte) in block[at + 4..at + 20].iter().enumerate() {
        let bit = |i: usize| ((high >> i) & 1) as u8 * 16;
        put(i, f32::from((byte & 15) | bit(i)));
        put(i + 16, f32::from((byte >> 4) | bit(i + 16)));
    }
}

/// f16 scale, fifth bits, nibbles; value = scale × (q − 16).
fn q5_0(block: &[u8], out: &mut [f32]) {
    let scale = f16_at(block, 0);
    five_bits(block, 2, |i, q| out[i] = scale * (q - 16.0));
}

/// f16 scale, f16 minimum, fifth bits, nibbles; value = scale × q + minimum.
fn q5_1(block: &[u8], out: &mut [f32]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    five_bits(block, 4, |i, q| out[i] = scale * q + minimum);
}

/// f16 scale, 32 signed bytes.
fn q8_0(block: &[u8], out: &mut [f32]) {
    let scale = f16_at(block, 0);
    for (value, byte) in out.iter_mut().zip(&block[2..34]) {
        *value = scale * f32::from(*byte as i8);
    }
}

/// The 6-bit scale and minimum of sub-block `i` of 8, packed into 12 bytes.
fn scale_and_minimum(packed: &[u8], i: usize) -> (f32, f32) {
    let (scale, minimum) = if i < 4 {
        (packed[i] & 63, packed[i + 4] & 63)
    } else {
        (
            (packed[i + 4] & 15) | ((packed[i - 4] >> 6) << 4),
            (packed[i + 4] >> 4) | ((packed[i] >> 6) << 4),
        )
    };
    (f32::from(scale), f32::from(minimum))
}

/// f16 scale of scales, f16 scale of minima, 8 × (scale, minimum), 256 nibbles: 64 values share 32
/// bytes, low halves first.
fn q4_k(block: &[u8], out: &mut [f32]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    for sub in 0..8 {
        let (s, m) = scale_and_minimum(&block[4..16], sub);
        let (s, m) = (scale * s, minimum * m);
        let bytes = &block[16 + sub / 2 * 32..][..32];
        for (value, byte) in out[sub * 32..][..32].iter_mut().zip(bytes) {
            *value = s * f32::from((byte >> (sub % 2 * 4)) & 15) - m;
        }
    }
}

/// As [`q4_k`], with the fifth bits of the eight sub-blocks in the bit planes of 32 bytes.
fn q5_k(block: &[u8], out: &mut [f32]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    let high = &block[16..48];
    for sub in 0..8 {
        let (s, m) = scale_and_minimum(&block[4..16], sub);
        let (s, m) = (scale * s, minimum * m);
        let low = &block[48 + sub / 2 * 32..][..32];
        for (i, value) in out[sub * 32..][..32].iter_mut().enumerate() {
            let q = ((low[i] >> (sub % 2 * 4)) & 15) | (((high[i] >> sub) & 1) << 4);
            *value = s * f32::from(q) - m;
        }
    }
}

/// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales, f16 scale.
fn q6_k(block: &[u8], out: &mut [f32]) {
    let scale = f16_at(block, 208);
    for (i, value) in out.iter_mut().enumerate().take(SUPER) {
        // Each half of 128 values has 64 low bytes and 32 high bytes; a quarter of 32 values
        // takes one nibble of the low bytes and one bit pair of the high ones.
        let (half, quarter, j) = (i / 128, i % 128 / 32, i % 32);
        let low = block[half * 64 + quarter % 2 * 32 + j] >> (quarter / 2 * 4) & 15;
        let high = block[128 + half * 32 + j] >> (quarter * 2) & 3;
        let sub_scale = f32::from(block[192 + i / 16] as i8);
        *value = (scale * sub_scale) * (f32::from(low | high << 4) - 32.0);
    }
}

#[cfg(test)]
mod tests;
