//! OpenAI's chat completions, and the many providers that speak them with differences.
//!
//! Source: "Create chat completion" and "Streaming" in OpenAI's API reference, and the references of the hosts. A
//! difference is a field of [`ChatCompletions`], never a condition on a name. Cached tokens are a part of
//! `prompt_tokens` here, and thought is a part of `completion_tokens`.

use super::{Asked, Outgoing, Reader, Wire, key_header, not_json};
use crate::Key;
use crate::answer::{Answer, Counts};
use crate::failure::{Said, Trouble};
use crate::format::{Held, is_strict, sent};
use chat::{AnswerFormat, ChatError, ChatRequest, FinishReason, Message, Role, TokenLogprob, ToolChoice};
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The protocol as one host has it.
pub(super) struct ChatCompletions {
    /// The field of the most tokens to generate.
    max_tokens: &'static str,
    seed: &'static str,
    /// Takes `stream_options`; else the counts come by themselves.
    asks_for_usage: bool,
    logprobs: bool,
    logit_bias: bool,
    /// Takes `top_k`, `min_p` and `repetition_penalty`.
    samplers: bool,
    /// Takes `chat_template_kwargs`, and `reasoning_content` in messages, as servers of open models do.
    template: bool,
    /// Models that think: the beginning of the name, the least effort that they take, and whether they think even
    /// so. The first that fits counts.
    thinkers: &'static [(&'static str, &'static str, bool)],
}

/// As in the reference.
pub(super) static REFERENCE: ChatCompletions = ChatCompletions {
    max_tokens: "max_completion_tokens",
    seed: "seed",
    asks_for_usage: true,
    logprobs: true,
    logit_bias: true,
    samplers: false,
    template: false,
    thinkers: &[
        ("gpt-5-pro", "high", true),
        ("gpt-5.", "none", false),
        ("gpt-6", "none", false),
        ("gpt-5", "minimal", true),
        ("o1", "low", true),
        ("o3", "low", true),
        ("o4", "low", true),
    ],
};

/// Hosts of open models.
pub(super) static HOSTED: ChatCompletions = ChatCompletions {
    max_tokens: "max_tokens",
    seed: "seed",
    asks_for_usage: true,
    logprobs: false,
    logit_bias: true,
    samplers: true,
    template: false,
    thinkers: &[],
};

/// Those of them that tell log-probabilities as the reference does.
pub(super) static HOSTED_LOGPROBS: ChatCompletions = ChatCompletions { logprobs: true, ..HOSTED };

/// Mistral, which refuses fields that it does not know.
pub(super) static MISTRAL: ChatCompletions =
    ChatCompletions { seed: "random_seed", asks_for_usage: false, logit_bias: false, samplers: false, ..HOSTED };

/// An endpoint of one's own: servers of open models.
pub(super) static ENDPOINT: ChatCompletions = ChatCompletions { logprobs: true, template: true, ..HOSTED };

impl Wire for ChatCompletions {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn headers(&self, key: Option<&Key>) -> Vec<(&'static str, HeaderValue)> {
        key_header("authorization", "Bearer ", key).into_iter().collect()
    }

    fn outgoing(&self, asked: &Asked<'_>) -> Result<Outgoing, ChatError> {
        let request = asked.request;
        let mut body = Map::new();
        body.insert("model".to_owned(), asked.model.into());
        let messages = request.messages.iter().enumerate();
        let messages: Vec<Value> =
            messages.map(|(index, message)| self.message(asked, index, message)).collect::<Result<_, _>>()?;
        body.insert("messages".to_owned(), messages.into());
        if asked.streams {
            body.insert("stream".to_owned(), true.into());
            if self.asks_for_usage {
                body.insert("stream_options".to_owned(), json!({"include_usage": true}));
            }
        }
        self.thinking(asked, &mut body)?;
        self.options(asked, &mut body)?;
        tools(request, &mut body);
        let held = format(asked, &mut body)?;
        Ok(Outgoing { path: "/chat/completions".to_owned(), body: body.into(), held })
    }

    fn holds_tools(&self) -> bool {
        true
    }

