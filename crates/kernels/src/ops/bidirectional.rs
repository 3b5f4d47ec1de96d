//! Attention of encoders: every position of a text sees every position of the same text, and nothing is cached.
//!
//! ```text
//! for each text, head and query:
//!     score[j] = q · k[j] * scale        // keys side by side in lanes, d ascending
//!     p[j]     = e^(score[j] - max)
//!     out      = Σ p[j] v[j] / Σ p[j]    // values side by side in lanes, j ascending
//! ```
//!
//! A query's result depends on its own text alone: tiles of queries share keys that were turned round for them, never a sum.
//! It knows no padding: texts of different lengths lie one behind the other.

use std::cell::RefCell;
use std::ops::Range;

use crate::Runtime;
use crate::disjoint::Columns;
use crate::isa::{Kernel, MOST_LANES, Simd};
use crate::math::exp_bounded;

/// Queries that share the keys of a block.
const TILE: usize = 32;
/// Keys that are turned round at once; whole vectors on every instruction set.
const KEYS: usize = 64;
/// Queries whose sums stay in registers.
const TOGETHER: usize = 4;
const _: () = assert!(KEYS.is_multiple_of(MOST_LANES) && TILE.is_multiple_of(TOGETHER));

/// The heads of [`attention_bidirectional`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BidirectionalShape {
    /// `H`
    pub heads: usize,
    /// `Dh`
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// What a piece of work needs beside its inputs.
#[derive(Default)]
struct Scratch {
    /// `[Dh, KEYS]`
    keys: Vec<f32>,
    /// `[TILE, L rounded up to KEYS]`
    scores: Vec<f32>,
}

/// Attention within each of the texts that `q`, `k` and `v` `[T, H, Dh]` hold one behind the other; `lens` are their
/// lengths, which add up to `T`. The result goes to `out` `[T, H, Dh]`.
///
/// # Panics
/// When lengths do not fit each other.
pub fn attention_bidirectional(
    runtime: &Runtime,
    shape: &BidirectionalShape,
    [q, k, v]: [&[f32]; 3],
    lens: &[usize],
    out: &mut [f32],
) {
    let width = shape.heads * shape.head_dim;
    let rows: usize = lens.iter().sum();
    assert!(width > 0, "attention_bidirectional: heads of some width");
    for part in [q.len(), k.len(), v.len(), out.len()] {
        assert_eq!(part, rows * width, "attention_bidirectional: q, k, v and out are [T, H, Dh]");
    }
    let mut starts = Vec::with_capacity(lens.len());
    let (mut start, mut work) = (0, 0usize);
    for &len in lens {
        starts.push(start);
        start += len;
        work = work.saturating_add(len.saturating_mul(len).saturating_mul(2 * width));
    }
    let mut matrices = [(out, width)];
    runtime.for_each_tile(&mut matrices, (TILE, shape.head_dim), work, |_, rows, columns, mut tile| {
        // The tile may lie in several texts.
        let mut text = starts.partition_point(|&start| start <= rows.start) - 1;
        let mut row = rows.start;
        while row < rows.end {
            let within = starts[text]..starts[text] + lens[text];
            let queries = row..rows.end.min(within.end);
            if !queries.is_empty() {
                SCRATCH.with_borrow_mut(|scratch| {
                    let first = row - rows.start;
                    let (columns, width) = (columns.clone(), width);
                    let part = Part { q, k, v, width, columns, text: within, queries: queries.clone() };
                    runtime.vectorize(Attend { part, scale: shape.scale, first, tile: &mut tile, scratch });
                });
                row = queries.end;
            }
            text += 1;
        }
    });
}

/// One head of some queries of one text.
struct Part<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    /// H Dh
    width: usize,
    /// The head's columns.
    columns: Range<usize>,
    /// The text's rows.
    text: Range<usize>,
    /// The queries' rows.
    queries: Range<usize>,
}

