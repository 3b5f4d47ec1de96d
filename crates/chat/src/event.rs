//! What comes back while a model answers.

use crate::ChatError;
use futures::stream::Stream;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::time::Duration;

/// A stream of events: one `Started`, `Reading` while a long prompt is read, then text and thought as they are made, then one `Finished`, or an error as
/// its last item. Dropping it cancels the request.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatEvent, ChatError>> + Send>>;

/// One event of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ChatEvent {
    /// The request was admitted.
    Started {
        /// Tokens of the prompt, template included.
        prompt_tokens: usize,
    },
    /// All tokens of the prompt, where their log-probabilities were asked for; comes once, before what is generated.
    Prompt {
        /// The tokens in order.
        tokens: Vec<PromptToken>,
    },
    /// A part of the prompt was read, and more of it is left. A short prompt is read at once, without such an event.
    Reading {
        /// Tokens that are read.
        read_tokens: usize,
        /// Tokens to be read before one is generated.
        total_tokens: usize,
    },
    /// A piece of the answer; whole UTF-8 characters, never empty.
    Text {
        /// The piece.
        text: String,
        /// Tokens generated since the event before: what a reader who stops here has had, summed over all events.
        tokens: usize,
        /// The tokens that made it, where log-probabilities were asked for; else empty.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        logprobs: Vec<TokenLogprob>,
    },
    /// A piece of the model's thought, kept apart from the answer.
    Thought {
        /// The piece.
        text: String,
        /// Tokens generated since the event before.
        tokens: usize,
    },
    /// The answer calls a tool. What it is called with follows in [`ChatEvent::ToolArguments`].
    ToolCall {
        /// Which call of the answer, from 0.
        index: usize,
        /// Names the call within its conversation.
        id: String,
        /// The tool.
        name: String,
        /// Tokens generated since the event before.
        tokens: usize,
    },
    /// A piece of the JSON object that a tool is called with; all pieces of a call together are valid.
    ToolArguments {
        /// Which call of the answer.
        index: usize,
        /// The piece.
        json: String,
        /// Tokens generated since the event before.
        tokens: usize,
    },
    /// The answer has ended; nothing follows.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// What it took.
        usage: Usage,
    },
}

/// A generated token with its log-probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// Token id.
    pub id: u32,
    /// Its text; a token may hold part of a character, then this shows U+FFFD.
    pub text: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, before temperature, penalties and truncation.
    pub logprob: f32,
    /// The most likely tokens at this position, best first, as many as were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TokenLogprob>,
}

/// A token of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PromptToken {
    /// Token id.
    pub id: u32,
    /// Its text; part of a character shows as U+FFFD.
    pub text: String,
    /// Natural logarithm of its probability given the tokens before it; `None` for the first.
    pub logprob: Option<f32>,
    /// The most likely tokens in its place, best first, as many as were asked for; none for the first.
    pub top: Vec<TokenLogprob>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model made an end token, or a stop string came.
    Stop,
    /// `max_tokens` or the context was reached: the answer may be incomplete.
    Length,
    /// It calls tools, whose results it waits for.
    ToolCalls,
    /// The caller dropped the stream or asked to cancel.
    Cancelled,
}

/// Counts and times of one request, and which stop string ended it. Times are wall-clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: usize,
    /// Those of them that were not computed, because an earlier request began with the same.
    pub cached_tokens: usize,
    /// Tokens generated, thought and end token included.
    pub completion_tokens: usize,
    /// Tokens that were guessed from what was said before, and computed on trial.
    pub drafted_tokens: usize,
    /// Those of them that were right: each spared a step of its own.
    pub accepted_tokens: usize,
    /// Which of the request's stop strings ended the answer, as an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<usize>,
    /// Seconds spent reading the prompt.
    #[serde(serialize_with = "seconds")]
    pub prompt_seconds: Duration,
    /// Seconds spent generating after the first token.
    #[serde(serialize_with = "seconds")]
    pub generation_seconds: Duration,
    /// Seconds from submission to the first token.
    #[serde(serialize_with = "seconds")]
    pub first_token_seconds: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
