//! What a page shows of a report beyond the report itself: its heading, what to do next, plots, and lists in the order
//! that people read them in. The templates write it down and decide nothing.
//!
//! Read next: `plot.rs` for plots, `confusion.rs` for labels that were mistaken.

use super::axis::Axis;
use super::confusion::Confusion;
use super::numbers::{self, Unit};
use super::plot::{Plot, Point, Side, Size, Span};
use crate::gate::Course;
use crate::report::{Bin, Calibration, Candidate, Class, Field, Figure, Report, Row};
use crate::verdict::Verdict;
use serde::Serialize;
use serde_json::Value;

/// Whoever has looked at a test more often than this has fitted something to it.
pub(super) const MANY_LOOKS: u64 = 10;
/// Letters of a text that a page shows.
const LONGEST_TEXT: usize = 320;

/// A plot is laid out twice, and the width of the page decides which is seen.
const WIDE: Size = Size { width: 560.0, height: 380.0 };
const NARROW: Size = Size { width: 340.0, height: 340.0 };
const SQUARE: Size = Size { width: 320.0, height: 300.0 };
/// Half the width of a candidate's mark.
const RADIUS: f64 = 5.0;
/// Less is drawn as nought: US dollars for 1,000 inputs, and milliseconds.
const LEAST_COST: f64 = 1e-6;
const LEAST_LATENCY: f64 = 1e-2;

/// Everything that the templates write down.
#[derive(Debug, Serialize)]
pub(super) struct Page<'r> {
    report: &'r Report,
    unit: Unit,
    look: &'static str,
    heading: String,
    next: Vec<String>,
    is_looked_at_often: bool,
    gate_look: &'static str,
    courses: Vec<&'static str>,
    charts: Vec<Chart>,
    candidates: Vec<Shown<'r>>,
}

/// A plot of all candidates.
#[derive(Debug, Serialize)]
struct Chart {
    title: &'static str,
    /// The same plot for desktops and for phones; none where nothing can be drawn.
    layouts: Option<[Plot; 2]>,
    /// Who is not in it, each with why.
    left_out: Vec<String>,
}

/// A candidate, with what a page shows of it.
#[derive(Debug, Serialize)]
struct Shown<'r> {
    #[serde(flatten)]
    candidate: &'r Candidate,
    is_recommended: bool,
    look: &'static str,
    words: Option<&'static str>,
    strip: Option<Strip>,
    others: Vec<Other<'r>>,
    by_class: Vec<&'r Class>,
    by_field: Vec<&'r Field>,
    confusion: Option<Confusion>,
    reliability: Option<Plot>,
    rows: Vec<ShownRow>,
}

/// An interval in a line of a table, in percent of its width.
#[derive(Debug, Serialize)]
struct Strip {
    low: f64,
    value: f64,
    high: f64,
    threshold: Option<f64>,
}

/// The figure of another metric.
#[derive(Debug, Serialize)]
struct Other<'r> {
    metric: &'r str,
    figure: String,
    interval: String,
}

/// A row of the test, as text.
#[derive(Debug, Serialize)]
struct ShownRow {
    number: u64,
    input: String,
    expected: String,
    given: String,
    confidence: Option<f64>,
    score: Option<f64>,
}

impl Page<'_> {
    /// What is shown of a report.
    pub(super) fn of(report: &Report) -> Page<'_> {
        let unit = unit(report);
        let scale = Axis::linear(&figures(report), unit.bounds());
        Page {
            report,
            unit,
            look: look(report.verdict.verdict),
            heading: heading(report),
            next: next(report),
            is_looked_at_often: report.test.looks > MANY_LOOKS,
            gate_look: report.gate.as_ref().map_or("plain", |gate| course_look(gate.course)),
            courses: report.gate.iter().flat_map(|gate| &gate.changes).map(|change| change.course.words()).collect(),
            charts: vec![
                chart(report, &COST, report.goal.cost_per_1000),
                chart(report, &LATENCY, report.goal.latency_ms_p95),
            ],
            candidates: report.candidates.iter().map(|candidate| shown(candidate, report, scale.as_ref())).collect(),
        }
    }
}

