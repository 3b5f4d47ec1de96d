//! Calls that are held to their tools: which names may come, how a call is written around them, and what each is called with.
//!
//! A call that is required is held whole; where a tool is strict, so is every call that the model opens by itself. What a call
//! may be is one pattern from its first mark to its last, so that tokens may reach from one part into the next. This file
//! knows no automaton and does not see answers. Read next: `watch`, which sees where a model opens a call, and `format`, which
//! keeps the grammars.

use super::{CallWatch, Format, Shape};
use chat::{ChatRequest, Tool, ToolChoice};
use grammar::Pattern;
use serde::Serialize;
use serde_json::{Value, json};
use tokenizer::Tokenizer;

/// How far an answer is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Extent {
    /// It is one call.
    One,
    /// It is calls and nothing else.
    All,
    /// It is free until it opens a call, and after each.
    Opened,
}

/// What the calls of an answer are held to. Two that are equal have the same grammar.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HeldCalls {
    #[serde(skip)]
    format: &'static Format,
    extent: Extent,
    tools: Vec<HeldTool>,
}

/// A tool that may be called.
#[derive(Debug, Clone, Serialize)]
struct HeldTool {
    /// Its place among the tools of the request.
    number: usize,
    name: String,
    /// Of its arguments.
    schema: Value,
}

impl HeldCalls {
    /// What a request has the calls of its answer held to; none where they are free. Where calls are required, each is held
    /// to its tool's schema. Where the model may call, those of strict tools are, and those of the others to being an object,
    /// so that a model cannot leave the grammar by the name of another tool.
    pub(crate) fn of(format: &'static Format, request: &ChatRequest) -> Option<HeldCalls> {
        let tools = || request.tools.iter().enumerate();
        let (extent, chosen): (_, Vec<(usize, &Tool)>) = match &request.tool_choice {
            ToolChoice::None => return None,
            ToolChoice::Auto if request.tools.iter().any(|tool| tool.strict) => (Extent::Opened, tools().collect()),
            ToolChoice::Auto => return None,
            ToolChoice::Required if request.one_tool_call => (Extent::One, tools().collect()),
            ToolChoice::Required => (Extent::All, tools().collect()),
            ToolChoice::Named(name) => (Extent::One, tools().filter(|(_, tool)| tool.name == *name).collect()),
        };
        let tools = chosen.into_iter().map(|(number, tool)| HeldTool {
            number,
            name: tool.name.clone(),
            schema: match extent {
                Extent::Opened if !tool.strict => json!({}),
                _ => schema_of(tool),
            },
        });
        Some(HeldCalls { format, extent, tools: tools.collect() })
    }

    /// Watches where a free answer opens a call.
    pub(crate) fn watch(&self) -> CallWatch {
        CallWatch::new(self.format, self.tools.iter().map(|tool| tool.name.clone()).collect())
    }

    /// How the calls are written.
    pub(crate) fn format(&self) -> &'static Format {
        self.format
    }

    /// How far the answer is held.
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// What the model may write from where it is held on: the whole answer, or a call that it opens.
    pub(crate) fn pattern(&self, tokenizer: &Tokenizer) -> Pattern {
        let writing = Writing { calls: self, tokenizer };
        match (self.extent, self.format.shape) {
            (Extent::One, _) => writing.marked(false),
            // The list itself holds several.
            (Extent::All, Shape::List) => writing.marked(true),
            (Extent::All, _) => writing.several(writing.marked(false)),
            (Extent::Opened, _) => writing.opened(),
        }
    }
}

/// The schema of a tool's arguments; one that has none takes any object.
fn schema_of(tool: &Tool) -> Value {
    match tool.definition.pointer("/function/parameters") {
        None | Some(Value::Null) => json!({}),
        Some(schema) => schema.clone(),
    }
}

/// Makes patterns of a format's texts.
struct Writing<'a> {
    calls: &'a HeldCalls,
    tokenizer: &'a Tokenizer,
}

impl Writing<'_> {
    fn format(&self) -> &'static Format {
        self.calls.format
    }

    /// Text of the format: a mark is its token where it has one.
    fn fixed(&self, text: &str) -> Pattern {
        let mark = self.format().marks().into_iter().find(|mark| *mark == text);
        match mark.and_then(|mark| self.tokenizer.id_of(mark)) {
            Some(id) => Pattern::Token(id),
            None => Pattern::text(text),
        }
    }

    /// A call between these.
    fn call(&self, before: &str, after: &str) -> Pattern {
        let after_name = self.fixed(self.format().after_name);
        let tool = |tool: &HeldTool| {
            let arguments = Pattern::Object { number: tool.number, schema: tool.schema.clone() };
            Pattern::Row(vec![Pattern::text(tool.name.as_str()), after_name.clone(), arguments])
        };
        let tools = self.calls.tools.iter().map(tool).collect();
        Pattern::Row(vec![Pattern::text(before), Pattern::Choice(tools), Pattern::text(after)])
    }

    /// Several of these. White space between two may also come after the last: a model that begins a new line has not said by
    /// that whether another call follows.
    fn several(&self, one: Pattern) -> Pattern {
        let between = self.format().between;
        let next = Pattern::Row(vec![Pattern::text(between), one.clone()]);
        let mut row = vec![one, Pattern::Repeat(Box::new(next))];
        if !between.is_empty() && between.trim().is_empty() {
            row.push(Pattern::Choice(vec![Pattern::text(""), Pattern::text(between)]));
        }
        Pattern::Row(row)
    }

    /// From mark to mark: a call, or a list of several where there is one.
    fn marked(&self, holds_several: bool) -> Pattern {
        let format = self.format();
        let call = self.call(format.before_name, format.after_arguments);
        let mut row: Vec<Pattern> = match format.shape {
            Shape::Bare => return call,
            Shape::Objects | Shape::Named { .. } => vec![self.fixed(format.opens[0]), call],
            Shape::List => {
                let calls = if holds_several { self.several(call) } else { call };
                vec![self.fixed(format.opens[0]), Pattern::text("["), calls, Pattern::text("]")]
            }
        };
        row.extend(format.closes.map(|mark| self.fixed(mark)));
        Pattern::Row(row)
    }

    /// From where a model opened a call, by a mark or by an object that names a tool.
    fn opened(&self) -> Pattern {
        let format = self.format();
        let marked = self.marked(true);
        if !format.takes_bare {
            return marked;
        }
        let bare = self.call(bare_before_name(format), format.after_arguments.trim_end());
        match format.shape {
            Shape::Bare => Pattern::Choice(vec![Pattern::Row(vec![self.fixed(format.opens[0]), marked]), bare]),
            _ => Pattern::Choice(vec![marked, bare]),
        }
    }
}

/// What stands before the name in a call without marks.
pub(super) fn bare_before_name(format: &Format) -> &'static str {
    format.before_name.trim_start()
}
