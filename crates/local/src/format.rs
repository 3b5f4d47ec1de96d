//! Answers that are held to a format, or to calls of tools: their grammars, kept for the next request, and the constraint on a
//! sequence.
//!
//! ```text
//! a thought, if the model has one (script) -> the answer, token by token as the grammar lets it (matcher)
//! ```
//!
//! Making a grammar may take a while, so it is done on a thread of its own. Read next: the crate `grammar`; `watched` for
//! answers of which only the calls are held.

use crate::script::Script;
use crate::tools::{Borders, Format, HeldCalls};
use chat::{AnswerFormat, ChatError};
use engine::{Constraint, ConstraintError, TokenMask};
use futures::channel::oneshot;
use grammar::{Grammar, GrammarError, Matcher, Vocabulary};
use hub::Sha256;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokenizer::Tokenizer;

/// Longest format, as JSON, in bytes.
const LONGEST_FORMAT: usize = 1 << 20;

/// Most grammars that are being made or wait to be; more are refused.
const MOST_WAITING: usize = 8;

/// Grammars that are kept, those asked for last.
const MOST_KEPT: usize = 64;

/// Stack of the thread that makes a grammar: the compiler goes as deep as a schema is nested.
const STACK_BYTES: usize = 64 << 20;

/// What an answer is held to.
#[derive(Debug, Clone, Serialize)]
pub(crate) enum Wanted {
    /// All of it, to this.
    Format(AnswerFormat),
    /// Its calls, to their tools.
    Calls(HeldCalls),
}

/// The grammars over one model's tokens.
pub(crate) struct Grammars {
    tokenizer: Arc<Tokenizer>,
    vocabulary: OnceLock<Result<Vocabulary, GrammarError>>,
    /// Of the one format of calls that the model's template teaches.
    borders: OnceLock<Arc<Borders>>,
    /// By the hash of what was asked for as JSON; asked for last, last.
    kept: Mutex<VecDeque<(Sha256, Grammar)>>,
    /// Held by whoever makes one: others compute meanwhile.
    making: Mutex<()>,
    waiting: AtomicUsize,
}

/// A place among those that make grammars or wait for it.
struct Place(Arc<Grammars>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Grammars {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Grammars {
        Grammars {
            tokenizer,
            vocabulary: OnceLock::new(),
            borders: OnceLock::new(),
            kept: Mutex::default(),
            making: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The tokens that a call could open in the middle of. A model has one format of calls.
    pub(crate) fn borders(&self, format: &Format) -> Arc<Borders> {
        Arc::clone(self.borders.get_or_init(|| Arc::new(Borders::of(&self.tokenizer, format))))
    }

    /// The grammar of what is wanted.
    ///
    /// # Errors
    /// What cannot be held to, with its place.
    pub(crate) async fn of(self: &Arc<Grammars>, wanted: &Wanted) -> Result<Grammar, ChatError> {
        let key = serde_json::to_string(wanted).map_err(|error| ChatError::Internal(error.to_string()))?;
        if key.len() > LONGEST_FORMAT {
            let what = match wanted {
                Wanted::Format(_) => "the format has",
                Wanted::Calls(_) => "the tools have",
            };
            let text = format!("{what} {} bytes, expected at most {LONGEST_FORMAT}", key.len());
            return Err(ChatError::InvalidRequest(text));
        }
        let key = Sha256::of(key.as_bytes());
        if let Some(grammar) = self.find(&key) {
            return Ok(grammar);
        }
        let place = self.place()?;
        let (told, made) = oneshot::channel();
        let (own, making) = (Arc::clone(self), wanted.clone());
        // Whoever waited may have gone.
        let work = move || {
            let _place = place;
            drop(told.send(own.make(key, &making)));
        };
        let thread = std::thread::Builder::new().name("grammar".to_owned()).stack_size(STACK_BYTES).spawn(work);
        thread.map_err(|error| ChatError::Unavailable(format!("cannot start a thread for a grammar: {error}")))?;
        let made = made.await.map_err(|_| ChatError::Internal("making the grammar broke off".to_owned()))?;
        made.map_err(|error| match error {
            GrammarError::Object { number, error } => ChatError::ToolSchema { tool: number, reason: error.to_string() },
            GrammarError::Text(reason) if matches!(wanted, Wanted::Calls(_)) => ChatError::InvalidRequest(format!(
                "tools: {reason}\nhint: offer fewer tools, or tools of simpler schemas"
            )),
            other => ChatError::InvalidRequest(other.to_string()),
        })
    }

    fn place(self: &Arc<Grammars>) -> Result<Place, ChatError> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(self));
        if before >= MOST_WAITING {
            let text =
                format!("{before} formats are being prepared, at most {MOST_WAITING} may be\nhint: try again later");
            return Err(ChatError::Overloaded(text));
        }
        Ok(place)
    }

    /// Makes a grammar, one at a time, and keeps it.
    fn make(&self, key: Sha256, wanted: &Wanted) -> Result<Grammar, GrammarError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody before may have asked for the same.
        if let Some(grammar) = self.find(&key) {
            return Ok(grammar);
        }
        let grammar = self.compile(wanted)?;
        self.keep(key, &grammar);
        Ok(grammar)
    }

    fn compile(&self, wanted: &Wanted) -> Result<Grammar, GrammarError> {
        let vocabulary = self.vocabulary.get_or_init(|| Vocabulary::new(&self.tokenizer));
        let vocabulary = vocabulary.as_ref().map_err(Clone::clone)?;
        let format = match wanted {
            Wanted::Format(format) => format,
            Wanted::Calls(calls) => return vocabulary.pattern(&calls.pattern(&self.tokenizer)),
        };
        match format {
            AnswerFormat::JsonObject => vocabulary.json_object(),
            AnswerFormat::JsonSchema(schema) => vocabulary.json_schema(schema),
            AnswerFormat::Regex(expression) => vocabulary.regex(expression),
            AnswerFormat::Choices(choices) => vocabulary.choices(choices),
            AnswerFormat::Lark(grammar) => vocabulary.lark(grammar),
            AnswerFormat::Gbnf(grammar) => vocabulary.gbnf(grammar),
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(Sha256, Grammar)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Sha256) -> Option<Grammar> {
        let mut kept = self.kept();
        let place = kept.iter().position(|(known, _)| known == key)?;
        let entry = kept.remove(place)?;
        let grammar = entry.1.clone();
        kept.push_back(entry);
        Some(grammar)
    }

    fn keep(&self, key: Sha256, grammar: &Grammar) {
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

pub(crate) fn gave_up(error: GrammarError) -> ConstraintError {
    ConstraintError(error.to_string())
}

impl Constraint for Held {
    fn mask(&mut self, allowed: &mut TokenMask) -> Result<(), ConstraintError> {
        match &mut self.script {
            Some(script) if !script.may_think() => {
                script.mask(allowed)?;
                // An answer that ended within its thought would be none.
                self.ends.iter().for_each(|&end| allowed.forbid(end));
                Ok(())
            }
            Some(_) => {
                self.thought.iter().for_each(|&open| allowed.allow(open));
                self.mask_answer(allowed).map_err(gave_up)
            }
            None => self.mask_answer(allowed).map_err(gave_up),
        }
    }

    fn allows(&mut self, token: u32) -> Result<Option<bool>, ConstraintError> {
        if self.script.is_some() {
            return Ok(None);
        }
        self.matcher.allows(token).map_err(gave_up)
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
