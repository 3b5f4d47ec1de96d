//! Reads the tables of a task file: every key that nobody knows and every value of a wrong type is an error with its
//! place.
//!
//! It knows TOML and how an error is told, and nothing of what the keys mean. Read next: `task.rs`, which reads the
//! file's top, then a file of `kinds/`, which reads its own table.

use crate::TaskError;
use serde_json::{Map, Number, Value};
use std::fmt::{Display, Write};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file that is being read, for the places of errors.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    file: &'a Path,
    text: &'a str,
}

impl<'a> Place<'a> {
    pub fn new(file: &'a Path, text: &'a str) -> Place<'a> {
        Place { file, text }
    }

    /// The folder that paths in the file start at.
    pub fn folder(self) -> &'a Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// An error at a byte of the file. Lines and columns count from 1, columns in characters.
    pub fn wrong(self, at: usize, message: impl Display) -> TaskError {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        TaskError::File(format!("{}:{line}:{column}: {message}", self.file.display()))
    }

    /// The file's top as a section.
    pub fn top(self, keys: &[&str]) -> Result<Section<'a>, TaskError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, format_args!("{}\nhint: a task file is TOML", error.message().replace('\n', "; ")))
        })?;
        let section = Section { place: self, name: String::new(), at: 0, table: table.into_inner() };
        section.known_alone(keys)?;
        Ok(section)
    }
}

/// A table of the file whose keys are all known.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    place: Place<'a>,
    name: String,
    at: usize,
    table: DeTable<'a>,
}

impl<'a> Section<'a> {
    /// A table that the file does not have, as if it stood empty at a byte.
    pub fn absent(place: Place<'a>, name: &str, at: usize) -> Section<'a> {
        Section { place, name: name.to_owned(), at, table: DeTable::new() }
    }

    pub fn place(&self) -> Place<'a> {
        self.place
    }

    /// What stands at a key, if anything does.
    pub fn take(&mut self, key: &str) -> Option<Entry<'a>> {
        let (_, value) = self.table.remove_entry(key)?;
        Some(Entry::of(self.place, &self.name, key, value))
    }

    /// What stands at a key that has to be there.
    pub fn require(&mut self, key: &str, expected: &str) -> Result<Entry<'a>, TaskError> {
        self.take(key)
            .ok_or_else(|| self.wrong(format_args!("{} lacks `{key}`\nhint: expected {expected}", self.title())))
    }

    pub fn text(&mut self, key: &str) -> Result<Option<String>, TaskError> {
        self.take(key).map(Entry::text).transpose()
    }

    pub fn flag(&mut self, key: &str) -> Result<Option<bool>, TaskError> {
        self.take(key).map(Entry::flag).transpose()
    }

    /// The same with what another one says beside it. What this one says goes first.
    pub fn over(self, base: &Section<'a>) -> Section<'a> {
        let mut table = base.table.clone();
        for (key, value) in self.table {
            table.remove(&**key.get_ref());
            table.insert(key, value);
        }
        Section { table, ..self }
    }

    /// An error about the table as a whole.
    pub fn wrong(&self, message: impl Display) -> TaskError {
        self.place.wrong(self.at, message)
    }

    /// All that is left, in the order of the file.
    pub fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        let place = self.place;
        let Section { name, table, .. } = self;
        table.into_iter().map(move |(key, value)| Entry::of(place, &name, key.get_ref(), value))
    }

    fn title(&self) -> String {
        if self.name.is_empty() { "the task file".to_owned() } else { format!("[{}]", self.name) }
    }

    fn known_alone(&self, keys: &[&str]) -> Result<(), TaskError> {
        let Some((unknown, _)) = self.table.iter().find(|(key, _)| !keys.contains(&&**key.get_ref())) else {
            return Ok(());
        };
        let mut message = format!("unknown key {:?} in {}\nhint: ", &**unknown.get_ref(), self.title());
        if let Some(near) = nearest(unknown.get_ref(), keys) {
            let _ = write!(message, "did you mean `{near}`? ");
        }
        let _ = write!(message, "its keys are {}", keys.join(", "));
        Err(self.place.wrong(unknown.span().start, message))
    }
}

/// The nearest of several names, where one is near enough to have been meant.
pub fn nearest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let distance = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
    let best = names.iter().copied().min_by_key(|other| distance(other))?;
    (name.len() < 100 && distance(best) <= 1 + best.chars().count() / 4).then_some(best)
}

/// One key with its value.
#[derive(Debug)]
pub struct Entry<'a> {
    place: Place<'a>,
    /// The table that it stands in.
    table: String,
    pub key: String,
    at: usize,
    value: DeValue<'a>,
}

