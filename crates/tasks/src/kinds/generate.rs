//! Generate: free text, or text that is held to a format.

use super::{Asking, Kind, KindRow, Prepared, embedded, extract, object};
use crate::asking::Asker;
use crate::frame::Frame;
use crate::init::{Guess, Sample};
use crate::reader::Section;
use crate::task::{DataFiles, Example, read_text};
use crate::{Input, Outcome, Task, TaskError, Template};
use chat::{AnswerFormat, ChooseResponse, FinishReason, OptionScoring};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;

/// Its line of the table.
pub(super) static ROW: KindRow = KindRow {
    name: "generate",
    about: "text by your instructions, free or held to a format",
    input: crate::input::TEXT,
    keys: &["json", "schema", "regex", "choices", "grammar"],
    read,
    guess,
};

/// Longer files are no grammar that anyone wrote.
const LONGEST_GRAMMAR: u64 = 1 << 20;
/// Tokens of an answer where the task says nothing.
const MAX_TOKENS: usize = 1024;

/// The settings of a task that generates.
///
/// Its outcomes have `text`, and for formats of JSON `value` instead, what the text says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Generate {
    /// What the text is held to.
    pub format: Option<AnswerFormat>,
}

fn read(mut section: Section<'_>, _: &DataFiles) -> Result<Arc<dyn Kind>, TaskError> {
    let place = section.place();
    let mut format = None;
    for key in ROW.keys {
        let Some(entry) = section.take(key) else { continue };
        if format.is_some() {
            let keys = ROW.keys.join(", ");
            return Err(entry.wrong(format_args!("expected one of {keys}, got several\nhint: leave all but one out")));
        }
        let at = entry.at();
        let empty = entry.wrong("there are no texts to choose from\nhint: name at least one");
        format = match *key {
            "json" => entry.flag()?.then_some(AnswerFormat::JsonObject),
            "schema" => Some(AnswerFormat::JsonSchema(extract::read_schema(entry, place.folder())?)),
            "regex" => Some(AnswerFormat::Regex(entry.text()?)),
            "choices" => {
                let texts = entry.items()?.into_iter().map(|item| item.text()).collect::<Result<Vec<_>, _>>()?;
                if texts.is_empty() {
                    return Err(empty);
                }
                Some(AnswerFormat::Choices(texts))
            }
            _ => {
                let text = read_text(&place.folder().join(entry.text()?), LONGEST_GRAMMAR);
                let text = text.map_err(|error| place.wrong(at, format_args!("`grammar`: {error}")))?;
                Some(AnswerFormat::of_grammar(text))
            }
        };
    }
    Ok(Arc::new(Generate { format }))
}

/// Names of columns that hold what is right, and of those that hold what is asked.
const ANSWERS: [&str; 12] = [
    "expected",
    "output",
    "completion",
    "response",
    "reply",
    "answer",
    "target",
    "ideal",
    "reference",
    "gold",
    "label",
    "summary",
];
const PROMPTS: [&str; 6] = [crate::input::TEXT, "prompt", "input", "question", "instruction", "request"];

fn guess(sample: &Sample<'_>) -> Result<Guess, TaskError> {
    let expected = sample.named(&ANSWERS);
    // What is right must not stand in the prompt. Where no name tells, tables have it behind what it answers.
    let columns = sample.columns();
    let last = columns.last().filter(|_| columns.len() > 1);
    let except: Vec<_> = expected.as_ref().or(last).into_iter().map(String::as_str).collect();
    let text = sample.named(&PROMPTS).filter(|name| Some(name) != expected.as_ref());
    let text = text.or_else(|| sample.longest(&except));
    let Some(text) = text else {
        return Err(TaskError::Data("no column looks like a text\nhint: call it `text`".to_owned()));
    };
    let settings = "[generate]\n# One of these holds the text to a format; without them it is free.\n# json = true\n\
                    # schema = \"schema.json\"\n# regex = \"[A-Z]{3}-[0-9]+\"\n# choices = [\"one\", \"other\"]\n\
                    # grammar = \"answer.gbnf\"\n";
    Ok(Guess { input: vec![text], expected, is_label: false, settings: settings.to_owned() })
}

impl Kind for Generate {
    fn row(&self) -> &'static KindRow {
        &ROW
    }

    fn settings(&self) -> Value {
        json!({ "format": self.format })
    }

    fn outcome_schema(&self) -> Value {
        match &self.format {
            Some(AnswerFormat::JsonSchema(schema)) => object(&json!({"value": embedded(schema)})),
            Some(AnswerFormat::JsonObject) => object(&json!({"value": {"type": "object"}})),
            Some(AnswerFormat::Choices(texts)) => object(&json!({ crate::input::TEXT: {"enum": texts} })),
            _ => object(&json!({ crate::input::TEXT: {"type": "string"} })),
        }
    }

    fn ready<'a>(
        &'a self,
        asker: Asker,
        task: &'a Task,
        _: &'a [Example],
    ) -> BoxFuture<'a, Result<Prepared, TaskError>> {
        Box::pin(async move {
            let warnings = match &self.format {
                Some(format) => asker.prepare(format).await?,
                None => Vec::new(),
            };
            // Without instructions an input is the whole prompt, as if it were typed.
            let frame = match &task.instructions {
                Some(instructions) => Frame::new(instructions.clone(), "Text", "Answer"),
                None => Frame::new(String::new(), "", "Answer"),
            };
            let asking = Generating { format: self.format.clone(), asker, frame, input: task.input.clone() };
            Ok(Prepared { asking: Box::new(asking), warnings, shown: Value::Null })
        })
    }
}

