//! One forward pass: the operations of a spec, executed over a batch of segments and a paged cache.
//!
//! It cannot fail: weights were checked at load, and a batch is valid by contract (see [`Model::forward`]). In a pass
//! over a model of `L` layers:
//!
//! ```text
//! residual = embedding[tokens] · scale
//! for layer in layers: for op in layer.ops: run(op)        // see `LayerOp`
//! rows = the rows of residual whose logits are wanted
//! logits = softcap(rms_norm(rows) · headᵀ)
//! ```
//!
//! Nothing here knows a family or a container.

use std::ops::Range;

use kernels::{AttentionShape, Buffer, KvArena, KvSpan, MatMul, RopeTurns, Runtime};

use crate::adapter::{self, AdaptedRows, LowRankWork, Site};
use crate::spec::{LayerOp, LayerSpec, LayerTensor};
use crate::weights::{LayerWeights, Weight};
use crate::{Adapters, Batch, LogitRows, Model, RopeRegime};

/// Buffers of a forward pass, kept from one to the next and grown when a batch is larger than all before.
#[derive(Debug, Default)]
pub struct Workspace {
    residual: Buffer<f32>,                    // [T, D]
    branch: Buffer<f32>,                      // [T, D]
    query: Buffer<f32>,                       // [T, H, Dh]
    key: Buffer<f32>,                         // [T, Hkv, Dh]
    value: Buffer<f32>,                       // [T, Hkv, Dh]
    heads: Buffer<f32>,                       // [T, H, Dh]
    gate: Buffer<f32>,                        // [T, F]
    up: Buffer<f32>,                          // [T, F]
    hidden: Buffer<f32>,                      // [T, F]
    rows: Buffer<f32>,                        // [R, D]
    logits: Buffer<f32>,                      // [R, V]
    positions: Vec<u32>,                      // [T]
    regimes: Vec<(Range<usize>, RopeRegime)>, // adjacent rows of one regime
    turns: Vec<RopeTurns>,                    // of each rotary embedding
    low_rank: LowRankWork,
}

/// Sees the input of every matrix: the matrix's tensor name in a GGUF file, and `[T, K]` f32.
pub type Observer<'a> = &'a mut dyn FnMut(&str, &[f32]);

