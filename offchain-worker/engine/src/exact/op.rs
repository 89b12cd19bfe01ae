//! Products with stored weights as an operation of Burn, for training what stands beside them.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Tensor, TensorData, TensorPrimitive};
use quipu_kernels::{Kernels, QuantizedRows};

use super::linear::Linear;
use crate::error::EngineError;
use crate::weights::model::Model;
use crate::weights::names;
use crate::weights::WeightsError;

/// A frozen linear layer whose weights stay as they are stored: `y = x·Wᵀ + b` by the reproducible
/// kernels, on Burn's CPU backend.
///
/// Gradients flow through it to its input, dX = dY·W with W as f32 for the time of that product, as if
/// activations were not rounded; so an adapter beside or before it can be trained without ever
/// holding the model as f32. The weights themselves have none.
#[derive(Clone, Debug)]
pub struct PackedLinear {
    frozen: Arc<Frozen>,
}

#[derive(Debug)]
struct Frozen {
    linear: Linear,
    kernels: Arc<Kernels>,
    inputs: usize,
    outputs: usize,
}

impl PackedLinear {
    /// Reads the layer `part` of block `block`, such as `self_attn.q_proj` or `mlp.down_proj`.
    pub fn load(
        model: &Model,
        block: usize,
        part: &str,
        kernels: Arc<Kernels>,
    ) -> Result<Self, EngineError> {
        let config = model.config();
        let name = names::in_block(block, part);
        let weight = format!("{name}.weight");
        let known = names::block_tensors(config, block);
        let shape = |name: &str| known.iter().find(|(known, _)| known == name);
        let Some((_, [outputs, inputs])) =
            shape(&weight).map(|(name, shape)| (name, shape.as_slice()))
        else {
            return Err(WeightsError::MissingTensor(weight).into());
        };
        let bias = shape(&format!("{name}.bias")).is_some();
        Ok(Self {
            frozen: Arc::new(Frozen {
                linear: Linear::load(model, &[(name, *outputs)], *inputs, bias)?,
                kernels,
                inputs: *inputs,
                outputs: *outputs,
            }),
        })
    }

    /// `[tokens, inputs]` to `[tokens, outputs]`.
    pub fn forward(&self, input: Tensor<Flex, 2>) -> Result<Tensor<Flex, 2>, EngineError> {
        let failed = |error: String| EngineError::Backend(error);
        let Frozen {
            linear,
            kernels,
            inputs,
            outputs,
        } = &*self.frozen;
        let [tokens, width] = input.dims();
        if width != *inputs {
            return Err(EngineError::WrongSize {
                tokens,
                expected: tokens * inputs,
                found: tokens * width,
            });
        }
        let device = input.device();
        let data = input
            .try_into_data()
            .map_err(|error| failed(format!("{error:?}")))?;
        let rows: Vec<f32> = data
            .into_vec()
            .map_err(|error| failed(format!("{error:?}")))?;
        let mut out = vec![0.0; tokens * outputs];
        linear
            .forward(kernels, &rows, &mut QuantizedRows::new(), &mut out)
            .map_err(|error| failed(error.to_string()))?;
        let data = TensorData::new(out, [tokens, *outputs]);
        Ok(Tensor::from_data(data, &device))
    }

    /// As [`Self::forward`], for tensors whose gradients are wanted.
    pub fn forward_tracked<C: CheckpointStrategy>(
        &self,
        input: Tensor<Autodiff<Flex, C>, 2>,
    ) -> Result<Tensor<Autodiff<Flex, C>, 2>, EngineError> {
        let input = input.into_primitive().tensor();
        let inner = Tensor::from_primitive(TensorPrimitive::Float(input.primitive));
        let output = self.forward(inner)?.into_primitive().tensor();
        let tracked = match Through
            .prepare::<C>([input.node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(preparation) => preparation.finish(self.clone(), output),
            OpsKind::UnTracked(preparation) => preparation.finish(output),
        };
        Ok(Tensor::from_primitive(TensorPrimitive::Float(tracked)))
    }

    /// W as f32, `[outputs, inputs]`.
    fn dense(&self) -> Tensor<Flex, 2> {
        let shape = [self.frozen.outputs, self.frozen.inputs];
        let data = TensorData::new(self.frozen.linear.dense(), shape);
        Tensor::from_data(data, &Default::default())
    }
}

/// The way back: dX = dY·W.
#[derive(Debug)]
struct Through;

impl Backward<Flex, 1> for Through {
    type State = PackedLinear;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let [input] = ops.parents;
        if let Some(input) = input {
            let gradient = Tensor::<Flex, 2>::from_primitive(TensorPrimitive::Float(gradient));
            let through = gradient.matmul(ops.state.dense());
            grads.register::<Flex>(input.id, through.into_primitive().tensor());
        }
    }
}
