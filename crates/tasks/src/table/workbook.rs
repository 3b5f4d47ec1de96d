//! xlsx: the first sheet, or the one that is named. The first row that is not empty holds the names of the columns.

use super::{NO_ROWS, Opened, Parsed, check_columns, data, unreadable};
use crate::TaskError;
use crate::documents::cells::{SheetRow, Workbook, shown};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A larger workbook is refused, as all of it is held in memory.
const MOST_BYTES: u64 = 256 << 20;

/// Opens a workbook.
pub fn open(path: &Path, sheet: Option<&str>) -> Result<Opened, TaskError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.is_empty() {
        return Err(data(path, super::EMPTY));
    }
    if bytes.len() as u64 > MOST_BYTES {
        let hint = "save the sheet as csv, which is read as a stream";
        return Err(data(path, &format!("expected a workbook of at most {MOST_BYTES} bytes, got more\nhint: {hint}")));
    }
    let Body { columns, rows, warnings } = read(&bytes, sheet).map_err(|reason| data(path, &reason))?;
    let path = path.to_path_buf();
    let names = columns.clone();
    let count = Some(rows.len() as u64);
    let rows = rows.into_iter().map(move |row| fields(&names, row).map_err(|reason| data(&path, &reason)));
    Ok(Opened { columns, count, warnings, rows: Box::new(rows) })
}

/// A sheet as a table.
struct Body {
    columns: Vec<String>,
    /// Those below the names of the columns.
    rows: Vec<SheetRow>,
    warnings: Vec<String>,
}

fn read(bytes: &[u8], sheet: Option<&str>) -> Result<Body, String> {
    let mut workbook = Workbook::open(std::io::Cursor::new(bytes))?;
    let sheets = workbook.sheets();
    let sheet = match sheet {
        Some(sheet) => sheets.iter().find(|name| *name == sheet).ok_or_else(|| {
            let hint = "write the name of one of them behind the # of the file's name";
            format!("no sheet {sheet:?}; the sheets are {}\nhint: {hint}", sheets.join(", "))
        })?,
        None => sheets.first().ok_or("expected a workbook with a sheet, got none")?,
    };
    let cells = workbook.read(sheet)?;
    let warnings = cells.warning(sheet).into_iter().collect();
    let mut rows = cells.rows.into_iter();
    let header = rows.next().ok_or_else(|| format!("sheet {sheet:?}: expected rows, got an empty sheet"))?;
    let mut columns = Vec::new();
    for (column, value) in &header.cells {
        if *column as usize != columns.len() {
            let reason = format!("expected a name for each column, got none for column {}", columns.len() + 1);
            return Err(format!(
                "sheet {sheet:?}: row {}: {reason}\nhint: the table begins in the first column",
                header.number
            ));
        }
        columns.push(shown(value));
    }
    check_columns(&columns).map_err(|reason| format!("sheet {sheet:?}: row {}: {reason}", header.number))?;
    let rows: Vec<SheetRow> = rows.collect();
    if rows.is_empty() {
        return Err(format!("sheet {sheet:?}: {NO_ROWS}"));
    }
    Ok(Body { columns, rows, warnings })
}

/// A row's fields; cells that are empty are null.
fn fields(columns: &[String], row: SheetRow) -> Result<Map<String, Value>, String> {
    let mut fields: Map<String, Value> = columns.iter().map(|name| (name.clone(), Value::Null)).collect();
    for (column, value) in row.cells {
        let Some(name) = columns.get(column as usize) else {
            let expected = columns.len();
            return Err(format!(
                "row {}: expected {expected} columns, as have names, got a cell in column {}",
                row.number,
                column + 1
            ));
        };
        fields.insert(name.clone(), value);
    }
    Ok(fields)
}

/// The rows of the first sheet of bytes that are in memory.
pub fn parse(bytes: &[u8]) -> Result<Parsed, TaskError> {
    let wrong = |reason: String| data(Path::new("bytes.xlsx"), &reason);
    let Body { columns, rows, .. } = read(bytes, None).map_err(wrong)?;
    Ok(rows.into_iter().map(|row| fields(&columns, row).map_err(wrong)).collect())
}
