//! Exponential, hyperbolic tangent and logistic function of whole vectors.
//!
//! Polynomials after S. Moshier's Cephes library (single/expf.c, single/exp2f.c, single/tanhf.c), whose constants they
//! carry. Each lane is computed alone, so an element's value does not depend on its neighbours or on the length of its row.
//! Knows no op; `ops/` calls it.

use crate::isa::Simd;

/// e to this, and to minus this, is a normal number, and so is the power of two in it.
const EXP_BOUND: f32 = 87.3;

/// e^x with a relative error below 2e-7 (3e-7 without fused multiply-add), for a magnitude of at most 87.3; beyond that the
/// power of the nearer end, and not a number for what is not one.
#[inline(always)]
pub(crate) fn exp_bounded<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2; then e^x = 2^n e^r. ln 2 is split in two so that n * high is exact.
    // The order of the operands lets what is not a number through.
    let clamped = simd.max(simd.splat(-EXP_BOUND), simd.min(simd.splat(EXP_BOUND), x));
    let n = simd.round(simd.mul(clamped, simd.splat(std::f32::consts::LOG2_E)));
    let r = simd.mul_add(n, simd.splat(-0.693_359_4), clamped);
    let r = simd.mul_add(n, simd.splat(2.121_944_4e-4), r);
    let mut p = simd.splat(1.987_569_1e-4);
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add(p, r, simd.splat(c));
    }
    let p = simd.add(simd.mul_add(simd.mul(r, r), p, r), simd.splat(1.0));
    simd.times_power(p, n)
}

/// 2^x of what is zero or less, with a relative error below 2e-7 (3e-7 without fused multiply-add): exactly 1 at zero,
/// exactly 0 below -126 (also for minus infinity), and not a number for what is not one.
#[inline(always)]
pub(crate) fn exp2_nonpositive<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    // Below this it would not be a normal number.
    let lowest = simd.splat(-126.0);
    let clamped = simd.max(lowest, x);
    let n = simd.round(clamped);
    let r = simd.sub(clamped, n);
    let mut p = simd.splat(1.535_336_2e-4);
    for c in [1.339_887_4e-3, 9.618_437e-3, 5.550_332_5e-2, 2.402_264_8e-1, std::f32::consts::LN_2, 1.0] {
        p = simd.mul_add(p, r, simd.splat(c));
    }
    simd.select_less(x, lowest, simd.splat(0.0), simd.times_power(p, n))
}

/// 1 / (1 + e^-x) with a relative error below 4e-7, and exactly 0 below -87.3.
#[inline(always)]
pub(crate) fn logistic<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let one = simd.splat(1.0);
    let value = simd.div(one, simd.add(one, exp_bounded(simd, simd.sub(simd.splat(0.0), x))));
    simd.select_less(x, simd.splat(-EXP_BOUND), simd.splat(0.0), value)
}

/// tanh x with a relative error below 4e-7.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let magnitude = simd.abs(x);
    // Near zero 1 - 2 / (e^2x + 1) would cancel; an odd polynomial does not.
    let square = simd.mul(x, x);
    let mut p = simd.splat(-5.704_988_6e-3);
    for c in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = simd.mul_add(p, square, simd.splat(c));
    }
    let small = simd.mul_add(simd.mul(p, square), x, x);
    let one = simd.splat(1.0);
    let grown = exp_bounded(simd, simd.add(magnitude, magnitude));
    let large = simd.sub(one, simd.div(simd.splat(2.0), simd.add(grown, one)));
    // The sign of zero would be lost in the polynomial.
    simd.copy_sign(simd.select_less(magnitude, simd.splat(0.625), small, large), x)
}

#[cfg(test)]
mod tests {
    use super::{EXP_BOUND, exp_bounded, exp2_nonpositive, logistic, tanh};
    use crate::isa::{Isa, Kernel, Simd};
    use std::ops::RangeInclusive;

    #[derive(Clone, Copy)]
    enum Function {
        ExpBounded,
        Exp2Nonpositive,
        Logistic,
        Tanh,
    }

    struct Each<'a>(Function, &'a mut [f32]);

    impl Kernel for Each<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            for chunk in self.1.chunks_mut(S::LANES) {
                let x = simd.load_slice(chunk);
                let y = match self.0 {
                    Function::ExpBounded => exp_bounded(simd, x),
                    Function::Exp2Nonpositive => exp2_nonpositive(simd, x),
                    Function::Logistic => logistic(simd, x),
                    Function::Tanh => tanh(simd, x),
                };
                simd.store_slice(y, chunk);
            }
        }
    }

    fn check(function: Function, exact: fn(f64) -> f64, range: RangeInclusive<f32>, bound: f64) {
        let (start, len) = (*range.start(), range.end() - range.start());
        let inputs: Vec<f32> = (0..=80_000).map(|i| start + i as f32 / 80_000.0 * len).collect();
        for isa in Isa::available() {
            let mut outputs = inputs.clone();
            isa.run(Each(function, &mut outputs));
            for (&x, &y) in inputs.iter().zip(&outputs) {
                let expected = exact(f64::from(x));
                let error = (f64::from(y) - expected).abs() / expected.abs().max(f64::from(f32::MIN_POSITIVE));
                assert!(error <= bound, "{}: f({x}) = {y}, expected {expected}, error {error:e}", isa.name());
            }
        }
    }

    #[test]
    fn functions_are_within_their_bounds() {
        check(Function::ExpBounded, f64::exp, -EXP_BOUND..=EXP_BOUND, 3e-7);
        check(Function::Exp2Nonpositive, f64::exp2, -126.0..=0.0, 3e-7);
        check(Function::Exp2Nonpositive, f64::exp2, -1.0..=0.0, 3e-7);
        check(Function::Logistic, |x| 1.0 / (1.0 + (-x).exp()), -EXP_BOUND..=80.0, 4e-7);
        check(Function::Tanh, f64::tanh, -20.0..=20.0, 4e-7);
        check(Function::Tanh, f64::tanh, -0.7..=0.7, 4e-7);
    }

    #[test]
    fn extremes_are_exact() {
        for isa in Isa::available() {
            let mut x = [f32::NEG_INFINITY, -EXP_BOUND, 0.0, EXP_BOUND, f32::INFINITY, f32::NAN];
            isa.run(Each(Function::ExpBounded, &mut x));
            assert_eq!((x[0], x[2], x[4]), (x[1], 1.0, x[3]), "{}", isa.name());
            assert!(x[5].is_nan());
            let mut x = [f32::NEG_INFINITY, -126.5, 0.0, f32::NAN];
            isa.run(Each(Function::Exp2Nonpositive, &mut x));
            assert_eq!(x[..3], [0.0, 0.0, 1.0], "{}", isa.name());
            assert!(x[3].is_nan());
            let mut x = [f32::NEG_INFINITY, -87.4, 100.0, f32::INFINITY, f32::NAN];
            isa.run(Each(Function::Logistic, &mut x));
            assert_eq!(x[..4], [0.0, 0.0, 1.0, 1.0], "{}", isa.name());
            assert!(x[4].is_nan());
            let mut x = [f32::NEG_INFINITY, f32::INFINITY, 0.0, -0.0];
            isa.run(Each(Function::Tanh, &mut x));
            assert_eq!(x.map(f32::to_bits), [-1.0, 1.0, 0.0, -0.0f32].map(f32::to_bits), "{}", isa.name());
        }
    }
}
