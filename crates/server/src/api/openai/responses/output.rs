//! What an answer becomes: items, each told from its beginning to its end.
//!
//! One machine for both ways of answering: the stream tells its steps, the whole response its result. Read next: `events`.

use crate::admit::random_text;
use chat::{ChatEvent, FinishReason, TokenLogprob, Usage};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// An item of a response's output.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item {
    /// What the model thought.
    Reasoning { id: String, summary: Vec<Value>, content: Vec<Part>, status: ItemStatus },
    /// What it says.
    Message { id: String, role: &'static str, content: Vec<Part>, status: ItemStatus },
    /// What it calls.
    FunctionCall { id: String, call_id: String, name: String, arguments: String, status: ItemStatus },
}

/// A part of an item.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part {
    ReasoningText { text: String },
    OutputText { text: String, annotations: Vec<Value>, logprobs: Vec<PartLogprob> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ResponseItemStatus)]
pub(super) enum ItemStatus {
    InProgress,
    Completed,
    Incomplete,
}

/// A token with its log-probability.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct PartLogprob {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
    top_logprobs: Vec<PartTopLogprob>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct PartTopLogprob {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl From<TokenLogprob> for PartLogprob {
    fn from(token: TokenLogprob) -> PartLogprob {
        let top = |one: TokenLogprob| PartTopLogprob { token: one.text, logprob: one.logprob, bytes: one.bytes };
        PartLogprob {
            token: token.text,
            logprob: token.logprob,
            bytes: token.bytes,
            top_logprobs: token.top.into_iter().map(top).collect(),
        }
    }
}

/// Where steps are told: the name of an event and its fields.
pub(super) type Tell<'a> = &'a mut dyn FnMut(Value);

/// The output of a response as it grows.
pub(super) struct Output {
    items: Vec<Item>,
    /// The last item is not at its end.
    is_open: bool,
    logprobs: bool,
    pub(super) reason: Option<FinishReason>,
    pub(super) usage: Usage,
    pub(super) thought_tokens: usize,
}

impl Output {
    pub(super) fn new(logprobs: bool) -> Output {
        Output { items: Vec::new(), is_open: false, logprobs, reason: None, usage: Usage::default(), thought_tokens: 0 }
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Whether the answer ended before it was complete.
    pub(super) fn is_incomplete(&self) -> bool {
        !matches!(self.reason, Some(FinishReason::Stop | FinishReason::ToolCalls))
    }

    /// Takes an event of the model, and tells what it changes.
    pub(super) fn take(&mut self, event: ChatEvent, tell: Tell<'_>) {
        match event {
            ChatEvent::Started { .. } | ChatEvent::Reading { .. } | ChatEvent::Prompt { .. } => {}
            ChatEvent::Thought { text, tokens } => {
                self.thought_tokens += tokens;
                self.thought(&text, tell);
            }
            ChatEvent::Text { text, logprobs, .. } => self.text(&text, logprobs, tell),
            ChatEvent::ToolCall { id, name, .. } => {
                self.close(ItemStatus::Completed, tell);
                self.open(
                    Item::FunctionCall {
                        id: format!("fc_{}", random_text(24)),
                        call_id: id,
                        name,
                        arguments: String::new(),
                        status: ItemStatus::InProgress,
                    },
                    tell,
                );
            }
            ChatEvent::ToolArguments { json, .. } => self.arguments(&json, tell),
            ChatEvent::Finished { reason, usage } => {
                self.reason = Some(reason);
                self.usage = usage;
                let status = if self.is_incomplete() { ItemStatus::Incomplete } else { ItemStatus::Completed };
                self.close(status, tell);
            }
        }
    }

    fn open(&mut self, item: Item, tell: Tell<'_>) {
        let index = self.items.len();
        tell(json!({"type": "response.output_item.added", "output_index": index, "item": item}));
        self.items.push(item);
        self.is_open = true;
    }

    /// The place and id of the last item.
    fn last(&self) -> (usize, String) {
        let id = self.items.last().map_or("", |item| match item {
            Item::Reasoning { id, .. } | Item::Message { id, .. } | Item::FunctionCall { id, .. } => id,
        });
        (self.items.len().saturating_sub(1), id.to_owned())
    }

    fn open_part(&mut self, part: Part, tell: Tell<'_>) {
        let (index, id) = self.last();
        tell(json!({
            "type": "response.content_part.added", "item_id": id, "output_index": index, "content_index": 0, "part": part,
        }));
        if let Some(Item::Reasoning { content, .. } | Item::Message { content, .. }) = self.items.last_mut() {
            content.push(part);
        }
    }

    fn thought(&mut self, piece: &str, tell: Tell<'_>) {
        if !(self.is_open && matches!(self.items.last(), Some(Item::Reasoning { .. }))) {
            self.close(ItemStatus::Completed, tell);
            let id = format!("rs_{}", random_text(24));
            let (summary, content, status) = (Vec::new(), Vec::new(), ItemStatus::InProgress);
            self.open(Item::Reasoning { id, summary, content, status }, tell);
            self.open_part(Part::ReasoningText { text: String::new() }, tell);
        }
        let (index, id) = self.last();
        tell(json!({
            "type": "response.reasoning_text.delta", "item_id": id, "output_index": index, "content_index": 0,
            "delta": piece,
        }));
        if let Some(Item::Reasoning { content, .. }) = self.items.last_mut()
            && let Some(Part::ReasoningText { text }) = content.last_mut()
        {
            text.push_str(piece);
        }
    }

    fn text(&mut self, piece: &str, tokens: Vec<TokenLogprob>, tell: Tell<'_>) {
        if !(self.is_open && matches!(self.items.last(), Some(Item::Message { .. }))) {
            self.close(ItemStatus::Completed, tell);
            let id = format!("msg_{}", random_text(24));
            let status = ItemStatus::InProgress;
            self.open(Item::Message { id, role: "assistant", content: Vec::new(), status }, tell);
            let (text, annotations, logprobs) = (String::new(), Vec::new(), Vec::new());
            self.open_part(Part::OutputText { text, annotations, logprobs }, tell);
        }
        let tokens = if self.logprobs { tokens } else { Vec::new() };
        let tokens: Vec<PartLogprob> = tokens.into_iter().map(PartLogprob::from).collect();
        let (index, id) = self.last();
        tell(json!({
            "type": "response.output_text.delta", "item_id": id, "output_index": index, "content_index": 0,
            "delta": piece, "logprobs": tokens,
        }));
        if let Some(Item::Message { content, .. }) = self.items.last_mut()
            && let Some(Part::OutputText { text, logprobs, .. }) = content.last_mut()
        {
            text.push_str(piece);
            logprobs.extend(tokens);
        }
    }

    fn arguments(&mut self, piece: &str, tell: Tell<'_>) {
        let (index, id) = self.last();
        if let Some(Item::FunctionCall { arguments, .. }) = self.items.last_mut() {
            arguments.push_str(piece);
            tell(json!({
                "type": "response.function_call_arguments.delta", "item_id": id, "output_index": index, "delta": piece,
            }));
        }
    }

    /// Tells the end of the last item, where it has not ended.
    pub(super) fn close(&mut self, end: ItemStatus, tell: Tell<'_>) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let (index, item_id) = self.last();
        let Some(item) = self.items.last_mut() else { return };
        let done = |name: &str, field: &str, value: Value| {
            let mut event = json!({"type": name, "item_id": item_id, "output_index": index});
            if !matches!(field, "arguments") {
                event["content_index"] = json!(0);
            }
            event[field] = value;
            event
        };
        match item {
            Item::Reasoning { content, status, .. } => {
                *status = end;
                if let Some(part @ Part::ReasoningText { text }) = content.last() {
                    tell(done("response.reasoning_text.done", "text", json!(text)));
                    tell(done("response.content_part.done", "part", json!(part)));
                }
            }
            Item::Message { content, status, .. } => {
                *status = end;
                if let Some(part @ Part::OutputText { text, logprobs, .. }) = content.last() {
                    let mut event = done("response.output_text.done", "text", json!(text));
                    event["logprobs"] = json!(logprobs);
                    tell(event);
                    tell(done("response.content_part.done", "part", json!(part)));
                }
            }
            Item::FunctionCall { arguments, name, status, .. } => {
                *status = end;
                let mut event = done("response.function_call_arguments.done", "arguments", json!(arguments));
                event["name"] = json!(name);
                tell(event);
            }
        }
        tell(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    }
}
