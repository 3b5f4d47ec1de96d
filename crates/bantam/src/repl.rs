//! The chat on a terminal: a line editor, the answers, Ctrl-C and Ctrl-D.
//!
//! What was said and what slash commands do is `conversation.rs`; this file is the screen around it.

use crate::answer::{self, Show};
use crate::conversation::{Conversation, Reply, is_incomplete};
use crate::session::Session;
use chat::{ChatModel, FinishReason};
use reedline::{
    FileBackedHistory, Prompt, PromptEditMode, PromptHistorySearch, Reedline, Signal, ValidationResult, Validator,
};
use std::borrow::Cow;
use std::path::Path;

const HISTORY_LINES: usize = 1000;

/// Chats until the person leaves.
///
/// # Errors
/// The terminal is gone, or a history file cannot be opened. What a model refuses is shown, and the chat goes on.
pub fn chat(
    session: &Session,
    model: &dyn ChatModel,
    mut conversation: Conversation,
    history: &Path,
    verbose: bool,
) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    let info = model.info();
    terminal.note(&format!("{} — /help lists the commands, Ctrl-D leaves", info.name));
    if conversation.raw {
        terminal.note("each message is completed alone: what was said before does not reach the model");
    }
    let mut editor = Reedline::create()
        .with_history(Box::new(FileBackedHistory::with_file(HISTORY_LINES, history.to_path_buf())?))
        .with_validator(Box::new(WholeMessage));
    loop {
        let prompt = ContextPrompt { used: conversation.used_tokens, context: info.context };
        let line = match editor.read_line(&prompt)? {
            Signal::Success(line) => line,
            Signal::CtrlC => continue,
            _ => return Ok(()),
        };
        match conversation.line(&line.replace("\\\n", "\n"), info) {
            Reply::Ask(text) => ask(session, model, &mut conversation, &text, verbose)?,
            Reply::Show(text) => terminal.data(&text)?,
            Reply::Complain(text) => terminal.error(&anyhow::anyhow!(text)),
            Reply::Leave => return Ok(()),
            Reply::Nothing => {}
        }
    }
}

fn ask(
    session: &Session,
    model: &dyn ChatModel,
    conversation: &mut Conversation,
    text: &str,
    verbose: bool,
) -> anyhow::Result<()> {
    let terminal = &session.terminal;
    let answer = crate::commands::run::ask(model, conversation, text)
        .and_then(|stream| answer::receive(terminal, &session.interrupts, stream, Show::Streaming));
    match answer {
        Ok(answer) => {
            conversation.keep(text, &answer);
            if answer.reason == FinishReason::Length {
                terminal.warn("the answer ended at its limit and may be incomplete (see /set max-tokens and /show)");
            }
            if verbose && answer.reason != FinishReason::Cancelled {
                terminal.note(&crate::commands::run::times(&answer.usage));
            }
            terminal.data("\n")?;
        }
        // The question stays unanswered and out of the history; the person may shorten it, or /clear.
        Err(error) => terminal.error(&error),
    }
    Ok(())
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
    used: usize,
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
