//! Why a model could not be loaded. Nothing can fail after that.

use formats::FormatError;
use kernels::KernelError;

/// Why a checkpoint is not a model that can be run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Another program may run it; this one has no description of its family.
    #[error(
        "unknown model family: expected one of {known}, got \"{got}\"\nhint: convert or choose a model of one of these \
         families"
    )]
    UnknownFamily {
        /// The architecture that the file names.
        got: String,
        /// Those that are known, for the container at hand.
        known: String,
    },
    /// A value of the metadata or of the configuration is absent, of the wrong kind or absurd.
    #[error("{field}: expected {expected}, got {got}\nhint: the file is damaged or made for something else")]
    Field {
        /// The key.
        field: String,
        /// What would have been right.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// The family has it, but not this variant of it.
    #[error(
        "{field}: expected {expected}, got {got}, which is not supported\nhint: look for another conversion of this model"
    )]
    Unsupported {
        /// The key or tensor.
        field: String,
        /// What is supported.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// YaRN was asked for where it has no place.
    #[error(
        "yarn: expected a model of {expected} with plain rotary embeddings, got {got}\nhint: leave YaRN out; the context \
         of other models is as long as their files say"
    )]
    NotStretchable {
        /// The families whose authors describe it.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// Tensors that the family needs are absent; all of them are named.
    #[error("{} of the model's tensors are missing: {}\nhint: the file is cut short or a shard of it is absent", names.len(), names.join(", "))]
    MissingTensors {
        /// Their names.
        names: Vec<String>,
    },
    /// The file holds tensors that the family's computation would pass over.
    #[error("{} tensors do not belong to the {family} family as it is built here: {}\nhint: this is a variant of the family that is not supported; look for another conversion", names.len(), names.join(", "))]
    UnexpectedTensors {
        /// The family.
        family: &'static str,
        /// Their names.
        names: Vec<String>,
    },
    /// A tensor has another shape than the metadata says.
    #[error(
        "tensor {name}: expected shape {expected:?}, got {got:?}\nhint: the metadata and the weights do not belong together"
    )]
    TensorShape {
        /// Its name.
        name: String,
        /// The shape by the metadata, outermost length first.
        expected: Vec<usize>,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A tensor is stored in a type that cannot be computed with.
    #[error("tensor {name}: expected element type {expected}, got {got}\nhint: quantize the model to a supported type")]
    TensorType {
        /// Its name.
        name: String,
        /// The types that would do.
        expected: String,
        /// The type in the file.
        got: String,
    },
    /// An adapter does not fit the model, or is of a kind that is not built.
    #[error("{subject}: expected {expected}, got {got}\nhint: {hint}")]
    Adapter {
        /// The key or tensor.
        subject: String,
        /// What would have been right.
        expected: String,
        /// What the adapter has.
        got: String,
        /// Where to go from here.
        hint: &'static str,
    },
    /// The container itself is at fault.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The arithmetic cannot take these bytes.
    #[error("tensor {name}: {source}")]
    Kernel {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        source: KernelError,
    },
}
