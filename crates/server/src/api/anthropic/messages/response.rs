//! An answer, whole and as events.
//!
//! ```text
//! message_start ping (content_block_start content_block_delta* content_block_stop)* message_delta message_stop
//! ```

use crate::admit::random_text;
use crate::answering::Whole;
use crate::api::anthropic::error;
use crate::failure::{Failure, FailureKind};
use crate::stream::{Writer, put_event};
use chat::{ChatEvent, FinishReason, Usage};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// What is known of an answer before it begins.
#[derive(Debug)]
pub(super) struct Head {
    id: String,
    /// The name by which the model was asked for.
    model: String,
    stop_sequences: Vec<String>,
    warnings: Vec<String>,
}

impl Head {
    pub(super) fn new(model: String, stop_sequences: Vec<String>, warnings: Vec<String>) -> Head {
        Head { id: format!("msg_{}", random_text(24)), model, stop_sequences, warnings }
    }
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct MessageObject {
    id: String,
    /// Always `message`.
    r#type: &'static str,
    /// Always `assistant`.
    role: &'static str,
    model: String,
    content: Vec<BlockObject>,
    /// `end_turn`, `max_tokens`, `stop_sequence` or `tool_use`; null before the end.
    stop_reason: Option<&'static str>,
    /// The stop sequence that came.
    stop_sequence: Option<String>,
    usage: UsageObject,
    /// Extension: what of the request had no effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// A block of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnswerBlock)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockObject {
    /// What the model thought before it answered; nobody signs it here.
    Thinking {
        thinking: String,
        signature: &'static str,
    },
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Map<String, Value>,
    },
}

/// Tokens.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = Usage)]
struct UsageObject {
    /// Tokens of the prompt that were computed.
    input_tokens: usize,
    output_tokens: usize,
    /// Always 0: what is kept costs nothing to keep.
    cache_creation_input_tokens: usize,
    /// Tokens of the prompt that were not computed, because an earlier request began with the same.
    cache_read_input_tokens: usize,
}

impl From<&Usage> for UsageObject {
    fn from(usage: &Usage) -> UsageObject {
        UsageObject {
            input_tokens: usage.prompt_tokens.saturating_sub(usage.cached_tokens),
            output_tokens: usage.completion_tokens,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: usage.cached_tokens,
        }
    }
}

/// The stop sequence that ended an answer.
fn stop_sequence(stop_sequences: &[String], usage: &Usage) -> Option<String> {
    usage.stop.and_then(|index| stop_sequences.get(index)).cloned()
}

/// The reference's word for why an answer ended.
fn stop_reason(reason: Option<FinishReason>, stop_sequence: Option<&String>) -> &'static str {
    match reason {
        Some(FinishReason::Stop) if stop_sequence.is_some() => "stop_sequence",
        Some(FinishReason::Stop) => "end_turn",
        Some(FinishReason::ToolCalls) => "tool_use",
        // An answer that was cut off in another way is as incomplete.
        Some(FinishReason::Length | FinishReason::Cancelled) | None => "max_tokens",
    }
}

impl MessageObject {
    fn begun(head: Head, prompt_tokens: usize) -> MessageObject {
        MessageObject {
            id: head.id,
            r#type: "message",
            role: "assistant",
            model: head.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: UsageObject::from(&Usage { prompt_tokens, ..Usage::default() }),
            warnings: head.warnings,
        }
    }

    pub(super) fn of(head: Head, answer: Whole) -> Result<MessageObject, Failure> {
        let stop_sequence = stop_sequence(&head.stop_sequences, &answer.usage);
        let mut message = MessageObject::begun(head, 0);
        if !answer.thought.is_empty() {
            message.content.push(BlockObject::Thinking { thinking: answer.thought, signature: "" });
        }
        if !answer.text.is_empty() {
            message.content.push(BlockObject::Text { text: answer.text });
        }
        let is_cut = !matches!(answer.reason, Some(FinishReason::Stop | FinishReason::ToolCalls));
        let last = answer.calls.len().wrapping_sub(1);
        for (index, call) in answer.calls.into_iter().enumerate() {
            match serde_json::from_str(&call.arguments) {
                Ok(input) => message.content.push(BlockObject::ToolUse { id: call.id, name: call.name, input }),
                // Half an object has no shape here.
                Err(_) if is_cut && index == last => {
                    message
                        .warnings
                        .push(format!("the answer was cut short in a call of {}, which is left out", call.name));
                }
                Err(error) => {
                    let message = format!("the model called {} with what is no JSON object: {error}", call.name);
                    return Err(Failure::new(FailureKind::BadOutput, message));
                }
            }
        }
        message.stop_reason = Some(stop_reason(answer.reason, stop_sequence.as_ref()));
        message.stop_sequence = stop_sequence;
        message.usage = UsageObject::from(&answer.usage);
        Ok(message)
    }
}

