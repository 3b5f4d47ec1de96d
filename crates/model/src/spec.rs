//! What a decoder is made of, as plain data: a family's file under `arch/` writes it, `forward.rs` executes it.
//!
//! A layer is a list of named operations over a few named values, so that inference may run it fused and training
//! unfused. Nothing here knows a container or a tensor's name. Shapes: `T` tokens, `D` width, `H` query heads, `Hkv`
//! key/value heads, `Dh` head width, `F` feed-forward width, `V` vocabulary.
//!
//! Read next: `rope.rs` for the rotary frequencies, `arch.rs` for the families.

use kernels::{Activation, RopePairing};

use crate::ModelError;
use crate::rope::{RopeScaling, RopeSpec};

/// A decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderSpec {
    /// The row of the family table that wrote this.
    pub family: &'static str,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
    /// `D`
    pub width: usize,
    /// `H`
    pub heads: usize,
    /// `Hkv`, a divisor of `H`
    pub kv_heads: usize,
    /// `Dh`; `H · Dh` need not be `D`.
    pub head_dim: usize,
    /// `F`
    pub feed_forward: usize,
    /// `V`
    pub vocabulary: usize,
    /// The most positions that the model was made for.
    pub context: usize,
    /// The epsilon of every root-mean-square norm.
    pub norm_eps: f32,
    /// What is added to stored norm weights: 1 where a file stores them around 0.
    pub norm_shift: f32,
    /// The factor on embeddings, if any.
    pub embedding_scale: Option<f32>,
    /// Whether the embedding table is the output head too.
    pub tied_head: bool,
    /// Logits become `cap · tanh(logit / cap)`.
    pub final_softcap: Option<f32>,
    /// The factor on attention scores.
    pub attention_scale: f32,
    /// Scores become `cap · tanh(score / cap)` before the mask.
    pub attention_softcap: Option<f32>,
    /// The activation of the gate.
    pub activation: Activation,
    /// Which values of a head rotate together; it follows from the order of the stored rows.
    pub rope_pairing: RopePairing,
    /// The rotary embeddings that layers refer to.
    pub ropes: Vec<RopeSpec>,
    /// Which projections share one stored tensor.
    pub fused: Fused,
}

/// Which projections a file stores as one tensor, their rows one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fused {
    /// Query, key and value rows: `[(H + 2·Hkv)·Dh, D]`.
    pub query_key_value: bool,
    /// Gate and up rows: `[2·F, D]`.
    pub gate_up: bool,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// How many positions a query sees, itself included; all before it if `None`.
    pub window: Option<usize>,
    /// The index into [`DecoderSpec::ropes`].
    pub rope: usize,
    /// What is done, in order.
    pub ops: Vec<LayerOp>,
}

/// An operation of a layer, over these values: `residual [T, D]` (what flows from layer to layer), `branch [T, D]`,
/// `query [T, H, Dh]`, `key` and `value [T, Hkv, Dh]`, `heads [T, H, Dh]`, `gate` and `up [T, F]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerOp {
    /// `branch = rms_norm(residual) · weight`
    Norm(LayerTensor),
    /// `query, key, value = branch · Wᵀ (+ bias)`
    QueryKeyValue {
        /// Whether the three have biases.
        bias: bool,
    },
    /// Every head of `query` and of `key` is normed over `Dh`.
    QueryKeyNorm,
    /// `query` and `key` are rotated by their positions.
    Rope,
    /// `key` and `value` enter the cache; `heads = softmax(query · keysᵀ) · values`.
    Attention,
    /// `branch = heads · Wᵀ`
    AttentionOutput,
    /// `branch = rms_norm(branch) · weight`
    BranchNorm(LayerTensor),
    /// `residual += branch`
    AddBranch,
    /// `gate, up = branch · Wᵀ`
    GateUp,
    /// `gate = activation(gate) · up`
    Gated,
    /// `branch = gate · Wᵀ`
    Down,
}

