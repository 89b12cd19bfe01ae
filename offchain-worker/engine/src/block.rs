//! One transformer block.

use burn::tensor::activation::silu;
use burn::tensor::backend::Backend;
use burn::tensor::Tensor;

use crate::attention::{Attention, Step};
use crate::cache::BlockCache;
use crate::linear::Linear;
use crate::norm::RmsNorm;
use crate::weights::model::Model;
use crate::weights::names;
use crate::weights::WeightsError;

/// Attention and a gated feed-forward layer, each behind a norm and beside a residual path.
#[derive(Debug)]
pub(crate) struct Block<B: Backend> {
    attention_norm: RmsNorm<B>,
    attention: Attention<B>,
    feed_forward_norm: RmsNorm<B>,
    gate: Linear<B>,
    up: Linear<B>,
    down: Linear<B>,
}

impl<B: Backend> Block<B> {
    pub fn load(model: &Model, block: usize, device: &B::Device) -> Result<Self, WeightsError> {
        let config = model.config();
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |name: &str| {
            RmsNorm::load(
                model,
                &names::in_block(block, &format!("{name}.weight")),
                device,
            )
        };
        let linear = |name: &str, shape| {
            let name = names::in_block(block, &format!("mlp.{name}_proj"));
            Linear::load_named(model, &name, shape, false, device)
        };
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            attention: Attention::load(model, block, device)?,
            feed_forward_norm: norm("post_attention_layernorm")?,
            gate: linear("gate", [inner, hidden])?,
            up: linear("up", [inner, hidden])?,
            down: linear("down", [hidden, inner])?,
        })
    }

    /// `[tokens, hidden]` to the same; appends the tokens to `cache`.
    pub fn forward(
        &self,
        input: Tensor<B, 2>,
        step: &Step<B>,
        cache: &mut BlockCache<B>,
    ) -> Tensor<B, 2> {
        let normed = self.attention_norm.forward(input.clone());
        let hidden = input + self.attention.forward(normed, step, cache);
        let normed = self.feed_forward_norm.forward(hidden.clone());
        let gated = silu(self.gate.forward(normed.clone())) * self.up.forward(normed);
        hidden + self.down.forward(gated)
    }
}
