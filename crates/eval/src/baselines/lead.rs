//! The first sentences of a text as its summary, as many as come nearest to the length that the task wants.
//!
//! News says first what matters most, so this is what summaries of it are held against (the first three sentences in See, Liu
//! and Manning, Get To The Point, 2017).

use super::{BaselineRow, Learn, Rule};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use tasks::{Input, Outcome, Summarize, Task, TaskError, Template, Work, sentences};

/// Its line of the table.
pub(super) static ROW: BaselineRow = BaselineRow {
    name: "lead",
    about: "the first sentences of the text, in about as many words as are wanted",
    kinds: &["summarize"],
    learn: Learn::Nothing(Rule { make, tells: |_| true }),
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
/// shorter, and of a first sentence that is longer than twice that so many words.
fn lead(text: &str, wanted: usize) -> &str {
    let sentences = sentences(text);
    let Some(first) = sentences.first() else { return "" };
    let words = word_ends(&text[first.clone()]);
    if words.len() > 2 * wanted {
        return &text[first.start..first.start + words[wanted - 1]];
    }
    let (mut count, mut end) = (words.len(), first.end);
    for sentence in &sentences[1..] {
        let longer = count + word_ends(&text[sentence.clone()]).len();
        if longer.abs_diff(wanted) >= count.abs_diff(wanted) {
            break;
        }
        (count, end) = (longer, sentence.end);
    }
    &text[first.start..end]
}

/// Where words end, marks after them included. Of a script that puts no blanks between words two characters are one.
fn word_ends(text: &str) -> Vec<usize> {
    let is_dense = |character: char| matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}');
    let (mut ends, mut dense, mut is_open) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        if is_open && (character.is_whitespace() || is_dense(character)) {
            ends.push(at);
            is_open = false;
        }
        if is_dense(character) {
            dense += 1;
            if dense % 2 == 0 {
                ends.push(at + character.len_utf8());
            }
        } else if character.is_alphanumeric() {
            is_open = true;
        }
    }
    if is_open {
        ends.push(text.len());
    }
    ends
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
    fn a_script_without_blanks_has_words_too() {
        let text = "\u{4eca}\u{5929}\u{4e0b}\u{96e8}\u{3002}\u{660e}\u{5929}\u{6674}\u{3002}";
        assert_eq!(lead(text, 2), &text[..15], "the first of two sentences");
        assert_eq!(lead(&text[..12], 1), &text[..12], "two words where one is wanted are a sentence");
        assert_eq!(lead("\u{4eca}\u{5929}\u{4e0b}\u{96e8}\u{4e86}\u{597d}", 1), "\u{4eca}\u{5929}");
    }

    #[test]
    fn its_outcome_is_that_of_a_summary_and_an_empty_text_is_an_error() {
        let task = Task::new("test", Summarize { words: 2, style: None });
        assert!(ROW.fits(&task) && !ROW.needs_train());
        let work = learned(&ROW, &task, &[]);
        let expected = json!({"summary": "We\n met.", "parts": 1, "rounds": 0});
        assert_eq!(ask(&*work, "We\n met. They left."), expected);
        let error = futures::executor::block_on(work.ask(&Input::text(" "))).unwrap_err();
        assert_eq!(error.to_string(), "the text is empty, there is nothing to summarize");
    }
}
