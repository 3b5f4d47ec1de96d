//! What a model is made to say of a thought: its end, where it is long enough.
//!
//! ```text
//! may think -> thinking -> forced: the closing mark -> forced: what stands before an answer that is held -> free
//! ```
//!
//! A script is an [`engine::Constraint`]: it masks tokens, so that whatever is forced is generated, counted and streamed
//! like any other token. Read next: `format` and `watched`, which hold what comes after it.

use crate::thought::{CLOSE, OPEN};
use engine::{Constraint, ConstraintError, TokenMask};
use std::collections::VecDeque;
use std::sync::Arc;
use tokenizer::{Encode, Tokenizer};

/// How an answer begins, as its prompt leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// No thought can come.
    Answer,
    /// The model may open a thought.
    MayThink,
    /// The prompt opened one.
    Thinking,
}

enum Phase {
    MayThink,
    Thinking,
    /// These tokens, one by one.
    Forced(VecDeque<u32>),
    Free,
}

/// Restricts what one answer may say, until nothing is left to restrict.
pub(crate) struct Script {
    tokenizer: Arc<Tokenizer>,
    phase: Phase,
    /// Tokens of thought that are left; none: as many as it likes.
    budget: Option<usize>,
    /// What stands between a thought and what takes over, as templates have it.
    gap: VecDeque<u32>,
    /// What may yet be, or hold, a mark of a thought.
    said: Vec<u8>,
}

impl Script {
    /// The script of an answer that is free; none where nothing is to be forced.
    pub(crate) fn new(
        tokenizer: &Arc<Tokenizer>,
        beginning: Beginning,
        thought_tokens: Option<usize>,
    ) -> Option<Script> {
        thought_tokens.and_then(|_| Script::beginning(tokenizer, beginning, thought_tokens, ""))
    }

    /// The script of an answer that something else takes over once a thought cannot come any more; none where that is from
    /// the start.
    pub(crate) fn until_answer(
        tokenizer: &Arc<Tokenizer>,
        beginning: Beginning,
        thought_tokens: Option<usize>,
    ) -> Option<Script> {
        Script::beginning(tokenizer, beginning, thought_tokens, "\n\n")
    }

    fn beginning(
        tokenizer: &Arc<Tokenizer>,
        beginning: Beginning,
        thought_tokens: Option<usize>,
        gap: &str,
    ) -> Option<Script> {
        let mut script = Script {
            tokenizer: Arc::clone(tokenizer),
            phase: Phase::MayThink,
            budget: thought_tokens,
            gap: trusted_ids(tokenizer, gap).into(),
            said: Vec::new(),
        };
        match beginning {
            Beginning::Answer => return None,
            Beginning::MayThink => {}
            Beginning::Thinking => script.think(),
        }
        Some(script)
    }

    /// Whether a thought may open here.
    pub(crate) fn may_think(&self) -> bool {
        matches!(self.phase, Phase::MayThink)
    }

    /// Whether nothing is left to restrict.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Free)
    }

    fn think(&mut self) {
        self.said.clear();
        self.phase = Phase::Thinking;
        self.close_if_long_enough();
    }

    fn close_if_long_enough(&mut self) {
        if self.budget == Some(0) {
            // Of a mark that the model began itself, the rest.
            let begun = (0..CLOSE.len()).rev().find(|&len| self.said.ends_with(&CLOSE.as_bytes()[..len])).unwrap_or(0);
            let mut ids = VecDeque::from(trusted_ids(&self.tokenizer, &CLOSE[begun..]));
            ids.append(&mut self.gap);
            self.phase = Phase::Forced(ids);
        }
    }

    /// The thought is over.
    fn answer(&mut self) {
        self.phase = match self.gap.is_empty() {
            true => Phase::Free,
            false => Phase::Forced(std::mem::take(&mut self.gap)),
        };
    }

    /// Takes a token before which a thought may open.
    fn take_first(&mut self, token: u32) {
        self.said.extend_from_slice(&self.tokenizer.token_bytes(token));
        let said = self.said.trim_ascii_start();
        if said.starts_with(OPEN.as_bytes()) {
            self.think();
        } else if !OPEN.as_bytes().starts_with(said) {
            self.phase = Phase::Free;
        }
    }

    fn thought(&mut self, token: u32) {
        self.said.extend_from_slice(&self.tokenizer.token_bytes(token));
        if self.said.windows(CLOSE.len()).any(|window| window == CLOSE.as_bytes()) {
            return self.answer();
        }
        let kept = self.said.len().saturating_sub(CLOSE.len() - 1);
        self.said.drain(..kept);
        if let Some(left) = &mut self.budget {
            *left = left.saturating_sub(1);
        }
        self.close_if_long_enough();
    }
}

impl Constraint for Script {
    fn mask(&mut self, allowed: &mut TokenMask) -> Result<(), ConstraintError> {
        match &self.phase {
            Phase::MayThink | Phase::Thinking | Phase::Free => allowed.allow_all(),
            Phase::Forced(ids) => ids.iter().take(1).for_each(|&token| allowed.allow(token)),
        }
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        match &mut self.phase {
            Phase::MayThink => self.take_first(token),
            Phase::Thinking => self.thought(token),
            Phase::Forced(ids) => {
                ids.pop_front();
                if ids.is_empty() {
                    self.answer();
                }
            }
            Phase::Free => {}
        }
        Ok(())
    }
}

/// The ids of text of our own, in which special tokens are these tokens.
pub(crate) fn trusted_ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, Encode { add_bos_eos: false, parse_special: true })
}
