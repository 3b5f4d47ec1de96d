//! Exponential, hyperbolic tangent and logistic function of whole vectors.
//!
//! Polynomials after S. Moshier's Cephes library (single/expf.c, single/exp2f.c, single/tanhf.c), whose constants they carry. Each lane is
//! computed alone, so an element's value does not depend on its neighbours or on the length of its row.
//! Knows no op; `ops/` calls it.

use crate::isa::Simd;

/// Below this the exponential is taken as zero: it would be below the smallest normal number.
const EXP_LOWEST: f32 = -87.336_54;
/// Above this the exponential is infinite.
const EXP_HIGHEST: f32 = 88.722_83;

/// e^x with a relative error below 2e-7 (3e-7 without fused multiply-add); exactly 0 below -87.34 (also for minus
/// infinity), infinite above 88.72, and not a number for what is not one.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2; then e^x = 2^n e^r. ln 2 is split in two so that n * high is exact.
    let lowest = simd.splat(EXP_LOWEST);
    let highest = simd.splat(EXP_HIGHEST);
    // The order of the operands lets what is not a number through.
    let clamped = simd.max(lowest, simd.min(highest, x));
    let n = simd.round(simd.mul(clamped, simd.splat(std::f32::consts::LOG2_E)));
    let r = simd.mul_add(n, simd.splat(-0.693_359_4), clamped);
    let r = simd.mul_add(n, simd.splat(2.121_944_4e-4), r);
    let mut p = simd.splat(1.987_569_1e-4);
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add(p, r, simd.splat(c));
    }
    let p = simd.add(simd.mul_add(simd.mul(r, r), p, r), simd.splat(1.0));
    // n may be 128, whose power of two is not a number's exponent: two halves always are.
    let half = simd.round(simd.mul(n, simd.splat(0.5)));
    let power = simd.mul(simd.mul(p, simd.exp2_whole(half)), simd.exp2_whole(simd.sub(n, half)));
    let power = simd.select_less(highest, x, simd.splat(f32::INFINITY), power);
    simd.select_less(x, lowest, simd.splat(0.0), power)
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

/// 1 / (1 + e^-x) with a relative error below 4e-7 where the result is a normal number.
#[inline(always)]
pub(crate) fn logistic<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let one = simd.splat(1.0);
    simd.div(one, simd.add(one, exp(simd, simd.sub(simd.splat(0.0), x))))
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
    let grown = exp(simd, simd.add(magnitude, magnitude));
    let large = simd.sub(one, simd.div(simd.splat(2.0), simd.add(grown, one)));
    // The sign of zero would be lost in the polynomial.
    simd.copy_sign(simd.select_less(magnitude, simd.splat(0.625), small, large), x)
}

#[cfg(test)]
mod tests {
    use super::{exp, exp2_nonpositive, logistic, tanh};
    use crate::isa::{Isa, Kernel, Simd};
    use std::ops::RangeInclusive;

    #[derive(Clone, Copy)]
    enum Function {
        Exp,
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
                    Function::Exp => exp(simd, x),
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
        check(Function::Exp, f64::exp, -87.3..=87.3, 3e-7);
        check(Function::Exp2Nonpositive, f64::exp2, -126.0..=0.0, 3e-7);
        check(Function::Exp2Nonpositive, f64::exp2, -1.0..=0.0, 3e-7);
        check(Function::Logistic, |x| 1.0 / (1.0 + (-x).exp()), -80.0..=80.0, 4e-7);
        check(Function::Tanh, f64::tanh, -20.0..=20.0, 4e-7);
        check(Function::Tanh, f64::tanh, -0.7..=0.7, 4e-7);
    }

    #[test]
    fn extremes_are_exact() {
        for isa in Isa::available() {
            let mut x = [f32::NEG_INFINITY, -100.0, 0.0, 89.0, f32::INFINITY, f32::NAN, 88.5];
            isa.run(Each(Function::Exp, &mut x));
            assert_eq!(x[..5], [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY], "{}", isa.name());
            assert!(x[5].is_nan());
            assert!((f64::from(x[6]) / 88.5f64.exp() - 1.0).abs() < 1e-6, "{}", x[6]);
            let mut x = [f32::NEG_INFINITY, -88.0, 0.0, f32::NAN, -87.0, -1.0];
            isa.run(Each(Function::Exp2Nonpositive, &mut x));
            assert_eq!(x[..3], [0.0, 0.0, 1.0], "{}", isa.name());
            assert!(x[3].is_nan());
            for (got, x) in [(x[4], -87.0f64), (x[5], -1.0)] {
                assert!((f64::from(got) / x.exp() - 1.0).abs() < 3e-7, "{got}");
            }
            let mut x = [f32::NEG_INFINITY, f32::INFINITY, 0.0, -0.0];
            isa.run(Each(Function::Tanh, &mut x));
            assert_eq!(x.map(f32::to_bits), [-1.0, 1.0, 0.0, -0.0f32].map(f32::to_bits), "{}", isa.name());
        }
    }
}
