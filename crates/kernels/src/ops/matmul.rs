//! Products of activations with weight matrices: `out[t][n] = Σ_k x[t][k] * weights[n][k]`.
//!
//! Two ways, chosen by how the weights lie in memory. As in a file: weights are decoded exactly and sums are f32
//! (`matmul/float.rs`). Interleaved: activations are rounded to eight bits with a scale for every 64 or 256
//! (`matmul/activations.rs`), and numbers are multiplied and added in integers (`matmul/integer.rs`). Either way an output adds its terms in one
//! order, whatever the number of rows, the tile or the thread.

mod activations;
mod by_group;
mod by_pair;
mod float;
mod integer;

use std::cell::RefCell;

use crate::matrix::Layout;
use crate::quant::Rounding;
use crate::{Activation, Matrix, Runtime};
use activations::Activations;
pub(crate) use integer::{Product, paired_product, product};

/// One product of a [`matmul`].
pub struct MatMul<'a> {
    /// `[N, K]`
    pub weights: Matrix<'a>,
    /// `[T, N]`
    pub out: &'a mut [f32],
}

/// A product with its weights and the rows of its output.
type Job<'a> = (Matrix<'a>, &'a mut [f32]);

thread_local! {
    static ACTIVATIONS: RefCell<Activations> = RefCell::new(Activations::default());
}

/// Multiplies `x` `[T, K]` with each job's weights `[N, K]` into its `out` `[T, N]`.
///
/// # Panics
/// When the jobs do not share one `K`, or a length is not that of its shape.
pub fn matmul(runtime: &Runtime, x: &[f32], jobs: &mut [MatMul<'_>]) {
    let jobs = jobs.iter_mut().filter(|job| job.weights.rows() > 0).map(|job| (job.weights, &mut *job.out));
    let (mut interleaved, plain): (Vec<Job<'_>>, Vec<Job<'_>>) =
        jobs.partition(|(weights, _)| weights.layout() == Layout::Interleaved);
    let Some(depth) = interleaved.iter().chain(&plain).map(|(weights, _)| weights.cols()).next() else { return };
    assert!(depth > 0 && x.len().is_multiple_of(depth), "matmul: x is [T, K]");
    let tokens = x.len() / depth;
    for (weights, out) in interleaved.iter().chain(&plain) {
        assert!(weights.cols() == depth, "matmul: all weights have {depth} columns");
        assert_eq!(out.len(), tokens * weights.rows(), "matmul: out is [T, N]");
    }
    if tokens == 0 {
        return;
    }
    if !plain.is_empty() {
        float::multiply(runtime, x, plain);
    }
    while let Some((first, _)) = interleaved.first() {
        let rounding = rounding_for(first);
        let (jobs, others) = interleaved.into_iter().partition(|(weights, _)| rounding_for(weights) == rounding);
        interleaved = others;
        ACTIVATIONS.with_borrow_mut(|activations| {
            activations.quantize(runtime, x, depth, rounding);
            integer::multiply(runtime, activations, jobs);
        });
    }
}

/// How activations are rounded for the products of an interleaved matrix.
fn rounding_for(weights: &Matrix<'_>) -> Rounding {
    weights.format().rounding().expect("interleaved formats have one; this is a bug")
}

/// The gated feed-forward network's first half: `out = activation(x · gateᵀ) * (x · upᵀ)`, for interleaved matrices in one
/// go. Returns false, and does nothing, where either is not, or their activations are rounded differently: [`matmul`] and [`gated`](crate::gated) give the same bits.
/// `x` is `[T, K]`, `gate` and `up` are `[F, K]`, `out` is `[T, F]`.
///
/// # Panics
/// When shapes do not fit each other.
pub fn matmul_gated(
    runtime: &Runtime,
    x: &[f32],
    activation: Activation,
    weights: [Matrix<'_>; 2],
    out: &mut [f32],
) -> bool {
    let [gate, up] = weights;
    let depth = gate.cols();
    assert!(up.cols() == depth && up.rows() == gate.rows(), "matmul_gated: gate and up have one shape");
    assert!(x.len().is_multiple_of(depth), "matmul_gated: x is [T, K]");
    let tokens = x.len() / depth;
    assert_eq!(out.len(), tokens * gate.rows(), "matmul_gated: out is [T, F]");
    if weights.iter().any(|weights| weights.layout() != Layout::Interleaved) || rounding_for(&gate) != rounding_for(&up)
    {
        return false;
    }
    if !out.is_empty() {
        ACTIVATIONS.with_borrow_mut(|activations| {
            activations.quantize(runtime, x, depth, rounding_for(&gate));
            integer::multiply_gated(runtime, activations, activation, weights, out);
        });
    }
    true
}

#[cfg(test)]
mod tests;
