//! Columns of text for people: widths from the content, numbers to the right.
//!
//! Knows nothing of what the cells mean. Programs take `--json` instead.

pub use local::human_bytes as bytes;
use unicode_width::UnicodeWidthStr;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Sets rows under a header; two blanks between columns, no trailing blanks, one line a row.
pub fn table(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|(title, _)| title.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    let titles: Vec<String> = header.iter().map(|(title, _)| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(header) {
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            match align {
                Align::Left => line.extend([cell.as_str(), padding.as_str(), "  "]),
                Align::Right => line.extend([padding.as_str(), cell.as_str(), "  "]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A count of weights as people write it: `135M`, `1.5B`.
pub fn parameters(count: u64) -> String {
    match count {
        0 => "-".to_owned(),
        1..1_000_000 => format!("{:.0}k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0}M", count as f64 / 1e6),
        _ => format!("{:.1}B", count as f64 / 1e9),
    }
}

/// Seconds as people say them, in the largest unit that there is at least one of: `40 s`, `4 min`, `3 h`, `12 d`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_without_blanks() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["日本".to_owned(), "1000".to_owned()]];
        let text = table(&[("NAME", Align::Left), ("N", Align::Right)], &rows);
        assert_eq!(text, "NAME     N\na        1\n日本  1000\n");
    }

    #[test]
    fn counts_of_weights_are_written_as_people_write_them() {
        assert_eq!(parameters(134_515_008), "135M");
        assert_eq!(parameters(1_543_714_304), "1.5B");
    }

    #[test]
    fn times_are_told_in_one_unit() {
        let told: Vec<String> = [0, 59, 60, 3599, 3600, 86_399, 86_400].into_iter().map(duration).collect();
        assert_eq!(told, ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d"]);
    }
}
