//! chrF: how far the runs of one to six characters of a text are those of the right one, in any language.
//!
//! Recall weighs twice as much as precision (chrF2). Counts are added up over all rows before precision and recall are
//! taken, so that a long text weighs more than a short one; of several right texts the best for its row counts. Blanks
//! do not count, case does. Source: Popović, chrF: character n-gram F-score for automatic MT evaluation, 2015; lengths
//! of which one side has no run are left out of the means, as sacrebleu 2 does by default, whose figures are 100 times
//! ours.

use super::{Counts, Judged, Metric, MetricError, MetricRow, Tally, texts};
use tasks::{Example, Task};

/// Its line of the table.
pub(super) static ROW: MetricRow = MetricRow {
    name: "chrf",
    about: "F-score of runs of one to six characters, all texts together (chrF2)",
    kinds: &["summarize", "answer", "generate"],
    main_of: &[],
    make,
};

/// The longest run.
const LONGEST: usize = 6;
/// How much more recall weighs than precision, squared.
const BETA_SQUARED: f64 = 4.0;

/// Of each length the runs that are right, given and expected.
type Tallies = [Tally; LONGEST];

fn make(task: &Task, examples: &[Example]) -> Result<Box<dyn Metric>, MetricError> {
    texts::check(ROW.name, task, examples)?;
    texts::check_answered(ROW.name, task, examples)?;
    Ok(Box::new(Chrf))
}

struct Chrf;

impl Metric for Chrf {
    fn slots(&self) -> usize {
        LONGEST * Tally::SLOTS
    }

    fn count(&self, row: &Judged<'_>) -> Option<Counts> {
        let given = texts::given(row).unwrap_or_default();
        let all = texts::right(row.expected).into_iter().map(|right| tallies(&right, &given));
        let best = all.reduce(|best, other| if score(&other) > score(&best) { other } else { best })?;
        Some(Counts((0..).zip(best.into_iter().flat_map(Tally::slots)).collect()))
    }

    fn figure(&self, sums: &[f64]) -> Option<f64> {
        let mut tallies = [Tally::default(); LONGEST];
        for (tally, slots) in tallies.iter_mut().zip(sums.chunks_exact(Tally::SLOTS)) {
            *tally = Tally::of(slots);
        }
        tallies.iter().any(|tally| tally.given + tally.expected > 0.0).then(|| score(&tallies))
    }
}

fn tallies(right: &str, given: &str) -> Tallies {
    let characters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<Vec<_>>();
    let (right, given) = (characters(right), characters(given));
    std::array::from_fn(|index| {
        let length = index + 1;
        let tally = Tally::matched(right.windows(length), given.windows(length));
        // Where the right text has no run of a length, none can be wrong.
        if tally.expected > 0.0 { tally } else { Tally::default() }
    })
}

/// (1 + β²) P R / (β² P + R), of the means over the lengths of which both sides have runs.
fn score(tallies: &Tallies) -> f64 {
    let both = |tally: &Tally| tally.precision().zip(tally.recall());
    let (mut precision, mut recall, mut lengths) = (0.0, 0.0, 0.0);
    for (of_length, other) in tallies.iter().filter_map(both) {
        (precision, recall, lengths) = (precision + of_length, recall + other, lengths + 1.0);
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    (precision, recall) = (precision / lengths, recall / lengths);
    (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_each_length_are_counted() {
        let tallies = tallies("ab ab", "aab");
        let counted = tallies.map(|tally| tally.slots().map(|count| count as u32));
        assert_eq!(counted, [[3, 3, 4], [1, 2, 3], [0, 1, 2], [0, 0, 1], [0, 0, 0], [0, 0, 0]]);
    }

    #[test]
    fn equal_texts_have_one_and_texts_with_nothing_in_common_zero() {
        assert_eq!(score(&tallies("Grüße, 日本", "Grüße,日本")), 1.0);
        assert_eq!(score(&tallies("abc", "xyz")), 0.0);
        assert_eq!(Chrf.figure(&[0.0; 18]), None);
    }
}
