//! One cell of a table, written into its file: nothing else of the file changes, and that in one step.
//!
//! ```text
//! read the file -> find the cell in its text -> put the value there -> read both texts: is that cell all that differs?
//! -> the new text beside the file -> is the file still the one that was read? -> rename
//! ```
//!
//! It knows nothing of tasks. Who writes asks [`Edit::before`] whether the row is the one that was meant.

use super::writer::{failed, folder_of, scratch_beside};
use super::{FORMATS, data, format_of, split_sheet, unreadable};
use crate::TaskError;
use serde_json::{Map, Value};
use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A larger file is refused, as it and its rows are held in memory.
const MOST_BYTES: u64 = 64 << 20;

/// The mark that a file of UTF-8 may begin with.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Finds where a cell stands in a text; none where there is none.
pub type Find = fn(&str, &Cell<'_>) -> Option<Found>;

/// What is to be written where.
pub struct Cell<'c> {
    /// The row, from 1.
    pub number: u64,
    /// The name of the column.
    pub column: &'c str,
    /// What it will hold. A format of texts has the text of it: nothing for null, of a list its parts with `;` between.
    pub value: &'c Value,
}

/// Where a cell stands, and what takes its place.
pub struct Found {
    /// Bytes of the text, quotes included.
    pub place: Range<usize>,
    /// The new text of the place.
    pub value: String,
}

/// A change that is ready to be written.
#[derive(Debug)]
pub struct Edit {
    path: PathBuf,
    /// The file as it was read.
    stamp: Metadata,
    bytes: Vec<u8>,
    before: Map<String, Value>,
    after: Map<String, Value>,
}

/// Refuses a table whose format has no cells that could be written one by one.
///
/// # Errors
/// [`TaskError::Data`], with the formats that have.
pub fn check_format(path: &Path) -> Result<Find, TaskError> {
    let (file, _) = split_sheet(path);
    format_of(&file).and_then(|format| format.find).ok_or_else(|| {
        let names: Vec<_> =
            FORMATS.iter().filter(|format| format.find.is_some()).map(|one| one.extensions[0]).collect();
        let reason = format!("expected a table whose cells can be written one by one: {}", names.join(", "));
        data(path, &format!("{reason}\nhint: save it as csv, and name that file in the task"))
    })
}

impl Edit {
    /// Makes a change ready, without writing anything.
    ///
    /// # Errors
    /// [`TaskError::Data`] where the table cannot be read, or has a format or an encoding in which no cell can be written;
    /// [`TaskError::Changed`] where it has no such row.
    pub fn of(path: &Path, cell: &Cell<'_>) -> Result<Edit, TaskError> {
        let find = check_format(path)?;
        // A link stays one: what it leads to is replaced.
        let path = std::fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
        let (stamp, bytes) = read(&path)?;
        let wrong = |reason: &str| data(&path, reason);
        let mark = if bytes.starts_with(MARK) { MARK.len() } else { 0 };
        let text = std::str::from_utf8(&bytes[mark..]);
        let text = text.map_err(|_| wrong("expected UTF-8, got another encoding\nhint: save it as UTF-8"))?;
        let rows = parse(&path, &bytes)?;
        let index = usize::try_from(cell.number).ok().and_then(|number| number.checked_sub(1));
        let (Some(index), Some(row)) = (index, index.and_then(|index| rows.get(index))) else {
            return Err(changed(&path, &format!("there is no row {}", cell.number)));
        };
        let before = row.clone()?;
        let Some(Found { place, value }) = find(text, cell) else {
            return Err(wrong(&format!("row {}: there is no column {:?}", cell.number, cell.column)));
        };
        let new = [&bytes[..mark + place.start], value.as_bytes(), &bytes[mark + place.end..]].concat();
        let Some(after) = only_difference(&rows, &parse(&path, &new)?, index, cell.column) else {
            let reason = format!("row {}: with {value:?} in it the table would be read otherwise", cell.number);
            return Err(wrong(&format!("{reason}\nhint: write it in the program that made the table")));
        };
        Ok(Edit { path, stamp, bytes: new, before, after })
    }

