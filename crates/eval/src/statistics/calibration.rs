//! Whether a model that says it is sure is right as often as it says.
//!
//! Brier's score and the area under the ROC curve need no bins. The expected calibration error does; here bins hold
//! equally many answers, because small models are sure of most of what they say, and bins of equal width would leave
//! most of them empty (Nixon and others, "Measuring calibration in deep learning", arXiv 1904.01685).

use super::StatisticsError;
use super::bisection::first_where;
use super::bootstrap::Bootstrap;
use super::interval::{Estimate, Interval, Level, Proportion};
use super::random::Random;
use super::sample::Sample;
use crate::metrics::Counts;

/// So many bins are usual.
pub const BINS: usize = 10;

/// An answer with how sure the model was of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// From 0 to 1.
    pub confidence: f64,
    /// Whether it was right.
    pub is_right: bool,
}

/// Answers in the order of their confidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers(Vec<Answer>);

/// A point of the reliability curve: answers of nearly one confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// The mean of their confidences.
    pub confidence: f64,
    /// How many there are, and how many are right.
    pub right: Proportion,
    /// Where their true rate is.
    pub interval: Interval,
}

/// The expected calibration error with what it would be by chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationError {
    /// The error and its interval.
    pub error: Estimate,
    /// What a model with these confidences whose every answer is right as often as it says stays under, as often as the
    /// upper end of an interval does: 39 times of 40 at the usual level.
    pub by_chance: f64,
}

impl Answers {
    /// # Errors
    /// A confidence that is not within 0 and 1.
    pub fn new(mut answers: Vec<Answer>) -> Result<Answers, StatisticsError> {
        if let Some(wrong) = answers.iter().find(|answer| !Interval::UNIT.contains(answer.confidence)) {
            return Err(StatisticsError::Share { what: "a confidence", got: wrong.confidence });
        }
        answers.sort_by(|one, other| one.confidence.total_cmp(&other.confidence));
        Ok(Answers(answers))
    }

    /// Brier's score: the mean square of confidence less outcome ("Verification of forecasts expressed in terms of
    /// probability", 1950). 0 is best; 0.25 is had by saying 0.5 to all. None of no answers.
    pub fn brier(&self, bootstrap: &Bootstrap) -> Option<Estimate> {
        let squares = self.0.iter().map(|answer| Counts(vec![(0, miss(answer).powi(2)), (1, 1.0)]));
        let sample = Sample::of_rows(2, &squares.collect::<Vec<_>>()).ok()?;
        let mean = |sums: &[f64]| (sums[1] > 0.0).then(|| sums[0] / sums[1]);
        let value = mean(&sample.sums())?;
        Some(Estimate { value, interval: bootstrap.bounded(&sample, &mean, Interval::UNIT)? })
    }

    /// The reliability curve: at most so many bins of equally many answers, as nearly as equal confidences, which stay
    /// together, allow.
    pub fn reliability(&self, bins: usize, level: Level) -> Vec<Bin> {
        let bin = |answers: &[Answer]| {
            let right = answers.iter().filter(|answer| answer.is_right).count() as u64;
            let right = Proportion::new(right, answers.len() as u64).ok()?;
            let confidence = answers.iter().map(|answer| answer.confidence).sum::<f64>() / answers.len() as f64;
            Some(Bin { confidence, right, interval: right.mid_p(level) })
        };
        self.bins(bins).filter_map(bin).collect()
    }

    /// The expected calibration error over such bins: how far confidence and rate are apart, on the average over the
    /// answers. None of no answers.
    ///
    /// Few answers make it too large: every bin strays from its rate to some side. So its interval is the bootstrap's
    /// reflected at the figure (Davison and Hinkley, "Bootstrap methods and their application", 1997, section 5.2), and
    /// begins at 0 where a calibrated model would show as much. It covers about 9 times of 10 at a level of 0.95: a bin's
    /// distance from its rate is a figure with a kink.
    pub fn calibration_error(&self, bins: usize, bootstrap: &Bootstrap) -> Option<CalibrationError> {
        let mut rows = Vec::with_capacity(self.0.len());
        let mut slots = 1;
        for answers in self.bins(bins) {
            rows.extend(answers.iter().map(|answer| Counts(vec![(0, 1.0), (slots, miss(answer))])));
            slots += 1;
        }
        let sample = Sample::of_rows(slots as usize, &rows).ok()?;
        let error =
            |sums: &[f64]| (sums[0] > 0.0).then(|| sums[1..].iter().map(|sum| sum.abs()).sum::<f64>() / sums[0]);
        let value = error(&sample.sums())?;
        let drawn = bootstrap.bounded(&sample, &error, Interval::UNIT)?;
        let by_chance = self.error_by_chance(bins, bootstrap);
        let low = if value <= by_chance { 0.0 } else { (2.0 * value - drawn.high).max(0.0) };
        let high = (2.0 * value - drawn.low).clamp(value, 1.0);
        Some(CalibrationError { error: Estimate { value, interval: Interval { low, high } }, by_chance })
    }

