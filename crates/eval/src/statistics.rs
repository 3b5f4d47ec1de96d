//! How sure a figure is: intervals, comparisons, and when enough is known.
//!
//! Numbers in, numbers out: it knows no task, no model and no text. Which method stands behind which figure:
//!
//! | figure | method | why this one |
//! |---|---|---|
//! | a share of rows: accuracy, exact match, a class's recall, a point of the reliability curve | mid-P interval ([`interval::Proportion::mid_p`]) | covers as often as it says on the average, and neither end is ever wrong more often than the error as a whole; Wilson's upper end is, near 1 |
//! | any other figure between 0 and 1: F1, ROUGE, a rubric's mean, Brier's score; any share where rows share a group | weights drawn at random, with one row that nobody saw ([`bootstrap::Bootstrap::bounded`]) | the mid-P interval of figures that are no share; percentile and BCa shrink to a point where all rows are right |
//! | a figure without bounds: perplexity, mean latency, cost | BCa bootstrap ([`bootstrap::Bootstrap::unbounded`]) | follows skewed rows, and needs no bounds |
//! | p50, p95, p99 | order statistics ([`interval::quantile`]) | assumes no distribution |
//! | two models, rows right or wrong | McNemar's exact test ([`paired::mcnemar`]) | only rows on which they differ tell |
//! | two models, any metric | paired bootstrap and swap test ([`paired::difference`], [`paired::swap_test`]) | the same rows for both |
//! | several models | [`paired::holm`] for tests, [`interval::Level::family`] for intervals | one of many is the best by luck |
//! | stopping early | a confidence sequence by betting ([`sequence::Sequence`]) | may be looked at after every row |
//! | how many rows, how small a difference | [`power`] | what the interval shown would show 4 times of 5 |
//! | confidence | [`calibration`] | |
//! | a judge against people | Cohen's kappa ([`agreement::kappa`]) | agreement by chance is none |
//!
//! Words. A *level* of 0.95 means that of all intervals so made 19 of 20 hold the truth, the figure of all rows that
//! could have been drawn. The *error* is the rest, a *tail* half of it. An interval *covers* the truth or *misses* it.
//! A *false verdict* is an end of an interval that lies beyond a threshold while the truth does not. A *unit* is what is
//! drawn as a whole: a row, or a group of rows. *Power* is how often what is true is shown.
//!
//! None of it helps against test rows that are not like the rows to come. How often intervals cover and verdicts are
//! false is measured in the tests (`coverage.rs`), and figures are compared with those of published packages
//! (`reference.rs`).

pub mod agreement;
mod bisection;
pub mod bootstrap;
pub mod calibration;
pub mod interval;
mod normal;
pub mod paired;
pub mod power;
mod random;
pub mod sample;
pub mod sequence;

#[cfg(test)]
mod coverage;
#[cfg(test)]
mod reference;

/// Numbers that no figure can be had of.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum StatisticsError {
    /// A level that is none.
    #[error("expected a level over 0 and under 1, got {0}\nhint: 0.95 is usual")]
    Level(f64),
    /// More right than there are.
    #[error("expected at most {all} rows right of {all}, got {right}\nhint: count each row once")]
    Right {
        /// How many are right.
        right: u64,
        /// How many there are.
        all: u64,
    },
    /// Something from 0 to 1 that is not.
    #[error("expected {what} from 0 to 1, got {got}\nhint: divide percentages by 100")]
    Share {
        /// What it is.
        what: &'static str,
        /// What was given.
        got: f64,
    },
    /// Two things that are counted by the rows, and are not as many.
    #[error("expected {expected} {of}, got {got}\nhint: there is one for each row of the test set")]
    Rows {
        /// What is counted.
        of: &'static str,
        /// How many there are of the other.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// A slot that the metric does not have.
    #[error(
        "expected a slot under {slots}, got slot {slot}\nhint: a metric counts into as many slots as it says it has"
    )]
    Slot {
        /// The slot.
        slot: u32,
        /// How many there are.
        slots: usize,
    },
    /// A number that is infinite or none.
    #[error("expected a number, got {0}\nhint: leave the row out, or count it as wrong")]
    Number(f64),
    /// A label that there is not.
    #[error("expected labels under {labels}, got label {label}\nhint: count the labels of both judges")]
    Label {
        /// The label.
        label: usize,
        /// How many there are.
        labels: usize,
    },
}
