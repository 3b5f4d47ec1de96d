//! What the rows of a test set add to the slots of a metric, in the units that are drawn: rows, or groups of rows.

use super::StatisticsError;
use crate::metrics::Counts;
use std::collections::BTreeMap;

/// Slots with what is added to each.
type Entries = Vec<(usize, f64)>;

/// The units of a test set, each with what it adds to the slots.
///
/// Rows that share a group (questions about one document, turns of one chat) rise and fall together, so a group is
/// drawn as a whole: to draw its rows one by one would make intervals too short (Miller, "Adding error bars to evals",
/// arXiv 2411.00640, section 2.2).
#[derive(Debug, Clone)]
pub struct Sample {
    slots: usize,
    rows: usize,
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
        let rows: Vec<_> = rows.iter().map(|row| checked(slots, row, 0)).collect::<Result<_, _>>()?;
        Ok(Sample::of_units(slots, rows.len(), rows.into_iter()))
    }

    /// A unit for each group: `groups` has the group of each row, by any number.
    ///
    /// # Errors
    /// As above, and a group too many or too few.
    pub fn of_groups(slots: usize, rows: &[Counts], groups: &[usize]) -> Result<Sample, StatisticsError> {
        let rows = rows.iter().map(|row| checked(slots, row, 0)).collect::<Result<_, _>>()?;
        Sample::grouped(slots, rows, groups)
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
        let both = |(first, second)| {
            let mut entries = checked(slots, first, 0)?;
            entries.extend(checked(slots, second, slots)?);
            Ok(entries)
        };
        let rows: Vec<Entries> = first.iter().zip(second).map(both).collect::<Result<_, _>>()?;
        match groups {
            Some(groups) => Sample::grouped(2 * slots, rows, groups),
            None => Ok(Sample::of_units(2 * slots, rows.len(), rows.into_iter())),
        }
    }

    fn grouped(slots: usize, rows: Vec<Entries>, groups: &[usize]) -> Result<Sample, StatisticsError> {
        if rows.len() != groups.len() {
            return Err(StatisticsError::Rows { of: "groups", expected: rows.len(), got: groups.len() });
        }
        let count = rows.len();
        let mut units: BTreeMap<usize, BTreeMap<usize, f64>> = BTreeMap::new();
        for (group, row) in groups.iter().zip(rows) {
            let unit = units.entry(*group).or_default();
            row.into_iter().for_each(|(slot, number)| *unit.entry(slot).or_default() += number);
        }
        Ok(Sample::of_units(slots, count, units.into_values().map(|unit| unit.into_iter().collect())))
    }

    fn of_units(slots: usize, rows: usize, units: impl Iterator<Item = Entries>) -> Sample {
        let mut sample = Sample { slots, rows, starts: vec![0], entries: Vec::new() };
        for unit in units {
            sample.entries.extend(unit);
            sample.starts.push(sample.entries.len());
        }
        sample
    }

    /// Whether some rows are drawn together.
    pub fn is_grouped(&self) -> bool {
        self.units() < self.rows
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

/// What a row adds, in slots that begin at some slot of the sample.
fn checked(slots: usize, row: &Counts, from: usize) -> Result<Entries, StatisticsError> {
    let entry = |&(slot, number): &(u32, f64)| match usize::try_from(slot) {
        Ok(index) if index < slots && number.is_finite() => Ok((from + index, number)),
        Ok(index) if index < slots => Err(StatisticsError::Number(number)),
        _ => Err(StatisticsError::Slot { slot, slots }),
    };
    row.0.iter().map(entry).collect()
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
        assert!(sample.is_grouped() && !Sample::of_rows(2, &rows).unwrap().is_grouped());
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
            told(Sample::of_groups(3, &[rows[0].clone(), rows[0].clone()], &[1])),
            "expected 2 groups, got 1\nhint: there is one for each row of the test set"
        );
        assert_eq!(
            told(Sample::of_pair(3, &rows, &rows[..1], None)),
            "expected 2 rows, got 1\nhint: there is one for each row of the test set"
        );
    }
}
