//! Tokens that an input of a task takes, counted as they come: what nobody waits for the end of is spent too.
//!
//! A task is ready for all who ask, so that its model cannot know for whom it works. Whoever asks says so around the
//! question, and the lent model finds the count there.

use chat::ChatEvent;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    static SPENT: Arc<Spent>;
}

/// Tokens that were read and generated.
#[derive(Debug, Default)]
pub(crate) struct Spent(AtomicU64);

impl Spent {
    /// Does work whose tokens are counted here.
    pub(crate) async fn counting<F: Future>(self: &Arc<Spent>, work: F) -> F::Output {
        SPENT.scope(Arc::clone(self), work).await
    }

    /// Tokens so far.
    pub(crate) fn tokens(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// The count of whoever asks; one that nobody reads where nobody counts.
    pub(super) fn of_asker() -> Arc<Spent> {
        SPENT.try_with(Arc::clone).unwrap_or_default()
    }

    pub(super) fn add(&self, tokens: usize) {
        self.0.fetch_add(tokens as u64, Ordering::AcqRel);
    }

    pub(super) fn note(&self, event: &ChatEvent) {
        match event {
            ChatEvent::Started { prompt_tokens } => self.add(*prompt_tokens),
            ChatEvent::Text { tokens, .. }
            | ChatEvent::Thought { tokens, .. }
            | ChatEvent::ToolCall { tokens, .. }
            | ChatEvent::ToolArguments { tokens, .. } => self.add(*tokens),
            ChatEvent::Reading { .. } | ChatEvent::Prompt { .. } | ChatEvent::Finished { .. } => {}
        }
    }
}
