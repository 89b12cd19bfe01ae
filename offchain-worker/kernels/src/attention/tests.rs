use super::*;
use crate::exp::exp_in_place;
use crate::numbers::{all_kernels, bits, tree, Numbers};
use crate::Isa;

/// A filled cache of one sequence, beside the same keys and values as they came.
struct Sequence {
    shape: AttentionShape,
    pages: Vec<KvPage>,
    /// `[positions][kv_heads × head_dim]` each.
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

const BLOCKS: usize = 2;
const BLOCK: usize = 1;

impl Sequence {
    fn new(
        shape: AttentionShape,
        positions: usize,
        mut draw: impl FnMut(usize) -> Vec<f32>,
    ) -> Self {
        let width = shape.kv_heads * shape.head_dim;
        let mut sequence = Self {
            shape,
            pages: Vec::new(),
            keys: (0..positions).map(|_| draw(width)).collect(),
            values: (0..positions).map(|_| draw(width)).collect(),
        };
        for _ in 0..positions.div_ceil(PAGE_POSITIONS) {
            let mut page = KvPage::new(shape, BLOCKS);
            // As a page that another sequence has used before.
            for slot in 0..PAGE_POSITIONS {
                page.write(
                    BLOCK,
                    slot,
                    &vec![f32::NAN; width],
                    &vec![f32::INFINITY; width],
                );
            }
            sequence.pages.push(page);
        }
        for position in 0..positions {
            sequence.pages[position / PAGE_POSITIONS].write(
                BLOCK,
                position % PAGE_POSITIONS,
                &sequence.keys[position],
                &sequence.values[position],
            );
        }
        sequence
    }

