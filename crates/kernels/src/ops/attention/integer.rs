//! Attention's products in integers of sixteen bits, twice as many in a vector as f32.
//!
//! ```text
//! for each query:            t = |q| / 32767,  Q = round(q / t)               // |q|: the square root of Σ q[d]²
//! for each block, as in `ops/attention.rs`, with x[j] = p[j] * value scale[j] of what is seen:
//!     s[j] = (Σ_d Q[d] K[j][d]) * (t * key scale[j])
//!     u = max(max_j x[j] / 32767, Σ_j x[j] / 262000)
//!     P[j] = round(x[j] / u);  0 where j is not visible
//!     acc = acc c + (Σ_j P[j] V[j]) * (Σ_j x[j] / Σ_j P[j])                   // what rounding adds or takes in all, is undone
//! ```
//!
//! `K`, `V` and their scales are those that [`kv_store`](crate::kv_store) wrote. Integer sums are exact in any order: no key and no
//! query is longer than 32767 (and a half for each element), so a score is below 2^31, and so are 262000 times the largest value,
//! 8191. A position that is not seen adds nothing, whatever stands there, and a query's numbers do not depend on its neighbours.
//!
//! The error of a score is at most `scale * |q| * |k| * sqrt(Dh) / 32767`, were all roundings against it, and that of a stored
//! value 1/16382 of the largest of its row. A weighted value is off by `u / 2` at most: in a block that is half of 1/32767 of its
//! largest, or half of 1/262000 of its sum, for each position. In all that is less than half precision costs, for heads of up to
//! 256, in the tests. Shorter keys and smaller values than `kv_store` can tell from zero, and blocks that weigh as little, are zero.
//! It does not know how scores become weights. Next: `ops/attention.rs`.

use std::ops::Range;

use super::{BLOCK_LEN, Place, Products, Queries, State};
use crate::isa::{MOST_LANES, Simd};
use crate::kv::{KvPart, PAGE_LEN, Pair, Strip};
use crate::ops::kv_store::{LARGEST_VALUE, round_by_length};

/// Pairs of positions in a block.
const BLOCK_PAIRS: usize = BLOCK_LEN / 2;
/// The largest sum of a block's rounded weights, to which each rounding adds a half: times the largest value it is below 2^31.
const MOST_WEIGHT: u32 = 262_000;
const _: () = assert!((MOST_WEIGHT as u64 + BLOCK_LEN as u64 / 2) * (LARGEST_VALUE as u64) < 1 << 31);

/// Queries, weights and sums of a piece of work as integers.
#[derive(Default)]
pub(super) struct Integers {
    /// `[Q, ceil(Dh / 2)]`: pairs of dimensions.
    queries: Vec<Pair>,
    /// `[Q]`
    query_scales: Vec<f32>,
    /// `[Q, BLOCK_PAIRS]`: pairs of positions.
    weights: Vec<Pair>,
    /// `[Q]`: what the integer sums of the block are multiplied by; no number if a value that is seen is none.
    units: Vec<f32>,
    /// `[Q, Dh, up to whole vectors]`: the integer sums of the block.
    sums: Vec<i32>,
    values: ValueScales,
    /// `[BLOCK_LEN]`: weights times value scales of one query.
    weighted: Vec<f32>,
}

/// The value scales of a block for the rows of one span who see the same of it.
#[derive(Default)]
struct ValueScales {
    /// `[BLOCK_LEN]`; zero for a position that they do not see.
    scales: Vec<f32>,
    /// The block, the span and what is seen.
    known: Option<(usize, usize, Range<usize>)>,
}

/// Elements of a row of sums.
fn sums_len(head_dim: usize) -> usize {
    head_dim.next_multiple_of(MOST_LANES)
}

impl Products for Integers {
    #[inline(always)]
    fn begin<S: Simd>(&mut self, simd: S, queries: &Queries<'_>) {
        let (count, head_dim) = (queries.count(), queries.shape.head_dim);
        self.queries.resize(count * head_dim.div_ceil(2), [0; 2]);
        self.query_scales.resize(count, 0.0);
        self.weights.resize(count * BLOCK_PAIRS, [0; 2]);
        self.units.resize(count, 0.0);
        self.sums.resize(count * sums_len(head_dim), 0);
        self.sums.fill(0);
        self.values.scales.resize(BLOCK_LEN, 0.0);
        self.weighted.resize(BLOCK_LEN, 0.0);
        self.values.known = None;
        let rounded = self.queries.chunks_exact_mut(head_dim.div_ceil(2)).zip(&mut self.query_scales);
        for (query, (pairs, scale)) in rounded.enumerate() {
            *scale = round_by_length(simd, queries.query(query), pairs.as_flattened_mut());
        }
    }

