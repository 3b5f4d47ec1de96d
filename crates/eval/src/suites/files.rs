//! The published files of a suite: JSON, one object a line, or comma-separated cells; plain, or compressed by gzip.

use crate::EvalError;
use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest published file has a tenth of it.
const LONGEST: u64 = 256 << 20;
/// What compressed files end in.
const COMPRESSED: &str = ".gz";

/// The folder that holds the files of a suite.
pub struct Folder<'f> {
    /// Where it is.
    pub path: &'f Path,
    /// The project that publishes them.
    pub project: &'static str,
}

/// A file that was read.
pub struct Text {
    /// Where it is.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

impl Folder<'_> {
    /// The first of these files that is there, compressed or not.
    pub fn text(&self, names: &[&str]) -> Result<Text, EvalError> {
        let written = names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}{COMPRESSED}")]);
        let found = written.map(|name| self.path.join(name)).find(|path| path.is_file());
        let Some(path) = found else { return Err(self.missing(names)) };
        let text = read(&path).map_err(|error| wrong(&path, &error))?;
        Ok(Text { path, text })
    }

    /// Whether one of these files is there, compressed or not.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).is_file() || self.path.join(format!("{name}{COMPRESSED}")).is_file()
    }

    /// The names of the files of a folder within it, in alphabetical order; none where there is no such folder.
    pub fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// What is said where none of these files is there.
    pub fn missing(&self, names: &[&str]) -> EvalError {
        let names: Vec<String> = names.iter().map(|name| format!("{name} or {name}{COMPRESSED}")).collect();
        EvalError::Test(format!(
            "{}: expected {}, got no such file\nhint: --data names the folder with the files of {}; nothing is fetched",
            self.path.display(),
            names.join(", or "),
            self.project
        ))
    }
}

impl Text {
    /// The object of every line.
    pub fn lines<T: DeserializeOwned>(&self) -> Result<Vec<T>, EvalError> {
        let lines = (1u64..).zip(self.text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let read = |(number, line): (u64, &str)| {
            serde_json::from_str(line).map_err(|error| self.wrong(&format!("line {number}: {error}")))
        };
        lines.map(read).collect()
    }

    /// What the file is wrong in.
    pub fn wrong(&self, what: &str) -> EvalError {
        wrong(&self.path, what)
    }
}

fn wrong(path: &Path, what: &str) -> EvalError {
    EvalError::Test(format!(
        "{}: {what}\nhint: the file is expected as its project publishes it, whole and unchanged",
        path.display()
    ))
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(failed)?;
    let is_compressed = path.to_string_lossy().ends_with(COMPRESSED);
    let source: Box<dyn Read> = if is_compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut bytes = Vec::new();
    source.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("expected at most {LONGEST} bytes, got more"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("expected UTF-8, byte {at} is none")
    })
}
