//! How often the intervals cover and the verdicts are false, over a grid of test set sizes and true rates.
//!
//! Shares of rows are reckoned exactly, the others drawn with fixed seeds. `cargo test -p eval coverage -- --nocapture`
//! prints the table of each.

use super::agreement::{Weights, kappa};
use super::bootstrap::Bootstrap;
use super::calibration::{Answer, Answers};
use super::interval::{Interval, Level, Proportion, at_least};
use super::normal;
use super::paired::difference;
use super::random::Random;
use super::sample::Sample;
use super::sequence::Sequence;
use crate::metrics::Counts;

const SIZES: [u64; 5] = [20, 50, 100, 200, 500];
const RATES: [f64; 6] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.99];
/// How far from 0.95 the mean coverage over the grid may be.
const MEAN_COVERAGE: std::ops::RangeInclusive<f64> = 0.94..=0.965;
/// How often a verdict may be false.
const FALSE_VERDICTS: f64 = 0.05;
/// Draws of each bootstrap here; a report has more, and ends that are less rough.
const REPLICATES: usize = 300;

/// How often an interval covers, and lies over and under the truth, at one size and rate.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    size: u64,
    rate: f64,
    covered: f64,
    over: f64,
    under: f64,
}

/// What a grid comes to.
struct Grid {
    mean: f64,
    least: Cell,
    most_over: Cell,
    most_under: Cell,
}

impl Grid {
    fn of(name: &str, cells: &[Cell]) -> Grid {
        let mean = cells.iter().map(|cell| cell.covered).sum::<f64>() / cells.len() as f64;
        let most = |of: fn(&Cell) -> f64| *cells.iter().max_by(|one, other| of(one).total_cmp(&of(other))).unwrap();
        let grid = Grid {
            mean,
            least: most(|cell| -cell.covered),
            most_over: most(|cell| cell.over),
            most_under: most(|cell| cell.under),
        };
        println!(
            "{name}: mean coverage {mean:.4}, least {:.4} ({} rows, {}), over the truth at most {:.4} ({} rows, {}), \
             under it {:.4} ({} rows, {})",
            grid.least.covered,
            grid.least.size,
            grid.least.rate,
            grid.most_over.over,
            grid.most_over.size,
            grid.most_over.rate,
            grid.most_under.under,
            grid.most_under.size,
            grid.most_under.rate,
        );
        grid
    }
}

/// Whether verdicts are false at most as often as they may in every cell: so many runs tell that to two deviations.
fn verdicts_hold(grid: &Grid, runs: u64) -> bool {
    grid.most_over.over <= FALSE_VERDICTS + 2.0 * (FALSE_VERDICTS * (1.0 - FALSE_VERDICTS) / runs as f64).sqrt()
}

/// The cells of the grid, each measured by so many runs.
fn simulated(runs: u64, interval: impl FnMut(&mut Random, u64, f64) -> (Interval, f64)) -> Vec<Cell> {
    simulated_at(&SIZES, runs, interval)
}

/// The cells of sizes and the rates of the grid.
fn simulated_at(
    sizes: &[u64],
    runs: u64,
    mut interval: impl FnMut(&mut Random, u64, f64) -> (Interval, f64),
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &size in sizes {
        for rate in RATES {
            let mut cell = Cell { size, rate, ..Cell::default() };
            let mut random = Random::new(size * 1000 + (rate * 100.0) as u64);
            for _ in 0..runs {
                let (interval, truth) = interval(&mut random, size, rate);
                cell.over += f64::from(u8::from(interval.low > truth)) / runs as f64;
                cell.under += f64::from(u8::from(interval.high < truth)) / runs as f64;
            }
            cell.covered = 1.0 - cell.over - cell.under;
            cells.push(cell);
        }
    }
    cells
}

/// The interval of every count of so many rows.
fn of_counts(size: u64, interval: impl Fn(Proportion) -> Interval) -> Vec<Interval> {
    (0..=size).map(|right| interval(Proportion::new(right, size).unwrap())).collect()
}

