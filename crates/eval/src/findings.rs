//! What was found of one candidate: its rows turned into the figures of a report.

use crate::compare::said;
use crate::contender::{Contender, Entrant, Price};
use crate::figures::{are_alone, counted, figure, latency};
use crate::metrics::mean::mean;
use crate::metrics::pass_at_k::{pass_at, told};
use crate::metrics::{
    BYTE_PERPLEXITY, ClassFigures, Classes, Confusion, Counts, FieldFigures, Fields, Judged, Metric, MetricRow,
};
use crate::report::{
    Bin, Calibration, Candidate, Class, Confused, Failure, Field, Figure, Flaky, Named, Part, Place, Row,
};
use crate::run::{Scored, Scores, count};
use crate::statistics::bootstrap::Bootstrap;
use crate::statistics::calibration::{Answer as Sure, Answers};
use crate::statistics::interval::{Interval, Level};
use crate::statistics::sample::Sample;
use crate::verdict::Bounds;
use crate::{EvalError, TestSet};
use ledger::Answer;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tasks::{Example, Extract, Grading, Outcome, Task};

/// So many of the most confused pairs are kept.
const MOST_CONFUSED: usize = 60;
/// So many of the worst rows are kept, and so many characters of each input.
const WORST_ROWS: usize = 20;
const MOST_CHARACTERS: usize = 600;
/// So many labels or fields are named as those that fail most.
const WEAKEST: usize = 5;
/// Bins of a reliability curve.
const BINS: usize = 10;

/// Who was judged, on what, by what.
pub struct Judgement<'a> {
    pub entrant: &'a Entrant,
    pub contender: &'a Contender,
    pub test: &'a TestSet,
    pub metric: &'a dyn Metric,
    pub metric_name: &'a str,
    pub level: Level,
    pub scores: &'a Scores,
}

