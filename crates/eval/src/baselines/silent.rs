//! Says of every question that the text does not hold the answer.
//!
//! Where many questions have none, as in SQuAD 2.0, a model that answers them all the same does worse than this.

use super::{BaselineRow, Learn, Rule};
use crate::metrics::has_no_answer;
use futures::future::BoxFuture;
use serde_json::json;
use tasks::{Answer, Input, Outcome, Task, TaskError, Work};

/// Its line of the table.
pub(super) static ROW: BaselineRow = BaselineRow {
    name: "silent",
    about: "says of every question that the text does not hold the answer",
    kinds: &["answer"],
    learn: Learn::Nothing(Rule { make, tells: has_no_answer }),
};

struct Silent;

fn make(task: &Task) -> Option<Box<dyn Work>> {
    let has_text = task.settings::<Answer>().is_some_and(Answer::has_text);
    has_text.then(|| Box::new(Silent) as Box<dyn Work>)
}

impl Work for Silent {
    fn ask<'a>(&'a self, _: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        let fields = json!({
            "answer": null, "found": false, "quote": null, "span": null, "confidence": null, "parts": 1,
        });
        let fields = fields.as_object().cloned().unwrap_or_default();
        Box::pin(std::future::ready(Ok(Outcome { fields, ..Outcome::default() })))
    }

    fn concurrency(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baselines::testing::{ask, learned};
    use std::collections::BTreeSet;

    #[test]
    fn nothing_is_found_in_any_text_and_questions_without_one_are_not_its_own() {
        let task = Task::new("test", Answer::from_field("text"));
        assert!(ROW.fits(&task) && !ROW.needs_train());
        let outcome = ask(&*learned(&ROW, &task, &[]), "The code is 42.");
        assert_eq!((&outcome["answer"], &outcome["found"]), (&json!(null), &json!(false)));
        let names: BTreeSet<_> = outcome.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, task.outcome_fields().into_iter().collect());
        assert!(!ROW.fits(&Task::new("test", Answer::freely())));
    }

    #[test]
    fn it_is_judged_where_a_question_has_no_answer() {
        let task = Task::new("test", Answer::from_field("text"));
        assert!(!ROW.tells(&task, &[&json!("42"), &json!(["at six"])]));
        for none in [json!(null), json!(" "), json!([])] {
            assert!(ROW.tells(&task, &[&json!("42"), &none]), "{none}");
        }
    }
}
