//! Who wrote what. A template writes special tokens; a message must not be able to. Before a template is rendered,
//! every text that could become a special token is broken by a sentinel, a Unicode noncharacter that nothing else in
//! the conversation contains; the rendered text is cut at special tokens with the sentinels in place, and only then
//! are they taken out. So a message that says `<|im_end|>` is encoded as the plain text `<|im_end|>`.
//! It does not know Jinja; `template.rs` does.
//!
//! Broken are, in messages, tools and variables:
//! 1. each occurrence of a special token, overlapping ones too;
//! 2. outside the assistant's messages, each occurrence of another added token that the template itself writes (for
//!    instance `</tool_response>`), unless it is white space;
//! 3. the start and the end of a text that fits into a special token, so that neither two parts of a message nor a
//!    part and the template's own `<` and `>` join into one. Plain names (`user`, `image_url`) are left alone:
//!    templates compare with them and build their tokens from them.

use std::borrow::Cow;

use rustc_hash::FxHashSet;
use serde_json::{Map, Value};

use crate::added::AddedToken;
use crate::error::TemplateError;
use crate::tokenizer::Tokenizer;

/// The noncharacters U+FDD0..U+FDEF (Unicode 15, section 23.7).
const SENTINELS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// A rendered conversation, ready to be encoded by [`Tokenizer::encode_prompt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    guarded: String,
    sentinel: Option<char>,
}

impl Prompt {
    pub(crate) fn new(guarded: String, sentinel: char) -> Self {
        let sentinel = guarded.contains(sentinel).then_some(sentinel);
        Self { guarded, sentinel }
    }

    /// The text as the model reads it, without the marks that tell the template's tokens from the messages' text.
    pub fn text(&self) -> Cow<'_, str> {
        match self.sentinel {
            Some(sentinel) => Cow::Owned(self.guarded.replace(sentinel, "")),
            None => Cow::Borrowed(&self.guarded),
        }
    }

    /// The prompt with more text after it, in which special tokens are these tokens: for what a program itself adds,
    /// never for text from elsewhere.
    #[must_use]
    pub fn followed_by(mut self, trusted: &str) -> Self {
        self.guarded.push_str(trusted);
        self
    }

    pub(crate) fn guarded(&self) -> &str {
        &self.guarded
    }

    pub(crate) fn sentinel(&self) -> Option<char> {
        self.sentinel
    }
}

/// Starts and ends of special tokens, to recognise texts that fit into one. Made once for a tokenizer.
#[derive(Debug)]
pub(crate) struct Edges {
    /// Every proper start of a special token.
    starts: FxHashSet<String>,
    /// Every proper end of one.
    ends: FxHashSet<String>,
    specials: Vec<String>,
    longest: usize,
}

impl Edges {
    pub(crate) fn new(tokens: &[AddedToken]) -> Self {
        let specials: Vec<String> =
            tokens.iter().filter(|token| token.special).map(|token| token.text.clone()).collect();
        let (mut starts, mut ends) = (FxHashSet::default(), FxHashSet::default());
        for text in &specials {
            for (at, _) in text.char_indices().skip(1) {
                starts.insert(text[..at].to_owned());
                ends.insert(text[at..].to_owned());
            }
        }
        let longest = specials.iter().map(String::len).max().unwrap_or(0);
        Self { starts, ends, specials, longest }
    }

    /// Whether the end of `text` begins a special token.
    fn opens(&self, text: &str) -> bool {
        let from = text.len().saturating_sub(self.longest);
        text.char_indices().map(|(at, _)| at).filter(|&at| at >= from).any(|at| self.starts.contains(&text[at..]))
    }

    /// Whether the start of `text` ends a special token, or all of it lies within one.
    fn closes(&self, text: &str) -> bool {
        if text.is_empty() {
            return false;
        }
        let lengths = text.char_indices().map(|(at, character)| at + character.len_utf8());
        lengths.take_while(|&end| end <= self.longest).any(|end| self.ends.contains(&text[..end]))
            || (text.len() < self.longest && self.specials.iter().any(|special| special.contains(text)))
    }
}

