//! A response, at its beginning and at its end.

use super::output::{Item, Output};
use super::request::{FunctionTool, TextFormat, ToolChoiceField};
use crate::admit::random_text;
use crate::api::openai::fields::ReasoningEffort;
use crate::api::openai::now;
use crate::api::openai::tools::ToolMode;
use crate::failure::Failure;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A response.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Response)]
pub(super) struct ResponseObject {
    id: String,
    /// Always `response`.
    object: &'static str,
    /// Seconds since 1970.
    created_at: u64,
    status: ResponseStatus,
    error: Option<ResponseError>,
    incomplete_details: Option<IncompleteDetails>,
    pub(super) instructions: Option<String>,
    pub(super) max_output_tokens: Option<usize>,
    pub(super) metadata: Map<String, Value>,
    model: String,
    output: Vec<Item>,
    pub(super) parallel_tool_calls: bool,
    previous_response_id: Option<String>,
    reasoning: ReasoningObject,
    /// Always false: nothing is kept.
    store: bool,
    pub(super) temperature: Option<f32>,
    text: TextObject,
    pub(super) tool_choice: ToolChoiceField,
    pub(super) tools: Vec<FunctionTool>,
    pub(super) top_p: Option<f32>,
    /// Always `disabled`.
    truncation: &'static str,
    usage: Option<ResponseUsage>,
    /// What of the request had no effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResponseStatus {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct ResponseError {
    code: String,
    message: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct IncompleteDetails {
    /// Always `max_output_tokens`: that bound or the context was reached.
    reason: &'static str,
}

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
struct ReasoningObject {
    effort: Option<ReasoningEffort>,
    summary: Option<String>,
}

/// How text is held, as it was asked for.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
struct TextObject {
    format: TextFormat,
}

/// Counts of tokens.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ResponseUsage {
    input_tokens: usize,
    input_tokens_details: InputDetails,
    output_tokens: usize,
    output_tokens_details: OutputDetails,
    total_tokens: usize,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct InputDetails {
    /// Tokens that were not computed, because an earlier request began with the same.
    cached_tokens: usize,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct OutputDetails {
    /// Tokens of thought.
    reasoning_tokens: usize,
}

impl ResponseObject {
    /// One that has only begun.
    pub(super) fn begun(effort: Option<ReasoningEffort>) -> ResponseObject {
        ResponseObject {
            id: format!("resp_{}", random_text(24)),
            object: "response",
            created_at: now(),
            status: ResponseStatus::InProgress,
            error: None,
            incomplete_details: None,
            instructions: None,
            max_output_tokens: None,
            metadata: Map::new(),
            model: String::new(),
            output: Vec::new(),
            parallel_tool_calls: true,
            previous_response_id: None,
            reasoning: ReasoningObject { effort, summary: None },
            store: false,
            temperature: None,
            text: TextObject::default(),
            tool_choice: ToolChoiceField::Mode(ToolMode::Auto),
            tools: Vec::new(),
            top_p: None,
            truncation: "disabled",
            usage: None,
            warnings: Vec::new(),
        }
    }

    /// The same, of the model that answers.
    pub(super) fn of_model(self, model: &str) -> ResponseObject {
        ResponseObject { model: model.to_owned(), ..self }
    }

    /// Notes what the answer is held to.
    pub(super) fn hold(&mut self, format: Option<TextFormat>) {
        self.text.format = format.unwrap_or_default();
    }

    /// Notes more that had no effect.
    pub(super) fn warn(&mut self, warnings: Vec<String>) {
        self.warnings.extend(warnings);
    }

    /// The answer has ended.
    pub(super) fn end(&mut self, output: &Output) {
        let usage = &output.usage;
        self.output = output.items().to_vec();
        self.status = if output.is_incomplete() { ResponseStatus::Incomplete } else { ResponseStatus::Completed };
        self.incomplete_details = output.is_incomplete().then_some(IncompleteDetails { reason: "max_output_tokens" });
        self.usage = Some(ResponseUsage {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputDetails { cached_tokens: usage.cached_tokens },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens: output.thought_tokens },
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
        });
    }

    /// The answer has broken off.
    pub(super) fn fail(&mut self, output: &Output, failure: &Failure) {
        self.output = output.items().to_vec();
        self.status = ResponseStatus::Failed;
        let code = failure.code.unwrap_or("server_error").to_owned();
        self.error = Some(ResponseError { code, message: failure.message.clone() });
    }

    pub(super) fn status(&self) -> ResponseStatus {
        self.status
    }
}
