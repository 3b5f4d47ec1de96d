//! The fields of a response's request.

use super::input::{InputField, messages};
use super::response::ResponseObject;
use crate::api::format::AskedFormat;
use crate::api::ignored::{Ignored, warnings};
use crate::api::keep_alive::keep_alive;
use crate::api::openai::fields::{Choosing, ReasoningEffort, effort_warning};
use crate::api::openai::tools::{FunctionField, ToolKind, ToolMode, named_choice, tools};
use crate::api::others::refuse_others;
use crate::api::top_logprobs::top_logprobs;
use crate::failure::Failure;
use crate::shapes::by_shape;
use chat::{AnswerFormat, ChatRequest, GenerationOptions, KeepAlive, Message, Role, Tool, ToolChoice};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Most entries of `metadata` (the reference's bound).
const MOST_METADATA: usize = 16;

/// A conversation of items to answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResponseFields {
    /// The model to ask.
    model: String,
    /// A text, or the items of a conversation, oldest first.
    input: InputField,
    /// A system message before all.
    instructions: Option<String>,
    /// Most tokens to generate, thought included.
    max_output_tokens: Option<usize>,
    /// 0 always takes the likeliest token.
    temperature: Option<f32>,
    top_p: Option<f32>,
    /// Extension: keep the k likeliest tokens.
    top_k: Option<usize>,
    /// Extension: keep tokens at least this fraction as likely as the likeliest.
    min_p: Option<f32>,
    /// Extension.
    seed: Option<i64>,
    tools: Option<Vec<FunctionTool>>,
    tool_choice: Option<ToolChoiceField>,
    parallel_tool_calls: Option<bool>,
    stream: Option<bool>,
    reasoning: Option<ReasoningField>,
    text: Option<TextField>,
    /// `message.output_text.logprobs` reports log-probabilities.
    include: Option<Vec<String>>,
    /// With so many of the likeliest tokens at each place.
    top_logprobs: Option<usize>,
    /// Comes back in the response.
    metadata: Option<Map<String, Value>>,
    /// Only false: this server keeps nothing.
    store: Option<bool>,
    /// Not supported, for the same reason.
    previous_response_id: Option<String>,
    /// Not supported, for the same reason.
    #[schema(value_type = Option<Value>)]
    conversation: Option<Value>,
    /// Not supported, for the same reason.
    #[schema(value_type = Option<Value>)]
    prompt: Option<Value>,
    /// Only false.
    background: Option<bool>,
    /// Only `disabled`: what does not fit is refused.
    truncation: Option<String>,
    /// Extension: how long the model stays in memory, in seconds or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    user: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    service_tier: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    safety_identifier: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    prompt_cache_key: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    stream_options: Ignored,
}

/// A function that may be called.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FunctionTool {
    r#type: ToolKind,
    name: String,
    #[serde(default)]
    description: Option<String>,
    /// A JSON Schema.
    #[serde(default)]
    parameters: Option<Value>,
    /// Only false: arguments are checked to be JSON, not to keep to the schema.
    #[serde(default)]
    strict: Option<bool>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ResponseToolChoice)]
pub(super) enum ToolChoiceField {
    Mode(ToolMode),
    Named(NamedFunctionTool),
}

by_shape!(
    ToolChoiceField,
    "none, auto, required or an object that names a function",
    text => ToolChoiceField::Mode,
    object => ToolChoiceField::Named
);

#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedFunctionTool {
    r#type: ToolKind,
    name: String,
}

/// How to think.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReasoningField {
    /// `none` answers without thinking.
    effort: Option<ReasoningEffort>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    summary: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    generate_summary: Ignored,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TextField {
    format: Option<TextFormat>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    verbosity: Ignored,
}

