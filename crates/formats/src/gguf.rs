//! GGUF: metadata entries, tensor descriptions and tensor data in one file, or in several shards.
//!
//! Source: the specification in ggml's `docs/gguf.md`, versions 2 and 3, little-endian. Opening a file walks its header
//! once, checks everything that can be checked without looking at tensor data, and copies neither arrays nor tensors.
//!
//! Read next: `parse.rs` for the order of a file and its limits, `value.rs` and `array.rs` for what metadata holds,
//! `shards.rs` for split files, `write.rs` for the way back.

mod array;
mod cursor;
mod metadata;
mod parse;
mod shards;
mod value;
mod write;

use std::path::Path;

pub use array::{Array, ArrayError, Strings};
pub use metadata::Metadata;
pub use shards::ShardName;
pub use value::{Value, ValueKind};
pub use write::{GgufWriter, TensorPlan};

use crate::{Bytes, FormatError, Mapping, Tensors};

/// The first four bytes of every file.
const MAGIC: &[u8; 4] = b"GGUF";
/// The version that is written; 2 and 3 are read.
const VERSION: u32 = 3;
/// Where tensor data is aligned to if the file does not say.
const DEFAULT_ALIGNMENT: usize = 32;
/// The entry that says otherwise.
const ALIGNMENT_KEY: &str = "general.alignment";
/// The most dimensions of a tensor (`GGML_MAX_DIMS`).
const MAX_DIMENSIONS: usize = 4;

/// A GGUF model, whole: one file, or all shards of a split one.
#[derive(Debug, Clone)]
pub struct Gguf {
    /// The version of the file, 2 or 3.
    pub version: u32,
    /// What the file says about itself; for a split model, what its first shard says.
    pub metadata: Metadata,
    /// The tensors, in the order of the file, shard after shard.
    pub tensors: Tensors,
}

impl Gguf {
    /// Maps the file at `path`; if it is one of several shards, all of them, found beside it by their names
    /// (`NAME-00001-of-00003.gguf`).
    ///
    /// # Errors
    /// Any [`FormatError`] but `Field`.
    pub fn open(path: &Path) -> Result<Gguf, FormatError> {
        shards::open(path)
    }

    /// Maps the shards of a split model whose files are not named as such, in the order of their numbers.
    ///
    /// # Errors
    /// Any [`FormatError`]; an empty list is a missing file.
    pub fn open_shards(paths: &[impl AsRef<Path>]) -> Result<Gguf, FormatError> {
        let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
        shards::open_all(&paths)
    }

    /// Reads a file that is in memory already. A shard of a split model is read as it stands, without the others.
    ///
    /// # Errors
    /// Any [`FormatError`] but `Io` and `Missing`.
    pub fn parse(bytes: Bytes) -> Result<Gguf, FormatError> {
        parse::parse(&bytes, "GGUF in memory")
    }

    fn open_one(path: &Path) -> Result<Gguf, FormatError> {
        parse::parse(&Bytes::from_mapping(Mapping::open(path)?), &path.display().to_string())
    }
}
