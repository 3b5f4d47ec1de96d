//! Text to calls, while it streams: what is said beside calls goes on as text, calls come out as names and pieces of JSON.
//!
//! ```text
//! text -> (white space, perhaps a mark) held -> text
//!      -> mark -> [ -> call , call -> ] -> closing mark -> text
//! ```
//!
//! Nothing of a mark or a call ever goes out as text, and how the text is cut into pieces changes nothing. What is not a
//! call of one of the request's tools ends the answer with an error that shows it. This file knows shapes, not formats.
//! Read next: `call_object`, the object that most formats write a call as.

use super::call_object::{CallObject, ObjectPart};
use super::json::{JsonScanner, Scanned, expected};
use super::watch::{BLOCK, Bare, bare_call, in_block, may_become_block};
use super::{CallIds, Extent, Format, Shape};
use serde_json::{Map, Value};

/// Bytes of white space before a mark that are left out of the text; more is text.
const MOST_HELD_SPACE: usize = 256;

/// More text than this is no call that waits for its name, in bytes.
const LONGEST_PROBE: usize = 1 << 16;
/// The longest arguments of one call, in bytes.
const LONGEST_ARGUMENTS: usize = 1 << 20;
/// The longest name or id between marks, in bytes.
const LONGEST_WORD: usize = 256;
/// So much of what was said is shown in an error, in characters.
const EXCERPT: usize = 120;

/// A piece of an answer that may call tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Of the answer's text.
    Text(String),
    /// A call begins.
    Call { index: usize, id: String, name: String },
    /// Of the JSON object that it is called with.
    Arguments { index: usize, json: String },
}

/// Where in the answer the next character is.
#[derive(Debug, Clone)]
enum Place {
    Text,
    /// A brace began the answer: a call, or an answer that is JSON.
    Probe {
        raw: String,
        object: Box<CallObject>,
        parts: Vec<ObjectPart>,
    },
    /// The [ of a list must come.
    List,
    /// The { of a call must come.
    Item,
    Object(Box<CallObject>),
    /// After a call within marks or a list.
    AfterItem,
    /// The closing mark may come; so much of it has.
    Closing(usize),
    /// A name up to a mark.
    Name(String),
    /// An id up to a mark.
    Id(String),
    /// Arguments that stand alone.
    Arguments(JsonScanner),
}

/// Reads the calls of one answer.
pub(crate) struct CallParser {
    format: &'static Format,
    names: Vec<String>,
    ids: CallIds,
    one_call: bool,
    /// How far the answer is held to what its tools take: then calls are right, or cut short.
    extent: Option<Extent>,
    place: Place,
    /// Text that may turn out to stand before a mark.
    held: String,
    has_text: bool,
    /// The current call stands without marks.
    is_bare: bool,
    /// It stands in a block of code.
    is_in_block: bool,
    begun: usize,
    ended: usize,
    /// Of the current call: what is not out yet, and all.
    arguments: String,
    whole: String,
    /// The end of what was said, for errors.
    recent: String,
    has_failed: bool,
}

impl CallParser {
    pub(super) fn new(format: &'static Format, names: Vec<String>, ids: CallIds) -> CallParser {
        CallParser {
            format,
            names,
            ids,
            one_call: false,
            extent: None,
            place: Place::Text,
            held: String::new(),
            has_text: false,
            is_bare: false,
            is_in_block: false,
            begun: 0,
            ended: 0,
            arguments: String::new(),
            whole: String::new(),
            recent: String::new(),
            has_failed: false,
        }
    }

    /// Ends the answer after its first call.
    pub(super) fn one_call(mut self, one_call: bool) -> CallParser {
        self.one_call = one_call;
        self
    }

    /// Reads an answer that is held to what its tools take.
    pub(super) fn holding(mut self, extent: Option<Extent>) -> CallParser {
        self.extent = extent;
        self
    }

    /// Whether the answer is nothing but calls.
    fn is_calls(&self) -> bool {
        matches!(self.extent, Some(Extent::One | Extent::All))
    }

