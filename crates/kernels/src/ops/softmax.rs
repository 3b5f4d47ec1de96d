//! What turns logits into log-probabilities.

use crate::Runtime;
use crate::isa::{Kernel, MOST_LANES, Simd};
use crate::math::exp_bounded;

/// ln Σ e^x of each row of `logits` `[R, V]`, with `width` = `V`: `[R]`. A logit less that is a log-probability. Not a number
/// for a row with an infinite logit, one that is not a number, or only impossible ones.
///
/// The sum is taken in f32 lanes over blocks of four vectors and in f64 over the blocks, so its absolute error is below 1e-6.
/// An impossible token, of a logit of minus infinity, adds nothing that is felt.
pub fn log_sum_exp(runtime: &Runtime, logits: &[f32], width: usize) -> Vec<f64> {
    assert!(width > 0 && logits.len().is_multiple_of(width), "log_sum_exp: logits are [R, V]");
    let mut sums = vec![0.0; logits.len() / width];
    let rows = runtime.rows_per_task(sums.len(), width);
    runtime.for_each_chunk(&mut sums, rows, |index, sums| {
        for (sum, row) in sums.iter_mut().zip(logits[index * rows * width..].chunks_exact(width)) {
            let (max, exp_sum) = runtime.vectorize(ExpSum { row });
            *sum = f64::from(max) + exp_sum.ln();
        }
    });
    sums
}

struct ExpSum<'a> {
    row: &'a [f32],
}

impl Kernel for ExpSum<'_> {
    /// (max, Σ e^(x - max))
    type Output = (f32, f64);
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (f32, f64) {
        let mut max = simd.splat(f32::NEG_INFINITY);
        for chunk in self.row.chunks(S::LANES) {
            max = simd.max(max, load_padded(simd, chunk));
        }
        let max = simd.max_lane(max);
        let offset = simd.splat(max);
        let mut sum = 0.0;
        for block in self.row.chunks(4 * S::LANES) {
            let mut lanes = simd.splat(0.0);
            for chunk in block.chunks(S::LANES) {
                // What is too small for a power counts as the smallest one, which no sum of a whole row feels.
                lanes = simd.add(lanes, exp_bounded(simd, simd.sub(load_padded(simd, chunk), offset)));
            }
            sum += f64::from(simd.sum(lanes));
        }
        (max, sum)
    }
}

/// A vector of a row's logits; past the end of the row there are impossible tokens.
#[inline(always)]
fn load_padded<S: Simd>(simd: S, chunk: &[f32]) -> S::F32 {
    let mut padded = [f32::NEG_INFINITY; MOST_LANES];
    if chunk.len() < S::LANES {
        padded[..chunk.len()].copy_from_slice(chunk);
        return simd.load_slice(&padded);
    }
    simd.load_slice(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::reference::testing::{on_every_isa, values};

    fn assert_near(runtime: &Runtime, logits: &[f32], width: usize) {
        let expected = reference::log_sum_exp(logits, width);
        let sums = log_sum_exp(runtime, logits, width);
        assert_eq!(sums.len(), expected.len());
        for (sum, expected) in sums.iter().zip(expected) {
            assert!((sum - expected).abs() < 1e-6, "{sum} instead of {expected}, of {width}");
        }
    }

    #[test]
    fn sums_equal_the_reference_at_every_length() {
        on_every_isa(2, |runtime, lanes| {
            for width in (1..=2 * lanes + 1).chain([255, 256, 257, 50_000]) {
                assert_near(runtime, &values(3 * width, 1, 12.0), width);
            }
        });
    }

    /// Errors of many equal terms add up instead of cancelling.
    #[test]
    fn sums_keep_their_bound_where_most_logits_are_equal() {
        on_every_isa(2, |runtime, _| {
            for below in [-11.2, -11.9, -13.7, -16.3] {
                let mut logits = vec![below; 262_144];
                logits[7] = 0.0;
                assert_near(runtime, &logits, logits.len());
            }
        });
    }

    #[test]
    fn impossible_tokens_are_not_felt_and_broken_rows_are_no_number() {
        const NONE: f32 = f32::NEG_INFINITY;
        on_every_isa(1, |runtime, _| {
            let width = 40;
            let row = |special: &[f32]| {
                let mut row = vec![NONE; width];
                row[width - special.len()..].copy_from_slice(special);
                row
            };
            let rows = [row(&[0.0, 0.0]), row(&[]), row(&[0.0, f32::NAN, 1.0]), row(&[f32::INFINITY, 0.0])].concat();
            let sums = log_sum_exp(runtime, &rows, width);
            assert!((sums[0] - 2f64.ln()).abs() < 1e-6, "{sums:?}");
            assert!(sums[1..].iter().all(|sum| sum.is_nan()), "{sums:?}");
            // Wherever it stands, and in whatever vector.
            for place in 0..width {
                let mut row = vec![0.0; width];
                row[place] = f32::NAN;
                assert!(log_sum_exp(runtime, &row, width)[0].is_nan(), "at {place}");
            }
        });
    }
}
