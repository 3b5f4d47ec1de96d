//! Where a model that may say anything opens a call, as its tokens come: the place from which on the call is held.
//!
//! ```text
//! free text -> a mark, or {"name": "<a tool> where the answer is an object -> held, until the call is complete -> free
//! ```
//!
//! An object is held from the end of the name on, before its quotation mark: models write that in one token with what follows,
//! and would rather say something else than the mark alone.
//!
//! A call opens at the end of a token, never within one: tokens that would go past the place are not allowed there, so that
//! nothing of a call is said before it is held. What `parser` takes for a call in a held answer and what this file does are
//! the same. This file knows no grammar. Read next: `watched`, the constraint that uses it.

use super::Format;
use super::held::bare_before_name;
use tokenizer::Tokenizer;

/// Tokens of a model that a call could open in the middle of.
#[derive(Debug, Default)]
pub(crate) struct Borders {
    /// Those that hold an end of a mark, or of a name, and go on after it.
    crossing: Vec<(u32, Vec<u8>)>,
    /// Those of them that hold a whole mark: they may come nowhere.
    never: Vec<u32>,
}

impl Borders {
    /// Finds them.
    pub(crate) fn of(tokenizer: &Tokenizer, format: &Format) -> Borders {
        let ends: Vec<u8> = format.opens.iter().filter_map(|mark| mark.bytes().last()).collect();
        let is_end = |byte: &u8| ends.contains(byte) || format.takes_bare && *byte == b'"';
        let token = |id: u32| {
            let bytes = tokenizer.token_bytes(id);
            let (_, before) = bytes.split_last()?;
            before.iter().any(is_end).then(|| (id, bytes.into_owned()))
        };
        let text = (0..tokenizer.vocabulary_len() as u32).filter(|&id| !tokenizer.is_special(id));
        Borders::among(text.filter_map(token).collect(), format)
    }

    fn among(crossing: Vec<(u32, Vec<u8>)>, format: &Format) -> Borders {
        let holds_mark = |bytes: &[u8]| {
            let (_, before) = bytes.split_last().unwrap_or((&0, &[]));
            format.opens.iter().any(|mark| before.windows(mark.len()).any(|window| window == mark.as_bytes()))
        };
        let never = crossing.iter().filter(|(_, bytes)| holds_mark(bytes)).map(|(id, _)| *id).collect();
        Borders { crossing, never }
    }
}

/// Watches what a model says outside of calls.
#[derive(Debug)]
pub(crate) struct CallWatch {
    format: &'static Format,
    names: Vec<String>,
    /// What may yet become a mark, or an object that names a tool.
    said: Vec<u8>,
    /// Whether text came since the answer began or the last call ended: then no object is a call.
    has_text: bool,
    has_called: bool,
    /// What may yet close the call that ended last, where it had no mark.
    closing: Option<&'static str>,
}

impl CallWatch {
    pub(crate) fn new(format: &'static Format, names: Vec<String>) -> CallWatch {
        CallWatch { format, names, said: Vec::new(), has_text: false, has_called: false, closing: None }
    }

    /// Takes a token. Where a call opens with it: how that is written in the grammar of calls.
    pub(crate) fn push_token(&mut self, tokenizer: &Tokenizer, token: u32) -> Option<String> {
        if !tokenizer.is_special(token) {
            return self.push(&tokenizer.token_bytes(token));
        }
        // Answers are shown without the others.
        let mut marks = self.format.marks().into_iter();
        let mark = marks.find(|mark| tokenizer.id_of(mark) == Some(token)).unwrap_or_default();
        self.push(mark.as_bytes())
    }

    /// The token of a mark that opens a call, where it has one.
    pub(crate) fn mark_token(&self, tokenizer: &Tokenizer, opening: &str) -> Option<u32> {
        let mark = self.format.opens.iter().find(|mark| **mark == opening)?;
        tokenizer.id_of(mark)
    }

