//! How likely a given text is in the place of an answer, by the model that would have answered. It writes nothing.

use crate::template::field_text;
use crate::{Input, Outcome, Ready, TaskError, Work};
use futures::future::BoxFuture;
use serde_json::Value;
use std::sync::Arc;

/// A task with a model that is asked for the likelihood of the text in a column, and not for an answer.
///
/// Its outcomes have `logprob`, the natural logarithm of the probability of the whole text, its end included where the model
/// has a chat template, and `bytes`, the length of what was scored: without a template a blank before the text and a line break
/// after it are a part of that.
#[derive(Debug)]
pub struct Likelihood {
    ready: Arc<Ready>,
    column: String,
}

impl Likelihood {
    /// Of the text in a column of the inputs.
    pub fn new(ready: Arc<Ready>, column: impl Into<String>) -> Likelihood {
        Likelihood { ready, column: column.into() }
    }
}

impl Work for Likelihood {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let text = field_text(input, &self.column)?;
            if text.is_empty() {
                return Err(TaskError::Input(format!("{:?} is empty: there is no text to be likely", self.column)));
            }
            let (scored, bytes) = self.ready.likelihood(input, &text).await?;
            let score = scored.scores.first().filter(|score| score.logprob.is_finite());
            let Some(score) = score else {
                return Err(TaskError::Output("the model gave the text no score".to_owned()));
            };
            let mut outcome = Outcome {
                prompt_tokens: scored.prompt_tokens,
                cached_tokens: scored.cached_tokens,
                completion_tokens: scored.option_tokens,
                ..Outcome::default()
            };
            outcome.fields.insert("logprob".to_owned(), Value::from(score.logprob));
            outcome.fields.insert("bytes".to_owned(), Value::from(bytes));
            Ok(outcome)
        })
    }

    fn concurrency(&self) -> usize {
        self.ready.concurrency()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scripted;
    use crate::{Complete, Generate, Summarize, Task};
    use futures::executor::block_on;
    use serde_json::json;

    fn asked(task: &Task, model: Scripted, row: Value) -> Result<Outcome, TaskError> {
        let ready = Arc::new(block_on(task.ready(Arc::new(model), &[])).unwrap());
        let input = Input { fields: row.as_object().unwrap().clone(), pages: Vec::new() };
        block_on(Likelihood::new(ready, "reply").ask(&input))
    }

    #[test]
    fn the_right_text_is_scored_behind_the_prompt_of_the_task() {
        // Probabilities that tell how long the prompt and the text were.
        let by_length = |prompt: &str, options: &[String]| {
            assert_eq!(options.len(), 1);
            vec![1.0 / (100 * prompt.len() + options[0].len()) as f64]
        };
        let check = |task: &Task, row: Value, lengths: f64, bytes: u64| {
            let outcome = asked(task, Scripted::choosing(by_length), row).unwrap();
            let logprob = outcome.fields["logprob"].as_f64().unwrap();
            assert!((logprob + lengths.ln()).abs() < 1e-9, "{logprob}");
            assert_eq!(outcome.fields["bytes"], bytes);
        };
        check(&Task::new("t", Generate::default()), json!({"text": "Hello", "reply": "Dear"}), 504.0, 4);
        check(&Task::new("t", Complete::default()), json!({"prefix": "a = ", "reply": "1"}), 401.0, 1);
    }

    #[test]
    fn what_cannot_be_scored_is_told() {
        let generate = Task::new("t", Generate::default());
        let scores = || Scripted::choosing(|_, options| vec![-1.0; options.len()]);
        let error = asked(&generate, scores(), json!({"text": "a", "reply": ""})).unwrap_err().to_string();
        assert_eq!(error, "\"reply\" is empty: there is no text to be likely");
        let error = asked(&Task::new("t", Summarize::default()), scores(), json!({"text": "a", "reply": "b"}));
        assert_eq!(
            error.unwrap_err().to_string(),
            "how likely a text is can be asked of tasks of kind `generate` and `complete`"
        );
        let error = asked(&generate, Scripted::saying("no scores"), json!({"text": "a", "reply": "b"})).unwrap_err();
        assert!(error.is_fatal() && error.to_string().contains("scores of given answers"), "{error}");
    }
}
