//! Which class was given where which was right: the confusion matrix of a task with one label a text.
//!
//! It holds the pairs that came and no others: of a task with ten thousand labels a full matrix would not fit.

use super::classes::Classes;
use super::{Judged, MetricError};
use std::collections::BTreeMap;
use tasks::Task;

/// How often which class was given for which.
#[derive(Debug, Clone)]
pub struct Confusion {
    classes: Classes,
    /// Rows by the number of the class that is right and that of the one that was given, none where that is no class.
    rows: BTreeMap<(u32, Option<u32>), u64>,
}

/// A class that was given for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confused {
    /// The label that is right; none for none of these.
    pub expected: Option<String>,
    /// The label that was given.
    pub given: Option<String>,
    /// So many rows.
    pub rows: u64,
}

impl Confusion {
    /// The empty one of a task.
    ///
    /// # Errors
    /// It is no task that classifies, or one with several labels a text, where nothing is given *for* another thing.
    pub fn new(task: &Task) -> Result<Confusion, MetricError> {
        let classes = Classes::of(task)?;
        if classes.several() {
            let text = "a task with several labels a text has no confusion matrix\nhint: see the figures of each label";
            return Err(MetricError::Unfit(text.to_owned()));
        }
        Ok(Confusion { classes, rows: BTreeMap::new() })
    }

    /// Takes a row in. One that is of no class of the task is left out.
    pub fn add(&mut self, row: &Judged<'_>) {
        if let Some(&expected) = self.classes.expected(row).first() {
            *self.rows.entry((expected, self.classes.given(row).first().copied())).or_default() += 1;
        }
    }

    /// The labels in the order of rows and columns; none is none of these.
    pub fn names(&self) -> &[Option<String>] {
        self.classes.names()
    }

    /// Rows of one class that were given another one, or that were given none that the task has.
    pub fn rows(&self, expected: u32, given: Option<u32>) -> u64 {
        self.rows.get(&(expected, given)).copied().unwrap_or_default()
    }

    /// The pairs of different classes that came most often, most frequent first, at most so many; in the order of the
    /// labels where they came as often.
    pub fn most_confused(&self, most: usize) -> Vec<Confused> {
        let pair = |(&(expected, given), &rows): (&(u32, Option<u32>), &u64)| {
            given.filter(|&given| given != expected).map(|given| (expected, given, rows))
        };
        let mut pairs: Vec<_> = self.rows.iter().filter_map(pair).collect();
        pairs.sort_by_key(|&(_, _, rows)| std::cmp::Reverse(rows));
        let name = |number: u32| self.names().get(number as usize).cloned().flatten();
        let named = |(expected, given, rows)| Confused { expected: name(expected), given: name(given), rows };
        pairs.into_iter().take(most).map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tasks::{Classify, Input, Label};

    fn task(several: bool) -> Task {
        let labels = ["a", "b"].map(|name| Label { name: name.to_owned(), description: None });
        let mut classify = Classify::new(labels.to_vec()).unwrap();
        (classify.several, classify.none_of_these) = (several, (!several).then(|| "neither".to_owned()));
        Task::new("t", classify)
    }

    #[test]
    fn pairs_are_counted_and_the_most_frequent_ones_told() {
        let mut confusion = Confusion::new(&task(false)).unwrap();
        let rows: [(Value, Value); 8] = [
            (json!("a"), json!({"label": "a"})),
            (json!("b"), json!({"label": null})),
            (json!("a"), json!({"label": "b"})),
            (json!("b"), json!({"label": null})),
            (json!(null), json!({"label": "a"})),
            (json!("a"), json!({"label": "c"})),
            (json!("a"), json!({})),
            (json!("c"), json!({"label": "a"})),
        ];
        let input = Input::text("");
        for (expected, outcome) in &rows {
            confusion.add(&Judged { input: &input, expected, outcome: outcome.as_object().unwrap() });
        }
        assert_eq!((confusion.rows(0, Some(0)), confusion.rows(0, None), confusion.rows(1, Some(2))), (1, 2, 2));
        let named = |expected: Option<&str>, given: Option<&str>, rows| Confused {
            expected: expected.map(str::to_owned),
            given: given.map(str::to_owned),
            rows,
        };
        let pairs = [named(Some("b"), None, 2), named(Some("a"), Some("b"), 1), named(None, Some("a"), 1)];
        assert_eq!(confusion.most_confused(9), pairs);
        assert_eq!(confusion.most_confused(1), pairs[..1]);
    }

    #[test]
    fn several_labels_are_not_confused() {
        assert_eq!(
            Confusion::new(&task(true)).unwrap_err().to_string(),
            "a task with several labels a text has no confusion matrix\nhint: see the figures of each label"
        );
    }
}
