//! Metrics of which each row has a score of its own, from 0 to 1: the figure is their mean.
//!
//! What a score is stands in the files of the metrics; this is the counting. Scores that are either 0 or 1 make a
//! proportion, which has better intervals than a mean.

use super::{Counts, Judged, Metric};

/// Slot of the sum of the scores.
const SCORES: u32 = 0;
/// Slot of the number of rows.
const ROWS: u32 = 1;

/// The mean of a score over the rows that have one.
pub fn mean(score: impl Fn(&Judged<'_>) -> Option<f64> + Send + Sync + 'static) -> Box<dyn Metric> {
    Box::new(Mean { score, is_proportion: false, is_of_grades: false })
}

/// The mean of the grades that a grader gives; answers themselves count nothing.
pub fn of_grades(is_proportion: bool) -> Box<dyn Metric> {
    let no_answer = |_: &Judged<'_>| None;
    Box::new(Mean { score: no_answer, is_proportion, is_of_grades: true })
}

/// The share of the rows that are right, among those that are right or wrong.
pub fn share(is_right: impl Fn(&Judged<'_>) -> Option<bool> + Send + Sync + 'static) -> Box<dyn Metric> {
    let score = move |row: &Judged<'_>| is_right(row).map(|is_right| f64::from(u8::from(is_right)));
    Box::new(Mean { score, is_proportion: true, is_of_grades: false })
}

struct Mean<S> {
    score: S,
    is_proportion: bool,
    is_of_grades: bool,
}

impl<S: Fn(&Judged<'_>) -> Option<f64> + Send + Sync> Metric for Mean<S> {
    fn slots(&self) -> usize {
        2
    }

    fn count(&self, row: &Judged<'_>) -> Option<Counts> {
        let score = (self.score)(row)?;
        debug_assert!((0.0..=1.0).contains(&score), "a score of {score}; this is a bug");
        Some(Counts(vec![(SCORES, score), (ROWS, 1.0)]))
    }

    fn count_grade(&self, score: f64) -> Option<Counts> {
        self.is_of_grades.then(|| Counts(vec![(SCORES, score), (ROWS, 1.0)]))
    }

    fn figure(&self, sums: &[f64]) -> Option<f64> {
        let [scores, rows] = *sums else { return None };
        (rows > 0.0).then(|| scores / rows)
    }

    fn is_proportion(&self) -> bool {
        self.is_proportion
    }

    fn is_mean(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};
    use tasks::Input;

    #[test]
    fn rows_without_a_score_are_left_out() {
        let metric = share(|row| row.expected.as_bool());
        let (input, outcome) = (Input::text(""), Map::new());
        let count = |expected: Value| metric.count(&Judged { input: &input, expected: &expected, outcome: &outcome });
        assert_eq!(count(Value::Bool(true)), Some(Counts(vec![(0, 1.0), (1, 1.0)])));
        assert_eq!(count(Value::Bool(false)), Some(Counts(vec![(0, 0.0), (1, 1.0)])));
        assert_eq!(count(Value::Null), None);
        assert_eq!((metric.figure(&[1.0, 4.0]), metric.figure(&[0.0, 0.0])), (Some(0.25), None));
        assert!(metric.is_proportion() && !mean(|_| None).is_proportion());
    }
}
