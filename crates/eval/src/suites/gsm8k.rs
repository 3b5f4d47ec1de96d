//! GSM8K: word problems of school arithmetic, reasoned in words to a number.
//!
//! Source: Cobbe et al., Training Verifiers to Solve Math Word Problems, 2021; prompt, stop texts and both ways of reading
//! the number are those of the task `gsm8k` of lm-evaluation-harness (version 3.0). Its five examples are drawn anew for each
//! problem from `train.jsonl`, by the generator of Python's standard library seeded with 1234 ([`Draws`]), so that the
//! prompts are the same, byte for byte, as there.

use super::asking::{self, Way};
use super::files::Folder;
use super::{Published, SuiteRow, greedy};
use crate::EvalError;
use crate::metrics::mean::share;
use crate::metrics::{Judged, MetricRow};
use rand_mt::Mt;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use std::sync::LazyLock;
use tasks::{Example, Generate, Task};

pub(super) static ROW: SuiteRow = SuiteRow {
    name: "gsm8k",
    about: "word problems of school arithmetic",
    protocol: "5-shot, the examples drawn from train with the harness's seed 1234, without a chat template, at most 256 tokens; \
               main figure strict_match: the number after the first \"####\" is right; beside it flexible_extract: the last \
               number is",
    source: "lm-evaluation-harness 0.4.13, task `gsm8k`; Cobbe et al. 2021",
    shots: 5,
    notes: &[],
    project: "openai/grade-school-math: test.jsonl and train.jsonl",
    part: None,
    metrics: &[&STRICT, &FLEXIBLE],
    way: Some(Way::Complete { field: tasks::TEXT }),
    read,
};

static STRICT: MetricRow = MetricRow {
    name: "strict_match",
    about: "share of answers whose number after the first \"####\" is right",
    kinds: &[],
    main_of: &[],
    make: |_, _| Ok(share(|row| Some(is_right(row, strict)))),
};
static FLEXIBLE: MetricRow = MetricRow {
    name: "flexible_extract",
    about: "share of answers whose last number is right",
    kinds: &[],
    main_of: &[],
    make: |_, _| Ok(share(|row| Some(is_right(row, flexible)))),
};

/// Where what follows is another problem, or the model's end as some write it out.
const STOP: [&str; 3] = ["Question:", "</s>", "<|im_end|>"];
const MAX_TOKENS: usize = 256;
const SHOTS: usize = 5;
/// What the harness seeds its draws with where nobody says otherwise.
const SEED: u32 = 1234;

#[derive(Deserialize)]
struct Problem {
    question: String,
    answer: String,
}

fn read(folder: &Folder<'_>) -> Result<Published, EvalError> {
    let train_file = folder.text(&["train.jsonl"])?;
    let train: Vec<Problem> = train_file.lines()?;
    if train.len() < LEAST_DRAWN_FROM {
        let got = train.len();
        return Err(train_file.wrong(&format!("expected {LEAST_DRAWN_FROM} problems to draw from, got {got}")));
    }
    let file = folder.text(&["test.jsonl"])?;
    let test: Vec<Problem> = file.lines()?;
    let mut draws = Draws::new(SEED);
    let example = |problem: Problem| {
        let shown = draws.sample(train.len()).map(|place| &train[place]);
        let before: String = shown.iter().map(|one| format!("{} {}\n\n", asked(one), one.answer)).collect();
        Example { input: asking::row(&before, asked(&problem)), expected: Value::from(problem.answer) }
    };
    let examples = test.into_iter().map(example).collect();
    let mut task = Task::new(ROW.name, Generate::default());
    task.options = greedy(MAX_TOKENS, &STOP);
    Ok(Published { table: file.path, task, examples })
}

fn asked(problem: &Problem) -> String {
    format!("Question: {}\nAnswer:", problem.question)
}

/// Of fewer the generator draws in another way, which the published file never needs.
const LEAST_DRAWN_FROM: usize = 22;

/// Draws without replacement as Python's `random.sample` makes them from a list of more than 21 (CPython 3, `random.py`):
/// numbers of as many bits as the length has, anew while they are too large or were drawn before.
struct Draws(Mt);

impl Draws {
    fn new(seed: u32) -> Draws {
        Draws(Mt::new_with_key([seed]))
    }

    fn sample(&mut self, length: usize) -> [usize; SHOTS] {
        let bits = usize::BITS - length.leading_zeros();
        let mut places = [usize::MAX; SHOTS];
        for slot in 0..SHOTS {
            places[slot] = loop {
                let place = (self.0.next_u32() >> (u32::BITS - bits)) as usize;
                if place < length && !places[..slot].contains(&place) {
                    break place;
                }
            };
        }
        places
    }
}

/// Whether the number that is read of an answer is the right one, both as the harness compares them.
fn is_right(row: &Judged<'_>, read: fn(&str) -> Option<&str>) -> bool {
    let (Some(right), Some(given)) = (row.expected.as_str(), row.outcome.get(tasks::TEXT).and_then(Value::as_str))
    else {
        return false;
    };
    read(given).is_some_and(|given| bare(given) == bare(right))
}

/// A number without what may stand around it: commas, dollars, all up to the last mark, a full stop at the end.
fn bare(text: &str) -> String {
    let text = text.replace([',', '$'], "");
    let text = text.rsplit_once("#### ").map_or(text.as_str(), |(_, number)| number);
    text.strip_suffix('.').unwrap_or(text).to_lowercase()
}

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("a pattern of this file is sound; this is a bug")
}

fn strict(text: &str) -> Option<&str> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"#### (-?[0-9.,]+)"));
    NUMBER.captures(text).and_then(|found| found.get(1)).map(|number| number.as_str().trim())
}

fn flexible(text: &str) -> Option<&str> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"-?[$0-9.,]{2,}|-?[0-9]+"));
    NUMBER.find_iter(text).last().map(|number| number.as_str().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draws_are_those_of_python() {
        // random.Random(1234).sample(range(7473), 5), three times.
        let mut draws = Draws::new(SEED);
        let drawn: Vec<_> = (0..3).map(|_| draws.sample(7473)).collect();
        assert_eq!(drawn, [[6374, 3610, 957, 61, 742], [7462, 6610, 4769, 286, 5501], [5677, 687, 806, 6279, 2905]]);
    }

    #[test]
    fn numbers_are_read_and_compared_as_the_harness_does() {
        let check = |text: &str, first: Option<&str>, last: Option<&str>| {
            assert_eq!((strict(text), flexible(text)), (first, last), "{text}");
        };
        check("so 3 + 4 = 7\n#### 7", Some("7"), Some("7"));
        check("#### 1,200. And #### 5", Some("1,200."), Some("5"));
        check("it costs $18.00.", None, Some("$18.00."));
        check("-3 or 12 apples", None, Some("12"));
        check("no number", None, None);
        check("####7", None, Some("7"));
        for (given, right) in [("1,200.", "a\n#### 1200"), ("$18", "#### 18"), ("-3", "b #### -3")] {
            assert_eq!(bare(given), bare(right));
        }
        assert_ne!(bare("18.00"), bare("#### 18"));
    }
}