/// What all candidates' figures are.
fn unit(report: &Report) -> Unit {
    Unit::of(figures(report))
}

/// The figures of the goal's metric, their intervals and the threshold.
fn figures(report: &Report) -> Vec<f64> {
    let figures = report.candidates.iter().filter_map(|candidate| candidate.figure);
    figures.flat_map(|figure| [figure.low, figure.value, figure.high]).chain(report.goal.threshold).collect()
}

/// The name that style sheet and templates have for a verdict.
fn look(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::GoodEnough) => "good",
        Some(Verdict::NotGoodEnough) => "bad",
        Some(Verdict::NotEnoughEvidence) => "open",
        None => "plain",
    }
}

/// The same for how a candidate stands to what it was.
fn course_look(course: Course) -> &'static str {
    match course {
        Course::Worse => "bad",
        Course::Unknown => "open",
        Course::Same | Course::Better => "good",
    }
}

fn heading(report: &Report) -> String {
    match (report.verdict.verdict, &report.verdict.recommended) {
        (Some(Verdict::GoodEnough), Some(name)) => format!("Good enough: use {name}"),
        (Some(Verdict::GoodEnough), None) => "Good enough".to_owned(),
        (Some(Verdict::NotGoodEnough), _) => "Not good enough".to_owned(),
        (Some(Verdict::NotEnoughEvidence), _) => "Not enough evidence".to_owned(),
        (None, _) => "No verdict: the task names no threshold".to_owned(),
    }
}

/// What to do next, a sentence each.
fn next(report: &Report) -> Vec<String> {
    let mut next = match report.verdict.verdict {
        Some(Verdict::GoodEnough) => {
            let name = report.verdict.recommended.as_deref().unwrap_or("it");
            vec![format!(
                "Take {name} for this task, and evaluate again when the model, the prompt or the inputs change."
            )]
        }
        Some(Verdict::NotEnoughEvidence) => {
            let rows = report.verdict.more_rows.map_or("more rows".to_owned(), |rows| match rows {
                1 => "one more row".to_owned(),
                rows => format!("about {} more rows", numbers::count(rows)),
            });
            vec![format!(
                "Label {rows} that nobody has looked at, and evaluate again: what has an answer is not asked again. A test \
                 that is looked at until it passes proves little; with --stop-when-sure it may be looked at after every row."
            )]
        }
        Some(Verdict::NotGoodEnough) => best(report).map(|best| best.advice.clone()).unwrap_or_default(),
        None => {
            vec!["Name a threshold in the task file: the figure from which on a model is of use to you.".to_owned()]
        }
    };
    if report.test.looks > MANY_LOOKS {
        next.push("Take fresh test rows before you rely on this: these have been looked at often.".to_owned());
    }
    next
}

/// The candidate with the best figure.
fn best(report: &Report) -> Option<&Candidate> {
    let sign = if report.goal.is_better_higher { 1.0 } else { -1.0 };
    let known = report.candidates.iter().filter_map(|candidate| Some((candidate, sign * candidate.figure?.value)));
    known
        .filter(|(_, figure)| !figure.is_nan())
        .max_by(|(_, left), (_, right)| left.total_cmp(right))
        .map(|(best, _)| best)
}

/// Something that candidates should have little of.
struct Measure {
    chart: &'static str,
    axis: &'static str,
    show: fn(f64) -> String,
    of: fn(&Candidate) -> Option<Span>,
    /// Why a candidate has none.
    lacking: &'static str,
}