struct Generating {
    format: Option<AnswerFormat>,
    asker: Asker,
    frame: Frame,
    input: Template,
}

impl Asking for Generating {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let text = self.input.fill(input)?;
            let options = self.asker.options(MAX_TOKENS);
            let written = self.asker.write(&self.frame, &text, self.format.as_ref(), options).await?;
            let mut outcome = Outcome::default();
            written.count(&mut outcome);
            let is_json = matches!(self.format, Some(AnswerFormat::JsonObject | AnswerFormat::JsonSchema(_)));
            if self.format.is_some() && written.reason == FinishReason::Length {
                let (tokens, beginning) =
                    (written.usage.completion_tokens, written.text.chars().take(80).collect::<String>());
                return Err(TaskError::Output(format!(
                    "the answer is incomplete, it ended after {tokens} tokens: {beginning:?}\nhint: raise \
                     max_tokens in [options]"
                )));
            }
            outcome.warnings.extend(written.warning_of_length("the text"));
            if is_json {
                let value: Value = serde_json::from_str(&written.text).map_err(|error| {
                    let beginning: String = written.text.chars().take(80).collect();
                    TaskError::Output(format!("expected JSON, got {beginning:?}: {error}"))
                })?;
                outcome.fields.insert("value".to_owned(), value);
            } else {
                outcome.fields.insert(crate::input::TEXT.to_owned(), Value::from(written.text));
            }
            Ok(outcome)
        })
    }

    fn likelihood<'a>(
        &'a self,
        input: &'a Input,
        text: &'a str,
    ) -> BoxFuture<'a, Result<(ChooseResponse, usize), TaskError>> {
        Box::pin(async move {
            let (asked, option) = (self.input.fill(input)?, [text.to_owned()]);
            let scored = self.asker.choose(&self.frame, &asked, &option, OptionScoring::Likelihood, true).await?;
            // Without a template an option has a blank before it and a line break at its end.
            Ok((scored, text.len() + if self.asker.has_template() { 0 } else { 2 }))
        })
    }

    fn preview(&self, input: &Input) -> Result<String, TaskError> {
        Ok(self.frame.shown(&self.input.fill(input)?, self.asker.has_template()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Work;
    use crate::testing::Scripted;
    use futures::executor::block_on;

    fn parse(settings: &str, folder: &std::path::Path) -> Result<Task, TaskError> {
        let text = format!("kind = \"generate\"\n[options]\nmax_tokens = 4\n[generate]\n{settings}");
        Task::parse(&text, &folder.join("reply.toml"))
    }

    fn asked(task: &Task, answer: &'static str) -> Result<(Outcome, Arc<Scripted>), TaskError> {
        let model = Arc::new(Scripted::saying(answer));
        let outcome = block_on(async { task.ready(model.clone(), &[]).await?.ask(&Input::text("Hello?")).await })?;
        Ok((outcome, model))
    }

    #[test]
    fn an_input_without_instructions_is_the_whole_prompt() {
        let mut task = parse("", std::path::Path::new("")).unwrap();
        let (outcome, model) = asked(&task, "Hi there, all of you!").unwrap();
        assert_eq!(
            (&outcome.fields["text"], model.asked()[0].prompt.as_str()),
            (&json!("Hi there, all of "), "Hello?")
        );
        assert!(outcome.warnings[0].starts_with("the text may be incomplete: it ended after 4 tokens"));
        task.instructions = Some("Greet.".to_owned());
        assert_eq!(asked(&task, "Hi").unwrap().1.asked()[0].prompt, "Greet.\n\nText:\nHello?");
    }

    #[test]
    fn every_format_reaches_the_model_and_an_unfinished_answer_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.gbnf"), "root ::= \"a\"").unwrap();
        let cases = [
            ("json = true", AnswerFormat::JsonObject),
            ("schema = { type = \"object\" }", AnswerFormat::JsonSchema(json!({"type": "object"}))),
            ("regex = \"a+\"", AnswerFormat::Regex("a+".to_owned())),
            ("choices = [\"a\", \"b\"]", AnswerFormat::Choices(vec!["a".to_owned(), "b".to_owned()])),
            ("grammar = \"a.gbnf\"", AnswerFormat::Gbnf("root ::= \"a\"".to_owned())),
        ];
        for (settings, format) in cases {
            let task = parse(settings, folder.path()).unwrap();
            let (outcome, model) = asked(&task, "{}").unwrap();
            assert_eq!(model.asked()[0].format.as_ref(), Some(&format));
            let is_json = settings.starts_with("json") || settings.starts_with("schema");
            assert_eq!(outcome.fields.get("value"), is_json.then_some(&json!({})));
            let error = asked(&task, "1 2 3 4 5").map(drop).unwrap_err().to_string();
            assert!(error.starts_with("the answer is incomplete, it ended after 4 tokens: \"1 2 3 4 \""), "{error}");
        }
        let error = |settings: &str| parse(settings, folder.path()).unwrap_err().to_string();
        assert!(
            error("choices = []")
                .ends_with("reply.toml:5:11: `choices`: there are no texts to choose from\nhint: name at least one")
        );
        assert!(
            error("json = true\nregex = \"a\"")
                .contains("reply.toml:6:9: `regex`: expected one of json, schema, regex")
        );
        assert!(error("grammar = \"none\"").contains("reply.toml:5:11: `grammar`: "));
    }
}
