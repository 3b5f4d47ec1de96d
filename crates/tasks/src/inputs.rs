//! What a command line names as inputs: tables, documents, folders of documents, a text. One after another, whatever
//! becomes of each.
//!
//! A row or a document that cannot be read is an item with an error, so that a job goes on and its results say what
//! is missing. What a folder has besides documents is told. Read next: `table.rs`, `documents.rs`.

use crate::documents::{Format, Reader};
use crate::table::{Row, Table};
use crate::{Input, TaskError, encoding};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// So much of a file without a known ending is looked at.
const HEAD_BYTES: u64 = 1024;

/// One input, or why it is none.
#[derive(Debug)]
pub struct Item {
    /// Which of all inputs it is, counted from 1, the failed ones too.
    pub number: u64,
    /// Where it came from: `rows.csv row 3`, `letters/a.pdf`.
    pub source: String,
    /// The input.
    pub input: Result<Input, TaskError>,
    /// What its text lacks, and what was guessed.
    pub warnings: Vec<String>,
}

/// What folders hold and no input came of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many files and folders are hidden: their names begin with a dot.
    pub hidden: usize,
    /// Files of no format that is known.
    pub unknown: Vec<PathBuf>,
    /// Links to folders, which may lead round in circles, and devices.
    pub not_followed: Vec<PathBuf>,
}

impl LeftOut {
    /// The same as sentences; none where nothing was left out.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.hidden > 0 {
            warnings.push(format!("{} hidden files and folders are left out", self.hidden));
        }
        let mut tell = |paths: &[PathBuf], what: &str| {
            if !paths.is_empty() {
                let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                warnings.push(format!("{} {what} are left out: {}", paths.len(), names.join(", ")));
            }
        };
        tell(&self.unknown, "files of no known format");
        tell(&self.not_followed, "links to folders and devices");
        warnings
    }
}

/// The inputs, as an iterator.
#[derive(Debug)]
pub struct Inputs {
    sources: VecDeque<Source>,
    reader: Reader,
    left_out: LeftOut,
    warnings: Vec<String>,
    number: u64,
}

#[derive(Debug)]
enum Source {
    Table(Box<Table>),
    Document(PathBuf),
    /// What was found to be no input, in the place where it would be.
    Ready {
        name: String,
        input: Result<Input, TaskError>,
        warnings: Vec<String>,
    },
}

impl Inputs {
    /// Opens what was named: a table by its ending (`rows.csv`, `book.xlsx#Sheet`), a folder with all that is in it,
    /// else a document. A table within a folder is read as a document.
    ///
    /// # Errors
    /// [`TaskError::Data`] where a name is of nothing, a table cannot be opened, or nothing is left to read.
    pub fn open(paths: &[PathBuf], reader: Reader) -> Result<Inputs, TaskError> {
        let mut inputs = Inputs::new(reader);
        for path in paths {
            if path.is_dir() {
                let before = inputs.sources.len();
                inputs.add_folder(path);
                if inputs.sources.len() == before {
                    let told = inputs
                        .left_out
                        .warnings()
                        .into_iter()
                        .map(|warning| format!("\n{warning}"))
                        .collect::<String>();
                    let reason = format!("{}: expected documents in the folder, got none{told}", path.display());
                    return Err(TaskError::Data(format!("{reason}\nhint: name a folder with documents in it")));
                }
            } else if Table::is_table(path) {
                let table = Table::open(path)?;
                let name = table.path().display();
                inputs.warnings.extend(table.warnings().iter().map(|warning| format!("{name}: {warning}")));
                inputs.sources.push_back(Source::Table(Box::new(table)));
            } else if path.exists() {
                inputs.sources.push_back(Source::Document(path.clone()));
            } else {
                let hint = "name a table, a document or a folder that is there";
                return Err(TaskError::Data(format!("{}: no such file or folder\nhint: {hint}", path.display())));
            }
        }
        Ok(inputs)
    }

    /// One text, such as comes by standard input; `name` is what to call it.
    ///
    /// # Errors
    /// [`TaskError::Data`] where the bytes are no text.
    pub fn of_text(name: &str, bytes: &[u8], reader: Reader) -> Result<Inputs, TaskError> {
        let mut inputs = Inputs::new(reader);
        let (text, warning) = encoding::decode(bytes).map_err(|reason| TaskError::Data(format!("{name}: {reason}")))?;
        let warnings = warning.into_iter().collect();
        inputs.sources.push_back(Source::Ready { name: name.to_owned(), input: Ok(Input::text(text)), warnings });
        Ok(inputs)
    }

    fn new(reader: Reader) -> Inputs {
        Inputs { sources: VecDeque::new(), reader, left_out: LeftOut::default(), warnings: Vec::new(), number: 0 }
    }

