//! Contains: the share of texts that hold what is right anywhere in them, without case and however blanks run.
//!
//! What a model says around an answer does not count, and a text that says everything is right as well.

use super::mean::share;
use super::{Metric, MetricError, MetricRow, texts};
use tasks::{Example, Task};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: "contains",
    about: "share of texts that hold what is right, without case",
    kinds: &["answer", "summarize", "generate"],
    main_of: &[],
    make,
};

fn make(task: &Task, examples: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    texts::check(ROW.name, task, examples)?;
    Ok(share(|row| Some(texts::any(row, holds))))
}

/// An empty text stands in every one; as what is right it says that there is no answer, and then none is right.
fn holds(right: &str, given: &str) -> bool {
    let folded = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let (right, given) = (folded(right), folded(given));
    if right.is_empty() { given.is_empty() } else { given.contains(&right) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_looked_for_without_case() {
        assert!(holds("Café  Nord", "It was at the CAFÉ\nNord, today"));
        assert!(!holds("Nord", "South"));
        assert!(holds(" ", "") && !holds("", "something") && !holds("something", ""));
    }
}
