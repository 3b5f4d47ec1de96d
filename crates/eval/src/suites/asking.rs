//! How the prompt of a row is put to a model: continued as plain text, said as a message, or with the likeliest of given
//! continuations asked for.
//!
//! A row holds its prompt in two fields: what all or many rows begin with, and its own part. It knows no suite.

use crate::suites::SuiteRow;
use chat::{ChatModel, ChatRequest, CompletionRequest, GenerationOptions, Message, Prompt, RankRequest, Role};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tasks::{Input, Outcome, TEXT, Task, TaskError, Work, refusal, whole};

/// The field with what stands before a row's own part: instructions and examples.
pub(super) const BEFORE: &str = "before";

/// How a prompt is put to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As plain text that the model goes on with; the outcome has the continuation in this field.
    Complete {
        /// The field.
        field: &'static str,
    },
    /// As a message, where the model has a template, else as plain text; the outcome has the answer as `text`.
    Say,
    /// With the log-likelihood of each of these continuations asked for. The outcome has as `label` that of the likeliest,
    /// the first of several that are as likely.
    Rank {
        /// Each with its label.
        continuations: &'static [(&'static str, &'static str)],
    },
}

/// The whole prompt of a row.
pub fn prompt(input: &Input) -> String {
    let text = |field: &str| input.fields.get(field).and_then(Value::as_str).unwrap_or_default();
    format!("{}{}", text(BEFORE), text(TEXT))
}

/// A row with this prompt.
pub(super) fn row(before: &str, text: String) -> Input {
    let mut input = Input::text(text);
    if !before.is_empty() {
        input.fields.insert(BEFORE.to_owned(), Value::from(before));
    }
    input
}

/// A suite with a model. It does rows as [`Work`].
pub struct Asked {
    model: Arc<dyn ChatModel>,
    way: Way,
    options: GenerationOptions,
    concurrency: usize,
}

impl Asked {
    /// A suite with a model, and its task's options of how to generate; none where it asks as the task's kind does.
    pub fn new(suite: &SuiteRow, model: Arc<dyn ChatModel>, task: &Task, concurrency: usize) -> Option<Asked> {
        let options = task.options.clone();
        Some(Asked { model, way: suite.way?, options, concurrency: concurrency.max(1) })
    }

    async fn ranked(&self, input: &Input, continuations: &[(&str, &str)]) -> Result<Outcome, TaskError> {
        let request = RankRequest {
            prompt: Prompt::Text(prompt(input)),
            continuations: continuations.iter().map(|(_, text)| (*text).to_owned()).collect(),
        };
        let response = self.model.rank(request).await.map_err(refusal)?;
        if response.continuations.len() != continuations.len() {
            let (wanted, came) = (continuations.len(), response.continuations.len());
            return Err(TaskError::Output(format!("expected the log-probabilities of {wanted} texts, got {came}")));
        }
        let sum =
            |tokens: &Vec<chat::ScoredToken>| tokens.iter().filter_map(|token| token.logprob).map(f64::from).sum();
        let sums: Vec<f64> = response.continuations.iter().map(sum).collect();
        let mut best = 0;
        for (place, sum) in sums.iter().enumerate() {
            if *sum > sums[best] {
                best = place;
            }
        }
        let all: f64 = sums.iter().map(|sum| (sum - sums[best]).exp()).sum();
        let labels = continuations.iter().map(|(label, _)| (*label).to_owned());
        let fields = json!({
            "label": continuations[best].0,
            "probability": 1.0 / all,
            "log_likelihoods": labels.zip(sums.into_iter().map(Value::from)).collect::<Map<_, _>>(),
        });
        Ok(Outcome {
            fields: fields.as_object().cloned().unwrap_or_default(),
            prompt_tokens: response.prompt_tokens,
            completion_tokens: response.continuations.iter().map(Vec::len).sum(),
            ..Outcome::default()
        })
    }

    async fn written(&self, input: &Input, field: &str, is_said: bool) -> Result<Outcome, TaskError> {
        let options = self.options.clone();
        let stream = if is_said && self.model.info().capabilities.template {
            let messages = vec![Message::new(Role::User, prompt(input))];
            self.model.chat(ChatRequest { messages, options, ..ChatRequest::default() }).await
        } else {
            self.model.complete(CompletionRequest::new(Prompt::Text(prompt(input)), options)).await
        };
        let written = whole(stream.map_err(refusal)?).await?;
        let mut outcome = Outcome {
            fields: Map::from_iter([(field.to_owned(), Value::from(written.text.as_str()))]),
            ..Outcome::default()
        };
        written.count(&mut outcome);
        outcome.warnings.extend(written.warning_of_length("the answer"));
        Ok(outcome)
    }
}

impl Work for Asked {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            match self.way {
                Way::Complete { field } => self.written(input, field, false).await,
                Way::Say => self.written(input, TEXT, true).await,
                Way::Rank { continuations } => self.ranked(input, continuations).await,
            }
        })
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}