/// A weight of a layer by its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
#[expect(missing_docs, reason = "each is the weight of the operation of its name")]
pub enum LayerTensor {
    AttentionNorm,
    Query,
    Key,
    Value,
    QueryBias,
    KeyBias,
    ValueBias,
    QueryNorm,
    KeyNorm,
    AttentionOutput,
    PostAttentionNorm,
    FeedForwardNorm,
    Gate,
    Up,
    Down,
    PostFeedForwardNorm,
}

impl LayerTensor {
    /// How many roles there are.
    pub const COUNT: usize = LayerTensor::PostFeedForwardNorm as usize + 1;

    /// The shape of the weight, outermost length first: `[rows, cols]` of a matrix, `[len]` of a norm or bias.
    pub fn shape(self, spec: &DecoderSpec) -> Vec<usize> {
        let (query, key) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        match self {
            LayerTensor::Query => vec![query, spec.width],
            LayerTensor::Key | LayerTensor::Value => vec![key, spec.width],
            LayerTensor::QueryBias => vec![query],
            LayerTensor::KeyBias | LayerTensor::ValueBias => vec![key],
            LayerTensor::QueryNorm | LayerTensor::KeyNorm => vec![spec.head_dim],
            LayerTensor::AttentionOutput => vec![spec.width, query],
            LayerTensor::Gate | LayerTensor::Up => vec![spec.feed_forward, spec.width],
            LayerTensor::Down => vec![spec.width, spec.feed_forward],
            LayerTensor::AttentionNorm
            | LayerTensor::PostAttentionNorm
            | LayerTensor::FeedForwardNorm
            | LayerTensor::PostFeedForwardNorm => vec![spec.width],
        }
    }

    /// Whether it is the weight of a norm, to which [`DecoderSpec::norm_shift`] applies.
    pub fn is_norm(self) -> bool {
        matches!(
            self,
            LayerTensor::AttentionNorm
                | LayerTensor::QueryNorm
                | LayerTensor::KeyNorm
                | LayerTensor::PostAttentionNorm
                | LayerTensor::FeedForwardNorm
                | LayerTensor::PostFeedForwardNorm
        )
    }
}

impl LayerOp {
    /// The weights that the operation takes.
    pub fn tensors(self) -> Vec<LayerTensor> {
        match self {
            LayerOp::Norm(tensor) | LayerOp::BranchNorm(tensor) => vec![tensor],
            LayerOp::QueryKeyValue { bias } => {
                let mut tensors = vec![LayerTensor::Query, LayerTensor::Key, LayerTensor::Value];
                if bias {
                    tensors.extend([LayerTensor::QueryBias, LayerTensor::KeyBias, LayerTensor::ValueBias]);
                }
                tensors
            }
            LayerOp::QueryKeyNorm => vec![LayerTensor::QueryNorm, LayerTensor::KeyNorm],
            LayerOp::AttentionOutput => vec![LayerTensor::AttentionOutput],
            LayerOp::GateUp => vec![LayerTensor::Gate, LayerTensor::Up],
            LayerOp::Down => vec![LayerTensor::Down],
            LayerOp::Rope | LayerOp::Attention | LayerOp::AddBranch | LayerOp::Gated => Vec::new(),
        }
    }
}

/// Where a layer has norms and biases, from which its operations follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerStyle {
    /// Biases on query, key and value.
    pub bias: bool,
    /// Norms on the heads of query and key, before the rotation.
    pub query_key_norm: bool,
    /// Norms on each branch before it is added, besides those before it.
    pub post_norms: bool,
}

