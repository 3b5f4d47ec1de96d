//! `bantam summarize`: a text in so many words.

use crate::failure::UsedWrongly;
use crate::session::Session;
use crate::work::{self, Given, Shown, View, WorkArgs};
use serde_json::Value;
use tasks::{Outcome, Summarize, Task};

/// Say a text in fewer words, however long it is
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam summarize --in report.pdf --words 60
  git log -20 | bantam summarize --style \"three bullet points\"
  bantam summarize --in letters/ --out summaries.jsonl   stopped, it goes on

A text that does not fit into the context is summarized in parts along its sentences, and their
summaries again.")]
pub struct Args {
    /// About how many words; the default is 100, or what the task file says
    #[arg(long, value_name = "N")]
    words: Option<usize>,
    /// How it is written, in words: "three bullet points", "for a reader without background"
    #[arg(long, value_name = "TEXT")]
    style: Option<String>,
    #[command(flatten)]
    work: WorkArgs,
}

/// More words are no summary.
const MOST_WORDS: usize = 10_000;
const VIEW: View = View { show, is_line: false };

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let named = args.work.named()?;
    let mut task = match &named.file {
        None => Task::new("summarize", Summarize::default()),
        Some(file) => work::open(file, "summarize")?,
    };
    if let Some(words) = args.words.filter(|words| !(1..=MOST_WORDS).contains(words)) {
        return Err(UsedWrongly(format!("--words: expected a number from 1 to {MOST_WORDS}, got {words}")).into());
    }
    if let Some(settings) = task.settings::<Summarize>() {
        let words = args.words.unwrap_or(settings.words);
        let style = args.style.clone().or_else(|| settings.style.clone());
        task.set_settings(Summarize { words, style });
    }
    let given = named.text.map(|text| Given::text(&text, &task)).transpose()?;
    work::execute(task, given, &args.work, VIEW, session)
}

fn show(_: &Task, outcome: &Outcome) -> Shown {
    let text = outcome.fields.get("summary").and_then(Value::as_str).unwrap_or_default();
    let parts = outcome.fields.get("parts").and_then(Value::as_u64).filter(|&parts| parts > 1);
    Shown {
        text: format!("{text}\n"),
        asides: parts.map(|parts| format!("read in {parts} parts")).into_iter().collect(),
    }
}
