//! The examples of a task, read from its tables.
//!
//! It knows how many a kind shows and reads none where it shows none. Read next: `table.rs`.

use crate::table::Table;
use crate::task::Example;
use crate::{Input, Task, TaskError};
use std::path::Path;

impl Task {
    /// The examples that the model may be shown: the rows of its `train` table, or none where its kind shows none.
    ///
    /// # Errors
    /// The table cannot be read, lacks a column, or has a row that is no example.
    pub fn shown_examples(&self) -> Result<Vec<Example>, TaskError> {
        match (self.shots(), &self.data.train) {
            (0, _) | (_, None) => Ok(Vec::new()),
            (_, Some(train)) => self.examples_of(train),
        }
    }

    /// All rows of a table as examples.
    ///
    /// # Errors
    /// As [`Task::shown_examples`].
    pub fn examples_of(&self, path: &Path) -> Result<Vec<Example>, TaskError> {
        let table = Table::open(path)?;
        let name = table.path().display().to_string();
        let columns: Vec<_> = table.columns().iter().map(String::as_str).collect();
        self.check_columns(&name, &columns)?;
        let mut examples = Vec::new();
        for row in table {
            let row = row?;
            let number = row.number;
            let wrong = |error: TaskError| TaskError::Data(format!("{name}, row {number}: {error}"));
            examples.push(self.example(Input::from(row)).map_err(wrong)?);
        }
        Ok(examples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(folder: &Path, settings: &str) -> Task {
        let text = format!(
            "kind = \"classify\"\n[data]\ntrain = \"train.csv\"\nexpected = \"label\"\n\
             [classify]\nlabels = [\"a\", \"b\"]\n{settings}"
        );
        Task::parse(&text, &folder.join("letters.toml")).unwrap()
    }

    #[test]
    fn examples_are_read_where_they_are_shown_and_a_row_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.csv");
        assert!(task(folder.path(), "").shown_examples().unwrap().is_empty(), "no table is there, and none is needed");
        std::fs::write(&path, "text,label\nx,a\ny,b\n").unwrap();
        let shown = task(folder.path(), "shots = 1").shown_examples().unwrap();
        assert_eq!((shown.len(), shown[1].expected.as_str()), (2, Some("b")));
        std::fs::write(&path, "text,label\nx,a\ny,c\n").unwrap();
        let error = task(folder.path(), "shots = 1").shown_examples().unwrap_err().to_string();
        assert!(error.ends_with("train.csv, row 2: column \"label\": \"c\" is not one of the labels: a, b"), "{error}");
        std::fs::write(&path, "text,topic\nx,a\n").unwrap();
        let error = task(folder.path(), "shots = 1").shown_examples().unwrap_err().to_string();
        assert!(error.contains("train.csv has no column \"label\", which the task reads\nhint: "), "{error}");
    }
}
