//! ROUGE: how far the words of a summary are those of one that a person wrote.
//!
//! ROUGE-1 and ROUGE-2 count words and pairs of neighbouring words, ROUGE-L the longest sequence of words that stands
//! in both, in that order, with others between. The figure is the mean F1 of the rows. Source: Lin, ROUGE: A Package for
//! Automatic Evaluation of Summaries, 2004, sections 2 and 3.1. Words are those of the package `rouge-score` without its
//! stemmer: runs of the letters a to z and of digits in lower case, and nothing else. A language with other letters has
//! hardly any of these, so a task without them is refused.

use super::mean::mean;
use super::{Metric, MetricError, MetricRow, Tally, texts};
use tasks::{Example, Task};

/// Lines of the table.
pub(super) static ROUGE_1: MetricRow = MetricRow {
    name: "rouge_1",
    about: "mean F1 of the words (ROUGE-1, no stemming)",
    kinds: KINDS,
    main_of: &[],
    make: |task, examples| make("rouge_1", OF_WORDS, task, examples),
};
pub(super) static ROUGE_2: MetricRow = MetricRow {
    name: "rouge_2",
    about: "mean F1 of pairs of neighbouring words (ROUGE-2, no stemming)",
    kinds: KINDS,
    main_of: &[],
    make: |task, examples| make("rouge_2", OF_PAIRS, task, examples),
};
pub(super) static ROUGE_L: MetricRow = MetricRow {
    name: "rouge_l",
    about: "mean F1 of the longest common sequence of words (ROUGE-L, no stemming)",
    kinds: KINDS,
    main_of: &["summarize"],
    make: |task, examples| make("rouge_l", OF_SEQUENCE, task, examples),
};

const KINDS: &[&str] = &["summarize", "answer", "generate"];

/// What two lists of words have in common.
pub(crate) type Score = fn(&[String], &[String]) -> Tally;

/// ROUGE-1, ROUGE-2 and ROUGE-L.
pub(crate) const OF_WORDS: Score = |right, given| of_runs(right, given, 1);
pub(crate) const OF_PAIRS: Score = |right, given| of_runs(right, given, 2);
pub(crate) const OF_SEQUENCE: Score = of_sequence;

fn make(name: &str, score: Score, task: &Task, examples: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    texts::check(name, task, examples)?;
    texts::check_answered(name, task, examples)?;
    let has_words = |example: &Example| texts::right(&example.expected).iter().any(|text| !words(text).is_empty());
    if !examples.is_empty() && !examples.iter().any(has_words) {
        return Err(MetricError::Data(format!(
            "metric `{name}` knows words of the letters a to z and of digits, and no right text of {} has one\n\
             hint: `chrf` compares texts of every language",
            task.name
        )));
    }
    Ok(mean(move |row| {
        Some(texts::best(row, |right, given| score(&words(right), &words(given)).f1().unwrap_or_default()))
    }))
}

/// The mean against all texts that are right, in the place of the best of them.
pub(crate) fn against_all(score: Score) -> Box<dyn Metric> {
    mean(move |row| {
        let Some(given) = texts::given(row).map(|given| words(&given)) else { return Some(0.0) };
        let right = texts::right(row.expected);
        let scores = right.iter().map(|right| score(&words(right), &given).f1().unwrap_or_default());
        Some(scores.sum::<f64>() / right.len() as f64)
    })
}

fn words(text: &str) -> Vec<String> {
    let is_no_word = |c: char| !matches!(c, 'a'..='z' | '0'..='9');
    text.to_lowercase().split(is_no_word).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Runs of so many words, each as often as it comes in both.
fn of_runs(right: &[String], given: &[String], length: usize) -> Tally {
    Tally::matched(right.windows(length), given.windows(length))
}

/// The longest common subsequence, by the usual table of which one row is kept.
fn of_sequence(right: &[String], given: &[String]) -> Tally {
    // lengths[j] is the longest of the words of `right` so far and the first j of `given`.
    let mut lengths = vec![0_usize; given.len() + 1];
    for word in right {
        let mut diagonal = 0;
        for (index, other) in given.iter().enumerate() {
            let above = lengths[index + 1];
            lengths[index + 1] = if word == other { diagonal + 1 } else { above.max(lengths[index]) };
            diagonal = above;
        }
    }
    Tally { right: lengths[given.len()] as f64, given: given.len() as f64, expected: right.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tasks::{Input, Summarize};

    fn check(score: Score, right: &str, given: &str, expected: [u32; 3]) {
        let tally = score(&words(right), &words(given));
        assert_eq!(tally.slots().map(|count| count as u32), expected, "{right} {given}");
    }

    #[test]
    fn words_pairs_and_sequences_are_counted() {
        check(|right, given| of_runs(right, given, 1), "the cat, the dog", "The the the cat", [3, 4, 4]);
        check(|right, given| of_runs(right, given, 2), "the cat the dog", "the cat sat the dog", [2, 4, 3]);
        check(|right, given| of_runs(right, given, 2), "cat", "", [0, 0, 0]);
        check(of_sequence, "police killed the gunman", "police kill the gunman", [3, 4, 4]);
        check(of_sequence, "police killed the gunman", "the gunman police killed", [2, 4, 4]);
        check(of_sequence, "", "a", [0, 1, 0]);
    }

    #[test]
    fn texts_in_other_letters_are_refused() {
        let task = Task::new("notes", Summarize::default());
        let make = |expected: &[Value]| {
            let example = |expected: &Value| Example { input: Input::text(""), expected: expected.clone() };
            (ROUGE_L.make)(&task, &expected.iter().map(example).collect::<Vec<_>>())
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(make(&[json!("概要"), json!("A summary")]), None);
        assert_eq!(make(&[]), None);
        assert_eq!(
            make(&[json!("概要"), json!(["краткое"])]).unwrap(),
            "metric `rouge_l` knows words of the letters a to z and of digits, and no right text of notes has one\n\
             hint: `chrf` compares texts of every language"
        );
    }
}
