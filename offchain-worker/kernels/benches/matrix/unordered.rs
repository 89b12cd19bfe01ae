//! A product of Q4_1 weights, and attention of a token, that don't keep to an order: what
//! `quipu-kernels` is measured against.
//!
//! Same layout, same instructions, but each row has several partial sums, so that additions don't
//! wait for each other.

use std::arch::x86_64::*;

use quipu_kernels::{exp_in_place, Kernels};

/// A matrix with a multiple of 16 rows and of 32 columns, and activations for it.
pub struct Q4_1 {
    blocks: usize,
    /// Per 16 rows and 32 columns: 16 f16 scales, 16 f16 minima, 256 bytes of nibbles.
    weights: Vec<[u64; 40]>,
    /// High bytes, low bytes.
    values: Vec<[i8; 64]>,
    /// Step, and step times the sum of the values.
    scales: Vec<[f32; 2]>,
    out: Vec<f32>,
}

impl Q4_1 {
    pub fn new(rows: usize, columns: usize, stored: &[u8], x: &[f32]) -> Self {
        let blocks = columns / 32;
        let mut bytes = vec![[0u8; 320]; rows / 16 * blocks];
        for (index, block) in stored.chunks_exact(20).enumerate() {
            let (row, at) = (index / blocks, index % blocks);
            let to = &mut bytes[row / 16 * blocks + at];
            let lane = row % 16;
            to[lane * 2..][..2].copy_from_slice(&block[..2]);
            to[32 + lane * 2..][..2].copy_from_slice(&block[2..4]);
            for (i, four) in block[4..].chunks_exact(4).enumerate() {
                to[64 + i * 64 + lane * 4..][..4].copy_from_slice(four);
            }
        }
        let words = |block: &[u8; 320]| {
            let words = block
                .as_chunks()
                .0
                .iter()
                .map(|word| u64::from_le_bytes(*word));
            let mut array = [0; 40];
            array
                .iter_mut()
                .zip(words)
                .for_each(|(to, word)| *to = word);
            array
        };
        let (mut values, mut scales) = (Vec::new(), Vec::new());
        for block in x.as_chunks::<32>().0 {
            let step = block.iter().fold(0f32, |a, x| a.max(x.abs())) / 32512.0;
            let q = block.map(|x| (x / step).round() as i16);
            let sum: i32 = q.iter().map(|q| i32::from(*q)).sum();
            values.push(std::array::from_fn(|i| match i {
                0..32 => ((q[i] + 128) >> 8) as i8,
                _ => q[i - 32] as i8,
            }));
            scales.push([step, step * sum as f32]);
        }
        Self {
            blocks,
            weights: bytes.iter().map(words).collect(),
            values,
            scales,
            out: vec![0.0; rows],
        }
    }

    /// Multiplies, with `SUMS` partial sums for each row. The machine has AVX-512 with VNNI.
    pub fn multiply<const SUMS: usize>(&mut self) -> &[f32] {
        assert!(is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw"));
        // SAFETY: just checked; other machines with VNNI don't lack the rest.
        unsafe { self.multiply_avx512::<SUMS>() };
        &self.out
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn multiply_avx512<const SUMS: usize>(&mut self) {
        let low = _mm512_set1_epi8(15);
        let groups = self.weights.chunks_exact(self.blocks);
        for (group, out) in groups.zip(self.out.chunks_exact_mut(16)) {
            let mut sums = [_mm512_setzero_ps(); SUMS];
            let mut minima = sums;
            for (b, weights) in group.iter().enumerate() {
                let at = weights.as_ptr().cast::<u8>();
                let x = self.values[b].as_ptr();
                // SAFETY: all reads are within the 320 and 64 bytes of a block, the write within
                // the 16 numbers of `out`.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(4096).cast());
                    let half = |at: *const u8| _mm512_cvtph_ps(_mm256_loadu_si256(at.cast()));
                    let four = |i: usize| _mm512_set1_epi32(x.add(4 * i).cast::<i32>().read());
                    // High and low bytes, of low and of high nibbles.
                    let mut dots = [[_mm512_setzero_si512(); 2]; 2];
                    for i in 0..4 {
                        let line = _mm512_loadu_si512(at.add(64 + i * 64).cast());
                        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(line), low);
                        let line = _mm512_and_si512(line, low);
                        for (plane, dots) in dots.iter_mut().enumerate() {
                            dots[0] = _mm512_dpbusd_epi32(dots[0], line, four(8 * plane + i));
                            dots[1] = _mm512_dpbusd_epi32(dots[1], high, four(8 * plane + i + 4));
                        }
                    }
                    let [high, low] = dots.map(|[a, b]| _mm512_add_epi32(a, b));
                    let dot = _mm512_add_epi32(_mm512_slli_epi32::<8>(high), low);
                    let dot = _mm512_cvtepi32_ps(dot);
                    let [step, sum] = self.scales[b].map(|value| _mm512_set1_ps(value));
                    let scale = _mm512_mul_ps(half(at), step);
                    let i = b % SUMS;
                    sums[i] = _mm512_fmadd_ps(dot, scale, sums[i]);
                    minima[i] = _mm512_fmadd_ps(half(at.add(32)), sum, minima[i]);
                }
            }
            let mut total = _mm512_setzero_ps();
            for (sum, minimum) in sums.into_iter().zip(minima) {
                total = _mm512_add_ps(total, _mm512_add_ps(sum, minimum));
            }
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), total) };
        }
    }
}

