//! Complete: code from a cursor on, to the end of its line or of its block.
//!
//! What stands before the cursor is continued as plain text; a model that fills in the middle is given what follows
//! too. The model is stopped as soon as the line or the block is over (`complete/block.rs`), it is not read on and
//! cut afterwards.

mod block;

use super::{Asking, Kind, KindRow, Prepared, object};
use crate::asking::{Asker, Written};
use crate::init::{Guess, Sample};
use crate::reader::Section;
use crate::task::{DataFiles, Example};
use crate::template::field_text;
use crate::{Input, Outcome, Task, TaskError, Template};
use chat::{ChatError, ChooseResponse, CompletionRequest, FinishReason, Prompt};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Its line of the table.
pub(super) static ROW: KindRow = KindRow {
    name: "complete",
    about: "code from a cursor on, to the end of its line or block",
    input: "prefix",
    keys: &["stop", "suffix"],
    read,
    guess,
};

/// The field with what follows the cursor, where rows have it.
const SUFFIX: &str = "suffix";
/// Tokens of a line and of a block where the task says nothing.
const LINE_TOKENS: usize = 64;
const BLOCK_TOKENS: usize = 512;
/// Bytes of the line after the cursor that, said again, are no chance.
const SHORTEST_REPEAT: usize = 4;
/// Times that code too long for the context is cut to fewer lines; each cut is by what the one before left too long.
const MOST_CUTS: usize = 6;

/// Where a completion ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CompletionEnd {
    /// With the innermost block that surrounds the cursor, or the one that the completion begins.
    #[default]
    Block,
    /// With the line.
    Line,
}

/// The settings of a task that completes code.
///
/// Its outcomes have `completion`, and `ended`: `block`, `line`, `model` (it ended its text), or `length`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Complete {
    /// Where a completion ends.
    pub end: CompletionEnd,
    /// The field with what follows the cursor, where every input has one; else `suffix` is read of those that do.
    pub suffix: Option<String>,
}

/// The input of a completion at a place of a file: what stands before and after it. Lines and columns count from 1,
/// columns in characters; the column after a line's last character is its end.
///
/// # Errors
/// The file has no such place.
pub fn cursor(text: &str, line: usize, column: usize) -> Result<Input, TaskError> {
    let count = text.split('\n').count();
    let mut start = 0;
    let found = text.split('\n').enumerate().find_map(|(index, content)| {
        let here = start;
        start += content.len() + 1;
        (index + 1 == line).then_some((here, content.strip_suffix('\r').unwrap_or(content)))
    });
    let Some((start, content)) = found else {
        return Err(TaskError::Input(format!(
            "there is no line {line}\nhint: the text has {count} lines, counted from 1"
        )));
    };
    let length = content.chars().count();
    if column == 0 || column > length + 1 {
        let hint = format!("hint: columns go from 1 to {}, the line's end", length + 1);
        return Err(TaskError::Input(format!("line {line} has no column {column}\n{hint}")));
    }
    let within = content.char_indices().nth(column - 1).map_or(content.len(), |(at, _)| at);
    let (prefix, suffix) = text.split_at(start + within);
    let fields = [(ROW.input.to_owned(), Value::from(prefix)), (SUFFIX.to_owned(), Value::from(suffix))];
    Ok(Input { fields: Map::from_iter(fields), pages: Vec::new() })
}

fn read(mut section: Section<'_>, _: &DataFiles) -> Result<Arc<dyn Kind>, TaskError> {
    let end = match section.take("stop") {
        Some(entry) => {
            let wrong = entry.expected("\"block\" or \"line\"");
            match entry.text()?.as_str() {
                "block" => CompletionEnd::Block,
                "line" => CompletionEnd::Line,
                _ => return Err(wrong),
            }
        }
        None => CompletionEnd::Block,
    };
    Ok(Arc::new(Complete { end, suffix: section.text("suffix")? }))
}