    /// The text of the module's documentation: one row of queries, `[heads, head_dim]`.
    fn specified(&self, query: &[f32], position: usize) -> Vec<f32> {
        let AttentionShape {
            heads,
            kv_heads,
            head_dim,
        } = self.shape;
        let mut out = Vec::new();
        for head in 0..heads {
            let at = head / (heads / kv_heads) * head_dim;
            let query = &query[head * head_dim..][..head_dim];
            let mut weights: Vec<f32> = (0..=position)
                .map(|t| {
                    let key = &self.keys[t][at..][..head_dim];
                    let entries = query.iter().zip(key);
                    entries.fold(0.0, |s, (q, k)| q.mul_add(*k, s))
                })
                .collect();
            let most = weights
                .iter()
                .copied()
                .fold(f32::NEG_INFINITY, |m, s| if s > m { s } else { m });
            weights.iter_mut().for_each(|s| *s -= most);
            exp_in_place(&all_kernels()[0], &mut weights);
            let mut lanes = [0.0; 16];
            for (t, weight) in weights.iter().enumerate() {
                lanes[t % 16] += weight;
            }
            let factor = 1.0 / tree(lanes);
            for i in 0..head_dim {
                let sum = (0..=position).fold(0.0, |sum, t| {
                    weights[t].mul_add(self.values[t][at + i], sum)
                });
                out.push(sum * factor);
            }
        }
        out
    }
}

fn compute(
    kernels: &Kernels,
    shape: &AttentionShape,
    sequences: &[Sequence],
    // Sequence, first position, number of rows.
    segments: &[(usize, usize, usize)],
    queries: &[f32],
    stride: usize,
) -> Vec<f32> {
    let mut plan = AttentionPlan::new();
    for (sequence, position, rows) in segments {
        plan.push(shape, *sequence, *position, *rows);
    }
    let scratch = AttentionScratch::new(kernels);
    let mut out = vec![9.0; plan.rows() * shape.heads * shape.head_dim];
    let pages = |sequence: usize| &sequences[sequence].pages[..];
    attend(
        kernels, shape, &plan, BLOCK, pages, queries, stride, &scratch, &mut out,
    );
    out
}

fn shapes(numbers: &mut Numbers) -> AttentionShape {
    let kv_heads = 1 + numbers.below(3);
    AttentionShape {
        heads: kv_heads * (1 + numbers.below(9)),
        kv_heads,
        head_dim: 2 * (1 + numbers.below(70)),
    }
}

#[test]
fn all_instruction_sets_compute_what_is_specified() {
    let kernels = all_kernels();
    let mut numbers = Numbers(1);
    for round in 0..60 {
        let shape = shapes(&mut numbers);
        let (before, rows) = (numbers.below(150), 1 + numbers.below(20));
        let rarity = [1_000_000, 300][round % 2];
        let scale = [1.0, 30.0][round / 2 % 2];
        let sequence = Sequence::new(shape, before + rows, |n| numbers.mixed(n, scale, rarity));
        let width = shape.heads * shape.head_dim;
        let queries = numbers.mixed(rows * width, 1.0, rarity);
        let expected: Vec<f32> = queries
            .chunks_exact(width)
            .enumerate()
            .flat_map(|(row, query)| sequence.specified(query, before + row))
            .collect();
        let sequences = [sequence];
        for kernels in &kernels {
            let segments = [(0, before, rows)];
            let found = compute(kernels, &shape, &sequences, &segments, &queries, width);
            assert_eq!(bits(&found), bits(&expected), "{} {shape:?}", kernels.isa());
        }
    }
}

#[test]
fn composition_strides_and_threads_change_nothing() {
    let mut numbers = Numbers(2);
    let shape = AttentionShape {
        heads: 6,
        kv_heads: 2,
        head_dim: 64,
    };
    let sequences = [300, 90, 1].map(|n| Sequence::new(shape, n, |n| numbers.units(n)));
    // A prefill of 120 behind 180 others, a decode, a sequence's first token; with gaps between rows.
    let segments = [(1, 89, 1), (0, 180, 120), (2, 0, 1)];
    let (width, stride) = (
        shape.heads * shape.head_dim,
        shape.heads * shape.head_dim + 5,
    );
    let rows: usize = segments.iter().map(|(_, _, rows)| rows).sum();
    let queries = numbers.units(rows * stride);
    let mut one_by_one = Vec::new();
    let mut row = 0;
    let portable = Kernels::new(Isa::Portable, 1).unwrap();
    for (sequence, position, rows) in segments {
        for i in 0..rows {
            let query = &queries[row * stride..][..width];
            let alone = [(sequence, position + i, 1)];
            one_by_one.extend(compute(&portable, &shape, &sequences, &alone, query, width));
            row += 1;
        }
    }
    for isa in Isa::available() {
        for threads in 1..=3 {
            let kernels = Kernels::new(isa, threads).unwrap();
            let found = compute(&kernels, &shape, &sequences, &segments, &queries, stride);
            assert_eq!(bits(&found), bits(&one_by_one), "{isa}, {threads} threads");
        }
    }
}

#[test]
fn a_single_position_gives_its_value() {
    let shape = AttentionShape {
        heads: 2,
        kv_heads: 1,
        head_dim: 8,
    };
    let sequence = Sequence::new(shape, 1, |n| Numbers(3).units(n));
    let value = sequence.values[0].clone();
    let queries = Numbers(4).units(16);
    let kernels = &all_kernels()[0];
    let found = compute(kernels, &shape, &[sequence], &[(0, 0, 1)], &queries, 16);
    assert_eq!(found, [value.clone(), value].concat());
}

#[test]
#[should_panic]
fn missing_pages_are_found_out() {
    let shape = AttentionShape {
        heads: 1,
        kv_heads: 1,
        head_dim: 4,
    };
    let sequence = Sequence::new(shape, 16, |n| vec![0.5; n]);
    compute(
        &all_kernels()[0],
        &shape,
        &[sequence],
        &[(0, 16, 1)],
        &[0.0; 4],
        4,
    );
}

#[test]
fn sizes_are_what_is_allocated() {
    let shape = AttentionShape {
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
    };
    let page = KvPage::new(shape, 30);
    assert_eq!(size_of_val(&*page.lines), shape.page_bytes(30));
    // Keys and values of 16 positions, nothing else.
    assert_eq!(shape.page_bytes(30), 16 * 30 * 3 * 64 * 2 * 4);
}
