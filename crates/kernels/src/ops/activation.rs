//! Gated activations of the feed-forward layer: `activation(gate) * up`.
//!
//! SiLU: x / (1 + e^-x) (Hendrycks and Gimpel 2016; Shazeer 2020 for the gate). GELU in its tanh form:
//! x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), which equals x / (1 + e^-2z) of the same argument z, without the
//! cancellation at negative x.

use crate::Runtime;
use crate::isa::{Kernel, Simd};
use crate::math::logistic;

/// What is applied to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x / (1 + e^-x). Relative error below 1e-6 for x of at least -87.3; exactly 0 below.
    Silu,
    /// The tanh form of GELU. Relative error below 1e-5 where the result is above 1e-30, and below 2e-6 for x > -4.
    GeluTanh,
}

/// `out = activation(gate) * up`, element by element; all three have one shape.
pub fn gated(runtime: &Runtime, activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
    const CHUNK: usize = 8 * 1024;
    assert!(gate.len() == out.len() && up.len() == out.len(), "gated: gate, up and out have one shape");
    runtime.for_each_chunk(out, CHUNK, |index, out| {
        let (gate, up) = (&gate[index * CHUNK..][..out.len()], &up[index * CHUNK..][..out.len()]);
        runtime.vectorize(Gated { activation, gate, up, out });
    });
}

/// [`gated`] of a fused projection: `gate_up` is `[T, 2F]`, each row the gate and then the other half; `out` is `[T, F]`,
/// with `width` = `F`.
pub fn gated_fused(runtime: &Runtime, activation: Activation, gate_up: &[f32], width: usize, out: &mut [f32]) {
    assert!(
        width > 0 && out.len().is_multiple_of(width) && gate_up.len() == 2 * out.len(),
        "gated_fused: [T, 2F] to [T, F]"
    );
    let rows = runtime.rows_per_task(out.len() / width, width);
    runtime.for_each_chunk(out, rows * width, |index, out| {
        let gate_up = gate_up[2 * index * rows * width..].chunks_exact(2 * width);
        for (out, gate_up) in out.chunks_exact_mut(width).zip(gate_up) {
            let (gate, up) = gate_up.split_at(width);
            runtime.vectorize(Gated { activation, gate, up, out });
        }
    });
}

/// [`gated`] of one row, on this thread.
pub(crate) fn gate_row(runtime: &Runtime, activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
    runtime.vectorize(Gated { activation, gate, up, out });
}

struct Gated<'a> {
    activation: Activation,
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Gated<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let whole = self.out.len() / S::LANES * S::LANES;
        let (out, rest) = self.out.split_at_mut(whole);
        // Whole vectors apart from the rest, so that they are read and written without a mask.
        let chunks = self.gate.chunks_exact(S::LANES).zip(self.up.chunks_exact(S::LANES));
        for ((gate, up), out) in chunks.zip(out.chunks_exact_mut(S::LANES)) {
            simd.store_slice(gated_vector(simd, self.activation, simd.load_slice(gate), simd.load_slice(up)), out);
        }
        let (gate, up) = (simd.load_slice(&self.gate[whole..]), simd.load_slice(&self.up[whole..]));
        simd.store_slice(gated_vector(simd, self.activation, gate, up), rest);
    }
}

/// activation(gate) * up
#[inline(always)]
fn gated_vector<S: Simd>(simd: S, activation: Activation, gate: S::F32, up: S::F32) -> S::F32 {
    let argument = match activation {
        Activation::Silu => gate,
        Activation::GeluTanh => doubled_gelu_argument(simd, gate),
    };
    simd.mul(simd.mul(gate, logistic(simd, argument)), up)
}

/// 2 sqrt(2/pi) (x + 0.044715 x^3)
#[inline(always)]
pub(crate) fn doubled_gelu_argument<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let scaled = simd.mul(simd.splat(1.595_769_2), x);
    let square = simd.mul(x, x);
    simd.mul(scaled, simd.mul_add(simd.splat(0.044_715), square, simd.splat(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::reference::testing::{assert_close, on_every_isa, values};

    #[test]
    fn gates_equal_the_reference_at_every_length() {
        on_every_isa(2, |runtime, lanes| {
            for (activation, bound) in [(Activation::Silu, 1e-6), (Activation::GeluTanh, 1e-5)] {
                for len in (1..=2 * lanes + 1).chain([20_000]) {
                    let (gate, up) = (values(len, 1, 8.0), values(len, 2, 1.0));
                    let expected = reference::gated(activation, &gate, &up);
                    let mut out = vec![0.0; len];
                    gated(runtime, activation, &gate, &up, &mut out);
                    assert_close(&out, &expected, bound, 1e-30);
                }
            }
        });
    }

    #[test]
    fn a_fused_gate_equals_a_separate_one_bit_for_bit() {
        on_every_isa(3, |runtime, lanes| {
            for width in (1..=2 * lanes + 1).chain([3000]) {
                let (gate, up) = (values(5 * width, 1, 8.0), values(5 * width, 2, 1.0));
                let rows = gate.chunks(width).zip(up.chunks(width));
                let fused: Vec<f32> = rows.flat_map(|(gate, up)| [gate, up].concat()).collect();
                let (mut a, mut b) = (vec![0.0; 5 * width], vec![0.0; 5 * width]);
                gated(runtime, Activation::GeluTanh, &gate, &up, &mut a);
                gated_fused(runtime, Activation::GeluTanh, &fused, width, &mut b);
                assert_eq!(a, b);
            }
        });
    }

    #[test]
    fn large_gates_saturate() {
        on_every_isa(1, |runtime, _| {
            for activation in [Activation::Silu, Activation::GeluTanh] {
                let mut out = [0.0; 4];
                gated(runtime, activation, &[1e30, -1e30, 200.0, -200.0], &[1.0; 4], &mut out);
                assert_eq!(out, [1e30, 0.0, 200.0, 0.0]);
            }
        });
    }
}
