//! Files of results: rows of JSON objects as jsonl, csv or parquet, which are there whole or not at all.
//!
//! A file is written beside its target under a hidden name, brought to the disk, and renamed. csv and parquet have a
//! header, which can be written only when every row is known: so rows are kept in a scratch file of lines until the
//! end, and only the names and types of columns in memory. Read next: `writer/columns.rs`, how the columns of rows
//! are found.

mod columns;
mod parquet;

use super::format_of;
use crate::TaskError;
use columns::Columns;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A format of results.
struct Format {
    /// The ending of names.
    extension: &'static str,
    encode: fn(&mut Spool, &mut dyn Sink) -> std::io::Result<()>,
}

/// A new format is a function here or a file in `writer/`, and a line.
const FORMATS: &[Format] = &[
    Format { extension: "jsonl", encode: encode_jsonl },
    Format { extension: "csv", encode: encode_csv },
    Format { extension: "parquet", encode: parquet::encode },
];

/// Where encoded bytes go.
trait Sink: Write + Send {}
impl<W: Write + Send> Sink for W {}

/// Writes rows to a file. Until [`Writer::finish`] has returned, a file that was there before is as it was.
pub struct Writer {
    path: PathBuf,
    format: &'static Format,
    spool: Spool,
    /// Between the encoder and the file; tests put a failing disk there.
    disk: fn(File) -> Box<dyn Sink>,
}

impl Writer {
    /// Begins a file, in the format that the ending of its name says: `.jsonl`, `.csv` or `.parquet`.
    ///
    /// # Errors
    /// [`TaskError::File`] where no format has the ending; [`TaskError::Storage`] where its folder cannot be written.
    pub fn create(path: &Path) -> Result<Writer, TaskError> {
        let extension =
            path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
        let Some(format) = FORMATS.iter().find(|format| format.extension == extension) else {
            let known: Vec<String> = FORMATS.iter().map(|format| format!(".{}", format.extension)).collect();
            let reason = format!("expected a name for results that ends in {}", known.join(" or "));
            let hint = match format_of(path) {
                Some(_) => "this format is read and not written",
                None => "the ending says the format",
            };
            return Err(TaskError::File(format!("{}: {reason}\nhint: {hint}", path.display())));
        };
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let reason = "expected the name of a file, or of none yet, got that of a folder or a device";
            let hint = "name a file, whose place the results can take";
            return Err(TaskError::File(format!("{}: {reason}\nhint: {hint}", path.display())));
        }
        // A link stays one: what it leads to is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let spool = Spool::new(&path).map_err(failed(&path))?;
        Ok(Writer { path, format, spool, disk: |file| Box::new(file) })
    }

    /// Adds a row. Its names become columns in the order of their first appearance.
    ///
    /// # Errors
    /// [`TaskError::Storage`] where the disk is full.
    pub fn write(&mut self, row: &Map<String, Value>) -> Result<(), TaskError> {
        self.spool.write(row).map_err(failed(&self.path))
    }

    /// Encodes all rows, brings them to the disk, and puts the file in the place of its target in one step.
    ///
    /// # Errors
    /// [`TaskError::Storage`]; the target is as it was.
    pub fn finish(mut self) -> Result<(), TaskError> {
        let mut finish = || -> std::io::Result<()> {
            let scratch = scratch_beside(&self.path)?;
            let mut disk = BufWriter::new((self.disk)(scratch.as_file().try_clone()?));
            (self.format.encode)(&mut self.spool, &mut disk)?;
            disk.flush()?;
            scratch.as_file().sync_all()?;
            scratch.persist(&self.path).map_err(|error| error.error)?;
            // The name is on the disk once its folder is. Systems without files for folders do it by themselves.
            #[cfg(unix)]
            File::open(folder_of(&self.path))?.sync_all()?;
            Ok(())
        };
        finish().map_err(failed(&self.path))
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that is gone when it is dropped, on the file system of its target. What replaces a file keeps that file's
/// rights; a new one has those that new files have.
pub(super) fn scratch_beside(path: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(".writing-");
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666))
    };
    let scratch = builder.tempfile_in(folder_of(path))?;
    if let Ok(before) = std::fs::metadata(path) {
        scratch.as_file().set_permissions(before.permissions())?;
    }
    Ok(scratch)
}

pub(super) fn failed(path: &Path) -> impl Fn(std::io::Error) -> TaskError + '_ {
    move |error| {
        let hint = match error.kind() {
            std::io::ErrorKind::StorageFull => "free space on its disk, or name a file on another one",
            std::io::ErrorKind::NotFound => "make the folder first",
            std::io::ErrorKind::PermissionDenied => "name a folder that you may write to",
            _ => "name a file elsewhere; what was there before is as it was",
        };
        TaskError::Storage(format!("{}: cannot be written: {error}\nhint: {hint}", path.display()))
    }
}

/// The rows so far, as lines in a file without a name.
struct Spool {
    lines: BufWriter<File>,
    columns: Columns,
    count: u64,
}

impl Spool {
    fn new(target: &Path) -> std::io::Result<Spool> {
        let lines = BufWriter::new(tempfile::tempfile_in(folder_of(target))?);
        Ok(Spool { lines, columns: Columns::default(), count: 0 })
    }

    fn write(&mut self, row: &Map<String, Value>) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.lines, row)?;
        self.lines.write_all(b"\n")?;
        self.columns.add(row)?;
        self.count += 1;
        Ok(())
    }

    /// Hands out all rows again, from the first.
    fn each(&mut self, mut visit: impl FnMut(Map<String, Value>) -> std::io::Result<()>) -> std::io::Result<()> {
        self.lines.flush()?;
        let file = self.lines.get_mut();
        file.rewind()?;
        for line in BufReader::new(file).lines() {
            visit(serde_json::from_str(&line?)?)?;
        }
        Ok(())
    }
}

fn encode_jsonl(spool: &mut Spool, mut sink: &mut dyn Sink) -> std::io::Result<()> {
    spool.lines.flush()?;
    let file = spool.lines.get_mut();
    file.rewind()?;
    std::io::copy(file, &mut sink).map(|_| ())
}

fn encode_csv(spool: &mut Spool, sink: &mut dyn Sink) -> std::io::Result<()> {
    let names: Vec<String> = spool.columns.names().map(str::to_owned).collect();
    let mut writer = csv::Writer::from_writer(sink);
    if !names.is_empty() {
        writer.write_record(&names)?;
    }
    spool.each(|row| {
        if names.is_empty() {
            return Err(std::io::Error::other("a row without fields has no line in csv; name the file .jsonl instead"));
        }
        writer.write_record(names.iter().map(|name| row.get(name).map(text_of).unwrap_or_default()))?;
        Ok(())
    })?;
    writer.flush()
}

/// A value as the text of one field: nothing for null, nested values as JSON.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
