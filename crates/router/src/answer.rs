//! An answer as it comes, whatever the protocol: pieces in, events out, and at the end the check that it is whole.
//!
//! Read next: `providers.rs` for who fills it.

use crate::failure::Trouble;
use crate::format::{Held, tokens_of};
use chat::{ChatError, ChatEvent, FinishReason, TokenLogprob, Usage};
use std::collections::VecDeque;

/// Bytes that an answer may have, with thought and calls.
const LONGEST_ANSWER: usize = 16 << 20;

/// What a provider counted, in the meaning of [`Usage`]: cached tokens are a part of the prompt's, thought is a part of
/// the completion's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) prompt: usize,
    pub(crate) cached: usize,
    pub(crate) completion: usize,
}

/// An answer under way.
pub(crate) struct Answer {
    name: String,
    held: Held,
    events: VecDeque<ChatEvent>,
    /// The text so far; kept where it is held to something.
    text: String,
    /// Its tokens, where the text waits for its end.
    waiting: Vec<TokenLogprob>,
    waiting_tokens: usize,
    bytes: usize,
    calls: usize,
    /// Counts so far; the last ones are true.
    pub(crate) counts: Option<Counts>,
    pub(crate) reason: Option<FinishReason>,
    /// The stop string that came, as an index.
    pub(crate) stop: Option<usize>,
    /// The protocol's own last word came.
    pub(crate) is_over: bool,
}

impl Answer {
    pub(crate) fn new(name: &str, held: Held) -> Answer {
        Answer {
            name: name.to_owned(),
            held,
            events: VecDeque::new(),
            text: String::new(),
            waiting: Vec::new(),
            waiting_tokens: 0,
            bytes: 0,
            calls: 0,
            counts: None,
            reason: None,
            stop: None,
            is_over: false,
        }
    }

    /// Whether anything of it was generated: then it is not asked for again.
    pub(crate) fn has_begun(&self) -> bool {
        self.bytes > 0 || self.calls > 0
    }

    /// The same question again, before anything came.
    pub(crate) fn begin_again(&mut self) {
        (self.counts, self.reason, self.stop, self.is_over) = (None, None, None, false);
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.bytes += bytes;
        if self.bytes > LONGEST_ANSWER {
            let message = format!("{}: expected an answer of at most {LONGEST_ANSWER} bytes, got more", self.name);
            return Err(ChatError::BadOutput(message).into());
        }
        Ok(())
    }

    /// A piece of text. Where the provider does not say how many tokens it is, one.
    pub(crate) fn text(&mut self, text: &str, logprobs: Vec<TokenLogprob>) -> Result<(), Trouble> {
        let tokens = logprobs.len().max(1);
        if text.is_empty() {
            return Ok(());
        }
        self.grow(text.len())?;
        if !matches!(self.held, Held::Free) {
            self.text.push_str(text);
        }
        if self.held.flows() {
            self.events.push_back(ChatEvent::Text { text: text.to_owned(), tokens, logprobs });
        } else {
            self.waiting.extend(logprobs);
            self.waiting_tokens += tokens;
        }
        Ok(())
    }

    /// A piece of thought.
    pub(crate) fn thought(&mut self, text: &str) -> Result<(), Trouble> {
        if !text.is_empty() {
            self.grow(text.len())?;
            self.events.push_back(ChatEvent::Thought { text: text.to_owned(), tokens: 1 });
        }
        Ok(())
    }

    /// The next call of a tool; its index is the answer.
    pub(crate) fn call(&mut self, id: Option<&str>, name: &str) -> Result<usize, Trouble> {
        self.grow(name.len())?;
        let index = self.calls;
        self.calls += 1;
        let id = id.map_or_else(|| format!("call_{index}"), str::to_owned);
        self.events.push_back(ChatEvent::ToolCall { index, id, name: name.to_owned(), tokens: 1 });
        Ok(index)
    }

    /// A piece of what a call is made with.
    pub(crate) fn arguments(&mut self, index: usize, json: &str) -> Result<(), Trouble> {
        if !json.is_empty() {
            self.grow(json.len())?;
            self.events.push_back(ChatEvent::ToolArguments { index, json: json.to_owned(), tokens: 1 });
        }
        Ok(())
    }

    /// The events since the last time.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = ChatEvent> {
        self.events.drain(..)
    }

    /// The end: what was held back, checked, and the last event. `usage` has the times.
    ///
    /// # Errors
    /// The answer broke off, its cost is unknown, or it is not what was asked for.
    pub(crate) fn finish(&mut self, usage: Usage) -> Result<(), Trouble> {
        let Some(reason) = self.reason else {
            return Err(Trouble::passing("the answer broke off before its end"));
        };
        let Some(counts) = self.counts else {
            let hint = "hint: have the endpoint count tokens in streams too, or ask it for whole answers";
            let message = format!("{}: expected counts of tokens (usage) with the answer, got none\n{hint}", self.name);
            return Err(ChatError::BadOutput(message).into());
        };
        // An answer that is too short for its format is the beginning of one; one that calls tools is none.
        let is_checked = reason == FinishReason::Stop && (self.calls == 0 || !self.text.is_empty());
        if is_checked && let Some(text) = self.held.check(&self.name, &self.text)? {
            let logprobs = tokens_of(&text, &self.text, &self.waiting);
            if !text.is_empty() {
                self.events.push_back(ChatEvent::Text { text, tokens: self.waiting_tokens, logprobs });
            }
        }
        let usage = Usage {
            prompt_tokens: counts.prompt,
            cached_tokens: counts.cached,
            completion_tokens: counts.completion,
            stop: self.stop,
            ..usage
        };
        self.events.push_back(ChatEvent::Finished { reason, usage });
        Ok(())
    }
}
