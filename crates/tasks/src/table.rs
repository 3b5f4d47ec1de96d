//! Tables: rows of csv, tsv, jsonl, parquet and xlsx files, one at a time, and files of results.
//!
//! A table is read as a stream; only a sheet of a workbook is held in memory. Every row has a number, the ones that
//! cannot be read too. It knows nothing of tasks and models. Read next: `table/delimited.rs`, the plainest format;
//! `table/writer.rs`; `table/edit.rs`, one cell written into a file.

mod delimited;
mod edit;
mod jsonl;
mod parquet;
mod source;
mod workbook;
mod writer;

pub(crate) use edit::{Cell, Edit, changed, check_format};
pub use writer::Writer;

use crate::TaskError;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// More columns than any honest table has; a limit on what a hostile one takes.
const MOST_COLUMNS: usize = 10_000;

/// More bytes than any honest row has.
const LONGEST_ROW_BYTES: u64 = 32 << 20;

/// A kind of file that has rows.
#[derive(Debug)]
struct Format {
    /// The endings of names, the first of them being the format's name.
    extensions: &'static [&'static str],
    open: fn(&Path, sheet: Option<&str>) -> Result<Opened, TaskError>,
    /// The same of bytes that are in memory.
    parse: fn(&[u8]) -> Result<Parsed, TaskError>,
    /// Whether `#` and the name of a sheet may follow the file's name.
    has_sheets: bool,
    /// Finds where a cell stands in the file's text; none where its bytes are no text.
    find: Option<edit::Find>,
}

/// A new format is a file in `table/` and a line here.
const FORMATS: &[Format] = &[
    Format {
        extensions: &["csv"],
        open: delimited::open_csv,
        parse: delimited::parse_csv,
        has_sheets: false,
        find: Some(delimited::find_csv),
    },
    Format {
        extensions: &["tsv", "tab"],
        open: delimited::open_tsv,
        parse: delimited::parse_tsv,
        has_sheets: false,
        find: Some(delimited::find_tsv),
    },
    Format {
        extensions: &["jsonl", "ndjson"],
        open: jsonl::open,
        parse: jsonl::parse,
        has_sheets: false,
        find: Some(jsonl::find),
    },
    Format { extensions: &["parquet"], open: parquet::open, parse: parquet::parse, has_sheets: false, find: None },
    Format {
        extensions: &["xlsx", "xlsm"],
        open: workbook::open,
        parse: workbook::parse,
        has_sheets: true,
        find: None,
    },
];

/// What a format makes of a file.
struct Opened {
    columns: Vec<String>,
    count: Option<u64>,
    warnings: Vec<String>,
    rows: Rows,
}

/// The fields of rows, or why a row has none. What follows an error is the next row, or nothing where there is no
/// going on.
type Rows = Box<dyn Iterator<Item = Result<Map<String, Value>, TaskError>> + Send>;

/// Rows that are in memory.
type Parsed = Vec<Result<Map<String, Value>, TaskError>>;

/// All rows of bytes in the format of an ending (`csv`), for tests and fuzzers; none where no format has the ending.
///
/// # Errors
/// As [`Table::open`].
pub fn parse(extension: &str, bytes: &[u8]) -> Option<Result<Parsed, TaskError>> {
    let path = PathBuf::from(format!("bytes.{extension}"));
    let format = format_of(&path)?;
    Some(guarded(&path, || (format.parse)(bytes)).and_then(|parsed| parsed))
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which row of data it is, counted from 1. Rows that cannot be read are counted too.
    pub number: u64,
    /// Fields by column, in the order of the columns. Fields of csv, tsv are texts, others what the file has.
    pub fields: Map<String, Value>,
}

/// The rows of a file, as an iterator. Its errors name the file and the line or row; after most of them, the next row
/// follows.
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    count: Option<u64>,
    warnings: Vec<String>,
    rows: Rows,
    number: u64,
    ended: bool,
}

impl Table {
    /// Opens a table by its name: `rows.csv`, `book.xlsx`, `book.xlsx#Sheet 2`.
    ///
    /// # Errors
    /// [`TaskError::Data`] where it cannot be read, has no format that is known, no rows or no sound header.
    pub fn open(path: &Path) -> Result<Table, TaskError> {
        let (file, sheet) = split_sheet(path);
        let Some(format) = format_of(&file) else {
            let reason = format!("expected a table, one of {}", extensions().join(", "));
            return Err(data(path, &format!("{reason}\nhint: a table is known by the ending of its name")));
        };
        let Opened { columns, count, warnings, rows } =
            guarded(&file, || (format.open)(&file, sheet.as_deref())).and_then(|opened| opened)?;
        Ok(Table { path: file, columns, count, warnings, rows, number: 0, ended: false })
    }