impl<'a> Part<'a> {
    #[inline(always)]
    fn head(&self, values: &'a [f32], row: usize) -> &'a [f32] {
        &values[row * self.width..][self.columns.clone()]
    }
}

struct Attend<'a, 'b> {
    part: Part<'a>,
    scale: f32,
    /// The first query's row of the tile.
    first: usize,
    tile: &'a mut Columns<'b, f32>,
    scratch: &'a mut Scratch,
}

impl Kernel for Attend<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Attend { part, scale, first, tile, scratch } = self;
        let (len, count, head_dim) = (part.text.len(), part.queries.len(), part.columns.len());
        let row_len = len.next_multiple_of(KEYS);
        scratch.keys.resize(head_dim * KEYS, 0.0);
        scratch.scores.resize(scratch.scores.len().max(count * row_len), 0.0);
        for block in (0..len).step_by(KEYS) {
            turn_keys(&part, block, &mut scratch.keys);
            for group in (0..count).step_by(TOGETHER) {
                // Rows beyond the last repeat it; what they give is thrown away.
                let queries: [&[f32]; TOGETHER] =
                    std::array::from_fn(|index| part.head(part.q, part.queries.start + (group + index).min(count - 1)));
                for lane in (0..KEYS).step_by(S::LANES) {
                    let scores = scores_of(simd, queries, &scratch.keys[lane..]);
                    for (index, vector) in scores.into_iter().enumerate().take(count - group) {
                        let at = (group + index) * row_len + block + lane;
                        simd.store_slice(vector, &mut scratch.scores[at..]);
                    }
                }
            }
        }
        let mut inverses = [0.0f32; TILE];
        for (row, inverse) in scratch.scores.chunks_exact_mut(row_len).take(count).zip(&mut inverses) {
            *inverse = 1.0 / weigh(simd, &mut row[..len], scale);
        }
        for group in (0..count).step_by(TOGETHER) {
            let rows: [usize; TOGETHER] = std::array::from_fn(|index| (group + index).min(count - 1));
            let weights: [&[f32]; TOGETHER] =
                std::array::from_fn(|index| &scratch.scores[rows[index] * row_len..][..len]);
            for lane in (0..head_dim).step_by(S::LANES) {
                let sums = weighted_values(simd, &part, weights, lane);
                for (index, vector) in sums.into_iter().enumerate().take(count - group) {
                    let scaled = simd.mul(vector, simd.splat(inverses[group + index]));
                    simd.store_slice(scaled, &mut tile.row(first + group + index)[lane..]);
                }
            }
        }
    }
}

/// Writes the keys of the text from `block` on to `turned` `[Dh, KEYS]`; beyond the end of the text there are zeros.
#[inline(always)]
fn turn_keys(part: &Part<'_>, block: usize, turned: &mut [f32]) {
    let count = KEYS.min(part.text.len() - block);
    if count < KEYS {
        turned.fill(0.0);
    }
    for key in 0..count {
        let head = part.head(part.k, part.text.start + block + key);
        for (value, column) in head.iter().zip(turned.chunks_exact_mut(KEYS)) {
            column[key] = *value;
        }
    }
}

/// The products of queries `[Dh]` with the keys of one vector; `keys` begins at its first key.
#[inline(always)]
fn scores_of<S: Simd>(simd: S, queries: [&[f32]; TOGETHER], keys: &[f32]) -> [S::F32; TOGETHER] {
    let mut sums = [simd.splat(0.0); TOGETHER];
    for (d, keys) in keys.chunks(KEYS).enumerate().take(queries[0].len()) {
        let keys = simd.load_slice(keys);
        for (sum, query) in sums.iter_mut().zip(queries) {
            *sum = simd.mul_add(simd.splat(query[d]), keys, *sum);
        }
    }
    sums
}

