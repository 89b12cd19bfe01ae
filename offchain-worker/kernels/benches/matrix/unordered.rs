//! A product of Q4_1 weights that doesn't keep to an order: what `quipu-kernels` is measured against.
//!
//! Same layout, same instructions, but each row has several partial sums, so that additions don't
//! wait for each other.

use std::arch::x86_64::*;

/// A matrix with a multiple of 16 rows and of 32 columns, and activations for it.
pub struct Q4_1 {
    blocks: usize,
    /// Per 16 rows and 32 columns: 16 f16 scales, 16 f16 minima, 256 bytes of nibbles.
    weights: Vec<[u64; 40]>,
    values: Vec<[i8; 32]>,
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
            let step = block.iter().fold(0f32, |a, x| a.max(x.abs())) / 127.0;
            let q = block.map(|x| (x / step).round() as i8);
            let sum: i32 = q.iter().map(|q| i32::from(*q)).sum();
            values.push(q);
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
                // SAFETY: all reads are within the 320 and 32 bytes of a block, the write within
                // the 16 numbers of `out`.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(4096).cast());
                    let half = |at: *const u8| _mm512_cvtph_ps(_mm256_loadu_si256(at.cast()));
                    let four = |i: usize| _mm512_set1_epi32(x.add(4 * i).cast::<i32>().read());
                    let mut dots = [_mm512_setzero_si512(); 2];
                    for i in 0..4 {
                        let line = _mm512_loadu_si512(at.add(64 + i * 64).cast());
                        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(line), low);
                        let line = _mm512_and_si512(line, low);
                        dots[0] = _mm512_dpbusd_epi32(dots[0], line, four(i));
                        dots[1] = _mm512_dpbusd_epi32(dots[1], high, four(i + 4));
                    }
                    let dot = _mm512_cvtepi32_ps(_mm512_add_epi32(dots[0], dots[1]));
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
