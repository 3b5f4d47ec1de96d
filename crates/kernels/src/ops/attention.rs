//! Causal grouped-query attention over paged keys and values, with a window and a soft-cap where a family has them.
//!
//! Softmax is taken in one pass over the pages (Milakov and Gimelshein 2018; Dao et al. 2022). Pages begin at absolute
//! positions, so a query adds in the same order whether its prompt came at once, in pieces or token by token:
//!
//! ```text
//! m = -inf, l = 0, acc = 0
//! for each page with visible positions, ascending:
//!     s[j] = cap(scale * Σ_d q[d] k[j][d]), d ascending;  -inf where j is not visible
//!     M = max(m, max_j s[j]);  c = e^(m - M);  p[j] = e^(s[j] - M)
//!     l = l c + Σ_j p[j];  acc = acc c, then + p[j] v[j] for the visible j, ascending;  m = M
//! out = acc / l
//! ```
//!
//! The query heads of a group, and the rows of one piece of work, share each load of a key or value. Against the oracle
//! the error is at most `2e-6 + 2e-6 * max|score|` times the largest value.

use std::cell::RefCell;
use std::ops::Range;

use crate::Runtime;
use crate::disjoint::Columns;
use crate::isa::{Kernel, Simd};
use crate::kv::{KvArena, KvPart, KvSpan, PAGE_LEN, Strip};
use crate::math::exp_nonpositive;
use crate::ops::elementwise::capped;

/// What one layer's attention looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// `H`: query heads.
    pub heads: usize,
    /// `Hkv`: key/value heads; query head `h` reads key/value head `h / (H / Hkv)`.
    pub kv_heads: usize,
    /// `Dh`
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Scores become cap * tanh(score / cap).
    pub softcap: Option<f32>,
    /// Visible positions, the query's own included; all up to its own without one.
    pub window: Option<usize>,
}

/// Queries of a tile, whose sums stay in registers.
const TILE_QUERIES: usize = 4;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Attends from the queries `q` `[T, H, Dh]` of each span to the keys and values that its pages hold up to each query's
/// own position; writes those rows of `out` `[T, H, Dh]`. Spans are in ascending order of rows; the keys and values of
/// their own rows were stored before.
///
/// # Panics
/// When spans overlap or reach outside of `q`, or shapes do not fit each other.
pub fn attention(
    runtime: &Runtime,
    shape: &AttentionShape,
    arena: &KvArena,
    layer: usize,
    q: &[f32],
    spans: &[KvSpan<'_>],
    out: &mut [f32],
) {
    const QUERIES_PER_TASK: usize = 32;
    let AttentionShape { heads, kv_heads, head_dim, window, .. } = *shape;
    assert!(kv_heads == arena.shape().kv_heads && head_dim == arena.shape().head_dim, "attention: the arena's shape");
    assert!(heads % kv_heads == 0 && window != Some(0), "attention: whole groups, and a window of at least one");
    assert!(q.len() == out.len(), "attention: q and out are [T, H, Dh]");
    let (group, row_len) = (heads / kv_heads, heads * head_dim);
    let mut outs = Vec::with_capacity(spans.len());
    let (mut rest, mut row, mut work) = (out, 0, 0);
    for span in spans {
        let (_, after) = rest.split_at_mut((span.row - row) * row_len);
        let (own, after) = after.split_at_mut(span.len * row_len);
        outs.push((own, row_len));
        (rest, row) = (after, span.row + span.len);
        work += 2 * span.len * row_len * window.map_or(span.position + span.len, |w| w.min(span.position + span.len));
    }
    let tile = (QUERIES_PER_TASK.div_ceil(group), group * head_dim);
    runtime.for_each_tile(&mut outs, tile, work, |index, rows, columns, out| {
        let span = spans[index];
        let queries = Queries {
            shape,
            q: &q[(span.row + rows.start) * row_len..(span.row + rows.end) * row_len],
            group,
            first_position: span.position + rows.start,
            rows: rows.len(),
            kv_head: columns.start / (group * head_dim),
        };
        SCRATCH.with_borrow_mut(|scratch| {
            runtime.vectorize(Attend { queries, arena, layer, pages: span.pages, out, scratch });
        });
    });
}

/// Consecutive rows of one sequence times the query heads of one group: query `row * group + member`.
struct Queries<'a> {
    shape: &'a AttentionShape,
    /// `[rows, H, Dh]`
    q: &'a [f32],
    group: usize,
    first_position: usize,
    rows: usize,
    kv_head: usize,
}

