//! An answer of `generate` or `chat`: whole, and line by line.
//!
//! Both have the same frame and differ in what stands for the text: `response`, or a `message`.

use super::time::now;
use crate::answering::{Whole, WholeCall};
use crate::failure::{Failure, FailureKind};
use crate::stream::{Writer, put_line};
use chat::{ChatEvent, FinishReason, TokenLogprob, Usage};
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// What stands for the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A message, as `chat` answers.
    Message,
    /// Plain text, as `generate` answers.
    Response,
}

/// A message of the model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
struct MessageObject {
    /// Always `assistant`.
    role: &'static str,
    content: String,
    /// What the model thought before it answered.
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallObject>,
}

/// A call of a tool.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ToolCall)]
pub(super) struct CallObject {
    id: String,
    function: FunctionObject,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CalledFunction)]
struct FunctionObject {
    /// Which call of the answer, from 0.
    index: usize,
    name: String,
    /// An object.
    arguments: Map<String, Value>,
}

impl CallObject {
    fn of(index: usize, call: WholeCall) -> Result<CallObject, Failure> {
        let arguments = serde_json::from_str(&call.arguments).map_err(|error| {
            let message = format!("the model called {} with what is no JSON object: {error}", call.name);
            Failure::new(FailureKind::BadOutput, message)
        })?;
        Ok(CallObject { id: call.id, function: FunctionObject { index, name: call.name, arguments } })
    }
}

/// A generated token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Logprob)]
struct LogprobObject {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
    top_logprobs: Vec<TopLogprobObject>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopLogprob)]
struct TopLogprobObject {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl From<TokenLogprob> for LogprobObject {
    fn from(token: TokenLogprob) -> LogprobObject {
        let top = token.top.into_iter();
        let top = top.map(|top| TopLogprobObject { token: top.text, logprob: top.logprob, bytes: top.bytes });
        LogprobObject { token: token.text, logprob: token.logprob, bytes: token.bytes, top_logprobs: top.collect() }
    }
}

/// Counts and times; all times in nanoseconds.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = Took)]
struct Took {
    /// From the request to the end of the answer.
    total_duration: u64,
    /// Waiting until the model was in memory.
    load_duration: u64,
    prompt_eval_count: usize,
    prompt_eval_duration: u64,
    eval_count: usize,
    eval_duration: u64,
    /// Extension: tokens of the prompt that were not computed, because an earlier request began with the same.
    cached_tokens: usize,
}

/// One object or line of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answer {
    model: String,
    created_at: String,
    /// Of `chat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageObject>,
    /// Of `generate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<String>,
    /// Of `generate`: what the model thought before it answered.
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    /// Whether it is the last.
    done: bool,
    /// `stop`, `length`, `load` or `unload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<LogprobObject>,
    #[serde(flatten)]
    #[schema(inline)]
    took: Option<Took>,
    /// Extension: what of the request had no effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// What is known of an answer before it begins.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) shape: Shape,
    /// The name by which the model was asked for.
    pub(super) model: String,
    /// When the request came.
    pub(super) began: Instant,
    /// How long the model took to be in memory.
    pub(super) load: Duration,
    pub(super) warnings: Vec<String>,
}

impl Head {
    fn piece(&self, text: String, thought: String, calls: Vec<CallObject>) -> Answer {
        let (message, response, thinking) = match self.shape {
            Shape::Message => {
                let message = MessageObject { role: "assistant", content: text, thinking: thought, tool_calls: calls };
                (Some(message), None, String::new())
            }
            Shape::Response => (None, Some(text), thought),
        };
        Answer {
            model: self.model.clone(),
            created_at: now(),
            message,
            response,
            thinking,
            done: false,
            done_reason: None,
            logprobs: Vec::new(),
            took: None,
            warnings: Vec::new(),
        }
    }