/// Exactly how often the intervals of a share cover, by the probability of each count.
fn exact(rate: f64, of_counts: &[Interval]) -> Cell {
    let size = of_counts.len() as u64 - 1;
    let mut cell = Cell { size, rate, ..Cell::default() };
    for (right, interval) in (0..).zip(of_counts) {
        let probability = at_least(right, size, rate) - at_least(right + 1, size, rate);
        // An end at the threshold clears it, so at the truth it counts as beyond.
        cell.over += if interval.low >= rate { probability } else { 0.0 };
        cell.under += if interval.high <= rate { probability } else { 0.0 };
    }
    cell.covered = 1.0 - cell.over - cell.under;
    cell
}

fn exact_grid(name: &str, sizes: &[u64], rates: &[f64], interval: impl Fn(Proportion) -> Interval) -> Grid {
    let mut cells = Vec::new();
    for &size in sizes {
        let of_counts = of_counts(size, &interval);
        cells.extend(rates.iter().map(|&rate| exact(rate, &of_counts)));
    }
    Grid::of(name, &cells)
}

#[test]
fn intervals_of_shares_cover_as_often_as_they_say() {
    let level = Level::USUAL;
    let mid_p = exact_grid("mid-P", &SIZES, &RATES, |seen| seen.mid_p(level));
    assert!(MEAN_COVERAGE.contains(&mid_p.mean) && mid_p.least.covered > 0.92);
    let wilson = exact_grid("Wilson", &SIZES, &RATES, |seen| seen.wilson(level));
    assert!(MEAN_COVERAGE.contains(&wilson.mean) && wilson.least.covered > 0.91);
    let clopper_pearson = exact_grid("Clopper-Pearson", &SIZES, &RATES, |seen| seen.clopper_pearson(level));
    assert!(clopper_pearson.least.covered >= 0.95);
}

/// At many more sizes and rates than those of the grid, and for families of candidates.
#[test]
fn verdicts_by_shares_are_false_at_most_as_often_as_they_may() {
    let sizes: Vec<_> = (5..=120).step_by(5).chain([200, 300, 500]).collect();
    let rates: Vec<_> = (1..=19).map(|step| 0.5 + 0.025 * f64::from(step)).chain([0.99]).collect();
    for count in [1, 3, 10] {
        let level = Level::family(0.95, count).unwrap();
        let grid = exact_grid(&format!("mid-P of {count} candidates"), &sizes, &rates, |seen| seen.mid_p(level));
        assert!(grid.most_over.over <= level.error() && grid.most_under.under <= level.error());
        // So what is claimed of all of them together is false at most 5 times of 100.
        assert!(level.error() * count as f64 <= FALSE_VERDICTS + 1e-12);
    }
    // Why Wilson's interval is not the one that is shown.
    let wilson = exact(0.99, &of_counts(17, |seen| seen.wilson(Level::USUAL)));
    assert!(wilson.under > 0.15, "{wilson:?}");
}

fn mean(sums: &[f64]) -> Option<f64> {
    (sums[1] > 0.0).then(|| sums[0] / sums[1])
}

fn bootstrap(random: &mut Random) -> Bootstrap {
    Bootstrap { replicates: REPLICATES, ..Bootstrap::new(Level::USUAL, random.bits()) }
}

/// A score of which a share is 1 and the rest is spread evenly: much like the token F1 of answers. Its mean is the rate.
fn score(random: &mut Random, rate: f64) -> f64 {
    if random.unit() < 2.0 * rate - 1.0 { 1.0 } else { random.unit() }
}

/// Right or wrong, with a mean of the rate.
fn outcome(random: &mut Random, rate: f64) -> f64 {
    f64::from(u8::from(random.unit() < rate))
}

/// A value by rungs: a rubric from 1 to 5 as 0 to 1, four throws of a coin with this rate.
fn rubric(random: &mut Random, rate: f64) -> f64 {
    (0..4).map(|_| outcome(random, rate)).sum::<f64>() / 4.0
}

#[test]
fn intervals_of_means_cover_as_often_as_they_say() {
    for (name, value) in [
        ("means of scores", score as fn(&mut Random, f64) -> f64),
        ("means of right and wrong", outcome),
        ("means of rubrics", rubric),
    ] {
        let cells = simulated(250, |random, size, rate| {
            let rows: Vec<_> = (0..size).map(|_| Counts(vec![(0, value(random, rate)), (1, 1.0)])).collect();
            let sample = Sample::of_rows(2, &rows).unwrap();
            (bootstrap(random).bounded(&sample, &mean, Interval::UNIT).unwrap(), rate)
        });
        let grid = Grid::of(name, &cells);
        assert!(MEAN_COVERAGE.contains(&grid.mean), "{}", grid.mean);
        assert!(verdicts_hold(&grid, 250));
    }
}

