//! Two runs beside each other, row by row: what got better, what got worse.
//!
//! Rows are known by what they say, so the runs may be of different tables; only rows that both have are compared.

use crate::EvalError;
use crate::statistics::paired::mcnemar;
use ledger::{Ledger, Run, RunRow};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;

/// Scores nearer than this are the same.
const SAME: f64 = 1e-9;

/// A candidate of one run beside one of another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The candidate of the earlier run.
    pub before: String,
    /// The candidate of the later one.
    pub after: String,
    /// Rows that both have a score of.
    pub rows: u64,
    /// The mean of their scores in the earlier run, of each row alone; the metric's figure where that is a mean.
    pub mean_before: f64,
    /// The mean in the later one.
    pub mean_after: f64,
    /// Rows that got better.
    pub better: Vec<RowChange>,
    /// Rows that got worse.
    pub worse: Vec<RowChange>,
    /// Rows whose answer changed and whose score did not.
    pub changed: u64,
    /// Rows that only the earlier run has a score of.
    pub only_before: u64,
    /// Rows that only the later run has a score of.
    pub only_after: u64,
    /// How probable so uneven a split of better and worse rows is where neither run is better (a sign test, exact).
    pub p: f64,
}

/// A row whose score changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowChange {
    /// Its place in the later run's table, from 1.
    pub number: u64,
    /// Its score before.
    pub before: f64,
    /// Its score after.
    pub after: f64,
    /// What came before.
    pub outcome_before: Value,
    /// What came after.
    pub outcome_after: Value,
}

/// Compares candidates of the same name; where two runs have none in common, the first of each.
///
/// # Errors
/// The ledger cannot be read, or a run has no rows.
pub fn compare(ledger: &Ledger, before: &Run, after: &Run) -> Result<Vec<Change>, EvalError> {
    let metric = |run: &Run| run.new.spec["goal"]["metric"].as_str().unwrap_or_default().to_owned();
    let (one, other) = (metric(before), metric(after));
    if one != other {
        let (before, after) = (&before.new.name, &after.new.name);
        return Err(EvalError::Goal(format!(
            "{before} has scores of {one}, {after} of {other}\nhint: only scores of one metric can be compared"
        )));
    }
    let (before_names, after_names) = (names(before), names(after));
    let (before_rows, after_rows) = (ledger.run_rows(before.id)?, ledger.run_rows(after.id)?);
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (place, name) in after_names.iter().enumerate() {
        pairs.extend(before_names.iter().position(|other| other == name).map(|other| (other, place)));
    }
    if pairs.is_empty() && !before_names.is_empty() && !after_names.is_empty() {
        pairs.push((0, 0));
    }
    let of = |rows: &[RunRow], position: usize| -> Vec<RunRow> {
        let rows: Vec<RunRow> = rows.iter().filter(|row| row.position as usize == position).cloned().collect();
        rows.chunk_by(|one, other| one.number == other.number).map(whole).collect()
    };
    let change = |(one, other): (usize, usize)| {
        change((&before_names[one], &of(&before_rows, one)), (&after_names[other], &of(&after_rows, other)))
    };
    Ok(pairs.into_iter().map(change).collect())
}

/// The tries of one row as one row: the mean of their scores, and what came of the first.
fn whole(tries: &[RunRow]) -> RunRow {
    let scores: Vec<f64> = tries.iter().filter_map(|one| one.score).collect();
    let score = (scores.len() == tries.len()).then(|| scores.iter().sum::<f64>() / scores.len() as f64);
    RunRow { score, ..tries[0].clone() }
}

/// The names of a run's candidates, in their order.
pub fn names(run: &Run) -> Vec<String> {
    let candidates = run.new.spec["candidates"].as_array();
    let names = candidates.into_iter().flatten().map(|one| one["name"].as_str().unwrap_or_default().to_owned());
    names.collect()
}

fn change(before: (&str, &[RunRow]), after: (&str, &[RunRow])) -> Change {
    // Rows that say the same twice are matched one by one.
    let mut open: HashMap<&str, Vec<&RunRow>> = HashMap::new();
    for row in before.1.iter().rev() {
        open.entry(&row.key.input).or_default().push(row);
    }
    let mut change = Change {
        before: before.0.to_owned(),
        after: after.0.to_owned(),
        rows: 0,
        mean_before: 0.0,
        mean_after: 0.0,
        better: Vec::new(),
        worse: Vec::new(),
        changed: 0,
        only_before: 0,
        only_after: 0,
        p: 1.0,
    };
    for row in after.1 {
        let earlier = open.get_mut(row.key.input.as_str()).and_then(Vec::pop);
        match (earlier.and_then(|earlier| earlier.score.map(|score| (earlier, score))), row.score) {
            (Some((earlier, old)), Some(new)) => change.add(earlier, old, row, new),
            (Some(_), None) => change.only_before += 1,
            (None, Some(_)) => change.only_after += 1,
            (None, None) => {}
        }
    }
    change.only_before += open.into_values().flatten().filter(|row| row.score.is_some()).count() as u64;
    if change.rows > 0 {
        change.mean_before /= change.rows as f64;
        change.mean_after /= change.rows as f64;
    }
    change.p = mcnemar(change.worse.len() as u64, change.better.len() as u64);
    change
}

