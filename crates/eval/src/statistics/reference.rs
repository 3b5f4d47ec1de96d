//! Figures of published packages (`tools/reference/eval_statistics.py`) against ours.

use super::agreement::{Weights, kappa};
use super::bootstrap::Bootstrap;
use super::calibration::{Answer, Answers};
use super::interval::{Interval, Level, Proportion, quantile};
use super::paired::{holm, mcnemar};
use serde::Deserialize;

const PUBLISHED: &str = include_str!("fixtures/published.json");

#[derive(Deserialize)]
struct Published {
    proportions: Vec<ProportionCase>,
    mcnemar: Vec<McnemarCase>,
    holm: Vec<HolmCase>,
    confidences: Vec<ConfidenceCase>,
    kappa: Vec<KappaCase>,
    quantiles: Vec<QuantileCase>,
}

#[derive(Deserialize)]
struct ProportionCase {
    right: u64,
    all: u64,
    level: f64,
    wilson: [f64; 2],
    clopper_pearson: [f64; 2],
    mid_p: [f64; 2],
}

#[derive(Deserialize)]
struct McnemarCase {
    first: u64,
    second: u64,
    probability: f64,
}

#[derive(Deserialize)]
struct HolmCase {
    given: Vec<f64>,
    adjusted: Vec<f64>,
}

#[derive(Deserialize)]
struct ConfidenceCase {
    confidence: Vec<f64>,
    right: Vec<bool>,
    area_under_curve: f64,
    brier: f64,
}

#[derive(Deserialize)]
struct KappaCase {
    labels: usize,
    pairs: Vec<(usize, usize)>,
    equal: f64,
    linear: f64,
    quadratic: f64,
}

#[derive(Deserialize)]
struct QuantileCase {
    count: u32,
    share: f64,
    low: Option<f64>,
    high: Option<f64>,
}

fn published() -> Published {
    serde_json::from_str(PUBLISHED).expect("the figures are JSON")
}

fn near(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() < 1e-10, "{what}: {ours}, and {theirs} is published");
}

#[test]
fn intervals_of_shares_are_those_of_scipy() {
    let cases = published().proportions;
    assert_eq!(cases.len(), 33);
    for case in cases {
        let (seen, level) = (Proportion::new(case.right, case.all).unwrap(), Level::new(case.level).unwrap());
        let pairs = [
            ("Wilson", seen.wilson(level), case.wilson),
            ("Clopper-Pearson", seen.clopper_pearson(level), case.clopper_pearson),
            ("mid-P", seen.mid_p(level), case.mid_p),
        ];
        for (name, ours, [low, high]) in pairs {
            let what = format!("{name} of {} of {} at {}", case.right, case.all, case.level);
            near(ours.low, low, &what);
            near(ours.high, high, &what);
        }
    }
}

#[test]
fn tests_are_those_of_statsmodels() {
    for case in published().mcnemar {
        near(mcnemar(case.first, case.second), case.probability, &format!("{} against {}", case.first, case.second));
    }
    for case in published().holm {
        let adjusted = holm(&case.given).unwrap();
        assert_eq!(adjusted.len(), case.adjusted.len());
        adjusted.iter().zip(&case.adjusted).for_each(|(&ours, &theirs)| near(ours, theirs, "Holm"));
    }
}

#[test]
fn calibration_is_that_of_scikit_learn() {
    let bootstrap = Bootstrap { replicates: 100, ..Bootstrap::new(Level::USUAL, 1) };
    for case in published().confidences {
        let answers = case.confidence.iter().zip(&case.right);
        let answers = answers.map(|(&confidence, &is_right)| Answer { confidence, is_right }).collect();
        let answers = Answers::new(answers).unwrap();
        near(answers.area_under_curve(Level::USUAL).unwrap().value, case.area_under_curve, "area under the curve");
        near(answers.brier(&bootstrap).unwrap().value, case.brier, "Brier");
    }
}

#[test]
fn kappa_is_that_of_scikit_learn() {
    let bootstrap = Bootstrap { replicates: 100, ..Bootstrap::new(Level::USUAL, 1) };
    for case in published().kappa {
        let weighted =
            [(Weights::Equal, case.equal), (Weights::Linear, case.linear), (Weights::Quadratic, case.quadratic)];
        for (weights, theirs) in weighted {
            let ours = kappa(&case.pairs, case.labels, weights, &bootstrap).unwrap().unwrap();
            near(ours.value, theirs, "kappa");
            assert!(ours.interval.contains(ours.value));
        }
    }
}

#[test]
fn ranks_of_quantiles_are_those_of_scipy() {
    for case in published().quantiles {
        let ranks: Vec<f64> = (0..case.count).map(f64::from).collect();
        let expected =
            Interval { low: case.low.unwrap_or(f64::NEG_INFINITY), high: case.high.unwrap_or(f64::INFINITY) };
        assert_eq!(quantile(&ranks, case.share, Level::USUAL), expected, "{} at {}", case.count, case.share);
    }
    assert_eq!(quantile(&[], 0.5, Level::USUAL), Interval { low: f64::NEG_INFINITY, high: f64::INFINITY });
}
