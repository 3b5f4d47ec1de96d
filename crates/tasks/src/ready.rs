//! A task with a model: sound, prepared, and able to do inputs.

use crate::asking::Asker;
use crate::kinds::Asking;
use crate::seeded::hex_digest;
use crate::task::Example;
use crate::{Input, Outcome, Task, TaskError, Work};
use chat::{ChatModel, ChooseResponse};
use futures::future::BoxFuture;
use serde_json::json;
use std::sync::Arc;

/// Inputs under way at once where the caller knows no better: enough to fill batches of a small model, few enough
/// that their pages fit beside each other.
const CONCURRENCY: usize = 8;

/// A task with a model. It does inputs as [`Work`].
pub struct Ready {
    asking: Box<dyn Asking>,
    warnings: Vec<String>,
    fingerprint: String,
    concurrency: usize,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ready { asking: _, warnings, fingerprint, concurrency } = self;
        let mut shown = formatter.debug_struct("Ready");
        shown.field("warnings", warnings).field("fingerprint", fingerprint).field("concurrency", concurrency).finish()
    }
}

impl Task {
    /// Brings the task and a model together: looks whether the model can do it, makes formats ready, and chooses the
    /// examples that it is shown, always the same ones of the same `examples`.
    ///
    /// # Errors
    /// The model cannot do what the task asks, or a format cannot be held to.
    pub async fn ready(&self, model: Arc<dyn ChatModel>, examples: &[Example]) -> Result<Ready, TaskError> {
        let asker = Asker::new(model, self.options.clone())?;
        let model_name = asker.model().info().name.clone();
        let prepared = self.kind_settings().ready(asker, self, examples).await?;
        let parts = json!({ "task": self.fingerprint(), "model": model_name, "shown": prepared.shown });
        Ok(Ready {
            asking: prepared.asking,
            warnings: prepared.warnings,
            fingerprint: hex_digest(&parts.to_string()),
            concurrency: CONCURRENCY,
        })
    }
}

impl Ready {
    /// The same with so many inputs under way at once.
    pub fn with_concurrency(self, concurrency: usize) -> Ready {
        Ready { concurrency: concurrency.max(1), ..self }
    }

    /// What holds for all inputs and the asker should know: parts of a schema without effect, examples that were too
    /// few.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The SHA-256, in hexadecimal, of the task, the model's name and the examples it is shown: outcomes of the same
    /// input under the same fingerprint are the same, as long as the name means the same weights.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The prompt that an input makes, as the messages or the text that the model is given.
    ///
    /// # Errors
    /// The input lacks a field.
    pub fn preview(&self, input: &Input) -> Result<String, TaskError> {
        self.asking.preview(input)
    }
}

impl Ready {
    /// How likely a text is in the place of an answer, and the bytes that were scored.
    ///
    /// # Errors
    /// The kind or the model gives no likelihoods, or the input lacks a field.
    pub(crate) async fn likelihood(&self, input: &Input, text: &str) -> Result<(ChooseResponse, usize), TaskError> {
        self.asking.likelihood(input, text).await
    }
}

impl Work for Ready {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        self.asking.ask(input)
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}
