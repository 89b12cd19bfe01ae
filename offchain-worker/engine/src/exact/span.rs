//! Consecutive blocks on the reproducible kernels.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use quipu_kernels::{attend, rms_norm, rotate, silu_mul, AttentionShape, Kernels, ShapeError};

use super::batch::{Segment, Sequence, Workspace, PIECE};
use super::cache::{ExactCache, PageStore};
use super::linear::{Linear, View};
use super::rope::Rotations;
use super::ExactOptions;
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::hidden::HiddenStates;
use crate::weights::model::Model;
use crate::weights::names;

/// Loaded consecutive blocks that compute the same bits on every machine; see [the
/// module](crate::exact).
///
/// Computing is synchronous and takes `&self`: share a span between threads, with a cache for each
/// sequence. Passes that run at the same time share the span's threads; it is better to put their
/// sequences in one [batch](Self::forward_batch).
#[derive(Debug)]
pub struct ExactSpan {
    config: ModelConfig,
    blocks: Range<usize>,
    layers: Vec<Block>,
    rotations: Rotations,
    shape: AttentionShape,
    kernels: Arc<Kernels>,
    store: Arc<PageStore>,
    /// Workspaces that no call uses now.
    spare: Mutex<Vec<Workspace>>,
}

/// One transformer block.
#[derive(Debug)]
struct Block {
    attention_norm: Vec<f32>,
    /// q, k and v, one after the other.
    projections: Linear,
    output: Linear,
    feed_forward_norm: Vec<f32>,
    /// Gate and up, one after the other.
    gate_up: Linear,
    down: Linear,
}

impl Block {
    fn load(model: &Model, block: usize) -> Result<Self, EngineError> {
        let config = model.config();
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (query, kv) = (config.query_width(), config.kv_width());
        let norm = |name: &str| {
            let name = names::in_block(block, &format!("{name}.weight"));
            model.tensor(&name, &[hidden])?.load()
        };
        let linear = |parts: &[(&str, usize)], inputs, bias| {
            let parts: Vec<_> = parts
                .iter()
                .map(|(name, outputs)| (names::in_block(block, &format!("{name}_proj")), *outputs))
                .collect();
            Linear::load(model, &parts, inputs, bias)
        };
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            projections: linear(
                &[
                    ("self_attn.q", query),
                    ("self_attn.k", kv),
                    ("self_attn.v", kv),
                ],
                hidden,
                config.qkv_bias(),
            )?,
            output: linear(&[("self_attn.o", hidden)], query, false)?,
            feed_forward_norm: norm("post_attention_layernorm")?,
            gate_up: linear(&[("mlp.gate", inner), ("mlp.up", inner)], hidden, false)?,
            down: linear(&[("mlp.down", hidden)], inner, false)?,
        })
    }

    fn weight_bytes(&self) -> usize {
        let norms = self.attention_norm.len() + self.feed_forward_norm.len();
        let products = [&self.projections, &self.output, &self.gate_up, &self.down];
        let products = products.iter().map(|linear| linear.bytes());
        norms * size_of::<f32>() + products.sum::<usize>()
    }
}

impl ExactSpan {
    /// Reads the tensors of `blocks` from `model`. Quantised weights stay as they are stored.
    pub fn load(
        model: &Model,
        blocks: Range<usize>,
        options: ExactOptions,
    ) -> Result<Self, EngineError> {
        let kernels = Kernels::new(options.isa, options.threads)?;
        Self::load_on(model, blocks, Arc::new(kernels), options.max_pages)
    }

    /// As [`Self::load`], on kernels that others share, with at most `max_pages` pages of cache.
    pub fn load_on(
        model: &Model,
        blocks: Range<usize>,
        kernels: Arc<Kernels>,
        max_pages: usize,
    ) -> Result<Self, EngineError> {
        let config = model.config();
        if blocks.is_empty() || blocks.end > config.blocks {
            return Err(EngineError::BadSpan {
                blocks,
                model_blocks: config.blocks,
            });
        }
        let layers = blocks
            .clone()
            .map(|block| Block::load(model, block))
            .collect::<Result<_, _>>()?;
        let shape = AttentionShape {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
        };
        Ok(Self {
            layers,
            rotations: Rotations::new(config),
            shape,
            kernels,
            store: Arc::new(PageStore::new(shape, blocks.len(), max_pages)),
            spare: Mutex::default(),
            config: config.clone(),
            blocks,
        })
    }

    /// The blocks it holds.
    pub fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    /// Shape of the model that the blocks belong to.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The kernels that it computes with.
    pub fn kernels(&self) -> &Arc<Kernels> {
        &self.kernels
    }

    /// Bytes of the loaded weights.
    pub fn weight_bytes(&self) -> usize {
        self.layers.iter().map(Block::weight_bytes).sum()
    }