const COST: Measure = Measure {
    chart: "Cost and quality",
    axis: "US dollars for 1,000 inputs",
    show: numbers::dollars,
    of: |candidate| {
        let cost = candidate.cost_per_1000?;
        // With one row alone no interval is known.
        let drawn = |end: Option<f64>| or_nought(end.unwrap_or(cost), LEAST_COST);
        Some(Span { low: drawn(candidate.cost_low), value: drawn(Some(cost)), high: drawn(candidate.cost_high) })
    },
    lacking: "no price is known",
};

const LATENCY: Measure = Measure {
    chart: "Latency and quality",
    axis: "95 of 100 answers take no longer (p95)",
    show: numbers::milliseconds,
    of: |candidate| {
        let latency = candidate.latency?;
        let drawn = |ms: f64| or_nought(ms, LEAST_LATENCY);
        let high = latency.p95_high.map_or(f64::INFINITY, drawn);
        Some(Span { low: drawn(latency.p95_low), value: drawn(latency.p95), high })
    },
    lacking: "no row was asked alone",
};

/// All candidates, by their figures and by how much they have of a measure, of which `limit` is to be kept.
fn chart(report: &Report, measure: &'static Measure, limit: Option<f64>) -> Chart {
    let unit = unit(report);
    let (mut points, mut left_out) = (Vec::new(), Vec::new());
    for candidate in &report.candidates {
        let x = (measure.of)(candidate).filter(|x| x.value.is_finite() && x.value >= 0.0);
        let figure = candidate.figure.filter(|figure| figure.value.is_finite());
        match (x, figure) {
            (Some(x), Some(figure)) => points.push(point(candidate, x, &figure, unit, measure)),
            (None, _) => left_out.push(format!("{}: {}", candidate.name, measure.lacking)),
            (_, None) => left_out.push(format!("{}: no figure", candidate.name)),
        }
    }
    let limit = limit.filter(|limit| limit.is_finite());
    let threshold = report.goal.threshold.filter(|threshold| threshold.is_finite());
    let ends = |span: &Span| [span.low, span.value, span.high];
    let xs: Vec<f64> = points.iter().flat_map(|point| ends(&point.x)).chain(limit).collect();
    let ys: Vec<f64> = points.iter().flat_map(|point| ends(&point.y)).chain(threshold).collect();
    let better = if report.goal.is_better_higher { "" } else { ", less is better" };
    let layout = |size| {
        let x = Side {
            title: measure.axis.to_owned(),
            axis: Axis::fitting(&xs)?,
            show: Box::new(|value| numbers::short(&(measure.show)(value))),
            limit,
            is_better_higher: false,
        };
        let y = Side {
            title: format!("{}{better}", report.goal.metric),
            axis: Axis::linear(&ys, unit.bounds())?,
            show: Box::new(move |value| unit.show_short(value)),
            limit: threshold,
            is_better_higher: report.goal.is_better_higher,
        };
        Some(Plot::of(&points, &x, &y, size))
    };
    let layouts = if points.is_empty() { None } else { layout(WIDE).zip(layout(NARROW)).map(<[Plot; 2]>::from) };
    Chart { title: measure.chart, layouts, left_out }
}

fn point(candidate: &Candidate, x: Span, figure: &Figure, unit: Unit, measure: &Measure) -> Point {
    let (value, interval) = (unit.show(figure.value), unit.show_interval(figure));
    let about = format!("{}: {value} ({interval}), {}", candidate.name, (measure.show)(x.value));
    let y = Span { low: figure.low, value: figure.value, high: figure.high };
    Point { name: candidate.name.clone(), about, look: look(candidate.verdict), radius: RADIUS, x, y }
}

/// On an axis of factors the smallest values would take most of the room and say least.
fn or_nought(value: f64, least: f64) -> f64 {
    if (0.0..least).contains(&value) { 0.0 } else { value }
}

fn exact(value: f64) -> Span {
    Span { low: value, value, high: value }
}

