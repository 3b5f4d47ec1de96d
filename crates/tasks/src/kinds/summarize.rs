//! Summarize: a text in so many words.
//!
//! A text that does not fit into the context is summarized in parts along its sentences, and the summaries are one
//! text that is summarized again, until it fits: every sentence is read once, and the outcome says in how many parts.

use super::{Asking, Kind, KindRow, Prepared, object};
use crate::asking::Asker;
use crate::frame::Frame;
use crate::init::{Guess, Sample};
use crate::reader::Section;
use crate::split::fitting;
use crate::task::{DataFiles, Example};
use crate::{Input, Outcome, Task, TaskError, Template};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Its line of the table.
pub(super) static ROW: KindRow = KindRow {
    name: "summarize",
    about: "a text in so many words, however long it is",
    input: crate::input::TEXT,
    keys: &["words", "style"],
    read,
    guess,
};

/// Words of a summary where the task says nothing.
const WORDS: usize = 100;
/// More words are no summary.
const MOST_WORDS: usize = 10_000;
/// Tokens that a word takes at most in nearly all languages and vocabularies, and what a list's marks take.
const TOKENS_OF_WORD: usize = 4;
const TOKENS_BESIDE: usize = 64;
/// Each round makes the text shorter; a text that takes more is longer than any.
const MOST_ROUNDS: usize = 16;

/// The settings of a task that summarizes.
///
/// Its outcomes have `summary`, `parts` (how many the text was read in) and `rounds` (how often summaries were
/// summarized).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summarize {
    /// About how many words a summary has.
    pub words: usize,
    /// How it is written, in words: `three bullet points`, `for a reader without background`.
    pub style: Option<String>,
}

impl Default for Summarize {
    fn default() -> Summarize {
        Summarize { words: WORDS, style: None }
    }
}

impl Summarize {
    fn frame(&self, instructions: Option<&str>, what: &str) -> Frame {
        let mut head = instructions.map(|text| format!("{text}\n\n")).unwrap_or_default();
        head.push_str(&format!("{what} in about {} words.", self.words));
        if let Some(style) = &self.style {
            head.push_str(&format!(" Style: {style}."));
        }
        head.push_str(" Write the summary and nothing else; add nothing that the text does not say.");
        Frame::new(head, "Text", "Summary")
    }

    fn answer_tokens(&self) -> usize {
        self.words.saturating_mul(TOKENS_OF_WORD).saturating_add(TOKENS_BESIDE)
    }
}

fn read(mut section: Section<'_>, _: &DataFiles) -> Result<Arc<dyn Kind>, TaskError> {
    let words = match section.take("words") {
        Some(entry) => {
            let most = MOST_WORDS as f64;
            let is_right = |words: f64| (1.0..=most).contains(&words) && words.fract() == 0.0;
            entry.number(&format!("a whole number from 1 to {MOST_WORDS}"), is_right)? as usize
        }
        None => WORDS,
    };
    Ok(Arc::new(Summarize { words, style: section.text("style")? }))
}

fn guess(sample: &Sample<'_>) -> Result<Guess, TaskError> {
    let expected = sample.named(&["summary", "expected"]);
    let except: Vec<_> = expected.iter().map(String::as_str).collect();
    let text = sample.named(&[crate::input::TEXT]).or_else(|| sample.longest(&except));
    let Some(text) = text else {
        return Err(TaskError::Data("no column looks like a text\nhint: call it `text`".to_owned()));
    };
    let settings = format!("[summarize]\n# About how many.\nwords = {WORDS}\n# style = \"three bullet points\"\n");
    Ok(Guess { input: vec![text], expected, is_label: false, settings })
}