    /// Pages of cache that are not promised to a sequence.
    pub fn free_pages(&self) -> usize {
        self.store.free_pages()
    }

    /// Bytes of one page of cache: keys and values of
    /// [`PAGE_POSITIONS`](quipu_kernels::PAGE_POSITIONS) positions in all blocks of the span.
    pub fn page_bytes(&self) -> usize {
        self.store.page_bytes()
    }

    /// Bytes of all pages that have been needed at the same time until now.
    pub fn allocated_cache_bytes(&self) -> usize {
        self.store.allocated_bytes()
    }

    /// An empty cache for one sequence of at most `capacity_tokens` tokens, or of the model's
    /// context if that is less. Fails with [`EngineError::CacheMemory`] if that much is not free.
    pub fn new_cache(&self, capacity_tokens: usize) -> Result<ExactCache, EngineError> {
        let capacity = capacity_tokens.min(self.config.context_length);
        ExactCache::new(&self.store, self.blocks.clone(), capacity)
    }

    /// A workspace for [`Self::forward_batch`].
    pub fn new_workspace(&self) -> Workspace {
        Workspace::new(&self.kernels)
    }

    /// Passes tokens through the blocks: `[tokens, hidden]` to the same shape. `position` is that
    /// of the first token and must be the length of the cache, to which the tokens are added. To go
    /// back, truncate the cache first. After an error the cache holds what it held before.
    pub fn forward(
        &self,
        cache: &mut ExactCache,
        mut hidden: HiddenStates,
        position: usize,
    ) -> Result<HiddenStates, EngineError> {
        hidden.validate(self.config.hidden_size)?;
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let workspace = spare().pop();
        let mut workspace = workspace.unwrap_or_else(|| self.new_workspace());
        let mut batch = [Sequence::new(cache, position, &mut hidden.data)];
        self.forward_batch(&mut workspace, &mut batch);
        spare().push(workspace);
        let [sequence] = batch;
        sequence.result()?;
        Ok(hidden)
    }