impl Queries<'_> {
    fn count(&self) -> usize {
        self.rows * self.group
    }

    /// `[Dh]`
    #[inline(always)]
    fn query(&self, query: usize) -> &[f32] {
        let AttentionShape { heads, head_dim, .. } = *self.shape;
        let head = self.kv_head * self.group + query % self.group;
        &self.q[(query / self.group * heads + head) * head_dim..][..head_dim]
    }

    /// The positions that a row sees.
    fn visible(&self, row: usize) -> Range<usize> {
        let end = self.first_position + row + 1;
        self.shape.window.map_or(0, |window| end.saturating_sub(window))..end
    }

    /// The part of a page that a row sees, as offsets in the page.
    fn visible_in(&self, row: usize, page: usize) -> Range<usize> {
        let Range { start, end } = self.visible(row);
        let first = page * PAGE_LEN;
        start.saturating_sub(first).min(PAGE_LEN)..end.saturating_sub(first).min(PAGE_LEN)
    }
}

struct Attend<'a> {
    queries: Queries<'a>,
    arena: &'a KvArena,
    layer: usize,
    pages: &'a [u32],
    out: Columns<'a, f32>,
    scratch: &'a mut Vec<f32>,
}

/// What is carried from page to page, one entry or row per query.
struct State<'a> {
    /// `[Q]`: the largest score so far.
    max: &'a mut [f32],
    /// `[Q]`: the sum of weights relative to that.
    total: &'a mut [f32],
    /// `[Q, PAGE_LEN]`: scores, then weights, of the current page.
    weights: &'a mut [f32],
    /// `[Q]`: what the sums so far are multiplied by for the current page.
    correction: &'a mut [f32],
    /// `[Q, Dh]`: the weighted sum of values.
    sums: &'a mut [f32],
}

impl Kernel for Attend<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (count, head_dim) = (self.queries.count(), self.queries.shape.head_dim);
        let strip_len = PAGE_LEN * head_dim;
        self.scratch.resize(2 * strip_len + count * (3 + PAGE_LEN + head_dim), 0.0);
        let (wide_keys, rest) = self.scratch.split_at_mut(strip_len);
        let (wide_values, rest) = rest.split_at_mut(strip_len);
        let (max, rest) = rest.split_at_mut(count);
        let (total, rest) = rest.split_at_mut(count);
        let (correction, rest) = rest.split_at_mut(count);
        let (weights, rest) = rest.split_at_mut(count * PAGE_LEN);
        let sums = &mut rest[..count * head_dim];
        max.fill(f32::NEG_INFINITY);
        total.fill(0.0);
        sums.fill(0.0);
        let mut state = State { max, total, weights, correction, sums };

        let last = self.queries.rows - 1;
        let (first, end) = (self.queries.visible(0).start, self.queries.visible(last).end);
        for page in first / PAGE_LEN..end.div_ceil(PAGE_LEN) {
            let strip = |part| self.arena.strip(self.layer, self.pages[page], part, self.queries.kv_head);
            let keys = widen(simd, strip(KvPart::Keys), wide_keys);
            let values = widen(simd, strip(KvPart::Values), wide_values);
            let mut row = 0;
            while row < self.queries.rows {
                // Rows that see the same part of the page go together.
                let visible = self.queries.visible_in(row, page);
                let mut next = row + 1;
                while next < self.queries.rows && self.queries.visible_in(next, page) == visible {
                    next += 1;
                }
                if !visible.is_empty() {
                    let run = row * self.queries.group..next * self.queries.group;
                    for start in run.clone().step_by(TILE_QUERIES) {
                        match (run.end - start).min(TILE_QUERIES) {
                            1 => attend_page::<S, 1>(simd, &self.queries, start, keys, values, &visible, &mut state),
                            2 => attend_page::<S, 2>(simd, &self.queries, start, keys, values, &visible, &mut state),
                            3 => attend_page::<S, 3>(simd, &self.queries, start, keys, values, &visible, &mut state),
                            _ => attend_page::<S, 4>(simd, &self.queries, start, keys, values, &visible, &mut state),
                        }
                    }
                }
                row = next;
            }
        }
        for query in 0..count {
            let out =
                &mut self.out.row(query / self.queries.group)[query % self.queries.group * head_dim..][..head_dim];
            let total = state.total[query];
            for (out, sum) in out.iter_mut().zip(&state.sums[query * head_dim..]) {
                *out = sum / total;
            }
        }
    }
}

