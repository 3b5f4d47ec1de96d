//! Root-mean-square normalisation (Zhang and Sennrich 2019): x / sqrt(mean(x^2) + eps) * weight.

use crate::Runtime;
use crate::isa::{Kernel, Simd};

/// Normalises each row of `x` `[R, D]` into `out` `[R, D]`; `weight` is `[D]`.
///
/// Squares are added in f32 lanes over blocks of 256 and in f64 over the blocks; the relative error is below 2e-6.
pub fn rms_norm(runtime: &Runtime, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "rms_norm: x and out have one shape");
    let chunk = chunk_len(runtime, x.len(), weight.len());
    runtime.for_each_chunk(out, chunk, |index, out| {
        let x = &x[index * chunk..][..out.len()];
        runtime.vectorize(Norm { x: Some(x), out, weight, eps });
    });
}

/// [`rms_norm`] of `x` `[R, D]` in place.
pub fn rms_norm_in_place(runtime: &Runtime, x: &mut [f32], weight: &[f32], eps: f32) {
    let chunk = chunk_len(runtime, x.len(), weight.len());
    runtime.for_each_chunk(x, chunk, |_, out| runtime.vectorize(Norm { x: None, out, weight, eps }));
}

/// Elements of a piece of work: whole rows.
fn chunk_len(runtime: &Runtime, len: usize, width: usize) -> usize {
    assert!(len == 0 || (width > 0 && len.is_multiple_of(width)), "rms_norm: x is [R, D]");
    (runtime.rows_per_task(len / width.max(1), width) * width).max(1)
}

/// Rows of `x`, or of `out` itself without, normed into `out`.
struct Norm<'a> {
    x: Option<&'a [f32]>,
    out: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for Norm<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for (index, out) in self.out.chunks_exact_mut(width).enumerate() {
            match self.x {
                Some(x) => {
                    let x = &x[index * width..][..width];
                    let scale = scale_of(simd, x, self.eps);
                    for ((out, x), weight) in out.iter_mut().zip(x).zip(self.weight) {
                        *out = *x * scale * weight;
                    }
                }
                None => {
                    let scale = scale_of(simd, out, self.eps);
                    for (out, weight) in out.iter_mut().zip(self.weight) {
                        *out = *out * scale * weight;
                    }
                }
            }
        }
    }
}

/// 1 / sqrt(mean(x^2) + eps) of a row `[D]`.
#[inline(always)]
fn scale_of<S: Simd>(simd: S, row: &[f32], eps: f32) -> f32 {
    const BLOCK: usize = 256;
    let mut sum = 0.0;
    for block in row.chunks(BLOCK) {
        let mut lanes = simd.splat(0.0);
        let chunks = block.chunks_exact(S::LANES);
        let rest = simd.load_slice(chunks.remainder());
        for chunk in chunks {
            let x = simd.load_slice(chunk);
            lanes = simd.mul_add(x, x, lanes);
        }
        sum += f64::from(simd.sum(simd.mul_add(rest, rest, lanes)));
    }
    (1.0 / (sum / row.len() as f64 + f64::from(eps)).sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::reference::testing::{assert_close, on_every_isa, values};

    #[test]
    fn norms_equal_the_reference_at_every_length() {
        on_every_isa(2, |runtime, lanes| {
            for width in (1..=2 * lanes + 1).chain([256, 257, 8192]) {
                let (x, weight) = (values(9 * width, 1, 5.0), values(width, 2, 2.0));
                let mut out = vec![0.0; x.len()];
                rms_norm(runtime, &x, &weight, 1e-5, &mut out);
                assert_close(&out, &reference::rms_norm(&x, &weight, 1e-5), 2e-6, 0.0);
            }
        });
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        on_every_isa(1, |runtime, _| {
            let mut x = [0.0; 20];
            rms_norm_in_place(runtime, &mut x, &[1.0; 20], 1e-6);
            assert_eq!(x, [0.0; 20]);
        });
    }
}
