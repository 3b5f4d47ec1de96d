//! The runs that the ledger has: listed, shown again, compared, exported, removed.

use super::{exchange, shown};
use crate::session::Session;
use crate::table::{Align, duration, table};
use crate::work::ledger;
use ::eval::compare::{Change, RowChange, compare, names};
use ::eval::render::in_words;
use ::eval::runs::{State, find, listed, report};
use ::eval::verdict::Verdict;
use clap::Subcommand;
use ledger::Ledger;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Rows that are shown to people at once.
const ROWS_SHOWN: usize = 10;
/// Letters of an answer that are shown beside another one.
const LETTERS_SHOWN: usize = 60;

#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the runs, the newest first
    List {
        /// Print JSON (shape: docs/json.md)
        #[arg(long)]
        json: bool,
    },
    /// Show the report of a run again, or write it to a file
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Write a report: .html (one file, for a browser), .md or .json
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Print JSON (shape: docs/json.md)
        #[arg(long)]
        json: bool,
    },
    /// Compare two runs row by row: what got better, what got worse
    Compare {
        /// The earlier run
        #[arg(value_name = "A")]
        before: String,
        /// The later run
        #[arg(value_name = "B")]
        after: String,
        /// Print JSON (shape: docs/json.md)
        #[arg(long)]
        json: bool,
    },
    /// Write every row of a run with its prompt, answer, score, time and cost, or as another tool writes results
    Export {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Where to: .jsonl, .csv or .parquet, unless --format says otherwise
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The form of the rows; the default is a plain table in the format of the file's ending
        #[arg(long, value_enum)]
        format: Option<exchange::Form>,
        /// Only the rows of this candidate
        #[arg(long, value_name = "NAME")]
        candidate: Option<String>,
    },
    /// Make a plain test table of another tool's test cases, and say what goes into the task file
    Import(exchange::ImportArgs),
    /// Forget runs, and the answers that no other run has
    Remove {
        /// Their names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
}

pub fn execute(action: Action, session: &Session) -> anyhow::Result<()> {
    let ledger = ledger()?;
    match action {
        Action::List { json } => list(&ledger, json, session),
        Action::Show { name, report, json } => show(&ledger, &name, report.as_deref(), json, session),
        Action::Compare { before, after, json } => compared(&ledger, &before, &after, json, session),
        Action::Export { name, out, format, candidate } => {
            let run = find(&ledger, &name)?;
            exchange::export(&ledger, &run, &out, format, candidate.as_deref(), session)
        }
        Action::Import(args) => exchange::import(&args, session),
        Action::Remove { names } => {
            let runs = names.iter().map(|name| find(&ledger, name)).collect::<Result<Vec<_>, _>>()?;
            runs.iter().try_for_each(|run| ledger.remove_run(run))?;
            session.terminal.note(&format!("forgotten: {}", names.join(", ")));
            Ok(())
        }
    }
}

fn list(ledger: &Ledger, as_json: bool, session: &Session) -> anyhow::Result<()> {
    let runs = listed(ledger)?;
    if as_json {
        return session.terminal.json(&runs);
    }
    if runs.is_empty() {
        session.terminal.note("there is no run yet\nhint: bantam eval TASK.toml");
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let verdict = run.verdict.map_or("-", Verdict::words);
            let state = match run.state {
                State::Ended => verdict,
                State::Running => "running",
                State::Stopped => "not ended",
            };
            vec![
                run.name.clone(),
                run.candidates.join(" | "),
                state.to_owned(),
                run.recommended.clone().unwrap_or_else(|| "-".to_owned()),
                format!("{} ago", duration(now.saturating_sub(run.created) / 1000)),
            ]
        })
        .collect();
    let header = ["RUN", "CANDIDATES", "VERDICT", "TAKE", "BEGUN"].map(|title| (title, Align::Left));
    Ok(session.terminal.data(&table(&header, &rows))?)
}

fn show(ledger: &Ledger, name: &str, path: Option<&Path>, as_json: bool, session: &Session) -> anyhow::Result<()> {
    if let Some(path) = path {
        shown::check_report(path)?;
    }
    let report = report(&find(ledger, name)?)?;
    if let Some(path) = path {
        return shown::write_report(&report, path);
    }
    if as_json { session.terminal.json(&report) } else { Ok(session.terminal.data(&shown::text(&report))?) }
}

fn compared(ledger: &Ledger, before: &str, after: &str, as_json: bool, session: &Session) -> anyhow::Result<()> {
    let (before, after) = (find(ledger, before)?, find(ledger, after)?);
    let changes = compare(ledger, &before, &after)?;
    if as_json {
        return session.terminal.json(&changes);
    }
    if changes.iter().all(|change| change.rows == 0) {
        let (before, after) = (&before.new.name, &after.new.name);
        anyhow::bail!("{before} and {after} have no row in common\nhint: runs are compared on rows that say the same");
    }
    let kind = after.new.spec["kind"].as_str().unwrap_or_default();
    let mut text: String = changes.iter().map(|change| described(change, kind)).collect();
    for (run, is_compared) in [
        (&before, &(|name: &str| changes.iter().any(|change| change.before == name)) as &dyn Fn(&str) -> bool),
        (&after, &|name: &str| changes.iter().any(|change| change.after == name)),
    ] {
        let alone: Vec<String> = names(run).into_iter().filter(|name| !is_compared(name)).collect();
        if !alone.is_empty() {
            text.push_str(&format!("only in {}: {}\n", run.new.name, alone.join(", ")));
        }
    }
    Ok(session.terminal.data(&text)?)
}

fn described(change: &Change, kind: &str) -> String {
    let Change { before, after, rows, mean_before, mean_after, better, worse, changed, .. } = change;
    let who = if before == after { after.clone() } else { format!("{before} to {after}") };
    let mut text = format!(
        "{who}: {mean_before:.3} to {mean_after:.3} over {rows} rows; {} better, {} worse, {changed} changed without \
         effect (p {})\n",
        better.len(),
        worse.len(),
        if change.p < 0.001 { "< 0.001".to_owned() } else { format!("= {:.3}", change.p) }
    );
    for (count, which) in [(change.only_before, "before"), (change.only_after, "after")] {
        if count > 0 {
            text.push_str(&format!("  {count} rows have a score only {which}\n"));
        }
    }
    let shown = |outcome: &Value| {
        let text = in_words(outcome, kind).replace('\n', " ");
        match text.char_indices().nth(LETTERS_SHOWN) {
            Some((end, _)) => format!("{:?}…", &text[..end]),
            None => format!("{text:?}"),
        }
    };
    for (word, rows) in [("worse", worse), ("better", better)] {
        let line = |row: &RowChange| {
            let (before, after) = (shown(&row.outcome_before), shown(&row.outcome_after));
            format!("  {word}: row {}: {before} to {after}\n", row.number)
        };
        rows.iter().take(ROWS_SHOWN).for_each(|row| text.push_str(&line(row)));
        if rows.len() > ROWS_SHOWN {
            text.push_str(&format!("  {} more {word}\n", rows.len() - ROWS_SHOWN));
        }
    }
    text
}