impl LayerStyle {
    /// The operations of a pre-norm layer of this style: attention, then the gated feed-forward network.
    pub fn ops(self) -> Vec<LayerOp> {
        let mut ops = vec![LayerOp::Norm(LayerTensor::AttentionNorm), LayerOp::QueryKeyValue { bias: self.bias }];
        if self.query_key_norm {
            ops.push(LayerOp::QueryKeyNorm);
        }
        ops.extend([LayerOp::Rope, LayerOp::Attention, LayerOp::AttentionOutput]);
        if self.post_norms {
            ops.push(LayerOp::BranchNorm(LayerTensor::PostAttentionNorm));
        }
        ops.extend([
            LayerOp::AddBranch,
            LayerOp::Norm(LayerTensor::FeedForwardNorm),
            LayerOp::GateUp,
            LayerOp::Gated,
            LayerOp::Down,
        ]);
        if self.post_norms {
            ops.push(LayerOp::BranchNorm(LayerTensor::PostFeedForwardNorm));
        }
        ops.push(LayerOp::AddBranch);
        ops
    }
}

/// The largest values taken from a file. They lie well above every published model and keep products of any three
/// within 64 bits.
pub(crate) const MOST_WIDTH: usize = 1 << 20;
pub(crate) const MOST_HEADS: usize = 1 << 12;
const MOST_HEAD_DIM: usize = 1 << 12;
pub(crate) const MOST_VOCABULARY: usize = 1 << 24;
const MOST_CONTEXT: usize = 1 << 30;

impl DecoderSpec {
    /// The sequence length beyond which the long rotary regime holds, in families that have one.
    pub fn long_rope_after(&self) -> Option<usize> {
        self.ropes.iter().find_map(|rope| match rope.scaling {
            RopeScaling::LongRope { original_context, .. } => Some(original_context),
            _ => None,
        })
    }

    /// How many floating-point operations the next token takes after `position` others: two per weight of every
    /// matrix, and four per visible position and value of a query head.
    pub fn flops_per_token(&self, position: usize) -> u64 {
        let mut flops = 2 * self.vocabulary as u64 * self.width as u64;
        for layer in &self.layers {
            let weights: usize =
                layer.ops.iter().flat_map(|op| op.tensors()).map(|t| t.shape(self).iter().product::<usize>()).sum();
            let visible = layer.window.map_or(position + 1, |window| window.min(position + 1));
            flops += 2 * weights as u64 + 4 * (self.heads * self.head_dim) as u64 * visible as u64;
        }
        flops
    }

    /// Refuses absurd values, so that nothing that follows can overflow, divide by zero or ask for absurd memory.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        within("layers", self.layers.len(), crate::gguf_keys::MOST_LAYERS)?;
        within("width", self.width, MOST_WIDTH)?;
        within("query heads", self.heads, MOST_HEADS)?;
        within("key/value heads", self.kv_heads, self.heads)?;
        within("head width", self.head_dim, MOST_HEAD_DIM)?;
        within("feed-forward width", self.feed_forward, MOST_WIDTH)?;
        within("vocabulary", self.vocabulary, MOST_VOCABULARY)?;
        within("context", self.context, MOST_CONTEXT)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(field(
                "key/value heads",
                format!("a divisor of the {} query heads", self.heads),
                self.kv_heads,
            ));
        }
        let positive = [
            ("norm epsilon", Some(self.norm_eps)),
            ("embedding scale", self.embedding_scale),
            ("logit soft-cap", self.final_softcap),
            ("attention scale", Some(self.attention_scale)),
            ("attention soft-cap", self.attention_softcap),
        ];
        for (name, value) in positive {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return Err(field(name, "a positive number".to_owned(), value));
            }
        }
        for rope in &self.ropes {
            rope.check(self.head_dim)?;
        }
        for layer in &self.layers {
            if let Some(window) = layer.window {
                within("attention window", window, MOST_CONTEXT)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn within(name: &str, value: usize, most: usize) -> Result<(), ModelError> {
    if (1..=most).contains(&value) { Ok(()) } else { Err(field(name, format!("1 to {most}"), value)) }
}

pub(crate) fn field(name: &str, expected: String, got: impl ToString) -> ModelError {
    ModelError::Field { field: name.to_owned(), expected, got: got.to_string() }
}
