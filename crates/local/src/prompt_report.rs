//! The tokens of a prompt with their log-probabilities: collected piece by piece as the prompt is read, told once.
//!
//! Read next: `answer`, which tells it before what is generated.

use crate::worker::with_text;
use chat::{ChatEvent, PromptToken};
use std::sync::Arc;
use tokenizer::Tokenizer;

/// Collects what is known of the tokens of one prompt.
pub(crate) struct PromptReport {
    tokenizer: Arc<Tokenizer>,
    /// The whole prompt; at least one token.
    ids: Vec<u32>,
    /// What is known, from the first token on.
    tokens: Vec<PromptToken>,
}

impl PromptReport {
    /// Of a prompt, whose first token has nothing before it and so no probability.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, ids: Vec<u32>) -> PromptReport {
        let mut report = PromptReport { tokenizer, tokens: Vec::with_capacity(ids.len()), ids };
        let first = report.ids.first().map(|&id| report.token(id, None, &[]));
        report.tokens.extend(first);
        report
    }

    /// Adds the next tokens; returns the event once all are known.
    pub(crate) fn add(
        &mut self,
        logprobs: &[engine::TokenLogprob],
        top: &[Vec<engine::TokenLogprob>],
    ) -> Option<ChatEvent> {
        for (one, top) in logprobs.iter().zip(top) {
            let token = self.token(one.token, Some(one.logprob), top);
            self.tokens.push(token);
        }
        (self.tokens.len() == self.ids.len()).then(|| ChatEvent::Prompt { tokens: std::mem::take(&mut self.tokens) })
    }

    fn token(&self, id: u32, logprob: Option<f32>, top: &[engine::TokenLogprob]) -> PromptToken {
        let top = top.iter().map(|&one| with_text(&self.tokenizer, one)).collect();
        PromptToken { id, text: self.tokenizer.token_text(id), logprob, top }
    }
}
