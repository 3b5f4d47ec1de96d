//! MBPP: small Python programs from one sentence and three tests, right if they pass these.
//!
//! Source: Austin et al., Program Synthesis with Large Language Models, 2021, section 3.1; the prompt is its own, with the
//! problems 2, 3 and 4 as examples, as the task `mbpp` of lm-evaluation-harness (version 1.0) has it. The problems 11 to 510
//! are the test. Programs run without rights (`graders/tests.rs`).

use super::asking::{self, Way};
use super::files::{Folder, Text};
use super::{Published, SuiteRow, greedy, passing};
use crate::EvalError;
use crate::metrics::graded::PASS_AT_1;
use serde::Deserialize;
use serde_json::Value;
use tasks::{Example, Generate, Task};

pub(super) static ROW: SuiteRow = SuiteRow {
    name: "mbpp",
    about: "small Python programs that pass three tests",
    protocol: "3-shot (problems 2, 3 and 4), without a chat template, between [BEGIN] and [DONE], at most 256 tokens, on the \
               problems 11 to 510; pass@1: the program passes its three tests",
    source: "lm-evaluation-harness 0.4.13, task `mbpp`; Austin et al. 2021",
    shots: 3,
    notes: &["A program may take 10 seconds and 1 GiB; the usual evaluation gives it 3 seconds."],
    project: "google-research/mbpp: mbpp.jsonl",
    part: None,
    metrics: &[&PASS_AT_1],
    way: Some(Way::Complete { field: tasks::TEXT }),
    read,
};

const END: &str = "[DONE]";
const MAX_TOKENS: usize = 256;
const SHOWN: [u64; 3] = [2, 3, 4];
const TEST: std::ops::RangeInclusive<u64> = 11..=510;
const PROGRAM: &str = "{answer}\n{tests}\n";

#[derive(Deserialize)]
struct Problem {
    task_id: u64,
    text: String,
    code: String,
    test_list: [String; 3],
}

fn read(folder: &Folder<'_>) -> Result<Published, EvalError> {
    let file = folder.text(&["mbpp.jsonl"])?;
    let problems: Vec<Problem> = file.lines()?;
    let mut before = String::new();
    for id in SHOWN {
        let shown = find(&file, &problems, id)?;
        before.push_str(&format!("{}{}\n{END}\n\n", asked(shown), shown.code));
    }
    let example = |problem: &Problem| {
        let mut input = asking::row(&before, asked(problem));
        input.fields.insert("task_id".to_owned(), Value::from(problem.task_id));
        input.fields.insert("tests".to_owned(), Value::from(problem.test_list.join("\n")));
        Example { input, expected: Value::from(problem.code.as_str()) }
    };
    let examples = problems.iter().filter(|problem| TEST.contains(&problem.task_id)).map(example).collect();
    let mut task = Task::new(ROW.name, Generate::default());
    task.options = greedy(MAX_TOKENS, &[END]);
    task.goal.grading = Some(passing(PROGRAM)?);
    Ok(Published { table: file.path, task, examples })
}

fn find<'p>(file: &Text, problems: &'p [Problem], id: u64) -> Result<&'p Problem, EvalError> {
    let found = problems.iter().find(|problem| problem.task_id == id);
    found.ok_or_else(|| file.wrong(&format!("expected problem {id}, which is an example of the prompt, got none")))
}

fn asked(Problem { text, test_list: [one, two, three], .. }: &Problem) -> String {
    format!(
        "You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:\n\n\
         {one}\n{two}\n{three}\n[BEGIN]\n"
    )
}
