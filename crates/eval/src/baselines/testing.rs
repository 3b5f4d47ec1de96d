//! Tasks, examples and answers for the tests of baselines.

use super::{BaselineRow, Lesson};
use futures::executor::block_on;
use serde_json::Value;
use tasks::{Classify, Example, Input, Label, Task, Work};

/// A task that classifies.
pub fn classify(labels: &[&str], change: impl FnOnce(&mut Classify)) -> Task {
    let label = |name: &&str| Label { name: (*name).to_owned(), description: None };
    let mut settings = Classify::new(labels.iter().map(label).collect()).unwrap();
    change(&mut settings);
    Task::new("test", settings)
}

/// A text with what is right.
pub fn example(text: &str, expected: Value) -> Example {
    Example { input: Input::text(text), expected }
}

/// What a baseline makes of examples, on one thread.
pub fn learned(row: &BaselineRow, task: &Task, examples: &[Example]) -> Box<dyn Work> {
    block_on(row.learn(&Lesson { task, examples, embedder: None, threads: 1 })).unwrap()
}

/// The fields of an outcome.
pub fn ask(work: &dyn Work, text: &str) -> Value {
    Value::Object(block_on(work.ask(&Input::text(text))).unwrap().fields)
}
