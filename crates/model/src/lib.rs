//! One decoder for every family: a description read from a checkpoint, weights that stay in the mapped file, and a
//! forward pass over many sequences and a paged cache of keys and values.
//!
//! An architecture is data, not a program: `arch/<family>.rs` turns metadata into a [`DecoderSpec`], and `forward.rs`
//! executes whatever spec it is given. This crate knows no text, no sampling and no schedule, and takes no memory for the
//! cache: the engine decides all that. Loading may fail, with the names of what is wrong; running cannot.
//!
//! Beside it stands one encoder, which makes vectors of texts; see `encoder.rs`.
//!
//! Read next: `spec.rs`, then `arch.rs` and one family, then `forward.rs`.
#![forbid(unsafe_code)]

mod adapter;
mod arch;
mod batch;
mod cost;
mod encoder;
mod error;
mod forward;
mod gguf_keys;
mod hf_config;
mod model;
mod rope;
mod spec;
mod weights;

pub use adapter::{Adapter, Adapters};
pub use arch::{FAMILIES, Family};
pub use batch::{AdapterId, Batch, LogitRows, PageCopy, RopeRegime, Segment};
pub use cost::PassCost;
pub use encoder::{
    ENCODER_FAMILIES, Encoder, EncoderBatch, EncoderFamily, EncoderSpec, EncoderWorkspace, FeedForward, Outcome,
    Pooling, Positions, is_encoder,
};
pub use error::ModelError;
pub use forward::{Observer, Workspace};
pub use model::{LoadOptions, Model, YARN_FACTORS};
pub use rope::{RopeScaling, RopeSpec, long_rope_magnitude, yarn_magnitude};
pub use spec::{DecoderSpec, Fused, LayerOp, LayerSpec, LayerStyle, LayerTensor};
