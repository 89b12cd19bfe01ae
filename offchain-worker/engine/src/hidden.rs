//! What crosses a span boundary.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use crate::error::EngineError;

/// Hidden states of consecutive tokens: `tokens` rows of the model's width, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HiddenStates {
    /// `tokens × width` numbers.
    pub data: Vec<f32>,
    /// Number of rows.
    pub tokens: usize,
}

impl HiddenStates {
    /// Width of a row; 0 if there are no rows.
    pub fn width(&self) -> usize {
        self.data.len().checked_div(self.tokens).unwrap_or(0)
    }

    /// Row of the `token`-th token, if there is one.
    pub fn row(&self, token: usize) -> Option<&[f32]> {
        self.data.chunks_exact(self.width().max(1)).nth(token)
    }

    /// Checks the size and that every number is finite.
    pub(crate) fn validate(&self, width: usize) -> Result<(), EngineError> {
        if self.tokens == 0 {
            return Err(EngineError::NoTokens);
        }
        let expected = self.tokens.saturating_mul(width);
        if self.data.len() != expected {
            let found = self.data.len();
            return Err(EngineError::WrongSize {
                tokens: self.tokens,
                expected,
                found,
            });
        }
        match self.data.iter().position(|number| !number.is_finite()) {
            Some(at) => Err(EngineError::NotFinite { token: at / width }),
            None => Ok(()),
        }
    }
}

/// Rows as a tensor `[tokens, width]`.
pub(crate) fn to_tensor<B: Backend>(
    rows: Vec<f32>,
    width: usize,
    device: &B::Device,
) -> Tensor<B, 2> {
    let tokens = rows.len() / width;
    Tensor::from_data(TensorData::new(rows, [tokens, width]), device)
}

/// The numbers of a tensor `[tokens, width]`, row-major, all of which must be finite.
pub(crate) fn to_finite_vec<B: Backend>(tensor: Tensor<B, 2>) -> Result<Vec<f32>, EngineError> {
    let [_, width] = tensor.dims();
    let data = tensor
        .try_into_data()
        .map_err(|error| EngineError::Backend(format!("{error:?}")))?;
    let rows: Vec<f32> = data
        .into_vec()
        .map_err(|error| EngineError::Backend(format!("{error:?}")))?;
    match rows.iter().position(|number| !number.is_finite()) {
        Some(at) => Err(EngineError::Diverged { token: at / width }),
        None => Ok(rows),
    }
}
