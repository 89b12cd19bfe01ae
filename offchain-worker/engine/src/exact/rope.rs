//! Rotations of positions, computed once and kept.

use std::sync::OnceLock;

use crate::config::ModelConfig;
use crate::rope::Rope;

/// Positions whose rotations are computed together.
const CHUNK: usize = 64;

/// Cosines and sines of all positions that were asked for. They grow with the longest sequence: 4
/// bytes × `head_dim` a position.
#[derive(Debug)]
pub(super) struct Rotations {
    rope: Rope,
    /// By position: cosines, then sines.
    chunks: Vec<OnceLock<Box<[f32]>>>,
}

impl Rotations {
    pub fn new(config: &ModelConfig) -> Self {
        let chunks = config.context_length.div_ceil(CHUNK);
        Self {
            rope: Rope::new(config),
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The `d/2` cosines and the `d/2` sines of `position`, which is within the model's context.
    pub fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let half = self.rope.pairs();
        let chunk = self.chunks[position / CHUNK].get_or_init(|| {
            let mut values = vec![0.0; CHUNK * 2 * half];
            let start = position / CHUNK * CHUNK;
            for (i, row) in values.chunks_exact_mut(2 * half).enumerate() {
                let (cos, sin) = row.split_at_mut(half);
                self.rope.fill(start + i, cos, sin);
            }
            values.into_boxed_slice()
        });
        chunk[position % CHUNK * 2 * half..][..2 * half].split_at(half)
    }
}