/// The kind of the block that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Thinking,
    Text,
    /// The call of this index.
    Call(usize),
}

/// Writes the events of an answer.
pub(super) struct Events {
    head: Option<Head>,
    stop_sequences: Vec<String>,
    open: Option<Open>,
    /// Blocks that were begun.
    blocks: usize,
}

impl Events {
    pub(super) fn new(head: Head) -> Events {
        Events { stop_sequences: head.stop_sequences.clone(), head: Some(head), open: None, blocks: 0 }
    }

    /// Begins a block, unless one of its kind is under way.
    fn open(&mut self, kind: Open, block: Value, out: &mut String) {
        if self.open == Some(kind) {
            return;
        }
        self.close(out);
        let event = json!({"type": "content_block_start", "index": self.blocks, "content_block": block});
        put(out, event);
        self.blocks += 1;
        self.open = Some(kind);
    }

    fn delta(&self, delta: Value, out: &mut String) {
        put(out, json!({"type": "content_block_delta", "index": self.blocks.saturating_sub(1), "delta": delta}));
    }

    fn close(&mut self, out: &mut String) {
        let Some(kind) = self.open.take() else { return };
        if kind == Open::Thinking {
            self.delta(json!({"type": "signature_delta", "signature": ""}), out);
        }
        put(out, json!({"type": "content_block_stop", "index": self.blocks.saturating_sub(1)}));
    }
}

/// Writes an event under the name that is its type.
fn put(out: &mut String, event: Value) {
    put_event(out, event["type"].as_str(), &event);
}

impl Writer for Events {
    fn begin(&mut self, prompt_tokens: usize, out: &mut String) {
        if let Some(head) = self.head.take() {
            put(out, json!({"type": "message_start", "message": MessageObject::begun(head, prompt_tokens)}));
            put(out, json!({"type": "ping"}));
        }
    }

    fn event(&mut self, _: usize, event: ChatEvent, out: &mut String) {
        match event {
            ChatEvent::Started { .. } | ChatEvent::Reading { .. } | ChatEvent::Prompt { .. } => {}
            ChatEvent::Text { text, .. } => {
                self.open(Open::Text, json!({"type": "text", "text": ""}), out);
                self.delta(json!({"type": "text_delta", "text": text}), out);
            }
            ChatEvent::Thought { text, .. } => {
                self.open(Open::Thinking, json!({"type": "thinking", "thinking": "", "signature": ""}), out);
                self.delta(json!({"type": "thinking_delta", "thinking": text}), out);
            }
            ChatEvent::ToolCall { index, id, name, .. } => {
                let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                self.open(Open::Call(index), block, out);
            }
            ChatEvent::ToolArguments { json, .. } => {
                self.delta(json!({"type": "input_json_delta", "partial_json": json}), out);
            }
            ChatEvent::Finished { reason, usage, .. } => {
                self.close(out);
                let stop_sequence = stop_sequence(&self.stop_sequences, &usage);
                let reason = stop_reason(Some(reason), stop_sequence.as_ref());
                let delta = json!({"stop_reason": reason, "stop_sequence": stop_sequence});
                let usage = UsageObject::from(&usage);
                put(out, json!({"type": "message_delta", "delta": delta, "usage": usage}));
            }
        }
    }

    fn end(&mut self, out: &mut String) {
        put(out, json!({"type": "message_stop"}));
    }

    fn failure(&mut self, failure: &Failure, out: &mut String) {
        put_event(out, Some("error"), &error(failure));
    }
}
