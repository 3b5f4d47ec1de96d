//! jsonl: a JSON object on each line. Blank lines are no rows.

use super::edit::{Cell, Found};
use super::source::Source;
use super::{LONGEST_ROW_BYTES, MOST_COLUMNS, Opened, Parsed, data, unreadable};
use crate::TaskError;
use crate::leaves::members;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

/// Opens a jsonl file. It is read once for the names and the count of rows, and again for the rows.
pub fn open(path: &Path, _sheet: Option<&str>) -> Result<Opened, TaskError> {
    let source = Source::open(path)?;
    let mut lines = Lines::new(source.lines()?, path);
    let mut columns = Columns::default();
    let mut count = 0;
    while let Some(line) = lines.advance()? {
        count += 1;
        // A row that is no object is told when it is its turn; its names, as far as they can be read, are names too.
        let _ = serde_json::Deserializer::from_str(line).deserialize_map(&mut columns);
        if columns.ordered.len() > MOST_COLUMNS {
            return Err(data(path, &format!("expected at most {MOST_COLUMNS} names in all rows, got more")));
        }
    }
    if count == 0 {
        return Err(data(path, "expected rows, got blank lines alone"));
    }
    let rows = Box::new(Lines::new(source.lines()?, path));
    Ok(Opened { columns: columns.ordered, count: Some(count), warnings: source.warnings(), rows })
}

/// The names of objects in the order in which they first appear.
#[derive(Default)]
struct Columns {
    ordered: Vec<String>,
    seen: HashSet<String>,
}

/// Collects the names of one object and passes over its values.
impl<'a> Visitor<'a> for &mut Columns {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(()) = map.next_key_seed(&mut *self)? {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        if self.ordered.len() <= MOST_COLUMNS && !self.seen.contains(name) {
            self.seen.insert(name.to_owned());
            self.ordered.push(name.to_owned());
        }
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for &mut Columns {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

/// The lines of a text that are not blank.
struct Lines<R> {
    reader: R,
    path: PathBuf,
    line: String,
    number: u64,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R, path: &Path) -> Lines<R> {
        Lines { reader, path: path.to_path_buf(), line: String::new(), number: 0, ended: false }
    }

    /// The next line; after an error there is none.
    fn advance(&mut self) -> Result<Option<&str>, TaskError> {
        while !self.ended {
            self.line.clear();
            self.number += 1;
            let read = self.reader.by_ref().take(LONGEST_ROW_BYTES + 1).read_line(&mut self.line);
            match read {
                Ok(0) => self.ended = true,
                Ok(read) if read as u64 > LONGEST_ROW_BYTES => {
                    self.ended = true;
                    let reason = format!("expected at most {LONGEST_ROW_BYTES} bytes, got more");
                    return Err(data(&self.path, &format!("line {}: {reason}", self.number)));
                }
                Ok(_) if self.line.trim().is_empty() => {}
                Ok(_) => return Ok(Some(self.line.trim_end_matches(['\n', '\r']))),
                Err(error) => {
                    self.ended = true;
                    return Err(unreadable(&self.path, &error));
                }
            }
        }
        Ok(None)
    }

    fn row(&mut self) -> Result<Option<Map<String, Value>>, TaskError> {
        let Some(line) = self.advance()? else { return Ok(None) };
        let reason = match serde_json::from_str(line) {
            Ok(Value::Object(fields)) => return Ok(Some(fields)),
            Ok(other) => format!("expected a JSON object, got {}", kind_of(&other)),
            Err(error) => {
                let text = error.to_string();
                let text = text.split(" at line ").next().unwrap_or_default();
                format!("expected a JSON object, got what is no valid JSON at column {}: {text}", error.column())
            }
        };
        let hint = "each line is an object of its own, such as {\"text\": \"...\"}";
        Err(data(&self.path, &format!("line {}: {reason}\nhint: {hint}", self.number)))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Map<String, Value>, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.row().transpose()
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The rows of bytes that are in memory.
pub fn parse(bytes: &[u8]) -> Result<Parsed, TaskError> {
    let path = Path::new("bytes.jsonl");
    let (text, _) = crate::encoding::decode(bytes).map_err(|reason| data(path, &reason))?;
    Ok(Lines::new(text.as_bytes(), path).collect())
}

/// Where a value stands, and what takes its place; an object that lacks it gets it as its last one.
pub fn find(text: &str, cell: &Cell<'_>) -> Option<Found> {
    let mut start = 0;
    let mut left = cell.number;
    for line in text.split_inclusive('\n') {
        left -= u64::from(!line.trim().is_empty());
        if left == 0 {
            let value = cell.value.to_string();
            // Of two values of one name the last one is read.
            if let Some((_, place)) = members(line).into_iter().rfind(|(name, _)| name == cell.column) {
                return Some(Found { place: start + place.start..start + place.end, value });
            }
            let end = start + line.rfind('}')?;
            let comma = if members(line).is_empty() { "" } else { ", " };
            return Some(Found { place: end..end, value: format!("{comma}{}: {value}", Value::from(cell.column)) });
        }
        start += line.len();
    }
    None
}
