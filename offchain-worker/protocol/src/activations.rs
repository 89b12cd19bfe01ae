//! Hidden states on the wire: `[tokens, hidden]`, row-major, little endian, in a declared type.
//!
//! Spans compute in f32. Where the type is another, each number is rounded to the nearest that the
//! type has, of two equally near ones to the even one, whenever it goes out: what one span gives is
//! then to the bit what the next one takes. An exact profile stays exact, for one cut into spans: two
//! spans round once more than one that holds the blocks of both. A number beyond the largest of the
//! type can't be sent.

use bytes::Bytes;
use codec::{Decode, Encode};
use half::{bf16, f16};
use quipu_primitives::DType;

/// Shape and type of a payload of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ActivationsHeader {
    /// Type of each number; `F32`, `F16` or `Bf16`.
    pub dtype: DType,
    /// Positions: rows.
    pub tokens: u32,
    /// Width of the residual stream: columns.
    pub hidden: u32,
}

/// Hidden states with their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activations {
    /// Shape and type.
    pub header: ActivationsHeader,
    /// `tokens × hidden` numbers.
    pub bytes: Bytes,
}

/// Why activations can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActivationsError {
    /// Type that is never sent.
    #[error("activations can't be sent as {0:?}")]
    Type(DType),
    /// The payload's length is not what shape and type ask for.
    #[error("the payload has {got} bytes where its header asks for {expected}")]
    Length {
        /// `tokens × hidden × bytes of the type`.
        expected: usize,
        /// What came.
        got: usize,
    },
    /// A number is not finite: no honest model sends it.
    #[error("the activations hold a number that is not finite")]
    NotFinite,
    /// A number is too large for the type that is sent. The model's activations reach further than the
    /// profile allows for: nobody's fault but that of who chose it.
    #[error(
        "the activations reach beyond {0:?}; the subnet needs a profile with activations in Bf16 or F32"
    )]
    Beyond(DType),
}

/// Bytes of a number of this type on the wire; `None` for one that is never sent.
pub fn width(dtype: DType) -> Option<usize> {
    match dtype {
        DType::F32 => Some(4),
        DType::F16 | DType::Bf16 => Some(2),
        _ => None,
    }
}

impl ActivationsHeader {
    /// Bytes of the payload, `None` for a type that is never sent or a size that overflows.
    pub fn byte_len(&self) -> Option<usize> {
        (self.tokens as usize)
            .checked_mul(self.hidden as usize)?
            .checked_mul(width(self.dtype)?)
    }
}

impl Activations {
    /// Pairs a header with a payload that fits it.
    pub fn new(header: ActivationsHeader, bytes: Bytes) -> Result<Self, ActivationsError> {
        let expected = header
            .byte_len()
            .ok_or(ActivationsError::Type(header.dtype))?;
        if bytes.len() != expected {
            return Err(ActivationsError::Length {
                expected,
                got: bytes.len(),
            });
        }
        Ok(Activations { header, bytes })
    }

    /// `values` (`[tokens, hidden]`) as `F32`.
    pub fn from_f32(values: &[f32], hidden: u32) -> Result<Self, ActivationsError> {
        Self::rounded(values, hidden, DType::F32)
    }

    /// `values` (`[tokens, hidden]`), each as the nearest number of a type.
    pub fn rounded(values: &[f32], hidden: u32, dtype: DType) -> Result<Self, ActivationsError> {
        let tokens = values.len().checked_div(hidden as usize).unwrap_or(0) as u32;
        let bytes = match dtype {
            DType::F32 => little(values, |value| value.to_le_bytes()),
            DType::F16 => {
                let rounded = |value| f16::from_f32(value).to_le_bytes();
                little(values, rounded)
            }
            DType::Bf16 => {
                let rounded = |value| bf16::from_f32(value).to_le_bytes();
                little(values, rounded)
            }
            other => return Err(ActivationsError::Type(other)),
        };
        let header = ActivationsHeader {
            dtype,
            tokens,
            hidden,
        };
        let activations = Self::new(header, bytes.into())?;
        // What is finite in f32 may be beyond the type.
        if dtype != DType::F32 && activations.to_f32().is_err() {
            return Err(match values.iter().all(|value| value.is_finite()) {
                true => ActivationsError::Beyond(dtype),
                false => ActivationsError::NotFinite,
            });
        }
        Ok(activations)
    }

