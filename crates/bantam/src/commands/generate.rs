//! `bantam generate`: text by instructions, for one input or many.

use crate::format::FormatArgs;
use crate::session::Session;
use crate::work::{self, Given, Shown, View, WorkArgs, refuse_beside};
use serde_json::Value;
use tasks::{Generate, Outcome, Task};

/// Write a text for each input, free or held to a format
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam generate --instructions \"Write a subject line for this mail.\" --in mails.csv --out subjects.csv
  bantam generate --input \"Name: {name}\\nWrite a greeting.\" --in people.jsonl
  bantam generate reply.toml --in mails.jsonl --out replies.jsonl   stopped, it goes on
  bantam generate --regex \"[A-Z]{3}\" \"A code for Vienna airport:\"

`bantam run` is for one question, streamed, and for a chat; this is for rows and documents.")]
pub struct Args {
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    format: FormatArgs,
}

const VIEW: View = View { show, is_line: false };

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let named = args.work.named()?;
    let format = args.format.format()?;
    let task = match &named.file {
        None => Task::new("generate", Generate { format }),
        Some(file) => {
            refuse_beside(file, &[("--schema, --json-object, --regex, --choices, --grammar", format.is_some())])?;
            work::open(file, "generate")?
        }
    };
    let given = named.text.map(|text| Given::text(&text, &task)).transpose()?;
    work::execute(task, given, &args.work, VIEW, session)
}

fn show(_: &Task, outcome: &Outcome) -> Shown {
    let text = match (outcome.fields.get("value"), outcome.fields.get("text").and_then(Value::as_str)) {
        (Some(value), _) => format!("{value:#}\n"),
        (None, text) => format!("{}\n", text.unwrap_or_default()),
    };
    Shown { text, asides: Vec::new() }
}
