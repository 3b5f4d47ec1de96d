//! The metrics: one file and one line of the table each.
//!
//! A metric is additive: of each row it counts something into numbered slots, and its figure is a function of the sums
//! over the rows. So a figure can be had of any sample of rows with nothing but sums, which is what intervals by
//! bootstrap, comparisons of two candidates and stopping early need. Figures lie between 0 and 1, but for few
//! ([`Metric::is_share`]).
//!
//! What one figure cannot say is told by [`Confusion`], [`ClassFigures`] and [`FieldFigures`], of the same rows. Read
//! next: `mean.rs`, which most metrics are, and `crate::statistics` for how sure a figure is.

pub(crate) mod mean;
mod tally;

mod classes;
mod confusion;

pub(crate) mod accuracy;
mod balanced_accuracy;
mod byte_perplexity;
mod macro_f1;
mod micro_f1;
mod top_k;

mod leaves;
mod values;

mod document_exact;
mod field_f1;
mod schema_valid;

mod squad;
pub(crate) mod texts;

mod chrf;
mod contains;
mod edit_similarity;
pub(crate) mod exact_match;
pub(crate) mod rouge;
pub(crate) mod token_f1;
mod valid_json;

pub(crate) mod graded;
pub(crate) mod pass_at_k;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod reference;

pub use byte_perplexity::BYTE_PERPLEXITY;
pub use classes::{ClassFigures, Classes};
pub use confusion::{Confused, Confusion};
pub use leaves::{FieldFigures, Fields};
pub use tally::Tally;

use serde_json::{Map, Value};
use std::fmt::Debug;
use tasks::{Example, Input, Task};

/// A row with what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'r> {
    /// What was asked.
    pub input: &'r Input,
    /// What is right, as the task's kind reads it (`tasks::Example`).
    pub expected: &'r Value,
    /// The fields of the outcome. Where a model's answer could not be read as one it is empty, and wrong to every
    /// metric; a row whose model did not answer at all is nothing to judge.
    pub outcome: &'r Map<String, Value>,
}

/// What one row adds to the slots of a metric. Slots that are not named get nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts(pub Vec<(u32, f64)>);

/// One metric, made for one task.
pub trait Metric: Send + Sync {
    /// How many slots it counts into.
    fn slots(&self) -> usize;

    /// What a row adds; none where the metric does not apply to it, and it is then left out of the figure.
    fn count(&self, row: &Judged<'_>) -> Option<Counts>;

    /// The figure of these sums; none where they say nothing (no row, a class that never came).
    fn figure(&self, sums: &[f64]) -> Option<f64>;

    /// What a grade from 0 to 1 adds, where it is grades that are counted and not answers; then nothing else is.
    fn count_grade(&self, _score: f64) -> Option<Counts> {
        None
    }

    /// Whether the figure lies between 0 and 1; else it has no bounds.
    fn is_share(&self) -> bool {
        true
    }

    /// Whether each row is either right or wrong, and the figure is the share of those that are right: slot 0 counts
    /// the right ones and slot 1 all. Such a figure has an interval in closed form.
    fn is_proportion(&self) -> bool {
        false
    }

    /// Whether the figure is the mean of what each row has alone, from 0 to 1.
    fn is_mean(&self) -> bool {
        self.is_proportion()
    }

    /// Whether a larger figure is a better one.
    fn is_better_higher(&self) -> bool {
        true
    }
}

/// A metric as task files name it.
#[derive(Debug)]
pub struct MetricRow {
    /// Its name.
    pub name: &'static str,
    /// What its figure is, in one line.
    pub about: &'static str,
    /// The kinds of tasks that it fits; none where it is one of a suite and of nothing else.
    pub kinds: &'static [&'static str],
    /// Those of them that are judged by it where the task file names none.
    pub main_of: &'static [&'static str],
    /// Makes it for a task and the examples that it will be judged by.
    pub make: Make,
}

/// Makes a metric, or says what of the task or of its examples it cannot be had of.
pub type Make = fn(&Task, &[Example]) -> Result<Box<dyn Metric>, MetricError>;

/// Every metric, in the order of reports.
pub static METRICS: [&MetricRow; 24] = [
    &accuracy::ROW,
    &balanced_accuracy::ROW,
    &macro_f1::ROW,
    &micro_f1::ROW,
    &top_k::TOP_3,
    &top_k::TOP_5,
    &field_f1::F1,
    &field_f1::PRECISION,
    &field_f1::RECALL,
    &document_exact::ROW,
    &schema_valid::ROW,
    &exact_match::ROW,
    &token_f1::ROW,
    &rouge::ROUGE_1,
    &rouge::ROUGE_2,
    &rouge::ROUGE_L,
    &chrf::ROW,
    &contains::ROW,
    &edit_similarity::ROW,
    &valid_json::ROW,
    &byte_perplexity::ROW,
    &graded::JUDGE,
    &graded::PASS_AT_1,
    &graded::COMMAND,
];

