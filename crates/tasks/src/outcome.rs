//! What came of one input, and the seam between whoever does the work and whoever hands it out.

use crate::{Input, TaskError};
use futures::future::BoxFuture;
use serde_json::{Map, Value};

/// What came of one input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The answer as programs read it; its fields are those of the task's kind.
    pub fields: Map<String, Value>,
    /// What the asker should know: a part that was left out, a text that was split.
    pub warnings: Vec<String>,
    /// Tokens of prompts.
    pub prompt_tokens: usize,
    /// Those of them that were not computed, because an earlier input began with the same.
    pub cached_tokens: usize,
    /// Tokens generated, or computed of given answers.
    pub completion_tokens: usize,
}

/// Whatever turns an input into an outcome: a task with a model, a request to an endpoint.
pub trait Work: Send + Sync {
    /// Does one input. Dropping the future leaves it undone.
    ///
    /// # Errors
    /// Why this input has no outcome; others are not concerned, unless [`TaskError::is_fatal`] says so.
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>>;

    /// So many inputs under way at once make best use of the machine.
    fn concurrency(&self) -> usize;
}
