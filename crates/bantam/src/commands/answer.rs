//! `bantam answer`: a question about a text, or a question alone.

use crate::failure::UsedWrongly;
use crate::session::Session;
use crate::work::{self, Given, Shown, View, WorkArgs, refuse_beside};
use serde_json::Value;
use std::path::PathBuf;
use tasks::documents::{Confinement, Reader};
use tasks::{Answer, Outcome, Task, Template};

/// Answer a question from a text, with the words of the text that say so; or a question alone
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam answer --document manual.pdf \"How long is the warranty?\"
  bantam answer --question \"Who signed it?\" --in contracts/ --out signed.csv
  cat letter.txt | bantam answer --question \"What does the writer want?\"
  bantam answer --text-column passage --in questions.csv --out a.jsonl
  bantam answer \"What is the capital of France?\"             what the model knows

Of a text, the model quotes the sentence that answers first; a quote that the text does not have is
no answer. Where the text does not say, nothing stands on standard output, and `found` is false in
JSON.")]
pub struct Args {
    /// The question, the same for all inputs, which are texts then
    #[arg(long, value_name = "TEXT", conflicts_with = "input")]
    question: Option<String>,
    /// The document to answer from, the same for all inputs, which are questions then
    #[arg(long, value_name = "FILE", conflicts_with = "question")]
    document: Option<PathBuf>,
    /// The column of a table with the text to answer from; the question is in the column `question`
    #[arg(long, value_name = "NAME", conflicts_with_all = ["question", "document"])]
    text_column: Option<String>,
    #[command(flatten)]
    work: WorkArgs,
}

const VIEW: View = View { show, is_line: false };

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let named = args.work.named()?;
    let task = match &named.file {
        None => args.task(session)?,
        Some(file) => {
            let flags = [
                ("--question", args.question.is_some()),
                ("--document", args.document.is_some()),
                ("--text-column", args.text_column.is_some()),
            ];
            refuse_beside(file, &flags)?;
            work::open(file, "answer")?
        }
    };
    let given = named.text.map(|text| Given::text(&text, &task)).transpose()?;
    work::execute(task, given, &args.work, VIEW, session)
}

impl Args {
    fn task(&self, session: &Session) -> anyhow::Result<Task> {
        if let Some(question) = &self.question {
            if question.trim().is_empty() {
                return Err(UsedWrongly("--question: expected a question, got a blank one".to_owned()).into());
            }
            let mut task = Task::new("answer", Answer::from_field(tasks::TEXT));
            // A question is words, whatever braces it has.
            task.input = Template::parse(&question.replace('{', "{{").replace('}', "}}"))?;
            return Ok(task);
        }
        if let Some(path) = &self.document {
            let confinement = if self.work.trust_documents { Confinement::Waived } else { Confinement::Required };
            let reader = Reader { confinement, ..Reader::new(std::env::current_exe()?) };
            let document = reader.read(path)?;
            for warning in &document.warnings {
                session.terminal.warn(&format!("{}: {warning}", path.display()));
            }
            return Ok(Task::new("answer", Answer::from_document(document.text)));
        }
        let answer = self.text_column.as_ref().map_or_else(Answer::freely, Answer::from_field);
        Ok(Task::new("answer", answer))
    }
}

fn show(_: &Task, outcome: &Outcome) -> Shown {
    let text = |name: &str| outcome.fields.get(name).and_then(Value::as_str);
    let Some(answer) = text("answer") else {
        return Shown { text: String::new(), asides: vec!["the text does not say".to_owned()] };
    };
    let page = outcome.fields.get("span").and_then(|span| span["page"].as_u64());
    let place = page.map_or(String::new(), |page| format!(" (page {page})"));
    let asides = text("quote").map(|quote| format!("the text says: {quote:?}{place}"));
    Shown { text: format!("{answer}\n"), asides: asides.into_iter().collect() }
}
