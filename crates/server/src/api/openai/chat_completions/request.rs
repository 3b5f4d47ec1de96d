//! The fields of a chat completion's request.

use super::messages::{MessageField, messages};
use crate::api::format::AskedFormat;
use crate::api::ignored::{Ignored, warnings};
use crate::api::keep_alive::keep_alive;
use crate::api::openai::fields::{Choosing, ReasoningEffort, StreamOptions, effort_warning, seed_of};
use crate::api::openai::format::{FormatFields, ResponseFormat, StructuredOutputs};
use crate::api::openai::one_or_many::OneOrMany;
use crate::api::openai::tools::{FunctionField, ToolKind, ToolMode, named_choice, tools};
use crate::api::top_logprobs::top_logprobs;
use crate::failure::Failure;
use crate::shapes::by_shape;
use chat::{ChatRequest, GenerationOptions, KeepAlive, Tool, ToolChoice};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::iter::repeat_n;
use utoipa::ToSchema;

/// Most answers to one request.
const MOST_CHOICES: usize = 128;

/// A conversation to answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChatCompletionRequest {
    /// The model to ask.
    model: String,
    /// The conversation, oldest first.
    messages: Vec<MessageField>,
    /// Most tokens to generate, thought included.
    max_completion_tokens: Option<usize>,
    /// The older name of `max_completion_tokens`.
    max_tokens: Option<usize>,
    /// 0 always takes the likeliest token.
    temperature: Option<f32>,
    top_p: Option<f32>,
    /// Extension: keep the k likeliest tokens.
    top_k: Option<usize>,
    /// Extension: keep tokens at least this fraction as likely as the likeliest.
    min_p: Option<f32>,
    /// Extension: divide the logits of recent tokens by this.
    #[serde(alias = "repetition_penalty")]
    repeat_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    /// How many answers.
    n: Option<usize>,
    seed: Option<i64>,
    /// Texts that end the answer and are not part of it.
    stop: Option<OneOrMany<String>>,
    /// Added to the logits of tokens, by id.
    logit_bias: Option<BTreeMap<String, f32>>,
    /// Whether to report log-probabilities.
    logprobs: Option<bool>,
    /// With so many of the likeliest tokens at each place.
    top_logprobs: Option<usize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    tools: Option<Vec<ToolField>>,
    tool_choice: Option<ToolChoiceField>,
    parallel_tool_calls: Option<bool>,
    /// What the answer must be; it is held to that while it is written.
    response_format: Option<ResponseFormat>,
    /// Extension, as vLLM has it: the same, and more kinds of it.
    structured_outputs: Option<StructuredOutputs>,
    /// Extension, as vLLM had it: a JSON Schema.
    #[schema(value_type = Option<Value>)]
    guided_json: Option<Value>,
    /// Extension: a regular expression that the whole answer matches.
    guided_regex: Option<String>,
    /// Extension: the answer is one of these texts.
    guided_choice: Option<Vec<String>>,
    /// Extension: a grammar in Lark's notation, or in GBNF.
    guided_grammar: Option<String>,
    /// Variables of the chat template; `enable_thinking` is one.
    chat_template_kwargs: Option<Map<String, Value>>,
    /// `none` answers without thinking; there are no levels beside it.
    reasoning_effort: Option<ReasoningEffort>,
    /// Extension: most tokens of thought.
    max_thinking_tokens: Option<usize>,
    /// Extension: how long the model stays in memory, in seconds or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    user: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    metadata: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    store: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    service_tier: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    safety_identifier: Ignored,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    prompt_cache_key: Ignored,
}

/// A tool that may be called.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ToolField {
    #[serde(rename = "type")]
    _type: ToolKind,
    function: FunctionField,
}

#[derive(Debug, ToSchema)]
#[serde(untagged)]
enum ToolChoiceField {
    Mode(ToolMode),
    Named(NamedTool),
}

by_shape!(
    ToolChoiceField,
    "none, auto, required or an object that names a function",
    text => ToolChoiceField::Mode,
    object => ToolChoiceField::Named
);

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NamedTool {
    #[serde(rename = "type")]
    _type: ToolKind,
    function: NamedFunction,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NamedFunction {
    name: String,
}

/// What a request asks, checked.
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) choices: usize,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) logprobs: bool,
    pub(super) warnings: Vec<String>,
    pub(super) format: Option<AskedFormat>,
    pub(super) request: ChatRequest,
}

