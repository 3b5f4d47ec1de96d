//! What every row of a run added to its metric, so compact that each report has it: whoever has the file can compare another
//! run with it row by row, also on a machine that never saw the ledger.
//!
//! A row is known by the beginning of the digest of what it asks and of what is right, so a row that was corrected is
//! another one. Read next: `gate.rs`, which compares.

use crate::metrics::{Counts, Metric};
use crate::run::Scores;
use crate::{EvalError, TestSet};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tasks::batch::fingerprint;
use tasks::{Classify, Task};

/// Stands for a row that a candidate has no counts of: it has no answer, or the metric does not apply.
const NOTHING: &str = "-";
/// Stands for counts into no slot.
const EMPTY: &str = ".";

/// The rows of a run with what each candidate added to the metric by them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What the slots mean, as a digest: counts can be compared with those of the same meaning alone.
    pub meaning: String,
    /// The rows in the order of the test, each by 16 hexadecimal digits, with blanks between.
    pub rows: String,
    /// Of each candidate by its name, row by row with blanks between: `slot:count,slot:count`, the sum of all tries; `.` for
    /// no slot, `-` for a row that does not count.
    pub counts: BTreeMap<String, String>,
}

impl Evidence {
    /// Writes down what was counted of each candidate.
    pub fn of<'s>(
        task: &Task,
        metric: (&str, &dyn Metric),
        test: &TestSet,
        candidates: impl Iterator<Item = (&'s str, &'s Scores)>,
    ) -> Evidence {
        let rows: Vec<String> = test.rows.iter().map(|row| row.mark()).collect();
        let counts = candidates.map(|(name, scores)| {
            let words: Vec<String> = by_row(scores, test.rows.len()).iter().map(written).collect();
            (name.to_owned(), words.join(" "))
        });
        Evidence { meaning: meaning(task, metric), rows: rows.join(" "), counts: counts.collect() }
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What a candidate added by each row that it counts of.
    ///
    /// # Errors
    /// It is not written as [`Evidence::of`] writes.
    pub fn counts_of(&self, candidate: &str, slots: usize) -> Result<HashMap<&str, Counts>, EvalError> {
        let Some(words) = self.counts.get(candidate) else { return Ok(HashMap::new()) };
        let (rows, words): (Vec<_>, Vec<_>) = (self.rows.split(' ').collect(), words.split(' ').collect());
        if rows.len() != words.len() {
            let (expected, got) = (rows.len(), words.len());
            return Err(EvalError::Earlier(format!(
                "the evidence of {candidate}: expected one word for each of {expected} rows, got {got}\n\
                 hint: the file was changed after it was written"
            )));
        }
        let mut counts = HashMap::new();
        for (row, word) in rows.into_iter().zip(words).filter(|(_, word)| *word != NOTHING) {
            let read = read(word, slots).ok_or_else(|| {
                EvalError::Earlier(format!(
                    "the evidence of {candidate}: expected `slot:count` with slots under {slots}, got {word:?}\n\
                     hint: the file was changed after it was written"
                ))
            })?;
            counts.insert(row, read);
        }
        Ok(counts)
    }
}

/// What the slots of a task's metric mean. A mean has the same two slots whatever the labels are.
pub fn meaning(task: &Task, (name, metric): (&str, &dyn Metric)) -> String {
    let labels = task.settings::<Classify>().filter(|_| !metric.is_mean());
    let labels = labels.into_iter().flat_map(|classify| classify.labels().iter().map(|label| label.name.as_str()));
    let slots = metric.slots().to_string();
    let parts: Vec<&str> = [crate::VERSION, name, &slots].into_iter().chain(labels).collect();
    short(&fingerprint(&parts))
}

/// The beginning of a digest: two of a million rows have the same 64 bits once in 30 million tests.
pub fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

/// The counts of each row, its tries together; none where a try has none.
pub fn by_row(scores: &Scores, rows: usize) -> Vec<Option<Counts>> {
    let mut sums: Vec<Option<Counts>> = vec![None; rows];
    for tries in scores.rows.chunk_by(|one, next| one.index == next.index) {
        let counted: Option<Vec<&Counts>> = tries.iter().map(|one| one.counts.as_ref()).collect();
        let mut sum: BTreeMap<u32, f64> = BTreeMap::new();
        let Some(counted) = counted else { continue };
        for (slot, count) in counted.iter().flat_map(|counts| &counts.0) {
            *sum.entry(*slot).or_default() += count;
        }
        sums[tries[0].index] = Some(Counts(sum.into_iter().collect()));
    }
    sums
}

fn written(counts: &Option<Counts>) -> String {
    match counts {
        None => NOTHING.to_owned(),
        Some(counts) if counts.0.is_empty() => EMPTY.to_owned(),
        Some(counts) => counts.0.iter().map(|(slot, count)| format!("{slot}:{count}")).collect::<Vec<_>>().join(","),
    }
}

fn read(word: &str, slots: usize) -> Option<Counts> {
    if word == EMPTY {
        return Some(Counts::default());
    }
    let one = |part: &str| {
        let (slot, count) = part.split_once(':')?;
        let (slot, count): (u32, f64) = (slot.parse().ok()?, count.parse().ok()?);
        (usize::try_from(slot).is_ok_and(|slot| slot < slots) && count.is_finite()).then_some((slot, count))
    };
    word.split(',').map(one).collect::<Option<Vec<_>>>().map(Counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_the_same_after_they_were_written_and_read() {
        for counts in [vec![], vec![(0, 1.0), (1, 1.0)], vec![(7, 0.1 + 0.2), (9, -3.0)]] {
            let counts = Counts(counts);
            assert_eq!(read(&written(&Some(counts.clone())), 10), Some(counts));
        }
        assert_eq!(written(&None), "-");
    }

    #[test]
    fn what_was_changed_by_hand_is_refused() {
        let evidence = |counts: &str| Evidence {
            rows: "a b".to_owned(),
            counts: [("it".to_owned(), counts.to_owned())].into_iter().collect(),
            ..Evidence::default()
        };
        let read = |counts: &str| evidence(counts).counts_of("it", 2).map(|counts| counts.len());
        assert_eq!(read("0:1,1:1 -").unwrap(), 1);
        assert_eq!(
            read("0:1").unwrap_err().to_string(),
            "the evidence of it: expected one word for each of 2 rows, got 1\nhint: the file was changed after it was \
             written"
        );
        for wrong in ["2:1 -", "0:inf -", "0 -", "0:1, -", "-1:1 -"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.starts_with("the evidence of it: expected `slot:count` with slots under 2, got "), "{error}");
        }
        assert!(evidence("- -").counts_of("other", 2).unwrap().is_empty());
    }
}
