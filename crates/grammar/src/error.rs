//! Why a text cannot be held to what was asked.

/// Why there is no grammar, or why one gave up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// A JSON Schema has something that cannot be held to. The pointer is the place, as a URI fragment (`#/properties/a`).
    #[error("{pointer}: {reason}")]
    Schema {
        /// Where.
        pointer: String,
        /// What was found, and what is possible.
        reason: String,
    },
    /// An object of a [`crate::Pattern`] cannot be held to its schema.
    #[error("{error}")]
    Object {
        /// The object's number.
        number: usize,
        /// What is wrong with it.
        error: Box<GrammarError>,
    },
    /// A grammar, an expression or a list is not as it must be.
    #[error("{0}")]
    Text(String),
    /// The text cannot go on: the grammar became too complex, or a token came that it does not allow.
    #[error("the grammar gave up: {0}")]
    GaveUp(String),
}

impl GrammarError {
    pub(crate) fn schema(pointer: impl Into<String>, reason: impl Into<String>) -> GrammarError {
        GrammarError::Schema { pointer: pointer.into(), reason: reason.into() }
    }

    pub(crate) fn of_object(self, number: usize) -> GrammarError {
        GrammarError::Object { number, error: Box::new(self) }
    }
}
