//! One pass of an encoder over a batch of texts. It cannot fail: weights were checked at load, and a batch is valid by
//! contract (see [`Encoder::forward`]).
//!
//! ```text
//! x = norm(tokens[id] + positions[place] + types[kind])
//! for layer in layers: x = norm(x + attention(x)); x = norm(x + network(x))
//! outcome = pooled rows of each text, or its score
//! ```
//!
//! Nothing here knows a family or a container.

use kernels::{BidirectionalShape, Buffer, MatMul, RopePairing, RopeTurns, Runtime};

use super::Encoder;
use super::spec::{FeedForward, Outcome, Pooling};
use super::weights::{LayerWeights, Linear, Norm};

/// The input of one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncoderBatch {
    /// The token ids, text after text. `[T]`
    pub tokens: Vec<u32>,
    /// The kind of each token. `[T]`
    pub token_types: Vec<u32>,
    /// The lengths of the texts; they add up to `T`.
    pub lens: Vec<usize>,
}

impl EncoderBatch {
    /// Adds a text, with the kinds of its tokens.
    pub fn push(&mut self, tokens: &[u32], token_types: &[u32]) {
        self.tokens.extend_from_slice(tokens);
        self.token_types.extend_from_slice(token_types);
        self.lens.push(tokens.len());
    }
}

/// Buffers of a pass, kept from one to the next and grown when a batch is larger than all before.
#[derive(Debug, Default)]
pub struct EncoderWorkspace {
    residual: Buffer<f32>, // [T, D]
    branch: Buffer<f32>,   // [T, D]
    query: Buffer<f32>,    // [T, H, Dh]
    key: Buffer<f32>,      // [T, H, Dh]
    value: Buffer<f32>,    // [T, H, Dh]
    heads: Buffer<f32>,    // [T, H, Dh]
    gate: Buffer<f32>,     // [T, F]
    up: Buffer<f32>,       // [T, F]
    hidden: Buffer<f32>,   // [T, F]
    positions: Vec<u32>,   // [T]
    turns: RopeTurns,
    outcome: Vec<f32>, // [texts, outcome_len]
}

impl EncoderWorkspace {
    /// Bytes that a batch of `tokens` takes in f32, the attention's scores left aside.
    pub fn bytes(width: usize, feed_forward: usize, tokens: usize) -> u64 {
        4 * (6 * width as u64 + 3 * feed_forward as u64) * tokens as u64
    }
}

impl Encoder {
    /// Runs a batch and returns `[texts, outcome_len]` f32, borrowed from the workspace: pooled rows as they are, or scores.
    /// Each text's are the same, bit for bit, whatever else is in the batch.
    ///
    /// # Panics
    /// When the caller breaks the contract, which is a bug: every text has a token and at most `context` of them; the
    /// lengths add up to the tokens; every token is below `V`, every kind below the number of kinds.
    pub fn forward<'w>(
        &self,
        runtime: &Runtime,
        batch: &EncoderBatch,
        workspace: &'w mut EncoderWorkspace,
    ) -> &'w [f32] {
        self.check_batch(batch);
        workspace.grow(self, batch);
        let mut pass = Pass { encoder: self, runtime, batch, work: workspace };
        pass.embed();
        for layer in &self.weights.layers {
            pass.attention(layer);
            pass.network(layer);
        }
        pass.outcome();
        &workspace.outcome
    }

    fn check_batch(&self, batch: &EncoderBatch) {
        let spec = &self.spec;
        let rows: usize = batch.lens.iter().sum();
        let is_whole = rows == batch.tokens.len() && rows == batch.token_types.len();
        assert!(is_whole, "texts do not add up to the batch's tokens; this is a bug");
        assert!(batch.lens.iter().all(|len| (1..=spec.context).contains(len)), "a text's length; this is a bug");
        let below = |ids: &[u32], bound: usize| ids.iter().all(|id| (*id as usize) < bound);
        assert!(below(&batch.tokens, spec.vocabulary), "a token outside the vocabulary; this is a bug");
        assert!(below(&batch.token_types, spec.token_types), "a kind of token that is none; this is a bug");
    }
}

impl EncoderWorkspace {
    fn grow(&mut self, encoder: &Encoder, batch: &EncoderBatch) {
        let (spec, rows) = (&encoder.spec, batch.tokens.len());
        for buffer in
            [&mut self.residual, &mut self.branch, &mut self.query, &mut self.key, &mut self.value, &mut self.heads]
        {
            buffer.resize(rows * spec.width);
        }
        self.up.resize(rows * spec.feed_forward);
        if let FeedForward::Gated(_) = spec.network {
            self.gate.resize(rows * spec.feed_forward);
            self.hidden.resize(rows * spec.feed_forward);
        }
        self.positions.clear();
        for &len in &batch.lens {
            self.positions.extend(0..u32::try_from(len).expect("lengths were checked; this is a bug"));
        }
        self.turns.clear();
        if let Some(table) = &encoder.rope {
            self.turns.extend(&self.positions, table);
        }
        self.outcome.clear();
    }
}

/// A pass under way.
struct Pass<'a> {
    encoder: &'a Encoder,
    runtime: &'a Runtime,
    batch: &'a EncoderBatch,
    work: &'a mut EncoderWorkspace,
}

