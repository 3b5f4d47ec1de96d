//! Activations rounded to signed bytes: the right side of integer products.
//!
//! ```text
//! for each row, for each span of 64 or 256 columns (the last may be shorter):
//!     scale = max |x| / 127
//!     number[k] = x[k] / scale, rounded to nearest, ties to even
//!     for each group of 16 or 32 numbers: Σ number, as the format corrects its sums
//! ```
//!
//! A row is rounded the same whatever rows stand beside it. What it costs a product is at most
//! `Σ_k scale / 2 * |w[k]|`: half a step for each activation.
//! A scale over a value that is no finite number is none, so that broken numbers stay visible.
//! 256 columns make a chunk, which is only how they lie in memory.

use crate::Runtime;
use crate::disjoint::Columns;
use crate::isa::{Kernel, Simd};
use crate::memory::{Buffer, Plain};
use crate::quant::{Correction, Rounding};

/// Columns that lie together: a multiple of every block, group and span.
pub(super) const CHUNK: usize = 256;
/// The smallest groups, and so the most, in a chunk.
pub(super) const MOST_GROUPS: usize = CHUNK / LEAST_GROUP;
const LEAST_GROUP: usize = 16;
/// The shortest span.
const LEAST_SPAN: usize = 64;

/// One chunk of one row.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Chunk {
    /// The numbers; zeros behind the last column.
    pub(super) numbers: [i8; CHUNK],
    /// Of each group what [`Chunk::start`] or [`Chunk::factor`] returns, and what [`Chunk::pair`] does.
    corrections: [i32; MOST_GROUPS],
    /// What the numbers of each 64 are multiplied by: the same for all of a span.
    scales: [f32; CHUNK / LEAST_SPAN],
}

// SAFETY: arrays of numbers, of which zeros are a value.
unsafe impl Plain for Chunk {}

impl Chunk {
    /// What the sum of a group's products starts at, where a number stands for zero or in the middle: `-zero * Σ number`, and
    /// 2^15 more for each second group of those that are scaled in pairs.
    #[inline(always)]
    pub(super) fn start(&self, group: usize) -> i32 {
        self.corrections[group]
    }

    /// What the offset of a group is multiplied by, where there are offsets: `Σ number`.
    #[inline(always)]
    pub(super) fn factor(&self, group: usize) -> f32 {
        f32::from_bits(self.corrections[group].cast_unsigned())
    }

    /// `Σ number` of groups `2 * pair` and `2 * pair + 1`, where they are scaled in pairs, as sixteen bits each, the first above
    /// the second.
    #[inline(always)]
    pub(super) fn pair(&self, pair: usize) -> i32 {
        self.corrections[MOST_GROUPS / 2 + pair]
    }

    /// What the numbers from column `column` on are multiplied by.
    #[inline(always)]
    pub(super) fn scale(&self, column: usize) -> f32 {
        self.scales[column / LEAST_SPAN]
    }
}

/// Rows of rounded activations. Chunk after chunk, so that what the rows have at the same columns is adjacent.
#[derive(Default)]
pub(crate) struct Activations {
    tokens: usize,
    depth: usize,
    /// `[ceil(K / CHUNK), T]`
    chunks: Buffer<Chunk>,
}

impl Activations {
    /// `T`
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// `K`
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The `index`th chunk of every row. `[T]`
    #[inline(always)]
    pub(super) fn chunk(&self, index: usize) -> &[Chunk] {
        &self.chunks[index * self.tokens..][..self.tokens]
    }

    /// Rounds `x` `[T, K]`, in place of what was here.
    pub(super) fn quantize(&mut self, runtime: &Runtime, x: &[f32], depth: usize, rounding: Rounding) {
        (self.tokens, self.depth) = (x.len() / depth, depth);
        self.chunks.resize(self.tokens * depth.div_ceil(CHUNK));
        if self.chunks.is_empty() {
            return;
        }
        let tokens = runtime.rows_per_task(self.tokens, depth);
        let mut matrix = [(&mut self.chunks[..], self.tokens)];
        runtime.for_each_tile(&mut matrix, (depth.div_ceil(CHUNK), tokens), x.len(), |_, _, tokens, chunks| {
            let x = &x[tokens.start * depth..tokens.end * depth];
            runtime.vectorize(Round { x, depth, rounding, chunks });
        });
    }
}