    #[inline(always)]
    fn over<S: Simd>(&mut self, simd: S, queries: &Queries<'_>, place: &Place, state: &mut State<'_>) {
        let Strip::I16(elements, scales) = queries.strip(place.part, place.page) else {
            unreachable!("others have products of their own; this is a bug")
        };
        let (mut start, end) = (place.rows.start * queries.group, place.rows.end * queries.group);
        let seen = queries.seen_of_page(place.index, place.rows.clone());
        let page = Page { elements, scales, offset: place.offset(), pairs: seen.start / 2..seen.end.div_ceil(2) };
        while start < end {
            // As even as possible, and known to the compiler to be no more than there are registers for.
            let left = end - start;
            let len = left.div_ceil(left.div_ceil(S::PAIR_COLUMNS)).min(S::PAIR_COLUMNS);
            let (head_dim, scores) = (queries.shape.head_dim, &mut *state.weights);
            match (place.part, len) {
                (KvPart::Keys, 1) => self.score::<S, 1>(simd, head_dim, &page, start, scores),
                (KvPart::Keys, 2) => self.score::<S, 2>(simd, head_dim, &page, start, scores),
                (KvPart::Keys, 3) => self.score::<S, 3>(simd, head_dim, &page, start, scores),
                (KvPart::Keys, 4) => self.score::<S, 4>(simd, head_dim, &page, start, scores),
                (KvPart::Keys, 5) => self.score::<S, 5>(simd, head_dim, &page, start, scores),
                (KvPart::Keys, _) => self.score::<S, 6>(simd, head_dim, &page, start, scores),
                (KvPart::Values, 1) => self.add_values::<S, 1>(simd, head_dim, &page, start),
                (KvPart::Values, 2) => self.add_values::<S, 2>(simd, head_dim, &page, start),
                (KvPart::Values, 3) => self.add_values::<S, 3>(simd, head_dim, &page, start),
                (KvPart::Values, 4) => self.add_values::<S, 4>(simd, head_dim, &page, start),
                (KvPart::Values, 5) => self.add_values::<S, 5>(simd, head_dim, &page, start),
                (KvPart::Values, _) => self.add_values::<S, 6>(simd, head_dim, &page, start),
            }
            start += len;
        }
    }

    #[inline(always)]
    fn weigh<S: Simd>(
        &mut self,
        simd: S,
        queries: &Queries<'_>,
        query: usize,
        visible: Range<usize>,
        state: &State<'_>,
    ) {
        let rounded = self.weights[query * BLOCK_PAIRS..][..BLOCK_PAIRS].as_flattened_mut();
        rounded.fill(0);
        self.units[query] = 0.0;
        if visible.is_empty() {
            return;
        }
        let vectors = visible.start / S::LANES * S::LANES..visible.end.next_multiple_of(S::LANES);
        self.values.see(queries, query / queries.group, state.block, visible);
        let scales = &self.values.scales[vectors.clone()];
        let weights = &state.weights[query * BLOCK_LEN..][..BLOCK_LEN][vectors.clone()];
        let weighted = &mut self.weighted[vectors.clone()];
        let (mut largest, mut total) = (simd.splat(0.0), simd.splat(0.0));
        let both = weights.chunks_exact(S::LANES).zip(scales.chunks_exact(S::LANES));
        for ((weights, scales), weighted) in both.zip(weighted.chunks_exact_mut(S::LANES)) {
            let x = simd.mul(simd.load_slice(weights), simd.load_slice(scales));
            largest = simd.max(largest, x);
            // A maximum loses what is not a number, a sum does not.
            total = simd.add(total, x);
            simd.store_slice(x, weighted);
        }
        let total = simd.sum(total);
        let unit = (simd.max_lane(largest) / f32::from(i16::MAX)).max(total / MOST_WEIGHT as f32);
        let inverse = 1.0 / unit;
        if !(total.is_finite() && inverse.is_finite()) {
            self.units[query] = if total.is_finite() { 0.0 } else { f32::NAN };
            return;
        }
        let mut sum = simd.splat(0.0);
        let rounded = &mut rounded[vectors];
        for (weighted, rounded) in weighted.chunks_exact(S::LANES).zip(rounded.chunks_exact_mut(S::LANES)) {
            let weight = simd.round(simd.mul(simd.load_slice(weighted), simd.splat(inverse)));
            // Whole numbers below 2^24 in all: exact in any order.
            sum = simd.add(sum, weight);
            // SAFETY: the chunk has `LANES` elements.
            unsafe { simd.store_i16(simd.to_i32(weight), rounded.as_mut_ptr()) }
        }
        self.units[query] = total / simd.sum(sum);
    }