impl Judgement<'_> {
    /// The candidate with its figures, and without a verdict; and the figure on both sides of a doubt.
    pub fn found(&self) -> Result<(Candidate, Option<Bounds>), EvalError> {
        let Judgement { entrant, contender, scores, level, .. } = self;
        let bounds = self.bounds()?;
        let answers: Vec<&Answer> = scores.rows.iter().filter_map(|row| row.result.as_ref().ok()).collect();
        // An answer that could not be read says nothing of its tokens.
        let told: Vec<&&Answer> = answers.iter().filter(|answer| answer.prompt_tokens > 0).collect();
        let mean = |of: &dyn Fn(&Answer) -> f64| match told.len() {
            0 => 0.0,
            rows => told.iter().map(|answer| of(answer)).sum::<f64>() / rows as f64,
        };
        let seconds = busy_seconds(&scores.rows);
        let busy = mean_of(&seconds).unwrap_or_default();
        let is_busy = busy > 0.0 && contender_is_here(contender);
        let (costs, energy_kwh_per_1000) = match &contender.price {
            Price::Machine(machine) => {
                let costs = seconds.iter().map(|seconds| machine.cost(1000.0 * seconds)).collect();
                (costs, Some(machine.energy_kwh(1000.0 * busy)))
            }
            // By the tokens, so that a price that was mended holds for what was asked before too.
            Price::Provider(price) => {
                let costs = told.iter().map(|answer| Some(1000.0 * price(&tokens_of(answer))?));
                (costs.collect::<Option<Vec<f64>>>().unwrap_or_default(), None)
            }
            Price::Unknown => (Vec::new(), None),
        };
        let cost_per_1000 = mean_of(&costs);
        let cost_interval = mean_interval(&costs, *level)?;
        let candidate = Candidate {
            parameters: contender.parameters,
            figure: bounds.map(|bounds| bounds.answered),
            figures: self.other_figures()?,
            parts: self.parts()?,
            answered: rows_of(scores, |row| row.result.is_ok()),
            reused: rows_of(scores, |row| row.is_reused),
            failures: self.failures(),
            stopped_early: scores.stopped_early,
            latency: latency(&scores.rows, *level),
            rows_per_second: is_busy.then(|| 1.0 / busy),
            prompt_tokens: mean(&|answer| answer.prompt_tokens as f64),
            cached_tokens: mean(&|answer| answer.cached_tokens as f64),
            completion_tokens: mean(&|answer| answer.completion_tokens as f64),
            cost_per_1000,
            cost_low: cost_interval.map(|interval| interval.low),
            cost_high: cost_interval.map(|interval| interval.high),
            energy_kwh_per_1000: energy_kwh_per_1000.filter(|_| contender_is_here(contender)),
            classes: self.classes(),
            confused: self.confused(),
            fields: self.fields(),
            calibration: self.calibration()?,
            flaky: self.flaky(),
            worst: self.worst(),
            ..Candidate::without_answers(&entrant.name, &entrant.answerer, entrant.place)
        };
        Ok((candidate, bounds))
    }

    /// The figure as it was measured, and how low and how high it may be with the rows that have no answer. Where a
    /// candidate may be stopped as soon as enough is known, its interval is that of the sequence: another one is not true
    /// of rows that were chosen so.
    fn bounds(&self) -> Result<Option<Bounds>, EvalError> {
        let Judgement { test, metric, level, scores, .. } = self;
        if let Some(bracket) = &scores.bracket {
            let interval = bracket.interval();
            // A sequence remembers what was ruled out when the figure was another; it is never shown beside its own ends.
            let shown = |value: f64| Figure { value: value.clamp(interval.low, interval.high), ..figure_of(interval) };
            return Ok(bracket.mean().map(|value| Bounds {
                answered: shown(value),
                low: interval.low,
                high: interval.high,
            }));
        }
        let are_alone = are_alone(scores, test);
        let answered_rows = counted(scores, test);
        let Some(answered) = figure(*metric, &answered_rows, are_alone, *level)? else { return Ok(None) };
        let failed: Vec<usize> =
            scores.rows.iter().filter(|row| row.result.is_err()).map(|row| test.rows[row.index].group).collect();
        if failed.is_empty() {
            return Ok(Some(Bounds { answered, low: answered.low, high: answered.high }));
        }
        if !metric.is_mean() {
            // Nobody knows what the worst answer would have done to a figure that is no mean.
            let (low, high) = if metric.is_share() { (0.0, 1.0) } else { (f64::NEG_INFINITY, f64::INFINITY) };
            return Ok(Some(Bounds { answered, low, high }));
        }
        let end = |score: f64| {
            let row = Counts(vec![(0, score), (1, 1.0)]);
            let rows: Vec<_> = answered_rows.iter().copied().chain(failed.iter().map(|group| (*group, &row))).collect();
            figure(*metric, &rows, are_alone, *level)
        };
        let (worst, best) = (end(0.0)?.unwrap_or(answered), end(1.0)?.unwrap_or(answered));
        Ok(Some(Bounds { answered, low: worst.low, high: best.high }))
    }

    fn other_figures(&self) -> Result<Vec<Named>, EvalError> {
        let rows: Vec<&Scored> = self.scores.rows.iter().collect();
        // Who is asked how likely texts are has written none.
        let is_other = |row: &MetricRow| row.name != self.metric_name && self.metric_name != BYTE_PERPLEXITY;
        let others = self.metrics().into_iter().filter(|(row, _)| is_other(row));
        let figures = others.map(|(row, metric)| self.figure_of(row, &*metric, &rows));
        let mut figures: Vec<Named> = figures.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        figures.extend(self.pass_at_k()?);
        Ok(figures)
    }

    /// The metrics of the suite, or of the task's kind.
    fn metrics(&self) -> Vec<(&'static MetricRow, Box<dyn Metric>)> {
        let Judgement { entrant, test, .. } = self;
        let examples: Vec<Example> = test.rows.iter().map(|row| row.example.clone()).collect();
        // Some metrics need more of a task than its kind, scores of all labels say; a report leaves those out.
        let made = |row: &'static MetricRow| Some((row, (row.make)(&entrant.task, &examples).ok()?));
        test.metrics(&entrant.task).into_iter().filter_map(made).collect()
    }

    /// The figure of some rows at 95 %; none where none of them counts.
    fn figure_of(&self, row: &MetricRow, metric: &dyn Metric, rows: &[&Scored]) -> Result<Option<Named>, EvalError> {
        let counts: Vec<_> = rows.iter().filter_map(|row| self.counts(metric, row)).collect();
        let counts: Vec<_> = counts.iter().map(|(group, counts)| (*group, counts)).collect();
        let figure = figure(metric, &counts, are_alone(self.scores, self.test), Level::USUAL)?;
        Ok(figure.map(|figure| Named { metric: row.name.to_owned(), figure }))
    }

    /// Every part of the test, where a suite has parts, by its name.
    fn parts(&self) -> Result<Vec<Part>, EvalError> {
        let Some(field) = self.test.suite.and_then(|suite| suite.part) else { return Ok(Vec::new()) };
        let mut parts: BTreeMap<&str, Vec<&Scored>> = BTreeMap::new();
        for row in self.scores.rows.iter().filter(|row| row.result.is_ok()) {
            let part = self.test.rows[row.index].example.input.fields.get(field).and_then(Value::as_str);
            parts.entry(part.unwrap_or_default()).or_default().push(row);
        }
        let metrics = self.metrics();
        let part = |(name, rows): (&str, Vec<&Scored>)| {
            let figures = metrics.iter().map(|(row, metric)| self.figure_of(row, &**metric, &rows));
            Ok(Part {
                name: name.to_owned(),
                rows: rows.iter().filter(|row| row.attempt == 0).count() as u64,
                figures: figures.filter_map(Result::transpose).collect::<Result<_, EvalError>>()?,
            })
        };
        parts.into_iter().map(part).collect()
    }

    /// How often one of several tries passes, where answers are programs that have to pass tests.
    fn pass_at_k(&self) -> Result<Vec<Named>, EvalError> {
        let Judgement { entrant, contender, test, scores, .. } = self;
        let is_tests = matches!(entrant.task.goal.grading, Some(Grading::Tests(_)));
        let tries = contender.tries.len();
        if !is_tests || tries < 2 {
            return Ok(Vec::new());
        }
        let mut figures = Vec::new();
        for k in told(tries).into_iter().skip(1) {
            let of_row = |rows: &[Scored]| {
                // A row of which a try has no answer is no evidence of all its tries.
                let passed: Vec<bool> = rows.iter().filter_map(|row| row.score.map(|score| score > 0.5)).collect();
                let right = passed.iter().filter(|passed| **passed).count();
                let share = if passed.len() == tries { pass_at(k, tries, right) } else { None };
                share.map(|share| (test.rows[rows[0].index].group, Counts(vec![(0, share), (1, 1.0)])))
            };
            let counts: Vec<_> =
                scores.rows.chunk_by(|one, other| one.index == other.index).filter_map(of_row).collect();
            let counts: Vec<_> = counts.iter().map(|(group, counts)| (*group, counts)).collect();
            let shares = mean(|_| None);
            if let Some(figure) = figure(&*shares, &counts, test.groups.is_none(), Level::USUAL)? {
                figures.push(Named { metric: format!("pass_at_{k}"), figure });
            }
        }
        Ok(figures)
    }

    fn counts(&self, metric: &dyn Metric, row: &Scored) -> Option<(usize, Counts)> {
        let test_row = &self.test.rows[row.index];
        let answer = row.result.as_ref().ok()?;
        Some((test_row.group, count(metric, test_row, &answer.outcome)?))
    }

    fn failures(&self) -> Vec<Failure> {
        let failures = self.scores.rows.iter().filter_map(|row| {
            let reason = row.result.as_ref().err()?.clone();
            Some(Failure { number: self.test.rows[row.index].number, reason })
        });
        failures.collect()
    }

    /// Every row with an answer, as metrics see it.
    fn each(&self, mut see: impl FnMut(&Judged<'_>)) {
        let nothing = Map::new();
        for row in &self.scores.rows {
            let Ok(answer) = &row.result else { continue };
            let Example { input, expected } = &self.test.rows[row.index].example;
            see(&Judged { input, expected, outcome: answer.outcome.as_object().unwrap_or(&nothing) });
        }
    }

    fn classes(&self) -> Vec<Class> {
        let Ok(classes) = Classes::of(&self.entrant.task) else { return Vec::new() };
        let mut sums = vec![0.0; classes.slots()];
        let mut rows = vec![0u64; classes.names().len()];
        self.each(|row| {
            classes.count(row).0.into_iter().for_each(|(slot, count)| sums[slot as usize] += count);
            classes.expected(row).into_iter().for_each(|class| rows[class as usize] += 1);
        });
        let figures = classes.figures(&sums).into_iter().zip(rows);
        figures
            .map(|(ClassFigures { label, tally }, rows)| Class {
                label,
                rows,
                precision: tally.precision(),
                recall: tally.recall(),
                f1: tally.f1(),
            })
            .collect()
    }

    fn confused(&self) -> Vec<Confused> {
        let Ok(mut confusion) = Confusion::new(&self.entrant.task) else { return Vec::new() };
        self.each(|row| confusion.add(row));
        let pairs = confusion.most_confused(MOST_CONFUSED).into_iter();
        pairs.map(|pair| Confused { expected: pair.expected, given: pair.given, rows: pair.rows }).collect()
    }

    fn fields(&self) -> Vec<Field> {
        if self.entrant.task.settings::<Extract>().is_none() {
            return Vec::new();
        }
        let mut fields = Fields::default();
        self.each(|row| fields.add(row));
        let figures = fields.figures().into_iter();
        figures
            .map(|FieldFigures { field, tally }| Field {
                field,
                precision: tally.precision(),
                recall: tally.recall(),
                f1: tally.f1(),
            })
            .collect()
    }

    fn calibration(&self) -> Result<Option<Calibration>, EvalError> {
        if !self.metric.is_proportion() {
            return Ok(None);
        }
        let sure = self.scores.rows.iter().filter_map(|row| {
            let confidence = confidence(&row.result.as_ref().ok()?.outcome)?;
            Some(Sure { confidence: confidence.clamp(0.0, 1.0), is_right: row.score? > 0.5 })
        });
        let answers = Answers::new(sure.collect())?;
        let bootstrap = Bootstrap::new(Level::USUAL, 1);
        let (Some(error), Some(brier)) = (answers.calibration_error(BINS, &bootstrap), answers.brier(&bootstrap))
        else {
            return Ok(None);
        };
        let bins = answers.reliability(BINS, Level::USUAL).into_iter().map(|bin| Bin {
            rows: bin.right.all(),
            confidence: bin.confidence,
            right: Figure {
                value: bin.right.rate().unwrap_or_default(),
                low: bin.interval.low,
                high: bin.interval.high,
            },
        });
        let auroc = answers.area_under_curve(Level::USUAL);
        let auroc = auroc.map(|area| Figure { value: area.value, low: area.interval.low, high: area.interval.high });
        Ok(Some(Calibration { ece: error.error.value, brier: brier.value, auroc, bins: bins.collect() }))
    }

    fn flaky(&self) -> Option<Flaky> {
        let tries = self.contender.tries.len();
        if tries < 2 {
            return None;
        }
        let rows = &self.scores.rows;
        let differ = rows.chunk_by(|one, other| one.index == other.index);
        let outcome = |row: &Scored| row.result.as_ref().ok().map(|answer| said(&answer.outcome));
        let differ = differ.filter(|tries| tries.iter().any(|row| outcome(row) != outcome(&tries[0]))).count() as u64;
        let of_try = |attempt: usize| {
            let mut sums = vec![0.0; self.metric.slots()];
            for row in rows.iter().filter(|row| row.attempt as usize == attempt) {
                for &(slot, count) in row.counts.iter().flat_map(|counts| &counts.0) {
                    sums[slot as usize] += count;
                }
            }
            self.metric.figure(&sums)
        };
        let figures: Vec<f64> = (0..tries).filter_map(of_try).collect();
        let lowest = figures.iter().copied().min_by(f64::total_cmp)?;
        let highest = figures.iter().copied().max_by(f64::total_cmp)?;
        Some(Flaky { tries: tries as u32, rows: differ, lowest, highest })
    }

    /// The rows that went worst: by score, the surest first, as those are what a threshold of confidence does not catch.
    fn worst(&self) -> Vec<Row> {
        let mut rows: Vec<&Scored> = self.scores.rows.iter().filter(|row| row.result.is_ok()).collect();
        let better = |score: f64| if self.metric.is_better_higher() { score } else { -score };
        rows.retain(|row| row.score.is_none_or(|score| !self.metric.is_better_higher() || score < 1.0));
        let place = |row: &Scored| {
            let score = row.score.map_or(f64::INFINITY, better);
            let sure = row.result.as_ref().ok().and_then(|answer| confidence(&answer.outcome)).unwrap_or(0.0);
            (score, -sure)
        };
        rows.sort_by(|one, other| {
            let (one, other) = (place(one), place(other));
            one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1))
        });
        rows.into_iter().take(WORST_ROWS).filter_map(|row| self.shown(row)).collect()
    }

    fn shown(&self, row: &Scored) -> Option<Row> {
        let test_row = &self.test.rows[row.index];
        let answer = row.result.as_ref().ok()?;
        let input = self.entrant.task.input.fill(&test_row.example.input).ok()?;
        let mut shortened: String = input.chars().take(MOST_CHARACTERS).collect();
        if shortened.len() < input.len() {
            shortened.push_str(" ..");
        }
        Some(Row {
            number: test_row.number,
            input: shortened,
            expected: test_row.example.expected.clone(),
            outcome: answer.outcome.clone(),
            confidence: confidence(&answer.outcome),
            score: row.score,
        })
    }
}