    fn reader(&self, _: &ChatRequest) -> Box<dyn Reader> {
        Box::new(Chunks::default())
    }
}

impl ChatCompletions {
    fn message(&self, asked: &Asked<'_>, index: usize, message: &Message) -> Result<Value, ChatError> {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        };
        let mut object = json!({"role": role, "content": message.content});
        if !message.tool_calls.is_empty() {
            let call = |call: &chat::ToolCall| {
                let arguments = Value::from(call.arguments.clone()).to_string();
                json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
            };
            object["tool_calls"] = message.tool_calls.iter().map(call).collect();
            if message.content.is_empty() {
                object["content"] = Value::Null;
            }
        }
        if let Some(id) = &message.tool_call_id {
            object["tool_call_id"] = id.as_str().into();
        }
        // A thought of an earlier turn is for templates that want it back; the reference has no field for it.
        if let Some(thought) = message.thought.as_ref().filter(|_| self.template) {
            object["reasoning_content"] = thought.as_str().into();
        }
        for (key, value) in &message.extra {
            if key != "name" {
                return asked.refuse(format_args!("messages[{index}].{key}: there is no such field"));
            }
            // The result of a call is known by the call's id.
            if message.role != Role::Tool {
                object["name"] = value.clone();
            }
        }
        Ok(object)
    }

    /// How much to think. A model that always thinks is asked for the least where it should not.
    fn thinking(&self, asked: &Asked<'_>, body: &mut Map<String, Value>) -> Result<(), ChatError> {
        let request = asked.request;
        asked.decline_any(&[
            ("a limit of tokens for its thought", request.thought_tokens.is_some()),
            ("variables of a chat template", !request.template_variables.is_empty() && !self.template),
        ])?;
        if self.template {
            let mut variables = request.template_variables.clone();
            if let Some(think) = request.think {
                variables.entry("enable_thinking").or_insert(think.into());
            }
            if !variables.is_empty() {
                body.insert("chat_template_kwargs".to_owned(), variables.into());
            }
            return Ok(());
        }
        match (request.think, self.thinker(asked.model)) {
            (Some(false), Some((_, least, _))) => {
                body.insert("reasoning_effort".to_owned(), (*least).into());
            }
            (Some(true), Some(_)) => {
                body.insert("reasoning_effort".to_owned(), "medium".into());
            }
            (Some(true), None) => return asked.decline("thinking before the answer, as far as is known here"),
            (Some(false), None) | (None, _) => {}
        }
        Ok(())
    }

    fn thinker(&self, model: &str) -> Option<&'static (&'static str, &'static str, bool)> {
        let is_chat = model.starts_with("gpt-5-chat");
        self.thinkers.iter().find(|(beginning, ..)| model.starts_with(beginning) && !is_chat)
    }

    fn options(&self, asked: &Asked<'_>, body: &mut Map<String, Value>) -> Result<(), ChatError> {
        let options = &asked.request.options;
        let always_thinks = self.thinker(asked.model).is_some_and(|(.., always)| *always);
        if always_thinks && options.temperature.is_some_and(|temperature| temperature != 1.0) {
            let expected = "expected 1, which models that think before they answer have fixed";
            return asked.refuse(format_args!("temperature: {expected}\nhint: set temperature = 1 for this model"));
        }
        asked.decline_any(&[
            ("top_k", options.top_k.is_some() && !self.samplers),
            ("min_p", options.min_p.is_some() && !self.samplers),
            ("repeat_penalty", options.repeat_penalty.is_some() && !self.samplers),
            ("logit_bias", !options.logit_bias.is_empty() && !self.logit_bias),
        ])?;
        let numbers = [
            ("temperature", options.temperature),
            ("top_p", options.top_p),
            ("min_p", options.min_p),
            ("repetition_penalty", options.repeat_penalty),
            ("presence_penalty", options.presence_penalty),
            ("frequency_penalty", options.frequency_penalty),
        ];
        for (field, number) in numbers {
            if let Some(number) = number {
                body.insert(field.to_owned(), asked.number(field, number)?);
            }
        }
        let mut insert = |field: &str, value: Option<Value>| body.extend(value.map(|value| (field.to_owned(), value)));
        insert(self.max_tokens, options.max_tokens.map(Value::from));
        insert("top_k", options.top_k.map(Value::from));
        insert(self.seed, options.seed.map(Value::from));
        insert("stop", (!options.stop.is_empty()).then(|| options.stop.clone().into()));
        let bias = options.logit_bias.iter().map(|(id, bias)| Ok((id.to_string(), asked.number("logit_bias", *bias)?)));
        let bias = bias.collect::<Result<Map<_, _>, ChatError>>()?;
        insert("logit_bias", (!bias.is_empty()).then(|| bias.into()));
        // With no alternatives they are a report beside the answer, which is told where it can be.
        let tells = self.logprobs && !always_thinks;
        match options.top_logprobs {
            Some(top) if tells => {
                insert("logprobs", Some(true.into()));
                insert("top_logprobs", (top > 0).then(|| top.into()));
            }
            Some(top) if top > 0 => return asked.decline("log-probabilities of alternatives"),
            Some(_) | None => {}
        }
        Ok(())
    }
}