/// Rounds some rows.
struct Round<'a> {
    /// `[T, K]`
    x: &'a [f32],
    depth: usize,
    rounding: Rounding,
    /// `[ceil(K / CHUNK), T]`
    chunks: Columns<'a, Chunk>,
}

impl Kernel for Round<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        for (token, row) in self.x.chunks_exact(self.depth).enumerate() {
            let (whole, rest) = row.as_chunks::<CHUNK>();
            for (index, x) in whole.iter().enumerate() {
                round(simd, x, self.rounding, &mut self.chunks.row(index)[token]);
            }
            if !rest.is_empty() {
                let mut padded = [0.0; CHUNK];
                padded[..rest.len()].copy_from_slice(rest);
                round(simd, &padded, self.rounding, &mut self.chunks.row(whole.len())[token]);
            }
        }
    }
}

#[inline(always)]
fn round<S: Simd>(simd: S, x: &[f32; CHUNK], rounding: Rounding, chunk: &mut Chunk) {
    let Rounding { span, group, correction } = rounding;
    for (index, (x, numbers)) in x.chunks_exact(span).zip(chunk.numbers.chunks_exact_mut(span)).enumerate() {
        let scale = round_span(simd, x, numbers);
        chunk.scales[index * span / LEAST_SPAN..(index + 1) * span / LEAST_SPAN].fill(scale);
    }
    // Sums of four come from dot products with ones.
    let ones = simd.splat_i32(0x0101_0101);
    let mut fours = [0i32; CHUNK / 4];
    for (numbers, fours) in chunk.numbers.chunks_exact(4 * S::LANES).zip(fours.chunks_exact_mut(S::LANES)) {
        // SAFETY: both have as many bytes as a vector.
        unsafe {
            let numbers = simd.load_int(numbers.as_ptr().cast());
            simd.store_int(simd.dot_seven_bits(simd.splat_i32(0), ones, numbers), fours.as_mut_ptr().cast());
        }
    }
    let mut sums = [0i32; MOST_GROUPS];
    for (sum, fours) in sums.iter_mut().zip(fours.as_chunks::<{ LEAST_GROUP / 4 }>().0) {
        *sum = (fours[0] + fours[1]) + (fours[2] + fours[3]);
    }
    if group != LEAST_GROUP {
        for index in 0..MOST_GROUPS / 2 {
            sums[index] = sums[2 * index] + sums[2 * index + 1];
        }
    }
    match correction {
        Correction::Zero(zero) => chunk.corrections = sums.map(|sum| -zero * sum),
        Correction::Offset => chunk.corrections = sums.map(|sum| (sum as f32).to_bits().cast_signed()),
        Correction::Pairs(middle) => {
            let (starts, pairs) = chunk.corrections.split_at_mut(MOST_GROUPS / 2);
            for (index, pair) in sums[..MOST_GROUPS / 2].as_chunks::<2>().0.iter().enumerate() {
                starts[2 * index] = -middle * pair[0];
                starts[2 * index + 1] = (1 << 15) - middle * pair[1];
                pairs[index] = pair[0] << 16 | pair[1] & 0xffff;
            }
        }
    }
}

