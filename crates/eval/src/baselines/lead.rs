//! The first sentences of a text as its summary, as many as come nearest to the length that the task wants.
//!
//! What is written to inform says what matters first: of news this summary is hard to beat.

use super::{BaselineRow, Learn};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use tasks::{Input, Outcome, Summarize, Task, TaskError, Template, Work, sentences};

/// Its line of the table.
pub(super) static ROW: BaselineRow = BaselineRow {
    name: "lead",
    about: "the first sentences of the text, in about as many words as are wanted",
    kinds: &["summarize"],
    learn: Learn::Nothing(make),
};

struct Lead {
    input: Template,
    words: usize,
}

fn make(task: &Task) -> Option<Box<dyn Work>> {
    let words = task.settings::<Summarize>()?.words;
    Some(Box::new(Lead { input: task.input.clone(), words }))
}

/// The beginning of a text whose length in words is nearest to `wanted`, of whole sentences; of one as long as another the
/// shorter, and of a first sentence that is longer than twice that as many words of it.
fn lead(text: &str, wanted: usize) -> String {
    let (mut lead, mut count) = (Vec::new(), 0);
    for sentence in sentences(text) {
        let words: Vec<&str> = sentence.split_whitespace().collect();
        if lead.is_empty() && words.len() > 2 * wanted {
            return words[..wanted].join(" ");
        }
        if !lead.is_empty() && (count + words.len()).abs_diff(wanted) >= count.abs_diff(wanted) {
            break;
        }
        count += words.len();
        lead.extend(words);
    }
    lead.join(" ")
}

impl Lead {
    fn outcome(&self, input: &Input) -> Result<Outcome, TaskError> {
        let text = self.input.fill(input)?;
        if text.trim().is_empty() {
            return Err(TaskError::Input("the text is empty, there is nothing to summarize".to_owned()));
        }
        let fields =
            [("summary", Value::from(lead(&text, self.words))), ("parts", Value::from(1)), ("rounds", Value::from(0))];
        let fields: Map<String, Value> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Outcome { fields, ..Outcome::default() })
    }
}

impl Work for Lead {
    fn ask<'a>(&'a self, input: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(std::future::ready(self.outcome(input)))
    }

    fn concurrency(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baselines::testing::{ask, learned};
    use serde_json::json;

    #[test]
    fn the_first_sentences_come_nearest_to_the_length_that_is_wanted() {
        let text = "One two three. Four five. Six seven eight nine.";
        for (wanted, expected) in [
            (1, "One"),
            (2, "One two three."),
            (4, "One two three."),
            (5, "One two three. Four five."),
            (7, "One two three. Four five."),
            (8, text),
            (100, text),
        ] {
            assert_eq!(lead(text, wanted), expected, "{wanted} words");
        }
    }

    #[test]
    fn its_outcome_is_that_of_a_summary_and_an_empty_text_is_an_error() {
        let task = Task::new("test", Summarize { words: 2, style: None });
        assert!(ROW.fits(&task) && !ROW.needs_train());
        let work = learned(&ROW, &task, &[]);
        let expected = json!({"summary": "We met.", "parts": 1, "rounds": 0});
        assert_eq!(ask(&*work, "We\n met. They left."), expected);
        let error = futures::executor::block_on(work.ask(&Input::text(" "))).unwrap_err();
        assert_eq!(error.to_string(), "the text is empty, there is nothing to summarize");
    }
}
