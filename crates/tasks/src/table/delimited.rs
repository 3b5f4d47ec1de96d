//! csv and tsv: a header, then rows of texts, fields in quotes where they hold separators or line ends (RFC 4180).
//!
//! The separator of a csv file is found out, as half of the world writes `;`. Blank lines are no rows.

use super::edit::{Cell, Found};
use super::source::{BoundedReader, Source};
use super::writer::text_of;
use super::{NO_ROWS, Opened, Parsed, check_columns, data, unreadable};
use crate::TaskError;
use csv::{ByteRecord, Reader, ReaderBuilder};
use serde_json::{Map, Value};
use std::io::{Chain, Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Those that csv files are found to have, the most usual first.
const SEPARATORS: &[u8] = b",;\t|";

/// So much of a file decides which separator it has.
const SAMPLE_BYTES: u64 = 64 << 10;
const SAMPLE_ROWS: usize = 50;

/// A row that is read behind the file. A quote that nobody closed swallows all that follows, of which the parser says
/// nothing: then it swallows this too, and it comes back at the end of a field instead of as a row. No text has this
/// character.
const END: &str = "\u{fdd0}end of the file";
const END_ROW: &[u8] = "\n\u{fdd0}end of the file\n".as_bytes();

/// Opens a csv file.
pub fn open_csv(path: &Path, _sheet: Option<&str>) -> Result<Opened, TaskError> {
    open(path, None)
}

/// Opens a tsv file.
pub fn open_tsv(path: &Path, _sheet: Option<&str>) -> Result<Opened, TaskError> {
    open(path, Some(b'\t'))
}

fn open(path: &Path, separator: Option<u8>) -> Result<Opened, TaskError> {
    let source = Source::open(path)?;
    let separator = match separator {
        Some(separator) => separator,
        None => {
            let mut sample = Vec::new();
            source.text()?.take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(|error| unreadable(path, &error))?;
            sniff(&sample)
        }
    };
    let mut rows = Delimited::new(source.text()?, separator, path)?;
    let columns = rows.columns.clone();
    if !rows.advance()? {
        return Err(data(path, NO_ROWS));
    }
    Ok(Opened { columns, count: None, warnings: source.warnings(), rows: Box::new(rows) })
}

/// The separator that parts most rows of a sample alike; a comma where none parts them.
fn sniff(sample: &[u8]) -> u8 {
    let mut best = (b',', 0);
    for &separator in SEPARATORS {
        let mut reader = reader_of(sample, separator);
        let counts: Vec<usize> = reader.byte_records().take(SAMPLE_ROWS).flatten().map(|record| record.len()).collect();
        let Some(&first) = counts.first().filter(|&&first| first > 1) else { continue };
        // The last row of a sample may be cut, so that one row of another length is no argument.
        let alike = counts.iter().filter(|&&count| count == first).count();
        let score = alike * 1000 / counts.len() * 1000 + first.min(999);
        if score > best.1 {
            best = (separator, score);
        }
    }
    best.0
}

fn reader_of<R: Read>(reader: R, separator: u8) -> Reader<R> {
    ReaderBuilder::new().delimiter(separator).flexible(true).has_headers(false).from_reader(reader)
}

/// The rows of a text.
struct Delimited<R> {
    reader: Reader<Chain<BoundedReader<R>, Cursor<&'static [u8]>>>,
    separator: u8,
    columns: Vec<String>,
    path: PathBuf,
    /// The row that comes next, where it was read already.
    record: ByteRecord,
    advanced: bool,
    ended: bool,
}

impl<R: Read> Delimited<R> {
    /// Reads the header.
    fn new(text: BoundedReader<R>, separator: u8, path: &Path) -> Result<Delimited<R>, TaskError> {
        let mut rows = Delimited {
            reader: reader_of(text.chain(Cursor::new(END_ROW)), separator),
            separator,
            columns: Vec::new(),
            path: path.to_path_buf(),
            record: ByteRecord::new(),
            advanced: false,
            ended: false,
        };
        if !rows.advance()? {
            return Err(data(path, super::EMPTY));
        }
        rows.advanced = false;
        rows.columns = rows.fields_of_record()?;
        check_columns(&rows.columns).map_err(|reason| data(path, &reason))?;
        Ok(rows)
    }

    /// Reads the next row, unless it is read already. False at the end.
    fn advance(&mut self) -> Result<bool, TaskError> {
        if self.advanced {
            return Ok(true);
        }
        self.reader.get_mut().get_mut().0.begin_row();
        let read = self.reader.read_byte_record(&mut self.record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => unreadable(&self.path, &error),
            other => data(&self.path, &format!("{other:?}")),
        });
        let line = self.line();
        let last = self.record.iter().next_back().unwrap_or_default();
        self.advanced = match read {
            Ok(read) => read && !(self.record.len() == 1 && last == END.as_bytes()),
            Err(error) => {
                self.ended = true;
                return Err(error);
            }
        };
        if self.advanced && last.ends_with(END_ROW) {
            self.ended = true;
            let reason = format!("line {line}: expected a closing quote, got the end of the file");
            let hint = "a quote within a quoted field is written twice";
            return Err(data(&self.path, &format!("{reason}\nhint: {hint}")));
        }
        Ok(self.advanced)
    }

    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    fn fields_of_record(&self) -> Result<Vec<String>, TaskError> {
        let text = |field: &[u8]| String::from_utf8(field.to_vec());
        self.record.iter().map(text).collect::<Result<_, _>>().map_err(|error| {
            data(&self.path, &format!("line {}: expected UTF-8, got {:?}", self.line(), error.utf8_error()))
        })
    }

    fn row(&mut self) -> Result<Option<Map<String, Value>>, TaskError> {
        if !self.advance()? {
            return Ok(None);
        }
        self.advanced = false;
        let (got, expected) = (self.record.len(), self.columns.len());
        if got != expected {
            let separator = char::from(self.separator);
            let reason = format!("line {}: expected {expected} fields, as the first line has, got {got}", self.line());
            let hint =
                format!("a field that holds {separator:?} or a line end stands in quotes; parted by {separator:?}");
            return Err(data(&self.path, &format!("{reason}\nhint: {hint}")));
        }
        let fields = self.fields_of_record()?;
        Ok(Some(self.columns.iter().cloned().zip(fields.into_iter().map(Value::String)).collect()))
    }
}