/// Rounds the values under one scale, whole vectors, and returns it.
#[inline(always)]
fn round_span<S: Simd>(simd: S, x: &[f32], numbers: &mut [i8]) -> f32 {
    let (mut largest, mut total) = (simd.splat(0.0), simd.splat(0.0));
    for x in x.chunks_exact(S::LANES) {
        let magnitude = simd.abs(simd.load_slice(x));
        largest = simd.max(largest, magnitude);
        // A maximum loses what is not a number, a sum does not.
        total = simd.add(total, magnitude);
    }
    if !simd.sum(total).is_finite() {
        return f32::NAN;
    }
    let largest = simd.max_lane(largest);
    // The smallest numbers have no finite reciprocal; they round to zero.
    let reciprocal = 127.0 / largest;
    let reciprocal = simd.splat(if reciprocal.is_finite() { reciprocal } else { 0.0 });
    for (x, numbers) in x.chunks_exact(S::LANES).zip(numbers.chunks_exact_mut(S::LANES)) {
        let number = simd.to_i32(simd.round(simd.mul(simd.load_slice(x), reciprocal)));
        // SAFETY: `numbers` has `LANES` elements.
        unsafe { simd.store_i8(number, numbers.as_mut_ptr()) }
    }
    largest / 127.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::{on_every_isa, values};

    const ROUNDINGS: [Rounding; 4] = [
        Rounding { span: 64, group: 32, correction: Correction::Zero(8) },
        Rounding { span: 256, group: 32, correction: Correction::Offset },
        Rounding { span: 256, group: 16, correction: Correction::Zero(32) },
        Rounding { span: 256, group: 32, correction: Correction::Pairs(8) },
    ];

    #[test]
    fn every_value_is_within_half_a_step_and_sums_are_exact() {
        on_every_isa(2, |runtime, _| {
            for (depth, rounding) in [1, 32, 255, 256, 257, 576].into_iter().zip(ROUNDINGS.into_iter().cycle()) {
                let x = values(5 * depth, 3, 10.0);
                let mut activations = Activations::default();
                activations.quantize(runtime, &x, depth, rounding);
                assert_eq!((activations.tokens(), activations.depth()), (5, depth));
                for (index, columns) in (0..depth).collect::<Vec<_>>().chunks(CHUNK).enumerate() {
                    for (token, chunk) in activations.chunk(index).iter().enumerate() {
                        for (index, (&column, &number)) in columns.iter().zip(&chunk.numbers).enumerate() {
                            let scale = chunk.scale(index);
                            assert_eq!(scale, chunk.scale(index / rounding.span * rounding.span), "one for a span");
                            let error = (f32::from(number) * scale - x[token * depth + column]).abs();
                            assert!(error <= scale * 0.500_01, "{error} at {column} of {depth}");
                        }
                        assert!(chunk.numbers[columns.len()..].iter().all(|&number| number == 0));
                        for (index, group) in chunk.numbers.chunks(rounding.group).enumerate() {
                            let sum: i32 = group.iter().map(|&number| i32::from(number)).sum();
                            match rounding.correction {
                                Correction::Zero(zero) => assert_eq!(chunk.start(index), -zero * sum),
                                Correction::Offset => assert_eq!(chunk.factor(index), sum as f32),
                                Correction::Pairs(middle) => {
                                    let (second, pair) = (index % 2 == 1, chunk.pair(index / 2));
                                    assert_eq!(chunk.start(index), i32::from(second) * (1 << 15) - middle * sum);
                                    assert_eq!(if second { i32::from(pair as i16) } else { pair >> 16 }, sum);
                                }
                            }
                        }
                    }
                }
            }
        });
    }

    #[test]
    fn broken_values_stay_broken_and_tiny_ones_vanish() {
        on_every_isa(1, |runtime, _| {
            let scale = |x: &[f32]| {
                let mut activations = Activations::default();
                activations.quantize(runtime, x, x.len(), ROUNDINGS[0]);
                activations.chunk(0)[0].scale(0)
            };
            assert!(scale(&[1.0, f32::NAN, 2.0, 3.0]).is_nan());
            assert!(scale(&[1.0, f32::NEG_INFINITY]).is_nan());
            assert_eq!(scale(&[0.0; 40]), 0.0);
            assert!(scale(&[1e-44; 3]) >= 0.0);
        });
    }
}
