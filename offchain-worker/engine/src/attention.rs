//! Grouped-query causal attention.

use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use crate::cache::BlockCache;
use crate::linear::Linear;
use crate::rope::Rotation;
use crate::weights::model::Model;
use crate::weights::names;
use crate::weights::WeightsError;

/// The attention layer of a block.
#[derive(Debug)]
pub(crate) struct Attention<B: Backend> {
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    output: Linear<B>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

/// What all blocks of a span share while the same tokens pass through them.
#[derive(Debug)]
pub(crate) struct Step<B: Backend> {
    /// Position of the first token.
    pub position: usize,
    pub rotation: Rotation<B>,
    /// `[1, tokens × positions]`: for each token 0 where it may look, −∞ at later positions. A
    /// single token needs none.
    pub mask: Option<Tensor<B, 2>>,
}

impl<B: Backend> Attention<B> {
    pub fn load(model: &Model, block: usize, device: &B::Device) -> Result<Self, WeightsError> {
        let config = model.config();
        let (hidden, query, kv) = (config.hidden_size, config.query_width(), config.kv_width());
        let load = |name: &str, shape, bias| {
            let name = names::in_block(block, &format!("self_attn.{name}_proj"));
            Linear::load_named(model, &name, shape, bias, device)
        };
        Ok(Self {
            query: load("q", [query, hidden], config.qkv_bias())?,
            key: load("k", [kv, hidden], config.qkv_bias())?,
            value: load("v", [kv, hidden], config.qkv_bias())?,
            output: load("o", [hidden, query], false)?,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
        })
    }

    /// `[tokens, hidden]` to the same; appends the tokens' keys and values to `cache`.
    pub fn forward(
        &self,
        input: Tensor<B, 2>,
        step: &Step<B>,
        cache: &mut BlockCache<B>,
    ) -> Tensor<B, 2> {
        let query = self.split(self.query.forward(input.clone()), self.heads);
        let key = self.split(self.key.forward(input.clone()), self.kv_heads);
        let value = self.split(self.value.forward(input), self.kv_heads);
        let query = step.rotation.apply(query);
        let key = step.rotation.apply(key);
        let (keys, values) = cache.append(step.position, key, value);
        let mixed = self.attend(query, keys, values, step.mask.as_ref());
        let [heads, tokens, width] = mixed.dims();
        self.output
            .forward(mixed.swap_dims(0, 1).reshape([tokens, heads * width]))
    }

    /// `[tokens, heads × head_dim]` to `[heads, tokens, head_dim]`.
    fn split(&self, rows: Tensor<B, 2>, heads: usize) -> Tensor<B, 3> {
        let [tokens, _] = rows.dims();
        rows.reshape([tokens, heads, self.head_dim]).swap_dims(0, 1)
    }

    /// Softmax attention of `query`, `[heads, tokens, head_dim]`, over `keys` and `values`,
    /// `[kv_heads, positions, head_dim]`. The queries of a group are stacked as rows, so that keys
    /// and values are never repeated.
    fn attend(
        &self,
        query: Tensor<B, 3>,
        keys: Tensor<B, 3>,
        values: Tensor<B, 3>,
        mask: Option<&Tensor<B, 2>>,
    ) -> Tensor<B, 3> {
        let [heads, tokens, width] = query.dims();
        let positions = keys.dims()[1];
        let rows = heads / self.kv_heads * tokens;
        let scale = 1.0 / (width as f32).sqrt();
        let stacked = (query * scale).reshape([self.kv_heads, rows, width]);
        let mut scores = stacked.matmul(keys.swap_dims(1, 2));
        if let Some(mask) = mask {
            // As one row per head: backends add one row to equal rows fastest.
            let masked = scores.reshape([heads, tokens * positions]) + mask.clone();
            scores = masked.reshape([self.kv_heads, rows, positions]);
        }
        softmax(scores, 2)
            .matmul(values)
            .reshape([heads, tokens, width])
    }
}

/// The mask of `tokens` tokens from `position` on; `None` for a single one.
pub(crate) fn causal_mask<B: Backend>(
    position: usize,
    tokens: usize,
    device: &B::Device,
) -> Option<Tensor<B, 2>> {
    if tokens == 1 {
        return None;
    }
    let positions = position + tokens;
    let mut mask = vec![0.0f32; tokens * positions];
    for (token, row) in mask.chunks_mut(positions).enumerate() {
        row[position + token + 1..].fill(f32::NEG_INFINITY);
    }
    Some(Tensor::from_data(
        TensorData::new(mask, [1, tokens * positions]),
        device,
    ))
}
