//! What each op means, in plain loops over whole arrays with sums in f64: the oracle that every fast path is tested
//! against. Nothing here is fast, threaded or paged, and nothing outside of tests and benchmarks should call it.

use crate::{Activation, AttentionShape, BidirectionalShape, Gelu, RopePairing, RopeTable};

/// `x` `[T, K]` times `weights` `[N, K]`: the products `[T, N]`, and beside them the sums of magnitudes `Σ |x * w|` that
/// bound the rounding of any order of additions.
pub fn matmul(x: &[f32], weights: &[f32], cols: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut out, mut magnitudes) = (Vec::new(), Vec::new());
    for x in x.chunks_exact(cols) {
        for weights in weights.chunks_exact(cols) {
            let products = x.iter().zip(weights).map(|(&x, &w)| f64::from(x) * f64::from(w));
            out.push(products.clone().sum::<f64>() as f32);
            magnitudes.push(products.map(f64::abs).sum::<f64>() as f32);
        }
    }
    (out, magnitudes)
}

/// Rows of `x` `[R, D]` over their root mean square, times `weight` `[D]`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(weight.len()) {
        let mean = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + f64::from(eps)).sqrt();
        out.extend(row.iter().zip(weight).map(|(&x, &w)| (f64::from(x) * scale * f64::from(w)) as f32));
    }
    out
}

/// Rows of `x` `[R, D]` less their mean, over their standard deviation, times `weight` plus `bias`, both `[D]`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(weight.len()) {
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (variance + f64::from(eps)).sqrt();
        let normed = row.iter().map(|&x| (f64::from(x) - mean) * scale);
        out.extend(normed.zip(weight).zip(bias).map(|((x, &w), &b)| (x * f64::from(w) + f64::from(b)) as f32));
    }
    out
}

/// x times the integral of the normal distribution up to x, or its tanh form.
pub fn gelu(kind: Gelu, x: &[f32]) -> Vec<f32> {
    match kind {
        Gelu::Tanh => gated(Activation::GeluTanh, x, &vec![1.0; x.len()]),
        Gelu::Erf => x.iter().map(|&x| (f64::from(x) * normal_integral(f64::from(x))) as f32).collect(),
    }
}

/// (1 + erf(x / sqrt(2))) / 2 by Simpson's rule over the density from 0 to x, from where its tail is below 1e-30.
fn normal_integral(x: f64) -> f64 {
    const STEPS: usize = 2000;
    let end = x.abs().min(12.0);
    let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let step = end / STEPS as f64;
    let inner: f64 = (1..STEPS).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * density(i as f64 * step)).sum();
    let half = (density(0.0) + inner + density(end)) * step / 3.0;
    if x < 0.0 { 0.5 - half } else { 0.5 + half }
}

/// cap * tanh(x / cap)
pub fn softcap(x: &[f32], cap: f32) -> Vec<f32> {
    let cap = f64::from(cap);
    x.iter().map(|&x| (cap * (f64::from(x) / cap).tanh()) as f32).collect()
}

/// activation(gate) * up
pub fn gated(activation: Activation, gate: &[f32], up: &[f32]) -> Vec<f32> {
    let activate = |x: f64| match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        // x/2 (1 + tanh z) = x / (1 + e^-2z): the left side cancels in f64 too.
        Activation::GeluTanh => {
            let z = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x / (1.0 + (-2.0 * z).exp())
        }
    };
    gate.iter().zip(up).map(|(&gate, &up)| (activate(f64::from(gate)) * f64::from(up)) as f32).collect()
}

/// Heads of `x` `[T, H, Dh]` turned by position times frequency, with the angle in f64.
pub fn rope(
    x: &[f32],
    heads: usize,
    head_dim: usize,
    positions: &[u32],
    table: &RopeTable,
    pairing: RopePairing,
) -> Vec<f32> {
    let mut out = x.to_vec();
    let pairs = table.inverse_frequency.len();
    for (t, &position) in positions.iter().enumerate() {
        for head in 0..heads {
            let start = (t * heads + head) * head_dim;
            for (pair, &frequency) in table.inverse_frequency.iter().enumerate() {
                let (first, second) = match pairing {
                    RopePairing::Adjacent => (start + 2 * pair, start + 2 * pair + 1),
                    RopePairing::Halves => (start + pair, start + pair + pairs),
                };
                let (sine, cosine) = (f64::from(position) * f64::from(frequency)).sin_cos();
                let (a, b) = (f64::from(x[first]), f64::from(x[second]));
                let magnitude = f64::from(table.magnitude);
                out[first] = (magnitude * (a * cosine - b * sine)) as f32;
                out[second] = (magnitude * (b * cosine + a * sine)) as f32;
            }
        }
    }
    out
}

/// ln Σ e^x of each row of `logits` `[R, V]`.
pub fn log_sum_exp(logits: &[f32], width: usize) -> Vec<f64> {
    let sum = |row: &[f32]| {
        let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        max + row.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln()
    };
    logits.chunks_exact(width).map(sum).collect()
}

