//! `bantam extract`: an object of some schema out of a text.

use crate::failure::UsedWrongly;
use crate::session::Session;
use crate::work::{self, Given, Shown, View, WorkArgs, refuse_beside};
use serde_json::Value;
use std::path::PathBuf;
use tasks::{Extract, Field, Outcome, Task};

/// Take an object out of a text, valid against a JSON Schema, each value with its place in the text
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam extract --fields company,date:date,total:number \"Acme billed 12.50 on 3 May 2024.\"
  bantam extract --fields \"total:number=with tax\" --in invoices/ --out invoices.csv
  bantam extract --schema invoice.json --in invoice.pdf
  bantam extract invoice.toml --in mails.csv --out found.jsonl   stopped, it goes on

One text: the object on standard output; --json has of each value how sure the model is, and where
it stands. Results in csv and parquet have a column for each field of the object, in jsonl `value`;
beside them `fields` (confidence and place) and `error`. A text among --fields has at most 500
characters; a schema of your own may say otherwise (maxLength).")]
pub struct Args {
    /// What to find, with commas between: NAME[:TYPE][=DESCRIPTION]; types: text, number, integer, boolean, date
    #[arg(long, value_name = "A,B,..", value_delimiter = ',', conflicts_with = "schema")]
    fields: Vec<String>,
    /// A file with the JSON Schema of the object
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    #[command(flatten)]
    work: WorkArgs,
}

const VIEW: View = View { show, is_line: false };

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let named = args.work.named()?;
    let task = match &named.file {
        None => Task::new("extract", args.extract()?),
        Some(file) => {
            refuse_beside(file, &[("--fields", !args.fields.is_empty()), ("--schema", args.schema.is_some())])?;
            work::open(file, "extract")?
        }
    };
    let given = named.text.map(|text| Given::text(&text, &task)).transpose()?;
    work::execute(task, given, &args.work, VIEW, session)
}

impl Args {
    fn extract(&self) -> anyhow::Result<Extract> {
        if let Some(path) = &self.schema {
            let name = path.display();
            let wrong = |what: String| UsedWrongly(format!("--schema: {name}: {what}"));
            let schema: Value = serde_json::from_str(&crate::input::file(path)?)
                .map_err(|error| wrong(format!("expected a JSON Schema: {error}")))?;
            return Ok(Extract::new(schema).map_err(|error| wrong(error.to_string()))?);
        }
        if self.fields.is_empty() {
            let hint = "hint: --fields one,other or --schema FILE, or a task file: bantam extract TASK.toml";
            return Err(UsedWrongly(format!("nothing is said of what to extract\n{hint}")).into());
        }
        let fields: Vec<Field> = self.fields.iter().map(|text| Field::parse(text)).collect();
        Ok(Extract::fields(&fields).map_err(|error| UsedWrongly(format!("--fields: {error}")))?)
    }
}

fn show(_: &Task, outcome: &Outcome) -> Shown {
    let value = outcome.fields.get("value").cloned().unwrap_or_default();
    let fields = outcome.fields.get("fields").and_then(Value::as_object);
    let asides = fields.into_iter().flatten().map(|(pointer, found)| {
        let sure = found["confidence"].as_f64().map_or(String::new(), |share| format!(" {share:.2}"));
        let place = match &found["span"] {
            Value::Null => "not in the text".to_owned(),
            span => match span["page"].as_u64() {
                Some(page) => format!("page {page}, bytes {} to {}", span["start"], span["end"]),
                None => format!("bytes {} to {}", span["start"], span["end"]),
            },
        };
        format!("{}{sure} ({place})", pointer.trim_start_matches('/'))
    });
    Shown { text: format!("{value:#}\n"), asides: asides.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_that_the_text_does_not_have_is_told() {
        let fields = json!({
            "value": {"a": "x", "b": "y"},
            "fields": {
                "/a": {"confidence": 0.5, "span": {"start": 1, "end": 2, "page": 3}},
                "/b": {"confidence": null, "span": null},
            },
        });
        let outcome = Outcome { fields: fields.as_object().unwrap().clone(), ..Outcome::default() };
        let task = Task::new("t", Extract::fields(&[Field::text("a")]).unwrap());
        let Shown { text, asides } = show(&task, &outcome);
        assert_eq!(text, "{\n  \"a\": \"x\",\n  \"b\": \"y\"\n}\n");
        assert_eq!(asides, ["a 0.50 (page 3, bytes 1 to 2)", "b (not in the text)"]);
    }
}
