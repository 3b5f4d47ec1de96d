//! `cargo xtask receipts`: four fields of scanned receipts, extracted by `bantam extract` and compared with what people wrote.
//!
//! The data is that of SROIE (ICDAR 2019): `box/NNN.csv` has the recognized lines with their corners, `key/NNN.json` the fields. A
//! field is right where it is the same but for blanks and case. Printed are precision, recall and F1 of each, and how many
//! documents a day are done.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::bench::tools::Bantam;
use super::say;

pub(super) const FIELDS: [&str; 4] = ["company", "date", "address", "total"];

/// What `bantam extract --fields` is told of them.
pub(super) const DESCRIBED: &str = "company=name of the shop or company,date=date of the receipt as it is written,\
                         address=address of the shop,total=total amount as it is written";

const SECONDS_A_DAY: f64 = 86_400.0;

/// Which receipts, and by what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder with `box/` and `key/`
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// The model of the store
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Receipts, the first so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    rows: usize,
}

/// How one field came out.
#[derive(Debug, Default)]
struct Score {
    right: usize,
    given: usize,
    wanted: usize,
}

impl Score {
    fn add(&mut self, given: Option<&str>, wanted: Option<&str>) {
        let folded = |text: &str| text.split_whitespace().collect::<String>().to_uppercase();
        self.given += usize::from(given.is_some());
        self.wanted += usize::from(wanted.is_some());
        self.right += usize::from(given.is_some() && given.map(folded) == wanted.map(folded));
    }

    fn line(&self) -> String {
        let share = |of: usize| self.right as f64 / of.max(1) as f64;
        let (precision, recall) = (share(self.given), share(self.wanted));
        // Twice the product by the sum, written so that nothing right is no division by zero.
        let f1 = 2.0 * self.right as f64 / (self.given + self.wanted).max(1) as f64;
        format!("F1 {:.1} % (precision {:.1}, recall {:.1})", 100.0 * f1, 100.0 * precision, 100.0 * recall)
    }
}

/// Measures and prints.
///
/// # Errors
/// Data that cannot be read, a command that fails.
pub(super) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let bantam = Bantam::build(root)?;
    let receipts = read(&args.data, args.rows)?;
    let folder = tempfile::tempdir()?;
    let (rows, results) = (folder.path().join("receipts.jsonl"), folder.path().join("results.jsonl"));
    let lines: Vec<String> = receipts.iter().map(|(text, _)| json!({"text": text}).to_string()).collect();
    std::fs::write(&rows, lines.join("\n") + "\n")?;
    let (from, to) = (rows.to_string_lossy(), results.to_string_lossy());
    let flags = ["extract", "--fields", DESCRIBED, "--model", &args.model, "--in", &from, "--out", &to];
    let summary = bantam.job(&flags)?;
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    let mut valid = 0;
    let results = std::fs::read_to_string(&results)?;
    ensure!(results.lines().count() == receipts.len(), "not as many rows of results as receipts");
    for (line, (_, wanted)) in results.lines().zip(&receipts) {
        let row: Value = serde_json::from_str(line).with_context(|| format!("not a row of results: {line}"))?;
        valid += usize::from(row["value"].is_object());
        for field in FIELDS {
            let given = row["value"][field].as_str().filter(|text| !text.trim().is_empty());
            scores.entry(field).or_default().add(given, wanted[field].as_str());
        }
    }
    for field in FIELDS {
        say(&format!("{field:<8} {}", scores.entry(field).or_default().line()));
    }
    let count = receipts.len();
    let seconds = summary["seconds"].as_f64().context("the summary has no seconds")?;
    say(&format!(
        "{}: {valid} of {count} outputs valid, {:.2} s a document, {:.0} documents a day",
        args.model,
        seconds / count as f64,
        SECONDS_A_DAY * count as f64 / seconds
    ));
    Ok(ExitCode::SUCCESS)
}

/// The text and the fields of each receipt, of the first so many.
pub(super) fn read(data: &Path, rows: usize) -> anyhow::Result<Vec<(String, Value)>> {
    let mut keys: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(data.join("key")).context("the folder has no key/")? {
        keys.push(entry?.path());
    }
    keys.sort();
    let receipt = |key: PathBuf| -> anyhow::Result<(String, Value)> {
        let fields = serde_json::from_slice(&std::fs::read(&key)?).with_context(|| key.display().to_string())?;
        let lines = data.join("box").join(key.file_name().unwrap_or_default()).with_extension("csv");
        let bytes = std::fs::read(&lines).with_context(|| lines.display().to_string())?;
        // Eight numbers, then the text, in which commas stand as they are.
        let text_of = |line: &str| line.splitn(9, ',').nth(8).map(str::to_owned);
        let text: Vec<String> = String::from_utf8_lossy(&bytes).lines().filter_map(text_of).collect();
        Ok((text.join("\n"), fields))
    };
    keys.into_iter().take(rows).map(receipt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_right_but_for_blanks_and_case() {
        let mut score = Score::default();
        score.add(Some("Book  ta"), Some("BOOK TA"));
        score.add(Some("9.00"), Some("9.10"));
        score.add(None, Some("x"));
        assert_eq!((score.right, score.given, score.wanted), (1, 2, 3));
        assert_eq!(score.line(), "F1 40.0 % (precision 50.0, recall 33.3)");
    }
}
