//! Answer: a question about a text, or a question alone.
//!
//! Of a text the model first quotes the words that answer, then says the answer. A quote that the text does not have,
//! word for word but for case and blanks, was made up, and with it the answer: then nothing was found. A long text is
//! asked in parts that overlap, and the answer that the model is surest of is taken, before all others one that its
//! own quote says.

use super::{Asking, Kind, KindRow, Prepared, is_blank, is_marked, object, span_schema};
use crate::asking::{Asker, Written};
use crate::frame::Frame;
use crate::init::{Guess, Sample};
use crate::reader::Section;
use crate::source::{find_quote, span};
use crate::split::fitting;
use crate::task::{DataFiles, Example, read_text};
use crate::template::field_text;
use crate::{Input, Outcome, Task, TaskError, Template};
use chat::{AnswerFormat, FinishReason, GenerationOptions};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// Its line of the table.
pub(super) static ROW: KindRow = KindRow {
    name: "answer",
    about: "a question about a text, with the words of the text that answer it; or a question alone",
    input: "question",
    keys: &["from_text", "text", "document"],
    read,
    guess,
};

/// Longer documents are work for an index, which this is not.
const LONGEST_DOCUMENT: u64 = 16 << 20;
/// Tokens of an answer where the task says nothing.
const MAX_TOKENS: usize = 512;
/// Characters of a quote: it shows where the answer stands, it does not repeat the text.
const LONGEST_QUOTE: usize = 400;
/// Characters of an answer about a text: a few words are asked for, and a small model that repeats itself ends here
/// and not with its tokens, where the row would be lost.
const LONGEST_ANSWER: usize = 400;

/// The settings of a task that answers.
///
/// Its outcomes have `answer`, and of a text also `found`, `quote`, `span` (the quote's place), `confidence` and
/// `parts`. Where the text does not hold the answer, `found` is false and the others are null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// No text: what the model knows.
    Nothing,
    /// A field of each input.
    Field(String),
    /// The same text for all inputs.
    Document(String),
}

impl Answer {
    /// Questions without a text.
    pub fn freely() -> Answer {
        Answer { source: Source::Nothing }
    }

    /// Questions about the text in a field of each input.
    pub fn from_field(field: impl Into<String>) -> Answer {
        Answer { source: Source::Field(field.into()) }
    }

    /// Questions about one text.
    pub fn from_document(text: impl Into<String>) -> Answer {
        Answer { source: Source::Document(text.into()) }
    }

    /// Whether there is a text to answer from.
    pub fn has_text(&self) -> bool {
        self.source != Source::Nothing
    }

    fn head(&self, instructions: Option<&str>) -> String {
        let mut head = instructions.map(|text| format!("{text}\n\n")).unwrap_or_default();
        head.push_str(match self.source {
            Source::Nothing => "Answer the question.",
            _ => {
                "Answer the question from the text below and from nothing else. Write a JSON object. \
                 First \"quote\": the one sentence of the text that holds the answer, copied word for word; \
                 null if no sentence of the text holds it. \
                 Then \"answer\": the answer in a few words; null if the quote is null."
            }
        });
        head
    }

    fn format() -> AnswerFormat {
        AnswerFormat::JsonSchema(json!({
            "type": "object",
            "properties": {
                "quote": { "type": ["string", "null"], "maxLength": LONGEST_QUOTE },
                "answer": { "type": ["string", "null"], "maxLength": LONGEST_ANSWER },
            },
            "required": ["quote", "answer"],
            "additionalProperties": false,
        }))
    }
}

fn read(mut section: Section<'_>, _: &DataFiles) -> Result<Arc<dyn Kind>, TaskError> {
    let from_text = section.flag("from_text")?.unwrap_or(true);
    let source = match (section.take("text"), section.take("document")) {
        (Some(_), Some(entry)) => {
            return Err(entry.wrong("expected `text` or `document`, got both\nhint: leave one of them out"));
        }
        (Some(entry), None) | (None, Some(entry)) if !from_text => {
            return Err(entry.wrong("has no effect with `from_text = false`\nhint: take one of them out"));
        }
        (Some(entry), None) => Source::Field(entry.text()?),
        (None, Some(entry)) => {
            let (place, at) = (section.place(), entry.at());
            let text = read_document(&place.folder().join(entry.text()?));
            Source::Document(text.map_err(|error| place.wrong(at, format_args!("`document`: {error}")))?)
        }
        (None, None) if from_text => Source::Field(crate::input::TEXT.to_owned()),
        (None, None) => Source::Nothing,
    };
    Ok(Arc::new(Answer { source }))
}

