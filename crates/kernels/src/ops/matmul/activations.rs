//! Activations rounded to signed bytes: the right side of integer products.
//!
//! ```text
//! for each row, for each 32 columns (the last may be fewer):
//!     scale = max |x| / 127
//!     number[k] = x[k] / scale, rounded to nearest, ties to even
//!     sums = Σ of the numbers of each 16, and of all
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

/// Columns that lie together: a multiple of every block and group.
pub(super) const CHUNK: usize = 256;

/// One chunk of one row.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Chunk {
    /// Signed numbers, or those plus 128; see [`Sign`]. Zeros behind the last column.
    pub(super) bytes: [u8; CHUNK],
    /// The sum of each sixteen signed numbers, a whole number.
    pub(super) sums_16: [f32; CHUNK / 16],
    /// The sum of each 32.
    pub(super) sums_32: [f32; CHUNK / 32],
    /// What each 32 numbers are multiplied by.
    pub(super) scales: [f32; CHUNK / 32],
}

// SAFETY: arrays of numbers, of which zeros are a value.
unsafe impl Plain for Chunk {}

/// How numbers are stored: dot products take one side unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Two's complement.
    Signed,
    /// 128 more.
    Biased,
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
    pub(super) fn quantize(&mut self, runtime: &Runtime, x: &[f32], depth: usize, sign: Sign) {
        (self.tokens, self.depth) = (x.len() / depth, depth);
        self.chunks.resize(self.tokens * depth.div_ceil(CHUNK));
        if self.chunks.is_empty() {
            return;
        }
        let tokens = runtime.rows_per_task(self.tokens, depth);
        let mut matrix = [(&mut self.chunks[..], self.tokens)];
        runtime.for_each_tile(&mut matrix, (depth.div_ceil(CHUNK), tokens), x.len(), |_, _, tokens, chunks| {
            let x = &x[tokens.start * depth..tokens.end * depth];
            runtime.vectorize(Round { x, depth, sign, chunks });
        });
    }
}

/// Rounds some rows.
struct Round<'a> {
    /// `[T, K]`
    x: &'a [f32],
    depth: usize,
    sign: Sign,
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
                round(simd, x, self.sign, &mut self.chunks.row(index)[token]);
            }
            if !rest.is_empty() {
                let mut padded = [0.0; CHUNK];
                padded[..rest.len()].copy_from_slice(rest);
                round(simd, &padded, self.sign, &mut self.chunks.row(whole.len())[token]);
            }
        }
    }
}

#[inline(always)]
fn round<S: Simd>(simd: S, x: &[f32; CHUNK], sign: Sign, chunk: &mut Chunk) {
    let mut numbers = [0i8; CHUNK];
    for (index, (x, numbers)) in x.as_chunks::<32>().0.iter().zip(numbers.as_chunks_mut::<32>().0).enumerate() {
        chunk.scales[index] = round_32(simd, x, numbers);
    }
    let bias = if sign == Sign::Biased { 0x80 } else { 0 };
    for (byte, number) in chunk.bytes.iter_mut().zip(&numbers) {
        // Flipping the sign bit adds 128.
        *byte = number.cast_unsigned() ^ bias;
    }
    for (sum, numbers) in chunk.sums_16.iter_mut().zip(numbers.as_chunks::<16>().0) {
        *sum = numbers.iter().map(|&number| i32::from(number)).sum::<i32>() as f32;
    }
    for (sum, pair) in chunk.sums_32.iter_mut().zip(chunk.sums_16.as_chunks::<2>().0) {
        *sum = pair[0] + pair[1];
    }
}

/// Rounds the values under one scale and returns it.
#[inline(always)]
fn round_32<S: Simd>(simd: S, x: &[f32; 32], numbers: &mut [i8; 32]) -> f32 {
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

    #[test]
    fn every_value_is_within_half_a_step_and_sums_are_exact() {
        on_every_isa(2, |runtime, _| {
            for depth in [1, 32, 255, 256, 257, 576] {
                let x = values(5 * depth, 3, 10.0);
                let mut activations = Activations::default();
                let sign = if depth % 2 == 0 { Sign::Signed } else { Sign::Biased };
                activations.quantize(runtime, &x, depth, sign);
                assert_eq!((activations.tokens(), activations.depth()), (5, depth));
                for (index, columns) in (0..depth).collect::<Vec<_>>().chunks(CHUNK).enumerate() {
                    for (token, chunk) in activations.chunk(index).iter().enumerate() {
                        let bias = if sign == Sign::Biased { 128 } else { 0 };
                        let numbers = chunk.bytes.map(|byte| byte.wrapping_sub(bias).cast_signed());
                        for (index, (&column, &number)) in columns.iter().zip(&numbers).enumerate() {
                            let scale = chunk.scales[index / 32];
                            let error = (f32::from(number) * scale - x[token * depth + column]).abs();
                            assert!(error <= scale * 0.500_01, "{error} at {column} of {depth}");
                        }
                        assert!(numbers[columns.len()..].iter().all(|&number| number == 0));
                        let sum: f32 = numbers.iter().map(|&number| f32::from(number)).sum();
                        assert_eq!(chunk.sums_16.iter().sum::<f32>(), sum);
                        assert_eq!(chunk.sums_32.iter().sum::<f32>(), sum);
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
                activations.quantize(runtime, x, x.len(), Sign::Signed);
                activations.chunk(0)[0].scales[0]
            };
            assert!(scale(&[1.0, f32::NAN, 2.0, 3.0]).is_nan());
            assert!(scale(&[1.0, f32::NEG_INFINITY]).is_nan());
            assert_eq!(scale(&[0.0; 40]), 0.0);
            assert!(scale(&[1e-44; 3]) >= 0.0);
        });
    }
}