fn guess(sample: &Sample<'_>) -> Result<Guess, TaskError> {
    let prefix = sample.named(&["prefix", "prompt", "before", "code"]).or_else(|| sample.longest(&[]));
    let Some(prefix) = prefix else {
        return Err(TaskError::Data("no column looks like code\nhint: call it `prefix`".to_owned()));
    };
    let suffix = sample.named(&["suffix", "after"]).filter(|column| *column != prefix);
    let expected = sample.named(&["completion", "expected", "middle"]);
    let mut settings = "[complete]\n# Ends with the line or the block.\nstop = \"block\"\n".to_owned();
    if let Some(suffix) = suffix {
        settings.push_str(&format!("# What follows the cursor.\nsuffix = {}\n", crate::init::quoted(&suffix)));
    }
    Ok(Guess { input: vec![prefix], expected, is_label: false, settings })
}

impl Kind for Complete {
    fn row(&self) -> &'static KindRow {
        &ROW
    }

    fn settings(&self) -> Value {
        json!({ "line": self.end == CompletionEnd::Line, "suffix": self.suffix })
    }

    fn outcome_schema(&self) -> Value {
        let ended = json!({"enum": ["block", "line", "model", "length"]});
        object(&json!({"completion": {"type": "string"}, "ended": ended}))
    }

    fn optional_fields(&self) -> Vec<&str> {
        if self.suffix.is_none() { vec![SUFFIX] } else { Vec::new() }
    }

    fn fields(&self) -> Vec<&str> {
        self.suffix.as_deref().into_iter().collect()
    }

    fn ready<'a>(
        &'a self,
        asker: Asker,
        task: &'a Task,
        _: &'a [Example],
    ) -> BoxFuture<'a, Result<Prepared, TaskError>> {
        Box::pin(async move {
            let info = asker.model().info();
            if !info.capabilities.complete {
                let model = info.name.clone();
                return Err(TaskError::Model(ChatError::Unsupported { model, what: "completion of plain text" }));
            }
            let warnings = match task.instructions {
                Some(_) => {
                    vec!["`instructions` have no effect on a completion: code is continued as it stands".to_owned()]
                }
                None => Vec::new(),
            };
            let asking = Completing { settings: self.clone(), asker, input: task.input.clone() };
            Ok(Prepared { asking: Box::new(asking), warnings, shown: Value::Null })
        })
    }
}

struct Completing {
    settings: Complete,
    asker: Asker,
    input: Template,
}

impl Completing {
    /// What follows the cursor, and whether the model can be told.
    fn suffix(&self, input: &Input) -> Result<String, TaskError> {
        match &self.settings.suffix {
            Some(field) => field_text(input, field),
            None if input.fields.contains_key(SUFFIX) => field_text(input, SUFFIX),
            None => Ok(String::new()),
        }
    }

    /// Completes, with fewer lines far from the cursor where all do not fit.
    async fn write(&self, prefix: &str, suffix: &str, outcome: &mut Outcome) -> Result<(Written, bool), TaskError> {
        let is_line = self.settings.end == CompletionEnd::Line;
        let can_insert = self.asker.model().info().capabilities.insert;
        if !suffix.trim().is_empty() && !can_insert {
            outcome
                .warnings
                .push("the model does not fill in the middle: what follows the cursor was not read".to_owned());
        }
        let told = if can_insert && !suffix.trim().is_empty() { suffix } else { "" };
        let options = self.asker.options(if is_line { LINE_TOKENS } else { BLOCK_TOKENS });
        let answer_tokens = options.max_tokens.unwrap_or(0);
        let (mut before, mut after) = (prefix, told);
        for _ in 0..MOST_CUTS {
            let request = CompletionRequest {
                suffix: (!after.is_empty()).then(|| after.to_owned()),
                ..CompletionRequest::new(Prompt::Text(before.to_owned()), options.clone())
            };
            let mut is_over = false;
            let mut watch = |text: &str| {
                let end = end_of(self.settings.end, prefix, text, suffix);
                is_over = end.is_some();
                end
            };
            match self.asker.complete_or_measure(request, &mut watch).await? {
                Ok(written) => {
                    if (before, after) != (prefix, told) {
                        outcome.warnings.push(format!(
                            "the code is longer than the context: of {} bytes before the cursor the last {} \
                             were read, of {} after it the first {}",
                            prefix.len(),
                            before.len(),
                            told.len(),
                            after.len()
                        ));
                    }
                    return Ok((written, is_over));
                }
                Err((tokens, context)) => {
                    let room = context.saturating_sub(answer_tokens);
                    let kept = |bytes: usize| (bytes as u128 * room as u128 / tokens.max(1) as u128) as usize / 16 * 15;
                    (before, after) = (last_lines(before, kept(before.len())), first_lines(after, kept(after.len())));
                    if before.is_empty() {
                        break;
                    }
                }
            }
        }
        Err(TaskError::Input(
            "the lines at the cursor alone are longer than the context\nhint: load the model with a larger context, \
                              or lower max_tokens in [options]"
                .to_owned(),
        ))
    }
}

