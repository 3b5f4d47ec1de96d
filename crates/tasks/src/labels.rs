//! Rows of a test table that have no right answer yet, and answers that people write into it.
//!
//! A row is unlabelled where its cell of the `expected` column is missing or empty. Where nothing may be what is right (no
//! label of several, none of these, a question that its text does not answer), an empty cell says so, and a row that has
//! no answer yet has [`UNLABELLED`] there. Read next: `table/edit.rs`, how a cell is written.

use crate::seeded::hex_digest;
use crate::table::{Cell, Edit, Table, changed, check_format};
use crate::task::Example;
use crate::{Input, Task, TaskError};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What a cell holds whose row has no right answer yet, where an empty one says something.
pub const UNLABELLED: &str = "?";

/// The rows of a test table that have an answer, and the numbers of those that have none yet.
#[derive(Debug, Default)]
pub struct Labelled {
    /// Those with an answer, each with its number, from 1.
    pub examples: Vec<(u64, Example)>,
    /// The numbers of the others.
    pub unlabelled: Vec<u64>,
}

/// What a table has to be labelled.
#[derive(Debug)]
pub struct Labels {
    /// The table.
    pub table: PathBuf,
    /// Its rows, with an answer and without.
    pub rows: u64,
    /// Those without, in the order of the table.
    pub unlabelled: Vec<OpenRow>,
}

/// A row without an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRow {
    /// Its place in the table, from 1.
    pub number: u64,
    /// The digest of all of its cells: whoever answers says it again, so that no other row gets the answer.
    pub version: String,
    /// What the task reads of it.
    pub fields: Map<String, Value>,
}

impl Task {
    /// Whether a row of its data has no right answer yet.
    pub fn is_unlabelled(&self, row: &Map<String, Value>) -> bool {
        let cell = self.data.expected.as_ref().and_then(|column| row.get(column));
        cell.is_none_or(|cell| self.kind_settings().is_unlabelled(cell))
    }

    /// Whether nothing may be what is right: then an empty cell says so.
    pub fn may_be_nothing(&self) -> bool {
        !self.kind_settings().is_unlabelled(&Value::Null)
    }

    /// The rows of a table as examples, those without an answer named and left out.
    ///
    /// # Errors
    /// The table cannot be read, lacks a column, or has a row whose answer is none of this task.
    pub fn labelled(&self, path: &Path) -> Result<Labelled, TaskError> {
        let table = Table::open(path)?;
        let name = table.path().display().to_string();
        let columns: Vec<_> = table.columns().iter().map(String::as_str).collect();
        self.check_columns(&name, &columns)?;
        let mut labelled = Labelled::default();
        for row in table {
            let row = row?;
            let number = row.number;
            if self.data.expected.is_some() && self.is_unlabelled(&row.fields) {
                labelled.unlabelled.push(number);
                continue;
            }
            let wrong = |error: TaskError| TaskError::Data(format!("{name}, row {number}: {error}"));
            labelled.examples.push((number, self.example(Input::from(row)).map_err(wrong)?));
        }
        Ok(labelled)
    }

    /// What its test table has to be labelled.
    ///
    /// # Errors
    /// The task names no test table or no column, the table cannot be read, or no cell of it can be written.
    pub fn labels(&self) -> Result<Labels, TaskError> {
        let (path, _) = self.labelling()?;
        check_format(path)?;
        let table = Table::open(path)?;
        let mut labels = Labels { table: table.path().to_path_buf(), rows: 0, unlabelled: Vec::new() };
        for row in table {
            let row = row?;
            labels.rows += 1;
            if self.is_unlabelled(&row.fields) {
                let (number, version) = (row.number, version(&row.fields));
                labels.unlabelled.push(OpenRow { number, version, fields: self.read_fields(&row.fields) });
            }
        }
        Ok(labels)
    }

    /// Writes an answer into the test table, where the row is still the one that was seen; returns what it is known by
    /// from now on. An answer that was written may be put right the same way.
    ///
    /// # Errors
    /// [`TaskError::Changed`] where the row is another one by now; [`TaskError::Data`] where the answer is none of this
    /// task, or cannot be written into the table; [`TaskError::Storage`].
    pub fn label(&self, number: u64, seen: &str, answer: &Value) -> Result<String, TaskError> {
        let (path, column) = self.labelling()?;
        let meant =
            self.kind_settings().expected(answer.clone()).map_err(|why| TaskError::Data(format!("answer: {why}")))?;
        if self.kind_settings().is_unlabelled(answer) {
            return Err(TaskError::Data(format!("answer: expected one, got {answer}")));
        }
        let edit = Edit::of(path, &Cell { number, column, value: answer })?;
        if version(edit.before()) != seen {
            return Err(changed(path, &format!("row {number} is another one by now")));
        }
        let after = Input { fields: edit.after().clone(), pages: Vec::new() };
        // Of several labels one may hold what parts them.
        let is_meant = !self.is_unlabelled(edit.after()) && self.example(after).is_ok_and(|row| row.expected == meant);
        if !is_meant {
            let (path, written) = (path.display(), edit.after().get(column).cloned().unwrap_or_default());
            return Err(TaskError::Data(format!(
                "{path}, row {number}: {answer} would be read as {written}\nhint: a jsonl table holds any answer"
            )));
        }
        let version = version(edit.after());
        edit.write()?;
        Ok(version)
    }

    /// What serves the page on which people answer its rows. A task that names no model needs one there.
    pub fn labelling_command(&self) -> String {
        let model = if self.model.is_some() { "" } else { "MODEL " };
        format!("bantam serve {model}--task {}.toml", self.name)
    }

    /// What it reads of a row.
    pub fn read_fields(&self, row: &Map<String, Value>) -> Map<String, Value> {
        let fields = self.fields().into_iter().chain(self.optional_fields());
        fields.filter_map(|field| Some((field.to_owned(), row.get(field)?.clone()))).collect()
    }

    fn labelling(&self) -> Result<(&Path, &str), TaskError> {
        match (&self.data.test, &self.data.expected) {
            (Some(test), Some(expected)) => Ok((test, expected)),
            (test, _) => Err(TaskError::Data(format!(
                "the task {} names no {}\nhint: add `test = \"FILE\"` and `expected = \"COLUMN\"` to [data]",
                self.name,
                if test.is_some() { "column for what is right" } else { "test table" }
            ))),
        }
    }
}

fn version(row: &Map<String, Value>) -> String {
    hex_digest(&Value::Object(row.clone()).to_string())
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