    /// The same of a token's text.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<String> {
        self.said.extend_from_slice(bytes);
        let opened = self.opened(&self.said);
        if let Some(opening) = &opened {
            self.closing = self.closing_after(opening);
        }
        self.forget();
        opened
    }

    /// A thought has opened: what was said is none of the answer.
    pub(crate) fn begin_again(&mut self) {
        self.said.clear();
        self.has_text = false;
    }

    /// The call that opened is complete.
    pub(crate) fn call_ended(&mut self) {
        self.begin_again();
        self.has_called = true;
    }

    /// The tokens that may not come here, because a call would open within them.
    pub(crate) fn forbidden(&self, borders: &Borders) -> Vec<u32> {
        let mut said = self.said.clone();
        if !self.is_near(&said) {
            return borders.never.clone();
        }
        let opens_within = |(id, token): &&(u32, Vec<u8>)| {
            if borders.never.contains(id) {
                return true;
            }
            said.truncate(self.said.len());
            for (index, &byte) in token[..token.len() - 1].iter().enumerate() {
                said.push(byte);
                if self.opened(&said).is_some() {
                    said.extend_from_slice(&token[index + 1..]);
                    // A name, and with its last byte the quotation mark.
                    return self.opened(&said).is_none();
                }
                if !self.is_near(&said) {
                    return false;
                }
            }
            false
        };
        borders.crossing.iter().filter(opens_within).map(|(id, _)| *id).collect()
    }

    /// Whether something has begun that may open a call.
    fn is_near(&self, said: &[u8]) -> bool {
        self.begun_mark(said) > 0 || matches!(self.bare(said), Bare::Begun)
    }

    /// How much at the end of a text begins a mark.
    fn begun_mark(&self, said: &[u8]) -> usize {
        let begun = |mark: &&str| {
            let longest = (mark.len() - 1).min(said.len());
            (1..=longest).rev().find(|&len| said.ends_with(&mark.as_bytes()[..len])).unwrap_or(0)
        };
        self.format.opens.iter().map(begun).max().unwrap_or(0)
    }

    /// What opens at the end of a text.
    fn opened(&self, said: &[u8]) -> Option<String> {
        if let Some(mark) = self.format.opens.iter().find(|mark| said.ends_with(mark.as_bytes())) {
            return Some((*mark).to_owned());
        }
        match self.bare(said) {
            Bare::Name(name) => Some(format!("{}{name}", bare_before_name(self.format))),
            Bare::Named(name, "") => Some(format!("{}{name}\"", bare_before_name(self.format))),
            _ => None,
        }
    }

    fn bare<'t>(&self, said: &'t [u8]) -> Bare<'t> {
        match std::str::from_utf8(said) {
            Ok(text) if self.format.takes_bare && !self.has_text => bare_call(self.fresh(text), &self.names),
            // Whole characters come with the next tokens.
            Err(error) if error.error_len().is_none() && self.format.takes_bare && !self.has_text => Bare::Begun,
            _ => Bare::No,
        }
    }

    /// What may close the call that has opened.
    fn closing_after(&self, opening: &str) -> Option<&'static str> {
        let said = std::str::from_utf8(&self.said).unwrap_or_default();
        if self.format.opens.contains(&opening) {
            None
        } else if in_block(self.fresh(said)).is_some() || self.is_in_block(said) {
            Some(BLOCK)
        } else {
            self.format.closes
        }
    }

    /// Whether the block of code that the last call stood in has not been closed.
    fn is_in_block(&self, said: &str) -> bool {
        self.closing == Some(BLOCK) && !said.trim_ascii_start().starts_with(BLOCK)
    }

    /// What follows white space and, after a call, what may stand between two.
    fn fresh<'t>(&self, text: &'t str) -> &'t str {
        let is_between = |letter: char| letter.is_whitespace() || self.has_called && letter == ';';
        let closed = self.closing.and_then(|mark| text.trim_ascii_start().strip_prefix(mark));
        closed.unwrap_or(text).trim_start_matches(is_between)
    }

    /// Keeps of what was said only what may matter.
    fn forget(&mut self) {
        if matches!(self.bare(&self.said), Bare::No) {
            let is_blank = std::str::from_utf8(&self.said).is_ok_and(|text| self.may_become_fresh(text));
            if is_blank {
                return;
            }
            self.has_text = true;
            let kept = self.begun_mark(&self.said);
            self.said.drain(..self.said.len() - kept);
        }
    }

    /// Whether no text has come yet that is none of what stands before and between calls.
    fn may_become_fresh(&self, text: &str) -> bool {
        let may_close = self.closing.is_some_and(|mark| mark.starts_with(text.trim_ascii_start()));
        !self.has_text && (self.fresh(text).is_empty() || may_close)
    }
}

