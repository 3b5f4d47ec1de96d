//! Rows out of a run and test cases into a table: plain, or in the formats of other tools.

use crate::failure::UsedWrongly;
use crate::session::Session;
use ::eval::compare::names;
use ::eval::interchange::{self, Exported, FORMATS, Imported};
use clap::ValueEnum;
use ledger::{Ledger, Run, RunRow};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use tasks::table::Writer;

/// The form of exported rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A plain table, a JSON object a line
    Jsonl,
    /// A plain table, comma-separated
    Csv,
    /// The log of a run of OpenAI evals
    OpenaiEvals,
    /// A results file of promptfoo (version 3)
    Promptfoo,
    /// samples_*.jsonl of the LM Evaluation Harness
    LmEval,
}

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// Their test cases: .jsonl, .json or .csv
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The table to write: .jsonl, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Whose they are: openai-evals, promptfoo or lm-eval; by default what fits them
    #[arg(long, value_name = "FORMAT", value_parser = FORMATS.map(|format| format.name))]
    format: Option<String>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Writes a table of test cases, prints what goes into the task file, and says what was not taken over.
pub fn import(args: &ImportArgs, session: &Session) -> anyhow::Result<()> {
    // An ending that nobody writes is told before the file is read.
    let mut writer = Writer::create(&args.out)?;
    let imported = interchange::import(&args.file, args.format.as_deref())?;
    imported.rows.iter().try_for_each(|row| writer.write(row))?;
    writer.finish()?;
    if args.json {
        return session.terminal.json(&json!({
            "format": imported.format, "rows": imported.rows.len(), "out": args.out, "expected": imported.expected,
            "metric": imported.goal.as_ref().map(|goal| goal.metric), "notes": imported.notes,
        }));
    }
    imported.notes.iter().for_each(|note| session.terminal.warn(note));
    let (rows, out, format) = (imported.rows.len(), args.out.display(), imported.format);
    session.terminal.note(&format!("{rows} rows of {format}: {out}; what follows goes into the task file"));
    Ok(session.terminal.data(&lines(&imported, &args.out))?)
}

/// The tables of a task file that say what the imported rows are.
fn lines(imported: &Imported, out: &Path) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let (test, expected) = (quoted(&out.display().to_string()), quoted(&imported.expected));
    let mut text = format!("[data]\ntest = {test}\nexpected = {expected}\n");
    if let Some(goal) = &imported.goal {
        text.push_str(&format!("\n[goal]\nmetric = {:<17} # what `{}` asks for\n", quoted(goal.metric), goal.theirs));
        text.push_str("# threshold = 0.9         # the figure of all rows from which on a model is of use to you");
        if let Some(threshold) = goal.row_threshold {
            text.push_str(&format!("; there each row had to reach {threshold}"));
        }
        text.push('\n');
    }
    text
}

/// Writes the rows of a run, of all candidates or of one.
pub fn export(
    ledger: &Ledger,
    run: &Run,
    out: &Path,
    form: Option<Form>,
    candidate: Option<&str>,
    session: &Session,
) -> anyhow::Result<()> {
    let names = names(run);
    if let Some(name) = candidate.filter(|name| !names.iter().any(|known| known == name)) {
        let (run, known) = (&run.new.name, names.join(", "));
        anyhow::bail!("run {run} has no candidate {name:?}\nhint: it has {known}");
    }
    let mut rows = ledger.run_rows(run.id)?;
    rows.retain(|row| candidate.is_none_or(|wanted| name_of(&names, row) == Some(wanted)));
    match form {
        None => table(&rows, &names, out)?,
        Some(Form::Jsonl) => table_of("jsonl", &rows, &names, out)?,
        Some(Form::Csv) => table_of("csv", &rows, &names, out)?,
        Some(form) => foreign(form, run, &rows, &names, candidate, out)?,
    }
    session.terminal.note(&format!("{} rows: {}", rows.len(), out.display()));
    Ok(())
}

fn name_of<'n>(names: &'n [String], row: &RunRow) -> Option<&'n str> {
    names.get(usize::try_from(row.position).ok()?).map(String::as_str)
}

fn table_of(ending: &str, rows: &[RunRow], names: &[String], out: &Path) -> anyhow::Result<()> {
    if out.extension().is_none_or(|is| !is.eq_ignore_ascii_case(ending)) {
        let text = format!("--format {ending}: expected a file that ends in .{ending}, got {}", out.display());
        return Err(UsedWrongly(text).into());
    }
    table(rows, names, out)
}

fn table(rows: &[RunRow], names: &[String], out: &Path) -> anyhow::Result<()> {
    let mut writer = Writer::create(out)?;
    rows.iter().try_for_each(|row| writer.write(&exported(row, names)))?;
    Ok(writer.finish()?)
}

/// Another tool's file, all of it or nothing.
fn foreign(
    form: Form,
    run: &Run,
    rows: &[RunRow],
    names: &[String],
    candidate: Option<&str>,
    out: &Path,
) -> anyhow::Result<()> {
    let value = form.to_possible_value();
    let name = value.as_ref().map_or("", |value| value.get_name());
    let format = FORMATS.iter().find(|format| format.name == name).expect("every form is one of them; this is a bug");
    let candidates: Vec<(u32, String)> =
        (0u32..).zip(names.iter().cloned()).filter(|(_, name)| candidate.is_none_or(|wanted| wanted == name)).collect();
    if candidates.len() > 1 && !format.holds_many {
        let text = format!(
            "--format {name}: expected one candidate, got {}\nhint: a file of it is of one: --candidate NAME of {}",
            candidates.len(),
            names.join(", ")
        );
        return Err(UsedWrongly(text).into());
    }
    let failed = |error: std::io::Error| anyhow::anyhow!("{}: cannot be written: {error}", out.display());
    let mut file = super::shown::temporary(out)?;
    let mut buffer = std::io::BufWriter::new(&mut file);
    let exported = Exported { run, candidates, rows };
    exported.write(format, &mut buffer).and_then(|()| buffer.flush()).map_err(failed)?;
    drop(buffer);
    file.persist(out).map_err(|error| failed(error.error))?;
    Ok(())
}

fn exported(row: &RunRow, names: &[String]) -> Map<String, Value> {
    let answer = row.answer.as_ref();
    let of = |field: fn(&ledger::Answer) -> Value| answer.map_or(Value::Null, field);
    let fields = json!({
        "candidate": name_of(names, row),
        "row": row.number,
        "try": row.key.attempt,
        "score": row.score,
        "prompt": of(|answer| json!(answer.prompt)),
        "expected": row.expected,
        "outcome": of(|answer| answer.outcome.clone()),
        "error": row.reason,
        "warnings": of(|answer| json!(answer.warnings)),
        "prompt_tokens": of(|answer| json!(answer.prompt_tokens)),
        "cached_tokens": of(|answer| json!(answer.cached_tokens)),
        "completion_tokens": of(|answer| json!(answer.completion_tokens)),
        "seconds": of(|answer| json!(answer.seconds)),
        "busy_seconds": of(|answer| json!(answer.busy_seconds)),
        "dollars": of(|answer| json!(answer.dollars)),
        "grade": row.grade.as_ref().map(|grade| &grade.grade),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