fn shown<'r>(candidate: &'r Candidate, report: &Report, scale: Option<&Axis>) -> Shown<'r> {
    let strip = candidate.figure.zip(scale).and_then(|(figure, scale)| strip(&figure, report.goal.threshold, scale));
    let others = candidate.figures.iter().map(|named| {
        let unit = Unit::of([named.figure.low, named.figure.value, named.figure.high]);
        Other {
            metric: &named.metric,
            figure: unit.show(named.figure.value),
            interval: unit.show_interval(&named.figure),
        }
    });
    let mut by_class: Vec<&Class> = candidate.classes.iter().collect();
    by_class.sort_by(|left, right| {
        let is_empty = |class: &Class| class.rows == 0;
        is_empty(left).cmp(&is_empty(right)).then(f1(left.f1).total_cmp(&f1(right.f1)))
    });
    let mut by_field: Vec<&Field> = candidate.fields.iter().collect();
    by_field.sort_by(|left, right| f1(left.f1).total_cmp(&f1(right.f1)));
    Shown {
        candidate,
        is_recommended: report.verdict.recommended.as_ref() == Some(&candidate.name),
        look: look(candidate.verdict),
        words: candidate.verdict.map(Verdict::words),
        strip,
        others: others.collect(),
        by_class,
        by_field,
        confusion: Confusion::of(candidate),
        reliability: candidate.calibration.as_ref().and_then(reliability),
        rows: candidate.worst.iter().map(|row| shown_row(row, &report.kind)).collect(),
    }
}

/// The interval of a figure on a scale; an end that is no number is open.
fn strip(figure: &Figure, threshold: Option<f64>, scale: &Axis) -> Option<Strip> {
    let place = |value: f64| (scale.place(value) * 1000.0).round() / 10.0;
    let or_open = |value: f64, open: f64| if value.is_finite() { place(value) } else { open };
    figure.value.is_finite().then(|| Strip {
        low: or_open(figure.low, 0.0),
        value: place(figure.value),
        high: or_open(figure.high, 100.0),
        threshold: threshold.filter(|threshold| threshold.is_finite()).map(place),
    })
}

/// A label that was never given has no F1 and is as bad as one that was never right.
fn f1(f1: Option<f64>) -> f64 {
    f1.filter(|f1| f1.is_finite()).unwrap_or(0.0)
}

/// How often a candidate is right that is so sure.
fn reliability(calibration: &Calibration) -> Option<Plot> {
    let is_drawable = |bin: &&Bin| bin.rows > 0 && bin.confidence.is_finite() && bin.right.value.is_finite();
    let bins: Vec<&Bin> = calibration.bins.iter().filter(is_drawable).collect();
    let most = bins.iter().map(|bin| bin.rows).max()?;
    let points: Vec<Point> = bins
        .iter()
        .map(|bin| {
            let about = format!(
                "{} rows with a confidence of about {}: {} right ({})",
                numbers::count(bin.rows),
                numbers::share(bin.confidence),
                numbers::share(bin.right.value),
                Unit::Share.show_interval(&bin.right),
            );
            let radius = 2.5 + 4.5 * (bin.rows as f64 / most as f64).sqrt();
            let y = Span { low: bin.right.low, value: bin.right.value, high: bin.right.high };
            Point { name: String::new(), about, look: "plain", radius, x: exact(bin.confidence), y }
        })
        .collect();
    let side = |title: &str| Side {
        title: title.to_owned(),
        axis: Axis::shares(),
        show: Box::new(numbers::short_share),
        limit: None,
        is_better_higher: true,
    };
    Some(Plot::of(&points, &side("confidence"), &side("share that is right"), SQUARE))
}

fn shown_row(row: &Row, kind: &str) -> ShownRow {
    ShownRow {
        number: row.number,
        input: shortened(&row.input),
        expected: shortened(&in_words(&row.expected, kind)),
        given: shortened(&in_words(&row.outcome, kind)),
        confidence: row.confidence,
        score: row.score,
    }
}

/// The fields of an outcome that hold its answer, one of each kind of task.
const ANSWERS: &[&str] = &["label", "labels", "answer", "value", "text", "summary", "completion"];