    /// What chance alone makes of the error, of answers that are right as often as they say.
    fn error_by_chance(&self, bins: usize, bootstrap: &Bootstrap) -> f64 {
        let mut random = Random::new(bootstrap.seed);
        let bins: Vec<_> = self.bins(bins).collect();
        let mut drawn: Vec<f64> = Vec::with_capacity(bootstrap.replicates);
        for _ in 0..bootstrap.replicates {
            let mut error = 0.0;
            for answers in &bins {
                let misses = answers.iter().map(|&Answer { confidence, .. }| {
                    miss(&Answer { confidence, is_right: random.unit() < confidence })
                });
                error += misses.sum::<f64>().abs();
            }
            drawn.push(error / self.0.len().max(1) as f64);
        }
        drawn.sort_by(f64::total_cmp);
        let rank = ((1.0 - bootstrap.level.tail()) * drawn.len() as f64).ceil() as usize;
        drawn.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    /// The area under the ROC curve of the confidence: how often an answer that is right has more of it than one that is
    /// wrong, equal ones counted half (Mann and Whitney). None where all are right or none is.
    ///
    /// The interval is Newcombe's fifth method ("Confidence intervals for an effect size measure based on the
    /// Mann-Whitney statistic, part 2", 2006): Hanley and McNeil's variance at each area that could be true, so that it
    /// stays within 0 and 1 and has a width even where confidence tells all.
    pub fn area_under_curve(&self, level: Level) -> Option<Estimate> {
        let right = self.0.iter().filter(|answer| answer.is_right).count() as f64;
        let wrong = self.0.len() as f64 - right;
        if right == 0.0 || wrong == 0.0 {
            return None;
        }
        let (mut wins, mut wrong_below) = (0.0, 0.0);
        for tied in self.0.chunk_by(|one, other| one.confidence == other.confidence) {
            let right_here = tied.iter().filter(|answer| answer.is_right).count() as f64;
            let wrong_here = tied.len() as f64 - right_here;
            wins += right_here * (wrong_below + 0.5 * wrong_here);
            wrong_below += wrong_here;
        }
        let value = wins / (right * wrong);
        let spread = |area: f64| {
            let others = f64::midpoint(right, wrong) - 1.0;
            let shared = others * ((1.0 - area) / (2.0 - area) + area / (1.0 + area));
            level.deviations() * (area * (1.0 - area) * (1.0 + shared) / (right * wrong)).sqrt()
        };
        let low = first_where(0.0, value, |area| area + spread(area) >= value);
        let high = 1.0 - first_where(0.0, 1.0 - value, |lack| (1.0 - lack) - spread(1.0 - lack) <= value);
        Some(Estimate { value, interval: Interval { low, high } })
    }

    /// Answers in bins of equally many; those of one confidence stay together, so there may be fewer.
    fn bins(&self, bins: usize) -> impl Iterator<Item = &[Answer]> {
        let all = self.0.len();
        let mut start = 0;
        (1..=bins.max(1)).filter_map(move |bin| {
            let mut end = (bin * all / bins.max(1)).max(start);
            while end > start && end < all && self.0[end].confidence == self.0[end - 1].confidence {
                end += 1;
            }
            let answers = &self.0[start..end];
            start = end;
            (!answers.is_empty()).then_some(answers)
        })
    }
}

/// Confidence less outcome.
fn miss(answer: &Answer) -> f64 {
    answer.confidence - f64::from(u8::from(answer.is_right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(of: impl IntoIterator<Item = (f64, bool)>) -> Answers {
        Answers::new(of.into_iter().map(|(confidence, is_right)| Answer { confidence, is_right }).collect()).unwrap()
    }

    fn bootstrap() -> Bootstrap {
        Bootstrap::new(Level::USUAL, 1)
    }

    #[test]
    fn bins_hold_equally_many_and_keep_equal_confidences_together() {
        let spread = answers((0..95).map(|row| (f64::from(row) / 100.0, row % 2 == 0)));
        let counts: Vec<_> = spread.reliability(BINS, Level::USUAL).iter().map(|bin| bin.right.all()).collect();
        assert_eq!(counts, [9, 10, 9, 10, 9, 10, 9, 10, 9, 10]);
        let tied = answers((0..100).map(|row| (if row < 85 { 1.0 } else { 0.25 }, row < 80)));
        let curve = tied.reliability(BINS, Level::USUAL);
        let points: Vec<_> = curve.iter().map(|bin| (bin.confidence, bin.right.right(), bin.right.all())).collect();
        assert_eq!(points, [(0.25, 0, 15), (1.0, 80, 85)]);
        assert!(curve.iter().all(|bin| bin.interval.contains(bin.right.rate().unwrap())));
    }

    #[test]
    fn the_error_is_how_far_confidence_and_rate_are_apart() {
        let sure = answers((0..200).map(|row| (if row < 100 { 0.9 } else { 0.6 }, row % 10 < 6)));
        let found = sure.calibration_error(2, &bootstrap()).unwrap();
        assert!((found.error.value - 0.15).abs() < 1e-12);
        assert!(found.error.interval.low > 0.03 && found.error.interval.high > 0.18, "{found:?}");
        assert!(found.by_chance < 0.1, "{found:?}");
    }

    #[test]
    fn confidence_that_tells_all_still_has_a_width() {
        let known = answers((0..40).map(|row| (f64::from(row) / 40.0, row >= 20)));
        let area = known.area_under_curve(Level::USUAL).unwrap();
        assert_eq!((area.value, area.interval.high), (1.0, 1.0));
        assert!(area.interval.low > 0.75 && area.interval.low < 0.95, "{area:?}");
        let flat = answers((0..40).map(|row| (0.5, row >= 20)));
        assert_eq!(flat.area_under_curve(Level::USUAL).unwrap().value, 0.5);
    }

    #[test]
    fn figures_that_say_nothing_are_none() {
        let none = answers([]);
        assert_eq!((none.brier(&bootstrap()), none.calibration_error(BINS, &bootstrap())), (None, None));
        assert!(none.reliability(BINS, Level::USUAL).is_empty());
        assert_eq!(answers([(0.5, true), (0.7, true)]).area_under_curve(Level::USUAL), None);
    }

    #[test]
    fn a_confidence_that_is_none_is_told() {
        let wrong = Answers::new(vec![Answer { confidence: 93.0, is_right: true }]).unwrap_err().to_string();
        assert_eq!(wrong, "expected a confidence from 0 to 1, got 93\nhint: divide percentages by 100");
    }
}
