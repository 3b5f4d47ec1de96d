//! Why a request could not be answered: one variant for each thing that a caller may do about it.

/// What to do where calls of a tool cannot be held to its schema.
pub const FREE_CALLS_HINT: &str =
    "hint: leave it out of the schema, or let the model call freely: tool_choice auto, and strict false";

/// An error of a [`crate::ChatModel`] or [`crate::ModelHost`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChatError {
    /// The request itself is wrong; sending it again changes nothing.
    #[error("{0}")]
    InvalidRequest(String),
    /// A number of [`crate::GenerationOptions`] is outside its range.
    #[error("{field} is {value}, expected {expected}")]
    BadOption {
        /// The option, as the field of APIs names it.
        field: &'static str,
        /// Its value.
        value: String,
        /// Its range in words.
        expected: &'static str,
    },
    /// Calls of a tool cannot be held to its `parameters`.
    #[error("tools[{tool}].function.parameters{reason}\n{FREE_CALLS_HINT}")]
    ToolSchema {
        /// The tool's place among those of the request.
        tool: usize,
        /// The place within the schema, as a URI fragment (`#/properties/a`), and what is wrong there.
        reason: String,
    },
    /// The prompt does not fit the context that the model was loaded with.
    #[error(
        "the prompt has {prompt_tokens} tokens, the context holds {context}\nhint: shorten it{}",
        larger_context(*context, *maximum_context)
    )]
    ContextTooLong {
        /// Tokens of the prompt as the model reads it, template included.
        prompt_tokens: usize,
        /// Positions that one sequence may use.
        context: usize,
        /// Positions that the model was trained for.
        maximum_context: usize,
    },
    /// No model of that name, or its name is ambiguous. The text names the nearest ones.
    #[error("{0}")]
    UnknownModel(String),
    /// The model exists but cannot be loaded: damaged, of an unsupported kind, or too large for this machine.
    #[error("{0}")]
    Unloadable(String),
    /// This model does not do what was asked (say, scoring on a remote that returns no log-probabilities).
    #[error("{model} does not support {what}")]
    Unsupported {
        /// The model's name.
        model: String,
        /// What was asked for.
        what: &'static str,
    },
    /// What the model generated is not what it was asked for (a call of a tool that does not exist, arguments that are no
    /// JSON). Another try, another seed or a larger model may help.
    #[error("{0}")]
    BadOutput(String),
    /// Too much is asked at once; later there may be room.
    #[error("{0}")]
    Overloaded(String),
    /// Something outside failed: the network, a disk, a remote. Trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// A fault in this program; the request is lost, others go on.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What a hint says of a larger context, where the model has one.
fn larger_context(context: usize, maximum: usize) -> String {
    if context < maximum {
        format!(", or load the model with a larger context: up to {maximum} with --context, as of `bantam serve`")
    } else {
        ": the model's own context is no larger".to_owned()
    }
}
