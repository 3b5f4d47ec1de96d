//! Anthropic's messages.
//!
//! Source: "Messages" and "Streaming messages" in Anthropic's API reference, version 2023-06-01. A format is a tool
//! that must be called: what it is called with is the answer. Cached tokens are no part of `input_tokens` here; they
//! are added.

use super::turns::turns;
use super::{Asked, Outgoing, Reader, Wire, key_header, not_json};
use crate::Key;
use crate::answer::{Answer, Counts};
use crate::failure::{Said, Trouble};
use crate::format::{Held, sent};
use chat::{ChatError, ChatRequest, FinishReason, Message, Role, ToolChoice};
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The protocol.
pub(super) struct Messages;

pub(super) static MESSAGES: Messages = Messages;

/// The tool that an answer with a format is called with.
const ANSWER_TOOL: &str = "answer";
/// Tokens of an answer that nobody limits: the protocol wants a number, and every current model takes this one. An
/// answer that it cuts off says so.
const DEFAULT_MAX_TOKENS: usize = 8192;

impl Wire for Messages {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn headers(&self, key: Option<&Key>) -> Vec<(&'static str, HeaderValue)> {
        let version = ("anthropic-version", HeaderValue::from_static("2023-06-01"));
        key_header("x-api-key", "", key).into_iter().chain([version]).collect()
    }

    fn outgoing(&self, asked: &Asked<'_>) -> Result<Outgoing, ChatError> {
        let options = &asked.request.options;
        asked.decline_any(&[
            ("min_p", options.min_p.is_some()),
            ("repeat_penalty", options.repeat_penalty.is_some()),
            ("presence_penalty", options.presence_penalty.is_some()),
            ("frequency_penalty", options.frequency_penalty.is_some()),
            ("a seed", options.seed.is_some()),
            ("logit_bias", !options.logit_bias.is_empty()),
            ("log-probabilities of alternatives", options.top_logprobs.is_some_and(|top| top > 0)),
            ("variables of a chat template", !asked.request.template_variables.is_empty()),
        ])?;
        let (system, turns) = turns(asked, "assistant", |index, message| blocks(asked, index, message))?;
        let message = |(role, content): (&str, Vec<Value>)| json!({"role": role, "content": content});
        let messages: Vec<Value> = turns.into_iter().map(message).collect();
        let mut body = Map::new();
        let mut insert = |field: &str, value: Option<Value>| body.extend(value.map(|value| (field.to_owned(), value)));
        insert("model", Some(asked.model.into()));
        insert("max_tokens", Some(options.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS).into()));
        insert("system", system.map(Value::from));
        insert("messages", Some(messages.into()));
        insert("stream", asked.streams.then(|| true.into()));
        insert("temperature", options.temperature.map(|number| asked.number("temperature", number)).transpose()?);
        insert("top_p", options.top_p.map(|number| asked.number("top_p", number)).transpose()?);
        insert("top_k", options.top_k.map(Value::from));
        insert("stop_sequences", (!options.stop.is_empty()).then(|| options.stop.clone().into()));
        insert("thinking", thinking(asked)?);
        let held = tools(asked, &mut body)?;
        Ok(Outgoing { path: "/messages".to_owned(), body: body.into(), held })
    }

    fn holds_tools(&self) -> bool {
        true
    }

    fn reader(&self, request: &ChatRequest) -> Box<dyn Reader> {
        let stop = request.options.stop.clone();
        Box::new(Blocks { is_held: request.format.is_some(), stop, open: Vec::new(), input: InputCounts::default() })
    }
}

fn thinking(asked: &Asked<'_>) -> Result<Option<Value>, ChatError> {
    let request = asked.request;
    match (request.think, request.thought_tokens) {
        (Some(false), _) => Ok(Some(json!({"type": "disabled"}))),
        (None, None) => Ok(None),
        (Some(true), None) => asked.refuse("thought_tokens: expected a number where it is to think, got none"),
        (_, Some(_)) if request.format.is_some() => asked.decline("thinking before an answer that is held to a format"),
        (_, Some(budget)) => Ok(Some(json!({"type": "enabled", "budget_tokens": budget}))),
    }
}

