//! Answers that are held to a format: the grammar of the format, kept for the next request, and the constraint on a sequence.
//!
//! ```text
//! a thought, if the model has one (script) -> the answer, token by token as the grammar lets it (matcher)
//! ```
//!
//! Making a grammar may take a while, so it is done on a thread of its own. Read next: the crate `grammar`.

use crate::script::Script;
use chat::{AnswerFormat, ChatError};
use engine::{Constraint, ConstraintError, TokenMask};
use futures::channel::oneshot;
use grammar::{Grammar, GrammarError, Matcher, Vocabulary};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokenizer::Tokenizer;

/// Grammars that are kept, those asked for last.
const MOST_KEPT: usize = 64;

/// Stack of the thread that makes a grammar: the compiler goes as deep as a schema is nested.
const STACK_BYTES: usize = 16 << 20;

/// The grammars over one model's tokens.
pub(crate) struct Grammars {
    tokenizer: Arc<Tokenizer>,
    vocabulary: OnceLock<Result<Vocabulary, GrammarError>>,
    /// By what was asked for as JSON; asked for last, last.
    kept: Mutex<VecDeque<(String, Grammar)>>,
}

impl Grammars {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Grammars {
        Grammars { tokenizer, vocabulary: OnceLock::new(), kept: Mutex::default() }
    }

    /// The grammar of a format.
    ///
    /// # Errors
    /// What cannot be held to, with its place.
    pub(crate) async fn of(self: &Arc<Grammars>, format: &AnswerFormat) -> Result<Grammar, ChatError> {
        let key = serde_json::to_string(format).map_err(|error| ChatError::Internal(error.to_string()))?;
        if let Some(grammar) = self.find(&key) {
            return Ok(grammar);
        }
        let (told, made) = oneshot::channel();
        let (own, format) = (Arc::clone(self), format.clone());
        // Whoever waited may have gone.
        let work = move || drop(told.send(own.make(&format)));
        let thread = std::thread::Builder::new().name("grammar".to_owned()).stack_size(STACK_BYTES).spawn(work);
        thread.map_err(|error| ChatError::Unavailable(format!("cannot start a thread for a grammar: {error}")))?;
        let made = made.await.map_err(|_| ChatError::Internal("making the grammar broke off".to_owned()))?;
        let grammar = made.map_err(|error| ChatError::InvalidRequest(error.to_string()))?;
        self.keep(key, &grammar);
        Ok(grammar)
    }

    fn make(&self, format: &AnswerFormat) -> Result<Grammar, GrammarError> {
        let vocabulary = self.vocabulary.get_or_init(|| Vocabulary::new(&self.tokenizer));
        let vocabulary = vocabulary.as_ref().map_err(Clone::clone)?;
        match format {
            AnswerFormat::JsonObject => vocabulary.json_object(),
            AnswerFormat::JsonSchema(schema) => vocabulary.json_schema(schema),
            AnswerFormat::Regex(expression) => vocabulary.regex(expression),
            AnswerFormat::Choices(choices) => vocabulary.choices(choices),
            AnswerFormat::Lark(grammar) => vocabulary.lark(grammar),
            AnswerFormat::Gbnf(grammar) => vocabulary.gbnf(grammar),
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(String, Grammar)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &str) -> Option<Grammar> {
        let mut kept = self.kept();
        let place = kept.iter().position(|(known, _)| known == key)?;
        let entry = kept.remove(place)?;
        let grammar = entry.1.clone();
        kept.push_back(entry);
        Some(grammar)
    }

    fn keep(&self, key: String, grammar: &Grammar) {
        let mut kept = self.kept();
        kept.retain(|(known, _)| *known != key);
        kept.push_back((key, grammar.clone()));
        if kept.len() > MOST_KEPT {
            kept.pop_front();
        }
    }
}

/// Holds an answer to a grammar, once a thought is over.
pub(crate) struct Held {
    /// As long as a thought is, or may come.
    script: Option<Script>,
    /// What opens a thought.
    thought: Option<u32>,
    matcher: Matcher,
    /// Tokens that end the answer.
    ends: Vec<u32>,
}

impl Held {
    pub(crate) fn new(script: Option<Script>, thought: Option<u32>, grammar: &Grammar, ends: Vec<u32>) -> Held {
        Held { script, thought, matcher: grammar.matcher(), ends }
    }

    fn mask_answer(&mut self, allowed: &mut TokenMask) -> Result<(), GrammarError> {
        allowed.allow_words(self.matcher.allowed()?.words());
        if self.matcher.may_end()? {
            self.ends.iter().for_each(|&end| allowed.allow(end));
        }
        Ok(())
    }
}

fn gave_up(error: GrammarError) -> ConstraintError {
    ConstraintError(error.to_string())
}

impl Constraint for Held {
    fn mask(&mut self, allowed: &mut TokenMask) -> Result<(), ConstraintError> {
        match &mut self.script {
            Some(script) if !script.may_think() => script.mask(allowed),
            Some(_) => {
                self.thought.iter().for_each(|&open| allowed.allow(open));
                self.mask_answer(allowed).map_err(gave_up)
            }
            None => self.mask_answer(allowed).map_err(gave_up),
        }
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        match &mut self.script {
            Some(script) if !script.may_think() || self.thought == Some(token) => {
                script.accept(token)?;
                if script.is_over() {
                    self.script = None;
                }
                Ok(())
            }
            _ => {
                // Where one might have opened, it did not.
                self.script = None;
                self.matcher.accept(token).map_err(gave_up)
            }
        }
    }

    fn forced(&mut self, forced: &mut Vec<u32>) {
        if self.script.is_none() {
            forced.extend(self.matcher.forced());
        }
    }

    fn is_complete(&self) -> bool {
        self.script.is_none() && self.matcher.is_complete()
    }
}
