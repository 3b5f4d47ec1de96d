//! The constraint on an answer whose calls are held, and that may say anything else.
//!
//! ```text
//! a thought, if the model has one (script) -> free, until a call opens (watch) -> the call (matcher) -> free
//! ```
//!
//! Outside of calls it allows every token but those that would open a call in their middle. Read next: `tools/watch`.

use crate::format::gave_up;
use crate::script::Script;
use crate::tools::{Borders, CallWatch};
use engine::{Constraint, ConstraintError, TokenMask};
use grammar::{Grammar, GrammarError, Matcher};
use std::sync::Arc;
use tokenizer::Tokenizer;

/// Holds the calls of an answer.
pub(crate) struct Watched {
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// As long as a thought is, or may come.
    pub(crate) script: Option<Script>,
    pub(crate) watch: CallWatch,
    pub(crate) borders: Arc<Borders>,
    /// Of a call from where it opens.
    pub(crate) grammar: Grammar,
    /// Follows the call that is open.
    pub(crate) call: Option<Matcher>,
}

impl Watched {
    /// Takes a token of the thought, if it is one.
    fn take_thought(&mut self, token: u32) -> Result<bool, ConstraintError> {
        let Some(script) = &mut self.script else { return Ok(false) };
        let might_think = script.may_think();
        script.accept(token)?;
        let is_thought = !might_think || !script.may_think() && !script.is_over();
        if script.is_over() {
            self.script = None;
        }
        if is_thought {
            self.watch.begin_again();
        }
        Ok(is_thought)
    }

    /// Goes on with a call that has opened with this text.
    fn open(&self, opening: &str) -> Result<Matcher, GrammarError> {
        let mut matcher = self.grammar.matcher();
        match self.watch.mark_token(&self.tokenizer, opening) {
            Some(mark) => matcher.accept(mark)?,
            None => matcher.accept_text(opening)?,
        }
        Ok(matcher)
    }
}

impl Constraint for Watched {
    fn mask(&mut self, allowed: &mut TokenMask) -> Result<(), ConstraintError> {
        match (&mut self.script, &mut self.call) {
            (Some(script), _) if !script.may_think() => script.mask(allowed)?,
            (_, Some(call)) => allowed.allow_words(call.allowed().map_err(gave_up)?.words()),
            (_, None) => {
                allowed.allow_all();
                self.watch.forbidden(&self.borders).into_iter().for_each(|token| allowed.forbid(token));
            }
        }
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        if self.take_thought(token)? {
            return Ok(());
        }
        if let Some(call) = &mut self.call {
            call.accept(token).map_err(gave_up)?;
            if call.is_complete() {
                self.call = None;
                self.watch.call_ended();
            }
        } else if let Some(opening) = self.watch.push_token(&self.tokenizer, token) {
            self.call = Some(self.open(&opening).map_err(gave_up)?);
        }
        Ok(())
    }

    fn forced(&mut self, forced: &mut Vec<u32>) {
        if let Some(call) = &mut self.call {
            forced.extend(call.forced());
        }
    }
}
