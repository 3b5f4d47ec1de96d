//! GELU of encoders, exact and ungated: x Φ(x) = x/2 (1 + erf(x / sqrt(2))) (Hendrycks and Gimpel 2016), and its tanh form.
//!
//! The error function is that of Abramowitz and Stegun, 7.1.26: for z >= 0, 1 - erf(z) = t (a1 + t (a2 + .. + t a5)) e^(-z²)
//! with t = 1 / (1 + pz), within 1.5e-7. For negative x it gives 1 + erf directly, so nothing cancels there.

use crate::Runtime;
use crate::isa::{Kernel, Simd};
use crate::math::{exp_bounded, logistic};
use crate::ops::activation::doubled_gelu_argument;

/// Which GELU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gelu {
    /// By the error function. The absolute error is below 5e-7 |x|.
    Erf,
    /// By the hyperbolic tangent; bounds as of [`Activation::GeluTanh`](crate::Activation::GeluTanh).
    Tanh,
}

/// Replaces each element of `x` by its GELU.
pub fn gelu(runtime: &Runtime, kind: Gelu, x: &mut [f32]) {
    const CHUNK: usize = 8 * 1024;
    runtime.for_each_chunk(x, CHUNK, |_, x| runtime.vectorize(Each { kind, x }));
}

struct Each<'a> {
    kind: Gelu,
    x: &'a mut [f32],
}

impl Kernel for Each<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for chunk in self.x.chunks_mut(S::LANES) {
            let x = simd.load_slice(chunk);
            let y = match self.kind {
                Gelu::Erf => by_erf(simd, x),
                Gelu::Tanh => simd.mul(x, logistic(simd, doubled_gelu_argument(simd, x))),
            };
            simd.store_slice(y, chunk);
        }
    }
}

/// x/2 times 1 + erf(x / sqrt(2)), which is the complement for negative x and two less it for positive x.
#[inline(always)]
fn by_erf<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let z = simd.mul(simd.abs(x), simd.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = simd.div(one, simd.mul_add(simd.splat(0.327_591_1), z, one));
    let mut p = simd.splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = simd.mul_add(p, t, simd.splat(c));
    }
    let power = exp_bounded(simd, simd.sub(zero, simd.mul(z, z)));
    let complement = simd.mul(simd.mul(p, t), power);
    let sum = simd.select_less(x, zero, complement, simd.sub(simd.splat(2.0), complement));
    simd.mul(simd.mul(simd.splat(0.5), x), sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::reference::testing::{on_every_isa, values};

    #[test]
    fn both_equal_the_reference_at_every_length() {
        on_every_isa(2, |runtime, lanes| {
            for kind in [Gelu::Erf, Gelu::Tanh] {
                for len in (0..=2 * lanes + 1).chain([20_000]) {
                    let x = values(len, 1, 9.0);
                    let mut out = x.clone();
                    gelu(runtime, kind, &mut out);
                    for ((x, got), expected) in x.iter().zip(&out).zip(reference::gelu(kind, &x)) {
                        let bound = 2e-6 * expected.abs() + 5e-7 * x.abs();
                        assert!((got - expected).abs() <= bound, "{kind:?}({x}) = {got}, expected {expected}");
                    }
                }
            }
        });
    }

    #[test]
    fn extremes_saturate_and_what_is_no_number_stays_none() {
        on_every_isa(1, |runtime, _| {
            for kind in [Gelu::Erf, Gelu::Tanh] {
                let mut x = [1e30, -1e18, 200.0, -200.0, 0.0, f32::NAN];
                gelu(runtime, kind, &mut x);
                assert_eq!((x[0], x[2], x[4]), (1e30, 200.0, 0.0), "{kind:?}");
                assert!(x[1].abs() < 1e-9 && x[3].abs() < 1e-30 && x[5].is_nan(), "{kind:?}: {x:?}");
            }
        });
    }
}