    /// The row as it stands in the file.
    pub fn before(&self) -> &Map<String, Value> {
        &self.before
    }

    /// The row as it will be read.
    pub fn after(&self) -> &Map<String, Value> {
        &self.after
    }

    /// Puts the new text in the place of the old one.
    ///
    /// # Errors
    /// [`TaskError::Changed`] where somebody else wrote the file meanwhile; [`TaskError::Storage`] where it cannot be
    /// written. The file is as it was.
    pub fn write(self) -> Result<(), TaskError> {
        let failed = failed(&self.path);
        let mut scratch = scratch_beside(&self.path).map_err(&failed)?;
        scratch.write_all(&self.bytes).and_then(|()| scratch.as_file().sync_all()).map_err(&failed)?;
        if !is_same(&self.stamp, &std::fs::metadata(&self.path).map_err(&failed)?) {
            return Err(changed(&self.path, "another program has written it meanwhile"));
        }
        scratch.persist(&self.path).map_err(|error| failed(error.error))?;
        // The name is on the disk once its folder is. Systems without files for folders do it by themselves.
        #[cfg(unix)]
        File::open(folder_of(&self.path)).and_then(|folder| folder.sync_all()).map_err(&failed)?;
        Ok(())
    }
}

/// That a table is not what it was when it was looked at.
pub fn changed(path: &Path, reason: &str) -> TaskError {
    let hint = "hint: nothing was written; look at its rows again";
    TaskError::Changed(format!("{}: {reason}\n{hint}", path.display()))
}

fn read(path: &Path) -> Result<(Metadata, Vec<u8>), TaskError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let stamp = file.metadata().map_err(|error| unreadable(path, &error))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > MOST_BYTES {
        let reason = format!("expected at most {MOST_BYTES} bytes, to write cells one by one, got more");
        return Err(data(path, &format!("{reason}\nhint: a test needs some hundred rows; take a part of it")));
    }
    Ok((stamp, bytes))
}

/// The rows of bytes, with the name of their file in what is wrong.
fn parse(path: &Path, bytes: &[u8]) -> Result<super::Parsed, TaskError> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    let named = |error: TaskError| match error {
        TaskError::Data(text) => data(path, text.strip_prefix(&format!("bytes.{extension}: ")).unwrap_or(&text)),
        other => other,
    };
    let parsed = super::parse(&extension, bytes).ok_or_else(|| data(path, "expected a table"))?;
    Ok(parsed.map_err(named)?.into_iter().map(|row| row.map_err(named)).collect())
}

/// The new row, where it differs from the old one in that column at most, and all others are as they were.
fn only_difference(
    before: &super::Parsed,
    after: &super::Parsed,
    index: usize,
    column: &str,
) -> Option<Map<String, Value>> {
    let is_same = |(one, other): (&Result<Map<_, _>, TaskError>, &Result<Map<_, _>, TaskError>)| match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(one), Err(other)) => one.to_string() == other.to_string(),
        _ => false,
    };
    let others = before.iter().zip(after).enumerate().filter(|(place, _)| *place != index);
    let (old, new) = (before.get(index)?.as_ref().ok()?, after.get(index)?.as_ref().ok()?);
    let without = |row: &Map<String, Value>| {
        let mut row = row.clone();
        row.shift_remove(column);
        row
    };
    let is_only =
        before.len() == after.len() && others.map(|(_, pair)| pair).all(is_same) && without(old) == without(new);
    is_only.then(|| new.clone())
}

/// Whether a file is the one that was read, and was not written since.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if (one.dev(), one.ino()) != (other.dev(), other.ino()) {
            return false;
        }
    }
    one.len() == other.len() && one.modified().ok() == other.modified().ok()
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
