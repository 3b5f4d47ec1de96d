//! Test rows and results in the formats of other tools, in and out: a format is a file here and a line of the table.
//!
//! ```text
//! their test cases -> Source -> the format that fits -> Imported: a plain table, what to write into the task file, what was lost
//! a run of the ledger -> Exported -> the file that their tools read
//! ```
//!
//! What a format says and a task has no place for is named with how often it came, and never dropped in silence. It knows
//! no terminal and runs nothing that a file names.

mod lm_eval;
mod openai_evals;
mod promptfoo;

use crate::EvalError;
use ledger::{Answer, Run, RunRow};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use tasks::table::Table;

/// More bytes than any honest file of test cases has.
const LARGEST_FILE: u64 = 1 << 30;

/// A format of another tool.
#[derive(Debug)]
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    fits: fn(&Source) -> bool,
    read: fn(&Source) -> Result<Imported, EvalError>,
    write: fn(&Exported<'_>, &mut dyn Write) -> io::Result<()>,
    /// Whether one file holds several candidates.
    pub holds_many: bool,
}

/// Every format, in the order in which a file is tried.
pub static FORMATS: [&Format; 3] = [&lm_eval::FORMAT, &promptfoo::FORMAT, &openai_evals::FORMAT];

/// A file of test cases, as far as it is read without knowing whose it is.
#[derive(Debug)]
pub struct Source {
    /// The file, as messages name it.
    name: String,
    /// Its rows; of one JSON value, that value alone.
    content: Content,
}

#[derive(Debug)]
enum Content {
    Rows(Vec<Map<String, Value>>),
    Whole(Value),
}

/// Test cases as a plain table.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The name of the format that they were in.
    pub format: &'static str,
    /// The rows, with what is right in the column [`Imported::expected`].
    pub rows: Vec<Map<String, Value>>,
    /// The column that holds what is right.
    pub expected: String,
    /// What they are to be judged by, where the file says so.
    pub goal: Option<Proposal>,
    /// What was not taken over, and what became of what was, a sentence each.
    pub notes: Vec<String>,
}

/// What a task file may say of its goal.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The metric that does what the file asks for.
    pub metric: &'static str,
    /// What the file calls it.
    pub theirs: String,
    /// The figure that each row had to reach there, which is not the figure of all rows.
    pub row_threshold: Option<f64>,
}

/// Reads a file of test cases; the format is found by what is in it where none is named.
///
/// # Errors
/// The file cannot be read, is in no format that is known, or has no row that can be judged.
pub fn import(path: &Path, format: Option<&str>) -> Result<Imported, EvalError> {
    let source = Source::read(path)?;
    let wrong = |reason: String| EvalError::Interchange(format!("{}: {reason}", source.name));
    let names = FORMATS.map(|format| format.name).join(", ");
    let found = match format {
        Some(name) => FORMATS.iter().find(|format| format.name == name),
        None => FORMATS.iter().find(|format| (format.fits)(&source)),
    };
    let Some(found) = found else {
        return Err(wrong(format!(
            "expected test cases of {names}\nhint: rows with `input` and `ideal`; with `vars` and `assert`, or columns \
             `__expected`; with `doc` and `target`. A plain table needs no import: name it in [data]"
        )));
    };
    let imported = (found.read)(&source)?;
    if imported.rows.is_empty() {
        let lost = imported.notes.join("; ");
        let lost = if lost.is_empty() { String::new() } else { format!(": {lost}") };
        return Err(wrong(format!(
            "expected rows that say what is right, got none{lost}\nhint: a verdict needs tens of them"
        )));
    }
    Ok(imported)
}

