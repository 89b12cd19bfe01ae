//! Matrix products with weights: the one place where a quantised kernel will stand in.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use crate::weights::model::Model;
use crate::weights::source::StoredTensor;
use crate::weights::WeightsError;

/// `y = x·Wᵀ + b`, with W as models store it: a row per output.
#[derive(Debug)]
pub(crate) struct Linear<B: Backend> {
    weight: Weight<B>,
    /// `[1, outputs]`.
    bias: Option<Tensor<B, 2>>,
}

/// How the weight is held. A variant for stored blocks, with a custom op that multiplies by them,
/// goes beside this one.
#[derive(Debug)]
enum Weight<B: Backend> {
    /// `Wᵀ`, `[inputs, outputs]`, as a view of the row-major W: for one token a product then runs
    /// along the rows.
    Dense(Tensor<B, 2>),
}

impl<B: Backend> Linear<B> {
    /// Reads `weight`, `[outputs, inputs]`.
    pub fn load(weight: &StoredTensor, device: &B::Device) -> Result<Self, WeightsError> {
        let shape = [0, 1].map(|i| weight.info.shape.get(i).copied().unwrap_or(0) as usize);
        let rows = Tensor::from_data(TensorData::new(weight.load()?, shape), device);
        Ok(Self {
            weight: Weight::Dense(rows.transpose()),
            bias: None,
        })
    }

    /// Reads `{name}.weight`, and `{name}.bias` if asked to.
    pub fn load_named(
        model: &Model,
        name: &str,
        [outputs, inputs]: [usize; 2],
        bias: bool,
        device: &B::Device,
    ) -> Result<Self, WeightsError> {
        let weight = model.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let mut linear = Self::load(&weight, device)?;
        if bias {
            let values = model.tensor(&format!("{name}.bias"), &[outputs])?.load()?;
            let data = TensorData::new(values, [1, outputs]);
            linear.bias = Some(Tensor::from_data(data, device));
        }
        Ok(linear)
    }

    /// `[tokens, inputs]` to `[tokens, outputs]`.
    pub fn forward(&self, input: Tensor<B, 2>) -> Tensor<B, 2> {
        let product = match &self.weight {
            Weight::Dense(transposed) => input.matmul(transposed.clone()),
        };
        match &self.bias {
            Some(bias) => product + bias.clone(),
            None => product,
        }
    }
}
