//! Follows one text token by token: which may come, which must, and whether it may end.
//!
//! Read next: `vocabulary`, where it comes from.

use crate::GrammarError;
use llguidance::toktrie::SimpleVob;
use std::sync::Arc;

/// Tokens that may come.
pub struct Allowed(SimpleVob);

impl Allowed {
    /// As bits: bit `i % 32` of word `i / 32` is token `i`.
    pub fn words(&self) -> &[u32] {
        self.0.as_slice()
    }

    /// One by one, ascending.
    pub fn tokens(&self) -> Vec<u32> {
        self.0.to_list()
    }
}

/// A text that is held to a grammar, as far as it has come.
pub struct Matcher {
    inner: llguidance::Matcher,
    /// The tokens that a text may hold.
    text: Arc<SimpleVob>,
}

impl Matcher {
    pub(crate) fn new(inner: llguidance::Matcher, text: Arc<SimpleVob>) -> Matcher {
        Matcher { inner, text }
    }

    /// The tokens that may come next: the only one where one is forced, none where the text is complete. Tokens that end a
    /// text are not among them.
    ///
    /// # Errors
    /// A grammar that is too complex to go on with.
    pub fn allowed(&mut self) -> Result<Allowed, GrammarError> {
        if self.is_complete() {
            return Ok(Allowed(SimpleVob::new()));
        }
        let mut mask = self.inner.compute_mask().map_err(gave_up)?;
        // It counts the end among them where the text may end, and a grammar may name any token.
        mask.and(&self.text);
        Ok(Allowed(mask))
    }

    /// Takes the token that came.
    ///
    /// # Errors
    /// One that may not come here.
    pub fn accept(&mut self, token: u32) -> Result<(), GrammarError> {
        self.inner.consume_token(token).map_err(gave_up)
    }

    /// Takes text that came, in whatever tokens.
    ///
    /// # Errors
    /// Text that may not come here.
    pub fn accept_text(&mut self, text: &str) -> Result<(), GrammarError> {
        let environment = self.inner.tok_env().map_err(gave_up)?;
        environment.tokenize_bytes(text.as_bytes()).into_iter().try_for_each(|token| self.accept(token))
    }

    /// The tokens that must come next, whatever a model says: the only text that goes on from here, as a tokenizer would
    /// write it. Empty where there is a choice.
    pub fn forced(&mut self) -> Vec<u32> {
        if self.is_complete() { Vec::new() } else { self.inner.compute_ff_tokens() }
    }

    /// Whether the text may end here.
    ///
    /// # Errors
    /// As [`Matcher::allowed`].
    pub fn may_end(&mut self) -> Result<bool, GrammarError> {
        if self.is_complete() { Ok(true) } else { self.inner.is_accepting().map_err(gave_up) }
    }

    /// Whether nothing may follow.
    pub fn is_complete(&self) -> bool {
        self.inner.is_stopped() && self.inner.stop_reason().is_ok()
    }
}

fn gave_up(error: impl std::fmt::Display) -> GrammarError {
    GrammarError::GaveUp(first_line(&error.to_string()))
}

/// What an error of the automaton says, without what it says for its authors, or shows of the text.
pub(crate) fn first_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    // A regular expression is shown over several lines, and what is wrong with it stands under that.
    match lines.find_map(|line| line.strip_prefix("error: ")) {
        Some(reason) => format!("not a regular expression that can be held to: {reason}"),
        None => first.to_owned(),
    }
}