/// Breaks what could become a special token in the parts of one conversation.
pub(crate) struct Guard<'a> {
    tokenizer: &'a Tokenizer,
    edges: &'a Edges,
    /// For each added token: whether the template writes it.
    written: Vec<bool>,
    sentinel: char,
}

impl<'a> Guard<'a> {
    /// `parts` is everything that the template can see: the sentinel occurs in none of it.
    pub(crate) fn new<'p>(
        tokenizer: &'a Tokenizer,
        template: &str,
        parts: impl Iterator<Item = &'p Value>,
    ) -> Result<Self, TemplateError> {
        let mut used = 0u32;
        note_sentinels(template, &mut used);
        for part in parts {
            visit(part, &mut |text| note_sentinels(text, &mut used));
        }
        let sentinel = SENTINELS.zip(0..).find(|(_, bit)| used & (1 << bit) == 0).map(|(sentinel, _)| sentinel);
        let sentinel = sentinel.ok_or_else(|| {
            TemplateError::Failed("the messages hold every noncharacter from U+FDD0 to U+FDEF; expected text".into())
        })?;
        let mut written = vec![false; tokenizer.added.all().len()];
        for (index, ..) in tokenizer.added.occurrences(template) {
            written[index] = !tokenizer.added.all()[index].text.chars().all(|c| c.is_whitespace() || c == '▁');
        }
        Ok(Self { tokenizer, edges: tokenizer.added.edges(), written, sentinel })
    }

    pub(crate) fn sentinel(&self) -> char {
        self.sentinel
    }

    /// A message; its role decides what is broken.
    pub(crate) fn message(&self, message: &Value) -> Result<Value, TemplateError> {
        let assistant = message.get("role").and_then(Value::as_str) == Some("assistant");
        self.value(message, !assistant)
    }

    /// Any other part. `outside`: not by the assistant.
    pub(crate) fn value(&self, value: &Value, outside: bool) -> Result<Value, TemplateError> {
        Ok(match value {
            Value::String(text) => Value::String(self.broken(text, outside)?),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.value(item, outside)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let fields =
                    fields.iter().map(|(key, value)| Ok((self.broken(key, outside)?, self.value(value, outside)?)));
                Value::Object(fields.collect::<Result<Map<_, _>, TemplateError>>()?)
            }
            other => other.clone(),
        })
    }

    fn broken(&self, text: &str, outside: bool) -> Result<String, TemplateError> {
        let mut breaks = Vec::new();
        for (index, start, end) in self.tokenizer.added.occurrences(text) {
            let token = &self.tokenizer.added.all()[index];
            if token.special || (outside && self.written[index]) {
                let first = text[start..end].chars().next().map_or(0, char::len_utf8);
                if start + first == end && token.special {
                    return Err(TemplateError::Failed(format!(
                        "the messages hold {:?}, a special token of one character that cannot be told from text",
                        token.text
                    )));
                }
                breaks.push(start + first);
            }
        }
        let is_name = text.chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | '-'));
        if !is_name {
            let trimmed_end = text.trim_end();
            breaks.extend([text, trimmed_end].iter().filter(|text| self.edges.opens(text)).map(|text| text.len()));
            if self.edges.closes(text) {
                breaks.push(0);
            }
            let trimmed = text.trim_start();
            if self.edges.closes(trimmed) || self.edges.closes(trimmed.trim_end()) {
                breaks.push(text.len() - trimmed.len());
            }
        }
        breaks.sort_unstable();
        breaks.dedup();
        let mut out = String::with_capacity(text.len() + breaks.len() * self.sentinel.len_utf8());
        let mut done = 0;
        for at in breaks {
            out.push_str(&text[done..at]);
            out.push(self.sentinel);
            done = at;
        }
        out.push_str(&text[done..]);
        Ok(out)
    }
}

fn note_sentinels(text: &str, used: &mut u32) {
    for character in text.chars().filter(|character| SENTINELS.contains(character)) {
        *used |= 1 << (u32::from(character) - u32::from(*SENTINELS.start()));
    }
}

/// Calls `seen` with every text of `value`, keys too.
fn visit(value: &Value, seen: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => seen(text),
        Value::Array(items) => items.iter().for_each(|item| visit(item, seen)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            seen(key);
            visit(value, seen);
        }),
        _ => {}
    }
}