impl Pass<'_> {
    fn embed(&mut self) {
        let (runtime, weights, work) = (self.runtime, &self.encoder.weights, &mut *self.work);
        kernels::embed(runtime, weights.tokens.matrix(), &self.batch.tokens, &mut work.residual);
        kernels::embed(runtime, weights.types.matrix(), &self.batch.token_types, &mut work.branch);
        kernels::add(runtime, &mut work.residual, &work.branch);
        if let Some(table) = &weights.positions {
            kernels::embed(runtime, table.matrix(), &work.positions, &mut work.branch);
            kernels::add(runtime, &mut work.residual, &work.branch);
        }
        self.norm(&weights.norm);
    }

    fn norm(&mut self, norm: &Norm) {
        let eps = self.encoder.spec.norm_eps;
        kernels::layer_norm(self.runtime, &mut self.work.residual, &norm.weight, &norm.bias, eps);
    }

    /// x = norm(x + output(attention(query(x), key(x), value(x))))
    fn attention(&mut self, layer: &LayerWeights) {
        let (runtime, spec, work) = (self.runtime, &self.encoder.spec, &mut *self.work);
        let mut jobs = [
            MatMul { weights: layer.query.weight.matrix(), out: &mut work.query },
            MatMul { weights: layer.key.weight.matrix(), out: &mut work.key },
            MatMul { weights: layer.value.weight.matrix(), out: &mut work.value },
        ];
        kernels::matmul(runtime, &work.residual, &mut jobs);
        let inputs = [(&layer.query, &mut work.query), (&layer.key, &mut work.key), (&layer.value, &mut work.value)];
        for (linear, values) in inputs {
            add_bias(runtime, linear, values);
        }
        if self.encoder.rope.is_some() {
            for values in [&mut work.query, &mut work.key] {
                kernels::rope(runtime, values, spec.heads, spec.head_dim(), &work.turns, RopePairing::Halves);
            }
        }
        let scale = 1.0 / (spec.head_dim() as f32).sqrt();
        let shape = BidirectionalShape { heads: spec.heads, head_dim: spec.head_dim(), scale };
        let inputs = [&work.query[..], &work.key, &work.value];
        kernels::attention_bidirectional(runtime, &shape, inputs, &self.batch.lens, &mut work.heads);
        multiply(runtime, &work.heads, &layer.output, &mut work.branch);
        kernels::add(runtime, &mut work.residual, &work.branch);
        self.norm(&layer.output_norm);
    }

    /// x = norm(x + down(gelu(up(x)))), or with a gate.
    fn network(&mut self, layer: &LayerWeights) {
        let (runtime, work) = (self.runtime, &mut *self.work);
        multiply(runtime, &work.residual, &layer.up, &mut work.up);
        let hidden = match (self.encoder.spec.network, &layer.gate) {
            (FeedForward::Gated(activation), Some(gate)) => {
                multiply(runtime, &work.residual, gate, &mut work.gate);
                kernels::gated(runtime, activation, &work.gate, &work.up, &mut work.hidden);
                &work.hidden
            }
            (FeedForward::Plain(gelu), _) => {
                kernels::gelu(runtime, gelu, &mut work.up);
                &work.up
            }
            (FeedForward::Gated(_), None) => unreachable!("a gated network's weights were loaded; this is a bug"),
        };
        multiply(runtime, hidden, &layer.down, &mut work.branch);
        kernels::add(runtime, &mut work.residual, &work.branch);
        self.norm(&layer.layer_norm);
    }

    fn outcome(&mut self) {
        let width = self.encoder.spec.width;
        let mut row = 0;
        for &len in &self.batch.lens {
            let rows = &self.work.residual[row * width..(row + len) * width];
            match self.encoder.spec.outcome {
                Outcome::Vector(Pooling::Cls) => self.work.outcome.extend_from_slice(&rows[..width]),
                Outcome::Vector(Pooling::Mean) => {
                    let mut sums = vec![0.0f64; width];
                    for row in rows.chunks_exact(width) {
                        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
                    }
                    self.work.outcome.extend(sums.into_iter().map(|sum| (sum / len as f64) as f32));
                }
                Outcome::Score { .. } => {
                    let score = score(self.encoder, self.runtime, &rows[..width]);
                    self.work.outcome.push(score);
                }
            }
            row += len;
        }
    }
}

/// classifier(tanh(pooler(first row)))
fn score(encoder: &Encoder, runtime: &Runtime, first: &[f32]) -> f32 {
    let mut pooled = first.to_vec();
    if let Some(pooler) = &encoder.weights.pooler {
        multiply(runtime, first, pooler, &mut pooled);
        pooled.iter_mut().for_each(|x| *x = x.tanh());
    }
    let classifier = encoder.weights.classifier.as_ref();
    let classifier = classifier.expect("the weights of the outcome were loaded; this is a bug");
    let mut score = [0.0];
    multiply(runtime, &pooled, classifier, &mut score);
    score[0]
}

/// `out = x · Wᵀ + bias`
fn multiply(runtime: &Runtime, x: &[f32], linear: &Linear, out: &mut [f32]) {
    kernels::matmul(runtime, x, &mut [MatMul { weights: linear.weight.matrix(), out }]);
    add_bias(runtime, linear, out);
}

fn add_bias(runtime: &Runtime, linear: &Linear, values: &mut [f32]) {
    if let Some(bias) = &linear.bias {
        kernels::add_bias(runtime, values, bias);
    }
}