/// Replaces scores by e^((score - max) * scale) and returns their sum.
#[inline(always)]
fn weigh<S: Simd>(simd: S, scores: &mut [f32], scale: f32) -> f32 {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (offset, factor) = (simd.splat(max), simd.splat(scale));
    let mut total = 0.0;
    for block in scores.chunks_mut(4 * S::LANES) {
        let mut lanes = simd.splat(0.0);
        for chunk in block.chunks_mut(S::LANES) {
            let weight = exp_bounded(simd, simd.mul(simd.sub(simd.load_slice(chunk), offset), factor));
            simd.store_slice(weight, chunk);
            // What lies beyond the end of the row is not added.
            lanes = simd.add(lanes, simd.load_slice(chunk));
        }
        total += simd.sum(lanes);
    }
    total
}

/// Σ weight v of one vector of columns from `lane` on, for each row of weights `[L]`.
#[inline(always)]
fn weighted_values<S: Simd>(simd: S, part: &Part<'_>, weights: [&[f32]; TOGETHER], lane: usize) -> [S::F32; TOGETHER] {
    let mut sums = [simd.splat(0.0); TOGETHER];
    for (index, row) in part.text.clone().enumerate() {
        let values = simd.load_slice(&part.head(part.v, row)[lane..]);
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = simd.mul_add(simd.splat(weights[index]), values, *sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::reference::testing::{assert_close, on_every_isa, values};

    fn shape(heads: usize, head_dim: usize) -> BidirectionalShape {
        BidirectionalShape { heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
    }

    fn attend(runtime: &Runtime, shape: &BidirectionalShape, inputs: &[Vec<f32>; 3], lens: &[usize]) -> Vec<f32> {
        let mut out = vec![f32::NAN; inputs[0].len()];
        attention_bidirectional(runtime, shape, [&inputs[0], &inputs[1], &inputs[2]], lens, &mut out);
        out
    }

    fn inputs(rows: usize, shape: &BidirectionalShape, range: f32) -> [Vec<f32>; 3] {
        [1, 2, 3].map(|seed| values(rows * shape.heads * shape.head_dim, seed, range))
    }

    #[test]
    fn attention_equals_the_reference() {
        on_every_isa(2, |runtime, lanes| {
            let widths = [1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes + 1, 64];
            for (heads, head_dim) in widths.map(|width| (2, width)).into_iter().chain([(12, 32), (1, 80)]) {
                let shape = shape(heads, head_dim);
                for lens in [&[1][..], &[5, 1, 63, 64, 65, 2], &[130, 31, 33, 1, 1]] {
                    let inputs = inputs(lens.iter().sum(), &shape, 3.0);
                    let got = attend(runtime, &shape, &inputs, lens);
                    let [q, k, v] = &inputs;
                    assert_close(&got, &reference::attention_bidirectional(&shape, [q, k, v], lens), 1e-5, 1e-5);
                }
            }
        });
    }

    #[test]
    fn a_text_depends_neither_on_those_beside_it_nor_on_threads() {
        let shape = shape(3, 20);
        let lens = [7, 100, 1, 33, 64];
        let all = inputs(lens.iter().sum(), &shape, 2.0);
        on_every_isa(3, |runtime, _| {
            let together = attend(runtime, &shape, &all, &lens);
            let alone = Runtime::new(runtime.isa(), 1).unwrap();
            let mut start = 0;
            for len in lens {
                let range = start * 60..(start + len) * 60;
                let one = [0, 1, 2].map(|index: usize| all[index][range.clone()].to_vec());
                assert_eq!(attend(&alone, &shape, &one, &[len]), together[range]);
                start += len;
            }
        });
    }

    #[test]
    fn large_scores_and_empty_texts_do_no_harm() {
        let shape = shape(2, 8);
        on_every_isa(1, |runtime, _| {
            let lens = [0, 3, 0, 70, 0];
            let inputs = inputs(73, &shape, 1e4);
            let got = attend(runtime, &shape, &inputs, &lens);
            assert!(got.iter().all(|x| x.is_finite() && x.abs() <= 1.001e4));
            assert!(attend(runtime, &shape, &[vec![], vec![], vec![]], &[]).is_empty());
            assert!(attend(runtime, &shape, &[vec![], vec![], vec![]], &[0, 0]).is_empty());
        });
    }
}