impl Source {
    fn read(path: &Path) -> Result<Source, EvalError> {
        let name = path.display().to_string();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        if matches!(ending.as_str(), "yaml" | "yml") {
            return Err(EvalError::Interchange(format!(
                "{name}: expected JSON, JSON lines or CSV, got YAML\nhint: it can name programs to run; write its tests \
                 as JSON: `yq -o json`, or the tool's own export"
            )));
        }
        if ending != "json" {
            let rows = Table::open(path)?.map(|row| row.map(|row| row.fields)).collect::<Result<_, _>>()?;
            return Ok(Source { name, content: Content::Rows(rows) });
        }
        let wrong =
            |reason: String| EvalError::Interchange(format!("{name}: {reason}\nhint: name a file of test cases"));
        let bytes = std::fs::metadata(path).map_err(|error| wrong(format!("cannot be read: {error}")))?.len();
        if bytes > LARGEST_FILE {
            return Err(wrong(format!("expected at most {LARGEST_FILE} bytes, got {bytes}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let value = serde_json::from_str(&text).map_err(|error| wrong(format!("expected JSON, got {error}")))?;
        Ok(Source { name, content: Content::Whole(value) })
    }

    /// The first row, where there are rows.
    fn first(&self) -> Option<&Map<String, Value>> {
        match &self.content {
            Content::Rows(rows) => rows.first(),
            Content::Whole(_) => None,
        }
    }

    /// The rows; none of a value that is no list of objects.
    fn rows(&self) -> Vec<&Map<String, Value>> {
        match &self.content {
            Content::Rows(rows) => rows.iter().collect(),
            Content::Whole(value) => value.as_array().into_iter().flatten().filter_map(Value::as_object).collect(),
        }
    }
}

/// What was not taken over, with how often it came.
#[derive(Debug, Default)]
struct Lost(BTreeMap<String, usize>);

impl Lost {
    fn add(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    fn notes(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(what, count)| match count {
            1 => format!("left out once: {what}"),
            count => format!("left out {count} times: {what}"),
        })
    }
}

/// A name for a column that no row has.
fn free_name(rows: &[Map<String, Value>], wanted: &str) -> String {
    let mut name = wanted.to_owned();
    while rows.iter().any(|row| row.contains_key(&name)) {
        name.push('_');
    }
    name
}

/// A run to be written.
pub struct Exported<'r> {
    /// The run.
    pub run: &'r Run,
    /// Its candidates, each with its place among all of the run.
    pub candidates: Vec<(u32, String)>,
    /// Its rows, by candidate, then by number.
    pub rows: &'r [RunRow],
}

impl Exported<'_> {
    /// Writes it in a format of [`FORMATS`].
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(&self, format: &Format, out: &mut dyn Write) -> io::Result<()> {
        (format.write)(self, out)
    }

    fn spec(&self, path: &str) -> &str {
        self.run.new.spec.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }

    fn metric(&self) -> &str {
        self.spec("/goal/metric")
    }

    fn rows_of(&self, position: u32) -> impl Iterator<Item = &RunRow> {
        self.rows.iter().filter(move |row| row.position == position)
    }

    /// What came, as a text; empty where nothing did.
    fn given(&self, row: &RunRow) -> String {
        row.answer.as_ref().map_or(String::new(), |answer| crate::render::in_words(&answer.outcome, self.spec("/kind")))
    }
}

/// A row is right where its score is all that it can be.
fn is_right(row: &RunRow) -> bool {
    row.score.is_some_and(|score| score >= 1.0)
}

/// What was asked.
fn prompt(row: &RunRow) -> &str {
    row.answer.as_ref().and_then(|answer| answer.prompt.as_deref()).unwrap_or_default()
}

fn tokens(answer: Option<&Answer>) -> (u64, u64, u64) {
    answer.map_or((0, 0, 0), |answer| (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens))
}

/// A moment as these formats write it (ISO 8601, UTC).
fn moment(ms: u64) -> String {
    let nanoseconds = i128::from(ms) * 1_000_000;
    let moment =
        time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, hour, minute, second) = (moment.date(), moment.hour(), moment.minute(), moment.second());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", moment.millisecond())
}

/// A JSON object in a line.
fn line(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    writeln!(out, "{value}")
}

#[cfg(test)]
#[path = "interchange/tests.rs"]
mod tests;
