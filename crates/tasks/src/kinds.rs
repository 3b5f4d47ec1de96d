//! The kinds of tasks: one file and one line of the table each.
//!
//! A kind is the settings of its own table in a task file. Made ready for a model, it becomes an [`Asking`], which
//! does one input after another. Everything that all inputs of a task have in common comes first in its prompts
//! (`frame.rs`), so that a model reads it once.

mod answer;
mod classify;
mod complete;
mod extract;
mod generate;
mod summarize;

pub use answer::Answer;
pub use classify::{Classify, Label};
pub use complete::{Complete, CompletionEnd, cursor};
pub use extract::{Extract, Field};
pub use generate::Generate;
pub use summarize::Summarize;

use crate::asking::Asker;
use crate::init::{Guess, Sample};
use crate::reader::Section;
use crate::task::{DataFiles, Example};
use crate::{Input, Outcome, Task, TaskError};
use futures::future::BoxFuture;
use serde_json::Value;
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// Reads a kind's own table of a task file.
type Read = fn(Section<'_>, &DataFiles) -> Result<Arc<dyn Kind>, TaskError>;

/// A kind of task, as task files name it.
#[derive(Debug)]
pub struct KindRow {
    /// The value of `kind`, and the name of the table with its settings.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// The field that an input's text is in where the task has no template.
    pub input: &'static str,
    /// The keys of its table.
    pub(crate) keys: &'static [&'static str],
    pub(crate) read: Read,
    /// What it makes of a table that a task begins with.
    pub(crate) guess: fn(&Sample<'_>) -> Result<Guess, TaskError>,
}

/// Every kind.
pub static KINDS: [&KindRow; 6] =
    [&classify::ROW, &extract::ROW, &summarize::ROW, &answer::ROW, &complete::ROW, &generate::ROW];

/// The settings of a task of some kind.
pub trait Kind: Any + Debug + Send + Sync {
    /// Its line of the table.
    fn row(&self) -> &'static KindRow;

    /// All settings that outcomes depend on, for the fingerprint.
    fn settings(&self) -> Value;

    /// Fields that are read of an input beside those of the task's template.
    fn fields(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The fields that its outcomes have, in their order.
    fn outcome_fields(&self) -> Vec<&'static str>;

    /// How many examples are shown to the model.
    fn shots(&self) -> usize {
        0
    }

    /// The right outcome, as a cell of a table has it; the text of the error says what was expected.
    fn expected(&self, cell: Value) -> Result<Value, String> {
        Ok(cell)
    }

    /// The same with a model. Examples are those that may be shown to it.
    fn ready<'a>(
        &'a self,
        asker: Asker,
        task: &'a Task,
        examples: &'a [Example],
    ) -> BoxFuture<'a, Result<Prepared, TaskError>>;
}

/// What a kind makes of itself and a model.
pub struct Prepared {
    /// Does the inputs.
    pub asking: Box<dyn Asking>,
    /// What the caller should know, once for all inputs.
    pub warnings: Vec<String>,
    /// The examples that the model is shown, for the fingerprint.
    pub shown: Value,
}

/// A kind with its model.
pub trait Asking: Send + Sync {
    /// Does one input.
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>>;

    /// The prompt that an input makes, or the first where it takes several.
    fn preview(&self, input: &Input) -> Result<String, TaskError>;
}