fn figure_of(interval: Interval) -> Figure {
    Figure { value: interval.low, low: interval.low, high: interval.high }
}

/// So many rows, however many tries of each, of which this is true at the first try.
fn rows_of(scores: &Scores, is_so: impl Fn(&Scored) -> bool) -> u64 {
    scores.rows.iter().filter(|row| row.attempt == 0 && is_so(row)).count() as u64
}

/// What a provider's price is reckoned by.
fn tokens_of(answer: &Answer) -> Outcome {
    let count = |tokens: u64| usize::try_from(tokens).unwrap_or(usize::MAX);
    Outcome {
        prompt_tokens: count(answer.prompt_tokens),
        cached_tokens: count(answer.cached_tokens),
        completion_tokens: count(answer.completion_tokens),
        ..Outcome::default()
    }
}

/// Seconds of the machine that each row takes with as many under way at once as is fastest; of rows that were asked alone
/// where there are no others. Of each row the first try: others find its prompt read.
fn busy_seconds(rows: &[Scored]) -> Vec<f64> {
    let first = rows.iter().filter(|row| row.attempt == 0);
    let all: Vec<&Answer> = first.filter_map(|row| row.result.as_ref().ok()).collect();
    let is_together = all.iter().any(|answer| !answer.is_alone);
    all.iter().filter(|answer| !answer.is_alone || !is_together).map(|answer| answer.busy_seconds).collect()
}

