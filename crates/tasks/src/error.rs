//! Why a task cannot be done: one variant for each thing that a caller may do about it.

use chat::ChatError;

/// An error of a task, of one of its inputs, or of the files around it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TaskError {
    /// The task file is wrong; the text names file, line, what was expected and what came.
    #[error("{0}")]
    File(String),
    /// A file of data or a document cannot be read as what it should be; the text names it.
    #[error("{0}")]
    Data(String),
    /// This input cannot be done: a field is missing, or the text is longer than the kind can split.
    #[error("{0}")]
    Input(String),
    /// The model did not answer.
    #[error(transparent)]
    Model(#[from] ChatError),
    /// What came is not what was asked for.
    #[error("{0}")]
    Output(String),
    /// A file of data was changed since it was looked at; look again.
    #[error("{0}")]
    Changed(String),
    /// A folder, a disk or the ledger failed; trying again may help.
    #[error("{0}")]
    Storage(String),
}

impl TaskError {
    /// Whether the next input would fail for the same reason, so that a job had better stop.
    pub fn is_fatal(&self) -> bool {
        use ChatError::{Unavailable, UnknownModel, Unloadable, Unsupported};
        match self {
            TaskError::File(_) | TaskError::Storage(_) => true,
            TaskError::Model(error) => {
                matches!(error, UnknownModel(_) | Unloadable(_) | Unsupported { .. } | Unavailable(_))
            }
            TaskError::Data(_) | TaskError::Input(_) | TaskError::Output(_) | TaskError::Changed(_) => false,
        }
    }
}
