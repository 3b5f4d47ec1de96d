//! The lines of a batch's file: requests, each with an id of its client's.
//!
//! ```text
//! {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": .., "messages": ..}}
//! ```
//!
//! All lines are looked at before the first is done: what is wrong with any of them ends the batch, and all of it is
//! told at once. What is wrong with a body its endpoint says, when its turn comes.

use super::record::BatchError;
use crate::body;
use crate::failure::nearest_hint;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use tasks::batch::{Rows, Source, SourceRow, file_sha256};
use tasks::{Input, TaskError};

/// Most lines of a file (the reference's bound).
const MOST_LINES: u64 = 50_000;
/// Longest id, in bytes.
const LONGEST_ID: usize = 512;
/// Errors that are told; of those that follow, how many there are.
const MOST_ERRORS: usize = 100;
/// The field of an input that holds the body of its request.
pub(super) const BODY: &str = "body";

const FIELDS: [&str; 4] = ["custom_id", "method", "url", BODY];

/// A line.
#[derive(Debug, PartialEq)]
struct Line {
    custom_id: String,
    body: Map<String, Value>,
}

/// Why a line is none.
#[derive(Debug, PartialEq)]
struct Fault {
    code: &'static str,
    message: String,
    param: Option<String>,
}

fn fault(code: &'static str, param: &str, message: impl Into<String>) -> Fault {
    Fault { code, message: message.into(), param: Some(param.to_owned()) }
}

/// The file of a batch.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    pub(super) path: PathBuf,
    /// The path that all lines go to.
    pub(super) endpoint: String,
    /// Most bytes of a line: the bound on bodies.
    pub(super) max_line_bytes: usize,
}

impl Lines {
    /// How many lines there are, or everything that is wrong with them.
    pub(super) fn check(&self) -> Result<u64, Vec<BatchError>> {
        let of_file =
            |code: &str, message: String| BatchError { code: code.to_owned(), message, param: None, line: None };
        let unreadable =
            |error: io::Error| vec![of_file("file_unreadable", format!("the file cannot be read: {error}"))];
        let (mut known, mut errors, mut count, mut left_out) = (HashSet::new(), Vec::new(), 0, 0_u64);
        for text in RawLines::open(&self.path, self.max_line_bytes).map_err(unreadable)? {
            count += 1;
            if count > MOST_LINES {
                errors.push(of_file("too_many_lines", format!("expected at most {MOST_LINES} lines, got more")));
                break;
            }
            let checked = self.parse(&text.map_err(unreadable)?).and_then(|line| match known.insert(line.custom_id) {
                true => Ok(()),
                false => Err(fault("duplicate_custom_id", "custom_id", "custom_id: a line before has the same one")),
            });
            match checked {
                Ok(()) => {}
                Err(Fault { code, message, param }) if errors.len() < MOST_ERRORS => {
                    errors.push(BatchError { code: code.to_owned(), message, param, line: Some(count) });
                }
                Err(_) => left_out += 1,
            }
        }
        if count == 0 {
            errors.push(of_file("empty_file", "expected a request on each line, the file has none".to_owned()));
        }
        if left_out > 0 {
            errors.push(of_file("more_errors", format!("{left_out} more lines are wrong")));
        }
        if errors.is_empty() { Ok(count) } else { Err(errors) }
    }

