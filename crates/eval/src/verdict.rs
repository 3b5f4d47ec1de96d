//! Whether a candidate is good enough, said of nothing but the interval that is shown.

use crate::baselines::BASELINES;
use crate::report::{Candidate, Figure, Goal, Place};
use serde::{Deserialize, Serialize};

/// What is said of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Its interval lies past the threshold, and it is as quick and as cheap as it has to be.
    GoodEnough,
    /// Its interval lies before the threshold, or it is too slow or too dear.
    NotGoodEnough,
    /// The interval has the threshold in it.
    NotEnoughEvidence,
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::GoodEnough => "good enough",
            Verdict::NotGoodEnough => "not good enough",
            Verdict::NotEnoughEvidence => "not enough evidence",
        }
    }
}

/// What is said of all candidates together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overall {
    /// Good enough where one candidate is; not good enough where none can be; none without a threshold.
    pub verdict: Option<Verdict>,
    /// The candidate to take: the cheapest that is good enough.
    pub recommended: Option<String>,
    /// The verdict in a sentence or two.
    pub text: String,
    /// How many more rows would decide it, where evidence is lacking.
    pub more_rows: Option<u64>,
}

/// A figure, and how far a doubt reaches: rows without an answer may have been right or wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Of the rows that were answered.
    pub answered: Figure,
    /// The lower end of the interval, were all others wrong.
    pub low: f64,
    /// The upper end, were all others right.
    pub high: f64,
}

/// Judges a candidate by what is shown of it: its verdict, and a sentence for each thing that it rests on. None where the
/// goal asks for nothing.
pub fn judge(goal: &Goal, candidate: &Candidate, bounds: Option<Bounds>) -> (Option<Verdict>, Vec<String>) {
    let mut findings: Vec<(Verdict, String)> = Vec::new();
    findings.extend(goal.threshold.map(|threshold| match bounds {
        Some(bounds) => quality(goal, threshold, candidate, bounds),
        None => {
            let reason = if candidate.answered == 0 { "no row has an answer" } else { "the metric applies to no row" };
            (Verdict::NotEnoughEvidence, format!("{reason}, so there is no figure"))
        }
    }));
    findings.extend(goal.latency_ms_p95.map(|most| quickness(most, candidate)));
    findings.extend(goal.cost_per_1000.map(|most| cheapness(most, candidate)));
    if findings.is_empty() {
        return (None, Vec::new());
    }
    let worst = if findings.iter().any(|(verdict, _)| *verdict == Verdict::NotGoodEnough) {
        Verdict::NotGoodEnough
    } else if findings.iter().any(|(verdict, _)| *verdict == Verdict::NotEnoughEvidence) {
        Verdict::NotEnoughEvidence
    } else {
        Verdict::GoodEnough
    };
    (Some(worst), findings.into_iter().map(|(_, reason)| reason).collect())
}