/// What an object without marks is, as far as it has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bare<'t> {
    /// No call.
    No,
    /// Perhaps one.
    Begun,
    /// Up to the end of a tool's name; another name may go on from there.
    Name(String),
    /// One of this tool; what follows the name's last quotation mark.
    Named(String, &'t str),
}

/// Whether a text is an object that begins by naming one of these tools: only that is a call without marks where calls are
/// held, since what comes before the name is not.
pub(super) fn bare_call<'t>(text: &'t str, names: &[String]) -> Bare<'t> {
    let named = || -> Result<Bare<'t>, Bare<'t>> {
        if may_become_block(text) {
            return Err(Bare::Begun);
        }
        let mut rest = eat(in_block(text).unwrap_or(text), "{")?;
        // As some models write it.
        match eat(rest, "\"type\"") {
            Ok(after) => rest = eat(eat(eat(after, ":")?, "\"function\"")?, ",")?,
            Err(Bare::No) => {}
            Err(begun) => return Err(begun),
        }
        let rest = eat(eat(rest, "\"name\"")?, ":").and_then(|rest| eat(rest, "\""))?;
        let whole = names.iter().find_map(|name| Some((name, rest.strip_prefix(name.as_str())?.strip_prefix('"')?)));
        Ok(match whole {
            Some((name, after)) => Bare::Named(name.clone(), after),
            None if names.iter().any(|name| name == rest) => Bare::Name(rest.to_owned()),
            None if names.iter().any(|name| name.starts_with(rest)) => Bare::Begun,
            None => Bare::No,
        })
    };
    named().unwrap_or_else(|other| other)
}

/// The mark around a block of code.
pub(super) const BLOCK: &str = "```";

/// How a block of code begins that an object may stand in, as models show JSON.
const BLOCKS: [&str; 2] = ["```json\n", "```\n"];

/// What follows the beginning of a block of code.
pub(super) fn in_block(text: &str) -> Option<&str> {
    let text = text.trim_start();
    BLOCKS.iter().find_map(|block| text.strip_prefix(block))
}

/// Whether a text may be the beginning of a block of code, and is more than white space.
pub(super) fn may_become_block(text: &str) -> bool {
    let text = text.trim_start();
    !text.is_empty() && BLOCKS.iter().any(|block| block.len() > text.len() && block.starts_with(text))
}