    fn parse(&self, text: &Raw) -> Result<Line, Fault> {
        let Raw::Line(text) = text else {
            let most = self.max_line_bytes;
            let message = format!("the line has more than {most} bytes (--max-body-bytes)");
            return Err(Fault { code: "line_too_long", message, param: None });
        };
        let mut fields: Map<String, Value> = body::parse(text).map_err(|failure| Fault {
            code: "invalid_json_line",
            message: failure.message.replacen("the body", "the line", 1),
            param: None,
        })?;
        if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            let shown: String = unknown.chars().take(64).collect();
            let hint = nearest_hint(&shown, FIELDS.into_iter()).unwrap_or_default();
            let expected = FIELDS.map(|field| format!("`{field}`")).join(", ");
            let message = format!("{shown}: unknown field `{shown}`, expected {expected}{hint}");
            return Err(fault("unknown_parameter", &shown, message));
        }
        let mut take = |field: &str| {
            let missing = || fault("missing_required_parameter", field, format!("{field}: missing field `{field}`"));
            fields.remove(field).ok_or_else(missing)
        };
        let custom_id = match take("custom_id")? {
            Value::String(id) if (1..=LONGEST_ID).contains(&id.len()) => id,
            _ => {
                let message = format!("custom_id: expected a text of 1 to {LONGEST_ID} bytes");
                return Err(fault("invalid_custom_id", "custom_id", message));
            }
        };
        if take("method")? != "POST" {
            return Err(fault("invalid_method", "method", "method: expected `POST`"));
        }
        if take("url")? != self.endpoint.as_str() {
            let message = format!("url: expected the batch's endpoint, `{}`", self.endpoint);
            return Err(fault("invalid_url", "url", message));
        }
        let Value::Object(body) = take(BODY)? else {
            return Err(fault("invalid_body", BODY, "body: expected an object, the body of the request"));
        };
        if body.get("stream") == Some(&Value::Bool(true)) {
            let message = "body.stream: expected none in a batch, where answers come whole";
            return Err(fault("invalid_body", "body.stream", message));
        }
        Ok(Line { custom_id, body })
    }
}

impl Source for Lines {
    fn rows(&self) -> Result<Rows, TaskError> {
        let (lines, own) = (RawLines::open(&self.path, self.max_line_bytes).map_err(unreadable)?, self.clone());
        Ok(Box::new(lines.enumerate().map(move |(index, text)| {
            let line = own.parse(&text.map_err(unreadable)?);
            let line = line.map_err(|fault| TaskError::Data(format!("line {}: {}", index + 1, fault.message)))?;
            let fields = Map::from_iter([(BODY.to_owned(), Value::Object(line.body))]);
            let input = Ok(Input { fields, pages: Vec::new() });
            Ok(SourceRow { name: line.custom_id, input, warnings: Vec::new() })
        })))
    }

    fn sha256(&self) -> Result<Option<String>, TaskError> {
        let unreadable = |error: TaskError| match self.path.try_exists() {
            Ok(false) => error,
            _ => TaskError::Storage(error.to_string()),
        };
        file_sha256(&self.path).map(Some).map_err(unreadable)
    }
}

/// A file that is gone stays gone; a disk, or a process that is short of something, may be mended.
fn unreadable(error: io::Error) -> TaskError {
    let reason = format!("the file of the batch cannot be read: {error}");
    match error.kind() {
        io::ErrorKind::NotFound => TaskError::Data(reason),
        _ => TaskError::Storage(reason),
    }
}

/// A line as it stands in the file, without its end.
enum Raw {
    Line(Vec<u8>),
    TooLong,
}

/// The lines of a file; what follows the last end of a line is a line if there is anything.
struct RawLines {
    reader: BufReader<File>,
    most: usize,
}

impl RawLines {
    fn open(path: &Path, most: usize) -> io::Result<RawLines> {
        Ok(RawLines { reader: BufReader::new(File::open(path)?), most })
    }

    fn read(&mut self) -> io::Result<Option<Raw>> {
        let mut line = Vec::new();
        // With the end of the line, of up to two bytes.
        let most = self.most as u64 + 2;
        if (&mut self.reader).take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let mut is_ended = line.pop_if(|last| *last == b'\n').is_some();
        line.pop_if(|last| *last == b'\r');
        if line.len() <= self.most {
            return Ok(Some(Raw::Line(line)));
        }
        // The rest of it is passed over piece by piece.
        while !is_ended {
            line.clear();
            let read = (&mut self.reader).take(most).read_until(b'\n', &mut line)?;
            is_ended = read == 0 || line.last() == Some(&b'\n');
        }
        Ok(Some(Raw::TooLong))
    }
}

impl Iterator for RawLines {
    type Item = io::Result<Raw>;

    fn next(&mut self) -> Option<io::Result<Raw>> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "/v1/embeddings";