/// The tools, with the one that makes a format; what the answer is held to.
fn tools(asked: &Asked<'_>, body: &mut Map<String, Value>) -> Result<Held, ChatError> {
    let request = asked.request;
    let sent = sent(asked.name, request.format.as_ref(), true)?;
    let has_tools = !request.tools.is_empty() && request.tool_choice != ToolChoice::None;
    if request.format.is_some() {
        asked.decline_any(&[("tools beside an answer that is held to a format", has_tools)])?;
        let schema = sent.schema.unwrap_or_else(|| json!({"type": "object"}));
        let tool = json!({"name": ANSWER_TOOL, "description": "Takes the answer.", "input_schema": schema});
        body.insert("tools".to_owned(), json!([tool]));
        let choice = json!({"type": "tool", "name": ANSWER_TOOL, "disable_parallel_tool_use": true});
        body.insert("tool_choice".to_owned(), choice);
    } else if has_tools {
        let tool = |tool: &chat::Tool| {
            let function = &tool.definition["function"];
            let schema = function.get("parameters").cloned().unwrap_or_else(|| json!({"type": "object"}));
            let mut object = json!({"name": tool.name, "input_schema": schema});
            if let Some(description) = function.get("description") {
                object["description"] = description.clone();
            }
            if tool.strict {
                object["strict"] = true.into();
            }
            object
        };
        body.insert("tools".to_owned(), request.tools.iter().map(tool).collect());
        let mut choice = match &request.tool_choice {
            ToolChoice::Required => json!({"type": "any"}),
            ToolChoice::Named(name) => json!({"type": "tool", "name": name}),
            ToolChoice::Auto | ToolChoice::None => json!({"type": "auto"}),
        };
        if request.one_tool_call {
            choice["disable_parallel_tool_use"] = true.into();
        }
        body.insert("tool_choice".to_owned(), choice);
    }
    Ok(sent.held)
}

/// The blocks of a message. A thought goes back only with its signature, which is not kept; so it stays out, as the
/// reference allows for turns that are over.
fn blocks(asked: &Asked<'_>, index: usize, message: &Message) -> Result<Vec<Value>, ChatError> {
    if message.role == Role::Tool {
        let Some(id) = &message.tool_call_id else {
            return asked.refuse(format_args!("messages[{index}].tool_call_id: expected the id of a call, got none"));
        };
        return Ok(vec![json!({"type": "tool_result", "tool_use_id": id, "content": message.content})]);
    }
    let mut blocks = Vec::new();
    if !message.content.is_empty() {
        blocks.push(json!({"type": "text", "text": message.content}));
    }
    for call in &message.tool_calls {
        blocks.push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}));
    }
    Ok(blocks)
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: MessageField,
    },
    ContentBlockStart {
        index: usize,
        content_block: Block,
    },
    ContentBlockDelta {
        index: usize,
        delta: Piece,
    },
    ContentBlockStop {},
    MessageDelta {
        delta: Ending,
        usage: Option<UsageField>,
    },
    MessageStop {},
    /// `ping`, and kinds that are yet to come, which the reference says to pass over.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct MessageField {
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: Option<UsageField>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
    },
    /// A thought that is not shown.
    RedactedThinking {},
    ToolUse {
        id: String,
        name: String,
        input: Value,
    },
}

/// A piece of a block.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Piece {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    /// Vouches for the thought before it.
    #[serde(rename = "signature_delta")]
    Signature {},
    #[serde(rename = "input_json_delta")]
    Input { partial_json: String },
}

#[derive(Deserialize)]
struct Ending {
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

#[derive(Deserialize)]
struct UsageField {
    input_tokens: Option<usize>,
    output_tokens: Option<usize>,
    cache_creation_input_tokens: Option<usize>,
    cache_read_input_tokens: Option<usize>,
}

/// Counts of the prompt, which come first and may come again.
#[derive(Default)]
struct InputCounts {
    computed: usize,
    written: usize,
    read: usize,
}

/// Reads an answer.
struct Blocks {
    /// The answer is what the tool is called with.
    is_held: bool,
    stop: Vec<String>,
    /// Of each call, its index in the stream and in the answer.
    open: Vec<(usize, usize)>,
    input: InputCounts,
}

impl Reader for Blocks {
    fn event(&mut self, data: &str, answer: &mut Answer) -> Result<(), Trouble> {
        let value: Value = serde_json::from_str(data).map_err(|error| not_json(&error, data))?;
        if value["type"] == "error" {
            return Err(Said::of_value(&value).in_stream());
        }
        match serde_json::from_value(value).map_err(|error| not_json(&error, data))? {
            Event::MessageStart { message } => {
                self.usage(message.usage, answer);
            }
            Event::ContentBlockStart { index, content_block } => self.begin(index, content_block, false, answer)?,
            Event::ContentBlockDelta { index, delta } => self.delta(index, &delta, answer)?,
            Event::MessageDelta { delta, usage } => {
                self.usage(usage, answer);
                self.end(delta.stop_reason.as_deref(), delta.stop_sequence, answer)?;
            }
            Event::MessageStop {} => answer.is_over = true,
            Event::ContentBlockStop {} | Event::Other => {}
        }
        Ok(())
    }