/// Causal attention of one sequence: queries `q` `[T, H, Dh]` of the positions from `position` on, keys `k` and values `v`
/// `[position + T, Hkv, Dh]` of all positions; returns `[T, H, Dh]`.
pub fn attention(shape: &AttentionShape, q: &[f32], k: &[f32], v: &[f32], position: usize) -> Vec<f32> {
    let AttentionShape { heads, kv_heads, head_dim, .. } = *shape;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let mut out = vec![0.0; q.len()];
    for (index, (q, out)) in q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate() {
        let (last, kv_head) = (position + index / heads, index % heads / (heads / kv_heads));
        let first = shape.window.map_or(0, |window| (last + 1).saturating_sub(window));
        let row = |position: usize| {
            (position * kv_heads + kv_head) * head_dim..(position * kv_heads + kv_head + 1) * head_dim
        };
        let scores: Vec<f64> = (first..=last)
            .map(|position| {
                let score = dot(q, &k[row(position)]) * f64::from(shape.scale);
                shape.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
            })
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - max).exp()).sum();
        for (d, out) in out.iter_mut().enumerate() {
            let weighted = scores
                .iter()
                .zip(first..)
                .map(|(score, position)| (score - max).exp() * f64::from(v[row(position)][d]));
            *out = (weighted.sum::<f64>() / total) as f32;
        }
    }
    out
}

/// Attention in which each position of a text sees all of it: `q`, `k`, `v` `[T, H, Dh]` hold texts of `lens` one behind
/// the other; returns `[T, H, Dh]`.
pub fn attention_bidirectional(shape: &BidirectionalShape, [q, k, v]: [&[f32]; 3], lens: &[usize]) -> Vec<f32> {
    let BidirectionalShape { heads, head_dim, scale } = *shape;
    let at = |row: usize, head: usize, d: usize| (row * heads + head) * head_dim + d;
    let mut out = vec![0.0; q.len()];
    let mut start = 0;
    for &len in lens {
        for (query, head) in (start..start + len).flat_map(|query| (0..heads).map(move |head| (query, head))) {
            let score = |key: usize| {
                let products = (0..head_dim).map(|d| f64::from(q[at(query, head, d)]) * f64::from(k[at(key, head, d)]));
                products.sum::<f64>() * f64::from(scale)
            };
            let scores: Vec<f64> = (start..start + len).map(score).collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|score| (score - max).exp()).sum();
            for d in 0..head_dim {
                let weighted =
                    scores.iter().zip(start..).map(|(s, key)| (s - max).exp() * f64::from(v[at(key, head, d)]));
                out[at(query, head, d)] = (weighted.sum::<f64>() / total) as f32;
            }
        }
        start += len;
    }
    out
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the ops' tests share: inputs, comparison, and a runtime for each instruction set.

    use crate::{Format, Isa, Runtime};

    /// `len` values spread over -range..range, the same for the same seed (SplitMix64, Steele et al. 2014).
    pub(crate) fn values(len: usize, seed: u64, range: f32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        (0..len).map(|_| ((next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * range).collect()
    }

    /// Bytes of a matrix [rows, cols] of any format with finite weights: those that are no number or overflow a scale
    /// are drawn again.
    pub(crate) fn random_weights(format: Format, rows: usize, cols: usize) -> Vec<u8> {
        let blocks = rows * cols / format.block_len();
        let mut decoded = vec![0.0; format.block_len()];
        let mut bytes = Vec::new();
        let mut seed = 0;
        while bytes.len() < blocks * format.block_bytes() {
            seed += 1;
            let block: Vec<u8> = values(format.block_bytes(), seed, 128.0).iter().map(|x| (x + 128.0) as u8).collect();
            crate::dequantize(format, &block, &mut decoded).unwrap();
            if decoded.iter().all(|x| x.abs() < 1e4) {
                bytes.extend(block);
            }
        }
        bytes
    }

    /// Calls `check(runtime, lanes)` for each instruction set of this processor.
    pub(crate) fn on_every_isa(threads: usize, check: impl Fn(&Runtime, usize)) {
        for isa in Isa::available() {
            let lanes = match isa {
                Isa::Scalar => 4,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2(_) | Isa::AvxVnni(_) => 8,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512(_) => 16,
            };
            check(&Runtime::new(isa, threads).unwrap(), lanes);
        }
    }

    /// Asserts |got - expected| <= relative * |expected| + absolute for each element.
    pub(crate) fn assert_close(got: &[f32], expected: &[f32], relative: f32, absolute: f32) {
        assert_eq!(got.len(), expected.len());
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let bound = relative * expected.abs() + absolute;
            assert!((got - expected).abs() <= bound, "at {i}: got {got}, expected {expected} within {bound:e}");
        }
    }
}
