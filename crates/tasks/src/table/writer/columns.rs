//! The columns of rows: the union of their names in the order of their first appearance, each with the narrowest type
//! that holds all its values.

use super::super::MOST_COLUMNS;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What all values of a column are, nulls apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColumnType {
    /// There are nulls alone so far.
    #[default]
    Nothing,
    /// True and false.
    Boolean,
    /// Whole numbers of 64 bits with a sign.
    Integer,
    /// Numbers.
    Number,
    /// Texts, or values of several types, or nested ones: the latter as JSON.
    Text,
}

impl ColumnType {
    fn of(value: &Value) -> ColumnType {
        match value {
            Value::Null => ColumnType::Nothing,
            Value::Bool(_) => ColumnType::Boolean,
            Value::Number(number) if number.is_i64() => ColumnType::Integer,
            // A number beyond what a float holds exactly would be rounded: its text is not.
            Value::Number(number) if number.is_u64() => ColumnType::Text,
            Value::Number(_) => ColumnType::Number,
            Value::String(_) | Value::Array(_) | Value::Object(_) => ColumnType::Text,
        }
    }

    /// The narrowest type that holds the values of both.
    fn join(self, other: ColumnType) -> ColumnType {
        use ColumnType::{Integer, Nothing, Number, Text};
        match (self, other) {
            (Nothing, other) | (other, Nothing) => other,
            (one, other) if one == other => one,
            (Integer, Number) | (Number, Integer) => Number,
            _ => Text,
        }
    }
}

/// The columns of the rows so far.
#[derive(Debug, Default)]
pub struct Columns {
    ordered: Vec<(String, ColumnType)>,
    by_name: HashMap<String, usize>,
}

impl Columns {
    /// Counts a row in.
    ///
    /// # Errors
    /// There are more columns than any honest table has.
    pub fn add(&mut self, row: &Map<String, Value>) -> std::io::Result<()> {
        for (name, value) in row {
            let kind = ColumnType::of(value);
            if let Some(&index) = self.by_name.get(name) {
                self.ordered[index].1 = self.ordered[index].1.join(kind);
                continue;
            }
            if self.ordered.len() == MOST_COLUMNS {
                return Err(std::io::Error::other(format!("expected at most {MOST_COLUMNS} columns, got more")));
            }
            self.by_name.insert(name.clone(), self.ordered.len());
            self.ordered.push((name.clone(), kind));
        }
        Ok(())
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.ordered.iter().map(|(name, _)| name.as_str())
    }

    /// Names and types, in order.
    pub fn typed(&self) -> &[(String, ColumnType)] {
        &self.ordered
    }
}