/// Groups of four rows that are mostly right or wrong together.
#[test]
fn intervals_of_groups_cover_where_those_of_rows_do_not() {
    let mut of_rows = Vec::new();
    let cells = simulated(200, |random, size, rate| {
        let (mut rows, mut groups) = (Vec::new(), Vec::new());
        for group in 0..size as usize {
            let shared = outcome(random, rate);
            for _ in 0..4 {
                let value = if random.unit() < 0.7 { shared } else { outcome(random, rate) };
                rows.push(Counts(vec![(0, value), (1, 1.0)]));
                groups.push(group);
            }
        }
        let sample = Sample::of_groups(2, &rows, &groups).unwrap();
        let right = sample.sums()[0] as u64;
        of_rows.push(Proportion::new(right, 4 * size).unwrap().mid_p(Level::USUAL).contains(rate));
        (bootstrap(random).bounded(&sample, &mean, Interval::UNIT).unwrap(), rate)
    });
    let grid = Grid::of("groups", &cells);
    assert!(MEAN_COVERAGE.contains(&grid.mean), "{}", grid.mean);
    assert!(verdicts_hold(&grid, 200));
    let covered = of_rows.iter().filter(|&&covered| covered).count() as f64 / of_rows.len() as f64;
    println!("the same rows taken one by one: mean coverage {covered:.4}");
    assert!(covered < 0.85);
}

/// Two candidates that are alike on a share of the rows. On the others the second is right three times as often.
fn paired(random: &mut Random, size: u64, rate: f64, unlike: f64) -> (Interval, f64) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..size {
        let (a, b) = if random.unit() < unlike {
            (outcome(random, 0.25), outcome(random, 0.75))
        } else {
            let alike = outcome(random, rate);
            (alike, alike)
        };
        first.push(Counts(vec![(0, a), (1, 1.0)]));
        second.push(Counts(vec![(0, b), (1, 1.0)]));
    }
    let pair = Sample::of_pair(2, &first, &second, None).unwrap();
    (difference(&bootstrap(random), &pair, &mean).unwrap().interval, unlike / 2.0)
}

#[test]
fn paired_differences_cover_as_often_as_they_say() {
    let mut means = Vec::new();
    for unlike in [0.1, 0.2, 0.4, 0.8] {
        let cells = simulated(200, |random, size, rate| paired(random, size, rate, unlike));
        let grid = Grid::of(&format!("paired differences, {unlike} unlike"), &cells);
        assert!(verdicts_hold(&grid, 200));
        means.push(grid.mean);
    }
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    assert!(MEAN_COVERAGE.contains(&mean), "{means:?}");
}

