//! What adapters add to the outputs of a matrix, for the rows of a batch that have one.
//!
//! ```text
//! for each adapter of the batch:
//!     x  = its rows, side by side
//!     low[i] = scale[i] · (x · A[i]ᵀ)      // all pairs of the operation, which share x
//!     out[its rows] += low[i] · B[i]ᵀ      // pair by pair
//! ```
//!
//! Every step is f32 and gives each row what it would give it alone (see `kernels::matmul`), so a row depends on its own
//! adapter and nothing else; rows without one are not touched. Read next: `forward.rs`, which calls it after each matrix.

use std::collections::BTreeMap;
use std::ops::Range;

use kernels::{Buffer, MatMul, Runtime};

use super::{Adapter, Adapters, LowRank, Site};
use crate::spec::LayerTensor;
use crate::{AdapterId, Segment};

/// The rows of a batch that go through one adapter.
pub(crate) struct AdaptedRows<'a> {
    adapter: &'a Adapter,
    /// Ascending, apart from each other.
    ranges: Vec<Range<usize>>,
    /// How many rows these are.
    count: usize,
}

/// Buffers, kept from one pass to the next.
#[derive(Debug, Default)]
pub(crate) struct LowRankWork {
    input: Buffer<f32>, // [rows, K]
    low: Buffer<f32>,   // of each pair [rows, r]
    delta: Buffer<f32>, // [rows, N]
}

/// Sorts the rows of a batch by adapter. Without adapters it takes no memory.
///
/// # Panics
/// When a segment names an adapter that is not there, or that was made for a model of other layers.
pub(crate) fn rows_of<'a>(adapters: &'a Adapters, segments: &[Segment], layers: usize) -> Vec<AdaptedRows<'a>> {
    let mut ranges: BTreeMap<AdapterId, Vec<Range<usize>>> = BTreeMap::new();
    let mut row = 0;
    for segment in segments {
        let end = row + segment.len;
        if let Some(id) = segment.adapter.filter(|_| segment.len > 0) {
            let ranges = ranges.entry(id).or_default();
            match ranges.last_mut() {
                Some(last) if last.end == row => last.end = end,
                _ => ranges.push(row..end),
            }
        }
        row = end;
    }
    let rows = |(id, ranges): (AdapterId, Vec<Range<usize>>)| {
        let adapter = adapters.get(id).expect("a segment names an adapter that the pass was given; this is a bug");
        assert_eq!(adapter.layers.len(), layers, "an adapter of another model; this is a bug");
        AdaptedRows { adapter, count: ranges.iter().map(Range::len).sum(), ranges }
    };
    ranges.into_iter().map(rows).collect()
}

impl AdaptedRows<'_> {
    /// Whether its adapter has a pair here.
    pub(crate) fn touches(&self, layer: usize, site: Site) -> bool {
        !self.adapter.pairs(layer, site).is_empty()
    }

    /// The rows of `x` `[T, K]`, side by side: `x` itself where they already are.
    fn input<'x>(&self, x: &'x [f32], cols: usize, gathered: &'x mut Buffer<f32>) -> &'x [f32] {
        if let [only] = &self.ranges[..] {
            return &x[only.start * cols..only.end * cols];
        }
        gathered.resize(self.count * cols);
        let mut to = 0;
        for range in &self.ranges {
            let rows = &x[range.start * cols..range.end * cols];
            gathered[to..to + rows.len()].copy_from_slice(rows);
            to += rows.len();
        }
        gathered
    }
}

/// Adds to each output `[T, N]` of an operation what the adapters make of its input `x` `[T, K]`.
pub(crate) fn apply(
    runtime: &Runtime,
    adapted: &[AdaptedRows<'_>],
    (layer, site): (usize, Site),
    x: &[f32],
    outs: &mut [(LayerTensor, &mut [f32])],
    work: &mut LowRankWork,
) {
    for rows in adapted {
        let pairs = rows.adapter.pairs(layer, site);
        let Some(first) = pairs.first() else { continue };
        let input = rows.input(x, first.a.cols, &mut work.input);
        down(runtime, pairs, input, rows.count, &mut work.low);
        let mut low = &work.low[..];
        for pair in pairs {
            let (own, rest) = low.split_at(rows.count * pair.a.rows);
            low = rest;
            for (tensor, b) in &pair.b {
                work.delta.resize(rows.count * b.rows);
                kernels::matmul(runtime, own, &mut [MatMul { weights: b.matrix(), out: &mut work.delta }]);
                let out = outs.iter_mut().find(|(role, _)| role == tensor);
                let (_, out) = out.expect("an operation has the outputs of its site; this is a bug");
                add_rows(runtime, &rows.ranges, b.rows, &work.delta, out);
            }
        }
    }
}

/// `low[i] = scale[i] · (x · A[i]ᵀ)`, one after the other.
fn down(runtime: &Runtime, pairs: &[LowRank], x: &[f32], rows: usize, low: &mut Buffer<f32>) {
    low.resize(rows * pairs.iter().map(|pair| pair.a.rows).sum::<usize>());
    let mut rest = &mut low[..];
    let mut jobs = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let (out, after) = rest.split_at_mut(rows * pair.a.rows);
        rest = after;
        jobs.push(MatMul { weights: pair.a.matrix(), out });
    }
    kernels::matmul(runtime, x, &mut jobs);
    for (job, pair) in jobs.iter_mut().zip(pairs) {
        kernels::scale(runtime, job.out, pair.scale);
    }
}

/// `out[ranges] += delta`, the rows of `delta` being those of the ranges in order.
fn add_rows(runtime: &Runtime, ranges: &[Range<usize>], width: usize, delta: &[f32], out: &mut [f32]) {
    let mut from = 0;
    for range in ranges {
        let out = &mut out[range.start * width..range.end * width];
        kernels::add(runtime, out, &delta[from..from + out.len()]);
        from += out.len();
    }
}
