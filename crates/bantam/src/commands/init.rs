//! `bantam init`: the beginnings of a task out of a look at its data.

use crate::session::Session;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::Write;
use std::path::{Path, PathBuf};
use tasks::table::{Table, Writer};

/// Make a task file from a table of examples, and split them into some to learn from and some to judge by
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam init triage --kind classify --data mails.csv     writes triage.toml, triage-train.csv, triage-test.csv
  bantam init invoice --kind extract --data invoices.jsonl

Then read the task file, change what was guessed, and: bantam check triage.toml")]
pub struct Args {
    /// The name of the task; may be a path, which says the folder too
    name: PathBuf,
    /// What kind of task: classify, extract, summarize, answer, complete or generate
    #[arg(long, value_name = "KIND")]
    kind: String,
    /// A table of examples: .csv, .tsv, .jsonl, .parquet or .xlsx
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Another number splits the examples another way
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    task: &'a Path,
    kind: &'a str,
    train: Option<&'a Path>,
    test: Option<&'a Path>,
    train_rows: usize,
    test_rows: usize,
    notes: &'a [String],
}

/// Rows that cannot be read are named, so many of them.
const MOST_NAMED: usize = 5;

type NumberedRow = (u64, Map<String, Value>);

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let (rows, warnings) = read(&args.data)?;
    let file = path(&args.name, ".toml")?;
    // Results are written in the format of the data where that is one of them.
    let extension = ending(&args.data);
    let (train, test) =
        (path(&args.name, &format!("-train.{extension}"))?, path(&args.name, &format!("-test.{extension}"))?);
    let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let draft = tasks::init(&args.kind, &rows, &named(&train), &named(&test), args.seed)?;
    let has_test = !draft.test.is_empty();
    for path in [&file, &train, &test] {
        if path.exists() {
            anyhow::bail!("{}: there is such a file already\nhint: take another name, or move it away", path.display());
        }
    }
    let tables = [(&train, &draft.train), (&test, &draft.test)];
    write_all(&file, &draft.file, &tables[..if has_test { 2 } else { 1 }], &rows)?;
    for warning in &warnings {
        session.terminal.warn(warning);
    }
    if args.json {
        return session.terminal.json(&Output {
            task: &file,
            kind: &args.kind,
            train: Some(&train),
            test: has_test.then_some(&test),
            train_rows: draft.train.len(),
            test_rows: draft.test.len(),
            notes: &draft.notes,
        });
    }
    let mut text = format!("{}\n{}: {} rows to learn from\n", file.display(), train.display(), draft.train.len());
    if has_test {
        text.push_str(&format!("{}: {} rows to judge by\n", test.display(), draft.test.len()));
    }
    session.terminal.data(&text)?;
    for note in &draft.notes {
        session.terminal.warn(note);
    }
    let name = file.display();
    session.terminal.note(&format!(
        "next: read {name} and change what was guessed wrongly, then\n  bantam check {name}\n  bantam {} {name} ..",
        args.kind
    ));
    Ok(())
}

/// The name with another end: `triage` and `triage.toml` are both the task `triage`.
fn path(name: &Path, end: &str) -> anyhow::Result<PathBuf> {
    let stem = name.file_name().and_then(|name| name.to_str()).map(|name| name.strip_suffix(".toml").unwrap_or(name));
    match stem.filter(|stem| !stem.is_empty()) {
        Some(stem) => Ok(name.with_file_name(format!("{stem}{end}"))),
        None => anyhow::bail!("expected a name for the task, got {:?}", name.display().to_string()),
    }
}

fn read(data: &Path) -> anyhow::Result<(Vec<NumberedRow>, Vec<String>)> {
    let table = Table::open(data)?;
    let warnings = table.warnings().iter().map(|warning| format!("{}: {warning}", data.display())).collect();
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for row in table {
        match row {
            Ok(row) => rows.push((row.number, row.fields)),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if !wrong.is_empty() {
        let first: Vec<_> =
            wrong.iter().take(MOST_NAMED).map(|text| format!("\n  {}", text.replace('\n', "\n  "))).collect();
        anyhow::bail!(
            "{}: {} rows cannot be read:{}\nhint: mend them, or take them out",
            data.display(),
            wrong.len(),
            first.concat()
        );
    }
    Ok((rows, warnings))
}

/// The ending of tables in the format of the data where results are written in it.
fn ending(data: &Path) -> &'static str {
    let extension = data.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["csv", "jsonl", "parquet"].into_iter().find(|known| known.eq_ignore_ascii_case(extension)).unwrap_or("jsonl")
}

/// Writes the tables, and the task file at last: it is there only where all that it names is. What was written before
/// something failed is taken away again.
fn write_all(file: &Path, text: &str, tables: &[(&PathBuf, &Vec<usize>)], rows: &[NumberedRow]) -> anyhow::Result<()> {
    let mut written: Vec<&Path> = Vec::new();
    let mut write_in_order = || -> anyhow::Result<()> {
        for &(path, chosen) in tables {
            write(path, rows, chosen)?;
            written.push(path);
        }
        write_text(file, text).map_err(|error| anyhow::anyhow!("{}: cannot be written: {error}", file.display()))
    };
    write_in_order().inspect_err(|_| {
        // Why it failed says more than that a file of it stays.
        written.iter().for_each(|path| drop(std::fs::remove_file(path)));
    })
}

/// Writes a new file whole or not at all, and replaces none.
fn write_text(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A task file is given around; the rights of temporary files are for their owner alone.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(file)?;
    Ok(())
}

fn write(path: &Path, rows: &[NumberedRow], chosen: &[usize]) -> anyhow::Result<()> {
    let mut writer = Writer::create(path)?;
    for &index in chosen {
        if let Some((_, row)) = rows.get(index) {
            writer.write(row)?;
        }
    }
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_end_as_the_data_does_in_whatever_case() {
        let endings = ["a.CSV", "a.parquet", "a.xlsx", "a"].map(|name| ending(Path::new(name)));
        assert_eq!(endings, ["csv", "parquet", "jsonl", "jsonl"]);
    }

    #[test]
    fn where_the_task_file_cannot_be_written_no_table_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, train) = (folder.path().join("a.toml"), folder.path().join("a-train.csv"));
        let rows = [(1, Map::from_iter([("text".to_owned(), Value::from("b"))]))];
        let write = |text: &str| write_all(&file, text, &[(&train, &vec![0])], &rows);
        write("first").unwrap();
        assert_eq!(std::fs::read_to_string(&train).unwrap(), "text\nb\n");
        assert!(write("second").is_err(), "no file is replaced");
        assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), train.exists()), ("first", false));
    }

    #[test]
    fn a_task_is_called_by_its_name_with_or_without_the_ending() {
        let named = |name: &str| path(Path::new(name), "-train.csv").map(|path| path.display().to_string());
        assert_eq!(named("triage").unwrap(), "triage-train.csv");
        assert_eq!(named("a/v1.2.toml").unwrap(), "a/v1.2-train.csv");
        assert!(named("..").is_err() && named("").is_err());
    }
}