    #[inline(always)]
    fn end_block<S: Simd>(&mut self, simd: S, queries: &Queries<'_>, state: &mut State<'_>) {
        let head_dim = queries.shape.head_dim;
        let rows = self.sums.chunks_exact_mut(sums_len(head_dim)).zip(state.sums.chunks_exact_mut(head_dim));
        for ((integers, sums), unit) in rows.zip(&self.units) {
            for (integers, sums) in integers.chunks_exact_mut(S::LANES).zip(sums.chunks_mut(S::LANES)) {
                // SAFETY: the chunk of integers has `LANES` elements.
                let added = unsafe { simd.load_int(integers.as_ptr().cast()) };
                let sum = simd.mul_add(simd.to_f32(added), simd.splat(*unit), simd.load_slice(sums));
                simd.store_slice(sum, sums);
                integers.fill(0);
            }
        }
    }
}

/// A page's keys or values.
struct Page<'a> {
    /// Keys `[ceil(Dh / 2), PAGE_LEN]`, pairs of dimensions, or values `[PAGE_LEN / 2, Dh]`, pairs of positions.
    elements: &'a [Pair],
    /// `[PAGE_LEN]`
    scales: &'a [f32],
    /// Where its positions begin in their block.
    offset: usize,
    /// The pairs of positions that somebody sees.
    pairs: Range<usize>,
}

impl Integers {
    /// The scores of `C` queries from `start` on, into `scores` `[Q, BLOCK_LEN]`.
    #[inline(always)]
    fn score<S: Simd, const C: usize>(
        &self,
        simd: S,
        head_dim: usize,
        page: &Page<'_>,
        start: usize,
        scores: &mut [f32],
    ) {
        let len = head_dim.div_ceil(2);
        assert!(page.elements.len() == len * PAGE_LEN && PAGE_LEN.is_multiple_of(2 * S::LANES));
        let queries = &self.queries[start * len..(start + C) * len];
        for offset in (0..PAGE_LEN).step_by(2 * S::LANES) {
            let mut sums = [[simd.splat_i32(0); 2]; C];
            for pair in 0..len {
                let keys = &page.elements[pair * PAGE_LEN + offset..][..2 * S::LANES];
                // SAFETY: the slice has two vectors of pairs; `C` rows of queries have `len` pairs each.
                unsafe {
                    let (first, second) = (vector(simd, keys), vector(simd, &keys[S::LANES..]));
                    for (c, sums) in sums.iter_mut().enumerate() {
                        let query = splat(simd, queries.get_unchecked(c * len + pair));
                        sums[0] = simd.dot_pairs(sums[0], query, first);
                        sums[1] = simd.dot_pairs(sums[1], query, second);
                    }
                }
            }
            let scales = &page.scales[offset..][..2 * S::LANES];
            for c in 0..C {
                let query_scale = simd.splat(self.query_scales[start + c]);
                let scores = &mut scores[(start + c) * BLOCK_LEN + page.offset + offset..][..2 * S::LANES];
                for (half, sums) in sums[c].into_iter().enumerate() {
                    let at = half * S::LANES..(half + 1) * S::LANES;
                    let scale = simd.mul(simd.load_slice(&scales[at.clone()]), query_scale);
                    simd.store_slice(simd.mul(simd.to_f32(sums), scale), &mut scores[at]);
                }
            }
        }
    }

    /// Adds a page's values to the sums of `C` queries from `start` on.
    #[inline(always)]
    fn add_values<S: Simd, const C: usize>(&mut self, simd: S, head_dim: usize, page: &Page<'_>, start: usize) {
        let mut d = 0;
        while d + 2 * S::LANES <= head_dim {
            self.add_vectors::<S, C, 2>(simd, head_dim, page, start, d);
            d += 2 * S::LANES;
        }
        while d + S::LANES <= head_dim {
            self.add_vectors::<S, C, 1>(simd, head_dim, page, start, d);
            d += S::LANES;
        }
        for d in d..head_dim {
            for c in start..start + C {
                let weights = &self.weights[c * BLOCK_PAIRS + page.offset / 2..];
                let sum = &mut self.sums[c * sums_len(head_dim) + d];
                for pair in page.pairs.clone() {
                    for (weight, value) in weights[pair].into_iter().zip(page.elements[pair * head_dim + d]) {
                        *sum = sum.wrapping_add(i32::from(weight) * i32::from(value));
                    }
                }
            }
        }
    }