/// A strip as f32: itself, or widened into `buffer`.
#[inline(always)]
fn widen<'a, S: Simd>(simd: S, strip: Strip<'a>, buffer: &'a mut [f32]) -> &'a [f32] {
    let bits = match strip {
        Strip::F32(strip) => return strip,
        Strip::F16(bits) => bits,
    };
    assert!(bits.len() == buffer.len() && bits.len().is_multiple_of(S::LANES), "a strip is whole vectors");
    for start in (0..bits.len()).step_by(S::LANES) {
        // SAFETY: both have `LANES` elements from `start` on, by the assertion above.
        unsafe { simd.store(simd.load_f16(bits.as_ptr().add(start)), buffer.as_mut_ptr().add(start)) }
    }
    buffer
}

/// One page for `C` queries from `start` on, which see the same part of it.
#[inline(always)]
fn attend_page<S: Simd, const C: usize>(
    simd: S,
    queries: &Queries<'_>,
    start: usize,
    keys: &[f32],
    values: &[f32],
    visible: &Range<usize>,
    state: &mut State<'_>,
) {
    let head_dim = queries.shape.head_dim;
    let q: [&[f32]; C] = std::array::from_fn(|c| queries.query(start + c));
    let weights = &mut state.weights[start * PAGE_LEN..(start + C) * PAGE_LEN];
    score::<S, C>(simd, q, keys, weights);
    softmax::<S, C>(simd, queries.shape, visible, start, state);
    let weights = &state.weights[start * PAGE_LEN..(start + C) * PAGE_LEN];
    let corrections = &state.correction[start..start + C];
    let sums = &mut state.sums[start * head_dim..(start + C) * head_dim];
    let mut d = 0;
    while d + 2 * S::LANES <= head_dim {
        add_values::<S, C, 2>(simd, weights, visible, values, head_dim, corrections, sums, d);
        d += 2 * S::LANES;
    }
    while d < head_dim {
        add_values::<S, C, 1>(simd, weights, visible, values, head_dim, corrections, sums, d);
        d += S::LANES;
    }
}

/// The products of `C` queries `[Dh]` with the keys `[Dh, PAGE_LEN]` of a page, into `scores` `[C, PAGE_LEN]`.
#[inline(always)]
fn score<S: Simd, const C: usize>(simd: S, q: [&[f32]; C], keys: &[f32], scores: &mut [f32]) {
    let head_dim = keys.len() / PAGE_LEN;
    assert!(keys.len() == head_dim * PAGE_LEN && scores.len() == C * PAGE_LEN && PAGE_LEN.is_multiple_of(2 * S::LANES));
    for q in q {
        assert!(q.len() == head_dim);
    }
    for offset in (0..PAGE_LEN).step_by(2 * S::LANES) {
        let mut sums = [[simd.splat(0.0); 2]; C];
        for d in 0..head_dim {
            // SAFETY: `offset + 2 * LANES <= PAGE_LEN` and `d < head_dim`, so the reads end inside the keys.
            let (first, second) = unsafe {
                let keys = keys.as_ptr().add(d * PAGE_LEN + offset);
                (simd.load(keys), simd.load(keys.add(S::LANES)))
            };
            for c in 0..C {
                let q = simd.splat(q[c][d]);
                sums[c][0] = simd.mul_add(q, first, sums[c][0]);
                sums[c][1] = simd.mul_add(q, second, sums[c][1]);
            }
        }
        for c in 0..C {
            let scores = &mut scores[c * PAGE_LEN + offset..][..2 * S::LANES];
            simd.store_slice(sums[c][0], scores);
            simd.store_slice(sums[c][1], &mut scores[S::LANES..]);
        }
    }
}