impl<'a> Entry<'a> {
    fn of(place: Place<'a>, table: &str, key: &str, value: Spanned<DeValue<'a>>) -> Entry<'a> {
        let (table, key) = (table.to_owned(), key.to_owned());
        Entry { place, table, key, at: value.span().start, value: value.into_inner() }
    }

    /// An error about the value.
    pub fn wrong(&self, message: impl Display) -> TaskError {
        self.place.wrong(self.at, format_args!("`{}`: {message}", self.key))
    }

    /// The place of the value, for errors that are found after it was taken.
    pub fn at(&self) -> usize {
        self.at
    }

    /// That the value is not of the type that is expected.
    pub fn expected(&self, expected: &str) -> TaskError {
        let got = match &self.value {
            DeValue::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
            DeValue::Integer(number) => format!("the number {}", number.as_str()),
            DeValue::Float(number) => format!("the number {}", number.as_str()),
            DeValue::Boolean(flag) => format!("{flag}"),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.wrong(format_args!("expected {expected}, got {got}"))
    }

    pub fn is_text(&self) -> bool {
        self.value.is_str()
    }

    pub fn is_flag(&self) -> bool {
        self.value.is_bool()
    }

    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    pub fn text(self) -> Result<String, TaskError> {
        match self.value {
            DeValue::String(text) => Ok(text.into_owned()),
            _ => Err(self.expected("a text in quotes")),
        }
    }

    pub fn flag(self) -> Result<bool, TaskError> {
        match self.value {
            DeValue::Boolean(flag) => Ok(flag),
            _ => Err(self.expected("true or false")),
        }
    }

    pub fn count(self) -> Result<usize, TaskError> {
        let expected = "a whole number of 0 or more";
        let number = match &self.value {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        number.map(|number| number as usize).ok_or_else(|| self.expected(expected))
    }

    pub fn seed(self) -> Result<u64, TaskError> {
        let number = match &self.value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        number.ok_or_else(|| self.expected("a whole number of 0 or more"))
    }

    /// A number for which `is_right`; `expected` says in words which are.
    pub fn number(self, expected: &str, is_right: impl Fn(f64) -> bool) -> Result<f64, TaskError> {
        let number = match &self.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        number.filter(|&number: &f64| number.is_finite() && is_right(number)).ok_or_else(|| self.expected(expected))
    }

    /// The items of a list, each called by the list's key.
    pub fn items(self) -> Result<Vec<Entry<'a>>, TaskError> {
        match self.value {
            DeValue::Array(items) => {
                Ok(items.into_iter().map(|item| Entry::of(self.place, &self.table, &self.key, item)).collect())
            }
            _ => Err(self.expected("a list")),
        }
    }

    /// A table of these keys alone.
    pub fn section(self, keys: &[&str]) -> Result<Section<'a>, TaskError> {
        let section = self.free_section()?;
        section.known_alone(keys)?;
        Ok(section)
    }

    /// A table whose keys are the user's own names.
    pub fn free_section(self) -> Result<Section<'a>, TaskError> {
        match self.value {
            DeValue::Table(table) => {
                let dot = if self.table.is_empty() { "" } else { "." };
                let name = format!("{}{dot}{}", self.table, self.key);
                Ok(Section { place: self.place, name, at: self.at, table })
            }
            _ => Err(self.expected("a table")),
        }
    }

    /// The value as JSON; dates and numbers that JSON has no form for are errors.
    pub fn json(self) -> Result<Value, TaskError> {
        let Entry { place, table, key, at, value } = self;
        Ok(match value {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Boolean(flag) => Value::Bool(flag),
            DeValue::Integer(ref number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::from(number),
                Err(_) => return Err(Entry { place, table, key, at, value }.expected("a number of 64 bits")),
            },
            DeValue::Float(ref number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => Value::Number(number),
                None => return Err(Entry { place, table, key, at, value }.expected("a finite number")),
            },
            DeValue::Datetime(_) => {
                return Err(Entry { place, table, key, at, value }.expected("a value that JSON has"));
            }
            DeValue::Array(items) => {
                let items = items.into_iter().map(|item| Entry::of(place, &table, &key, item).json());
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            DeValue::Table(fields) => {
                let fields = fields.into_iter().map(|(name, value)| {
                    let value = Entry::of(place, &table, name.get_ref(), value).json()?;
                    Ok((name.into_inner().into_owned(), value))
                });
                Value::Object(fields.collect::<Result<Map<_, _>, TaskError>>()?)
            }
        })
    }
}