fn read_document(path: &Path) -> Result<String, TaskError> {
    let text = read_text(path, LONGEST_DOCUMENT)?;
    if text.trim().is_empty() {
        return Err(TaskError::File(format!("{}: expected a text, got an empty file", path.display())));
    }
    Ok(text)
}

fn guess(sample: &Sample<'_>) -> Result<Guess, TaskError> {
    let Some(question) = sample.named(&["question", "q", "query"]).or_else(|| sample.columns().into_iter().next())
    else {
        return Err(TaskError::Data("no column looks like a question\nhint: call it `question`".to_owned()));
    };
    let expected = sample.named(&["answer", "expected", "a"]).filter(|column| *column != question);
    let text = sample.named(&[crate::input::TEXT, "context", "passage", "document"]);
    let settings = match text.filter(|text| *text != question) {
        Some(text) => format!(
            "[answer]\n# The column with the text to answer from; `document = \"file.txt\"` is one text for all \
             questions.\ntext = {}\n",
            crate::init::quoted(&text)
        ),
        None => "[answer]\n# No column of texts was found. `document = \"file.txt\"` is a text for all \
                 questions.\nfrom_text = false\n"
            .to_owned(),
    };
    Ok(Guess { input: vec![question], expected, is_label: false, settings })
}

impl Kind for Answer {
    fn row(&self) -> &'static KindRow {
        &ROW
    }

    fn settings(&self) -> Value {
        match &self.source {
            Source::Nothing => Value::Null,
            Source::Field(field) => json!({ "field": field, "longest_answer": LONGEST_ANSWER }),
            Source::Document(text) => json!({ "document": text, "longest_answer": LONGEST_ANSWER }),
        }
    }

    fn outcome_schema(&self) -> Value {
        if self.source == Source::Nothing {
            return object(&json!({ "answer": {"type": "string"} }));
        }
        object(&json!({
            "answer": {"type": ["string", "null"]},
            "found": {"type": "boolean"},
            "quote": {"type": ["string", "null"]},
            "span": span_schema(),
            "confidence": {"type": ["number", "null"]},
            "parts": {"type": "integer"},
        }))
    }

    fn fields(&self) -> Vec<&str> {
        match &self.source {
            Source::Field(field) => vec![field],
            _ => Vec::new(),
        }
    }

    /// A text need not answer a question; where there is none, there is an answer.
    fn is_unlabelled(&self, cell: &Value) -> bool {
        self.source == Source::Nothing && is_blank(cell) || is_marked(cell)
    }

    fn ready<'a>(
        &'a self,
        asker: Asker,
        task: &'a Task,
        _: &'a [Example],
    ) -> BoxFuture<'a, Result<Prepared, TaskError>> {
        Box::pin(async move {
            let head = self.head(task.instructions.as_deref());
            let (asked, warnings) = match self.source {
                Source::Nothing => ("Question", Vec::new()),
                _ => ("Text", asker.prepare(&Answer::format()).await?),
            };
            let answered = if self.source == Source::Nothing { "Answer" } else { "JSON" };
            let frame = Frame::new(head, asked, answered);
            let asking = Answering { settings: self.clone(), asker, frame, question: task.input.clone() };
            Ok(Prepared { asking: Box::new(asking), warnings, shown: Value::Null })
        })
    }
}

struct Answering {
    settings: Answer,
    asker: Asker,
    frame: Frame,
    question: Template,
}

/// What the model says of a text.
#[derive(Debug, Deserialize)]
struct Said {
    quote: Option<String>,
    answer: Option<String>,
}

/// An answer whose quote the text has.
struct Found {
    answer: String,
    quote: String,
    span: Value,
    confidence: Option<f64>,
    /// Whether a word of the answer is in its quote.
    is_said: bool,
}

fn with_question(text: &str, question: &str) -> String {
    format!("{text}\n\nQuestion: {question}")
}

impl Answering {
    /// The text to answer from, with the field that it is in.
    fn text(&self, input: &Input) -> Result<Option<(String, String)>, TaskError> {
        Ok(match &self.settings.source {
            Source::Nothing => None,
            Source::Field(field) => Some((field.clone(), field_text(input, field)?)),
            Source::Document(text) => Some(("document".to_owned(), text.clone())),
        })
    }

    async fn freely(&self, question: &str) -> Result<Outcome, TaskError> {
        let written = self.asker.write(&self.frame, question, None, self.asker.options(MAX_TOKENS)).await?;
        let mut outcome = Outcome::default();
        written.count(&mut outcome);
        outcome.fields.insert("answer".to_owned(), Value::from(written.text.trim()));
        outcome.warnings.extend(written.warning_of_length("the answer"));
        Ok(outcome)
    }

