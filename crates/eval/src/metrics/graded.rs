//! Metrics that count grades: who grades is named by a table of `[goal]`, and `crate::graders` has one file for each.

use super::mean::of_grades;
use super::{Metric, MetricError, MetricRow};
use tasks::{Example, Grading, Task};

/// A judge model's points, from 0 (the fewest) to 1 (the most).
pub(super) static JUDGE: MetricRow = MetricRow {
    name: "judge",
    about: "mean of the points that a judge model gives by your rubric, from 0 (the fewest) to 1 (the most)",
    kinds: &["classify", "extract", "summarize", "answer", "complete", "generate"],
    main_of: &[],
    make: |task, _| make("judge", "judge", false, task),
};

/// The share of programs that pass their tests at the first try.
pub(crate) static PASS_AT_1: MetricRow = MetricRow {
    name: "pass_at_1",
    about: "share of answers whose program passes its tests (pass@1)",
    kinds: &["complete", "generate"],
    main_of: &[],
    make: |task, examples| {
        has_columns(task, examples)?;
        make("pass_at_1", "tests", true, task)
    },
};

/// Scores of a command of the user's.
pub(super) static COMMAND: MetricRow = MetricRow {
    name: "command",
    about: "mean of the scores that your command gives, from 0 to 1",
    kinds: &["classify", "extract", "summarize", "answer", "complete", "generate"],
    main_of: &[],
    make: |task, _| make("command", "command", false, task),
};

fn make(
    name: &'static str,
    table: &'static str,
    is_proportion: bool,
    task: &Task,
) -> Result<Box<dyn Metric>, MetricError> {
    match &task.goal.grading {
        Some(grading) if grading.metric() == name => Ok(of_grades(is_proportion)),
        _ => Err(MetricError::Unfit(format!(
            "metric `{name}` counts grades, and the task {} says not how they are had\nhint: add [goal.{table}] to the \
             task file",
            task.name
        ))),
    }
}

/// Looks whether rows have the columns that programs are made of.
fn has_columns(task: &Task, examples: &[Example]) -> Result<(), MetricError> {
    let (Some(Grading::Tests(tests)), Some(example)) = (&task.goal.grading, examples.first()) else { return Ok(()) };
    let fields = &example.input.fields;
    let of_answer = |field: &&str| matches!(*field, "answer" | "code");
    match tests
        .program
        .fields()
        .into_iter()
        .filter(|field| !of_answer(field))
        .find(|field| !fields.contains_key(*field))
    {
        None => Ok(()),
        Some(field) => {
            let columns: Vec<_> = fields.keys().map(String::as_str).collect();
            Err(MetricError::Data(format!(
                "`program` of [goal.tests] reads a column {field:?}, which the test table of {} has not\nhint: its columns \
                 are {}",
                task.name,
                columns.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counts;
    use std::path::Path;

    fn task(goal: &str) -> Task {
        Task::parse(&format!("kind = \"complete\"\n[goal]\n{goal}\n"), Path::new("t.toml")).unwrap()
    }

    #[test]
    fn grades_are_averaged_and_answers_are_not_counted() {
        let metric = (COMMAND.make)(&task("command = { run = [\"x\"] }"), &[]).unwrap();
        assert_eq!(metric.count_grade(0.25), Some(Counts(vec![(0, 0.25), (1, 1.0)])));
        assert_eq!(metric.figure(&[1.5, 3.0]), Some(0.5));
        assert_eq!(metric.figure(&[0.0, 0.0]), None);
        assert!(metric.is_mean() && !metric.is_proportion());
        assert!((PASS_AT_1.make)(&task("tests = { program = \"{code}\" }"), &[]).unwrap().is_proportion());
    }

    #[test]
    fn columns_that_programs_are_made_of_must_be_there() {
        let task = task("tests = { program = \"{prefix}{code}{check}\" }");
        let example = |fields: serde_json::Value| Example {
            input: tasks::Input { fields: fields.as_object().unwrap().clone(), pages: Vec::new() },
            expected: serde_json::Value::Null,
        };
        let error = |fields| (PASS_AT_1.make)(&task, &[example(fields)]).err().map(|error| error.to_string());
        assert_eq!(error(serde_json::json!({"prefix": "", "check": ""})), None);
        assert_eq!(
            error(serde_json::json!({"prefix": "", "tests": ""})).unwrap(),
            "`program` of [goal.tests] reads a column \"check\", which the test table of t has not\nhint: its columns are \
             prefix, tests"
        );
    }

    #[test]
    fn a_task_that_names_no_grader_is_told_the_table() {
        let error =
            |row: &MetricRow| (row.make)(&task("command = { run = [\"x\"] }"), &[]).err().map(|e| e.to_string());
        assert_eq!(
            error(&PASS_AT_1).unwrap(),
            "metric `pass_at_1` counts grades, and the task t says not how they are had\nhint: add [goal.tests] to the task \
             file"
        );
        assert!(error(&JUDGE).unwrap().ends_with("hint: add [goal.judge] to the task file"));
        assert_eq!(error(&COMMAND), None);
    }
}