fn tools(request: &ChatRequest, body: &mut Map<String, Value>) {
    if request.tools.is_empty() || request.tool_choice == ToolChoice::None {
        return;
    }
    let tool = |tool: &chat::Tool| {
        let mut definition = tool.definition.clone();
        if tool.strict {
            definition["function"]["strict"] = true.into();
        }
        definition
    };
    body.insert("tools".to_owned(), request.tools.iter().map(tool).collect());
    let choice = match &request.tool_choice {
        ToolChoice::Required => Some("required".into()),
        ToolChoice::Named(name) => Some(json!({"type": "function", "function": {"name": name}})),
        ToolChoice::Auto | ToolChoice::None => None,
    };
    body.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
    if request.one_tool_call {
        body.insert("parallel_tool_calls".to_owned(), false.into());
    }
}

fn format(asked: &Asked<'_>, body: &mut Map<String, Value>) -> Result<Held, ChatError> {
    let sent = sent(asked.name, asked.request.format.as_ref(), true)?;
    let format = match (&sent.schema, &asked.request.format) {
        (Some(schema), _) => {
            let named = json!({"name": "answer", "schema": schema, "strict": is_strict(schema)});
            Some(json!({"type": "json_schema", "json_schema": named}))
        }
        (None, Some(AnswerFormat::JsonObject)) => Some(json!({"type": "json_object"})),
        (None, _) => None,
    };
    body.extend(format.map(|format| ("response_format".to_owned(), format)));
    Ok(sent.held)
}

/// A chunk of a stream, or a whole answer: they differ in `delta` and `message`.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<UsageField>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "message", default)]
    delta: Delta,
    logprobs: Option<Logprobs>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<Content>,
    #[serde(alias = "reasoning")]
    reasoning_content: Option<String>,
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallField>>,
}

/// Text, or parts of it as Mistral's models that think have them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    thinking: Option<Vec<ThinkingPart>>,
}

#[derive(Deserialize)]
struct ThinkingPart {
    text: String,
}

#[derive(Deserialize)]
struct CallField {
    index: Option<usize>,
    id: Option<String>,
    function: Option<FunctionField>,
}

#[derive(Deserialize)]
struct FunctionField {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<LogprobField>>,
}

#[derive(Deserialize)]
struct LogprobField {
    token: String,
    logprob: f32,
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    top_logprobs: Vec<LogprobField>,
}

#[derive(Deserialize)]
struct UsageField {
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
    total_tokens: Option<usize>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<usize>,
}

impl LogprobField {
    fn read(self) -> TokenLogprob {
        TokenLogprob {
            id: 0,
            bytes: self.bytes.unwrap_or_else(|| self.token.clone().into_bytes()),
            text: self.token,
            logprob: self.logprob,
            top: self.top_logprobs.into_iter().map(LogprobField::read).collect(),
        }
    }
}

/// Reads an answer.
#[derive(Default)]
struct Chunks {
    /// Of each call, its index in the stream and in the answer.
    calls: Vec<(usize, usize)>,
}

