//! What an evaluation found, as data: everything that pages, files and programs show of it, and nothing that has to be
//! computed again.
//!
//! It is what the ledger keeps of a run that ended. Read next: `verdict.rs` for the words of a verdict.

use crate::evidence::Evidence;
use crate::gate::Gate;
use crate::verdict::{Overall, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of this shape; whoever changes the meaning of a field raises it.
pub const VERSION: u32 = 1;

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this shape.
    pub version: u32,
    /// The name of the run.
    pub run: String,
    /// When it was created, in milliseconds since 1970, UTC.
    pub created_ms: u64,
    /// The task's name.
    pub task: String,
    /// The task's kind.
    pub kind: String,
    /// How a standard benchmark was asked and scored; none of a task file.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// The verdict over all candidates.
    pub verdict: Overall,
    /// What was to be reached.
    pub goal: Goal,
    /// The rows that were judged.
    pub test: Test,
    /// Every candidate, in the order of the task file.
    pub candidates: Vec<Candidate>,
    /// Each candidate beside the recommended one, or beside the best where none is recommended.
    pub comparisons: Vec<Comparison>,
    /// The smallest difference between two candidates that so many rows show 4 times of 5, in the metric's unit; none
    /// where the metric is no share of rows.
    pub smallest_difference: Option<f64>,
    /// How far the judge's grades are those of people; none without a judge, or where the data have no grades of people.
    pub agreement: Option<Agreement>,
    /// How figures, intervals and costs were had, in plain words.
    pub notes: Vec<String>,
    /// What its reader should know of the data.
    pub warnings: Vec<String>,
    /// How the run stands to an earlier one, where it was held against one.
    pub gate: Option<Gate>,
    /// What every row added to the metric, so that a later run can be held against this one.
    #[serde(default)]
    pub evidence: Evidence,
}

/// How a standard benchmark was asked and scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// The benchmark.
    pub suite: String,
    /// How rows are asked and scored, in one sentence.
    pub text: String,
    /// Who published it.
    pub source: String,
    /// Examples that the model is shown before each row.
    pub shots: u32,
}

/// What was to be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The metric's name.
    pub metric: String,
    /// What its figure is, in one line.
    pub about: String,
    /// Who grades, as the beginning of a digest, where the metric counts grades: figures of other graders are other figures.
    pub grader: Option<String>,
    /// The figure to be reached; none where the task names none, and then there is no verdict.
    pub threshold: Option<f64>,
    /// Whether a larger figure is a better one.
    pub is_better_higher: bool,
    /// How sure the verdicts are, all together.
    pub confidence: f64,
    /// How sure the interval of one candidate is: what all of them together need.
    pub level: f64,
    /// Milliseconds that 95 of 100 answers may take.
    pub latency_ms_p95: Option<f64>,
    /// US dollars that 1,000 inputs may cost.
    pub cost_per_1000: Option<f64>,
}

/// The rows that were judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The table, as the task file names it.
    pub table: String,
    /// Its digest: of the rows, whatever file they are in.
    pub sha256: String,
    /// Its rows.
    pub rows: u64,
    /// Groups of rows that are no independent evidence; none where every row stands for itself.
    pub groups: Option<u64>,
    /// How many runs have looked at these rows, or at half of them or more, this one among them. A test that is looked at often is learned by heart.
    pub looks: u64,
}

/// A figure with where it may really lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Where a candidate answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A model on this machine.
    Local,
    /// A model at a provider.
    Remote,
    /// No language model.
    Baseline,
}

/// What was found of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// What the task file calls it.
    pub name: String,
    /// The model, or the baseline.
    pub answerer: String,
    /// Where it answers.
    pub place: Place,
    /// Its weights; none where nobody says.
    pub parameters: Option<u64>,
    /// Whether it is good enough; none where the task names no threshold.
    pub verdict: Option<Verdict>,
    /// What the verdict rests on, a sentence each.
    pub reasons: Vec<String>,
    /// What would help, a sentence each.
    pub advice: Vec<String>,
    /// Its figure under the goal's metric, at the goal's level; none where no row counts.
    pub figure: Option<Figure>,
    /// The other metrics of the kind, by name, each at 95 %.
    pub figures: Vec<Named>,
    /// The figures of each part of a standard benchmark that has parts: the subjects of an exam.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Rows with an answer.
    pub answered: u64,
    /// Answers of them that an earlier run had asked for.
    pub reused: u64,
    /// Rows without an answer, each with why.
    pub failures: Vec<Failure>,
    /// Whether it was ended as soon as enough was known, before the last row.
    pub stopped_early: bool,
    /// How long one answer takes where nothing else is under way; none where no row was asked alone.
    pub latency: Option<Latency>,
    /// Inputs a second, as many under way at once as were.
    pub rows_per_second: Option<f64>,
    /// Tokens of prompts, of an input in the mean.
    pub prompt_tokens: f64,
    /// Those of them that were not computed.
    pub cached_tokens: f64,
    /// Tokens generated, or computed of given answers.
    pub completion_tokens: f64,
    /// US dollars that 1,000 inputs cost; none where no price is known.
    pub cost_per_1000: Option<f64>,
    /// Where that may really lie, at the goal's level: the lower end; none where so few rows cannot tell.
    pub cost_low: Option<f64>,
    /// The upper end.
    pub cost_high: Option<f64>,
    /// Kilowatt-hours of this machine for 1,000 inputs; none for what runs elsewhere.
    pub energy_kwh_per_1000: Option<f64>,
    /// Of each label, where the task has labels.
    pub classes: Vec<Class>,
    /// Which label was given for which, most frequent first, at most a few dozen.
    pub confused: Vec<Confused>,
    /// Of each field, where the task extracts.
    pub fields: Vec<Field>,
    /// How far its confidence can be trusted; none where it tells none.
    pub calibration: Option<Calibration>,
    /// Rows whose tries did not agree, where answers were sampled several times.
    pub flaky: Option<Flaky>,
    /// The rows that went worst, the most confident first.
    pub worst: Vec<Row>,
}