    fn check(text: &str) -> Result<u64, Vec<(Option<u64>, String, String)>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let lines = Lines { path: file.path().to_owned(), endpoint: ENDPOINT.to_owned(), max_line_bytes: 200 };
        let told = |errors: Vec<BatchError>| {
            errors.into_iter().map(|error| (error.line, error.code, error.message)).collect::<Vec<_>>()
        };
        let checked = lines.check().map_err(told);
        // What was checked can be read.
        if let Ok(count) = checked {
            assert_eq!(lines.rows().unwrap().map(Result::unwrap).count() as u64, count);
        }
        checked
    }

    fn line(id: &str) -> String {
        format!(
            "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"{ENDPOINT}\",\"body\":{{\"model\":\"small\"}}}}"
        )
    }

    #[test]
    fn lines_end_in_either_way_and_the_last_need_not() {
        assert_eq!(check(&format!("{}\n{}\r\n{}", line("a"), line("b"), line("c"))), Ok(3));
        assert_eq!(check(&format!("{}\n", line("a"))), Ok(1));
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line() {
        let text = [
            line("a"),
            "{\"custom_id\":".to_owned(),
            line("a"),
            line("").replace("\"method\":\"POST\",", ""),
            line("b").replace("\"method\":\"POST\",", ""),
            line("c").replace("POST", "GET"),
            line("d").replace("embeddings", "completions"),
            line("e").replace("\"method\"", "\"methd\""),
            line("f").replace("{\"model\":\"small\"}", "[]"),
            line("g").replace("{\"model\":\"small\"}", "{\"stream\":true}"),
            line(&"h".repeat(300)),
            String::new(),
        ];
        let errors = check(&text.map(|line| line + "\n").concat()).unwrap_err();
        let expected = [
            (2, "invalid_json_line", "the line is not JSON: EOF while parsing a value at line 1 column 13"),
            (3, "duplicate_custom_id", "custom_id: a line before has the same one"),
            (4, "invalid_custom_id", "custom_id: expected a text of 1 to 512 bytes"),
            (5, "missing_required_parameter", "method: missing field `method`"),
            (6, "invalid_method", "method: expected `POST`"),
            (7, "invalid_url", "url: expected the batch's endpoint, `/v1/embeddings`"),
            (
                8,
                "unknown_parameter",
                "methd: unknown field `methd`, expected `custom_id`, `method`, `url`, `body`\nhint: did you mean `method`?",
            ),
            (9, "invalid_body", "body: expected an object, the body of the request"),
            (10, "invalid_body", "body.stream: expected none in a batch, where answers come whole"),
            (11, "line_too_long", "the line has more than 200 bytes (--max-body-bytes)"),
            (12, "invalid_json_line", "the line is not JSON: EOF while parsing a value at line 1 column 0"),
        ];
        let expected = expected.map(|(line, code, message)| (Some(line), code.to_owned(), message.to_owned()));
        assert_eq!(errors, expected);
    }

    #[test]
    fn a_file_without_lines_or_with_too_many_is_refused() {
        let empty = "expected a request on each line, the file has none";
        assert_eq!(check(""), Err(vec![(None, "empty_file".to_owned(), empty.to_owned())]));
        let many: String = (0..MOST_LINES + 1).map(|number| line(&number.to_string()) + "\n").collect();
        let message = "expected at most 50000 lines, got more";
        assert_eq!(check(&many), Err(vec![(None, "too_many_lines".to_owned(), message.to_owned())]));
    }

    #[test]
    fn of_many_errors_the_first_are_told_and_the_rest_counted() {
        let errors = check(&"x\n".repeat(250)).unwrap_err();
        assert_eq!(errors.len(), MOST_ERRORS + 1);
        let last = (None, "more_errors".to_owned(), "150 more lines are wrong".to_owned());
        assert_eq!(errors.last(), Some(&last));
    }

    /// Seeded mutation: whatever a file holds, it is checked or refused.
    #[test]
    fn no_file_is_too_strange() {
        let whole = format!("{}\n{}\r\n{}", line("a"), line("ü"), line("c")).into_bytes();
        let mut state = 7_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = Lines { path: file.path().to_owned(), endpoint: ENDPOINT.to_owned(), max_line_bytes: 90 };
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..2000 {
            let mut bytes = whole.clone();
            for _ in 0..random(4) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            std::fs::write(file.path(), &bytes).unwrap();
            match lines.check() {
                Ok(count) => {
                    taken += 1;
                    assert_eq!(lines.rows().unwrap().map(Result::unwrap).count() as u64, count);
                }
                Err(errors) => {
                    refused += 1;
                    assert!(!errors.is_empty());
                }
            }
        }
        assert!(taken > 100 && refused > 100, "{taken} {refused}");
    }
}