    /// Tokens that the decoder may leave out and that mean something here.
    pub(crate) fn marks(&self) -> Vec<&'static str> {
        self.format.marks()
    }

    /// Whether the answer has called a tool.
    pub(crate) fn has_called(&self) -> bool {
        self.ended > 0
    }

    /// Whether the answer is complete: one call was asked for and made.
    pub(crate) fn is_done(&self) -> bool {
        self.one_call && self.ended > 0
    }

    /// Takes the next piece and appends what is certain to `said`, also before an error.
    ///
    /// # Errors
    /// What is wrong with a call, in words. Nothing may follow.
    pub(crate) fn push(&mut self, piece: &str, said: &mut Vec<Said>) -> Result<(), String> {
        let mut outcome = Ok(());
        for next in piece.chars() {
            if self.is_done() || outcome.is_err() {
                break;
            }
            self.remember(next);
            outcome = self.take(next, said);
        }
        self.let_arguments_out(said);
        outcome.map_err(|why| self.failure(&why))
    }

    /// The answer has ended: what was held back is text. A held call that has not ended was cut short, which the reason of the
    /// end tells.
    ///
    /// # Errors
    /// When it ended within a call that is free.
    pub(crate) fn finish(&mut self, said: &mut Vec<Said>) -> Result<(), String> {
        if self.has_failed {
            return Ok(());
        }
        if matches!(self.place, Place::Probe { .. }) {
            let outcome = self.finish_probe(said);
            self.let_arguments_out(said);
            outcome.map_err(|why| self.failure(&why))?;
        }
        match std::mem::replace(&mut self.place, Place::Text) {
            Place::Text | Place::Closing(_) => {}
            Place::AfterItem if !matches!(self.format.shape, Shape::List) => {}
            _ if self.is_done() || self.extent.is_some() => {}
            _ => return Err(self.failure("the answer ends in the middle of a call")),
        }
        let held = std::mem::take(&mut self.held);
        // Of an answer that is calls, the beginning of a mark is no text.
        if !self.is_calls() && (self.begun == 0 || !held.trim().is_empty()) {
            self.let_text_out(&held, said);
        }
        Ok(())
    }

    /// The answer ends in an object that began it and is no call yet.
    fn finish_probe(&mut self, said: &mut Vec<Said>) -> Result<(), String> {
        let Place::Probe { raw, object, parts } = &mut self.place else { return Ok(()) };
        let may_be = |name: &str| self.names.iter().any(|known| known.starts_with(name));
        match self.extent {
            Some(_) if matches!(bare_call(raw, &self.names), Bare::Named(..)) => {
                let parts = std::mem::take(parts);
                self.give(parts, said)
            }
            Some(Extent::One | Extent::All) => Ok(()),
            None if object.name_so_far().is_some_and(may_be) => {
                Err("the answer ends in the middle of a call".to_owned())
            }
            None | Some(Extent::Opened) => self.give_up_probe(said),
        }
    }

    fn take(&mut self, next: char, said: &mut Vec<Said>) -> Result<(), String> {
        let is_space = next.is_ascii_whitespace();
        match &mut self.place {
            Place::Text => self.take_text(next, said),
            Place::Probe { .. } => return self.take_probe(next, said),
            Place::List | Place::Item | Place::AfterItem if is_space => {}
            Place::List if next == '[' => self.place = Place::Item,
            Place::List => return Err(expected("the [ of a list of calls", next)),
            Place::Item => {
                self.place = Place::Object(Box::new(CallObject::new()));
                return self.take(next, said);
            }
            Place::Object(object) => {
                let mut parts = Vec::new();
                let outcome = object.push(next, &mut |part| parts.push(part));
                self.give(parts, said)?;
                if outcome? {
                    self.end_call(said)?;
                }
            }
            Place::AfterItem => return self.take_after_item(next, said),
            Place::Closing(matched) => {
                let mark = if self.is_in_block { BLOCK } else { self.format.closes.unwrap_or_default() };
                let rest = mark.get(*matched..).unwrap_or_default();
                if rest.starts_with(next) {
                    *matched += next.len_utf8();
                    if rest.len() == next.len_utf8() {
                        self.is_in_block = false;
                        self.place = Place::Text;
                    }
                } else if *matched > 0 || !is_space {
                    return self.take_instead_of_closing(next, said);
                }
            }
            Place::Name(_) | Place::Id(_) => return self.take_word(next, said),
            Place::Arguments(scanner) => {
                if self.whole.is_empty() && is_space {
                    return Ok(());
                }
                if self.whole.is_empty() && next != '{' {
                    return Err(expected("the arguments to be an object", next));
                }
                let scanned = scanner.push(next)?;
                self.take_argument(next)?;
                if scanned == Scanned::Ended {
                    self.end_call(said)?;
                }
            }
        }
        Ok(())
    }

    fn take_text(&mut self, next: char, said: &mut Vec<Said>) {
        let is_bare = self.format.takes_bare;
        if self.begun > 0 && self.held.is_empty() && !self.has_text && (next.is_whitespace() || is_bare && next == ';')
        {
            return;
        }
        self.held.push(next);
        if let Some(mark) = self.format.opens.iter().find(|mark| self.held.ends_with(**mark)) {
            let before = self.held[..self.held.len() - mark.len()].trim_end().to_owned();
            self.held.clear();
            self.let_text_out(&before, said);
            (self.has_text, self.is_bare, self.is_in_block) = (false, false, false);
            self.place = match self.format.shape {
                Shape::Objects | Shape::Bare => Place::Item,
                Shape::List => Place::List,
                Shape::Named { .. } => Place::Name(String::new()),
            };
            return;
        }
        let is_first = is_bare && !self.has_text && self.held.len() <= MOST_HELD_SPACE;
        let block = in_block(&self.held);
        if is_first && (may_become_block(&self.held) || block.is_some_and(|rest| rest.trim().is_empty())) {
            return;
        }
        if is_bare && !self.has_text && block.unwrap_or(&self.held).trim_start() == "{" {
            let mut object = Box::new(CallObject::new());
            let mut parts = Vec::new();
            let begun = object.push(next, &mut |part| parts.push(part));
            debug_assert!(begun.is_ok(), "a brace opens a call");
            self.place = Place::Probe { raw: std::mem::take(&mut self.held), object, parts };
            return;
        }
        let kept = self.held.split_off(self.certain_text());
        let text = std::mem::replace(&mut self.held, kept);
        self.let_text_out(&text, said);
    }

    /// How much of the held text stands before no mark: all but a possible beginning of one and white space before it.
    fn certain_text(&self) -> usize {
        let starts = |rest: &str| self.format.opens.iter().any(|mark| mark.starts_with(rest));
        let longest = self.format.opens.iter().map(|mark| mark.len()).max().unwrap_or(0);
        let earliest = self.held.len().saturating_sub(longest);
        let places = (earliest..self.held.len()).filter(|&at| self.held.is_char_boundary(at));
        let mark = places.into_iter().find(|&at| starts(&self.held[at..])).unwrap_or(self.held.len());
        let kept = self.held[..mark].trim_end().len();
        // A model that makes white space without end is not read again from its beginning for each character.
        if mark - kept > MOST_HELD_SPACE { mark } else { kept }
    }

    /// A brace began the answer. It is a call once it has a name and arguments; what cannot become one is text.
    fn take_probe(&mut self, next: char, said: &mut Vec<Said>) -> Result<(), String> {
        let Place::Probe { raw, object, parts } = &mut self.place else { return Ok(()) };
        raw.push(next);
        let outcome = object.push(next, &mut |part| parts.push(part));
        if object.is_certain() {
            // Where a call has marks, an object without them that names no tool is an answer like any other; so is one that
            // was not held, where calls are.
            let is_known = object.name_so_far().is_some_and(|name| self.names.iter().any(|known| known == name));
            let is_call = match self.extent {
                Some(_) => matches!(bare_call(raw, &self.names), Bare::Named(..)),
                None => is_known || self.format.shape == Shape::Bare && in_block(raw).is_none(),
            };
            if !is_call {
                return self.give_up_probe(said);
            }
            let (object, parts) = (object.clone(), std::mem::take(parts));
            self.is_bare = true;
            self.is_in_block |= in_block(raw).is_some();
            self.place = Place::Object(object);
            self.give(parts, said)?;
            return match outcome? {
                true => self.end_call(said),
                false => Ok(()),
            };
        }
        match outcome {
            Err(why) if self.extent.is_none() && object.is_meant_for(&self.names) => Err(why),
            Ok(false) if raw.len() <= LONGEST_PROBE => Ok(()),
            _ => self.give_up_probe(said),
        }
    }

    /// What a brace began is text, in which marks mean what they mean in text.
    fn give_up_probe(&mut self, said: &mut Vec<Said>) -> Result<(), String> {
        let Place::Probe { raw, .. } = std::mem::replace(&mut self.place, Place::Text) else { return Ok(()) };
        self.has_text = true;
        raw.chars().try_for_each(|next| self.take(next, said))
    }

    fn take_after_item(&mut self, next: char, said: &mut Vec<Said>) -> Result<(), String> {
        match (self.format.shape, next) {
            (Shape::List, ',') => self.place = Place::Item,
            (Shape::List, ']') => self.place = self.after_calls(),
            (Shape::List, _) => return Err(expected("a comma or ]", next)),
            (_, '{') => {
                self.place = Place::Item;
                return self.take(next, said);
            }
            _ => {
                self.place = Place::Closing(0);
                return self.take(next, said);
            }
        }
        Ok(())
    }

    /// The closing mark does not come. Where one need not, what looked like it is text.
    fn take_instead_of_closing(&mut self, next: char, said: &mut Vec<Said>) -> Result<(), String> {
        let Place::Closing(matched) = std::mem::replace(&mut self.place, Place::Text) else { return Ok(()) };
        let mark = if self.is_in_block { BLOCK } else { self.format.closes.unwrap_or_default() };
        if !self.is_bare && self.format.shape != Shape::List {
            return Err(expected(&format!("{mark:?}"), next));
        }
        mark.get(..matched).unwrap_or_default().chars().chain([next]).try_for_each(|next| self.take(next, said))
    }

    fn after_calls(&self) -> Place {
        if self.format.closes.is_some() || self.is_in_block { Place::Closing(0) } else { Place::Text }
    }

    /// A name or an id between marks.
    fn take_word(&mut self, next: char, said: &mut Vec<Said>) -> Result<(), String> {
        let Shape::Named { id_mark, arguments_mark } = self.format.shape else { return Ok(()) };
        let (Place::Name(word) | Place::Id(word)) = &mut self.place else { return Ok(()) };
        word.push(next);
        if word.len() > LONGEST_WORD {
            return Err(format!("expected {arguments_mark:?} within {LONGEST_WORD} bytes of a call"));
        }
        let end =
            [id_mark, arguments_mark].into_iter().find_map(|mark| Some((mark, word.strip_suffix(mark)?.to_owned())));
        let Some((mark, word)) = end else { return Ok(()) };
        let is_name = matches!(self.place, Place::Name(_));
        if is_name {
            self.begin_call(word.trim(), said)?;
        }
        self.place = match (is_name, mark == arguments_mark) {
            (_, true) => Place::Arguments(JsonScanner::new()),
            (true, false) => Place::Id(String::new()),
            (false, false) => return Err(format!("expected {arguments_mark:?} after the id of a call, got {mark:?}")),
        };
        Ok(())
    }

    fn give(&mut self, parts: Vec<ObjectPart>, said: &mut Vec<Said>) -> Result<(), String> {
        for part in parts {
            match part {
                ObjectPart::Name(name) => self.begin_call(&name, said)?,
                ObjectPart::Argument(letter) => self.take_argument(letter)?,
            }
        }
        Ok(())
    }

    fn begin_call(&mut self, name: &str, said: &mut Vec<Said>) -> Result<(), String> {
        if !self.names.iter().any(|known| known == name) {
            return Err(format!("{name:?} is none of the tools ({})", self.names.join(", ")));
        }
        said.push(Said::Call { index: self.begun, id: self.ids.next(), name: name.to_owned() });
        self.begun += 1;
        Ok(())
    }

    fn take_argument(&mut self, letter: char) -> Result<(), String> {
        self.arguments.push(letter);
        self.whole.push(letter);
        match self.whole.len() {
            0..=LONGEST_ARGUMENTS => Ok(()),
            _ => Err(format!("the arguments of a call have more than {LONGEST_ARGUMENTS} bytes")),
        }
    }

    /// What is a valid object letter by letter may yet be none to a parser: half a surrogate pair, a number past any type.
    fn end_call(&mut self, said: &mut Vec<Said>) -> Result<(), String> {
        self.let_arguments_out(said);
        let whole = std::mem::take(&mut self.whole);
        serde_json::from_str::<Map<String, Value>>(&whole).map_err(|error| format!("the arguments: {error}"))?;
        self.ended += 1;
        self.has_text = false;
        self.place = match self.format.shape {
            Shape::Objects | Shape::List if !self.is_bare => Place::AfterItem,
            // One that lacks the first mark may have the last.
            _ => self.after_calls(),
        };
        Ok(())
    }

    fn let_arguments_out(&mut self, said: &mut Vec<Said>) {
        if !self.arguments.is_empty() {
            let index = self.begun.saturating_sub(1);
            said.push(Said::Arguments { index, json: std::mem::take(&mut self.arguments) });
        }
    }

    fn let_text_out(&mut self, text: &str, said: &mut Vec<Said>) {
        self.has_text |= !text.trim().is_empty();
        match said.last_mut() {
            _ if text.is_empty() => {}
            Some(Said::Text(before)) => before.push_str(text),
            _ => said.push(Said::Text(text.to_owned())),
        }
    }

    fn remember(&mut self, next: char) {
        self.recent.push(next);
        // Cut seldom, so that it costs little.
        if self.recent.len() > 16 * EXCERPT {
            self.recent = self.excerpt();
        }
    }

    fn excerpt(&self) -> String {
        let start = self.recent.char_indices().rev().nth(EXCERPT - 1).map_or(0, |(at, _)| at);
        self.recent[start..].to_owned()
    }

    fn failure(&mut self, why: &str) -> String {
        self.has_failed = true;
        format!(
            "the model's answer is no valid call of a tool: {why}\nit ends in: {}\n\
             hint: ask again, with another seed or a larger model",
            self.excerpt()
        )
    }
}