/// The byte of a completion at which it is over.
fn end_of(end: CompletionEnd, prefix: &str, text: &str, suffix: &str) -> Option<usize> {
    let by_itself = match end {
        CompletionEnd::Line => text.find('\n').map(|at| text[..at].trim_end_matches('\r').len()),
        CompletionEnd::Block => {
            let end = block::block_end(prefix, text, !suffix.trim().is_empty());
            // The line break before what follows stands there already.
            let has_break = suffix.starts_with(['\r', '\n']);
            end.map(|end| if has_break { text[..end].trim_end_matches(['\r', '\n']).len() } else { end })
        }
    };
    let by_suffix = suffix_again(text, suffix);
    by_itself.into_iter().chain(by_suffix).min()
}

/// The byte at which a completion begins to repeat what follows the cursor: its first line, where that is more than
/// marks that any line may have.
fn suffix_again(text: &str, suffix: &str) -> Option<usize> {
    let line = suffix.trim_start().lines().next()?.trim_end();
    if line.len() < SHORTEST_REPEAT {
        return None;
    }
    let is_lines_own = suffix[..suffix.len() - suffix.trim_start().len()].contains('\n');
    let places = text.match_indices(line).map(|(at, _)| at);
    let mut ends = places.filter_map(|at| {
        let before = text[..at].trim_end_matches([' ', '\t']);
        match is_lines_own {
            true => before.strip_suffix('\n').map(|before| before.trim_end_matches('\r').len()),
            false => Some(at),
        }
    });
    ends.next()
}

/// The last lines of a text that have at most so many bytes together; a part of the last where it alone has more.
fn last_lines(text: &str, most: usize) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(most));
    let is_line = start == 0 || text[..start].ends_with('\n');
    let line = if is_line { Some(start) } else { text[start..].find('\n').map(|at| start + at + 1) };
    &text[line.filter(|&line| line < text.len()).unwrap_or(start)..]
}

/// The first lines of a text that have at most so many bytes together; a part of the first where it alone has more.
fn first_lines(text: &str, most: usize) -> &str {
    let end = text.floor_char_boundary(most);
    &text[..text[..end].rfind('\n').map_or(end, |at| at + 1)]
}

impl Asking for Completing {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let (prefix, suffix) = (self.input.fill(input)?, self.suffix(input)?);
            let mut outcome = Outcome::default();
            let (written, is_over) = self.write(&prefix, &suffix, &mut outcome).await?;
            written.count(&mut outcome);
            let ended = match (is_over, written.reason, self.settings.end) {
                (true, _, CompletionEnd::Block) => "block",
                (true, _, CompletionEnd::Line) => "line",
                (false, FinishReason::Length, _) => "length",
                (false, ..) => "model",
            };
            if !is_over {
                outcome.warnings.extend(written.warning_of_length("the completion"));
            }
            outcome.fields.insert("completion".to_owned(), Value::from(written.text));
            outcome.fields.insert("ended".to_owned(), Value::from(ended));
            Ok(outcome)
        })
    }

    /// What follows the cursor is not read: texts are scored from left to right.
    fn likelihood<'a>(
        &'a self,
        input: &'a Input,
        text: &'a str,
    ) -> BoxFuture<'a, Result<(ChooseResponse, usize), TaskError>> {
        Box::pin(async move { Ok((self.asker.likelihood_after(self.input.fill(input)?, text).await?, text.len())) })
    }

    fn preview(&self, input: &Input) -> Result<String, TaskError> {
        let (prefix, suffix) = (self.input.fill(input)?, self.suffix(input)?);
        Ok(if suffix.is_empty() { prefix } else { format!("{prefix}[cursor]{suffix}") })
    }
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