fn mean_of(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Where a mean of values of 0 or more may really lie; none of fewer than two.
fn mean_interval(values: &[f64], level: Level) -> Result<Option<Interval>, EvalError> {
    if values.len() < 2 {
        return Ok(None);
    }
    let rows: Vec<Counts> = values.iter().map(|value| Counts(vec![(0, *value), (1, 1.0)])).collect();
    let sample = Sample::of_rows(2, &rows)?;
    let interval = Bootstrap::new(level, 1).unbounded(&sample, &|sums| (sums[1] > 0.0).then(|| sums[0] / sums[1]));
    Ok(interval.map(|interval| Interval { low: interval.low.max(0.0), ..interval }))
}

fn contender_is_here(contender: &Contender) -> bool {
    matches!(contender.price, Price::Machine(_))
}

/// How sure an outcome is of itself, under whatever name its kind has for it; of several fields the least sure.
pub fn confidence(outcome: &Value) -> Option<f64> {
    let own = outcome["probability"].as_f64().or_else(|| outcome["confidence"].as_f64());
    own.or_else(|| {
        let fields = outcome["fields"].as_object()?;
        fields.values().filter_map(|field| field["confidence"].as_f64()).min_by(f64::total_cmp)
    })
}

/// What would help a candidate that is not good enough.
pub fn advice(task: &Task, candidate: &Candidate, others: &[Candidate]) -> Vec<String> {
    let mut advice = Vec::new();
    let is_model = candidate.place != Place::Baseline;
    if is_model && task.kind() == "classify" && task.shots() == 0 && task.data.train.is_some() {
        advice.push("show it examples: shots = 8 in [classify], as another candidate beside this one".to_owned());
    }
    let value = |candidate: &Candidate| candidate.figure.map_or(f64::NEG_INFINITY, |figure| figure.value);
    let better = others.iter().filter(|other| value(other) > value(candidate));
    if let Some(better) = better.max_by(|one, other| value(one).total_cmp(&value(other))) {
        advice.push(format!("{} does better on the same rows: {:.3}", better.name, value(better)));
    } else if is_model {
        advice.push("try a larger model as another candidate".to_owned());
    }
    advice.extend(weakest(candidate));
    advice
}

/// The labels or fields that fail most.
fn weakest(candidate: &Candidate) -> Option<String> {
    let label = |label: &Option<String>| label.clone().unwrap_or_else(|| "none of these".to_owned());
    let classes = candidate.classes.iter().filter(|class| class.rows > 0).map(|class| (label(&class.label), class.f1));
    let fields = candidate.fields.iter().map(|field| (field.field.clone(), field.f1));
    let mut parts: Vec<(String, f64)> =
        classes.chain(fields).map(|(name, f1)| (name, f1.unwrap_or(0.0))).filter(|(_, f1)| *f1 < 1.0).collect();
    parts.sort_by(|one, other| one.1.total_cmp(&other.1));
    let all = candidate.classes.len() + candidate.fields.len();
    if all <= WEAKEST {
        return None;
    }
    let named: Vec<String> = parts.iter().take(WEAKEST).map(|(name, f1)| format!("{name} (F1 {f1:.2})")).collect();
    (!named.is_empty()).then(|| format!("it fails most at {}", named.join(", ")))
}