pub(crate) use texts::has_no_answer;

/// Why a metric cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// There is no metric of this name.
    #[error("{0}")]
    Unknown(String),
    /// The task is not one that it is a metric of.
    #[error("{0}")]
    Unfit(String),
    /// What an example says is right is nothing that it can compare with.
    #[error("{0}")]
    Data(String),
}

/// The metric of a name for a task; the examples are those that it will be judged by.
///
/// # Errors
/// There is none of this name, it does not fit the task, or not what the examples say is right.
pub fn metric(name: &str, task: &Task, examples: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    (row_of(name, task)?.make)(task, examples)
}

/// The line of the table of a metric for a task.
///
/// # Errors
/// There is none of this name, or it does not fit the task's kind.
pub fn row_of(name: &str, task: &Task) -> Result<&'static MetricRow, MetricError> {
    let names: Vec<_> = metrics_of(task.kind()).map(|row| row.name).collect();
    let Some(row) = METRICS.iter().find(|row| row.name == name) else {
        let near = nearest(name).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let hint = format!("hint: {near}the metrics of a task of kind `{}` are {}", task.kind(), names.join(", "));
        return Err(MetricError::Unknown(format!("there is no metric `{name}`\n{hint}")));
    };
    if !row.kinds.contains(&task.kind()) {
        let fits = format!("metric `{name}` does not fit a task of kind `{}`", task.kind());
        return Err(MetricError::Unfit(format!("{fits}\nhint: its metrics are {}", names.join(", "))));
    }
    Ok(row)
}

/// What a task is judged by where it names no metric.
pub fn default_metric(task: &Task) -> &'static MetricRow {
    let is_main = |row: &&&MetricRow| row.main_of.contains(&task.kind());
    METRICS.iter().find(is_main).expect("every kind has a main metric; this is a bug")
}

/// The metrics that fit a kind, the main one among them. Some need more of a task than its kind: making one tells.
pub fn metrics_of(kind: &str) -> impl Iterator<Item = &'static MetricRow> {
    METRICS.iter().copied().filter(move |row| row.kinds.contains(&kind))
}

/// The nearest name, where one is near enough to have been meant.
fn nearest(name: &str) -> Option<&'static str> {
    let distance = |row: &&&MetricRow| strsim::damerau_levenshtein(&name.to_lowercase(), row.name);
    let best = METRICS.iter().min_by_key(distance)?;
    (name.len() < 100 && distance(&best) <= 1 + best.name.len() / 4).then_some(best.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasks::KINDS;
    use tasks::{Classify, Label, Summarize};

    fn classify() -> Task {
        let labels = ["bug", "question"].map(|name| Label { name: name.to_owned(), description: None });
        Task::new("triage", Classify::new(labels.to_vec()).unwrap())
    }

    fn error(name: &str, task: &Task) -> String {
        metric(name, task, &[]).err().expect("an error").to_string()
    }

    #[test]
    fn every_kind_has_one_main_metric_that_fits_it() {
        for kind in KINDS {
            let main: Vec<_> = METRICS.iter().filter(|row| row.main_of.contains(&kind.name)).collect();
            assert_eq!(main.len(), 1, "{}", kind.name);
            assert!(main[0].kinds.contains(&kind.name), "{}", kind.name);
        }
        for row in METRICS {
            let is_kind = |name: &&str| KINDS.iter().any(|kind| kind.name == *name);
            assert!(!row.kinds.is_empty() && row.kinds.iter().chain(row.main_of).all(is_kind), "{}", row.name);
        }
        assert_eq!(default_metric(&classify()).name, "accuracy");
        assert_eq!(default_metric(&Task::new("t", Summarize::default())).name, "rouge_l");
    }

    #[test]
    fn a_name_that_there_is_not_is_answered_with_the_nearest() {
        assert_eq!(
            error("acuracy", &classify()),
            "there is no metric `acuracy`\nhint: did you mean `accuracy`? the metrics of a task of kind `classify` \
             are accuracy, balanced_accuracy, macro_f1, micro_f1, top_3, top_5, judge, command"
        );
        assert_eq!(
            error("bleu", &Task::new("t", Summarize::default())),
            "there is no metric `bleu`\nhint: the metrics of a task of kind `summarize` are rouge_1, rouge_2, \
             rouge_l, chrf, contains, judge, command"
        );
    }

    #[test]
    fn a_metric_of_another_kind_is_refused() {
        assert_eq!(
            error("rouge_l", &classify()),
            "metric `rouge_l` does not fit a task of kind `classify`\nhint: its metrics are accuracy, \
             balanced_accuracy, macro_f1, micro_f1, top_3, top_5, judge, command"
        );
    }
}
