//! How a model calls tools: which format its template teaches it, and what that means for one request.
//!
//! A format is a file under `tools/` and a line in [`FORMATS`]. It is chosen by what the chat template says and writes,
//! never by a model's name; a template that takes tools in a format that is not here has requests with tools refused, as
//! guessing would lose calls in silence. This file knows no tokens. Read next: `tools/parser`, which reads an answer, and
//! `tools/held`, which says what a call may be where it is held to its tool.

mod call_object;
mod granite;
mod held;
mod hermes;
mod json;
mod llama;
mod mistral;
mod mistral_args;
mod nemotron;
mod parser;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use held::{Extent, HeldCalls};
pub(crate) use parser::{CallParser, Said};
pub(crate) use watch::{Borders, CallWatch};

use chat::{ChatError, ChatRequest, ToolChoice};
use std::collections::BTreeSet;

/// All formats. A template is of the first one that it is written for.
static FORMATS: [&Format; 6] = [
    &hermes::HERMES,
    &llama::LLAMA,
    &mistral_args::MISTRAL_ARGS,
    &mistral::MISTRAL,
    &granite::GRANITE,
    &nemotron::NEMOTRON,
];

/// The most tools of a request.
const MOST_TOOLS: usize = 1024;
/// The longest name of a tool, in bytes.
const LONGEST_NAME: usize = 128;

/// A way to write calls.
pub(crate) struct Format {
    /// For tests and messages.
    name: &'static str,
    /// Whether a chat template, with the escapes of its texts taken out, teaches this format.
    is_written: fn(&str) -> bool,
    /// Marks after which calls come.
    opens: &'static [&'static str],
    /// The mark after them.
    closes: Option<&'static str>,
    shape: Shape,
    /// Whether an answer that begins with a call's object, without a mark, is a call too.
    takes_bare: bool,
    /// How a held call is written: what stands before the name, after a mark or the bracket of a list,
    before_name: &'static str,
    /// between the name and the arguments' object,
    after_name: &'static str,
    /// after the arguments, before the closing mark,
    after_arguments: &'static str,
    /// and between two calls.
    between: &'static str,
    ids: Ids,
}

/// How calls stand within an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Marks, and between them an object for each call.
    Objects,
    /// A mark, then a list of objects.
    List,
    /// An object that is the whole answer; several follow one another.
    Bare,
    /// A mark, the name, perhaps an id after its own mark, another mark and the arguments; again for each call.
    Named { id_mark: &'static str, arguments_mark: &'static str },
}

/// The form of the ids that calls are named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// `call_` and 24 letters and digits.
    Prefixed,
    /// Nine letters and digits.
    Nine,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

impl Format {
    /// The format that a chat template teaches; none if it takes no tools or teaches one that is not here.
    pub(crate) fn of(template: &str) -> Option<&'static Format> {
        if !template.contains("tools") {
            return None;
        }
        let plain = template.replace("\\n", "\n").replace("\\\"", "\"").replace("\\'", "'");
        FORMATS.iter().copied().find(|format| (format.is_written)(&plain))
    }

    /// All marks, which a decoder may leave out as special tokens.
    fn marks(&self) -> Vec<&'static str> {
        let named = match self.shape {
            Shape::Named { id_mark, arguments_mark } => vec![id_mark, arguments_mark],
            Shape::Objects | Shape::List | Shape::Bare => vec![],
        };
        self.opens.iter().copied().chain(self.closes).chain(named).collect()
    }

    /// The id of a call as the template wants it: its own, where it has the form that the template checks; else one made
    /// of it, the same each time, so that a call and its result still go together.
    pub(crate) fn id_for_template(&self, id: &str) -> String {
        match self.ids {
            Ids::Nine if id.len() != 9 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                CallIds::new(Ids::Nine, hash(id.bytes().map(u64::from))).next()
            }
            Ids::Nine | Ids::Prefixed => id.to_owned(),
        }
    }
}

/// What tools mean for one answer.
pub(crate) struct Calls {
    pub(crate) parser: CallParser,
    /// What its calls are held to; none where they are free.
    pub(crate) held: Option<HeldCalls>,
}

/// What a request says of tools: the names, after they were checked.
///
/// # Errors
/// A name that cannot be one, names that are not different, a choice that no tool answers.
pub(crate) fn names_of(request: &ChatRequest) -> Result<Vec<String>, ChatError> {
    let invalid = |text: String| Err(ChatError::InvalidRequest(text));
    if request.tools.len() > MOST_TOOLS {
        return invalid(format!("expected at most {MOST_TOOLS} tools, got {}", request.tools.len()));
    }
    let mut seen = BTreeSet::new();
    for (index, tool) in request.tools.iter().enumerate() {
        let name = tool.name.as_str();
        let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':' | '/');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_name) {
            let shown: String = name.chars().take(LONGEST_NAME).collect();
            return invalid(format!(
                "the name of tool {index} is {shown:?}, expected 1 to {LONGEST_NAME} bytes of letters, digits and _-.:/"
            ));
        }
        if !seen.insert(name) {
            return invalid(format!("two tools have the name {name:?}"));
        }
    }
    match &request.tool_choice {
        ToolChoice::Required if seen.is_empty() => {
            invalid("a call of a tool is required, and no tools are given".to_owned())
        }
        ToolChoice::Named(name) if !seen.contains(name.as_str()) => {
            let known = seen.into_iter().collect::<Vec<_>>().join(", ");
            invalid(format!("the tool {name:?} is to be called and is none of the tools ({known})"))
        }
        _ => Ok(request.tools.iter().map(|tool| tool.name.clone()).collect()),
    }
}

/// What the tools `names` of a request mean for its answer in this format. Ids of calls follow from `seed` and the prompt.
pub(crate) fn calls_of(
    format: &'static Format,
    names: Vec<String>,
    request: &ChatRequest,
    seed: u64,
    prompt: &[u32],
) -> Calls {
    let names = match &request.tool_choice {
        ToolChoice::Named(name) => vec![name.clone()],
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => names,
    };
    let held = HeldCalls::of(format, request);
    let is_one = request.one_tool_call || matches!(request.tool_choice, ToolChoice::Named(_));
    // The turns of a conversation have different prompts, so that their calls have different ids under one seed too.
    let ids = CallIds::new(format.ids, seed ^ hash(prompt.iter().copied().map(u64::from)));
    let parser = CallParser::new(format, names, ids).one_call(is_one).holding(held.as_ref().map(HeldCalls::extent));
    Calls { parser, held }
}

/// Makes ids of calls.
#[derive(Debug, Clone)]
struct CallIds {
    style: Ids,
    state: u64,
}

impl CallIds {
    fn new(style: Ids, seed: u64) -> CallIds {
        CallIds { style, state: seed }
    }

    fn next(&mut self) -> String {
        let (prefix, len) = match self.style {
            Ids::Prefixed => ("call_", 24),
            Ids::Nine => ("", 9),
        };
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let letter = |_| char::from(letters[(self.random() % letters.len() as u64) as usize]);
        prefix.chars().chain((0..len).map(letter)).collect()
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// FNV-1a over numbers.
fn hash(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0xCBF2_9CE4_8422_2325, |hash, number| (hash ^ number).wrapping_mul(0x100_0000_01B3))
}
