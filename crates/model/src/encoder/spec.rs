//! What an encoder is made of, as plain data. It knows no container and no family.
//!
//! Every layer is attention over the whole text and a feed-forward network, each added to what came in and normed after
//! that (Vaswani et al. 2017; Devlin et al. 2018):
//!
//! ```text
//! x = norm(x + output(attention(query(x), key(x), value(x))))
//! x = norm(x + down(activation(up(x))))        or norm(x + down(activation(gate(x)) * up(x)))
//! ```
//!
//! Next: `forward.rs`, which executes it.

use kernels::{Activation, Gelu};

use crate::ModelError;
use crate::gguf_keys::MOST_LAYERS;
use crate::rope::{RopeScaling, RopeSpec};
use crate::spec::{MOST_HEADS, MOST_VOCABULARY, MOST_WIDTH, field, within};

/// An encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderSpec {
    /// The family's name.
    pub family: &'static str,
    /// `L`
    pub layers: usize,
    /// `D`
    pub width: usize,
    /// `H`; a head is `D / H` wide.
    pub heads: usize,
    /// `F`
    pub feed_forward: usize,
    /// `V`
    pub vocabulary: usize,
    /// Kinds of token: a text alone is of kind 0, the second of a pair of kind 1.
    pub token_types: usize,
    /// The most tokens of a text, ends included.
    pub context: usize,
    /// Added to the variance in every norm.
    pub norm_eps: f32,
    /// How a token's place enters.
    pub positions: Positions,
    /// The network of a layer.
    pub network: FeedForward,
    /// Whether query, key, value and output of the attention have biases.
    pub attention_bias: bool,
    /// Whether the matrices of the network have biases.
    pub network_bias: bool,
    /// Whether query, key and value are one tensor.
    pub fused: bool,
    /// What becomes of the last layer's rows.
    pub outcome: Outcome,
}

/// How a token's place in its text enters.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// A row of a table is added to the token's own.
    Learned {
        /// Rows of the table.
        rows: usize,
    },
    /// Queries and keys are turned.
    Rotary(RopeSpec),
}

/// The feed-forward network of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// down(gelu(up(x)))
    Plain(Gelu),
    /// down(activation(gate(x)) * up(x))
    Gated(Activation),
}

/// What a text becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A vector `[D]`.
    Vector(Pooling),
    /// One number: how well the second text of a pair answers the first. The first row goes through the pooler (a matrix
    /// and a tanh), where there is one, and then through the classifier.
    Score {
        /// Whether there is a pooler.
        has_pooler: bool,
    },
}

/// How the rows of a text become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first.
    Cls,
}

/// More tokens than any encoder reads; a pass over one text takes memory for all of them at once.
const MOST_CONTEXT: usize = 1 << 17;
const MOST_TOKEN_TYPES: usize = 1 << 10;

impl EncoderSpec {
    /// `Dh`
    pub fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// Numbers that a text becomes: `D`, or 1.
    pub fn outcome_len(&self) -> usize {
        match self.outcome {
            Outcome::Vector(_) => self.width,
            Outcome::Score { .. } => 1,
        }
    }

    /// Refuses absurd values, so that nothing that follows can overflow, divide by zero or ask for absurd memory.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        within("layers", self.layers, MOST_LAYERS)?;
        within("width", self.width, MOST_WIDTH)?;
        within("heads", self.heads, self.width.min(MOST_HEADS))?;
        within("feed-forward width", self.feed_forward, MOST_WIDTH)?;
        within("vocabulary", self.vocabulary, MOST_VOCABULARY)?;
        within("token types", self.token_types, MOST_TOKEN_TYPES)?;
        within("context", self.context, MOST_CONTEXT)?;
        if !self.width.is_multiple_of(self.heads) {
            return Err(field("heads", format!("a divisor of the width {}", self.width), self.heads));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0) {
            return Err(field("norm epsilon", "a positive number".to_owned(), self.norm_eps));
        }
        match &self.positions {
            Positions::Learned { rows } => within("context", self.context, *rows),
            Positions::Rotary(rope) if matches!(rope.scaling, RopeScaling::None | RopeScaling::Linear { .. }) => {
                rope.check(self.head_dim())
            }
            Positions::Rotary(_) => Err(ModelError::Unsupported {
                field: "rotary scaling".to_owned(),
                expected: "none or linear for an encoder".to_owned(),
                got: "another".to_owned(),
            }),
        }
    }
}
