//! What came of one input, and of several.

use crate::admit::random_text;
use crate::api::openai::usage::UsageObject;
use crate::api::openai::{error, now};
use crate::failure::Failure;
use chat::Usage;
use serde::Serialize;
use serde_json::{Map, Value};
use tasks::Outcome;
use utoipa::ToSchema;

/// What both begin with.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Head {
    id: String,
    /// Seconds since 1970.
    created: u64,
    /// The task's name.
    task: String,
    /// The model that did it.
    model: String,
}

impl Head {
    pub(super) fn new(task: &str, model: &str) -> Head {
        let id = format!("task-{}", random_text(24));
        Head { id, created: now(), task: task.to_owned(), model: model.to_owned() }
    }
}

/// What came of one input.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OneOutcome {
    #[serde(flatten)]
    head: Head,
    /// Always `task.outcome`.
    object: &'static str,
    /// Its fields are those of the task.
    #[schema(value_type = Object)]
    outcome: Map<String, Value>,
    /// What the asker should know: of the task, and of this input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    usage: UsageObject,
}

/// What came of several inputs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SeveralOutcomes {
    #[serde(flatten)]
    head: Head,
    /// Always `list`.
    object: &'static str,
    /// In the order of the inputs.
    data: Vec<NumberedOutcome>,
    /// What the asker should know of the task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// Of all inputs together.
    usage: UsageObject,
}

/// What came of one of several inputs: an outcome, or an error.
#[derive(Debug, Serialize, ToSchema)]
struct NumberedOutcome {
    /// Its place among the inputs, from 0.
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    outcome: Option<Map<String, Value>>,
    /// Why there is no outcome, as a refused request has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    error: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageObject>,
}

fn usage(outcome: &Outcome) -> UsageObject {
    let Outcome { prompt_tokens, cached_tokens, completion_tokens, .. } = *outcome;
    let mut usage = UsageObject::default();
    usage.add(&Usage { prompt_tokens, cached_tokens, completion_tokens, ..Usage::default() });
    usage
}

impl OneOutcome {
    pub(super) fn of(head: Head, of_task: &[String], outcome: Outcome) -> OneOutcome {
        let usage = usage(&outcome);
        let warnings = of_task.iter().cloned().chain(outcome.warnings).collect();
        OneOutcome { head, object: "task.outcome", outcome: outcome.fields, warnings, usage }
    }
}

impl SeveralOutcomes {
    pub(super) fn of(head: Head, of_task: &[String], outcomes: Vec<Result<Outcome, Failure>>) -> SeveralOutcomes {
        let data: Vec<NumberedOutcome> = outcomes.into_iter().enumerate().map(NumberedOutcome::of).collect();
        let each: Vec<UsageObject> = data.iter().filter_map(|one| one.usage).collect();
        let (usage, warnings) = (UsageObject::sum(&each), of_task.to_vec());
        SeveralOutcomes { head, object: "list", data, warnings, usage }
    }
}

impl NumberedOutcome {
    fn of((index, outcome): (usize, Result<Outcome, Failure>)) -> NumberedOutcome {
        match outcome {
            Ok(outcome) => NumberedOutcome {
                index,
                usage: Some(usage(&outcome)),
                outcome: Some(outcome.fields),
                error: None,
                warnings: outcome.warnings,
            },
            Err(failure) => {
                let error = error(&failure)["error"].take();
                NumberedOutcome { index, outcome: None, error: Some(error), warnings: Vec::new(), usage: None }
            }
        }
    }
}