    /// The last object, with all that was said, or what was left to say.
    fn last(&mut self, piece: Answer, reason: Option<FinishReason>, usage: &Usage) -> Answer {
        let took = Took {
            total_duration: nanoseconds(self.began.elapsed()),
            load_duration: nanoseconds(self.load),
            prompt_eval_count: usage.prompt_tokens,
            prompt_eval_duration: nanoseconds(usage.prompt_seconds),
            eval_count: usage.completion_tokens,
            eval_duration: nanoseconds(usage.generation_seconds),
            cached_tokens: usage.cached_tokens,
        };
        let warnings = std::mem::take(&mut self.warnings);
        Answer { done: true, done_reason: Some(done_reason(reason)), took: Some(took), warnings, ..piece }
    }

    /// The answer to a request that only loads or unloads.
    pub(super) fn nothing_said(mut self, reason: &'static str) -> Answer {
        let warnings = std::mem::take(&mut self.warnings);
        let piece = self.piece(String::new(), String::new(), Vec::new());
        Answer { done: true, done_reason: Some(reason), warnings, ..piece }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn done_reason(reason: Option<FinishReason>) -> &'static str {
    match reason {
        Some(FinishReason::Stop | FinishReason::ToolCalls) => "stop",
        // An answer that was cut off in another way is as incomplete.
        Some(FinishReason::Length | FinishReason::Cancelled) | None => "length",
    }
}

/// A whole answer.
pub(super) fn whole(mut head: Head, answer: Whole) -> Result<Answer, Failure> {
    let calls = answer.calls.into_iter().enumerate().map(|(index, call)| CallObject::of(index, call));
    let mut piece = head.piece(answer.text, answer.thought, calls.collect::<Result<_, _>>()?);
    piece.logprobs = answer.logprobs.into_iter().map(LogprobObject::from).collect();
    Ok(head.last(piece, answer.reason, &answer.usage))
}

/// Writes an answer line by line. A call of a tool is one line, once all that it is called with is there.
pub(super) struct Lines {
    head: Head,
    /// The call whose arguments are coming.
    call: Option<(usize, WholeCall)>,
    /// A failure was written: nothing follows.
    failed: bool,
}

impl Lines {
    pub(super) fn new(head: Head) -> Lines {
        Lines { head, call: None, failed: false }
    }

    fn put(&self, text: String, thought: String, logprobs: Vec<TokenLogprob>, out: &mut String) {
        let mut piece = self.head.piece(text, thought, Vec::new());
        piece.logprobs = logprobs.into_iter().map(LogprobObject::from).collect();
        put_line(out, &piece);
    }

    /// Writes the call that is complete, if there is one.
    fn put_call(&mut self, out: &mut String) {
        let Some((index, call)) = self.call.take() else { return };
        match CallObject::of(index, call) {
            Ok(call) => put_line(out, &self.head.piece(String::new(), String::new(), vec![call])),
            Err(failure) => {
                self.failure(&failure, out);
                self.failed = true;
            }
        }
    }
}

impl Writer for Lines {
    fn event(&mut self, _: usize, event: ChatEvent, out: &mut String) {
        if !matches!(event, ChatEvent::ToolArguments { .. }) {
            self.put_call(out);
        }
        if self.failed {
            return;
        }
        match event {
            ChatEvent::Started { .. } | ChatEvent::Reading { .. } | ChatEvent::Prompt { .. } => {}
            ChatEvent::Text { text, logprobs, .. } => self.put(text, String::new(), logprobs, out),
            ChatEvent::Thought { text, .. } => self.put(String::new(), text, Vec::new(), out),
            ChatEvent::ToolCall { index, id, name, .. } => {
                self.call = Some((index, WholeCall { id, name, arguments: String::new() }));
            }
            ChatEvent::ToolArguments { json, .. } => {
                if let Some((_, call)) = &mut self.call {
                    call.arguments.push_str(&json);
                }
            }
            ChatEvent::Finished { reason, usage, .. } => {
                let piece = self.head.piece(String::new(), String::new(), Vec::new());
                put_line(out, &self.head.last(piece, Some(reason), &usage));
            }
        }
    }

    fn failure(&mut self, failure: &Failure, out: &mut String) {
        put_line(out, &super::error(failure));
    }
}