    async fn about(&self, input: &Input, question: &str, field: &str, text: &str) -> Result<Outcome, TaskError> {
        let options = GenerationOptions { top_logprobs: Some(0), ..self.asker.options(MAX_TOKENS) };
        let room = (options.max_tokens.unwrap_or(MAX_TOKENS), true);
        let parts = fitting(&self.asker, &self.frame, text, |part| with_question(part, question), room).await?;
        let mut outcome = Outcome::default();
        let count = parts.ranges.len();
        if count > 1 {
            let tokens = parts.whole_tokens;
            outcome
                .warnings
                .push(format!("the text with its question has {tokens} tokens: it was asked in {count} parts"));
        }
        let (mut best, mut made_up): (Option<Found>, Vec<String>) = (None, Vec::new());
        for range in parts.ranges {
            let asked = with_question(&text[range.clone()], question);
            let written = self.asker.write(&self.frame, &asked, Some(&Answer::format()), options.clone()).await?;
            written.count(&mut outcome);
            let said = read_answer(&written)?;
            let (Some(quote), Some(answer)) = (said.quote, said.answer.filter(|answer| !answer.trim().is_empty()))
            else {
                continue;
            };
            let Some((place, likeness)) = find_quote(&quote, &text[range.clone()]) else {
                made_up.push(format!(
                    "the model quoted what the text does not have, and its answer was dropped: {quote:?}"
                ));
                continue;
            };
            let confidence = written.confidence_of("/answer");
            let is_said = shares_a_word(&answer, &quote);
            if best.as_ref().is_none_or(|best| (is_said, confidence) > (best.is_said, best.confidence)) {
                let place = range.start + place.start..range.start + place.end;
                let quote = text[place.clone()].to_owned();
                let span = span(input, field, text, place, likeness);
                best = Some(Found { answer, quote, span, confidence, is_said });
            }
        }
        outcome.warnings.extend(made_up);
        if best.as_ref().is_some_and(|best| !best.is_said) {
            outcome
                .warnings
                .push("the quote has no word of the answer: it may not be what the answer is from".to_owned());
        }
        if best.as_ref().is_some_and(|best| best.answer.chars().count() >= LONGEST_ANSWER) {
            outcome
                .warnings
                .push(format!("the answer may be incomplete: it has the {LONGEST_ANSWER} characters that it may have"));
        }
        let (answer, quote, span, confidence) = match &best {
            Some(found) => (json!(found.answer), json!(found.quote), found.span.clone(), json!(found.confidence)),
            None => (Value::Null, Value::Null, Value::Null, Value::Null),
        };
        let fields = json!({
            "answer": answer, "found": best.is_some(), "quote": quote, "span": span,
            "confidence": confidence, "parts": count,
        });
        outcome.fields = fields.as_object().cloned().unwrap_or_else(Map::new);
        Ok(outcome)
    }
}

/// Whether an answer has a word or number that its quote has too. A quote may be real and have nothing to do with the
/// answer, small models give the first sentence where they find none.
fn shares_a_word(answer: &str, quote: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let tells = |word: &str| word.chars().count() > 3 || word.chars().any(char::is_numeric);
    let (answer, quote) = (words(answer), words(quote));
    let told: Vec<_> = answer.iter().filter(|word| tells(word)).collect();
    if told.is_empty() {
        answer.iter().any(|word| quote.contains(word))
    } else {
        told.iter().any(|word| quote.contains(word))
    }
}

fn read_answer(written: &Written) -> Result<Said, TaskError> {
    let beginning: String = written.text.chars().take(80).collect();
    if written.reason == FinishReason::Length {
        let hint = "hint: raise max_tokens ([options], or --max-tokens); one that repeats itself needs a larger model";
        return Err(TaskError::Output(format!("the answer is incomplete, it ended with {beginning:?}\n{hint}")));
    }
    serde_json::from_str(&written.text)
        .map_err(|error| TaskError::Output(format!("expected JSON of quote and answer, got {beginning:?}: {error}")))
}

impl Asking for Answering {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let question = self.question.fill(input)?;
            match self.text(input)? {
                Some((field, text)) => self.about(input, &question, &field, &text).await,
                None => self.freely(&question).await,
            }
        })
    }

    fn preview(&self, input: &Input) -> Result<String, TaskError> {
        let question = self.question.fill(input)?;
        let asked = self.text(input)?.map(|(_, text)| with_question(&text, &question));
        Ok(self.frame.shown(&asked.unwrap_or(question), self.asker.has_template()))
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