/// What follows a word, before which white space may stand.
fn eat<'t>(text: &'t str, word: &str) -> Result<&'t str, Bare<'t>> {
    let rest = text.trim_start_matches([' ', '\t', '\n', '\r']);
    match rest.strip_prefix(word) {
        Some(after) => Ok(after),
        None if word.starts_with(rest) => Err(Bare::Begun),
        None => Err(Bare::No),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{hermes::HERMES, llama::LLAMA, mistral::MISTRAL};
    use super::*;

    fn watch(format: &'static Format) -> CallWatch {
        CallWatch::new(format, ["add", "add_all"].map(str::to_owned).to_vec())
    }

    /// After how many letters a call opens, and as what.
    fn opens(watch: &mut CallWatch, text: &str) -> Option<(usize, String)> {
        text.bytes().enumerate().find_map(|(index, byte)| Some((index + 1, watch.push(&[byte])?)))
    }

    #[test]
    fn a_mark_opens_a_call_wherever_it_stands() {
        for (format, mark) in [(&HERMES, "<tool_call>"), (&MISTRAL, "[TOOL_CALLS]"), (&LLAMA, "<|python_tag|>")] {
            for before in ["", "Well.\n", "<tool_", "[TOOL", "\u{8a9e}", "{\"name\": \"ad"] {
                let text = format!("{before}{mark}");
                assert_eq!(opens(&mut watch(format), &text), Some((text.len(), mark.to_owned())), "{text}");
                assert_eq!(watch(format).push(text.as_bytes()), Some(mark.to_owned()), "at once: {text}");
            }
        }
    }

    #[test]
    fn an_object_that_names_a_tool_opens_a_call_at_the_start_of_an_answer() {
        let written = "{\"name\": \"add";
        for (format, text) in [
            (&HERMES, written),
            (&LLAMA, written),
            (&LLAMA, " \n{ \"name\" :\t\"add"),
            (&LLAMA, "{\"type\": \"function\", \"name\": \"add"),
            (&HERMES, "\n```json\n{\n  \"name\": \"add"),
            (&HERMES, "```\n{\"name\": \"add"),
        ] {
            assert_eq!(opens(&mut watch(format), text), Some((text.len(), written.to_owned())), "{text}");
        }
        for longer in ["{\"name\": \"add_all", "{\"name\": \"add\""] {
            assert_eq!(watch(&LLAMA).push(longer.as_bytes()).as_deref(), Some(longer), "in one token");
        }
        for text in
            ["So: {\"name\": \"add\"", "{\"name\": \"ad\"", "{\"id\": 1, \"name\": \"add\"", "[{\"name\": \"add\""]
        {
            assert_eq!(opens(&mut watch(&LLAMA), text), None, "{text}");
        }
        assert_eq!(opens(&mut watch(&MISTRAL), written), None, "a format with marks alone");
    }

    #[test]
    fn another_call_may_open_after_one_has_ended() {
        let mut watch = watch(&HERMES);
        opens(&mut watch, "So. <tool_call>").unwrap();
        watch.call_ended();
        assert!(opens(&mut watch, "\n{\"name\": \"add\"").is_some());
        watch.call_ended();
        assert!(opens(&mut watch, "\n</tool_call>\n```json\n{\"name\": \"add\"").is_some());
        watch.call_ended();
        assert!(opens(&mut watch, "\n```\n; {\"name\": \"add\"").is_some());
        watch.call_ended();
        assert!(opens(&mut watch, "Text. {\"name\": \"add\"").is_none());
        assert!(opens(&mut watch, "<tool_call>").is_some());
    }

    #[test]
    fn no_token_may_go_past_where_a_call_opens() {
        let texts = ["\",", "\": ", "d\", \"", ">\n", "l>x", "\"\"", "d\"", ">", "a<tool_call>b", "<tool_call>"];
        let crossing = texts.iter().zip(0..).map(|(text, id)| (id, text.as_bytes().to_vec())).collect();
        let borders = Borders::among(crossing, &HERMES);
        let forbidden = |said: &str| {
            let mut watch = watch(&HERMES);
            assert_eq!(watch.push(said.as_bytes()), None);
            watch.forbidden(&borders).into_iter().map(|id| texts[id as usize]).collect::<Vec<_>>()
        };
        let always = "a<tool_call>b";
        assert_eq!(forbidden("{\"name\": \"ad"), ["d\", \"", always]);
        assert_eq!(forbidden("{\"name\": \"bad"), [always]);
        assert_eq!(forbidden("Text <tool_call"), [">\n", always]);
        assert_eq!(forbidden("Text <tool_cal"), ["l>x", always]);
        assert_eq!(forbidden("Text >"), [always]);
    }

    #[test]
    fn nothing_is_kept_of_text_that_can_be_no_call() {
        let mut watch = watch(&HERMES);
        for _ in 0..1_000 {
            assert_eq!(watch.push(b"some text < and <tool "), None);
            assert!(watch.said.len() <= "<tool_call>".len(), "{:?}", watch.said);
        }
    }
}