#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TextFormat {
    /// `text`, `json_object` or `json_schema`.
    r#type: String,
    /// Of a schema, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Of a schema, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// A JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Value>,
    /// Either way the answer is held to the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl Default for TextFormat {
    fn default() -> TextFormat {
        TextFormat { r#type: "text".to_owned(), name: None, description: None, schema: None, strict: None }
    }
}

impl TextFormat {
    /// What it asks for; none for plain text.
    fn asked(&self) -> Result<Option<AskedFormat>, Failure> {
        let at = "text.format";
        let field = format!("{at}.schema");
        if self.r#type == "json_schema" {
            let missing = || Failure::field(field.clone(), format!("{field}: expected a JSON Schema, got none"));
            let format = AnswerFormat::JsonSchema(self.schema.clone().ok_or_else(missing)?);
            return Ok(Some(AskedFormat { format, field }));
        }
        let others = [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("schema", self.schema.is_some()),
            ("strict", self.strict.is_some()),
        ];
        let kind = &self.r#type;
        refuse_others(at, format_args!("a format of the type {kind}"), &others)?;
        match kind.as_str() {
            "text" => Ok(None),
            "json_object" => Ok(Some(AskedFormat { format: AnswerFormat::JsonObject, field: at.to_owned() })),
            other => {
                let message = format!("{at}: expected the type text, json_object or json_schema, got {other:?}");
                Err(Failure::field(at, message))
            }
        }
    }
}

/// What a request asks, checked.
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) stream: bool,
    pub(super) format: Option<AskedFormat>,
    pub(super) request: ChatRequest,
    /// What of it comes back.
    pub(super) response: ResponseObject,
}

impl Asked {
    /// Checks every field.
    pub(super) fn of(request: ResponseFields) -> Result<Asked, Failure> {
        refuse_state(&request)?;
        let top_logprobs = included_logprobs(request.include.as_deref().unwrap_or_default(), request.top_logprobs)?;
        let mut warnings = all_warnings(&request);
        if request.max_output_tokens == Some(0) {
            return Err(Failure::field("max_output_tokens", "max_output_tokens: expected 1 or more, got 0"));
        }
        let text_format = request.text.and_then(|text| text.format);
        let format = text_format.as_ref().map_or(Ok(None), TextFormat::asked)?;
        let effort = request.reasoning.as_ref().and_then(|reasoning| reasoning.effort);
        warnings.extend(effort_warning("reasoning.effort", effort));
        let fields = request.tools.unwrap_or_default();
        let tools = tools(fields.iter().cloned().enumerate().map(|(index, tool)| {
            let FunctionTool { name, description, parameters, strict, .. } = tool;
            (format!("tools[{index}]"), FunctionField { name, description, parameters, strict })
        }))?;
        let choice = request.tool_choice.unwrap_or(ToolChoiceField::Mode(ToolMode::Auto));
        let tool_choice = tool_choice(&choice, &tools)?;
        let options = GenerationOptions {
            max_tokens: request.max_output_tokens,
            top_logprobs,
            ..Choosing {
                temperature: request.temperature,
                top_p: request.top_p,
                top_k: request.top_k,
                min_p: request.min_p,
                seed: request.seed,
                ..Choosing::default()
            }
            .options()?
        };
        let one_tool_call = request.parallel_tool_calls == Some(false);
        let mut conversation = Vec::new();
        conversation.extend(request.instructions.clone().map(|text| Message::new(Role::System, text)));
        conversation.extend(messages(request.input)?);
        let mut response = ResponseObject::begun(effort);
        response.instructions = request.instructions;
        response.max_output_tokens = request.max_output_tokens;
        response.metadata = request.metadata.unwrap_or_default();
        response.parallel_tool_calls = !one_tool_call;
        response.temperature = request.temperature;
        response.top_p = request.top_p;
        response.tool_choice = choice;
        response.tools = fields;
        response.warnings = warnings;
        response.hold(text_format);
        let chat = ChatRequest {
            messages: conversation,
            tools,
            tool_choice,
            one_tool_call,
            format: format.as_ref().map(|asked| asked.format.clone()),
            // Effort asks a model that thinks anyway for more or less of it; one that does not is left as it is.
            think: effort.filter(|effort| *effort == ReasoningEffort::None).map(|_| false),
            options,
            ..ChatRequest::default()
        };
        Ok(Asked {
            model: request.model,
            keep_alive: keep_alive(request.keep_alive.as_ref())?,
            stream: request.stream.unwrap_or(false),
            format,
            request: chat,
            response,
        })
    }
}

