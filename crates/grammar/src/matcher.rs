//! Follows one text token by token: which may come, which must, and whether it may end.
//!
//! Read next: `vocabulary`, where it comes from.

use crate::GrammarError;
use crate::numerals::{NumeralTokens, Numerals};
use llguidance::toktrie::{SimpleVob, TokEnv};
use std::sync::Arc;

/// Most tokens that are tried where a schema asks for a numeral longer than those of others.
const MOST_TRIED: usize = 100;

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
    /// Where the text is JSON.
    numerals: Option<Numerals>,
    numeral_tokens: Arc<NumeralTokens>,
}

impl Matcher {
    pub(crate) fn new(
        inner: llguidance::Matcher,
        text: Arc<SimpleVob>,
        numerals: Option<Numerals>,
        numeral_tokens: Arc<NumeralTokens>,
    ) -> Matcher {
        Matcher { inner, text, numerals, numeral_tokens }
    }

    /// The tokens that may come next: the only one where one is forced, none where the text is complete or may only end.
    /// Tokens that end a text are not among them.
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
        let Some(numerals) = self.numerals else { return Ok(Allowed(mask)) };
        let environment = self.environment()?;
        let too_long = self.numeral_tokens.too_long(numerals, &mask, environment.tok_trie());
        if too_long.is_empty() {
            return Ok(Allowed(mask));
        }
        let mut kept = mask.clone();
        too_long.iter().for_each(|&token| kept.disallow_token(token));
        if !kept.is_zero() || self.inner.is_accepting().map_err(gave_up)? {
            return Ok(Allowed(kept));
        }
        // The schema asks for a longer one: a constant, or the digit that takes it past a bound. It is to end soon.
        let mut soonest = SimpleVob::alloc(mask.len());
        for &token in too_long.iter().take(MOST_TRIED) {
            soonest.set(token as usize, self.is_over_after(token, numerals, &environment));
        }
        Ok(Allowed(if soonest.is_zero() { mask } else { soonest }))
    }

    /// Whether a numeral may be over, or the text go on otherwise within bounds, once this token came.
    fn is_over_after(&self, token: u32, mut numerals: Numerals, environment: &TokEnv) -> bool {
        let trie = environment.tok_trie();
        let mut ahead = self.inner.clone();
        numerals.read(trie.token(token));
        let mut is_over = || {
            ahead.consume_token(token).ok()?;
            let mut mask = ahead.compute_mask().ok()?;
            mask.and(&self.text);
            self.numeral_tokens.too_long(numerals, &mask, trie).iter().for_each(|&token| mask.disallow_token(token));
            Some(!mask.is_zero() || ahead.is_accepting().ok()?)
        };
        is_over().unwrap_or(false)
    }

    fn environment(&self) -> Result<TokEnv, GrammarError> {
        self.inner.tok_env().map_err(gave_up)
    }

    /// Whether one token is among [`Matcher::allowed`], where none is [`Matcher::forced`]; none where only all of them tell.
    /// It does not look at the other tokens, however many there are.
    ///
    /// # Errors
    /// As [`Matcher::allowed`].
    pub fn allows(&mut self, token: u32) -> Result<Option<bool>, GrammarError> {
        if self.is_complete() || !self.text.is_allowed(token) {
            return Ok(Some(false));
        }
        if let Some(mut numerals) = self.numerals
            && !numerals.read(self.environment()?.tok_trie().token(token))
        {
            return Ok(None);
        }
        Ok(Some(self.inner.validate_tokens(&[token]).map_err(gave_up)? == 1))
    }

    /// Takes the token that came.
    ///
    /// # Errors
    /// One that may not come here.
    pub fn accept(&mut self, token: u32) -> Result<(), GrammarError> {
        if let Some(mut numerals) = self.numerals {
            let keeps_bounds = numerals.read(self.environment()?.tok_trie().token(token));
            if !keeps_bounds && !self.allowed()?.0.is_allowed(token) {
                return Err(gave_up("a numeral is longer than may be read"));
            }
            self.numerals = Some(numerals);
        }
        self.inner.consume_token(token).map_err(gave_up)
    }

    /// Takes text that came, in whatever tokens.
    ///
    /// # Errors
    /// Text that may not come here.
    pub fn accept_text(&mut self, text: &str) -> Result<(), GrammarError> {
        let environment = self.environment()?;
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

#[cfg(test)]
mod tests {
    use crate::Grammar;
    use crate::testing::{MARK, vocabulary};
    use serde_json::json;

    /// One after the other, each step of a text is taken by another token of those that may come.
    fn check(grammar: &Grammar, steps: usize) {
        let mut matcher = grammar.matcher();
        let mut told = 0;
        for step in 0..steps {
            let forced = matcher.forced();
            if !forced.is_empty() {
                forced.into_iter().for_each(|token| matcher.accept(token).unwrap());
                continue;
            }
            let allowed = matcher.allowed().unwrap().tokens();
            for token in 0..=MARK {
                if let Some(allows) = matcher.allows(token).unwrap() {
                    assert_eq!(allows, allowed.contains(&token), "token {token} at step {step}");
                    told += 1;
                }
            }
            let Some(&next) = allowed.get(step * 7 % allowed.len().max(1)) else { break };
            matcher.accept(next).unwrap();
        }
        assert!(told > MARK as usize, "nearly every token is told of without a mask");
    }

    #[test]
    fn one_token_is_told_of_as_all_of_them_are() {
        let vocabulary = vocabulary();
        check(&vocabulary.json_schema(&json!({"type": "object"})).unwrap(), 60);
        check(&vocabulary.json_schema(&json!({"type": "array", "items": {"type": "integer"}})).unwrap(), 60);
        check(&vocabulary.json_schema(&json!({"enum": ["name", "named", 12.5]})).unwrap(), 20);
        check(&vocabulary.regex("(?s:.{0,40})").unwrap(), 30);
        check(&vocabulary.regex("[a-c]{3}(n|na|nam)*").unwrap(), 12);
    }
}
