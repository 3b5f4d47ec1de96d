//! Layer normalisation (Ba, Kiros and Hinton 2016): (x - mean) / sqrt(variance + eps) * weight + bias.

use crate::Runtime;
use crate::isa::{Kernel, Simd};

/// Normalises each row of `x` `[R, D]` in place; `weight` and `bias` are `[D]`.
///
/// The mean comes first and the squares of what is left of a row second, so nothing cancels. Terms are added in f32 lanes
/// over blocks of 256 and in f64 over the blocks.
pub fn layer_norm(runtime: &Runtime, x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let width = weight.len();
    assert_eq!(width, bias.len(), "layer_norm: weight and bias are [D]");
    assert!(x.is_empty() || (width > 0 && x.len().is_multiple_of(width)), "layer_norm: x is [R, D]");
    let chunk = (runtime.rows_per_task(x.len() / width.max(1), width) * width).max(1);
    runtime.for_each_chunk(x, chunk, |_, rows| runtime.vectorize(Norm { rows, weight, bias, eps }));
}

struct Norm<'a> {
    rows: &'a mut [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
}

impl Kernel for Norm<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for row in self.rows.chunks_exact_mut(width) {
            let mean = (sum_of(simd, row, |x| x) / width as f64) as f32;
            row.iter_mut().for_each(|x| *x -= mean);
            let variance = sum_of(simd, row, |x| simd.mul(x, x)) / width as f64;
            let scale = (1.0 / (variance + f64::from(self.eps)).sqrt()) as f32;
            for ((x, weight), bias) in row.iter_mut().zip(self.weight).zip(self.bias) {
                *x = *x * scale * weight + bias;
            }
        }
    }
}

/// Σ term(x) of a row `[D]`; `term` of zero is zero.
#[inline(always)]
fn sum_of<S: Simd>(simd: S, row: &[f32], term: impl Fn(S::F32) -> S::F32) -> f64 {
    const BLOCK: usize = 256;
    let mut sum = 0.0;
    for block in row.chunks(BLOCK) {
        let mut lanes = simd.splat(0.0);
        for chunk in block.chunks(S::LANES) {
            lanes = simd.add(lanes, term(simd.load_slice(chunk)));
        }
        sum += f64::from(simd.sum(lanes));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::reference::testing::{assert_close, on_every_isa, values};

    #[test]
    fn norms_equal_the_reference_at_every_length() {
        on_every_isa(2, |runtime, lanes| {
            for width in (1..=2 * lanes + 1).chain([256, 257, 384, 8192]) {
                let (mut x, weight, bias) = (values(9 * width, 1, 5.0), values(width, 2, 2.0), values(width, 3, 2.0));
                // Rows far from zero: their mean is most of what they are.
                x.iter_mut().skip(width).take(width).for_each(|x| *x += 100.0);
                let expected = reference::layer_norm(&x, &weight, &bias, 1e-5);
                layer_norm(runtime, &mut x, &weight, &bias, 1e-5);
                // Beside 100, a value of -5..5 has lost seven of its bits before it comes here.
                assert_close(&x[..width], &expected[..width], 1e-5, 1e-5);
                assert_close(&x[width..2 * width], &expected[width..2 * width], 1e-3, 1e-3);
                assert_close(&x[2 * width..], &expected[2 * width..], 1e-5, 1e-5);
            }
        });
    }

    #[test]
    fn a_row_of_one_value_becomes_the_bias() {
        on_every_isa(1, |runtime, _| {
            let mut x = [3.0; 20];
            layer_norm(runtime, &mut x, &[2.0; 20], &[0.5; 20], 1e-12);
            assert_eq!(x, [0.5; 20]);
        });
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it_or_on_threads() {
        let (x, weight, bias) = (values(40 * 500, 1, 5.0), values(500, 2, 1.0), values(500, 3, 1.0));
        on_every_isa(3, |runtime, _| {
            let mut all = x.clone();
            layer_norm(runtime, &mut all, &weight, &bias, 1e-12);
            let alone = Runtime::new(runtime.isa(), 1).unwrap();
            for (row, all) in x.chunks_exact(500).zip(all.chunks_exact(500)) {
                let mut row = row.to_vec();
                layer_norm(&alone, &mut row, &weight, &bias, 1e-12);
                assert_eq!(row, all);
            }
        });
    }
}