/// An answer as people read it: without quotes around a text, and without what an outcome says beside it.
pub fn in_words(value: &Value, kind: &str) -> String {
    match value {
        Value::Null if kind == "classify" => "none of these".to_owned(),
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(labels) if !labels.is_empty() && labels.iter().all(Value::is_string) => {
            labels.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) => match ANSWERS.iter().find_map(|name| fields.get(*name)) {
            Some(Value::Object(answer)) => Value::Object(answer.clone()).to_string(),
            Some(answer) => in_words(answer, kind),
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;
    use serde_json::json;

    #[test]
    fn answers_are_told_from_what_stands_beside_them() {
        for (value, kind, text) in [
            (json!("late"), "classify", "late"),
            (json!({"label": "late", "probability": 0.9}), "classify", "late"),
            (json!({"label": null}), "classify", "none of these"),
            (json!({"answer": null, "found": false}), "answer", "nothing"),
            (json!({"labels": ["a", "b"]}), "classify", "a, b"),
            (json!({"value": {"text": "a"}, "fields": {}}), "extract", r#"{"text":"a"}"#),
            (json!({"total": 3}), "extract", r#"{"total":3}"#),
            (json!([]), "classify", "[]"),
        ] {
            assert_eq!(in_words(&value, kind), text, "{value}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(shortened(&"ß".repeat(320)), "ß".repeat(320));
        assert_eq!(shortened(&"ß".repeat(321)), format!("{}…", "ß".repeat(320)));
    }

    #[test]
    fn the_worst_class_is_first_and_one_without_rows_last() {
        let class =
            |label: &str, rows, f1| Class { label: Some(label.to_owned()), rows, precision: None, recall: None, f1 };
        let classes = vec![
            class("good", 9, Some(0.9)),
            class("absent", 0, None),
            class("never", 3, None),
            class("bad", 9, Some(0.1)),
        ];
        let candidate = Candidate { classes, ..sample::candidate("c") };
        let report = sample::report();
        let order: Vec<_> =
            shown(&candidate, &report, None).by_class.iter().filter_map(|class| class.label.clone()).collect();
        assert_eq!(order, ["never", "bad", "good", "absent"]);
    }

    #[test]
    fn candidates_that_cannot_be_drawn_are_named() {
        let mut report = sample::report();
        report.candidates = vec![
            Candidate { cost_per_1000: None, ..sample::candidate("unpriced") },
            Candidate { figure: None, ..sample::candidate("unjudged") },
            Candidate { cost_per_1000: Some(f64::NAN), ..sample::candidate("odd") },
        ];
        let chart = chart(&report, &COST, None);
        assert_eq!(chart.left_out, ["unpriced: no price is known", "unjudged: no figure", "odd: no price is known"]);
        assert!(chart.layouts.is_none());
    }

    #[test]
    fn what_to_do_next_is_what_the_verdict_asks_for() {
        let mut report = sample::report();
        let said = |report: &Report| next(report).join(" ");
        assert!(said(&report).starts_with("Take linear for this task"), "{}", said(&report));
        report.verdict.verdict = Some(Verdict::NotEnoughEvidence);
        report.verdict.more_rows = Some(1340);
        assert!(
            said(&report).starts_with("Label about 1,340 more rows that nobody has looked at, and evaluate again"),
            "{}",
            said(&report)
        );
        report.verdict.verdict = Some(Verdict::NotGoodEnough);
        report.candidates[0].advice = vec!["Not of the best.".to_owned()];
        report
            .candidates
            .retain(|candidate| candidate.name.starts_with("majority") || candidate.name.starts_with("smol"));
        assert_eq!(next(&report), report.candidates[1].advice);
        report.verdict.verdict = None;
        report.test.looks = 11;
        assert!(said(&report).contains("Name a threshold") && said(&report).contains("Take fresh test rows"));
    }
}
