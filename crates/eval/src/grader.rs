//! What grades an answer where no metric can count whether it is right: a model with a rubric, tests that a program has to
//! pass, a command of the user's. One file each in `graders/`.
//!
//! A candidate's answers are graded after they came and were recorded, some at a time, and a metric counts the grades. A
//! grade is kept with the row and known by what was graded: the same answer is not graded twice. Read next: `run.rs`.

use crate::metrics::Judged;
use crate::report::Agreement;
use crate::{EvalError, TestSet};
use futures::future::BoxFuture;
use ledger::RowGrade;
use serde_json::{Map, Value};
use tasks::batch::fingerprint;

/// The field of a recorded grade that holds the score.
const SCORE: &str = "score";

/// What a grader says of one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Grade {
    /// From 0, as bad as can be, to 1.
    pub score: f64,
    /// What else it said: a judge's reason, what a program printed.
    pub told: Map<String, Value>,
}

/// A grade, or why an answer has none. An answer without a grade is counted and named as a row without an answer is.
pub type Graded = Result<Grade, String>;

/// Grades answers.
pub trait Grader: Send + Sync {
    /// The digest of all that its grades depend on.
    fn fingerprint(&self) -> String;

    /// So many answers are given to it at a time. What was graded is recorded after each time.
    fn at_once(&self) -> usize;

    /// Grades answers, each by itself; as many come back, in the same order.
    ///
    /// # Errors
    /// What keeps it from grading anything.
    fn grade<'a>(&'a self, answers: &'a [Judged<'a>]) -> BoxFuture<'a, Result<Vec<Graded>, EvalError>>;

    /// Whether a grade that was given before holds: one that chance had a part in does not.
    fn is_final(&self, grade: &Grade) -> bool {
        let _ = grade;
        true
    }

    /// How far its grades are those of people, where the rows have answers that people graded.
    ///
    /// # Errors
    /// As [`Grader::grade`], or grades of people that are none.
    fn agreement<'a>(&'a self, test: &'a TestSet) -> BoxFuture<'a, Result<Option<Agreement>, EvalError>> {
        let _ = test;
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl Grade {
    /// A score with nothing else to tell.
    pub fn of(score: f64) -> Grade {
        Grade { score, told: Map::new() }
    }

    /// As the ledger keeps it.
    pub(crate) fn recorded(&self, key: String) -> RowGrade {
        let mut fields = self.told.clone();
        fields.insert(SCORE.to_owned(), self.score.into());
        RowGrade { key, grade: Value::Object(fields) }
    }

    /// As it was recorded; none where it is no grade.
    pub(crate) fn of_recorded(grade: Value) -> Option<Grade> {
        let Value::Object(mut told) = grade else { return None };
        let score = told.shift_remove(SCORE)?.as_f64().filter(|score| (0.0..=1.0).contains(score))?;
        Some(Grade { score, told })
    }
}

/// What a grade of this answer is known by.
pub(crate) fn key(grader: &str, answer: &Judged<'_>) -> String {
    let Judged { input, expected, outcome } = answer;
    let text = |fields: &Map<String, Value>| Value::Object(fields.clone()).to_string();
    fingerprint(&["grade", grader, &text(&input.fields), &expected.to_string(), &text(outcome)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tasks::Input;

    #[test]
    fn a_grade_comes_back_as_it_was_recorded() {
        let told = Map::from_iter([("reason".to_owned(), json!("kind"))]);
        let grade = Grade { score: 0.75, told };
        let recorded = grade.recorded("k".to_owned());
        assert_eq!(recorded.grade, json!({"reason": "kind", "score": 0.75}));
        assert_eq!(Grade::of_recorded(recorded.grade), Some(grade));
        assert_eq!(Grade::of_recorded(json!({"score": 1.5})), None);
        assert_eq!(Grade::of_recorded(json!([1])), None);
    }

    #[test]
    fn a_key_changes_with_all_that_a_grade_depends_on() {
        let (one, other) = (Input::text("one"), Input::text("other"));
        let (right, wrong) = (json!("a"), json!("b"));
        let (said, nothing) = (Map::from_iter([("label".to_owned(), json!("a"))]), Map::new());
        let keys = [
            key("g", &Judged { input: &one, expected: &right, outcome: &said }),
            key("h", &Judged { input: &one, expected: &right, outcome: &said }),
            key("g", &Judged { input: &other, expected: &right, outcome: &said }),
            key("g", &Judged { input: &one, expected: &wrong, outcome: &said }),
            key("g", &Judged { input: &one, expected: &right, outcome: &nothing }),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
