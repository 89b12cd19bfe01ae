//! Rotary position embeddings in the layout of Hugging Face: entry `i` of a head is paired with
//! entry `i + d/2`.
//!
//! Angles, sines and cosines come from IEEE products and the pure-Rust `libm`, so the tables have
//! the same bits on every machine. As in the reference implementation an angle is the f32 product
//! of a position and an f32 frequency.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use crate::config::{ModelConfig, RopeScaling};

/// The frequencies of a model.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    /// Radians per position of each of the `d/2` pairs.
    frequencies: Vec<f32>,
}

/// Cosines and sines of consecutive positions.
#[derive(Debug)]
pub(crate) struct Rotation<B: Backend> {
    /// `[1, tokens × d]`: for each token the cosines twice.
    cos: Tensor<B, 2>,
    /// `[1, tokens × d]`: for each token the negated sines, then the sines.
    sin: Tensor<B, 2>,
}

impl Rope {
    pub fn new(config: &ModelConfig) -> Self {
        let unscaled = unscaled(config.rope_theta, config.head_dim);
        let frequencies = match &config.rope_scaling {
            None => unscaled,
            Some(scaling) => {
                let divisors = divisors(config.rope_theta, config.head_dim, scaling);
                unscaled
                    .iter()
                    .zip(divisors)
                    .map(|(f, divisor)| f / divisor)
                    .collect()
            }
        };
        Self { frequencies }
    }

    /// Half the width of a head.
    pub fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Cosines and sines of `position`, one of each for every pair.
    pub fn fill(&self, position: usize, cos: &mut [f32], sin: &mut [f32]) {
        let position = position as f32;
        for ((frequency, cos), sin) in self.frequencies.iter().zip(cos).zip(sin) {
            let (s, c) = libm::sincos(f64::from(position * frequency));
            (*cos, *sin) = (c as f32, s as f32);
        }
    }

    /// The rotation of `tokens` positions from `start` on.
    pub fn rotation<B: Backend>(
        &self,
        start: usize,
        tokens: usize,
        device: &B::Device,
    ) -> Rotation<B> {
        let half = self.frequencies.len();
        let width = 2 * half;
        let mut cos = vec![0.0; tokens * width];
        let mut sin = vec![0.0; tokens * width];
        for (token, (cos, sin)) in cos
            .chunks_exact_mut(width)
            .zip(sin.chunks_exact_mut(width))
            .enumerate()
        {
            let (cos_low, cos_high) = cos.split_at_mut(half);
            let (sin_low, sin_high) = sin.split_at_mut(half);
            self.fill(start + token, cos_low, sin_high);
            cos_high.copy_from_slice(cos_low);
            for (low, high) in sin_low.iter_mut().zip(sin_high) {
                *low = -*high;
            }
        }
        let tensor =
            |values| Tensor::from_data(TensorData::new(values, [1, tokens * width]), device);
        Rotation {
            cos: tensor(cos),
            sin: tensor(sin),
        }
    }
}

impl<B: Backend> Rotation<B> {
    /// Rotates heads, `[heads, tokens, d]`.
    pub fn apply(&self, heads: Tensor<B, 3>) -> Tensor<B, 3> {
        let [count, tokens, width] = heads.dims();
        let half = width / 2;
        let low = heads.clone().narrow(2, 0, half);
        let high = heads.clone().narrow(2, half, half);
        let swapped = Tensor::cat(vec![high, low], 2);
        // As one row per head: backends multiply equal rows by one fastest.
        let rows = |heads: Tensor<B, 3>| heads.reshape([count, tokens * width]);
        let turned = rows(heads) * self.cos.clone() + rows(swapped) * self.sin.clone();
        turned.reshape([count, tokens, width])
    }
}

/// `θ^(−2i/d)`.
fn unscaled(theta: f64, head_dim: usize) -> Vec<f32> {
    let exponent = |i: usize| 2.0 * i as f64 / head_dim as f64;
    (0..head_dim / 2)
        .map(|i| (1.0 / libm::pow(theta, exponent(i))) as f32)
        .collect()
}

/// By what Llama 3's scaling divides each frequency: 1 for short wavelengths, `factor` for long
/// ones, and a blend between.
pub(crate) fn divisors(theta: f64, head_dim: usize, scaling: &RopeScaling) -> Vec<f32> {
    let context = scaling.original_context as f64;
    let (low, high) = (scaling.low_freq_factor, scaling.high_freq_factor);
    unscaled(theta, head_dim)
        .into_iter()
        .map(|frequency| {
            let wavelength = 2.0 * std::f64::consts::PI / f64::from(frequency);
            if wavelength < context / high {
                1.0
            } else if wavelength > context / low {
                scaling.factor as f32
            } else {
                let smooth = (context / wavelength - low) / (high - low);
                (1.0 / ((1.0 - smooth) / scaling.factor + smooth)) as f32
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
