//! `bantam complete`: code from a cursor on.

use crate::failure::UsedWrongly;
use crate::session::Session;
use crate::work::{self, Given, Shown, View, WorkArgs};
use clap::ValueEnum;
use serde_json::{Map, Value};
use std::path::PathBuf;
use tasks::{Complete, CompletionEnd, Input, Outcome, Task, cursor};

/// Write code from a cursor on, to the end of its line or block
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam complete --model qwen2.5-coder:0.5b \"def fibonacci(n):\"
  bantam complete --model qwen2.5-coder:0.5b --file main.rs --line 40 --column 9
  bantam complete --model qwen2.5-coder:0.5b --prefix \"let x = \" --suffix \";\" --stop line
  bantam complete --model qwen2.5-coder:0.5b --in holes.jsonl --out filled.jsonl

The completion alone on standard output, byte for byte. What follows the cursor is heeded by models
that fill in the middle.")]
pub struct Args {
    /// What stands before the cursor
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["file", "inputs"])]
    prefix: Option<String>,
    /// What follows the cursor
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["file", "inputs"])]
    suffix: Option<String>,
    /// The file that the cursor is in
    #[arg(long, value_name = "FILE", requires = "line", conflicts_with = "inputs")]
    file: Option<PathBuf>,
    /// The line of the cursor, counted from 1
    #[arg(long, value_name = "N", requires = "file")]
    line: Option<usize>,
    /// The column of the cursor, counted from 1 in characters; the default is the end of the line
    #[arg(long, value_name = "N", requires = "line")]
    column: Option<usize>,
    /// Where it ends; the default is the block, or what the task file says
    #[arg(long, value_name = "WHERE")]
    stop: Option<Stop>,
    #[command(flatten)]
    work: WorkArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stop {
    Line,
    Block,
}

const VIEW: View = View { show, is_line: false };

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let named = args.work.named()?;
    let mut task = match &named.file {
        None => Task::new("complete", Complete::default()),
        Some(file) => work::open(file, "complete")?,
    };
    if let (Some(stop), Some(settings)) = (args.stop, task.settings::<Complete>()) {
        let end = match stop {
            Stop::Line => CompletionEnd::Line,
            Stop::Block => CompletionEnd::Block,
        };
        task.set_settings(Complete { end, ..settings.clone() });
    }
    let both = |text: &str| UsedWrongly(format!("expected {text}, got both\nhint: leave one of them out"));
    let before = match (named.text, args.prefix.clone()) {
        (Some(_), Some(_)) => return Err(both("a text or --prefix").into()),
        (text, prefix) => text.or(prefix),
    };
    let given = match (&args.file, before) {
        (Some(_), Some(_)) => return Err(both("a text or --file").into()),
        (Some(path), None) => {
            let input = args.at_cursor(path)?;
            let text = |name: &str| input.fields.get(name).and_then(Value::as_str).unwrap_or_default();
            Some(Given::of(around(&task, text("prefix"), Some(text("suffix")))))
        }
        (None, Some(before)) => Some(Given::of(around(&task, &before, args.suffix.as_deref()))),
        (None, None) if args.suffix.is_some() => {
            let text = "--suffix needs what stands before the cursor\nhint: --prefix TEXT";
            return Err(UsedWrongly(text.to_owned()).into());
        }
        (None, None) => None,
    };
    work::execute(task, given, &args.work, VIEW, session)
}

impl Args {
    fn at_cursor(&self, path: &std::path::Path) -> anyhow::Result<Input> {
        let text = crate::input::file(path)?;
        let line = self.line.unwrap_or(1);
        let end = || text.lines().nth(line.wrapping_sub(1)).map_or(1, |line| line.chars().count() + 1);
        let wrong = |error: tasks::TaskError| anyhow::anyhow!("{}: {error}", path.display());
        cursor(&text, line, self.column.unwrap_or_else(end)).map_err(wrong)
    }
}

/// An input of what stands around the cursor, as the task calls both.
fn around(task: &Task, prefix: &str, suffix: Option<&str>) -> Input {
    let fields = task.input.fields();
    let before = fields.first().copied().unwrap_or("prefix");
    let after = task.settings::<Complete>().and_then(|complete| complete.suffix.as_deref()).unwrap_or("suffix");
    let mut fields = Map::from_iter([(before.to_owned(), Value::from(prefix))]);
    if let Some(suffix) = suffix {
        fields.insert(after.to_owned(), Value::from(suffix));
    }
    Input { fields, pages: Vec::new() }
}

fn show(_: &Task, outcome: &Outcome) -> Shown {
    let text = outcome.fields.get("completion").and_then(Value::as_str).unwrap_or_default();
    Shown { text: text.to_owned(), asides: Vec::new() }
}
