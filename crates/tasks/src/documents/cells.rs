//! The cells of a workbook, sheet by sheet and row by row.
//!
//! Both a workbook as a document and a sheet as a table are made of them. Cells come as a stream: a sheet may say
//! that it has a million rows and hold one cell in the last of them.

use super::archive::Archive;
use calamine::{Data, DataRef, ExcelDateTime, Reader, Xlsx};
use serde_json::{Number, Value};
use std::io::{Read, Seek};

/// More than any honest workbook unpacks to, its pictures included.
const MOST_UNPACKED_BYTES: u64 = 512 << 20;
/// More cells than any honest sheet has; together with the bound on unpacked bytes a limit on memory.
const MOST_CELLS: usize = 20_000_000;

/// A row of a sheet: its number as the program that made it shows it, counted from 1, and the cells that are not
/// empty, by column counted from 0.
pub struct SheetRow {
    /// Counted from 1.
    pub number: u32,
    /// In ascending order of columns.
    pub cells: Vec<(u32, Value)>,
}

/// What a sheet holds.
#[derive(Default)]
pub struct Sheet {
    /// The rows that have a cell which is not empty.
    pub rows: Vec<SheetRow>,
    /// Cells with a formula whose value the program that wrote the file never computed: they are empty here.
    uncomputed: usize,
}

impl Sheet {
    /// What whoever reads the sheet should know.
    pub fn warning(&self, name: &str) -> Option<String> {
        let count = self.uncomputed;
        (count > 0).then(|| {
            format!("sheet {name:?}: {count} cells have formulas without a computed value and are read as empty")
        })
    }
}

/// A workbook whose size is known to be bearable.
pub struct Workbook<R> {
    xlsx: Xlsx<R>,
}

impl<R: Read + Seek + Clone> Workbook<R> {
    /// Opens a workbook.
    ///
    /// # Errors
    /// It is none, or larger than any honest one.
    pub fn open(reader: R) -> Result<Workbook<R>, String> {
        Archive::open(reader.clone(), MOST_UNPACKED_BYTES)?.check_sizes()?;
        let xlsx = Xlsx::new(reader).map_err(|error| format!("expected an xlsx workbook: {error}"))?;
        Ok(Workbook { xlsx })
    }

    /// The names of the sheets, in order.
    pub fn sheets(&self) -> Vec<String> {
        self.xlsx.sheet_names()
    }

    /// The cells of a sheet.
    ///
    /// # Errors
    /// The sheet is damaged, or none of cells (a chart).
    pub fn read(&mut self, sheet: &str) -> Result<Sheet, String> {
        let wrong = |error: calamine::XlsxError| format!("sheet {sheet:?}: {error}");
        let mut reader = self.xlsx.worksheet_cells_reader(sheet).map_err(wrong)?;
        let (mut rows, mut uncomputed): (Vec<SheetRow>, usize) = (Vec::new(), 0);
        let mut count = 0;
        while let Some(cell) = reader.next_cell_with_formula().map_err(wrong)? {
            let value = value_of(&cell.value);
            if value.is_null() {
                let is_text = matches!(cell.value, DataRef::String(_) | DataRef::SharedString(_));
                uncomputed += usize::from(cell.formula.is_some() && !is_text);
                continue;
            }
            count += 1;
            if count > MOST_CELLS {
                return Err(format!("sheet {sheet:?}: expected at most {MOST_CELLS} cells, got more"));
            }
            let (row, column) = cell.pos;
            let number = row.saturating_add(1);
            match rows.last_mut() {
                Some(last) if last.number == number => last.cells.push((column, value)),
                _ => rows.push(SheetRow { number, cells: vec![(column, value)] }),
            }
        }
        in_order(&mut rows).map_err(|reason| format!("sheet {sheet:?}: {reason}"))?;
        Ok(Sheet { rows, uncomputed })
    }
}

/// Puts rows and cells into ascending order. Programs write them so; nothing obliges a file to.
fn in_order(rows: &mut Vec<SheetRow>) -> Result<(), String> {
    rows.sort_by_key(|row| row.number);
    rows.dedup_by(|later, earlier| {
        let same = later.number == earlier.number;
        if same {
            earlier.cells.append(&mut later.cells);
        }
        same
    });
    for row in rows {
        row.cells.sort_by_key(|(column, _)| *column);
        if let Some(pair) = row.cells.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let reason = format!("expected one cell a column, got two in column {}", pair[0].0 + 1);
            return Err(format!("row {}: {reason}", row.number));
        }
    }
    Ok(())
}

/// A cell's value: numbers, booleans, texts; dates as texts in ISO 8601; errors as the sheet shows them.
fn value_of(cell: &DataRef<'_>) -> Value {
    match cell {
        DataRef::Empty => Value::Null,
        DataRef::Int(value) => Value::from(*value),
        DataRef::Float(value) => number(*value),
        DataRef::Bool(value) => Value::Bool(*value),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text_value(text),
        DataRef::SharedString(text) => text_value(text),
        DataRef::DateTime(time) => Value::String(time_text(time)),
        DataRef::Error(error) => Value::String(Data::Error(error.clone()).to_string()),
    }
}

fn text_value(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { Value::String(text.to_owned()) }
}

/// Workbooks have floating-point numbers alone: those that are whole were written so.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within what both types hold exactly")]
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

fn time_text(time: &ExcelDateTime) -> String {
    if time.is_duration() {
        let seconds = (time.as_f64() * 86_400.0).round();
        return format!("PT{seconds}S");
    }
    let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
    let date = format!("{year:04}-{month:02}-{day:02}");
    match (hour, minute, second, milli) {
        (0, 0, 0, 0) => date,
        (_, _, _, 0) => format!("{date}T{hour:02}:{minute:02}:{second:02}"),
        _ => format!("{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}"),
    }
}

/// A value as a cell shows it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