impl Model {
    /// Runs a batch; its keys and values enter the arena.
    ///
    /// Returns `[logit_rows, V]` f32, segment after segment, borrowed from the workspace. Each row is the same, bit for
    /// bit, whatever else is in the batch and however the sequence was cut into pieces.
    ///
    /// # Panics
    /// When the caller breaks the contract, which is a bug: the lengths of segments add up to the tokens; every token is
    /// below `V`; a segment's pages cover it, lie within the arena and are written by no other segment; the arena has
    /// the shape of [`Model::kv_shape`].
    pub fn forward<'w>(
        &self,
        runtime: &Runtime,
        batch: &Batch,
        arena: &mut KvArena,
        workspace: &'w mut Workspace,
    ) -> &'w [f32] {
        self.run(runtime, batch, &Adapters::default(), arena, workspace, None)
    }

    /// As [`Model::forward`], for batches in which segments name adapters. Each row is the same, bit for bit, whatever
    /// adapters the rows beside it have.
    ///
    /// # Panics
    /// As [`Model::forward`], and when a segment names an adapter that is not among these, or that was loaded for a model
    /// of another description.
    pub fn forward_adapted<'w>(
        &self,
        runtime: &Runtime,
        batch: &Batch,
        adapters: &Adapters,
        arena: &mut KvArena,
        workspace: &'w mut Workspace,
    ) -> &'w [f32] {
        self.run(runtime, batch, adapters, arena, workspace, None)
    }

    /// As [`Model::forward`], and shows the input of every matrix to an observer: what matters to a matrix's rounding is
    /// how large each of its inputs gets.
    pub fn forward_observed<'w>(
        &self,
        runtime: &Runtime,
        batch: &Batch,
        arena: &mut KvArena,
        workspace: &'w mut Workspace,
        observer: Observer<'_>,
    ) -> &'w [f32] {
        self.run(runtime, batch, &Adapters::default(), arena, workspace, Some(observer))
    }

    fn run<'w>(
        &self,
        runtime: &Runtime,
        batch: &Batch,
        adapters: &Adapters,
        arena: &mut KvArena,
        workspace: &'w mut Workspace,
        observer: Option<Observer<'_>>,
    ) -> &'w [f32] {
        self.check_batch(batch, arena);
        for copy in &batch.copies {
            arena.copy_page(copy.from, copy.to);
        }
        workspace.grow(self, batch);
        let mut spans = Vec::with_capacity(batch.segments.len());
        let mut row = 0;
        for segment in &batch.segments {
            spans.push(KvSpan { row, len: segment.len, position: segment.position, pages: &segment.pages });
            row += segment.len;
        }
        let rows = batch.logit_rows();
        let adapted = adapter::rows_of(adapters, &batch.segments, self.spec.layers.len());
        let mut pass = Pass { model: self, runtime, arena, spans: &spans, adapted: &adapted, workspace, observer };
        pass.turns();
        pass.embed(&batch.tokens);
        for (index, (layer, weights)) in self.spec.layers.iter().zip(&self.weights.layers).enumerate() {
            let mut ops = layer.ops.iter().copied().peekable();
            while let Some(op) = ops.next() {
                let is_fused =
                    op == LayerOp::GateUp && ops.peek() == Some(&LayerOp::Gated) && pass.gated(index, weights);
                if is_fused {
                    ops.next();
                } else {
                    pass.op(index, layer, weights, op);
                }
            }
        }
        pass.head(batch, rows);
        &workspace.logits[..rows * self.spec.vocabulary]
    }

    fn check_batch(&self, batch: &Batch, arena: &KvArena) {
        let shape = arena.shape();
        assert_eq!(*shape, self.kv_shape(shape.pages, shape.element), "an arena of another model; this is a bug");
        let rows: usize = batch.segments.iter().map(|segment| segment.len).sum();
        assert_eq!(rows, batch.tokens.len(), "segments do not add up to the batch's tokens; this is a bug");
        let largest = batch.tokens.iter().max().map_or(0, |token| *token as usize);
        assert!(largest < self.spec.vocabulary, "token {largest} is outside the vocabulary; this is a bug");
        for segment in &batch.segments {
            let end = segment.position + segment.len;
            assert!(u32::try_from(end).is_ok(), "position {end} is out of range; this is a bug");
            let pages = &segment.pages;
            assert!(
                end <= pages.len() * shape.page_len,
                "{} pages do not cover {end} positions; this is a bug",
                pages.len()
            );
            assert!(
                pages.iter().all(|page| (*page as usize) < shape.pages),
                "a page is outside the arena; this is a bug"
            );
        }
    }

    fn output_head(&self) -> &Weight {
        self.weights.head.as_ref().unwrap_or(&self.weights.embedding)
    }
}

impl Workspace {
    /// Makes every buffer exactly as long as this batch needs; memory is taken only when it is longer than all before.
    fn grow(&mut self, model: &Model, batch: &Batch) {
        let spec = &model.spec;
        let (tokens, rows) = (batch.tokens.len(), batch.logit_rows());
        let (query, key) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        self.residual.resize(tokens * spec.width);
        self.branch.resize(tokens * spec.width);
        self.query.resize(tokens * query);
        self.key.resize(tokens * key);
        self.value.resize(tokens * key);
        self.heads.resize(tokens * query);
        self.gate.resize(tokens * spec.feed_forward);
        self.up.resize(tokens * spec.feed_forward);
        self.hidden.resize(tokens * spec.feed_forward);
        self.rows.resize(rows * spec.width);
        self.logits.resize(rows * spec.vocabulary);
        self.positions.clear();
        self.regimes.clear();
        let regimes_differ = spec.long_rope_after().is_some();
        let mut row = 0;
        for segment in &batch.segments {
            self.positions.extend(
                (segment.position..segment.position + segment.len)
                    .map(|position| u32::try_from(position).expect("positions were checked; this is a bug")),
            );
            let regime = if regimes_differ { segment.regime } else { RopeRegime::Short };
            let end = row + segment.len;
            match self.regimes.last_mut() {
                Some((rows, last)) if *last == regime => rows.end = end,
                _ => self.regimes.push((row..end, regime)),
            }
            row = end;
        }
    }
}

/// A pass under way. `'o` is the observer's own lifetime, longer than the pass.
struct Pass<'a, 'o> {
    model: &'a Model,
    runtime: &'a Runtime,
    arena: &'a mut KvArena,
    spans: &'a [KvSpan<'a>],
    adapted: &'a [AdaptedRows<'a>],
    workspace: &'a mut Workspace,
    observer: Option<Observer<'o>>,
}

