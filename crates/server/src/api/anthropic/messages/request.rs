//! The fields of a request.

use crate::api::anthropic::conversation::{MessageField, TextBlockField, Warnings, conversation};
use crate::api::anthropic::tools::{ToolChoiceField, ToolField, tool_choice, tools};
use crate::api::format::AskedFormat;
use crate::api::ignored::Ignored;
use crate::api::text_or::TextOr;
use crate::failure::Failure;
use chat::{AnswerFormat, ChatRequest, GenerationOptions};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A conversation to answer.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MessagesRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct MessagesRequest {
    /// The model to ask.
    model: String,
    /// The conversation, oldest first.
    messages: Vec<MessageField>,
    /// Most tokens to generate, thought included.
    max_tokens: usize,
    system: Option<TextOr<TextBlockField>>,
    /// Texts that end the answer and are not part of it.
    stop_sequences: Option<Vec<String>>,
    /// 0 always takes the likeliest token.
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<usize>,
    stream: Option<bool>,
    tools: Option<Vec<ToolField>>,
    tool_choice: Option<ToolChoiceField>,
    thinking: Option<ThinkingField>,
    /// What the answer must be; it is held to that while it is written.
    output_config: Option<OutputConfig>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    metadata: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    service_tier: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    cache_control: Ignored,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OutputConfig {
    format: Option<OutputFormat>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    effort: Ignored,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum OutputFormat {
    /// JSON that is valid against a schema.
    JsonSchema {
        #[schema(value_type = Value)]
        schema: Value,
    },
}

/// Whether to think before the answer. Left out, or `adaptive`: as the model does of itself.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Thinking)]
#[serde(deny_unknown_fields)]
pub(in crate::api::anthropic) struct ThinkingField {
    r#type: ThinkingKind,
    /// Most tokens of thought, where it is enabled.
    budget_tokens: Option<usize>,
    /// Only `summarized`; thoughts are shown as they are.
    display: Option<Display>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ThinkingKind)]
#[serde(rename_all = "lowercase")]
enum ThinkingKind {
    Enabled,
    Disabled,
    Adaptive,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[schema(as = ThinkingDisplay)]
#[serde(rename_all = "lowercase")]
enum Display {
    Summarized,
}

/// What a request asks, checked.
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) warnings: Vec<String>,
    pub(super) format: Option<AskedFormat>,
    pub(super) request: ChatRequest,
}

impl Asked {
    /// Checks every field.
    pub(super) fn of(request: MessagesRequest) -> Result<Asked, Failure> {
        if request.max_tokens == 0 {
            return Err(Failure::field("max_tokens", "max_tokens: expected 1 or more, got 0"));
        }
        let stop = request.stop_sequences.unwrap_or_default();
        if let Some(at) = stop.iter().position(String::is_empty) {
            let path = format!("stop_sequences[{at}]");
            return Err(Failure::field(path.clone(), format!("{path}: expected a text, got an empty one")));
        }
        let mut warnings = Warnings::default();
        warnings.of("metadata", &request.metadata);
        warnings.of("service_tier", &request.service_tier);
        warnings.of("cache_control", &request.cache_control);
        let output = request.output_config.unwrap_or_default();
        warnings.of("output_config.effort", &output.effort);
        let format = output.format.map(|OutputFormat::JsonSchema { schema }| AskedFormat {
            format: AnswerFormat::JsonSchema(schema),
            field: "output_config.format.schema".to_owned(),
        });
        let messages = conversation(request.system, request.messages, &mut warnings)?;
        let tools = tools(request.tools.unwrap_or_default(), &mut warnings)?;
        let (tool_choice, one_tool_call) = tool_choice(request.tool_choice)?;
        let (think, thought_tokens) = thinking(request.thinking, Some(request.max_tokens))?;
        let options = GenerationOptions {
            max_tokens: Some(request.max_tokens),
            temperature: request.temperature,
            top_p: request.top_p,
            top_k: request.top_k,
            stop,
            ..GenerationOptions::default()
        };
        Ok(Asked {
            model: request.model,
            stream: request.stream.unwrap_or(false),
            warnings: warnings.0,
            request: ChatRequest {
                format: format.as_ref().map(|asked| asked.format.clone()),
                messages,
                tools,
                tool_choice,
                one_tool_call,
                think,
                thought_tokens,
                options,
                ..ChatRequest::default()
            },
            format,
        })
    }
}

/// Whether to think, and most tokens of thought, which must leave some of `max_tokens` for the answer.
pub(in crate::api::anthropic) fn thinking(
    field: Option<ThinkingField>,
    max_tokens: Option<usize>,
) -> Result<(Option<bool>, Option<usize>), Failure> {
    let Some(ThinkingField { r#type, budget_tokens, display: None | Some(Display::Summarized) }) = field else {
        return Ok((None, None));
    };
    let path = "thinking.budget_tokens";
    match (r#type, budget_tokens) {
        (ThinkingKind::Enabled, None) => {
            Err(Failure::field(path, format!("{path}: expected a number of tokens, got none")))
        }
        (ThinkingKind::Enabled, Some(0)) => Err(Failure::field(path, format!("{path}: expected 1 or more, got 0"))),
        (ThinkingKind::Enabled, Some(budget)) => match max_tokens.filter(|most| budget >= *most) {
            Some(most) => {
                let message = format!("{path}: expected fewer than max_tokens ({most}), got {budget}");
                Err(Failure::field(path, message))
            }
            None => Ok((Some(true), Some(budget))),
        },
        (ThinkingKind::Disabled, None) => Ok((Some(false), None)),
        (ThinkingKind::Adaptive, None) => Ok((None, None)),
        (ThinkingKind::Disabled | ThinkingKind::Adaptive, Some(_)) => {
            Err(Failure::field(path, format!("{path}: expected only where the type is enabled")))
        }
    }
}