impl Reader for Chunks {
    fn event(&mut self, data: &str, answer: &mut Answer) -> Result<(), Trouble> {
        if data.trim() == "[DONE]" {
            answer.is_over = true;
            return Ok(());
        }
        self.read(data, answer)
    }

    fn whole(&mut self, body: &str, answer: &mut Answer) -> Result<(), Trouble> {
        self.read(body, answer)
    }
}

impl Chunks {
    fn read(&mut self, data: &str, answer: &mut Answer) -> Result<(), Trouble> {
        let value: Value = serde_json::from_str(data).map_err(|error| not_json(&error, data))?;
        if value.get("error").is_some_and(|error| !error.is_null()) {
            return Err(Said::of_value(&value).in_stream());
        }
        let chunk: Chunk = serde_json::from_value(value).map_err(|error| not_json(&error, data))?;
        if let Some(usage) = chunk.usage {
            let total = usage.total_tokens.unwrap_or(0);
            answer.counts = Some(Counts {
                prompt: usage.prompt_tokens,
                cached: usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
                // Some hosts count thought in the total alone.
                completion: usage.completion_tokens.max(total.saturating_sub(usage.prompt_tokens)),
            });
        }
        match chunk.choices.into_iter().next() {
            Some(choice) => self.choice(choice, answer),
            None => Ok(()),
        }
    }

    fn choice(&mut self, choice: Choice, answer: &mut Answer) -> Result<(), Trouble> {
        let Delta { content, reasoning_content, refusal, tool_calls } = choice.delta;
        if let Some(refusal) = refusal.filter(|refusal| !refusal.is_empty()) {
            return Err(ChatError::BadOutput(format!("the model refused to answer: {refusal}")).into());
        }
        answer.thought(reasoning_content.as_deref().unwrap_or_default())?;
        let logprobs = choice.logprobs.and_then(|logprobs| logprobs.content).unwrap_or_default();
        let logprobs = logprobs.into_iter().map(LogprobField::read).collect();
        match content {
            Some(Content::Text(text)) => answer.text(&text, logprobs)?,
            Some(Content::Parts(parts)) => {
                for part in parts {
                    for thinking in part.thinking.unwrap_or_default() {
                        answer.thought(&thinking.text)?;
                    }
                    answer.text(part.text.as_deref().unwrap_or_default(), Vec::new())?;
                }
            }
            None => {}
        }
        for (place, call) in tool_calls.unwrap_or_default().into_iter().enumerate() {
            self.call(place, call, answer)?;
        }
        match choice.finish_reason.as_deref() {
            None | Some("") => {}
            Some("stop" | "eos") => answer.reason = Some(FinishReason::Stop),
            Some("length" | "model_length") => answer.reason = Some(FinishReason::Length),
            Some("tool_calls" | "function_call") => answer.reason = Some(FinishReason::ToolCalls),
            Some("content_filter") => {
                let message = "the provider's filter of contents cut the answer off (finish_reason content_filter)";
                return Err(ChatError::BadOutput(message.to_owned()).into());
            }
            Some(other) => {
                return Err(
                    ChatError::BadOutput(format!("the answer ended as {other:?}, which is unknown here")).into()
                );
            }
        }
        Ok(())
    }

    fn call(&mut self, place: usize, call: CallField, answer: &mut Answer) -> Result<(), Trouble> {
        let place = call.index.unwrap_or(place);
        let Some(function) = call.function else { return Ok(()) };
        let known = self.calls.iter().find(|(known, _)| *known == place).map(|(_, index)| *index);
        let index = match (known, function.name.as_deref().filter(|name| !name.is_empty())) {
            (Some(index), _) => index,
            (None, Some(name)) => {
                let index = answer.call(call.id.as_deref(), name)?;
                self.calls.push((place, index));
                index
            }
            (None, None) => {
                return Err(ChatError::BadOutput("the model called a tool without its name".to_owned()).into());
            }
        };
        answer.arguments(index, function.arguments.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
#[path = "openai_tests.rs"]
mod tests;