impl Pass<'_, '_> {
    fn embed(&mut self, tokens: &[u32]) {
        let residual = &mut self.workspace.residual;
        kernels::embed(self.runtime, self.model.weights.embedding.matrix(), tokens, residual);
        if let Some(factor) = self.model.spec.embedding_scale {
            kernels::scale(self.runtime, residual, factor);
        }
    }

    fn op(&mut self, index: usize, layer: &LayerSpec, weights: &LayerWeights, op: LayerOp) {
        let (runtime, spec, eps) = (self.runtime, &self.model.spec, self.model.spec.norm_eps);
        let work = &mut *self.workspace;
        match op {
            LayerOp::Norm(tensor) => {
                kernels::rms_norm(runtime, &work.residual, weights.vector(tensor), eps, &mut work.branch);
            }
            LayerOp::BranchNorm(tensor) => {
                kernels::rms_norm_in_place(runtime, &mut work.branch, weights.vector(tensor), eps);
            }
            LayerOp::AddBranch => kernels::add(runtime, &mut work.residual, &work.branch),
            LayerOp::QueryKeyValue { bias } => {
                self.query_key_value(weights, bias);
                self.adapt(index, Site::QueryKeyValue);
            }
            LayerOp::QueryKeyNorm => {
                kernels::rms_norm_in_place(runtime, &mut work.query, weights.vector(LayerTensor::QueryNorm), eps);
                kernels::rms_norm_in_place(runtime, &mut work.key, weights.vector(LayerTensor::KeyNorm), eps);
            }
            LayerOp::Rope => self.rope(layer.rope),
            LayerOp::Attention => {
                kernels::kv_store(runtime, self.arena, index, &work.key, &work.value, self.spans);
                let shape = AttentionShape {
                    heads: spec.heads,
                    kv_heads: spec.kv_heads,
                    head_dim: spec.head_dim,
                    scale: spec.attention_scale,
                    softcap: spec.attention_softcap,
                    window: layer.window,
                };
                kernels::attention(runtime, &shape, self.arena, index, &work.query, self.spans, &mut work.heads);
            }
            LayerOp::AttentionOutput => {
                let weight = weights.weight(LayerTensor::AttentionOutput);
                observe(&mut self.observer, &[weight], &work.heads);
                multiply(runtime, &work.heads, weight, &mut work.branch);
                self.adapt(index, Site::AttentionOutput);
            }
            LayerOp::GateUp => {
                // `gated` has shown their input to the observer.
                let (gate, up) = (weights.weight(LayerTensor::Gate), weights.weight(LayerTensor::Up));
                let mut jobs = [
                    MatMul { weights: gate.matrix(), out: &mut work.gate },
                    MatMul { weights: up.matrix(), out: &mut work.up },
                ];
                kernels::matmul(runtime, &work.branch, &mut jobs);
                self.adapt(index, Site::GateUp);
            }
            LayerOp::Gated => kernels::gated(runtime, spec.activation, &work.gate, &work.up, &mut work.hidden),
            LayerOp::Down => {
                let weight = weights.weight(LayerTensor::Down);
                observe(&mut self.observer, &[weight], &work.hidden);
                multiply(runtime, &work.hidden, weight, &mut work.branch);
                self.adapt(index, Site::Down);
            }
        }
    }

    /// Adds what adapters make of the input of an operation to its outputs, after its biases.
    fn adapt(&mut self, layer: usize, site: Site) {
        if self.adapted.is_empty() {
            return;
        }
        let work = &mut *self.workspace;
        let (x, outs): (&[f32], &mut [(LayerTensor, &mut [f32])]) = match site {
            Site::QueryKeyValue => (
                &work.branch,
                &mut [
                    (LayerTensor::Query, &mut work.query),
                    (LayerTensor::Key, &mut work.key),
                    (LayerTensor::Value, &mut work.value),
                ],
            ),
            Site::AttentionOutput => (&work.heads, &mut [(LayerTensor::AttentionOutput, &mut work.branch)]),
            Site::GateUp => (&work.branch, &mut [(LayerTensor::Gate, &mut work.gate), (LayerTensor::Up, &mut work.up)]),
            Site::Down => (&work.hidden, &mut [(LayerTensor::Down, &mut work.branch)]),
        };
        adapter::apply(self.runtime, self.adapted, (layer, site), x, outs, &mut work.low_rank);
    }