    /// [`Integers::add_values`] of the `P` vectors of a head that begin at `d`.
    #[inline(always)]
    fn add_vectors<S: Simd, const C: usize, const P: usize>(
        &mut self,
        simd: S,
        head_dim: usize,
        page: &Page<'_>,
        start: usize,
        d: usize,
    ) {
        let len = sums_len(head_dim);
        let weights = &self.weights[start * BLOCK_PAIRS + page.offset / 2..][..(C - 1) * BLOCK_PAIRS + PAGE_LEN / 2];
        assert!(page.pairs.end <= PAGE_LEN / 2 && d + P * S::LANES <= head_dim);
        assert!(page.elements.len() >= PAGE_LEN / 2 * head_dim);
        let mut acc = [[simd.splat_i32(0); P]; C];
        for c in 0..C {
            let sums = &self.sums[(start + c) * len + d..][..P * S::LANES];
            for (p, acc) in acc[c].iter_mut().enumerate() {
                // SAFETY: the slice has `P` vectors.
                *acc = unsafe { simd.load_int(sums.as_ptr().add(p * S::LANES).cast()) };
            }
        }
        for pair in page.pairs.clone() {
            // SAFETY: `pair < PAGE_LEN / 2` and `d + P * LANES <= head_dim`, so the reads end inside the values and weights.
            unsafe {
                let values = page.elements.as_ptr().add(pair * head_dim + d);
                let mut value = [simd.splat_i32(0); P];
                for (p, value) in value.iter_mut().enumerate() {
                    *value = simd.load_int(values.add(p * S::LANES).cast());
                }
                for (c, acc) in acc.iter_mut().enumerate() {
                    let weight = splat(simd, weights.get_unchecked(c * BLOCK_PAIRS + pair));
                    for (acc, value) in acc.iter_mut().zip(value) {
                        *acc = simd.dot_pairs(*acc, weight, value);
                    }
                }
            }
        }
        for c in 0..C {
            let sums = &mut self.sums[(start + c) * len + d..][..P * S::LANES];
            for (p, acc) in acc[c].into_iter().enumerate() {
                // SAFETY: the slice has `P` vectors.
                unsafe { simd.store_int(acc, sums.as_mut_ptr().add(p * S::LANES).cast()) }
            }
        }
    }
}

impl ValueScales {
    /// Gathers what row `row` sees of the block.
    #[inline(always)]
    fn see(&mut self, queries: &Queries<'_>, row: usize, block: usize, visible: Range<usize>) {
        let of = (block, queries.rows[row].span, visible);
        if self.known.as_ref() == Some(&of) {
            return;
        }
        let visible = &of.2;
        self.scales.fill(0.0);
        let first = block * (BLOCK_LEN / PAGE_LEN);
        for page in visible.start / PAGE_LEN..visible.end.div_ceil(PAGE_LEN) {
            let Strip::I16(_, scales) = queries.strip(KvPart::Values, queries.rows[row].pages[first + page]) else {
                unreachable!("others have products of their own; this is a bug")
            };
            let seen = visible.start.max(page * PAGE_LEN)..visible.end.min((page + 1) * PAGE_LEN);
            let in_page = seen.start - page * PAGE_LEN..seen.end - page * PAGE_LEN;
            self.scales[seen].copy_from_slice(&scales[in_page]);
        }
        self.known = Some(of);
    }
}

/// `LANES` pairs.
///
/// # Safety
/// `pairs` must have as many.
#[inline(always)]
unsafe fn vector<S: Simd>(simd: S, pairs: &[Pair]) -> S::Int {
    // SAFETY: the caller's promise.
    unsafe { simd.load_int(pairs.as_ptr().cast()) }
}

/// One pair in every lane.
#[inline(always)]
fn splat<S: Simd>(simd: S, pair: &Pair) -> S::Int {
    // SAFETY: a pair has the four bytes that are read; no alignment is asked. Compilers put it together number by number.
    simd.splat_i32(unsafe { std::ptr::from_ref(pair).cast::<i32>().read_unaligned() })
}