impl Kind for Summarize {
    fn row(&self) -> &'static KindRow {
        &ROW
    }

    fn settings(&self) -> Value {
        json!({ "words": self.words, "style": self.style })
    }

    fn outcome_schema(&self) -> Value {
        let count = json!({"type": "integer"});
        object(&json!({"summary": {"type": "string"}, "parts": count, "rounds": count}))
    }

    fn ready<'a>(
        &'a self,
        asker: Asker,
        task: &'a Task,
        _: &'a [Example],
    ) -> BoxFuture<'a, Result<Prepared, TaskError>> {
        Box::pin(async move {
            let frame = |what: &str| self.frame(task.instructions.as_deref(), what);
            let asking = Summarizing {
                whole: frame("Summarize the text"),
                part: frame("The text is a part of a longer one. Summarize this part"),
                together: frame(
                    "The text is made of summaries of the parts of one text, in order. Summarize it as one",
                ),
                answer_tokens: self.answer_tokens(),
                asker,
                input: task.input.clone(),
            };
            Ok(Prepared { asking: Box::new(asking), warnings: Vec::new(), shown: Value::Null })
        })
    }
}

struct Summarizing {
    whole: Frame,
    part: Frame,
    together: Frame,
    answer_tokens: usize,
    asker: Asker,
    input: Template,
}

impl Summarizing {
    async fn write(&self, frame: &Frame, text: &str, outcome: &mut Outcome) -> Result<String, TaskError> {
        let written = self.asker.write(frame, text, None, self.asker.options(self.answer_tokens)).await?;
        written.count(outcome);
        outcome.warnings.extend(written.warning_of_length("a summary"));
        let summary = written.text.trim();
        if summary.is_empty() {
            return Err(TaskError::Output("the model wrote no summary\nhint: another model may".to_owned()));
        }
        Ok(summary.to_owned())
    }

    async fn summarize(&self, text: String) -> Result<Outcome, TaskError> {
        let mut outcome = Outcome::default();
        let answer_tokens = self.asker.options(self.answer_tokens).max_tokens.unwrap_or(self.answer_tokens);
        let (mut frame, mut text, mut parts_of_source) = (&self.whole, text, 1);
        for round in 0..MOST_ROUNDS {
            let parts = fitting(&self.asker, frame, &text, str::to_owned, (answer_tokens, false)).await?;
            if parts.ranges.len() == 1 {
                let summary = self.write(frame, &text, &mut outcome).await?;
                outcome.fields = Map::from_iter([
                    ("summary".to_owned(), Value::from(summary)),
                    ("parts".to_owned(), Value::from(parts_of_source)),
                    ("rounds".to_owned(), Value::from(round)),
                ]);
                return Ok(outcome);
            }
            // The words that ask for a part are more than those that ask for the whole.
            let parts = fitting(&self.asker, &self.part, &text, str::to_owned, (answer_tokens, false)).await?;
            let count = parts.ranges.len();
            if round == 0 {
                parts_of_source = count;
                let tokens = parts.whole_tokens;
                outcome.warnings.push(format!(
                    "the text with the task's own words has {tokens} tokens: it was read in {count} parts"
                ));
            }
            let mut summaries = Vec::with_capacity(count);
            for range in parts.ranges {
                summaries.push(self.write(&self.part, &text[range], &mut outcome).await?);
            }
            let summaries = summaries.join("\n\n");
            if summaries.len() >= text.len() {
                break;
            }
            (frame, text) = (&self.together, summaries);
        }
        Err(TaskError::Output(
            "the summaries of the parts are no shorter than the text, so they never become one\nhint: lower `words` in \
             [summarize], or load the model with a larger context"
                .to_owned(),
        ))
    }
}

