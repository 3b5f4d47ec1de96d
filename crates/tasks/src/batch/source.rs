//! Where the inputs of a job come from, row by row.

use crate::{Input, TaskError};

/// One row of a source.
#[derive(Debug, Clone)]
pub struct SourceRow {
    /// What people find it by: a file, a line, an id.
    pub name: String,
    /// The input, or why this row alone cannot be read.
    pub input: Result<Input, TaskError>,
    /// What its reader of the outcome should know of the input: a page without text, an encoding that was guessed.
    pub warnings: Vec<String>,
}

/// The rows of a source in order, from the first. An error ends them, and the job with them.
///
/// Rows that are settled are passed over by `nth`: a source that can do so without reading them says how there.
pub type Rows = Box<dyn Iterator<Item = Result<SourceRow, TaskError>> + Send>;

/// Inputs that can be read again from the first, always the same in the same order.
pub trait Source: Send + Sync {
    /// Begins at the first row.
    ///
    /// # Errors
    /// The inputs cannot be read at all.
    fn rows(&self) -> Result<Rows, TaskError>;

    /// How many rows there are, if that is known before they are read.
    fn total(&self) -> Option<u64> {
        None
    }

    /// The digest of the inputs as they are now, where they stand outside the ledger: a job that began with others is
    /// refused.
    ///
    /// # Errors
    /// The inputs cannot be read.
    fn sha256(&self) -> Result<Option<String>, TaskError> {
        Ok(None)
    }
}