impl Change {
    fn add(&mut self, earlier: &RunRow, old: f64, row: &RunRow, new: f64) {
        self.rows += 1;
        self.mean_before += old;
        self.mean_after += new;
        let outcome = |row: &RunRow| row.answer.as_ref().map_or(Value::Null, |answer| answer.outcome.clone());
        let (outcome_before, outcome_after) = (outcome(earlier), outcome(row));
        if (new - old).abs() <= SAME {
            self.changed += u64::from(said(&outcome_before) != said(&outcome_after));
            return;
        }
        let row = RowChange { number: row.number, before: old, after: new, outcome_before, outcome_after };
        if new > old { self.better.push(row) } else { self.worse.push(row) }
    }
}

/// What an outcome says, without how sure it is and where it was found.
pub(crate) fn said(outcome: &Value) -> Value {
    let mut said = outcome.clone();
    if let Value::Object(fields) = &mut said {
        for about in ["probability", "confidence", "scores", "fields", "span"] {
            fields.shift_remove(about);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{Answer, AnswerKey};
    use serde_json::json;

    fn row(number: u64, input: &str, label: &str, score: Option<f64>) -> RunRow {
        let answer = Answer {
            outcome: json!({"label": label}),
            warnings: Vec::new(),
            prompt: None,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            seconds: 0.0,
            busy_seconds: 0.0,
            is_alone: false,
            dollars: None,
        };
        let key = AnswerKey { candidate: "c".to_owned(), input: input.to_owned(), attempt: 0 };
        RunRow {
            position: 0,
            number,
            key,
            score,
            reason: None,
            expected: json!("a"),
            answer: score.map(|_| answer),
            grade: None,
        }
    }

    #[test]
    fn rows_are_matched_by_what_they_say_and_told_apart_by_their_scores() {
        let before = [
            row(1, "x", "a", Some(1.0)),
            row(2, "y", "a", Some(0.0)),
            row(3, "z", "b", Some(0.0)),
            row(4, "gone", "a", Some(1.0)),
            row(5, "failed", "a", None),
        ];
        let after = [
            row(1, "z", "c", Some(0.0)),
            row(2, "y", "b", Some(1.0)),
            row(3, "x", "b", Some(0.0)),
            row(4, "failed", "a", Some(1.0)),
            row(5, "new", "a", Some(1.0)),
        ];
        let change = change(("one", &before), ("two", &after));
        assert_eq!((change.rows, change.changed, change.only_before, change.only_after), (3, 1, 1, 2));
        let numbers = |rows: &[RowChange]| rows.iter().map(|row| row.number).collect::<Vec<_>>();
        assert_eq!((numbers(&change.better), numbers(&change.worse)), (vec![2], vec![3]));
        assert_eq!(change.better[0].outcome_after, json!({"label": "b"}));
        assert!((change.mean_before - 1.0 / 3.0).abs() < 1e-12 && (change.mean_after - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(change.p, 1.0);
    }

    #[test]
    fn the_tries_of_a_row_are_one_row_with_their_mean() {
        let mut second = row(1, "x", "b", Some(0.0));
        second.key.attempt = 1;
        let whole_row = whole(&[row(1, "x", "a", Some(1.0)), second.clone()]);
        assert_eq!((whole_row.score, whole_row.answer.unwrap().outcome), (Some(0.5), json!({"label": "a"})));
        second.score = None;
        assert_eq!(whole(&[row(1, "x", "a", Some(1.0)), second]).score, None);
    }

    #[test]
    fn rows_that_say_the_same_are_matched_once_each() {
        let before = [row(1, "x", "a", Some(1.0)), row(2, "x", "a", Some(0.0))];
        let after = [row(1, "x", "a", Some(1.0)), row(2, "x", "a", Some(0.0)), row(3, "x", "a", Some(1.0))];
        let change = change(("one", &before), ("two", &after));
        assert_eq!((change.rows, change.better.len(), change.worse.len(), change.only_after), (2, 0, 0, 1));
    }
}
