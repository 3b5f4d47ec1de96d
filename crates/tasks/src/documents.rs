//! Documents: files of many formats to text.
//!
//! ```text
//! Reader::read(path) -> Format::of(name, first bytes) -> plain text: parsed here                       -> Document
//!                                                     -> all else: in a child without rights (`child`) -> Document
//! ```
//!
//! A parser turns bytes into a text and knows neither files nor processes; a format is a file in `documents/` and a
//! line in [`FORMATS`]. It knows nothing of tasks and models. Read next: `documents/reader.rs`.

pub(crate) mod archive;
pub(crate) mod cells;
mod child;
mod confine;
mod docx;
mod html;
mod layout;
mod pdf;
mod plain;
mod reader;
#[cfg(test)]
pub(crate) mod samples;
mod xlsx;

pub use child::{READ_DOCUMENT_ARG, child_main};
pub use confine::confine_as_usual;
pub use reader::{Confinement, Limits, Reader};

use crate::Input;
use crate::input::TEXT;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// A larger text is no document that anybody reads.
const MOST_TEXT_BYTES: usize = 64 << 20;

/// A PDF file may have other bytes before its own (annex H of ISO 32000-1: within the first 1,024).
const HEAD_BYTES: usize = 1024;

/// A format of documents.
#[derive(Debug)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// The endings of names that files of it have.
    pub extensions: &'static [&'static str],
    /// What stands near the beginning of each file of it, whatever the file's name; nothing where names alone tell.
    magic: &'static [u8],
    parse: fn(&[u8]) -> Result<Text, String>,
    /// Whether it is read in a process of its own: all that is more than characters.
    confined: bool,
}

/// Every format that is read.
pub const FORMATS: &[Format] = &[
    Format { name: "txt", extensions: &["txt", "text", "log"], magic: b"", parse: plain::parse, confined: false },
    Format { name: "md", extensions: &["md", "markdown"], magic: b"", parse: plain::parse, confined: false },
    Format { name: "csv", extensions: &["csv", "tsv"], magic: b"", parse: plain::parse, confined: false },
    Format { name: "json", extensions: &["json", "jsonl", "ndjson"], magic: b"", parse: plain::parse, confined: false },
    Format { name: "html", extensions: &["html", "htm", "xhtml"], magic: b"", parse: html::parse, confined: true },
    Format { name: "docx", extensions: &["docx", "docm"], magic: b"", parse: docx::parse, confined: true },
    Format { name: "xlsx", extensions: &["xlsx", "xlsm"], magic: b"", parse: xlsx::parse, confined: true },
    Format { name: "pdf", extensions: &["pdf"], magic: b"%PDF-", parse: pdf::parse, confined: true },
];

impl Format {
    /// The format of a file by its first bytes, else by its name; none where neither is known.
    pub fn of(name: &Path, head: &[u8]) -> Option<&'static Format> {
        let head = &head[..head.len().min(HEAD_BYTES)];
        let begins = |format: &&Format| {
            !format.magic.is_empty() && head.windows(format.magic.len()).any(|window| window == format.magic)
        };
        // A text that speaks of a magic word near its beginning is still a text.
        let by_name = Format::of_name(name).filter(|format| !format.confined);
        by_name
            .filter(|_| !head.starts_with(b"%PDF-"))
            .or_else(|| FORMATS.iter().find(begins))
            .or(Format::of_name(name))
    }

    /// The format of a file by its name alone.
    pub fn of_name(name: &Path) -> Option<&'static Format> {
        let extension = name.extension()?.to_str()?.to_ascii_lowercase();
        FORMATS.iter().find(|format| format.extensions.contains(&extension.as_str()))
    }

    /// The format that is called so.
    pub fn named(name: &str) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// Reads bytes in this process, whatever they do to it. For the process that was made for that, tests and fuzzers.
    ///
    /// # Errors
    /// Why the bytes are no document of this format; whoever knows the file's name puts it before.
    pub fn parse(&self, bytes: &[u8]) -> Result<Text, String> {
        let text = (self.parse)(bytes)?;
        match text.text.len() {
            bytes if bytes > MOST_TEXT_BYTES => Err(too_long()),
            _ => Ok(text),
        }
    }
}

fn too_long() -> String {
    format!("expected a document of at most {MOST_TEXT_BYTES} bytes of text, got more")
}

/// What a parser makes of bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Where the format has pages: the byte of the text at which each begins, the first at 0. Else empty.
    pub pages: Vec<usize>,
    /// What the text lacks, and what was guessed.
    pub warnings: Vec<String>,
}

/// A document that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The name of its format.
    pub format: &'static str,
    /// All of its text.
    pub text: String,
    /// Where the format has pages: the byte of the text at which each begins, the first at 0. Else empty.
    pub pages: Vec<usize>,
    /// What the text lacks, and what was guessed: pages without text, an encoding. They do not name the file.
    pub warnings: Vec<String>,
}

impl From<Document> for Input {
    fn from(document: Document) -> Input {
        let fields = [(TEXT.to_owned(), Value::String(document.text))].into_iter().collect();
        Input { fields, pages: document.pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_first_bytes_or_by_its_name() {
        let name = |path: &str, head: &[u8]| Format::of(Path::new(path), head).map(|format| format.name);
        assert_eq!(name("a.TXT", b"text"), Some("txt"));
        assert_eq!(name("a.txt", b"%PDF-1.7"), Some("pdf"));
        assert_eq!(name("a.md", b"A PDF file begins with %PDF-"), Some("md"));
        assert_eq!(name("a", b"\n\n%PDF-1.4"), Some("pdf"));
        assert_eq!(name("a.docx", b"PK"), Some("docx"));
        assert_eq!(name("a.exe", b"MZ"), None);
        assert_eq!(name("README", b"text"), None);
    }

    #[test]
    fn a_document_is_an_input_with_pages() {
        let document = Document { format: "pdf", text: "a\nb".into(), pages: vec![0, 2], warnings: Vec::new() };
        let input = Input::from(document);
        assert_eq!((input.fields["text"].as_str(), input.page_of(2)), (Some("a\nb"), Some(2)));
    }
}
