//! HumanEval: bodies of Python functions, right if the function passes its tests.
//!
//! Source: Chen et al., Evaluating Large Language Models Trained on Code, 2021; prompt and stop texts are those of the task
//! `humaneval` of lm-evaluation-harness (version 1.0). The program is the prompt, what the model goes on with, and the tests,
//! as in the evaluation that was published with the problems; it runs without rights (`graders/tests.rs`).

use super::asking::{self, Way};
use super::files::Folder;
use super::{Published, SuiteRow, greedy, passing};
use crate::EvalError;
use crate::metrics::graded::PASS_AT_1;
use serde::Deserialize;
use serde_json::Value;
use tasks::{Example, Generate, Task};

pub(super) static ROW: SuiteRow = SuiteRow {
    name: "humaneval",
    about: "bodies of Python functions that pass their tests",
    protocol: "0-shot, without a chat template: the model goes on with the function's head, up to the next class, function, \
               comment, condition or print at the margin, at most 1024 tokens; pass@1: the program passes its tests",
    source: "lm-evaluation-harness 0.4.13, task `humaneval`; Chen et al. 2021",
    shots: 0,
    notes: &["A program may take 10 seconds and 1 GiB; the published evaluation gives it 3 seconds."],
    project: "openai/human-eval: HumanEval.jsonl",
    part: None,
    metrics: &[&PASS_AT_1],
    way: Some(Way::Complete { field: tasks::TEXT }),
    read,
};

const STOP: [&str; 5] = ["\nclass", "\ndef", "\n#", "\nif", "\nprint"];
const MAX_TOKENS: usize = 1024;
/// The fields of a row that the program is made of are those of the file.
const PROGRAM: &str = "{text}{answer}\n{test}\ncheck({entry_point})\n";

#[derive(Deserialize)]
struct Problem {
    task_id: String,
    prompt: String,
    entry_point: String,
    canonical_solution: String,
    test: String,
}

fn read(folder: &Folder<'_>) -> Result<Published, EvalError> {
    let file = folder.text(&["HumanEval.jsonl"])?;
    let example = |problem: Problem| {
        let mut input = asking::row("", problem.prompt);
        for (name, value) in
            [("task_id", problem.task_id), ("test", problem.test), ("entry_point", problem.entry_point)]
        {
            input.fields.insert(name.to_owned(), Value::from(value));
        }
        Example { input, expected: Value::from(problem.canonical_solution) }
    };
    let examples = file.lines()?.into_iter().map(example).collect();
    let mut task = Task::new(ROW.name, Generate::default());
    task.options = greedy(MAX_TOKENS, &STOP);
    task.goal.grading = Some(passing(PROGRAM)?);
    Ok(Published { table: file.path, task, examples })
}
