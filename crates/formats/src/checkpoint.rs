//! A model's weights and descriptions from a path, whichever of the two formats it is in.
//!
//! Read next: `gguf.rs`, `safetensors.rs`.

use std::path::Path;

use crate::{FormatError, Gguf, SafetensorsDir, Tensors};

/// A model that lies on this machine.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one is opened for each model, and none is kept in a list")]
pub enum Checkpoint {
    /// A GGUF file, or all shards of one.
    Gguf(Gguf),
    /// A folder with safetensors weights.
    Safetensors(SafetensorsDir),
}

impl Checkpoint {
    /// Opens a folder as safetensors, a file as GGUF (by its first bytes, whatever its name).
    ///
    /// # Errors
    /// Any [`FormatError`]; for a file that is something else, [`FormatError::WrongFormat`] says what it looks like.
    pub fn open(path: &Path) -> Result<Checkpoint, FormatError> {
        if path.is_dir() {
            SafetensorsDir::open(path).map(Checkpoint::Safetensors)
        } else {
            Gguf::open(path).map(Checkpoint::Gguf)
        }
    }

    /// The tensors of either.
    pub fn tensors(&self) -> &Tensors {
        match self {
            Checkpoint::Gguf(gguf) => &gguf.tensors,
            Checkpoint::Safetensors(folder) => &folder.tensors,
        }
    }
}
