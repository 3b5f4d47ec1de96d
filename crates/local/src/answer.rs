//! Ids to events: what a listener to one answer does with its tokens.
//!
//! ```text
//! token -> whole characters -> thought | text -> calls of tools | text -> up to a stop string -> ChatEvent
//! ```
//!
//! Stop strings are looked for in the answer's text, not in thoughts and calls. Read next: `thought`, `tools/parser` and
//! `stop`, the three filters.

use crate::prompt_report::PromptReport;
use crate::stop::{Scanned, StopScanner};
use crate::thought::{CLOSE, OPEN, Part, ThoughtSplitter};
use crate::tools::{CallParser, Said};
use crate::worker::{Listener, Next, with_text};
use chat::{ChatError, ChatEvent, TokenLogprob, Usage};
use engine::{Counts, FinishReason};
use futures::channel::mpsc::UnboundedSender;
use std::sync::Arc;
use std::time::Instant;
use tokenizer::{StreamDecoder, Tokenizer};

/// What an answer is made of beside text.
#[derive(Default)]
pub(crate) struct Filters {
    /// Keeps thoughts apart; none for a model that has none.
    pub(crate) thoughts: Option<ThoughtSplitter>,
    /// Reads calls of tools; none where no tools are on offer.
    pub(crate) calls: Option<CallParser>,
    /// Strings that end the answer.
    pub(crate) stops: Vec<String>,
}

/// Makes the events of one answer.
pub(crate) struct Answer {
    tokenizer: Arc<Tokenizer>,
    decoder: StreamDecoder,
    /// Special tokens that the decoder leaves out but that open or close a thought or a call.
    marks: Vec<(u32, &'static str)>,
    thoughts: ThoughtSplitter,
    calls: Option<CallParser>,
    stops: StopScanner,
    /// Tokens whose text is not out yet, where log-probabilities were asked for.
    logprobs: Vec<TokenLogprob>,
    /// Where the tokens of the prompt are to be reported, until they are.
    prompt: Option<PromptReport>,
    events: UnboundedSender<Result<ChatEvent, ChatError>>,
    usage: Usage,
    /// Tokens that no event has told of yet.
    untold: usize,
    submitted: Instant,
    started: Option<Instant>,
    first_token: Option<Instant>,
    /// When the answer was complete before its sequence was: a stop string came, or the one call that was asked for.
    stopped: Option<Instant>,
    /// An error was its last event.
    has_failed: bool,
}

impl Answer {
    pub(crate) fn new(
        tokenizer: Arc<Tokenizer>,
        filters: Filters,
        prompt_tokens: usize,
        events: UnboundedSender<Result<ChatEvent, ChatError>>,
    ) -> Answer {
        let mark = |text: &'static str| {
            let id = tokenizer.id_of(text).filter(|&id| tokenizer.is_special(id))?;
            Some((id, text))
        };
        let Filters { thoughts, calls, stops } = filters;
        let thought_marks = thoughts.iter().flat_map(|_| [OPEN, CLOSE]);
        let marks = thought_marks.chain(calls.iter().flat_map(CallParser::marks)).filter_map(mark).collect();
        Answer {
            decoder: tokenizer.decoder(),
            tokenizer,
            marks,
            thoughts: thoughts.unwrap_or_else(ThoughtSplitter::off),
            calls,
            stops: StopScanner::new(stops),
            logprobs: Vec::new(),
            prompt: None,
            events,
            usage: Usage { prompt_tokens, ..Usage::default() },
            untold: 0,
            submitted: Instant::now(),
            started: None,
            first_token: None,
            stopped: None,
            has_failed: false,
        }
    }

