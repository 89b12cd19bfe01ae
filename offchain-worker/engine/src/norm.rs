//! RMS norm.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use crate::weights::model::Model;
use crate::weights::WeightsError;

/// `x / √(mean(x²) + ε) × weight`, per token.
#[derive(Debug)]
pub(crate) struct RmsNorm<B: Backend> {
    /// `[1, width]`.
    weight: Tensor<B, 2>,
    epsilon: f64,
}

impl<B: Backend> RmsNorm<B> {
    /// Reads the vector called `name`, of the model's width.
    pub fn load(model: &Model, name: &str, device: &B::Device) -> Result<Self, WeightsError> {
        let width = model.config().hidden_size;
        let values = model.tensor(name, &[width])?.load()?;
        let weight = Tensor::from_data(TensorData::new(values, [1, width]), device);
        Ok(Self {
            weight,
            epsilon: model.config().rms_norm_eps,
        })
    }

    /// `[tokens, width]` to the same.
    pub fn forward(&self, input: Tensor<B, 2>) -> Tensor<B, 2> {
        let square = input.clone() * input.clone();
        let scale = (square.mean_dim(1) + self.epsilon).sqrt().recip();
        input * scale * self.weight.clone()
    }
}
