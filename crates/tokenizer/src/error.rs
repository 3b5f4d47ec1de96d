//! What can go wrong when a tokenizer or a chat template is loaded or a template is rendered.
//! Encoding and decoding cannot fail, so nothing here is about them. Next: `tokenizer.rs`.

use thiserror::Error;

/// Why a tokenizer could not be built.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// The GGUF metadata holds a value of another type than its key promises.
    #[error(transparent)]
    Format(#[from] formats::FormatError),
    /// `tokenizer.json` is not the JSON that it should be.
    #[error("tokenizer.json: {0}")]
    Json(#[from] serde_json::Error),
    /// The file holds a model alone.
    #[error(
        "the file has no tokenizer, so the model can neither read nor write text\nhint: convert the model again, with its tokenizer, or use another file of it"
    )]
    Absent,
    /// A field that the tokenizer cannot do without is absent.
    #[error(
        "tokenizer: the field `{field}` is missing\nhint: the file holds no complete vocabulary; convert the model again, with its tokenizer"
    )]
    Missing {
        /// The metadata key or the JSON path.
        field: String,
    },
    /// A field is there and contradicts itself or another one.
    #[error("tokenizer: `{field}`: expected {expected}, got {got}")]
    Invalid {
        /// The metadata key or the JSON path.
        field: String,
        /// What would have been right.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A component exists that this crate does not implement; running without it would change the ids.
    #[error("tokenizer: {component} `{name}` is not supported\nhint: supported are {supported}")]
    Unsupported {
        /// The kind of component: model, normalizer, pre-tokenizer, decoder.
        component: &'static str,
        /// The name that the file gives.
        name: String,
        /// The names that would have worked.
        supported: String,
    },
    /// A pre-tokenizer's pattern is no regular expression that runs in linear time.
    #[error(
        "tokenizer: the pattern `{pattern}` cannot be used: {reason}\nhint: of look-arounds only a closing `\\s+(?!\\S)|\\s+` is supported, which keeps matching linear in the text"
    )]
    Pattern {
        /// The pattern, as the file writes it.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a chat template could not be compiled or rendered.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The template's author refuses this conversation through `raise_exception`.
    #[error("the chat template refuses these messages: {0}")]
    Raised(String),
    /// The template is not Jinja, or uses a construct that is not there.
    #[error("the chat template does not compile: {0}")]
    Syntax(String),
    /// The template ran too long, or its result grew too large.
    #[error(
        "the chat template ran past its limit of {limit} {unit}\nhint: the template is broken or hostile; use another one"
    )]
    Limit {
        /// The limit.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// Rendering failed otherwise, for instance on a field that the messages lack.
    #[error("the chat template failed: {0}")]
    Failed(String),
}