    /// Whether a name is that of a table.
    pub fn is_table(path: &Path) -> bool {
        format_of(&split_sheet(path).0).is_some()
    }

    /// The file, without the name of a sheet.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the columns, in order. For jsonl the names of all rows, in the order of their first appearance.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are, where that is known before they are read: not for csv and tsv.
    pub fn row_count(&self) -> Option<u64> {
        self.count
    }

    /// How many rows are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        if self.ended { Some(0) } else { self.count.map(|count| count.saturating_sub(self.number)) }
    }

    /// The number of the row that came last, counted from 1, whether it could be read or not.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What whoever reads the rows should know: an encoding that was guessed, a column of bytes.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Refuses a name that no column has.
    ///
    /// # Errors
    /// [`TaskError::Data`] with the names of the columns.
    pub fn require(&self, column: &str) -> Result<(), TaskError> {
        if self.columns.iter().any(|name| name == column) {
            return Ok(());
        }
        let columns = self.columns.join(", ");
        let hint = "name one of them in the task or on the command line, or rename it in the file";
        Err(data(&self.path, &format!("no column {column:?}; the columns are {columns}\nhint: {hint}")))
    }
}

impl Iterator for Table {
    type Item = Result<Row, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = match guarded(&self.path, || self.rows.next()) {
            Ok(row) => row?,
            Err(error) => {
                // Whatever was half done when it panicked is not asked again.
                self.ended = true;
                Err(error)
            }
        };
        self.number += 1;
        let number = self.number;
        Some(row.map(|fields| Row { number, fields }))
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Table")
            .field("path", &self.path)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// Libraries that read columns and workbooks have panicked on damaged files: that is the file's fault, and ends the
/// file alone.
fn guarded<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, TaskError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("no more is known");
        data(path, &format!("expected a sound file, got one that its reader stumbled over ({text})"))
    })
}

fn data(path: &Path, reason: &str) -> TaskError {
    TaskError::Data(format!("{}: {reason}", path.display()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> TaskError {
    // An error of ours says all there is to say, with a hint; one of the system is told what it was in the way of.
    match error.get_ref() {
        Some(ours) => data(path, &ours.to_string()),
        None => data(path, &format!("cannot be read: {error}")),
    }
}

fn format_of(path: &Path) -> Option<&'static Format> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    FORMATS.iter().find(|format| format.extensions.contains(&extension.as_str()))
}

fn extensions() -> Vec<String> {
    FORMATS.iter().map(|format| format!(".{}", format.extensions[0])).collect()
}

/// `book.xlsx#Sheet` is a file and the name of a sheet, unless there is a file of that whole name.
fn split_sheet(path: &Path) -> (PathBuf, Option<String>) {
    let whole = || (path.to_path_buf(), None);
    let Some((file, sheet)) = path.to_str().and_then(|name| name.split_once('#')) else { return whole() };
    let file = PathBuf::from(file);
    match format_of(&file) {
        Some(format) if format.has_sheets && !path.exists() => (file, Some(sheet.to_owned())),
        _ => whole(),
    }
}

/// Refuses names that columns cannot have: none at all, no name, one name twice, more of them than any honest table
/// has.
fn check_columns(columns: &[String]) -> Result<(), String> {
    if columns.len() > MOST_COLUMNS {
        return Err(format!("expected at most {MOST_COLUMNS} columns, got {}", columns.len()));
    }
    let mut seen = HashSet::new();
    for (index, column) in columns.iter().enumerate() {
        if column.is_empty() {
            let hint = "the first row holds the names of the columns";
            return Err(format!("expected a name for each column, got none for column {}\nhint: {hint}", index + 1));
        }
        if !seen.insert(column) {
            let reason = format!("expected a name of its own for each column, got {column:?} twice");
            let hint = "rename one of them, or add a first row with the names of the columns if there is none";
            return Err(format!("{reason}\nhint: {hint}"));
        }
    }
    Ok(())
}

const NO_ROWS: &str = "expected rows below the names of the columns, got none";
const EMPTY: &str = "expected rows, got an empty file";

#[cfg(test)]
mod tests;