    /// Passes the rows of several sequences through the blocks together. Each row gets the bits that
    /// it would get alone. A sequence that can't be computed doesn't disturb the others:
    /// [`Sequence::result`] says of each whether it was.
    pub fn forward_batch(&self, workspace: &mut Workspace, batch: &mut [Sequence<'_>]) {
        for sequence in batch.iter_mut() {
            sequence.error = self.check(sequence).err();
        }
        // Rows of all sequences, one after the other, in pieces.
        let (mut next, mut token) = (0, 0);
        loop {
            workspace.segments.clear();
            workspace.plan.clear();
            let mut rows = 0;
            while rows < PIECE && next < batch.len() {
                let sequence = &mut batch[next];
                let tokens = sequence.rows.len() / self.config.hidden_size;
                if sequence.error.is_some() || token == tokens {
                    (next, token) = (next + 1, 0);
                    continue;
                }
                let segment = Segment {
                    sequence: next,
                    row: rows,
                    rows: (tokens - token).min(PIECE - rows),
                    token,
                    position: sequence.position + token,
                };
                workspace
                    .plan
                    .push(&self.shape, next, segment.position, segment.rows);
                workspace.segments.push(segment);
                token += segment.rows;
                rows += segment.rows;
                sequence.cache.make_room(sequence.position + token);
            }
            if rows == 0 {
                break;
            }
            self.piece(workspace, batch, rows);
        }
        for sequence in batch.iter_mut() {
            if sequence.error.is_some() {
                sequence.cache.roll_back();
            } else {
                let tokens = sequence.rows.len() / self.config.hidden_size;
                sequence.cache.commit(sequence.position + tokens);
            }
        }
    }

    /// Can the sequence be computed?
    fn check(&self, sequence: &Sequence<'_>) -> Result<(), EngineError> {
        let (cache, position) = (&*sequence.cache, sequence.position);
        let width = self.config.hidden_size;
        let tokens = sequence.rows.len().div_ceil(width);
        if tokens == 0 {
            return Err(EngineError::NoTokens);
        }
        if sequence.rows.len() != tokens * width {
            return Err(EngineError::WrongSize {
                tokens,
                expected: tokens * width,
                found: sequence.rows.len(),
            });
        }
        if let Some(at) = sequence.rows.iter().position(|x| !x.is_finite()) {
            return Err(EngineError::NotFinite { token: at / width });
        }
        if !cache.is_of(&self.store) {
            return Err(EngineError::ForeignCache {
                blocks: self.blocks(),
            });
        }
        if position != cache.len() {
            return Err(EngineError::PositionGap {
                position,
                cached: cache.len(),
            });
        }
        let end = position.saturating_add(tokens);
        if end > self.config.context_length {
            return Err(EngineError::ContextExceeded {
                end,
                context: self.config.context_length,
            });
        }
        if end > cache.capacity() {
            return Err(EngineError::CacheFull {
                end,
                capacity: cache.capacity(),
            });
        }
        Ok(())
    }

    /// Passes the rows of the workspace's segments through all blocks.
    fn piece(&self, workspace: &mut Workspace, batch: &mut [Sequence<'_>], rows: usize) {
        let width = self.config.hidden_size;
        workspace.resize(&self.config, rows);
        for segment in &workspace.segments {
            let from = &batch[segment.sequence].rows[segment.token * width..];
            let count = segment.rows * width;
            workspace.hidden[segment.row * width..][..count].copy_from_slice(&from[..count]);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if let Err(error) = self.block(index, layer, workspace, batch) {
                for segment in &workspace.segments {
                    let failed = EngineError::Backend(error.to_string());
                    batch[segment.sequence].error.get_or_insert(failed);
                }
                return;
            }
        }
        for segment in &workspace.segments {
            let count = segment.rows * width;
            let found = &workspace.hidden[segment.row * width..][..count];
            let sequence = &mut batch[segment.sequence];
            if let Some(at) = found.iter().position(|x| !x.is_finite()) {
                let token = segment.token + at / width;
                sequence
                    .error
                    .get_or_insert(EngineError::Diverged { token });
            }
            sequence.rows[segment.token * width..][..count].copy_from_slice(found);
        }
    }

    /// The `index`-th block.
    fn block(
        &self,
        index: usize,
        layer: &Block,
        workspace: &mut Workspace,
        batch: &mut [Sequence<'_>],
    ) -> Result<(), ShapeError> {
        let Workspace {
            hidden,
            normed,
            projected,
            mixed,
            gate_up,
            gated,
            quantized,
            segments,
            plan,
            scratch,
        } = workspace;
        let kernels = &*self.kernels;
        let config = &self.config;
        let (kv, head) = (config.kv_width(), config.head_dim);
        let rows = plan.rows();

        self.norm(hidden, &layer.attention_norm, normed);
        let projections = &layer.projections;
        projections.forward(kernels, normed, quantized, projected)?;
        let [query, key, value] = [0, 1, 2].map(|index| projections.view(index, rows));
        let scale = 1.0 / (head as f32).sqrt();
        self.rotate(segments, projected, query, config.query_width(), scale);
        self.rotate(segments, projected, key, kv, 1.0);
        for segment in segments.iter() {
            let cache = &mut batch[segment.sequence].cache;
            for i in 0..segment.rows {
                let row = segment.row + i;
                let (key, value) = (key.row(projected, row, kv), value.row(projected, row, kv));
                cache.write(index, segment.position + i, key, value);
            }
        }
        let batch: &[Sequence<'_>] = batch;
        attend(
            kernels,
            &self.shape,
            plan,
            index,
            |sequence| batch[sequence].cache.pages(),
            &projected[query.part + query.column..],
            query.stride,
            scratch,
            mixed,
        );
        layer
            .output
            .forward_add(kernels, mixed, quantized, hidden)?;

        self.norm(hidden, &layer.feed_forward_norm, normed);
        layer.gate_up.forward(kernels, normed, quantized, gate_up)?;
        let [gate, up] = [0, 1].map(|index| layer.gate_up.view(index, rows));
        let inner = config.intermediate_size;
        kernels.for_each_row([(&mut gated[..], inner)], |row, [gated]| {
            let (gate, up) = (gate.row(gate_up, row, inner), up.row(gate_up, row, inner));
            silu_mul(kernels, gate, up, gated);
        });
        layer.down.forward_add(kernels, gated, quantized, hidden)
    }

    /// RMS norm of all rows.
    fn norm(&self, hidden: &[f32], weight: &[f32], normed: &mut [f32]) {
        let (kernels, width) = (&*self.kernels, self.config.hidden_size);
        let epsilon = self.config.rms_norm_eps as f32;
        kernels.for_each_row([(normed, width)], |row, [normed]| {
            rms_norm(
                kernels,
                &hidden[row * width..][..width],
                weight,
                epsilon,
                normed,
            );
        });
    }

    /// Rotates and scales the heads, `width` numbers a row, that are at `view` in `projected`.
    fn rotate(
        &self,
        segments: &[Segment],
        projected: &mut [f32],
        view: View,
        width: usize,
        scale: f32,
    ) {
        let rows = segments.iter().map(|segment| segment.rows).sum::<usize>();
        let part = &mut projected[view.part..][..rows * view.stride];
        let position = |row: usize| {
            let after = segments.partition_point(|segment| segment.row <= row);
            let segment = &segments[after - 1];
            segment.position + row - segment.row
        };
        let kernels = &*self.kernels;
        kernels.for_each_row([(part, view.stride)], |row, [numbers]| {
            let (cos, sin) = self.rotations.at(position(row));
            rotate(
                kernels,
                &mut numbers[view.column..][..width],
                cos,
                sin,
                scale,
            );
        });
    }
}
