//! Model files as named tensors and metadata: GGUF (read and write) and safetensors folders (read).
//!
//! Files are mapped into memory and viewed, never copied; every byte of them is taken to be hostile. What a file holds
//! is handed on as it stands: this crate knows no architecture, does no arithmetic on weights and interprets neither
//! metadata keys nor configurations.
//!
//! Read next: `gguf.rs`, then `safetensors.rs`; `mapping.rs` is the only file here with `unsafe`.

mod mapping;

mod adapter;
mod bytes;
mod checkpoint;
mod element;
mod error;
mod gguf;
mod json;
mod name_index;
mod safetensors;
mod sniff;
mod tensor;

pub use adapter::{AdapterCheckpoint, PeftDir};
pub use bytes::Bytes;
pub use checkpoint::Checkpoint;
pub use element::{ELEMENT_TYPES, ElementType};
pub use error::FormatError;
pub use gguf::{Array, ArrayError, Gguf, GgufWriter, Metadata, ShardName, Strings, TensorPlan, Value, ValueKind};
pub use mapping::Mapping;
pub use safetensors::{SafetensorsDir, SentenceFiles, parse_weights};
pub use tensor::{Tensor, Tensors};