    /// The same answer, which reports its prompt too.
    pub(crate) fn reporting(self, prompt: Option<PromptReport>) -> Answer {
        Answer { prompt, ..self }
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
                    if self.pass_text(text) == Next::Stop {
                        return Next::Stop;
                    }
                }
            }
        }
        Next::GoOn
    }

    /// Takes what is no thought through the filters for calls and stop strings.
    fn pass_text(&mut self, text: String) -> Next {
        let Some(calls) = &mut self.calls else { return self.pass_said(Said::Text(text)) };
        let mut said = Vec::new();
        let outcome = calls.push(&text, &mut said);
        let is_done = calls.is_done();
        let next = self.pass_all_said(said);
        match outcome {
            Err(_) if next == Next::Stop => next,
            Err(why) => self.fail(ChatError::BadOutput(why)),
            Ok(()) if is_done => Next::Stop,
            Ok(()) => next,
        }
    }

    fn pass_all_said(&mut self, said: Vec<Said>) -> Next {
        let stops = said.into_iter().any(|one| self.pass_said(one) == Next::Stop);
        if stops { Next::Stop } else { Next::GoOn }
    }

    fn pass_said(&mut self, said: Said) -> Next {
        let text = match said {
            Said::Text(text) => {
                let Scanned { text, stopped } = self.stops.push(&text);
                self.send_text(text);
                return if stopped { Next::Stop } else { Next::GoOn };
            }
            Said::Call { .. } => self.stops.finish(),
            Said::Arguments { .. } => String::new(),
        };
        // What a call follows begins no stop string any more.
        self.send_text(text);
        self.logprobs.clear();
        let tokens = std::mem::take(&mut self.untold);
        self.send(match said {
            Said::Call { index, id, name } => ChatEvent::ToolCall { index, id, name, tokens },
            Said::Arguments { index, json } => ChatEvent::ToolArguments { index, json, tokens },
            Said::Text(text) => ChatEvent::Text { text, tokens, logprobs: Vec::new() },
        });
        Next::GoOn
    }

    /// Ends the answer with an error, its last event.
    fn fail(&mut self, error: ChatError) -> Next {
        self.has_failed = true;
        let _ = self.events.unbounded_send(Err(error));
        Next::Stop
    }

    /// Sends what the filters held back.
    fn flush(&mut self) -> Next {
        let rest = self.decoder.clone().finish();
        let mut parts = if rest.is_empty() { Vec::new() } else { self.thoughts.push(&rest) };
        parts.extend(self.thoughts.finish());
        if self.pass(parts) == Next::Stop {
            return Next::Stop;
        }
        if let Some(calls) = &mut self.calls {
            let mut said = Vec::new();
            let outcome = calls.finish(&mut said);
            if self.pass_all_said(said) == Next::Stop {
                return Next::Stop;
            }
            if let Err(why) = outcome {
                return self.fail(ChatError::BadOutput(why));
            }
        }
        let rest = self.stops.finish();
        self.send_text(rest);
        Next::GoOn
    }

    /// A complete answer that calls tools waits for their results. One that was cut short may lack more than that.
    fn close_answer(&mut self, reason: chat::FinishReason) {
        let has_called = self.calls.as_ref().is_some_and(CallParser::has_called);
        self.close(match reason {
            chat::FinishReason::Stop if has_called => chat::FinishReason::ToolCalls,
            reason => reason,
        });
    }

    fn close(&mut self, reason: chat::FinishReason) {
        let now = self.stopped.unwrap_or_else(Instant::now);
        let first = self.first_token.unwrap_or(now);
        self.usage.prompt_seconds = first - self.started.unwrap_or(self.submitted).min(first);
        self.usage.first_token_seconds = first - self.submitted;
        self.usage.generation_seconds = now - first;
        self.usage.stop = self.stops.found();
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

    fn scored(&mut self, logprobs: &[engine::TokenLogprob], top: &[Vec<engine::TokenLogprob>]) {
        if let Some(event) = self.prompt.as_mut().and_then(|prompt| prompt.add(logprobs, top)) {
            self.prompt = None;
            self.send(event);
        }
    }

    fn finished(&mut self, end: Result<FinishReason, ChatError>, counts: Counts) {
        self.usage.cached_tokens = counts.cached_tokens;
        self.usage.drafted_tokens = counts.drafted_tokens;
        self.usage.accepted_tokens = counts.accepted_tokens;
        if self.has_failed {
            return;
        }
        if self.stopped.is_some() {
            return self.close_answer(chat::FinishReason::Stop);
        }
        let reason = match end {
            Err(error) => Err(error),
            Ok(FinishReason::Stop(_)) => {
                self.usage.completion_tokens += 1;
                Ok(chat::FinishReason::Stop)
            }
            Ok(FinishReason::Length) => Ok(chat::FinishReason::Length),
            Ok(FinishReason::Cancelled) => Ok(chat::FinishReason::Cancelled),
            Ok(FinishReason::Complete) => Ok(chat::FinishReason::Stop),
            Ok(FinishReason::Constraint(text)) => Err(ChatError::InvalidRequest(text)),
            Ok(reason @ (FinishReason::BrokenLogits { .. } | FinishReason::Abandoned)) => Err(broken(&reason)),
        };
        match reason {
            Ok(reason) => {
                let reason = if self.flush() == Next::Stop { chat::FinishReason::Stop } else { reason };
                if !self.has_failed {
                    self.close_answer(reason);
                }
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