    /// How many are still to come, where all tables know how many rows they have.
    pub fn remaining(&self) -> Option<u64> {
        let counts = self.sources.iter().map(|source| match source {
            Source::Table(table) => table.remaining(),
            Source::Document(_) | Source::Ready { .. } => Some(1),
        });
        counts.sum()
    }

    /// The files that they come from, those that cannot be read too.
    pub fn files(&self) -> Vec<&Path> {
        let files = self.sources.iter().map(|source| match source {
            Source::Table(table) => table.path(),
            Source::Document(path) => path,
            Source::Ready { name, .. } => Path::new(name),
        });
        files.collect()
    }

    /// Whether any of them is the row of a table.
    pub fn has_tables(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Table(_)))
    }

    /// Whether any of them is a document, or a text that stands alone.
    pub fn has_texts(&self) -> bool {
        self.sources.iter().any(|source| !matches!(source, Source::Table(_)))
    }

    /// What folders hold and no input comes of.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// What is to be told of whole tables; what concerns one input is told with it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Refuses the name of a field that a table has no column for. Documents have the field `text` alone.
    ///
    /// # Errors
    /// [`TaskError::Data`] with the names that there are.
    pub fn require(&self, column: &str) -> Result<(), TaskError> {
        self.sources.iter().try_for_each(|source| match source {
            Source::Table(table) => table.require(column),
            Source::Document(_) | Source::Ready { .. } if column == crate::input::TEXT => Ok(()),
            Source::Document(path) => Err(no_field(&path.display().to_string(), column)),
            Source::Ready { name, .. } => Err(no_field(name, column)),
        })
    }

    /// Finds the documents of a folder, in the order of their names.
    fn add_folder(&mut self, folder: &Path) {
        let listed = std::fs::read_dir(folder).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => return self.add_failure(folder, &format!("cannot be listed: {error}")),
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                self.left_out.hidden += 1;
                continue;
            }
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() && !is_link => self.add_folder(&path),
                Ok(metadata) if metadata.is_file() => match format_of(&path) {
                    Ok(Some(_)) => self.sources.push_back(Source::Document(path)),
                    Ok(None) => self.left_out.unknown.push(path),
                    Err(error) => self.add_failure(&path, &format!("cannot be read: {error}")),
                },
                Ok(_) => self.left_out.not_followed.push(path),
                Err(error) => self.add_failure(&path, &format!("cannot be read: {error}")),
            }
        }
    }

    fn add_failure(&mut self, path: &Path, reason: &str) {
        let name = path.display().to_string();
        let input = Err(TaskError::Data(format!("{name}: {reason}")));
        self.sources.push_back(Source::Ready { name, input, warnings: Vec::new() });
    }
}

impl Iterator for Inputs {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let (source, input, warnings) = loop {
            match self.sources.front_mut()? {
                Source::Table(table) => {
                    if let Some(row) = table.next() {
                        let source = format!("{} row {}", table.path().display(), table.number());
                        break (source, row.map(Input::from), Vec::new());
                    }
                    self.sources.pop_front();
                }
                Source::Document(path) => {
                    let (name, read) = (path.display().to_string(), self.reader.read(path));
                    self.sources.pop_front();
                    break match read {
                        Ok(mut document) => {
                            let warnings = std::mem::take(&mut document.warnings);
                            (name, Ok(Input::from(document)), warnings)
                        }
                        Err(error) => (name, Err(error), Vec::new()),
                    };
                }
                Source::Ready { .. } => {
                    if let Some(Source::Ready { name, input, warnings }) = self.sources.pop_front() {
                        break (name, input, warnings);
                    }
                }
            }
        };
        self.number += 1;
        Some(Item { number: self.number, source, input, warnings })
    }

    /// Passes over documents without reading them.
    fn nth(&mut self, count: usize) -> Option<Item> {
        for _ in 0..count {
            while let Some(Source::Table(table)) = self.sources.front_mut() {
                if table.next().is_some() {
                    break;
                }
                self.sources.pop_front();
            }
            if !matches!(self.sources.front()?, Source::Table(_)) {
                self.sources.pop_front();
            }
            self.number += 1;
        }
        self.next()
    }
}

impl From<Row> for Input {
    fn from(row: Row) -> Input {
        Input { fields: row.fields, pages: Vec::new() }
    }
}

fn format_of(path: &Path) -> std::io::Result<Option<&'static Format>> {
    if let Some(format) = Format::of_name(path) {
        return Ok(Some(format));
    }
    let mut head = Vec::new();
    File::open(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(Format::of(path, &head))
}