/// What is to be reached, in words.
fn wanted(goal: &Goal) -> String {
    let parts = [
        goal.threshold.map(|threshold| format!("{} of {threshold}", goal.metric)),
        goal.latency_ms_p95.map(|most| format!("{most} ms for 95 of 100 answers")),
        goal.cost_per_1000.map(|most| format!("${most} for 1,000 inputs")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn quality(goal: &Goal, threshold: f64, candidate: &Candidate, bounds: Bounds) -> (Verdict, String) {
    let Bounds { answered, low, high } = bounds;
    let metric = &goal.metric;
    let shown = format!("{metric} is {:.3}, between {:.3} and {:.3}", answered.value, answered.low, answered.high);
    let (clears, misses) =
        if goal.is_better_higher { (low >= threshold, high < threshold) } else { (high <= threshold, low > threshold) };
    let is_within = answered.low < threshold && threshold <= answered.high;
    let failed = candidate.failures.len();
    match (clears, misses) {
        (_, true) => (Verdict::NotGoodEnough, format!("{shown}: all of it short of {threshold}")),
        (true, _) => (Verdict::GoodEnough, format!("{shown}: all of it past {threshold}")),
        _ if failed > 0 && !is_within => (
            Verdict::NotEnoughEvidence,
            format!("{shown}, but {failed} rows have no answer: with them it may be on either side of {threshold}"),
        ),
        _ => (Verdict::NotEnoughEvidence, format!("{shown}: {threshold} is within, so either may be true")),
    }
}

fn quickness(most: f64, candidate: &Candidate) -> (Verdict, String) {
    let Some(latency) = &candidate.latency else {
        return (Verdict::NotEnoughEvidence, "no answer was timed alone".to_owned());
    };
    let shown = format!("95 of 100 answers take {:.1} ms or less, {most} are allowed", latency.p95);
    if latency.p95_low > most {
        (Verdict::NotGoodEnough, shown)
    } else if latency.p95_high.is_some_and(|high| high <= most) {
        (Verdict::GoodEnough, shown)
    } else {
        let rows = latency.rows;
        (Verdict::NotEnoughEvidence, format!("{shown}; {rows} rows asked alone are too few to be sure"))
    }
}

fn cheapness(most: f64, candidate: &Candidate) -> (Verdict, String) {
    let Some(cost) = candidate.cost_per_1000 else {
        return (Verdict::NotEnoughEvidence, "no price is known, so nor is the cost".to_owned());
    };
    let (low, high) = (candidate.cost_low.unwrap_or(0.0), candidate.cost_high.unwrap_or(f64::INFINITY));
    let between = if high.is_finite() { format!(", between ${low:.4} and ${high:.4}") } else { String::new() };
    let shown = format!("1,000 inputs cost ${cost:.4}{between}; ${most} are allowed");
    if low > most {
        (Verdict::NotGoodEnough, shown)
    } else if high <= most {
        (Verdict::GoodEnough, shown)
    } else {
        (Verdict::NotEnoughEvidence, format!("{shown}, and so few rows do not tell"))
    }
}

/// The verdict over all: the cheapest of those that are good enough is the one to take.
pub fn overall(goal: &Goal, candidates: &[Candidate], more_rows: Option<u64>) -> Overall {
    let cost = |candidate: &Candidate| candidate.cost_per_1000.unwrap_or(f64::INFINITY);
    let p50 = |candidate: &Candidate| candidate.latency.map_or(f64::INFINITY, |latency| latency.p50);
    let good = candidates.iter().filter(|candidate| candidate.verdict == Some(Verdict::GoodEnough));
    let best = good.min_by(|one, other| cost(one).total_cmp(&cost(other)).then(p50(one).total_cmp(&p50(other))));
    if goal.threshold.is_none() && goal.latency_ms_p95.is_none() && goal.cost_per_1000.is_none() {
        let text = "there is no verdict: the task names no threshold. Add `threshold = ..` to [goal].".to_owned();
        return Overall { verdict: None, recommended: None, text, more_rows: None };
    }
    let wanted = wanted(goal);
    if let Some(best) = best {
        let text = match best.place {
            Place::Baseline => {
                let row = BASELINES.iter().find(|row| row.name == best.answerer);
                let about = row.map(|row| format!(" ({})", row.about)).unwrap_or_default();
                format!("No language model is needed: {}{about} is good enough for {wanted}.", best.name)
            }
            Place::Local | Place::Remote => {
                format!("Take {}: the cheapest that is good enough for {wanted}.", best.name)
            }
        };
        let (verdict, recommended) = (Some(Verdict::GoodEnough), Some(best.name.clone()));
        return Overall { verdict, recommended, text, more_rows: None };
    }
    if candidates.iter().any(|candidate| candidate.verdict == Some(Verdict::NotEnoughEvidence)) {
        let rows = more_rows.map_or(String::new(), |rows| format!(" About {rows} more rows would decide it."));
        let text = format!("These rows do not tell whether a candidate reaches {wanted}.{rows}");
        return Overall { verdict: Some(Verdict::NotEnoughEvidence), recommended: None, text, more_rows };
    }
    let text = format!("No candidate is good enough for {wanted}.");
    Overall { verdict: Some(Verdict::NotGoodEnough), recommended: None, text, more_rows: None }
}
