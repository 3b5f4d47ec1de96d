//! Which label was given for which, as a page shows it: a square of all labels where it can be read, else the pairs that
//! were confused most.
//!
//! A report lists the most frequent pairs and no others, so the square has a last column for the mistakes of each label
//! that are in no pair.

use super::numbers::share;
use crate::report::{Candidate, Class, Confused};
use serde::Serialize;

/// A square of more labels is a carpet.
const MOST_LABELS: usize = 30;
/// Pairs of a list that people still read.
const MOST_PAIRS: usize = 20;
/// How many steps of colour there are, nought among them.
const SHADES: f64 = 9.0;

/// What a page shows of mistaken labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Confusion {
    /// A row for each label that is right; empty where there are too many.
    square: Vec<SquareRow>,
    /// The labels of its columns.
    labels: Vec<Option<String>>,
    /// Whether mistakes are in none of its columns but the last.
    has_others: bool,
    /// The pairs that were confused most; only where there is no square.
    pairs: Vec<Pair>,
}

/// What was given where one label was right.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct SquareRow {
    label: Option<String>,
    cells: Vec<Cell>,
    /// Mistakes that are in no pair.
    others: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Cell {
    rows: u64,
    /// Its colour: the share of the label's rows, from 0 to [`SHADES`].
    shade: u32,
    is_right: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Pair {
    expected: Option<String>,
    given: Option<String>,
    rows: u64,
    /// The share of the rows of the label that is right; none where those are not counted.
    share: Option<String>,
}

impl Confusion {
    /// What is shown of a candidate; none where it confused nothing, or nobody counted.
    pub(super) fn of(candidate: &Candidate) -> Option<Confusion> {
        let mistakes: Vec<&Confused> = candidate.confused.iter().filter(|pair| pair.expected != pair.given).collect();
        if mistakes.is_empty() {
            return None;
        }
        let labels = labels(candidate, &mistakes);
        if labels.len() > MOST_LABELS {
            let pairs = mistakes.iter().take(MOST_PAIRS).map(|mistake| pair(mistake, &candidate.classes)).collect();
            return Some(Confusion { square: Vec::new(), labels: Vec::new(), has_others: false, pairs });
        }
        let square: Vec<SquareRow> =
            labels.iter().map(|label| square_row(label, &labels, &mistakes, &candidate.classes)).collect();
        let has_others = square.iter().any(|row| row.others > 0);
        Some(Confusion { square, labels, has_others, pairs: Vec::new() })
    }
}

/// The labels that have figures, and those that only mistakes name.
fn labels(candidate: &Candidate, mistakes: &[&Confused]) -> Vec<Option<String>> {
    let mut labels: Vec<Option<String>> = candidate.classes.iter().map(|class| class.label.clone()).collect();
    for label in mistakes.iter().flat_map(|mistake| [&mistake.expected, &mistake.given]) {
        if !labels.contains(label) {
            labels.push(label.clone());
        }
    }
    labels
}

fn square_row(
    label: &Option<String>,
    labels: &[Option<String>],
    mistakes: &[&Confused],
    classes: &[Class],
) -> SquareRow {
    let class = classes.iter().find(|class| class.label == *label);
    let mistaken = |given: &Option<String>| {
        let same = mistakes.iter().find(|mistake| mistake.expected == *label && mistake.given == *given);
        same.map_or(0, |mistake| mistake.rows)
    };
    let listed: u64 = labels.iter().map(mistaken).sum();
    let rows = class.map_or(listed, |class| class.rows);
    // The report has the share and not the count; a share of rows times rows is whole but for its rounding.
    let recall = class.and_then(|class| class.recall).filter(|recall| recall.is_finite()).unwrap_or(0.0);
    let right = ((recall * rows as f64).round() as u64).min(rows);
    let cells = labels.iter().map(|given| {
        let is_right = given == label;
        let counted = if is_right { right } else { mistaken(given) };
        let part = if rows == 0 { 0.0 } else { (counted as f64 / rows as f64).min(1.0) };
        Cell { rows: counted, shade: (part * SHADES).ceil() as u32, is_right }
    });
    SquareRow { label: label.clone(), cells: cells.collect(), others: rows.saturating_sub(right + listed) }
}

fn pair(mistake: &Confused, classes: &[Class]) -> Pair {
    let class = classes.iter().find(|class| class.label == mistake.expected && class.rows > 0);
    Pair {
        expected: mistake.expected.clone(),
        given: mistake.given.clone(),
        rows: mistake.rows,
        share: class.map(|class| share(mistake.rows as f64 / class.rows as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    fn class(label: &str, rows: u64, recall: f64) -> Class {
        Class { label: Some(label.to_owned()), rows, precision: None, recall: Some(recall), f1: None }
    }

    fn confused(expected: &str, given: &str, rows: u64) -> Confused {
        Confused { expected: Some(expected.to_owned()), given: Some(given.to_owned()), rows }
    }

    #[test]
    fn every_row_of_a_label_is_in_its_line_of_the_square() {
        let candidate = Candidate {
            classes: vec![class("a", 10, 0.7), class("b", 4, 1.0)],
            confused: vec![confused("a", "a", 7), confused("a", "b", 2)],
            ..sample::candidate("c")
        };
        let shown = Confusion::of(&candidate).unwrap();
        let counts: Vec<(Vec<u64>, u64)> =
            shown.square.iter().map(|row| (row.cells.iter().map(|cell| cell.rows).collect(), row.others)).collect();
        assert_eq!(counts, [(vec![7, 2], 1), (vec![0, 4], 0)]);
        let shades: Vec<u32> = shown.square[0].cells.iter().map(|cell| cell.shade).collect();
        assert_eq!(shades, [7, 2]);
        assert!(shown.has_others && shown.pairs.is_empty());
    }

    #[test]
    fn many_labels_are_a_list_of_pairs() {
        let candidate = Candidate {
            classes: (0..31).map(|at| class(&at.to_string(), 8, 0.5)).collect(),
            confused: vec![confused("0", "1", 4)],
            ..sample::candidate("c")
        };
        let shown = Confusion::of(&candidate).unwrap();
        assert!(shown.square.is_empty());
        assert_eq!(shown.pairs[0].share.as_deref(), Some("50.0 %"));
    }

    #[test]
    fn without_a_mistake_nothing_is_shown() {
        let candidate = Candidate { confused: vec![confused("a", "a", 7)], ..sample::candidate("c") };
        assert_eq!(Confusion::of(&candidate), None);
    }
}