impl<R: Read> Iterator for Delimited<R> {
    type Item = Result<Map<String, Value>, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.row().transpose()
    }
}

/// The rows of csv that is in memory.
pub fn parse_csv(bytes: &[u8]) -> Result<Parsed, TaskError> {
    parse(bytes, Path::new("bytes.csv"), None)
}

/// The rows of tsv that is in memory.
pub fn parse_tsv(bytes: &[u8]) -> Result<Parsed, TaskError> {
    parse(bytes, Path::new("bytes.tsv"), Some(b'\t'))
}

fn parse(bytes: &[u8], path: &Path, separator: Option<u8>) -> Result<Parsed, TaskError> {
    let (text, _) = crate::encoding::decode(bytes).map_err(|reason| data(path, &reason))?;
    let separator = separator.unwrap_or_else(|| sniff(text.as_bytes()));
    Ok(Delimited::new(BoundedReader::new(text.as_bytes()), separator, path)?.collect())
}

/// Where a cell of csv stands, and what takes its place.
pub fn find_csv(text: &str, cell: &Cell<'_>) -> Option<Found> {
    find(text, cell, sniff(text.as_bytes()))
}

/// The same of tsv.
pub fn find_tsv(text: &str, cell: &Cell<'_>) -> Option<Found> {
    find(text, cell, b'\t')
}

fn find(text: &str, cell: &Cell<'_>, separator: u8) -> Option<Found> {
    let mut header = ByteRecord::new();
    reader_of(text.as_bytes(), separator).read_byte_record(&mut header).ok()?;
    let column = header.iter().position(|name| name == cell.column.as_bytes())?;
    let mut at = 0;
    let mut fields = Vec::new();
    for _ in 0..=cell.number {
        fields = places(text.as_bytes(), &mut at, separator)?;
    }
    let place = fields.get(column)?.clone();
    let value = match cell.value {
        // Several labels.
        Value::Array(parts) => parts.iter().map(text_of).collect::<Vec<_>>().join(";"),
        value => text_of(value),
    };
    let was_quoted = text[place.clone()].starts_with('"');
    let needs_quotes = value.bytes().any(|byte| byte == separator || b"\"\r\n".contains(&byte));
    // A line with nothing on it would be no row.
    let would_vanish = value.is_empty() && fields.len() == 1;
    let is_quoted = was_quoted || needs_quotes || would_vanish;
    let value = if is_quoted { format!("\"{}\"", value.replace('"', "\"\"")) } else { value };
    Some(Found { place, value })
}

/// Where the fields of the next row stand, quotes included; none behind the last row. Blank lines are passed over.
fn places(text: &[u8], at: &mut usize, separator: u8) -> Option<Vec<Range<usize>>> {
    while text.get(*at).is_some_and(|byte| b"\r\n".contains(byte)) {
        *at += 1;
    }
    if *at == text.len() {
        return None;
    }
    let mut fields = Vec::new();
    loop {
        let start = *at;
        if text.get(*at) == Some(&b'"') {
            *at += 1;
            while let Some(&byte) = text.get(*at) {
                *at += 1;
                if byte == b'"' && text.get(*at) != Some(&b'"') {
                    break;
                }
                // The first of two quotes says that the second is one.
                *at += usize::from(byte == b'"');
            }
        }
        // Behind a closing quote too: what stands there belongs to the field.
        let ends = |byte: &u8| *byte == separator || b"\r\n".contains(byte);
        *at += text[*at..].iter().position(ends).unwrap_or(text.len() - *at);
        fields.push(start..*at);
        if text.get(*at) != Some(&separator) {
            return Some(fields);
        }
        *at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::rank;

    /// The fields of a text by the parser itself.
    fn parsed(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let fields = |record: ByteRecord| record.iter().map(<[u8]>::to_vec).collect();
        reader_of(text, b',').byte_records().map(|record| fields(record.unwrap())).collect()
    }

    #[test]
    fn places_of_fields_are_where_the_parser_has_them() {
        let letters = ["a", "\"", ",", "\n", "\r\n", "\r", " ", "é", "\"\"", "\"a\""];
        for seed in 0..20_000 {
            let length = rank(seed, "length") % 14;
            let letter = |place: u64| letters[(rank(seed, &place.to_string()) % 10) as usize];
            let text: String = (0..length).map(letter).collect();
            let mut at = 0;
            let mut found = Vec::new();
            while let Some(fields) = places(text.as_bytes(), &mut at, b',') {
                // A field alone is a record of one field; one that is empty is no record.
                let alone = |place: Range<usize>| match parsed(&text.as_bytes()[place.clone()]).as_slice() {
                    [] => Vec::new(),
                    [record] => record.concat(),
                    several => panic!("{text:?} {place:?} {several:?}"),
                };
                found.push(fields.into_iter().map(alone).collect::<Vec<_>>());
            }
            assert_eq!(found, parsed(text.as_bytes()), "{text:?}");
        }
    }
}