/// F1 of one class that a share of rows has: no mean of rows.
#[test]
fn intervals_of_f1_cover_as_often_as_they_say() {
    let f1 =
        |sums: &[f64]| (sums.iter().sum::<f64>() > 0.0).then(|| 2.0 * sums[0] / (2.0 * sums[0] + sums[1] + sums[2]));
    let cells = simulated(200, |random, size, rate| {
        let mut rows = Vec::new();
        for _ in 0..size {
            let (is_class, is_right) = (random.unit() < 0.5, random.unit() < rate);
            let slot = match (is_class, is_right) {
                (true, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (false, true) => continue,
            };
            rows.push(Counts(vec![(slot, 1.0)]));
        }
        let sample = Sample::of_rows(3, &rows).unwrap();
        // Each class is half of the rows: precision and recall are both the rate.
        (bootstrap(random).bounded(&sample, &f1, Interval::UNIT).unwrap_or(Interval::UNIT), rate)
    });
    let grid = Grid::of("F1", &cells);
    assert!((0.94..=0.975).contains(&grid.mean), "{}", grid.mean);
    assert!(verdicts_hold(&grid, 200));
}

/// Latencies: the mean of exponential times, in seconds. Few and skewed rows are hard without bounds: just 0.94.
#[test]
fn intervals_without_bounds_cover_as_often_as_they_say() {
    let cells = simulated(150, |random, size, rate| {
        let rows: Vec<_> = (0..size).map(|_| Counts(vec![(0, rate * random.exponential()), (1, 1.0)])).collect();
        let sample = Sample::of_rows(2, &rows).unwrap();
        let bootstrap = Bootstrap { replicates: 1000, ..bootstrap(random) };
        (bootstrap.unbounded(&sample, &mean).unwrap(), rate)
    });
    let grid = Grid::of("means without bounds", &cells);
    assert!((0.935..=0.965).contains(&grid.mean), "{}", grid.mean);
}

/// How often bets that the mean is over a rate, against which it is that rate, are ever won within so many rows: exact,
/// by the probability of every count that has not won yet.
fn ever_won(rate: f64, rows: usize) -> f64 {
    let stakes = super::sequence::stakes(rate);
    let needed = super::sequence::needed(Level::USUAL);
    let capital = |ones: usize, zeros: usize| {
        let (ones, zeros) = (ones as f64, zeros as f64);
        let of = |stake: f64| (ones * (stake * (1.0 - rate)).ln_1p() + zeros * (-stake * rate).ln_1p()).exp();
        stakes.iter().map(|&stake| of(stake)).sum::<f64>()
    };
    let (mut not_yet, mut won) = (vec![1.0], 0.0);
    for row in 1..=rows {
        let mut next = vec![0.0; row + 1];
        for (ones, probability) in not_yet.iter().enumerate() {
            next[ones] += probability * (1.0 - rate);
            next[ones + 1] += probability * rate;
        }
        // Hardly ever are so many or so few right that it matters, and then it is counted as won.
        for (ones, probability) in next.iter_mut().enumerate().filter(|(_, probability)| **probability > 0.0) {
            if *probability < 1e-12 || capital(ones, row - ones) >= needed {
                won += std::mem::take(probability);
            }
        }
        not_yet = next;
    }
    won
}

/// Looked at after every row for a thousand rows, of right and wrong: exact.
#[test]
fn sequences_of_right_and_wrong_hold_the_truth_at_all_times() {
    for rate in RATES {
        let (over, under) = (ever_won(rate, 1000), ever_won(1.0 - rate, 1000));
        println!("sequence of right and wrong at {rate}: over the truth {over:.4}, under it {under:.4}");
        assert!(over <= FALSE_VERDICTS / 2.0 && under <= FALSE_VERDICTS / 2.0);
        assert!(over + under > 0.005, "it could stop sooner");
    }
}

/// The same of scores, drawn.
#[test]
fn sequences_of_scores_hold_the_truth_at_all_times() {
    let fresh = Sequence::new(Level::USUAL);
    for rate in RATES {
        let (mut missed, runs) = (0, 200);
        let mut random = Random::new((rate * 1000.0) as u64);
        for _ in 0..runs {
            let mut sequence = fresh.clone();
            (0..500).for_each(|_| sequence.push(score(&mut random, rate)).unwrap());
            // The ends never go back, so the last interval has missed if any did.
            let interval = sequence.interval();
            missed += u32::from(interval.low >= rate || interval.high <= rate);
        }
        println!("sequence of scores at {rate}: {missed} of {runs} runs missed the truth at some time");
        assert!(f64::from(missed) <= FALSE_VERDICTS * f64::from(runs));
    }
}

/// How soon a run stops against a threshold of 0.9, in the middle of 101 runs.
#[test]
fn clear_cases_stop_after_tens_of_rows() {
    let fresh = Sequence::new(Level::USUAL);
    for (rate, most) in [(0.5, 12), (0.8, 140), (0.97, 130), (0.99, 60)] {
        let mut random = Random::new((rate * 1000.0) as u64);
        let mut stops: Vec<_> = (0..101)
            .map(|_| {
                let mut sequence = fresh.clone();
                while sequence.rows() < 1000 && sequence.interval().low < 0.9 && sequence.interval().high > 0.9 {
                    sequence.push(outcome(&mut random, rate)).unwrap();
                }
                sequence.rows()
            })
            .collect();
        stops.sort_unstable();
        println!("a truth of {rate} against 0.9: stopped after {} rows, {} in nine of ten runs", stops[50], stops[90]);
        assert!(stops[50] <= most);
    }
}

/// Confidences of answers that are right and wrong, normal and a distance apart.
#[test]
fn intervals_of_the_area_under_the_curve_cover_as_often_as_they_say() {
    let cells = simulated(300, |random, size, area| {
        let distance = std::f64::consts::SQRT_2 * normal::quantile(area);
        let mut answers = Vec::new();
        for row in 0..size {
            let is_right = row % 4 != 0;
            let noise = normal::quantile(random.unit().max(1e-12));
            let confidence = normal::below(noise + if is_right { distance } else { 0.0 });
            answers.push(Answer { confidence, is_right });
        }
        (Answers::new(answers).unwrap().area_under_curve(Level::USUAL).unwrap().interval, area)
    });
    let grid = Grid::of("areas under the curve", &cells);
    assert!(MEAN_COVERAGE.contains(&grid.mean), "{}", grid.mean);
}

/// Answers with confidences from 0.5 to 1 that are right as often as they say, or less often by a tenth or more.
#[test]
fn intervals_of_the_calibration_error_cover_nearly_as_often_as_they_say() {
    let mut means = Vec::new();
    for less in [0.0, 0.1, 0.25] {
        let cells = simulated_at(&SIZES[1..], 40, |random, size, _| {
            let answers = (0..size).map(|_| {
                let confidence = 0.5 + 0.5 * random.unit();
                Answer { confidence, is_right: random.unit() < confidence - less }
            });
            let answers = Answers::new(answers.collect()).unwrap();
            let found = answers.calibration_error(super::calibration::BINS, &bootstrap(random)).unwrap();
            (found.error.interval, less)
        });
        means.push(Grid::of(&format!("calibration errors of {less}"), &cells).mean);
    }
    assert!(means.iter().all(|&mean| mean > 0.85), "{means:?}");
}

/// Two judges with two labels, as often each, who agree on a share of the rows.
#[test]
fn intervals_of_kappa_cover_as_often_as_they_say() {
    let cells = simulated(200, |random, size, rate| {
        let pair = |random: &mut Random| {
            let label = usize::from(random.unit() < 0.5);
            (label, if random.unit() < rate { label } else { 1 - label })
        };
        let pairs: Vec<_> = (0..size).map(|_| pair(random)).collect();
        let found = kappa(&pairs, 2, Weights::Equal, &bootstrap(random)).unwrap();
        (found.unwrap().interval, 2.0 * rate - 1.0)
    });
    let grid = Grid::of("kappa", &cells);
    assert!(MEAN_COVERAGE.contains(&grid.mean), "{}", grid.mean);
}

/// The mean of the recalls of classes that come so often, over the rates of the grid, at one size.
fn balanced_accuracy(size: u64, shares: &[f64]) -> f64 {
    let recall = |sums: &[f64]| {
        let seen = sums.chunks(2).filter(|class| class[1] > 0.0);
        let (sum, classes) = seen.fold((0.0, 0.0), |(sum, classes), class| (sum + class[0] / class[1], classes + 1.0));
        (classes > 0.0).then(|| sum / classes)
    };
    let row = |random: &mut Random, rate: f64| {
        let mut drawn = random.unit();
        let is_class = |share: &f64| {
            drawn -= share;
            drawn < 0.0
        };
        let class = shares.iter().position(is_class).unwrap_or(0) as u32;
        Counts(vec![(2 * class, outcome(random, rate)), (2 * class + 1, 1.0)])
    };
    let cells = simulated_at(&[size], 100, |random, size, rate| {
        let rows: Vec<_> = (0..size).map(|_| row(random, rate)).collect();
        let sample = Sample::of_rows(2 * shares.len(), &rows).unwrap();
        (bootstrap(random).bounded(&sample, &recall, Interval::UNIT).unwrap(), rate)
    });
    Grid::of(&format!("balanced accuracy of {size} rows, {shares:?}"), &cells).mean
}

/// Where a class has few rows the sample does not show how much it varies: the weak spot of the method.
#[test]
fn intervals_over_classes_cover_where_no_class_is_rare() {
    for size in [100, 200, 500] {
        assert!(MEAN_COVERAGE.contains(&balanced_accuracy(size, &[0.25; 4])));
    }
    // The rarest class has one row in fifty, then ten, then 25.
    for (size, least) in [(50, 0.82), (200, 0.88), (500, 0.91)] {
        assert!(balanced_accuracy(size, &[0.4, 0.25, 0.2, 0.1, 0.05]) > least);
    }
}