    /// [`LayerOp::GateUp`] and [`LayerOp::Gated`] in one go, if the weights allow it and no adapter comes between them; false
    /// if nothing was done. Either way gives the same bits.
    fn gated(&mut self, layer: usize, weights: &LayerWeights) -> bool {
        let work = &mut *self.workspace;
        let both = [LayerTensor::Gate, LayerTensor::Up].map(|tensor| weights.weight(tensor));
        observe(&mut self.observer, &both, &work.branch);
        if self.adapted.iter().any(|rows| rows.touches(layer, Site::GateUp)) {
            return false;
        }
        let activation = self.model.spec.activation;
        kernels::matmul_gated(self.runtime, &work.branch, activation, both.map(Weight::matrix), &mut work.hidden)
    }

    fn query_key_value(&mut self, weights: &LayerWeights, bias: bool) {
        let work = &mut *self.workspace;
        let [query, key, value] = [LayerTensor::Query, LayerTensor::Key, LayerTensor::Value].map(|t| weights.weight(t));
        observe(&mut self.observer, &[query, key, value], &work.branch);
        let mut jobs = [
            MatMul { weights: query.matrix(), out: &mut work.query },
            MatMul { weights: key.matrix(), out: &mut work.key },
            MatMul { weights: value.matrix(), out: &mut work.value },
        ];
        kernels::matmul(self.runtime, &work.branch, &mut jobs);
        if bias {
            kernels::add_bias(self.runtime, &mut work.query, weights.vector(LayerTensor::QueryBias));
            kernels::add_bias(self.runtime, &mut work.key, weights.vector(LayerTensor::KeyBias));
            kernels::add_bias(self.runtime, &mut work.value, weights.vector(LayerTensor::ValueBias));
        }
    }

    /// The turns of every row, for each rotary embedding of the spec.
    fn turns(&mut self) {
        let work = &mut *self.workspace;
        work.turns.resize_with(self.model.rope_tables.len(), RopeTurns::default);
        for (turns, tables) in work.turns.iter_mut().zip(&self.model.rope_tables) {
            turns.clear();
            for (rows, regime) in &work.regimes {
                turns.extend(&work.positions[rows.clone()], &tables[usize::from(*regime == RopeRegime::Long)]);
            }
        }
    }

    fn rope(&mut self, rope: usize) {
        let (spec, work) = (&self.model.spec, &mut *self.workspace);
        for (values, heads) in [(&mut work.query, spec.heads), (&mut work.key, spec.kv_heads)] {
            kernels::rope(self.runtime, values, heads, spec.head_dim, &work.turns[rope], spec.rope_pairing);
        }
    }

    /// Gathers the rows whose logits are wanted, and multiplies those alone by the head.
    fn head(&mut self, batch: &Batch, rows: usize) {
        if rows == 0 {
            return;
        }
        let (spec, work) = (&self.model.spec, &mut *self.workspace);
        let width = spec.width;
        let mut gathered = work.branch.chunks_exact_mut(width);
        for (segment, span) in batch.segments.iter().zip(self.spans) {
            let end = span.row + span.len;
            let wanted = match segment.logits {
                LogitRows::None => end..end,
                LogitRows::Last => end.saturating_sub(1).max(span.row)..end,
                LogitRows::All => span.row..end,
            };
            for (source, target) in
                work.residual[wanted.start * width..wanted.end * width].chunks_exact(width).zip(&mut gathered)
            {
                target.copy_from_slice(source);
            }
        }
        let gathered = &work.branch[..rows * width];
        kernels::rms_norm(self.runtime, gathered, &self.model.weights.output_norm, spec.norm_eps, &mut work.rows);
        let head = self.model.output_head();
        observe(&mut self.observer, &[head], &work.rows);
        multiply(self.runtime, &work.rows, head, &mut work.logits);
        if let Some(cap) = spec.final_softcap {
            kernels::softcap(self.runtime, &mut work.logits, cap);
        }
    }
}

/// `out = x · Wᵀ`
fn multiply(runtime: &Runtime, x: &[f32], weight: &Weight, out: &mut [f32]) {
    kernels::matmul(runtime, x, &mut [MatMul { weights: weight.matrix(), out }]);
}

/// Shows the input of matrices that share it; parts of one tensor are shown once.
fn observe(observer: &mut Option<Observer<'_>>, weights: &[&Weight], input: &[f32]) {
    let Some(observer) = observer else { return };
    for (position, weight) in weights.iter().enumerate() {
        if weights[..position].iter().all(|earlier| earlier.gguf_name != weight.gguf_name) {
            observer(&weight.gguf_name, input);
        }
    }
}
