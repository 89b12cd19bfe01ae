//! The storage formats that are multiplied with.

/// How the numbers of a matrix are stored. The block formats are llama.cpp's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an [`Format::F32`].
    Bf16,
    /// Blocks of 32: f16 scale d, nibbles; value = d·(n − 8).
    Q4_0,
    /// Blocks of 32: f16 scale d, f16 minimum m, nibbles; value = d·n + m.
    Q4_1,
    /// Blocks of 32: f16 scale d, signed bytes; value = d·q.
    Q8_0,
    /// Blocks of 256, eight sub-blocks of 32 with 6-bit scales s and minima m: nibbles;
    /// value = (d·s)·n − e·m, with f16 d and e.
    Q4K,
    /// Blocks of 256, sixteen sub-blocks of 16 with 8-bit scales s: six bits;
    /// value = (d·s)·(n − 32), with f16 d.
    Q6K,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q6K,
    ];

    /// Whether it is multiplied with [quantised](crate::QuantizedRows) activations; else f32.
    pub fn is_quantized(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Values in a stored block: a row is a whole number of them.
    pub fn block_values(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q6K => 256,
        }
    }

    /// Bytes of a stored block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q6K => 210,
        }
    }
}
