//! xlsx: every sheet under its name, a line for each row, tabulators between cells.
//!
//! Columns that are empty in all rows are left out, and so are empty rows, but for a blank line. White space in a
//! cell becomes a space.

use super::cells::{Workbook, shown};
use super::{MOST_TEXT_BYTES, Text, too_long};
use std::collections::BTreeSet;
use std::io::Cursor;

/// Reads a workbook.
pub fn parse(bytes: &[u8]) -> Result<Text, String> {
    let mut workbook = Workbook::open(Cursor::new(bytes))?;
    let mut text = String::new();
    let mut warnings = Vec::new();
    for sheet in workbook.sheets() {
        let rows = match workbook.read(&sheet) {
            Ok(read) => {
                warnings.extend(read.warning(&sheet));
                read.rows
            }
            // A sheet that is a chart has no cells; whatever else it is, the other sheets are worth having.
            Err(reason) => {
                warnings.push(format!("left out: {reason}"));
                continue;
            }
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("# {sheet}\n"));
        let used: BTreeSet<u32> = rows.iter().flat_map(|row| row.cells.iter().map(|(column, _)| *column)).collect();
        let used: Vec<u32> = used.into_iter().collect();
        let mut last = None;
        for row in rows {
            if last.is_some_and(|last: u32| row.number > last.saturating_add(1)) {
                text.push('\n');
            }
            last = Some(row.number);
            let mut place = 0;
            for (column, value) in &row.cells {
                let index = used.partition_point(|used| used < column);
                text.extend(std::iter::repeat_n('\t', index - place));
                place = index;
                let cell = shown(value);
                text.extend(
                    cell.split_whitespace()
                        .enumerate()
                        .flat_map(|(index, word)| [if index > 0 { " " } else { "" }, word]),
                );
                if text.len() > MOST_TEXT_BYTES {
                    return Err(too_long());
                }
            }
            text.push('\n');
        }
    }
    if text.is_empty() && !warnings.is_empty() {
        return Err(format!("expected a sheet that can be read, got none: {}", warnings.join("; ")));
    }
    Ok(Text { text, pages: Vec::new(), warnings })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{row, xlsx};
    use super::*;

    #[test]
    fn every_sheet_is_there_with_its_rows() {
        let first = row(1, &["name", "", "n"]) + r#"<row r="4"><c r="C4"><v>2.5</v></c></row>"#;
        let second = r#"<row r="1"><c r="B1" t="b"><v>1</v></c><c r="C1" t="e"><v>#DIV/0!</v></c></row>"#;
        let text = parse(&xlsx(&[("First", &first), ("Second", second)])).unwrap();
        assert_eq!(text.text, "# First\nname\tn\n\n\t2.5\n\n# Second\ntrue\t#DIV/0!\n");
    }

    #[test]
    fn a_million_rows_that_are_far_apart_are_refused_before_they_fill_the_memory() {
        let rows: String = (1..=16_000)
            .map(|number| {
                let (high, low) = ((number - 1) / 26, (number - 1) % 26);
                let letter = |index: usize| char::from(b'A' + u8::try_from(index % 26).unwrap());
                let column = format!("{}{}{}", letter(high / 26), letter(high), letter(low));
                format!(r#"<row r="{number}"><c r="{column}{number}"><v>1</v></c></row>"#)
            })
            .collect();
        let error = parse(&xlsx(&[("S", &rows)])).unwrap_err();
        assert_eq!(error, "expected a document of at most 67108864 bytes of text, got more");
    }
}
