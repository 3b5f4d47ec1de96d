//! The label that most rows of train have, whatever the text says.
//!
//! With several labels each that at least as many rows have as the task's threshold says.

use super::classes::Classes;
use super::{BaselineError, BaselineRow, Learn, Lesson};
use futures::future::BoxFuture;
use tasks::{Input, Outcome, TaskError, Work};

/// Its line of the table.
pub(super) static ROW: BaselineRow = BaselineRow {
    name: "majority",
    about: "the most frequent label of train, whatever the text says",
    kinds: &["classify"],
    learn: Learn::Alone(learn),
};

struct Majority(Outcome);

fn learn(lesson: &Lesson<'_>) -> Result<Box<dyn Work>, BaselineError> {
    let classes = Classes::of(lesson.task)?;
    let mut counts = vec![0_u32; classes.count()];
    for class in classes.targets(lesson.examples)?.into_iter().flatten() {
        counts[class] += 1;
    }
    let shares: Vec<f64> = counts.iter().map(|&count| f64::from(count) / lesson.examples.len() as f64).collect();
    Ok(Box::new(Majority(classes.outcome(&shares))))
}

impl Work for Majority {
    fn ask<'a>(&'a self, _: &'a Input) -> BoxFuture<'a, Result<Outcome, TaskError>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    fn concurrency(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baselines::testing::{ask, classify, example, learned};
    use serde_json::json;

    #[test]
    fn the_most_frequent_label_has_its_share_as_its_probability() {
        let examples = ["b", "a", "b", "c"].map(|label| example("text", json!(label)));
        let task = classify(&["a", "b", "c"], |settings| settings.all_scores = true);
        let outcome = ask(&*learned(&ROW, &task, &examples), "anything");
        assert_eq!((&outcome["label"], &outcome["probability"]), (&json!("b"), &json!(0.5)));
        assert_eq!(outcome["scores"][2], json!({"label": "c", "probability": 0.25}));
    }

    #[test]
    fn of_several_labels_those_of_enough_rows_fit() {
        let examples = [json!(["a", "b"]), json!(["a"]), json!([]), json!(["a", "b"])].map(|one| example("text", one));
        let task = classify(&["a", "b", "c"], |settings| {
            settings.several = true;
            settings.threshold = 0.6;
        });
        let outcome = ask(&*learned(&ROW, &task, &examples), "anything");
        assert_eq!(outcome["labels"], json!(["a"]));
        assert_eq!(outcome["scores"][1], json!({"label": "b", "fits": false, "probability": 0.5}));
    }
}