/// Turns the raw scores `[C, PAGE_LEN]` of the queries from `start` on into weights relative to the largest score so far,
/// and that, the sum of weights and the correction of earlier sums into the state. Invisible positions weigh 0.
#[inline(always)]
fn softmax<S: Simd, const C: usize>(
    simd: S,
    shape: &AttentionShape,
    visible: &Range<usize>,
    start: usize,
    state: &mut State<'_>,
) {
    let weights = &mut state.weights[start * PAGE_LEN..(start + C) * PAGE_LEN];
    let (max, total) = (&mut state.max[start..start + C], &mut state.total[start..start + C]);
    let mut growth = [0.0; C];
    for (c, scores) in weights.chunks_exact_mut(PAGE_LEN).enumerate() {
        if *visible != (0..PAGE_LEN) {
            // Capping and scaling leave them what they are; scores are never negated, so none turns visible.
            scores[..visible.start].fill(f32::NEG_INFINITY);
            scores[visible.end..].fill(f32::NEG_INFINITY);
        }
        let mut largest = simd.splat(f32::NEG_INFINITY);
        for chunk in scores.chunks_exact_mut(S::LANES) {
            let scaled = simd.mul(simd.load_slice(chunk), simd.splat(shape.scale));
            let score = match shape.softcap {
                // The cap of minus infinity is finite.
                Some(cap) => {
                    let capped = capped(simd, scaled, simd.splat(cap));
                    simd.select_less(simd.splat(f32::MIN), scaled, capped, scaled)
                }
                None => scaled,
            };
            simd.store_slice(score, chunk);
            largest = simd.max(largest, score);
        }
        let before = max[c];
        max[c] = before.max(simd.max_lane(largest));
        growth[c] = before - max[c];
    }
    // All corrections in one vector, or a few: each lane is computed alone.
    let corrections = &mut state.correction[start..start + C];
    for (growth, correction) in growth.chunks(S::LANES).zip(corrections.chunks_mut(S::LANES)) {
        simd.store_slice(exp_nonpositive(simd, simd.load_slice(growth)), correction);
    }
    for (c, scores) in weights.chunks_exact_mut(PAGE_LEN).enumerate() {
        let offset = simd.splat(max[c]);
        let mut sums = simd.splat(0.0);
        for chunk in scores.chunks_exact_mut(S::LANES) {
            let weights = exp_nonpositive(simd, simd.sub(simd.load_slice(chunk), offset));
            sums = simd.add(sums, weights);
            simd.store_slice(weights, chunk);
        }
        total[c] = total[c] * state.correction[start + c] + simd.sum(sums);
    }
}

/// sums = sums * correction + Σ weight * value over the visible positions, for `C` queries and the `P` vectors of a head
/// that begin at `d`; one vector may reach past the end of the head.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "each is a different array of the inner loop")]
fn add_values<S: Simd, const C: usize, const P: usize>(
    simd: S,
    weights: &[f32],
    visible: &Range<usize>,
    values: &[f32],
    head_dim: usize,
    corrections: &[f32],
    sums: &mut [f32],
    d: usize,
) {
    assert!(visible.end <= PAGE_LEN && weights.len() == C * PAGE_LEN && corrections.len() == C);
    assert!(values.len() == PAGE_LEN * head_dim && sums.len() == C * head_dim);
    let ends: [usize; P] = std::array::from_fn(|p| head_dim.min(d + (p + 1) * S::LANES));
    let mut acc = [[simd.splat(0.0); P]; C];
    for c in 0..C {
        let correction = simd.splat(corrections[c]);
        for p in 0..P {
            let sum = simd.load_slice(&sums[c * head_dim..][d + p * S::LANES..ends[p]]);
            acc[c][p] = simd.mul(sum, correction);
        }
    }
    let whole = d + P * S::LANES <= head_dim;
    for j in visible.clone() {
        let mut value = [simd.splat(0.0); P];
        for p in 0..P {
            let start = d + p * S::LANES;
            value[p] = if whole {
                // SAFETY: `j < PAGE_LEN` and `start + LANES <= head_dim`, so the read ends inside the values.
                unsafe { simd.load(values.as_ptr().add(j * head_dim + start)) }
            } else {
                simd.load_slice(&values[j * head_dim..][start..ends[p]])
            };
        }
        for c in 0..C {
            let weight = simd.splat(weights[c * PAGE_LEN + j]);
            for p in 0..P {
                acc[c][p] = simd.mul_add(weight, value[p], acc[c][p]);
            }
        }
    }
    for c in 0..C {
        for p in 0..P {
            simd.store_slice(acc[c][p], &mut sums[c * head_dim..][d + p * S::LANES..ends[p]]);
        }
    }
}

#[cfg(test)]
mod tests;
