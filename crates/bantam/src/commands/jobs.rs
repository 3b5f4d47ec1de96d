//! `bantam jobs`: what was begun with `--out`, how far it is, and what failed.

use crate::failure::UsedWrongly;
use crate::session::Session;
use crate::table::{Align, table};
use crate::work::ledger;
use clap::Subcommand;
use ledger::{Cancellation, Job, JobId, JobState, Ledger, Row, RowOutcome, Selection};
use serde::Serialize;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// List jobs, show what failed, cancel and forget them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam jobs                the newest jobs (as bantam jobs list)
  bantam jobs show 3         how far it is, what failed and why, the command that goes on with it
  bantam jobs cancel 3       stop it within a second; what is done stays done
  bantam jobs remove 3       forget it; its file of results stays

A job is begun by --out of classify, extract, summarize, answer, complete and generate.")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List jobs, the newest first
    List {
        /// The newest N
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show a job: how far it is, what failed and why
    Show {
        /// Its number
        #[arg(value_name = "ID")]
        id: String,
        /// All rows that failed, not the first 20
        #[arg(long)]
        all: bool,
    },
    /// Stop a job; the command that began it goes on with it
    Cancel {
        /// Its number
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Forget jobs and what came of their rows; files of results stay
    Remove {
        /// Their numbers
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}

/// Failed rows that are shown to people at once.
const ROWS_SHOWN: usize = 20;

/// A job, for programs.
#[derive(Serialize)]
struct Output<'a> {
    id: i64,
    kind: &'a str,
    title: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    rows: Option<u64>,
    done: u64,
    failed: u64,
    created: u64,
    updated: u64,
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
    spec: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_rows: Option<Vec<FailedRow>>,
}

#[derive(Serialize)]
struct FailedRow {
    number: u64,
    name: String,
    reason: String,
}

#[derive(Serialize)]
struct Changed {
    cancelled: Option<i64>,
    is_stopping: Option<bool>,
    removed: Vec<i64>,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let ledger = ledger()?;
    match args.action.unwrap_or(Action::List { limit: 20 }) {
        Action::List { limit } => list(&ledger, limit, args.json, session),
        Action::Show { id, all } => show(&ledger, parse(&id)?, all, args.json, session),
        Action::Cancel { id } => cancel(&ledger, parse(&id)?, args.json, session),
        Action::Remove { ids } => remove(&ledger, &ids, args.json, session),
    }
}

fn parse(id: &str) -> Result<JobId, UsedWrongly> {
    JobId::parse(id).map_err(UsedWrongly)
}

impl<'a> Output<'a> {
    fn of(job: &'a Job, state: &'static str, failed_rows: Option<Vec<FailedRow>>) -> Output<'a> {
        Output {
            id: job.id.0,
            kind: &job.new.kind,
            title: &job.new.title,
            state,
            reason: job.reason.as_deref(),
            rows: job.total,
            done: job.done,
            failed: job.failed,
            created: job.created_ms / 1000,
            updated: job.updated_ms / 1000,
            prompt_tokens: job.effort.prompt_tokens,
            cached_tokens: job.effort.cached_tokens,
            completion_tokens: job.effort.completion_tokens,
            spec: &job.new.spec,
            failed_rows,
        }
    }
}

/// The state of a job; one that nobody works on any more was broken off.
fn state(ledger: &Ledger, job: &Job) -> anyhow::Result<&'static str> {
    Ok(match job.state {
        JobState::Running if !ledger.is_worked_on(job.id)? => "interrupted",
        JobState::Queued => "interrupted",
        state => state.name(),
    })
}

fn list(ledger: &Ledger, limit: u32, json: bool, session: &Session) -> anyhow::Result<()> {
    let jobs = ledger.jobs(None, limit)?;
    let states = jobs.iter().map(|job| state(ledger, job)).collect::<anyhow::Result<Vec<_>>>()?;
    if json {
        let outputs = jobs.iter().zip(states).map(|(job, state)| Output::of(job, state, None));
        return session.terminal.json(&outputs.collect::<Vec<_>>());
    }
    if jobs.is_empty() {
        session.terminal.note("no jobs\nhint: bantam classify .. --in rows.csv --out results.csv begins one");
        return Ok(());
    }
    let header = [
        ("ID", Align::Right),
        ("STATE", Align::Left),
        ("DONE", Align::Right),
        ("FAILED", Align::Right),
        ("ROWS", Align::Right),
        ("AGE", Align::Right),
        ("TITLE", Align::Left),
    ];
    let cells = jobs.iter().zip(states).map(|(job, state)| {
        vec![
            job.id.to_string(),
            state.to_owned(),
            job.done.to_string(),
            job.failed.to_string(),
            job.total.map_or("-".to_owned(), |total| total.to_string()),
            crate::table::duration(seconds_since(job.created_ms)),
            job.new.title.clone(),
        ]
    });
    session.terminal.data(&table(&header, &cells.collect::<Vec<_>>()))?;
    if jobs.len() == limit as usize {
        session.terminal.note(&format!("the newest {limit}; --limit shows more"));
    }
    Ok(())
}