impl Asking for Summarizing {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(async move {
            let text = self.input.fill(input)?;
            if text.trim().is_empty() {
                let hint = "hint: leave such inputs out";
                return Err(TaskError::Input(format!("the text is empty, there is nothing to summarize\n{hint}")));
            }
            self.summarize(text).await
        })
    }

    fn preview(&self, input: &Input) -> Result<String, TaskError> {
        Ok(self.whole.shown(&self.input.fill(input)?, self.asker.has_template()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Work;
    use crate::testing::Scripted;
    use futures::executor::block_on;
    use std::path::Path;

    fn asked(kind: Summarize, model: &Arc<Scripted>, text: &str) -> Result<Outcome, TaskError> {
        block_on(async { Task::new("minutes", kind).ready(model.clone(), &[]).await?.ask(&Input::text(text)).await })
    }

    #[test]
    fn a_text_that_fits_is_summarized_at_once() {
        let model = Arc::new(Scripted::saying(" They met. "));
        let style = Some("two bullet points".to_owned());
        let outcome = asked(Summarize { words: 20, style }, &model, "We met.").unwrap();
        assert_eq!(outcome.fields, *json!({"summary": "They met.", "parts": 1, "rounds": 0}).as_object().unwrap());
        let expected = "Summarize the text in about 20 words. Style: two bullet points. Write the summary and \
                        nothing else; add nothing that the text does not say.\n\nText:\nWe met.";
        assert_eq!(model.asked()[0].prompt, expected);
        assert_eq!(model.asked()[0].options.max_tokens, Some(144));
    }

    #[test]
    fn a_long_text_is_read_whole_in_parts_and_summaries_are_summarized_until_they_fit() {
        let model = Arc::new(
            Scripted::new(|prompt| {
                let text = prompt.split("Text:\n").nth(1).unwrap();
                text.split_whitespace().filter(|word| word.starts_with('n')).step_by(8).collect::<Vec<_>>().join(" ")
            })
            .with_context(200),
        );
        let text: String = (0..3000).map(|n| format!("n{n} is said. ")).collect();
        let outcome = asked(Summarize { words: 5, style: None }, &model, &text).unwrap();
        let parts = outcome.fields["parts"].as_u64().unwrap();
        assert!(parts > 50 && outcome.fields["rounds"].as_u64().unwrap() >= 2, "{:?}", outcome.fields);
        assert!(outcome.warnings[0].ends_with(&format!("it was read in {parts} parts")));
        let asked = model.asked();
        let read: Vec<_> =
            asked.iter().take(parts as usize).map(|asked| asked.prompt.split("Text:\n").nth(1).unwrap()).collect();
        assert_eq!(read.concat(), text);
        assert!(asked.last().unwrap().prompt.contains("summaries of the parts of one text, in order"));
    }

    #[test]
    fn summaries_that_do_not_get_shorter_are_an_error_and_not_an_endless_work() {
        let model = Arc::new(Scripted::new(|_| "many words ".repeat(60)).with_context(200));
        let error = asked(Summarize { words: 20, style: None }, &model, &"One. ".repeat(300)).unwrap_err();
        assert!(error.to_string().starts_with("the summaries of the parts are no shorter than the text"), "{error}");
    }

    #[test]
    fn what_is_missing_or_cut_is_told() {
        let model = Arc::new(Scripted::saying("a b c d e f g h"));
        let mut task = Task::new("minutes", Summarize::default());
        task.options.max_tokens = Some(3);
        let outcome = block_on(async { task.ready(model, &[]).await.unwrap().ask(&Input::text("x")).await }).unwrap();
        assert_eq!(
            outcome.warnings,
            ["a summary may be incomplete: it ended after 3 tokens, at max_tokens or the end of the context"]
        );
        let model = Arc::new(Scripted::saying(" "));
        let error = |text: &str| asked(Summarize::default(), &model, text).unwrap_err().to_string();
        assert_eq!(error(" "), "the text is empty, there is nothing to summarize\nhint: leave such inputs out");
        assert_eq!(error("x"), "the model wrote no summary\nhint: another model may");
        let error = Task::parse("kind = \"summarize\"\n[summarize]\nwords = 0", Path::new("a.toml")).unwrap_err();
        assert_eq!(error.to_string(), "a.toml:3:9: `words`: expected a whole number from 1 to 10000, got the number 0");
    }
}