/// Refuses what would need an earlier response, or keep this one.
fn refuse_state(request: &ResponseFields) -> Result<(), Failure> {
    let stateful = [
        ("store", request.store == Some(true)),
        ("previous_response_id", request.previous_response_id.is_some()),
        ("conversation", request.conversation.is_some()),
        ("prompt", request.prompt.is_some()),
        ("background", request.background == Some(true)),
    ];
    if let Some((field, _)) = stateful.iter().find(|(_, is_set)| *is_set) {
        let message = format!(
            "{field}: not supported, because this server is stateless: it keeps no responses\n\
             hint: send the whole conversation in `input`, with `store` false"
        );
        return Err(Failure::field(*field, message));
    }
    if let Some(other) = request.truncation.as_deref().filter(|word| *word != "disabled") {
        let message = format!("truncation: expected disabled, got {other:?}: what does not fit is refused, never cut");
        return Err(Failure::field("truncation", message));
    }
    let metadata = request.metadata.iter().flatten();
    if metadata.clone().count() > MOST_METADATA {
        let message = format!("metadata: expected at most {MOST_METADATA} entries, got {}", metadata.count());
        return Err(Failure::field("metadata", message));
    }
    if let Some((name, value)) = metadata.clone().find(|(_, value)| !value.is_string()) {
        let path = format!("metadata.{name}");
        return Err(Failure::field(path.clone(), format!("{path}: expected a text, got {value}")));
    }
    Ok(())
}

/// Alternatives to report, as `include` and `top_logprobs` have it; other words of `include` are refused.
fn included_logprobs(include: &[String], top: Option<usize>) -> Result<Option<usize>, Failure> {
    for (at, what) in include.iter().enumerate() {
        if !matches!(what.as_str(), "message.output_text.logprobs" | "reasoning.encrypted_content") {
            let path = format!("include[{at}]");
            let message = format!("{path}: expected message.output_text.logprobs, got {what:?}");
            return Err(Failure::field(path, message));
        }
    }
    let is_asked = include.iter().any(|what| what == "message.output_text.logprobs");
    top_logprobs(is_asked, "include has message.output_text.logprobs", top)
}

fn all_warnings(request: &ResponseFields) -> Vec<String> {
    let mut all = warnings(&[
        ("user", &request.user),
        ("service_tier", &request.service_tier),
        ("safety_identifier", &request.safety_identifier),
        ("prompt_cache_key", &request.prompt_cache_key),
        ("stream_options", &request.stream_options),
    ]);
    if let Some(reasoning) = &request.reasoning {
        all.extend(warnings(&[
            ("reasoning.summary", &reasoning.summary),
            ("reasoning.generate_summary", &reasoning.generate_summary),
        ]));
    }
    if let Some(text) = &request.text {
        all.extend(warnings(&[("text.verbosity", &text.verbosity)]));
    }
    let include = request.include.iter().flatten();
    if include.into_iter().any(|what| what == "reasoning.encrypted_content") {
        all.push("include: reasoning.encrypted_content has no effect here: thought comes as text".to_owned());
    }
    all
}

fn tool_choice(field: &ToolChoiceField, tools: &[Tool]) -> Result<ToolChoice, Failure> {
    match field {
        ToolChoiceField::Mode(mode) => mode.choice(tools),
        ToolChoiceField::Named(named) => named_choice("tool_choice.name", named.name.clone(), tools),
    }
}