impl Asked {
    /// Checks every field.
    pub(super) fn of(request: ChatCompletionRequest) -> Result<Asked, Failure> {
        let choices = request.n.unwrap_or(1);
        if !(1..=MOST_CHOICES).contains(&choices) {
            return Err(Failure::field("n", format!("n: expected 1 to {MOST_CHOICES}, got {choices}")));
        }
        let stream = request.stream.unwrap_or(false);
        let include_usage = StreamOptions::include_usage(request.stream_options, stream)?;
        let format = FormatFields {
            response_format: request.response_format,
            structured_outputs: request.structured_outputs,
            guided_json: request.guided_json,
            guided_regex: request.guided_regex,
            guided_choice: request.guided_choice,
            guided_grammar: request.guided_grammar,
        }
        .asked()?;
        let mut warnings = warnings(&[
            ("user", &request.user),
            ("metadata", &request.metadata),
            ("store", &request.store),
            ("service_tier", &request.service_tier),
            ("safety_identifier", &request.safety_identifier),
            ("prompt_cache_key", &request.prompt_cache_key),
        ]);
        let keep_alive = keep_alive(request.keep_alive.as_ref())?;
        warnings.extend(effort_warning("reasoning_effort", request.reasoning_effort));
        let (think, template_variables) = thinking(request.chat_template_kwargs, request.reasoning_effort)?;
        let options = GenerationOptions {
            max_tokens: max_tokens(request.max_completion_tokens, request.max_tokens)?,
            top_logprobs: top_logprobs(request.logprobs == Some(true), "logprobs is true", request.top_logprobs)?,
            ..Choosing {
                temperature: request.temperature,
                top_p: request.top_p,
                top_k: request.top_k,
                min_p: request.min_p,
                repeat_penalty: request.repeat_penalty,
                presence_penalty: request.presence_penalty,
                frequency_penalty: request.frequency_penalty,
                seed: request.seed,
                stop: request.stop,
                logit_bias: request.logit_bias,
            }
            .options()?
        };
        let functions = request.tools.unwrap_or_default().into_iter().enumerate();
        let tools = tools(functions.map(|(index, tool)| (format!("tools[{index}].function"), tool.function)))?;
        let tool_choice = tool_choice(request.tool_choice, &tools)?;
        Ok(Asked {
            model: request.model,
            keep_alive,
            choices,
            stream,
            include_usage,
            logprobs: options.top_logprobs.is_some(),
            warnings,
            request: ChatRequest {
                format: format.as_ref().map(|asked| asked.format.clone()),
                messages: messages(request.messages)?,
                tools,
                tool_choice,
                one_tool_call: request.parallel_tool_calls == Some(false),
                think,
                thought_tokens: request.max_thinking_tokens,
                template_variables,
                options,
            },
            format,
        })
    }
}

/// The request for each of so many choices. The last takes the request itself, so that a single one copies nothing.
pub(super) fn each_choice(request: ChatRequest, choices: usize) -> impl Iterator<Item = ChatRequest> {
    repeat_n(request, choices).enumerate().map(|(choice, mut request)| {
        request.options.seed = seed_of(request.options.seed, choice);
        request
    })
}

fn max_tokens(new: Option<usize>, old: Option<usize>) -> Result<Option<usize>, Failure> {
    if let (Some(new), Some(old)) = (new, old)
        && new != old
    {
        let message = format!("max_tokens: expected the same as max_completion_tokens ({new}), got {old}");
        return Err(Failure::field("max_tokens", message));
    }
    let named = if new.is_some() { "max_completion_tokens" } else { "max_tokens" };
    match new.or(old) {
        Some(0) => Err(Failure::field(named, format!("{named}: expected 1 or more, got 0"))),
        most => Ok(most),
    }
}

/// Whether to think, from both places where a request may say so, and what is left for the template.
fn thinking(
    variables: Option<Map<String, Value>>,
    effort: Option<ReasoningEffort>,
) -> Result<(Option<bool>, Map<String, Value>), Failure> {
    let mut variables = variables.unwrap_or_default();
    let field = "chat_template_kwargs.enable_thinking";
    let think = match variables.shift_remove("enable_thinking") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(think)) => Some(think),
        Some(other) => return Err(Failure::field(field, format!("{field}: expected true or false, got {other}"))),
    };
    let wanted = effort.map(|effort| effort != ReasoningEffort::None);
    if let (Some(think), Some(wanted)) = (think, wanted)
        && think != wanted
    {
        return Err(Failure::field("reasoning_effort", format!("reasoning_effort: expected to agree with {field}")));
    }
    // Effort asks a model that thinks anyway for more or less of it; one that does not is left as it is.
    Ok((think.or(wanted.filter(|wanted| !wanted)), variables))
}

fn tool_choice(field: Option<ToolChoiceField>, tools: &[Tool]) -> Result<ToolChoice, Failure> {
    match field {
        None => Ok(ToolChoice::Auto),
        Some(ToolChoiceField::Mode(mode)) => mode.choice(tools),
        Some(ToolChoiceField::Named(named)) => named_choice("tool_choice.function.name", named.function.name, tools),
    }
}
