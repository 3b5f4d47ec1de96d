//! What a model is made to say: the end of a thought that is long enough, and the beginning of a call that is required.
//!
//! ```text
//! may think -> thinking -> forced: the closing mark -> forced: the opening of a call -> a name of the tools -> free
//! ```
//!
//! A script is an [`engine::Constraint`]: it masks tokens, so that whatever is forced is generated, counted and streamed
//! like any other token. It knows no formats, only texts. Read next: `tools`, which says what a call opens with.

use crate::thought::{CLOSE, OPEN};
use crate::tools::Forced;
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
    Choosing(NameChoice),
    Free,
}

/// Restricts what one answer may say, until nothing is left to restrict.
pub(crate) struct Script {
    tokenizer: Arc<Tokenizer>,
    phase: Phase,
    /// Tokens of thought that are left; none: as many as it likes.
    budget: Option<usize>,
    /// The opening of a call, where the prompt does not hold it: without a thought before it, and after one.
    opening: VecDeque<u32>,
    opening_after_thought: VecDeque<u32>,
    /// What follows it: one of the names.
    choice: Option<NameChoice>,
    /// What may yet be, or hold, a mark of a thought.
    said: Vec<u8>,
}

impl Script {
    /// The script of an answer; none where nothing is to be forced. Where the answer cannot begin with a thought, the
    /// opening of the call is taken to stand in the prompt.
    pub(crate) fn new(
        tokenizer: &Arc<Tokenizer>,
        beginning: Beginning,
        thought_tokens: Option<usize>,
        forced: Option<&Forced>,
    ) -> Option<Script> {
        Script::following(tokenizer, beginning, thought_tokens, forced, false)
    }

    /// The script of an answer that something else takes over once a thought cannot come any more; none where that is from
    /// the start.
    pub(crate) fn until_answer(
        tokenizer: &Arc<Tokenizer>,
        beginning: Beginning,
        thought_tokens: Option<usize>,
    ) -> Option<Script> {
        Script::following(tokenizer, beginning, thought_tokens, None, true)
    }

    fn following(
        tokenizer: &Arc<Tokenizer>,
        beginning: Beginning,
        thought_tokens: Option<usize>,
        forced: Option<&Forced>,
        is_followed: bool,
    ) -> Option<Script> {
        let thinks = beginning != Beginning::Answer;
        let choice = forced.filter(|forced| !forced.names.is_empty()).map(|forced| NameChoice::new(tokenizer, forced));
        let opening = |before: &str| match forced {
            Some(forced) if thinks => trusted_ids(tokenizer, &format!("{before}{}", forced.opening)).into(),
            // As templates have it between a thought and an answer.
            None if is_followed => trusted_ids(tokenizer, before).into(),
            _ => VecDeque::new(),
        };
        let is_free = thought_tokens.is_none() && forced.is_none() && !is_followed;
        let mut script = Script {
            tokenizer: Arc::clone(tokenizer),
            phase: Phase::Free,
            budget: thought_tokens,
            opening: opening(""),
            opening_after_thought: opening("\n\n"),
            choice,
            said: Vec::new(),
        };
        match beginning {
            Beginning::Answer => script.answer(),
            Beginning::MayThink | Beginning::Thinking if is_free => {}
            Beginning::MayThink => script.phase = Phase::MayThink,
            Beginning::Thinking => script.think(),
        }
        (!matches!(script.phase, Phase::Free)).then_some(script)
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
        self.opening = std::mem::take(&mut self.opening_after_thought);
        self.close_if_long_enough();
    }

    fn close_if_long_enough(&mut self) {
        if self.budget == Some(0) {
            // Of a mark that the model began itself, the rest.
            let begun = (0..CLOSE.len()).rev().find(|&len| self.said.ends_with(&CLOSE.as_bytes()[..len])).unwrap_or(0);
            let mut ids = VecDeque::from(trusted_ids(&self.tokenizer, &CLOSE[begun..]));
            ids.append(&mut self.opening);
            self.phase = Phase::Forced(ids);
        }
    }

