//! The classes of a task that classifies, and how often each was right: what all metrics of classes are made of.
//!
//! "None of these" is a class like the labels. With several labels a text each of them is a class of its own.

use super::{Counts, Judged, Metric, MetricError, Tally};
use serde_json::Value;
use std::collections::HashMap;
use tasks::{Classify, Task};

/// The classes of a task: its labels in their order, and after them "none of these" where a text may be that.
#[derive(Debug, Clone)]
pub struct Classes {
    /// By number; null is none of these.
    names: Vec<Option<String>>,
    numbers: HashMap<Option<String>, u32>,
    several: bool,
}

/// How well a class did.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassFigures {
    /// The label; none for none of these.
    pub label: Option<String>,
    /// Rows that are of it, that were given it, and both.
    pub tally: Tally,
}

impl Classes {
    /// Slots of its counts: a [`Tally`] of each class, in their order.
    pub fn slots(&self) -> usize {
        self.names.len() * Tally::SLOTS
    }

    /// Those of a task.
    ///
    /// # Errors
    /// It is no task that classifies.
    pub fn of(task: &Task) -> Result<Classes, MetricError> {
        let Some(classify) = task.settings::<Classify>() else {
            let kind = task.kind();
            return Err(MetricError::Unfit(format!("expected a task of kind `classify`, got one of kind `{kind}`")));
        };
        let labels = classify.labels().iter().map(|label| Some(label.name.clone()));
        let names: Vec<_> = labels.chain(classify.none_of_these.as_ref().map(|_| None)).collect();
        let numbers = (0..).zip(&names).map(|(number, name)| (name.clone(), number)).collect();
        Ok(Classes { names, numbers, several: classify.several })
    }

    /// Their labels, by number; none is none of these.
    pub fn names(&self) -> &[Option<String>] {
        &self.names
    }

    /// Whether a text may have several.
    pub fn several(&self) -> bool {
        self.several
    }

    /// The numbers of those that a row is of: one, or with several labels any number.
    pub fn expected(&self, row: &Judged<'_>) -> Vec<u32> {
        self.numbers_in(Some(row.expected))
    }

    /// The numbers of those that a row was given. A label that the task does not have is none of them.
    pub fn given(&self, row: &Judged<'_>) -> Vec<u32> {
        self.numbers_in(row.outcome.get(if self.several { "labels" } else { "label" }))
    }

    fn numbers_in(&self, value: Option<&Value>) -> Vec<u32> {
        let mut numbers: Vec<u32> = match value {
            Some(Value::Array(values)) if self.several => values.iter().filter_map(|one| self.number(one)).collect(),
            Some(value) if !self.several => self.number(value).into_iter().collect(),
            _ => Vec::new(),
        };
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn number(&self, value: &Value) -> Option<u32> {
        let name = match value {
            Value::Null => None,
            Value::String(name) => Some(name.clone()),
            _ => return None,
        };
        self.numbers.get(&name).copied()
    }

    /// What a row adds to the tallies.
    pub fn count(&self, row: &Judged<'_>) -> Counts {
        let (expected, given) = (self.expected(row), self.given(row));
        let slot = |number: u32, offset: u32| (number * Tally::SLOTS as u32 + offset, 1.0);
        let right = given.iter().filter(|number| expected.contains(number)).map(|&number| slot(number, 0));
        let all_given = given.iter().map(|&number| slot(number, 1));
        Counts(right.chain(all_given).chain(expected.iter().map(|&number| slot(number, 2))).collect())
    }

    /// How well each class did, by sums of counts.
    pub fn figures(&self, sums: &[f64]) -> Vec<ClassFigures> {
        let figures = |(label, tally): (&Option<String>, Tally)| ClassFigures { label: label.clone(), tally };
        self.names.iter().zip(tallies(sums)).map(figures).collect()
    }

    /// A metric of a task's classes, by the figure that their tallies make.
    pub(super) fn metric(task: &Task, figure: FigureOfTallies) -> Result<Box<dyn Metric>, MetricError> {
        Ok(Box::new(ClassMetric { classes: Classes::of(task)?, figure }))
    }
}

/// What the tallies of all classes make; none where they say nothing.
pub(super) type FigureOfTallies = fn(&mut dyn Iterator<Item = Tally>) -> Option<f64>;

fn tallies(sums: &[f64]) -> impl Iterator<Item = Tally> {
    sums.chunks_exact(Tally::SLOTS).map(Tally::of)
}

struct ClassMetric {
    classes: Classes,
    figure: FigureOfTallies,
}

impl Metric for ClassMetric {
    fn slots(&self) -> usize {
        self.classes.slots()
    }

    fn count(&self, row: &Judged<'_>) -> Option<Counts> {
        Some(self.classes.count(row))
    }

    fn figure(&self, sums: &[f64]) -> Option<f64> {
        (self.figure)(&mut tallies(sums))
    }
}

/// The mean of what some classes have; none where none has.
pub(super) fn mean_of(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = figures.fold((0.0, 0.0), |(sum, count), figure| (sum + figure, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tasks::{Input, Label, Summarize};

    fn classes(several: bool) -> Classes {
        let labels = ["bug", "question"].map(|name| Label { name: name.to_owned(), description: None });
        let mut classify = Classify::new(labels.to_vec()).unwrap();
        (classify.several, classify.none_of_these) = (several, (!several).then(|| "neither".to_owned()));
        Classes::of(&Task::new("t", classify)).unwrap()
    }

    fn check(classes: &Classes, expected: Value, outcome: Value, slots: &[u32]) {
        let input = Input::text("");
        let row = Judged { input: &input, expected: &expected, outcome: outcome.as_object().unwrap() };
        let counted: Vec<_> = slots.iter().map(|&slot| (slot, 1.0)).collect();
        assert_eq!(classes.count(&row), Counts(counted), "{expected} {outcome}");
    }

    #[test]
    fn a_row_counts_for_what_it_is_and_what_it_was_given() {
        let one = classes(false);
        check(&one, json!("bug"), json!({"label": "bug"}), &[0, 1, 2]);
        check(&one, json!("bug"), json!({"label": "question"}), &[4, 2]);
        check(&one, json!(null), json!({"label": null}), &[6, 7, 8]);
        check(&one, json!(null), json!({}), &[8]);
        check(&one, json!("bug"), json!({"label": "fault"}), &[2]);
        let several = classes(true);
        check(&several, json!(["bug"]), json!({"labels": ["question", "bug", "bug"]}), &[0, 1, 4, 2]);
        check(&several, json!([]), json!({"labels": []}), &[]);
        check(&several, json!(["question"]), json!({}), &[5]);
    }

    #[test]
    fn figures_name_their_classes() {
        let figures = classes(false).figures(&[1.0, 2.0, 4.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let told: Vec<_> = figures.iter().map(|one| (one.label.as_deref(), one.tally.precision())).collect();
        assert_eq!(told, [(Some("bug"), Some(0.5)), (Some("question"), None), (None, Some(1.0))]);
    }

    #[test]
    fn other_tasks_have_no_classes() {
        let error = Classes::of(&Task::new("t", Summarize::default())).unwrap_err();
        assert_eq!(error.to_string(), "expected a task of kind `classify`, got one of kind `summarize`");
    }
}
