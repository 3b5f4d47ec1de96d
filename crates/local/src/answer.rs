//! Ids to events: what a listener to one answer does with its tokens.
//!
//! ```text
//! token -> whole characters -> thought | text -> up to a stop string -> ChatEvent
//! ```
//!
//! Read next: `thought` and `stop`, the two filters.

use crate::stop::{Scanned, StopScanner};
use crate::thought::{CLOSE, OPEN, Part, ThoughtSplitter};
use crate::worker::{Listener, Next, with_text};
use chat::{ChatError, ChatEvent, TokenLogprob, Usage};
use engine::{Counts, FinishReason};
use futures::channel::mpsc::UnboundedSender;
use std::sync::Arc;
use std::time::Instant;
use tokenizer::{StreamDecoder, Tokenizer};

/// Makes the events of one answer.
pub(crate) struct Answer {
    tokenizer: Arc<Tokenizer>,
    decoder: StreamDecoder,
    /// Special tokens that the decoder leaves out but that open or close a thought.
    marks: Vec<(u32, &'static str)>,
    thoughts: ThoughtSplitter,
    stops: StopScanner,
    /// Tokens whose text is not out yet, where log-probabilities were asked for.
    logprobs: Vec<TokenLogprob>,
    events: UnboundedSender<Result<ChatEvent, ChatError>>,
    usage: Usage,
    /// Tokens that no event has told of yet.
    untold: usize,
    submitted: Instant,
    started: Option<Instant>,
    first_token: Option<Instant>,
    /// When a stop string came.
    stopped: Option<Instant>,
}

impl Answer {
    pub(crate) fn new(
        tokenizer: Arc<Tokenizer>,
        thoughts: Option<ThoughtSplitter>,
        stops: Vec<String>,
        prompt_tokens: usize,
        events: UnboundedSender<Result<ChatEvent, ChatError>>,
    ) -> Answer {
        let mark = |text: &'static str| {
            let id = tokenizer.id_of(text).filter(|&id| tokenizer.is_special(id))?;
            Some((id, text))
        };
        let marks = if thoughts.is_some() { [mark(OPEN), mark(CLOSE)].into_iter().flatten().collect() } else { vec![] };
        Answer {
            decoder: tokenizer.decoder(),
            tokenizer,
            marks,
            thoughts: thoughts.unwrap_or_else(ThoughtSplitter::off),
            stops: StopScanner::new(stops),
            logprobs: Vec::new(),
            events,
            usage: Usage { prompt_tokens, ..Usage::default() },
            untold: 0,
            submitted: Instant::now(),
            started: None,
            first_token: None,
            stopped: None,
        }
    }

    fn send(&self, event: ChatEvent) {
        // A reader that has gone is noticed before the next step.
        let _ = self.events.unbounded_send(Ok(event));
    }

    fn send_text(&mut self, text: String) {
        if !text.is_empty() {
            let (tokens, logprobs) = (std::mem::take(&mut self.untold), std::mem::take(&mut self.logprobs));
            self.send(ChatEvent::Text { text, tokens, logprobs });
        }
    }

    /// Takes whole characters through the filters.
    fn pass(&mut self, parts: Vec<Part>) -> Next {
        for part in parts {
            match part {
                Part::Thought(text) => {
                    self.logprobs.clear();
                    let tokens = std::mem::take(&mut self.untold);
                    self.send(ChatEvent::Thought { text, tokens });
                }
                Part::Text(text) => {
                    let Scanned { text, stopped } = self.stops.push(&text);
                    self.send_text(text);
                    if stopped {
                        return Next::Stop;
                    }
                }
            }
        }
        Next::GoOn
    }

    /// Sends what the filters held back.
    fn flush(&mut self) -> Next {
        let rest = self.decoder.clone().finish();
        let mut parts = if rest.is_empty() { Vec::new() } else { self.thoughts.push(&rest) };
        parts.extend(self.thoughts.finish());
        if self.pass(parts) == Next::Stop {
            return Next::Stop;
        }
        let rest = self.stops.finish();
        self.send_text(rest);
        Next::GoOn
    }

    fn close(&mut self, reason: chat::FinishReason) {
        let now = self.stopped.unwrap_or_else(Instant::now);
        let first = self.first_token.unwrap_or(now);
        self.usage.prompt_seconds = first - self.started.unwrap_or(self.submitted).min(first);
        self.usage.first_token_seconds = first - self.submitted;
        self.usage.generation_seconds = now - first;
        self.send(ChatEvent::Finished { reason, usage: self.usage });
    }
}

impl Listener for Answer {
    fn started(&mut self, at: Instant) {
        self.started = Some(at);
    }

    fn token(&mut self, token: u32, logprob: Option<f32>, top: &[engine::TokenLogprob]) -> Next {
        self.usage.completion_tokens += 1;
        self.untold += 1;
        self.first_token.get_or_insert_with(Instant::now);
        if let Some(logprob) = logprob {
            let mut entry = with_text(&self.tokenizer, engine::TokenLogprob { token, logprob });
            entry.top = top.iter().map(|&one| with_text(&self.tokenizer, one)).collect();
            self.logprobs.push(entry);
        }
        let mut text = self.decoder.push(token);
        if let Some((_, mark)) = self.marks.iter().find(|(id, _)| *id == token) {
            text.push_str(mark);
        }
        if text.is_empty() {
            return Next::GoOn;
        }
        let parts = self.thoughts.push(&text);
        let next = self.pass(parts);
        if next == Next::Stop {
            self.stopped = Some(Instant::now());
        }
        next
    }

    fn reading(&mut self, read: usize, total: usize) {
        self.send(ChatEvent::Reading { read_tokens: read, total_tokens: total });
    }

    fn scored(&mut self, _: &[engine::TokenLogprob], _: Vec<f32>) {}

    fn finished(&mut self, end: Result<FinishReason, ChatError>, counts: Counts) {
        self.usage.cached_tokens = counts.cached_tokens;
        self.usage.drafted_tokens = counts.drafted_tokens;
        self.usage.accepted_tokens = counts.accepted_tokens;
        if self.stopped.is_some() {
            return self.close(chat::FinishReason::Stop);
        }
        let reason = match end {
            Err(error) => Err(error),
            Ok(FinishReason::Stop(_)) => {
                self.usage.completion_tokens += 1;
                Ok(chat::FinishReason::Stop)
            }
            Ok(FinishReason::Length) => Ok(chat::FinishReason::Length),
            Ok(FinishReason::Cancelled) => Ok(chat::FinishReason::Cancelled),
            Ok(FinishReason::Constraint(text)) => Err(ChatError::InvalidRequest(text)),
            Ok(reason @ (FinishReason::BrokenLogits { .. } | FinishReason::Abandoned)) => Err(broken(&reason)),
        };
        match reason {
            Ok(reason) => {
                let reason = if self.flush() == Next::Stop { chat::FinishReason::Stop } else { reason };
                self.close(reason);
            }
            Err(error) => {
                let _ = self.events.unbounded_send(Err(error));
            }
        }
    }

    fn is_gone(&self) -> bool {
        self.events.is_closed()
    }
}

/// The error for an end that no request asks for.
pub(crate) fn broken(reason: &FinishReason) -> ChatError {
    ChatError::Internal(match reason {
        FinishReason::BrokenLogits { position } => format!(
            "the model's output at position {position} is not a number\n\
             hint: the file may be damaged; pull or convert it again"
        ),
        other => format!("the sequence ended as {other:?}"),
    })
}