    /// The thought is over.
    fn answer(&mut self) {
        self.phase = match (self.opening.is_empty(), self.choice.take()) {
            (true, Some(choice)) => Phase::Choosing(choice),
            (true, None) => Phase::Free,
            (false, choice) => {
                self.choice = choice;
                Phase::Forced(std::mem::take(&mut self.opening))
            }
        };
    }

    /// Takes a token before which a thought may open.
    fn take_first(&mut self, token: u32) {
        if self.opening.front() == Some(&token) {
            // The call opens without a thought.
            self.opening.pop_front();
            return self.answer();
        }
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
            Phase::MayThink => match (self.opening.front(), self.tokenizer.id_of(OPEN)) {
                (Some(&first), Some(open)) => [first, open].iter().for_each(|&token| allowed.allow(token)),
                _ => allowed.allow_all(),
            },
            Phase::Thinking | Phase::Free => allowed.allow_all(),
            Phase::Forced(ids) => ids.iter().take(1).for_each(|&token| allowed.allow(token)),
            Phase::Choosing(choice) => choice.mask(allowed),
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
            Phase::Choosing(choice) => {
                if choice.accept(&self.tokenizer, token) {
                    self.phase = Phase::Free;
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

/// Lets one of several names come, token by token, and what must follow it.
struct NameChoice {
    /// Each name with what follows, up to a token of its own.
    texts: Vec<Vec<u8>>,
    /// What follows, where it is one special token.
    end: Option<u32>,
    /// Tokens that occur in one of the texts or begin in one and go past its end.
    candidates: Vec<(u32, Vec<u8>)>,
    said: Vec<u8>,
}

impl NameChoice {
    fn new(tokenizer: &Tokenizer, forced: &Forced) -> NameChoice {
        let end = tokenizer.id_of(forced.after_name).filter(|&id| tokenizer.is_special(id));
        let after_name = if end.is_some() { "" } else { forced.after_name };
        let texts: Vec<Vec<u8>> = forced.names.iter().map(|name| format!("{name}{after_name}").into_bytes()).collect();
        let mut candidates = Vec::new();
        for id in (0..).take(tokenizer.vocabulary_len()).filter(|&id| !tokenizer.is_special(id)) {
            let bytes = tokenizer.token_bytes(id);
            let fits = |text: &Vec<u8>| (0..text.len()).any(|at| is_next(&text[at..], &bytes, end.is_some()));
            if !bytes.is_empty() && texts.iter().any(fits) {
                candidates.push((id, bytes.into_owned()));
            }
        }
        NameChoice { texts, end, candidates, said: Vec::new() }
    }

    /// What is left of each text that goes on from what was said.
    fn rests(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().filter_map(|text| text.strip_prefix(self.said.as_slice()))
    }

    fn mask(&self, allowed: &mut TokenMask) {
        let has_end = self.end.is_some();
        for (id, bytes) in &self.candidates {
            if self.rests().any(|rest| !rest.is_empty() && is_next(rest, bytes, has_end)) {
                allowed.allow(*id);
            }
        }
        if let Some(end) = self.end
            && self.rests().any(<[u8]>::is_empty)
        {
            allowed.allow(end);
        }
    }

    /// Takes a token; true when the choice is made.
    fn accept(&mut self, tokenizer: &Tokenizer, token: u32) -> bool {
        if Some(token) == self.end {
            return true;
        }
        self.said.extend_from_slice(&tokenizer.token_bytes(token));
        self.end.is_none() && self.texts.iter().any(|text| self.said.starts_with(text))
    }
}

/// Whether a token may come where `rest` must: it is of it, or holds all of it and then the beginning of an object.
fn is_next(rest: &[u8], token: &[u8], is_exact: bool) -> bool {
    if rest.starts_with(token) {
        return true;
    }
    let past = token.strip_prefix(rest).filter(|_| !is_exact).map(<[u8]>::trim_ascii_start);
    past.is_some_and(|past| past.is_empty() || past.starts_with(b"{"))
}
