//! Log-softmax of rows of logits.

use crate::Runtime;
use crate::isa::{Kernel, MOST_LANES, Simd};
use crate::math::exp_bounded;

/// Replaces each row of `logits` `[R, V]`, with `width` = `V`, by its log-probabilities: x - max - ln Σ e^(x - max).
///
/// The sum is taken in f32 lanes over blocks of four vectors and in f64 over the blocks, the rest in f64: the absolute error
/// is below 1e-6 plus half a unit in the last place. A logit of minus infinity stays that.
pub fn log_softmax(runtime: &Runtime, logits: &mut [f32], width: usize) {
    assert!(width > 0 && logits.len().is_multiple_of(width), "log_softmax: logits are [R, V]");
    let rows = runtime.rows_per_task(logits.len() / width, width);
    runtime.for_each_chunk(logits, rows * width, |_, chunk| {
        for row in chunk.chunks_exact_mut(width) {
            let (max, sum) = runtime.vectorize(ExpSum { row });
            let log_sum = f64::from(max) + sum.ln();
            for x in row {
                // Rounded once, to the nearest f32.
                *x = (f64::from(*x) - log_sum) as f32;
            }
        }
    });
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
    use crate::reference::testing::{assert_close, on_every_isa, values};

    #[test]
    fn log_probabilities_equal_the_reference_at_every_length() {
        on_every_isa(2, |runtime, lanes| {
            for width in (1..=2 * lanes + 1).chain([255, 256, 257, 50_000]) {
                let mut logits = values(3 * width, 1, 12.0);
                let expected = reference::log_softmax(&logits, width);
                log_softmax(runtime, &mut logits, width);
                assert_close(&logits, &expected, 1e-7, 1e-6);
            }
        });
    }

    /// Errors of many equal terms add up instead of cancelling.
    #[test]
    fn log_probabilities_keep_their_bound_where_most_logits_are_equal() {
        on_every_isa(2, |runtime, _| {
            for below in [-11.2, -11.9, -13.7, -16.3] {
                let mut logits = vec![below; 262_144];
                logits[7] = 0.0;
                let expected = reference::log_softmax(&logits, logits.len());
                let width = logits.len();
                log_softmax(runtime, &mut logits, width);
                assert_close(&logits, &expected, 1e-7, 1e-6);
            }
        });
    }

    #[test]
    fn impossible_tokens_stay_impossible() {
        on_every_isa(1, |runtime, _| {
            let mut logits = [f32::NEG_INFINITY, 0.0, 0.0];
            log_softmax(runtime, &mut logits, 3);
            assert_eq!(logits[0], f32::NEG_INFINITY);
            assert!((logits[1] + 2f32.ln()).abs() < 1e-6);
        });
    }
}