fn no_field(source: &str, column: &str) -> TaskError {
    let hint = "a document is one text; name a table for tasks that read other fields";
    TaskError::Data(format!("{source}: no field {column:?}; the only field is {:?}\nhint: {hint}", crate::input::TEXT))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No document that is more than text is read in these tests.
    fn reader() -> Reader {
        Reader::new("no such program")
    }

    fn shown(inputs: Inputs) -> Vec<String> {
        let show = |item: Item| match item.input {
            Ok(input) => format!("{} {}: {}", item.number, item.source, serde_json::to_string(&input.fields).unwrap()),
            Err(error) => format!("{} {}: error {error}", item.number, item.source),
        };
        inputs.map(show).collect()
    }

    #[test]
    fn tables_documents_and_folders_come_one_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        std::fs::create_dir_all(folder.path().join("letters/inner")).unwrap();
        write("rows.csv", b"text,label\na,x\nb\nc,y\n");
        write("letters/b.txt", b"B");
        write("letters/inner/a.md", b"A");
        write("letters/c.txt", b"\0\x01");
        write("letters/.hidden.txt", b"");
        write("letters/picture.png", b"\x89PNG");
        let path = |name: &str| folder.path().join(name);
        let inputs = Inputs::open(&[path("rows.csv"), path("letters")], reader()).unwrap();
        assert_eq!(inputs.remaining(), None);
        assert_eq!(inputs.left_out().hidden, 1);
        assert_eq!(inputs.left_out().unknown, [path("letters/picture.png")]);
        let error = inputs.require("label").unwrap_err().to_string();
        assert!(error.contains("b.txt: no field \"label\"; the only field is \"text\"\nhint: "), "{error}");
        inputs.require("text").unwrap();
        let root = format!("{}/", folder.path().display());
        let shown: Vec<String> = shown(inputs).iter().map(|line| line.replace(&root, "")).collect();
        assert_eq!(
            shown,
            [
                r#"1 rows.csv row 1: {"text":"a","label":"x"}"#,
                "2 rows.csv row 2: error rows.csv: line 3: expected 2 fields, as the first line has, got 1\n\
                 hint: a field that holds ',' or a line end stands in quotes; parted by ','",
                r#"3 rows.csv row 3: {"text":"c","label":"y"}"#,
                r#"4 letters/b.txt: {"text":"B"}"#,
                "5 letters/c.txt: error letters/c.txt: expected text, got bytes with zeros in them",
                r#"6 letters/inner/a.md: {"text":"A"}"#,
            ]
        );
    }

    #[test]
    fn what_is_passed_over_counts_and_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("rows.csv"), "text\na\nb\n").unwrap();
        std::fs::write(path("gone.txt"), "C").unwrap();
        std::fs::write(path("d.txt"), "D").unwrap();
        let open = || Inputs::open(&["gone.txt", "rows.csv", "d.txt"].map(path), reader()).unwrap();
        let expected: Vec<String> = shown(open());
        for count in 0..4 {
            let mut inputs = open();
            let item = inputs.nth(count).unwrap();
            assert_eq!(item.number as usize, count + 1);
            let rest = shown(inputs);
            assert_eq!(rest, expected[count + 1..]);
        }
        assert!(open().nth(4).is_none());
        let mut inputs = open();
        std::fs::remove_file(path("gone.txt")).unwrap();
        assert!(inputs.nth(1).is_some_and(|item| item.number == 2 && item.input.is_ok()));
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_are_told_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "A").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("round")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("a.txt"), folder.path().join("b.txt")).unwrap();
        let inputs = Inputs::open(&[folder.path().to_path_buf()], reader()).unwrap();
        let round = folder.path().join("round");
        assert_eq!(
            inputs.left_out().warnings(),
            [format!("1 links to folders and devices are left out: {}", round.display())]
        );
        assert_eq!(inputs.remaining(), Some(2));
    }

    #[test]
    fn what_names_nothing_is_refused_at_once() {
        let refused = |path: &Path| Inputs::open(&[path.to_path_buf()], reader()).unwrap_err().to_string();
        assert_eq!(
            refused(Path::new("/no/such")),
            "/no/such: no such file or folder\nhint: name a table, a document or a folder that is there"
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".a.txt"), "A").unwrap();
        assert_eq!(
            refused(folder.path()),
            format!(
                "{}: expected documents in the folder, got none\n1 hidden files and folders are left out\n\
                 hint: name a folder with documents in it",
                folder.path().display()
            )
        );
        let error = Inputs::of_text("standard input", b"\0", reader()).unwrap_err().to_string();
        assert_eq!(error, "standard input: expected text, got bytes with zeros in them");
    }

    #[test]
    fn a_text_is_one_input() {
        let inputs = Inputs::of_text("standard input", "Grüße".as_bytes(), reader()).unwrap();
        assert_eq!(shown(inputs), [r#"1 standard input: {"text":"Grüße"}"#]);
    }
}