    /// The numbers, `[tokens, hidden]`.
    pub fn to_f32(&self) -> Result<Vec<f32>, ActivationsError> {
        let values: Vec<f32> = match self.header.dtype {
            DType::F32 => numbers(&self.bytes, f32::from_le_bytes),
            DType::F16 => numbers(&self.bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            DType::Bf16 => numbers(&self.bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            other => return Err(ActivationsError::Type(other)),
        };
        if values.iter().any(|value| !value.is_finite()) {
            return Err(ActivationsError::NotFinite);
        }
        Ok(values)
    }

    /// Rows `start..end` of these, sharing the bytes.
    pub fn rows(&self, start: u32, end: u32) -> Option<Activations> {
        if start > end || end > self.header.tokens {
            return None;
        }
        let row = self.bytes.len().checked_div(self.header.tokens as usize)?;
        let bytes = self.bytes.slice(row * start as usize..row * end as usize);
        Some(Activations {
            header: ActivationsHeader {
                tokens: end - start,
                ..self.header
            },
            bytes,
        })
    }
}

/// The bytes of numbers, `W` for each.
fn little<const W: usize>(values: &[f32], bytes: impl Fn(f32) -> [u8; W]) -> Vec<u8> {
    let mut all = vec![0; values.len() * W];
    for (place, value) in all.chunks_exact_mut(W).zip(values) {
        place.copy_from_slice(&bytes(*value));
    }
    all
}

/// The numbers that bytes come to, `W` for each.
fn numbers<const W: usize>(bytes: &[u8], number: impl Fn([u8; W]) -> f32) -> Vec<f32> {
    let (whole, _) = bytes.as_chunks::<W>();
    whole.iter().map(|bytes| number(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_went() {
        let values = [1.5f32, -2.25, 0.0, 3.0e-20, 7.0, 8.0];
        let activations = Activations::from_f32(&values, 3).unwrap();
        assert_eq!(activations.header.tokens, 2);
        assert_eq!(activations.to_f32().unwrap(), values);
        assert_eq!(
            activations.rows(1, 2).unwrap().to_f32().unwrap(),
            values[3..]
        );
        assert!(activations.rows(1, 3).is_none());
    }

    /// The nearest number of a type with `mantissa` bits, and `least` as exponent of its smallest.
    fn nearest(value: f32, mantissa: i32, least: i32) -> f32 {
        let value = f64::from(value);
        let exponent = value.abs().log2().floor().max(f64::from(least)) as i32;
        let unit = 2f64.powi(exponent - mantissa);
        ((value / unit).round_ties_even() * unit) as f32
    }

    #[test]
    fn sixteen_bits_are_the_nearest_ones() {
        let mut values = vec![0.0, -0.0, 1.0, -2.5, 65504.0, 1e-7, 5.96e-8, 2.9e-8, -1e-5];
        // Exactly between two numbers of either type, and a little beside it.
        for mantissa in [7, 10] {
            for place in [1u32, 2, 3, 100] {
                let half = 1.0 + (place as f32 + 0.5) * 2f32.powi(-mantissa);
                values.extend([half, -half, half.next_up(), half.next_down()]);
            }
        }
        let mut bits = 12345u32;
        while values.len() < 5000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(bits);
            values.extend((value.abs() < 65504.0).then_some(value));
        }
        let sent = |dtype| Activations::rounded(&values, 1, dtype).unwrap();
        let (half, brain) = (sent(DType::F16), sent(DType::Bf16));
        assert_eq!((half.bytes.len(), half.header.tokens), (10_000, 5000));
        let (half, brain) = (half.to_f32().unwrap(), brain.to_f32().unwrap());
        for (place, value) in values.iter().enumerate() {
            assert_eq!(half[place], nearest(*value, 10, -14), "{value:e} in f16");
            assert_eq!(brain[place], nearest(*value, 7, -126), "{value:e} in bf16");
        }
    }

    #[test]
    fn what_went_once_goes_again_unchanged() {
        for dtype in [DType::F32, DType::F16, DType::Bf16] {
            let sent = Activations::rounded(&[0.1, -7.77, 123.456, 3e-3], 2, dtype).unwrap();
            let again = Activations::rounded(&sent.to_f32().unwrap(), 2, dtype);
            assert_eq!(again, Ok(sent));
        }
    }

    #[test]
    fn numbers_beyond_a_type_are_not_sent() {
        let send = |value, dtype| Activations::rounded(&[value], 1, dtype).map(|sent| sent.bytes);
        assert!(send(65519.0, DType::F16).is_ok());
        let beyond = |dtype| Err(ActivationsError::Beyond(dtype));
        assert_eq!(send(65520.0, DType::F16), beyond(DType::F16));
        assert_eq!(send(-1e6, DType::F16), beyond(DType::F16));
        assert!(send(65520.0, DType::Bf16).is_ok());
        assert_eq!(send(f32::MAX, DType::Bf16), beyond(DType::Bf16));
        assert_eq!(send(f32::NAN, DType::F16), Err(ActivationsError::NotFinite));
        assert_eq!(
            send(1.0, DType::Q8_0),
            Err(ActivationsError::Type(DType::Q8_0))
        );
    }

    #[test]
    fn wrong_payloads_are_refused() {
        let header = ActivationsHeader {
            dtype: DType::F32,
            tokens: 2,
            hidden: 3,
        };
        assert_eq!(
            Activations::new(header, vec![0; 23].into()),
            Err(ActivationsError::Length {
                expected: 24,
                got: 23
            })
        );
        let quantised = ActivationsHeader {
            dtype: DType::Q4_1,
            ..header
        };
        assert_eq!(
            Activations::new(quantised, Bytes::new()),
            Err(ActivationsError::Type(DType::Q4_1))
        );
        let infinite = Activations::from_f32(&[f32::INFINITY], 1).unwrap();
        assert_eq!(infinite.to_f32(), Err(ActivationsError::NotFinite));
        assert!(Activations::from_f32(&[1.0; 5], 3).is_err());
    }
}
