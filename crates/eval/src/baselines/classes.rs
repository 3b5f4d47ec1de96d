//! The classes of a task that classifies: from its examples' labels to numbers, and from probabilities to an outcome.

use super::BaselineError;
use serde_json::{Map, Value, json};
use tasks::{Classify, Example, Outcome, Task, TaskError};

/// What a text may be: the labels in the order of the task, then "none of these" where the task has it.
#[derive(Debug, Clone)]
pub struct Classes {
    /// Label names; null is none of these.
    names: Vec<Value>,
    /// Any number of them may fit.
    pub several: bool,
    threshold: f64,
    all_scores: bool,
}

impl Classes {
    /// Those of a task.
    ///
    /// # Errors
    /// It does not classify.
    pub fn of(task: &Task) -> Result<Classes, BaselineError> {
        let Some(settings) = task.settings::<Classify>() else {
            let message = format!("expected a task of the kind classify, got {}", task.kind());
            return Err(TaskError::File(message).into());
        };
        let labels = settings.labels().iter().map(|label| Value::from(label.name.as_str()));
        let none = settings.none_of_these.as_ref().map(|_| Value::Null);
        let names = labels.chain(none).collect();
        let Classify { several, threshold, all_scores, .. } = *settings;
        Ok(Classes { names, several, threshold, all_scores })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// The classes that each example has, as indices: one each, or with several any number.
    ///
    /// # Errors
    /// A label that the task does not know, by the number of its row.
    pub fn targets(&self, examples: &[Example]) -> Result<Vec<Vec<usize>>, BaselineError> {
        let target = |(example, number): (&Example, usize)| {
            let labels = match &example.expected {
                Value::Array(labels) if self.several => labels.as_slice(),
                label => std::slice::from_ref(label),
            };
            let index = |label: &Value| self.names.iter().position(|name| name == label);
            let indices: Option<Vec<usize>> = labels.iter().map(index).collect();
            indices.ok_or_else(|| {
                let expected = if self.several { "a list of labels of the task" } else { "a label of the task" };
                TaskError::Data(format!("train, row {number}: expected {expected}, got {}", example.expected)).into()
            })
        };
        examples.iter().zip(1..).map(target).collect()
    }

    /// The outcome where these classes have these probabilities and all others 0.
    pub fn outcome_of(&self, known: &[usize], probabilities: &[f64]) -> Outcome {
        let mut all = vec![0.0; self.names.len()];
        for (&class, &probability) in known.iter().zip(probabilities) {
            all[class] = probability;
        }
        self.outcome(&all)
    }

    /// The outcome where each class has this probability. Of equal ones the first of the task is taken.
    pub fn outcome(&self, probabilities: &[f64]) -> Outcome {
        let scored = || self.names.iter().zip(probabilities);
        let mut fields = Map::new();
        if self.several {
            let fitting = scored().filter(|(_, probability)| **probability >= self.threshold);
            fields.insert("labels".to_owned(), fitting.map(|(name, _)| name.clone()).collect());
            let score = |(name, &probability): (&Value, &f64)| json!({"label": name, "fits": probability >= self.threshold, "probability": probability});
            fields.insert("scores".to_owned(), scored().map(score).collect());
            return Outcome { fields, ..Outcome::default() };
        }
        let mut ranked: Vec<_> = scored().collect();
        ranked.sort_by(|one, other| other.1.total_cmp(one.1));
        let best = ranked.first();
        fields.insert("label".to_owned(), best.map_or(Value::Null, |(name, _)| (*name).clone()));
        fields.insert("probability".to_owned(), json!(best.map(|(_, probability)| probability)));
        if self.all_scores {
            let score = |(name, probability): &(&Value, &f64)| json!({"label": name, "probability": probability});
            fields.insert("scores".to_owned(), ranked.iter().map(score).collect());
        }
        Outcome { fields, ..Outcome::default() }
    }
}

/// Numbers the classes that occur from 0 on, and says which they are.
pub fn renumber(targets: &mut [Vec<usize>]) -> Vec<usize> {
    let mut known: Vec<usize> = targets.iter().flatten().copied().collect();
    known.sort_unstable();
    known.dedup();
    for class in targets.iter_mut().flatten() {
        *class = known.partition_point(|known| known < class);
    }
    known
}

/// The probability of each class: the softmax of the scores where one fits, else the logistic function of each.
pub fn probabilities(scores: impl Iterator<Item = f64> + Clone, several: bool) -> Vec<f64> {
    if several {
        return scores.map(|score| 1.0 / (1.0 + (-score).exp())).collect();
    }
    // The highest power is 1, so that none is too large for a number.
    let highest = scores.clone().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.map(|score| (score - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baselines::testing::{classify, example};

    #[test]
    fn labels_are_indices_and_none_of_these_is_the_last() {
        let task = classify(&["a", "b"], |settings| settings.none_of_these = Some("none".to_owned()));
        let classes = Classes::of(&task).unwrap();
        let examples = [example("x", json!("b")), example("y", Value::Null), example("z", json!("a"))];
        assert_eq!(classes.targets(&examples).unwrap(), [[1], [2], [0]]);
        let error = classes.targets(&[example("x", json!("c"))]).unwrap_err();
        assert_eq!(error.to_string(), "train, row 1: expected a label of the task, got \"c\"");
        let outcome = classes.outcome(&[0.2, 0.2, 0.6]).fields;
        assert_eq!(Value::from(outcome), json!({"label": null, "probability": 0.6}));
    }

    #[test]
    fn equal_probabilities_go_to_the_first_and_scores_stand_best_first() {
        let classes = Classes::of(&classify(&["a", "b", "c"], |settings| settings.all_scores = true)).unwrap();
        let outcome = Value::from(classes.outcome(&[0.1, 0.45, 0.45]).fields);
        let scores = json!([
            {"label": "b", "probability": 0.45}, {"label": "c", "probability": 0.45}, {"label": "a", "probability": 0.1}
        ]);
        assert_eq!(outcome, json!({"label": "b", "probability": 0.45, "scores": scores}));
    }

    #[test]
    fn of_several_all_that_reach_the_threshold_fit() {
        let task = classify(&["a", "b", "c"], |settings| {
            settings.several = true;
            settings.threshold = 0.4;
        });
        let classes = Classes::of(&task).unwrap();
        assert_eq!(
            classes.targets(&[example("x", json!(["c", "a"])), example("y", json!([]))]).unwrap(),
            [vec![2, 0], vec![]]
        );
        let outcome = Value::from(classes.outcome(&[0.9, 0.1, 0.4]).fields);
        assert_eq!(outcome["labels"], json!(["a", "c"]));
        assert_eq!(outcome["scores"][1], json!({"label": "b", "fits": false, "probability": 0.1}));
    }

    #[test]
    fn classes_are_numbered_by_what_occurs() {
        let mut targets = vec![vec![7], vec![2, 9], vec![]];
        assert_eq!(renumber(&mut targets), [2, 7, 9]);
        assert_eq!(targets, [vec![1], vec![0, 2], vec![]]);
    }
}