    fn whole(&mut self, body: &str, answer: &mut Answer) -> Result<(), Trouble> {
        let message: MessageField = serde_json::from_str(body).map_err(|error| not_json(&error, body))?;
        self.usage(message.usage, answer);
        for (index, block) in message.content.into_iter().enumerate() {
            self.begin(index, block, true, answer)?;
        }
        self.end(message.stop_reason.as_deref(), message.stop_sequence, answer)
    }
}

impl Blocks {
    /// A block, whole or only its beginning, in which a call's input is still empty.
    fn begin(&mut self, place: usize, block: Block, is_whole: bool, answer: &mut Answer) -> Result<(), Trouble> {
        match block {
            Block::Text { text } if self.is_held && text.is_empty() => Ok(()),
            Block::Text { text } => self.said(&text, answer),
            Block::Thinking { thinking } => answer.thought(&thinking),
            Block::RedactedThinking {} => Ok(()),
            Block::ToolUse { input, .. } if self.is_held => {
                if is_whole {
                    answer.text(&input.to_string(), Vec::new())
                } else {
                    Ok(())
                }
            }
            Block::ToolUse { id, name, input } => {
                let index = answer.call(Some(&id), &name)?;
                self.open.push((place, index));
                if is_whole { answer.arguments(index, &input.to_string()) } else { Ok(()) }
            }
        }
    }

    fn delta(&mut self, place: usize, delta: &Piece, answer: &mut Answer) -> Result<(), Trouble> {
        match delta {
            Piece::Text { text } => self.said(text, answer),
            Piece::Thinking { thinking } => answer.thought(thinking),
            Piece::Signature {} => Ok(()),
            Piece::Input { partial_json } if self.is_held => answer.text(partial_json, Vec::new()),
            Piece::Input { partial_json } => match self.open.iter().find(|(known, _)| *known == place) {
                Some((_, index)) => answer.arguments(*index, partial_json),
                None => {
                    Err(Trouble::passing(format!("expected the block {place} to be a call, got input without one")))
                }
            },
        }
    }

    /// Text beside the call that the answer was to be is no answer.
    fn said(&self, text: &str, answer: &mut Answer) -> Result<(), Trouble> {
        if self.is_held {
            let beginning: String = text.chars().take(80).collect();
            let message = format!("expected the answer in its format, got text: {beginning:?}");
            return Err(ChatError::BadOutput(message).into());
        }
        answer.text(text, Vec::new())
    }

    fn usage(&mut self, usage: Option<UsageField>, answer: &mut Answer) {
        let Some(usage) = usage else { return };
        let input = &mut self.input;
        input.computed = usage.input_tokens.unwrap_or(input.computed);
        input.written = usage.cache_creation_input_tokens.unwrap_or(input.written);
        input.read = usage.cache_read_input_tokens.unwrap_or(input.read);
        answer.counts = Some(Counts {
            prompt: input.computed.saturating_add(input.written).saturating_add(input.read),
            cached: input.read,
            completion: usage.output_tokens.unwrap_or(0),
        });
    }

    fn end(&self, reason: Option<&str>, stop: Option<String>, answer: &mut Answer) -> Result<(), Trouble> {
        let bad = |message: &str| Err(ChatError::BadOutput(message.to_owned()).into());
        answer.reason = Some(match reason {
            None => return Ok(()),
            Some("end_turn" | "stop_sequence") => FinishReason::Stop,
            Some("tool_use") if self.is_held => FinishReason::Stop,
            Some("tool_use") => FinishReason::ToolCalls,
            Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
            Some("refusal") => return bad("the model refused to answer (stop_reason refusal)"),
            Some(other) => return bad(&format!("the answer ended as {other:?}, which is unknown here")),
        });
        answer.stop = stop.and_then(|stop| self.stop.iter().position(|known| *known == stop));
        Ok(())
    }
}

#[cfg(test)]
#[path = "anthropic_tests.rs"]
mod tests;