fn show(ledger: &Ledger, id: JobId, all: bool, json: bool, session: &Session) -> anyhow::Result<()> {
    let job = ledger.job(id)?;
    let state = state(ledger, &job)?;
    let mut rows = Vec::new();
    ledger.each_row::<ledger::LedgerError>(id, Selection::Failed, |row| {
        if json || all || rows.len() < ROWS_SHOWN {
            rows.extend(failed_row(row));
        }
        Ok(())
    })?;
    if json {
        return session.terminal.json(&Output::of(&job, state, Some(rows)));
    }
    session.terminal.data(&described(&job, state))?;
    for FailedRow { number, name, reason } in &rows {
        session.terminal.data(&format!("row {number} ({name}): {}\n", reason.replace('\n', "\n  ")))?;
    }
    if (rows.len() as u64) < job.failed {
        session.terminal.note(&format!(
            "the first {} of {} rows that failed; --all shows the others",
            rows.len(),
            job.failed
        ));
    }
    Ok(())
}

fn failed_row(row: Row) -> Option<FailedRow> {
    match row.outcome {
        Some(RowOutcome::Failed { reason }) => Some(FailedRow { number: row.number, name: row.name, reason }),
        _ => None,
    }
}

fn described(job: &Job, state: &str) -> String {
    let total = job.total.map_or("-".to_owned(), |total| total.to_string());
    let computed = job.effort.prompt_tokens.saturating_sub(job.effort.cached_tokens);
    let mut lines = vec![
        ("job", format!("{} ({})", job.id, job.new.title)),
        ("state", state.to_owned()),
        ("rows", format!("{} done, {} failed, {total} in all", job.done, job.failed)),
        (
            "tokens",
            format!(
                "{} of prompts ({computed} computed), {} of answers",
                job.effort.prompt_tokens, job.effort.completion_tokens
            ),
        ),
        ("begun", format!("{} ago", crate::table::duration(seconds_since(job.created_ms)))),
        ("changed", format!("{} ago", crate::table::duration(seconds_since(job.updated_ms)))),
    ];
    lines.extend(job.reason.as_ref().map(|reason| ("reason", reason.replace('\n', "\n          "))));
    lines.extend(command(&job.new.spec).map(|command| (if state == "done" { "command" } else { "go on" }, command)));
    lines.into_iter().map(|(name, text)| format!("{name:<9} {text}\n")).collect()
}

/// The command that began a job, as a shell takes it.
fn command(spec: &Value) -> Option<String> {
    let words = spec["command"].as_array()?.iter().map(|word| word.as_str().map(quoted)).collect::<Option<Vec<_>>>()?;
    Some(format!("cd {} && bantam {}", quoted(spec["folder"].as_str()?), words.join(" ")))
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

fn cancel(ledger: &Ledger, id: JobId, json: bool, session: &Session) -> anyhow::Result<()> {
    let cancellation = ledger.cancel(id)?;
    if json {
        let is_stopping = Some(matches!(cancellation, Cancellation::Requested(_)));
        return session.terminal.json(&Changed { cancelled: Some(id.0), is_stopping, removed: Vec::new() });
    }
    let text = match cancellation {
        Cancellation::Cancelled => format!("cancelled job {id}\n"),
        Cancellation::Requested(owner) => format!("{owner} was asked to stop job {id}, and does within a second\n"),
    };
    session.terminal.data(&text)?;
    session.terminal.note(&format!("`bantam jobs show {id}` has the command that goes on with it"));
    Ok(())
}

fn remove(ledger: &Ledger, ids: &[String], json: bool, session: &Session) -> anyhow::Result<()> {
    let ids = ids.iter().map(|id| parse(id)).collect::<Result<Vec<_>, _>>()?;
    // All are there, or none is removed.
    ids.iter().try_for_each(|&id| ledger.job(id).map(drop))?;
    for &id in &ids {
        ledger.remove(id)?;
        if !json {
            session.terminal.data(&format!("removed job {id}\n"))?;
        }
    }
    let removed = ids.iter().map(|id| id.0).collect();
    if json { session.terminal.json(&Changed { cancelled: None, is_stopping: None, removed }) } else { Ok(()) }
}

fn seconds_since(milliseconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    now.saturating_sub(milliseconds / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_command_of_a_job_can_be_given_to_a_shell() {
        let spec = json!({"command": ["classify", "--labels", "a,b", "it's"], "folder": "/a b"});
        assert_eq!(command(&spec).unwrap(), r"cd '/a b' && bantam classify --labels a,b 'it'\''s'");
        assert_eq!(command(&json!({})), None);
    }
}