/// Query heads that share a key-value head, and the width of a head.
pub const GROUP: usize = 3;
pub const WIDTH: usize = 64;

/// Keys and values of one key-value head.
pub struct Head {
    /// Per 16 positions, then entry of the key: that entry at each position.
    pub keys: Vec<[[f32; 16]; WIDTH]>,
    /// By position.
    pub values: Vec<[f32; WIDTH]>,
    /// By query head and position.
    scores: Vec<f32>,
}

impl Head {
    pub fn new(keys: Vec<[[f32; 16]; WIDTH]>, values: Vec<[f32; WIDTH]>) -> Self {
        let scores = vec![0.0; GROUP * values.len()];
        Self {
            keys,
            values,
            scores,
        }
    }

    /// Attention over all positions, a multiple of 16, with `SUMS` partial sums wherever there is a sum.
    /// The machine has AVX-512.
    pub fn attend<const SUMS: usize>(
        &mut self,
        kernels: &Kernels,
        queries: &[f32; GROUP * WIDTH],
        out: &mut [f32; GROUP * WIDTH],
    ) {
        assert!(is_x86_feature_detected!("avx512f"));
        let positions = self.values.len();
        // SAFETY: just checked; `scores` has room for all.
        unsafe { self.scores::<SUMS>(queries) };
        for (head, scores) in self.scores.chunks_exact_mut(positions).enumerate() {
            let greatest = scores
                .iter()
                .fold(f32::MIN, |a, b| if *b > a { *b } else { a });
            scores.iter_mut().for_each(|score| *score -= greatest);
            exp_in_place(kernels, scores);
            let mut sums = [0.0; 64];
            for some in scores.chunks(64) {
                sums.iter_mut().zip(some).for_each(|(sum, e)| *sum += e);
            }
            let factor = 1.0 / sums.iter().sum::<f32>();
            out[head * WIDTH..][..WIDTH].fill(factor);
        }
        // SAFETY: as above.
        unsafe { self.mix::<SUMS>(out) };
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn scores<const SUMS: usize>(&mut self, queries: &[f32; GROUP * WIDTH]) {
        let positions = self.values.len();
        for (page, keys) in self.keys.iter().enumerate() {
            let mut sums = [[_mm512_setzero_ps(); SUMS]; GROUP];
            for i in (0..WIDTH).step_by(SUMS) {
                for s in 0..SUMS {
                    // SAFETY: sixteen numbers.
                    let key = unsafe { _mm512_loadu_ps(keys[i + s].as_ptr()) };
                    for (head, sums) in sums.iter_mut().enumerate() {
                        let query = _mm512_set1_ps(queries[head * WIDTH + i + s]);
                        sums[s] = _mm512_fmadd_ps(query, key, sums[s]);
                    }
                }
            }
            for (head, sums) in sums.iter().enumerate() {
                let total = sums[1..].iter().fold(sums[0], |a, b| _mm512_add_ps(a, *b));
                let to = &mut self.scores[head * positions + page * 16..][..16];
                // SAFETY: sixteen numbers.
                unsafe { _mm512_storeu_ps(to.as_mut_ptr(), total) };
            }
        }
    }

    /// `out` holds what sums are multiplied with.
    #[target_feature(enable = "avx512f")]
    unsafe fn mix<const SUMS: usize>(&self, out: &mut [f32; GROUP * WIDTH]) {
        let positions = self.values.len();
        for line in (0..WIDTH).step_by(32) {
            let mut sums = [[[_mm512_setzero_ps(); 2]; GROUP]; SUMS];
            for (t, value) in self.values.iter().enumerate() {
                // SAFETY: 32 numbers from `line` on.
                let value =
                    unsafe { [0, 16].map(|i| _mm512_loadu_ps(value.as_ptr().add(line + i))) };
                for (head, sums) in sums[t % SUMS].iter_mut().enumerate() {
                    let e = _mm512_set1_ps(self.scores[head * positions + t]);
                    for (sum, value) in sums.iter_mut().zip(value) {
                        *sum = _mm512_fmadd_ps(e, value, *sum);
                    }
                }
            }
            for head in 0..GROUP {
                for half in 0..2 {
                    let all = sums.iter().map(|sums| sums[head][half]);
                    let total = all.fold(_mm512_setzero_ps(), |a, b| _mm512_add_ps(a, b));
                    let to = &mut out[head * WIDTH + line + half * 16..][..16];
                    let factor = _mm512_set1_ps(to[0]);
                    // SAFETY: sixteen numbers.
                    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), _mm512_mul_ps(total, factor)) };
                }
            }
        }
    }
}
