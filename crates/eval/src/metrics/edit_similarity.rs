//! Edit similarity: how little of a text would have to be changed to make it the right one.
//!
//! 1 - Levenshtein distance in characters / length of the longer text; blanks at the ends do not count. Source: Svyatkovskiy
//! et al., IntelliCode Compose, 2020, section 6.

use super::mean::mean;
use super::{Metric, MetricError, MetricRow, texts};
use tasks::{Example, Task};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: "edit_similarity",
    about: "mean share of the characters that need no change (1 - Levenshtein distance / longer text)",
    kinds: &["complete", "generate"],
    main_of: &[],
    make,
};

fn make(task: &Task, examples: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    texts::check(ROW.name, task, examples)?;
    Ok(mean(|row| Some(texts::best(row, similarity))))
}

fn similarity(right: &str, given: &str) -> f64 {
    strsim::normalized_levenshtein(right.trim(), given.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_in_characters() {
        assert_eq!(similarity("return ä", " return b\n"), 1.0 - 1.0 / 8.0);
        assert_eq!((similarity("", " "), similarity("a", "")), (1.0, 0.0));
    }
}
