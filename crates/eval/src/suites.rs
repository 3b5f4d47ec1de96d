//! Standard benchmarks, read from the files that their authors published: one file and one line of the table each.
//!
//! A suite brings the rows of its test, a task of one of the usual kinds, metrics of its own, and the way in which its
//! protocol asks a model. All else (what was asked before, intervals, verdicts, reports) is as for a task file. Nothing is
//! fetched: a file that is not there is an error that says whose it is.
//!
//! Read next: `suites/asking.rs` for how a prompt is put to a model, then any suite.

mod asking;
mod files;

mod dialogsum;
mod gsm8k;
mod humaneval;
mod ifeval;
mod mbpp;
mod mmlu;
mod squad2;

pub use asking::{Asked, Way, prompt};

use crate::EvalError;
use crate::TestSet;
use crate::metrics::{MetricError, MetricRow};
use crate::report::Protocol;
use chat::GenerationOptions;
use files::Folder;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tasks::batch::fingerprint;
use tasks::{Example, Grading, Task, Template, Tests};

/// Goes into the fingerprint of every suite; whoever changes what any of them asks raises it.
const VERSION: &str = "1";

/// A standard benchmark.
#[derive(Debug)]
pub struct SuiteRow {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it asks, in one line.
    pub about: &'static str,
    /// How rows are asked and scored.
    pub protocol: &'static str,
    /// Who published this protocol.
    pub source: &'static str,
    /// Examples that a model is shown before each row.
    pub shots: u32,
    /// What a reader of its figures should know.
    pub notes: &'static [&'static str],
    /// The project that publishes its files.
    pub(crate) project: &'static str,
    /// The field of a row that names the part of the test that it is of.
    pub(crate) part: Option<&'static str>,
    /// Its metrics, the main one first.
    pub(crate) metrics: &'static [&'static MetricRow],
    /// How a row's prompt is put to a model; none where the task's kind has its own way.
    pub(crate) way: Option<Way>,
    /// Reads its files.
    read: fn(&Folder<'_>) -> Result<Published, EvalError>,
}

/// Every suite.
pub static SUITES: [&SuiteRow; 7] =
    [&mmlu::ROW, &gsm8k::ROW, &ifeval::ROW, &squad2::ROW, &humaneval::ROW, &mbpp::ROW, &dialogsum::ROW];

/// What the files of a suite hold.
struct Published {
    /// The file of the test.
    table: PathBuf,
    /// What is asked.
    task: Task,
    /// All its rows, in the order of the file.
    examples: Vec<Example>,
}

/// A suite with its rows.
#[derive(Debug)]
pub struct Suite {
    /// Its line of the table.
    pub row: &'static SuiteRow,
    /// What is asked; the goal is still to be set.
    pub task: Task,
    /// The rows of its test.
    pub test: TestSet,
}

impl Suite {
    /// Reads a suite from the folder with its files; of a longer test `limit` rows, drawn by chance and always the same.
    ///
    /// # Errors
    /// There is no suite of this name, a file is missing, or it is not as published.
    pub fn open(name: &str, folder: &Path, limit: Option<usize>) -> Result<Suite, EvalError> {
        let Some(row) = SUITES.iter().copied().find(|row| row.name == name) else {
            let names: Vec<_> = SUITES.iter().map(|row| row.name).collect();
            let names = names.join(", ");
            return Err(EvalError::Test(format!("there is no suite {name:?}\nhint: the suites are {names}")));
        };
        let Published { table, task, examples } = (row.read)(&Folder { path: folder, project: row.project })?;
        if examples.is_empty() {
            return Err(EvalError::Test(format!(
                "{}: expected the rows of {name}, got none\nhint: its files are those of {}",
                table.display(),
                row.project
            )));
        }
        let test = TestSet::of_suite(row, table, examples, limit);
        Ok(Suite { row, task, test })
    }
}

impl SuiteRow {
    /// The metric of a name, or the main one.
    ///
    /// # Errors
    /// The suite has none of this name.
    pub fn metric(&self, name: Option<&str>) -> Result<&'static MetricRow, MetricError> {
        let Some(name) = name else { return Ok(self.metrics[0]) };
        self.metrics.iter().copied().find(|row| row.name == name).ok_or_else(|| {
            let names: Vec<_> = self.metrics.iter().map(|row| row.name).collect();
            let names = names.join(", ");
            MetricError::Unfit(format!("{} has no metric `{name}`\nhint: its metrics are {names}", self.name))
        })
    }

    /// The digest of how it asks and scores.
    pub fn fingerprint(&self) -> String {
        fingerprint(&["suite", self.name, self.protocol, VERSION])
    }

    /// How it asks and scores, as reports tell it.
    pub fn protocol(&self) -> Protocol {
        Protocol {
            suite: self.name.to_owned(),
            text: self.protocol.to_owned(),
            source: self.source.to_owned(),
            shots: self.shots,
        }
    }
}

/// The likeliest token each time, whatever a model's author recommends beside it: at most so many, up to any of these
/// texts.
fn greedy(max_tokens: usize, stop: &[&str]) -> GenerationOptions {
    GenerationOptions {
        max_tokens: Some(max_tokens),
        temperature: Some(0.0),
        repeat_penalty: Some(1.0),
        presence_penalty: Some(0.0),
        frequency_penalty: Some(0.0),
        stop: stop.iter().map(|text| (*text).to_owned()).collect(),
        ..GenerationOptions::default()
    }
}

/// Answers that are right where the Python program made of them ends well.
fn passing(program: &str) -> Result<Grading, EvalError> {
    Ok(Grading::Tests(Tests {
        program: Template::parse(program)?,
        run: vec!["python3".to_owned()],
        time: Duration::from_secs(10),
        memory_bytes: 1 << 30,
    }))
}

#[cfg(test)]
#[path = "suites/tests.rs"]
mod tests;
