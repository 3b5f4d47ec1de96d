//! One answer: shown as it is made, or collected; stopped by Ctrl-C.
//!
//! The answer is data and goes to standard output; the model's thought goes to standard error, dimmed. Knows nothing of
//! prompts, templates or histories.

use crate::failure::Interrupted;
use crate::interrupt::Listener;
use crate::progress::Gauge;
use crate::terminal::Terminal;
use chat::{ChatEvent, ChatStream, FinishReason, Usage};
use futures::executor::block_on;
use futures::future::{Either, select};
use futures::stream::StreamExt;
use std::pin::pin;

/// A finished answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the model said.
    pub text: String,
    /// What it thought first, if it is a thinking model.
    pub thought: String,
    /// Why it ended; `Cancelled` after Ctrl-C.
    pub reason: FinishReason,
    /// Counts and times; after Ctrl-C the counts up to there, and no times, as the model did not get to tell.
    pub usage: Usage,
}

/// Whether an answer is shown while it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Piece by piece.
    Streaming,
    /// Not at all; the caller prints it.
    Nothing,
}

/// Reads a stream to its end, or until Ctrl-C.
///
/// # Errors
/// The model failed midway, or standard output is gone.
pub fn receive(
    terminal: &Terminal,
    interrupts: &mut Listener,
    mut stream: ChatStream,
    show: Show,
) -> anyhow::Result<Answer> {
    let mut answer = Answer {
        text: String::new(),
        thought: String::new(),
        reason: FinishReason::Cancelled,
        usage: Usage::default(),
    };
    let mut reading = Gauge::new(*terminal, "reading the prompt (tokens)");
    // The interrupt stands first: one that came before the first event ends the answer before it is shown.
    while let Either::Right((Some(event), _)) = block_on(select(pin!(interrupts.next()), stream.next())) {
        let event = event?;
        if !matches!(event, ChatEvent::Reading { .. }) {
            reading.end();
        }
        match event {
            ChatEvent::Started { prompt_tokens } => answer.usage.prompt_tokens = prompt_tokens,
            // Neither tools nor log-probabilities of a prompt are asked for here.
            ChatEvent::Prompt { .. } | ChatEvent::ToolCall { .. } | ChatEvent::ToolArguments { .. } => {}
            ChatEvent::Reading { read_tokens, total_tokens } => reading.at(read_tokens, total_tokens),
            ChatEvent::Thought { text, tokens } => {
                answer.usage.completion_tokens += tokens;
                if show == Show::Streaming {
                    terminal.thought(&text);
                }
                answer.thought.push_str(&text);
            }
            ChatEvent::Text { text, tokens, .. } => {
                answer.usage.completion_tokens += tokens;
                if show == Show::Streaming {
                    if answer.text.is_empty() && !answer.thought.is_empty() {
                        terminal.thought("\n\n");
                    }
                    terminal.data(&text)?;
                }
                answer.text.push_str(&text);
            }
            ChatEvent::Finished { reason, usage } => {
                answer.reason = reason;
                answer.usage = usage;
                break;
            }
        }
    }
    reading.end();
    if show == Show::Streaming && !answer.text.ends_with('\n') {
        terminal.data("\n")?;
    }
    Ok(answer)
}

impl Answer {
    /// The answer, or [`Interrupted`] if Ctrl-C ended it.
    ///
    /// # Errors
    /// It was interrupted.
    pub fn completed(self) -> Result<Answer, Interrupted> {
        if self.reason == FinishReason::Cancelled { Err(Interrupted) } else { Ok(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Interrupts;

    fn read(stream: ChatStream) -> anyhow::Result<Answer> {
        receive(&Terminal::detect(), &mut Interrupts::default().listen(), stream, Show::Nothing)
    }

    fn stream(events: Vec<ChatEvent>) -> ChatStream {
        Box::pin(futures::stream::iter(events.into_iter().map(Ok)))
    }

    #[test]
    fn thought_and_text_are_kept_apart() {
        let usage = Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() };
        let events = vec![
            ChatEvent::Started { prompt_tokens: 3 },
            ChatEvent::Thought { text: "hm".to_owned(), tokens: 1 },
            ChatEvent::Text { text: "yes".to_owned(), tokens: 1, logprobs: Vec::new() },
            ChatEvent::Finished { reason: FinishReason::Stop, usage },
        ];
        let answer = read(stream(events)).unwrap();
        assert_eq!((answer.thought.as_str(), answer.text.as_str()), ("hm", "yes"));
        assert_eq!((answer.reason, answer.usage), (FinishReason::Stop, usage));
    }

    #[test]
    fn a_failure_midway_is_an_error_not_a_short_answer() {
        let events: Vec<Result<ChatEvent, chat::ChatError>> = vec![
            Ok(ChatEvent::Text { text: "half".to_owned(), tokens: 1, logprobs: Vec::new() }),
            Err(chat::ChatError::Internal("a step failed".to_owned())),
        ];
        let stream = Box::pin(futures::stream::iter(events));
        let error = read(stream).unwrap_err();
        assert_eq!(error.to_string(), "internal error: a step failed");
    }

    #[test]
    fn an_interrupt_ends_a_stream_that_never_ends_and_the_half_answer_is_counted() {
        let interrupts = Interrupts::default();
        let mut listener = interrupts.listen();
        let said = [
            Ok(ChatEvent::Started { prompt_tokens: 10 }),
            Ok(ChatEvent::Thought { text: "hm".to_owned(), tokens: 2 }),
            Ok(ChatEvent::Text { text: "half an".to_owned(), tokens: 3, logprobs: Vec::new() }),
        ];
        // Ctrl-C comes from another thread, after all of that.
        let silence = futures::stream::once(async move {
            std::thread::spawn(move || assert!(interrupts.interrupt()));
            futures::future::pending().await
        });
        let endless: ChatStream = Box::pin(futures::stream::iter(said).chain(silence));
        let answer = receive(&Terminal::detect(), &mut listener, endless, Show::Nothing).unwrap();
        assert_eq!(answer.reason, FinishReason::Cancelled);
        let mut conversation = crate::conversation::Conversation::default();
        conversation.keep("hi", &answer);
        assert_eq!(conversation.used_tokens, 10 + 2 + 3);
        assert!(answer.completed().is_err());
    }
}
