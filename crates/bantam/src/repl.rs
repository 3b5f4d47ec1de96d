//! The chat on a terminal: a line editor, the answers, Ctrl-C and Ctrl-D.
//!
//! What was said and what slash commands do is `conversation.rs`; this file is the screen around it.

use crate::answer::{self, Show};
use crate::conversation::{Conversation, Reply, Used, is_incomplete};
use crate::interrupt::Listener;
use crate::session::Session;
use crate::terminal::Terminal;
use chat::{ChatError, ChatModel, FinishReason};
use reedline::{
    FileBackedHistory, Prompt, PromptEditMode, PromptHistorySearch, Reedline, Signal, ValidationResult, Validator,
};
use std::borrow::Cow;
use std::path::Path;

const HISTORY_LINES: usize = 1000;

/// Chats until the person leaves.
///
/// # Errors
/// The terminal is gone. What a model refuses is shown, and the chat goes on.
pub fn chat(
    session: &Session,
    model: &dyn ChatModel,
    conversation: Conversation,
    history: &Path,
    verbose: bool,
) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    let info = model.info();
    terminal.note(&format!("{} — /help lists the commands, Ctrl-D leaves", info.name));
    if conversation.raw {
        terminal.note("each message is completed alone: what was said before does not reach the model");
    }
    keep_private(history);
    let mut editor = Reedline::create()
        .with_history(Box::new(lines_of(terminal, history)?))
        // What is pasted is one message; on Windows the editor cannot tell it from typing.
        .use_bracketed_paste(cfg!(not(windows)))
        .with_validator(Box::new(WholeMessage))
        .with_ansi_colors(terminal.colour);
    let mut chat = Chat { terminal, interrupts: session.interrupts.listen(), model, conversation, verbose };
    loop {
        let prompt = ContextPrompt { used: chat.conversation.used(info.context), context: info.context };
        let line = match editor.read_line(&prompt)? {
            Signal::Success(line) => line,
            Signal::CtrlC => continue,
            _ => return Ok(()),
        };
        if chat.take(&line)? == Next::Leave {
            return Ok(());
        }
    }
}

/// The lines that were typed before; those of this chat alone where the file cannot be used.
fn lines_of(terminal: &Terminal, history: &Path) -> anyhow::Result<FileBackedHistory> {
    match FileBackedHistory::with_file(HISTORY_LINES, history.to_path_buf()) {
        Ok(lines) => Ok(lines),
        Err(error) => {
            terminal.note(&format!("{}: {error}; what is typed is remembered until the chat ends", history.display()));
            Ok(FileBackedHistory::new(HISTORY_LINES)?)
        }
    }
}

/// Lets nobody else read the file of what was typed. What it cannot make so stays as it is: the chat is worth more.
fn keep_private(history: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(history);
        let _ = file.and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600)));
    }
    #[cfg(not(unix))]
    let _ = history;
}

/// What follows a line.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line,
    Leave,
}

/// A chat behind its line editor. It listens for Ctrl-C from its first line to its last.
struct Chat<'a> {
    terminal: &'a Terminal,
    interrupts: Listener,
    model: &'a dyn ChatModel,
    conversation: Conversation,
    verbose: bool,
}

impl Chat<'_> {
    /// Does what a line says.
    fn take(&mut self, line: &str) -> anyhow::Result<Next> {
        // What was pressed before this line was sent is no wish about its answer.
        self.interrupts.forget();
        match self.conversation.line(line, self.model.info()) {
            Reply::Ask(text) => self.ask(&text)?,
            Reply::Show(text) => self.terminal.data(&text)?,
            Reply::Complain(text) => self.terminal.error(&anyhow::anyhow!(text)),
            Reply::Leave => return Ok(Next::Leave),
            Reply::Nothing => {}
        }
        Ok(Next::Line)
    }

    fn ask(&mut self, text: &str) -> anyhow::Result<()> {
        let answer = crate::commands::run::ask(self.model, &self.conversation, text)
            .and_then(|stream| answer::receive(self.terminal, &mut self.interrupts, stream, Show::Streaming));
        match answer {
            Ok(answer) => {
                self.conversation.keep(text, &answer);
                if answer.reason == FinishReason::Length {
                    self.terminal
                        .warn("the answer ended at its limit and may be incomplete (see /set max-tokens and /show)");
                }
                if self.verbose && answer.reason != FinishReason::Cancelled {
                    self.terminal.note(&crate::commands::run::times(&answer.usage));
                }
                self.terminal.data("\n")?;
            }
            // The question stays unanswered and out of the history; the person may shorten it, or /clear.
            Err(error) => {
                self.terminal.error(&error);
                if matches!(error.downcast_ref(), Some(ChatError::ContextTooLong { .. })) {
                    self.terminal.note("/clear forgets what was said");
                }
            }
        }
        Ok(())
    }
}

/// Lets a message go on over several lines.
struct WholeMessage;

impl Validator for WholeMessage {
    fn validate(&self, line: &str) -> ValidationResult {
        if is_incomplete(line) { ValidationResult::Incomplete } else { ValidationResult::Complete }
    }
}

/// `>>> ` on the left; how full the context is on the right.
struct ContextPrompt {
    used: Used,
    context: usize,
}

impl Prompt for ContextPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{}/{} tokens", self.used, self.context))
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed(">>> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("... ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Interrupts;
    use chat::{Capabilities, ChatEvent, ChatFuture, ChatRequest, ChatStream, ModelInfo, Usage};

    /// Presses Ctrl-C while it reads the question, and then says one word.
    struct Interrupted {
        interrupts: Interrupts,
        info: ModelInfo,
    }

    impl ChatModel for Interrupted {
        fn info(&self) -> &ModelInfo {
            &self.info
        }

        fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
            if request.messages.last().is_some_and(|message| message.content == "long") {
                assert!(self.interrupts.interrupt(), "the program would have ended");
            }
            let events = vec![
                Ok(ChatEvent::Text { text: "word".to_owned(), tokens: 1, logprobs: Vec::new() }),
                Ok(ChatEvent::Finished { reason: FinishReason::Stop, usage: Usage::default() }),
            ];
            let stream: ChatStream = Box::pin(futures::stream::iter(events));
            Box::pin(async move { Ok(stream) })
        }
    }

    #[test]
    fn ctrl_c_outside_of_an_answer_keeps_the_chat() {
        let interrupts = Interrupts::default();
        let info = ModelInfo {
            name: "scripted".to_owned(),
            family: "none".to_owned(),
            parameters: 0,
            weight_bytes: 0,
            quantization: "f32".to_owned(),
            context: 64,
            maximum_context: 64,
            vocabulary: 8,
            capabilities: Capabilities::default(),
        };
        let model = Interrupted { interrupts: interrupts.clone(), info };
        let mut chat = Chat {
            terminal: &Terminal::detect(),
            interrupts: interrupts.listen(),
            model: &model,
            conversation: Conversation::default(),
            verbose: false,
        };
        assert_eq!(chat.take("short").unwrap(), Next::Line);
        assert!(interrupts.interrupt(), "between two lines");
        assert_eq!(chat.take("short").unwrap(), Next::Line);
        assert_eq!(chat.conversation.messages[3].content, "word", "the late Ctrl-C stopped no answer");
        assert_eq!(chat.take("long").unwrap(), Next::Line);
        assert_eq!(chat.conversation.messages[5].content, "", "while the question was read: no word of the answer");
        assert_eq!(chat.take("/bye").unwrap(), Next::Leave);
        drop(chat);
        assert!(!interrupts.interrupt(), "after the chat Ctrl-C ends the program again");
    }
}
