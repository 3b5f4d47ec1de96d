//! What the rows of a test set add to the slots of a metric, in the units that are drawn: rows, or groups of rows.

use super::StatisticsError;
use crate::metrics::Counts;

/// The units of a test set, each with what it adds to the slots.
///
/// Rows that share a group (questions about one document, turns of one chat) rise and fall together, so a group is
/// drawn as a whole: to draw its rows one by one would make intervals too short (Miller, "Adding error bars to evals",
/// arXiv 2411.00640, section 2.2).
#[derive(Debug, Clone)]
pub struct Sample {
    slots: usize,
    /// Where the entries of each unit begin, and at the end their number.
    starts: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl Sample {
    /// A unit for each row. Rows to which the metric does not apply are left out of `rows`.
    ///
    /// # Errors
    /// A slot that there is not, a number that is none.
    pub fn of_rows(slots: usize, rows: &[Counts]) -> Result<Sample, StatisticsError> {
        let mut sample = Sample { slots, starts: vec![0], entries: Vec::new() };
        for row in rows {
            sample.entries.extend(checked(slots, row)?);
            sample.starts.push(sample.entries.len());
        }
        Ok(sample)
    }

    /// A unit for each group: `groups` has the group of each row, by any number.
    ///
    /// # Errors
    /// As above, and a group too many or too few.
    pub fn of_groups(slots: usize, rows: &[Counts], groups: &[usize]) -> Result<Sample, StatisticsError> {
        if rows.len() != groups.len() {
            return Err(StatisticsError::Rows { of: "groups", expected: rows.len(), got: groups.len() });
        }
        let mut order: Vec<_> = groups.iter().zip(rows).collect();
        order.sort_by_key(|&(group, _)| group);
        let mut sample = Sample { slots, starts: vec![0], entries: Vec::new() };
        for unit in order.chunk_by(|(one, _), (other, _)| one == other) {
            let start = sample.entries.len();
            for (_, row) in unit {
                sample.entries.extend(checked(slots, row)?);
            }
            merge(&mut sample.entries, start);
            sample.starts.push(sample.entries.len());
        }
        Ok(sample)
    }

    /// Two candidates on the same rows: the slots of the first, then those of the second. What of one candidate does not
    /// count is an empty [`Counts`].
    ///
    /// # Errors
    /// As above, and another number of rows.
    pub fn of_pair(
        slots: usize,
        first: &[Counts],
        second: &[Counts],
        groups: Option<&[usize]>,
    ) -> Result<Sample, StatisticsError> {
        if first.len() != second.len() {
            return Err(StatisticsError::Rows { of: "rows", expected: first.len(), got: second.len() });
        }
        let mut both = Vec::with_capacity(first.len());
        for (first, second) in first.iter().zip(second) {
            let second = checked(slots, second)?.map(|(slot, count)| (slot + slots, count));
            let entries = checked(slots, first)?.chain(second);
            both.push(Counts(entries.map(|(slot, count)| (slot as u32, count)).collect()));
        }
        match groups {
            Some(groups) => Sample::of_groups(2 * slots, &both, groups),
            None => Sample::of_rows(2 * slots, &both),
        }
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// How many units there are.
    pub fn units(&self) -> usize {
        self.starts.len() - 1
    }

    /// What a unit adds.
    pub(super) fn unit(&self, index: usize) -> &[(usize, f64)] {
        &self.entries[self.starts[index]..self.starts[index + 1]]
    }

    /// The sums over all units.
    pub fn sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.slots];
        for &(slot, count) in &self.entries {
            sums[slot] += count;
        }
        sums
    }
}

fn checked(slots: usize, row: &Counts) -> Result<impl Iterator<Item = (usize, f64)>, StatisticsError> {
    for &(slot, count) in &row.0 {
        if slot as usize >= slots {
            return Err(StatisticsError::Slot { slot, slots });
        }
        if !count.is_finite() {
            return Err(StatisticsError::Number(count));
        }
    }
    Ok(row.0.iter().map(|&(slot, count)| (slot as usize, count)))
}

/// Adds up what the entries from a place on have for the same slot.
fn merge(entries: &mut Vec<(usize, f64)>, start: usize) {
    entries[start..].sort_by_key(|&(slot, _)| slot);
    let mut end = start;
    for index in start..entries.len() {
        let (slot, count) = entries[index];
        if end > start && entries[end - 1].0 == slot {
            entries[end - 1].1 += count;
        } else {
            entries[end] = (slot, count);
            end += 1;
        }
    }
    entries.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(entries: &[(u32, f64)]) -> Counts {
        Counts(entries.to_vec())
    }

    #[test]
    fn groups_add_up_their_rows() {
        let rows = [row(&[(0, 1.0), (1, 1.0)]), row(&[(1, 1.0)]), row(&[(0, 1.0), (1, 2.0)])];
        let sample = Sample::of_groups(2, &rows, &[7, 3, 7]).unwrap();
        assert_eq!(sample.units(), 2);
        assert_eq!((sample.unit(0), sample.unit(1)), (&[(1, 1.0)][..], &[(0, 2.0), (1, 3.0)][..]));
        assert_eq!(sample.sums(), [2.0, 4.0]);
        assert_eq!(sample.sums(), Sample::of_rows(2, &rows).unwrap().sums());
    }

    #[test]
    fn a_pair_has_the_slots_of_both() {
        let (first, second) = ([row(&[(0, 1.0)]), row(&[])], [row(&[(1, 2.0)]), row(&[(0, 3.0)])]);
        let sample = Sample::of_pair(2, &first, &second, None).unwrap();
        assert_eq!(sample.sums(), [1.0, 0.0, 3.0, 2.0]);
        assert_eq!(Sample::of_pair(2, &first, &second, Some(&[1, 1])).unwrap().units(), 1);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let rows = [row(&[(0, 1.0)]), row(&[(2, f64::NAN)])];
        let told = |result: Result<Sample, StatisticsError>| result.unwrap_err().to_string();
        assert_eq!(
            told(Sample::of_rows(2, &rows)),
            "expected a slot under 2, got slot 2\nhint: a metric counts into as many slots as it says it has"
        );
        assert_eq!(
            told(Sample::of_rows(3, &rows)),
            "expected a number, got NaN\nhint: leave the row out, or count it as wrong"
        );
        assert_eq!(
            told(Sample::of_groups(3, &rows, &[1])),
            "expected 2 groups, got 1\nhint: there is one for each row of the test set"
        );
        assert_eq!(
            told(Sample::of_pair(3, &rows, &rows[..1], None)),
            "expected 2 rows, got 1\nhint: there is one for each row of the test set"
        );
    }
}