impl Candidate {
    /// One of which nothing is known.
    pub fn without_answers(name: &str, answerer: &str, place: Place) -> Candidate {
        Candidate {
            name: name.to_owned(),
            answerer: answerer.to_owned(),
            place,
            parameters: None,
            verdict: None,
            reasons: Vec::new(),
            advice: Vec::new(),
            figure: None,
            figures: Vec::new(),
            parts: Vec::new(),
            answered: 0,
            reused: 0,
            failures: Vec::new(),
            stopped_early: false,
            latency: None,
            rows_per_second: None,
            prompt_tokens: 0.0,
            cached_tokens: 0.0,
            completion_tokens: 0.0,
            cost_per_1000: None,
            cost_low: None,
            cost_high: None,
            energy_kwh_per_1000: None,
            classes: Vec::new(),
            confused: Vec::new(),
            fields: Vec::new(),
            calibration: None,
            flaky: None,
            worst: Vec::new(),
        }
    }
}

/// A figure with its metric's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The metric.
    pub metric: String,
    /// Its figure.
    pub figure: Figure,
}

/// A part of the test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its rows with an answer.
    pub rows: u64,
    /// Its figures by all metrics of the suite, each at 95 %.
    pub figures: Vec<Named>,
}

/// A row without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The row of the test, from 1.
    pub number: u64,
    /// Why.
    pub reason: String,
}

/// How long one answer takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Rows that were asked alone.
    pub rows: u64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 95 of 100 took no longer. Its interval may be open above (`null`) where rows are few.
    pub p95: f64,
    /// Where it may really lie, at 95 %: the lower end.
    pub p95_low: f64,
    /// The upper end; none where so few rows cannot tell.
    pub p95_high: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99: f64,
}

/// What was found of one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// The label; none for none of these.
    pub label: Option<String>,
    /// Rows of which it is right.
    pub rows: u64,
    /// Of those that were given it, the share of which it is right.
    pub precision: Option<f64>,
    /// Of those of which it is right, the share that were given it.
    pub recall: Option<f64>,
    /// Their harmonic mean.
    pub f1: Option<f64>,
}

/// A label that was given for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confused {
    /// What is right; none for none of these.
    pub expected: Option<String>,
    /// What was given.
    pub given: Option<String>,
    /// So many rows.
    pub rows: u64,
}

/// What was found of one field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its JSON Pointer.
    pub field: String,
    /// Of the values that were given, the share that are right.
    pub precision: Option<f64>,
    /// Of those that are right, the share that were given.
    pub recall: Option<f64>,
    /// Their harmonic mean.
    pub f1: Option<f64>,
}

/// How far a confidence can be trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The mean distance of confidence and share of right rows (expected calibration error).
    pub ece: f64,
    /// The mean squared distance of confidence and what came (Brier score).
    pub brier: f64,
    /// How often a right row is surer than a wrong one; none where all are right, or none is.
    pub auroc: Option<Figure>,
    /// The reliability curve, by rising confidence.
    pub bins: Vec<Bin>,
}

/// One bin of a reliability curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Rows in it.
    pub rows: u64,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that are right, with its interval.
    pub right: Figure,
}

/// A judge model beside people, on answers that both graded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Answers that both graded.
    pub rows: u64,
    /// Answers that the judge did not grade.
    pub ungraded: u64,
    /// The share to which both gave the same points, at 95 %.
    pub same: Figure,
    /// The share to which they gave points that differ by one at most.
    pub within_one: f64,
    /// Cohen's kappa, weighted by the square of the difference: 0 is what chance would give, 1 always the same; none where
    /// both gave everything the same points.
    pub kappa: Option<Figure>,
    /// The judge's points less those of people, in the mean: above 0 it is milder than they are.
    pub milder_by: f64,
}

/// Rows whose tries did not agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flaky {
    /// Tries of each row.
    pub tries: u32,
    /// Rows whose tries had different scores.
    pub rows: u64,
    /// The figure of the worst try and of the best one.
    pub lowest: f64,
    /// The figure of the best try.
    pub highest: f64,
}

/// A row with what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The row of the test, from 1.
    pub number: u64,
    /// What was asked, shortened.
    pub input: String,
    /// What is right.
    pub expected: Value,
    /// What came.
    pub outcome: Value,
    /// How sure the candidate was; none where it tells nothing.
    pub confidence: Option<f64>,
    /// Its score; none where the metric has none for single rows.
    pub score: Option<f64>,
}

/// Two candidates on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The one that is compared.
    pub candidate: String,
    /// The one that it is compared with.
    pub with: String,
    /// Rows that both answered.
    pub rows: u64,
    /// Its figure less the other's, with its interval at 95 %.
    pub difference: Figure,
    /// How probable a difference like this is where there is none, all comparisons taken together (Holm).
    pub p: f64,
    /// Rows that it alone has right; none where rows are not right or wrong.
    pub only_this: Option<u64>,
    /// Rows that the other alone has right.
    pub only_other: Option<u64>,
}
