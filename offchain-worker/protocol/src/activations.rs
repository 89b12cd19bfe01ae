//! Hidden states on the wire: `[tokens, hidden]`, row-major, little endian, in a declared type.

use bytes::Bytes;
use codec::{Decode, Encode};
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
}

impl ActivationsHeader {
    /// Bytes of the payload, `None` for a type that is never sent or a size that overflows.
    pub fn byte_len(&self) -> Option<usize> {
        let width = match self.dtype {
            DType::F32 => 4,
            DType::F16 | DType::Bf16 => 2,
            _ => return None,
        };
        (self.tokens as usize)
            .checked_mul(self.hidden as usize)?
            .checked_mul(width)
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
        let tokens = values.len().checked_div(hidden as usize).unwrap_or(0) as u32;
        let mut bytes = vec![0; size_of_val(values)];
        for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        Self::new(
            ActivationsHeader {
                dtype: DType::F32,
                tokens,
                hidden,
            },
            bytes.into(),
        )
    }

    /// The numbers, `[tokens, hidden]`. Only `F32` is read in this version; others are refused
    /// when a stream opens.
    pub fn to_f32(&self) -> Result<Vec<f32>, ActivationsError> {
        if self.header.dtype != DType::F32 {
            return Err(ActivationsError::Type(self.header.dtype));
        }
        let values: Vec<f32> = self
            .bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
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
