//! Reports as a page of Markdown: a table for each data set, and what it says in words.

use eval::report::{Candidate, Comparison, Figure, Place, Report};
use std::fmt::Write;

use super::Result;

/// Labels or fields that are named as the worst.
const WORST: usize = 3;

/// All of docs/results.md.
pub(super) fn page(results: &[Result], version: &str, cpu: &str) -> String {
    let mut text = format!(
        "# Results\n\nWritten by `cargo xtask results` out of the reports of `bantam eval`, tables and words; nothing is added by \
         hand. bantam {version} on {cpu}. Rows are drawn by chance and always the same; intervals hold for all candidates of \
         a table together. A verdict asks whether the whole interval lies past the threshold. Seconds are of this machine's \
         time for all rows of a candidate, costs by its power ([machine] of the task file).\n"
    );
    for result in results {
        section(&mut text, result);
    }
    text
}

fn section(text: &mut String, result: &Result) {
    let Result { set, report, command, seconds } = result;
    let goal = &report.goal;
    let threshold = goal.threshold.unwrap_or_default();
    let _ = write!(
        text,
        "\n## {}\n\n{}. {} rows; wanted: {} of {threshold}. {}, `{command}`, {seconds:.0} s in all.\n\n\
         | candidate | verdict | {} | interval at {:.1} % | p95 | rows/s | cost of 1,000 | seconds |\n|---|---|--:|--:|--:|--:|--:|--:|\n",
        set.name,
        capital(set.about),
        report.test.rows,
        goal.metric,
        day(report.created_ms),
        goal.metric,
        100.0 * goal.level,
    );
    for candidate in &report.candidates {
        let _ = writeln!(text, "{}", row(candidate));
    }
    let _ = write!(text, "\n{}\n", in_words(report));
}

fn row(candidate: &Candidate) -> String {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    let rate = candidate.rows_per_second;
    let cells = [
        format!("`{}`{}", candidate.name, if candidate.place == Place::Baseline { ", baseline" } else { "" }),
        shown(candidate.verdict.map(|verdict| verdict.words().to_owned())),
        shown(candidate.figure.map(|figure| format!("{:.3}", figure.value))),
        shown(candidate.figure.map(|figure| format!("{:.3} to {:.3}", figure.low, figure.high))),
        shown(candidate.latency.map(|latency| milliseconds(latency.p95))),
        shown(rate.map(significant)),
        shown(candidate.cost_per_1000.map(|cost| format!("${}", significant(cost)))),
        shown(rate.map(|rate| significant(candidate.answered as f64 / rate))),
    ];
    format!("| {} |", cells.join(" | "))
}

/// What the table says: what is good enough, and where the small models lose.
fn in_words(report: &Report) -> String {
    let mut said = vec![report.verdict.text.clone()];
    let of_place = |is_baseline: bool| {
        let all = report.candidates.iter().filter(move |one| (one.place == Place::Baseline) == is_baseline);
        let known = all.filter_map(|one| Some((one, one.figure?)));
        known.max_by(|(_, one), (_, other)| one.value.total_cmp(&other.value))
    };
    let (model, baseline) = (of_place(false), of_place(true));
    match (model, baseline) {
        (Some((model, figure)), Some((baseline, other))) if other.value >= figure.value => said.push(format!(
            "The best model, {}, loses to what needs no language model, {}: {:.3} against {:.3}{}.",
            model.name,
            baseline.name,
            figure.value,
            other.value,
            apart(report, &model.name, &baseline.name)
        )),
        (Some((model, figure)), Some((baseline, other))) => said.push(format!(
            "The best model, {}, does better than the best baseline, {}: {:.3} against {:.3}{}.",
            model.name,
            baseline.name,
            figure.value,
            other.value,
            apart(report, &model.name, &baseline.name)
        )),
        (Some((model, figure)), None) => {
            said.push(format!(
                "The best model is {} with {:.3}; no baseline fits this kind.",
                model.name, figure.value
            ));
        }
        (None, _) => said.push("No model has a figure.".to_owned()),
    }
    said.extend(model.and_then(|(model, figure)| weak(model, figure, report)));
    said.extend(behind(report));
    for candidate in report.candidates.iter().filter(|one| one.answered == 0) {
        let reason = candidate.reasons.first().map_or("", String::as_str).lines().next().unwrap_or_default();
        said.push(format!("{} has no figure: {reason}.", candidate.name));
    }
    if let Some(least) = report.smallest_difference {
        said.push(format!("So many rows show a difference of {least:.3} between two candidates 4 times of 5."));
    }
    said.join(" ")
}

/// Whether chance makes such a difference, where the report compares the two.
fn apart(report: &Report, one: &str, other: &str) -> String {
    let is_of = |comparison: &&Comparison| {
        let pair = [comparison.candidate.as_str(), comparison.with.as_str()];
        pair == [one, other] || pair == [other, one]
    };
    report.comparisons.iter().find(is_of).map_or(String::new(), |comparison| match comparison.p {
        p if p < 0.001 => ", p < 0.001".to_owned(),
        p => format!(", p = {p:.3}{}", if p < 0.05 { "" } else { ", which may be chance" }),
    })
}

/// The labels or fields that the best model has least right.
fn weak(model: &Candidate, figure: Figure, report: &Report) -> Option<String> {
    let classes = model
        .classes
        .iter()
        .filter(|class| class.rows > 0)
        .map(|class| (class.label.clone().unwrap_or_else(|| "none of these".to_owned()), class.f1.unwrap_or(0.0)));
    let fields = model.fields.iter().map(|field| (field.field.clone(), field.f1.unwrap_or(0.0)));
    let mut parts: Vec<(String, f64)> = classes.chain(fields).filter(|(_, f1)| *f1 < figure.value).collect();
    parts.sort_by(|one, other| one.1.total_cmp(&other.1));
    parts.truncate(WORST);
    let named: Vec<String> = parts.iter().map(|(name, f1)| format!("{name} ({f1:.2})")).collect();
    let kind = if report.kind == "classify" { "labels" } else { "fields" };
    (!named.is_empty()).then(|| format!("{} is worst, by F1, on the {kind} {}.", model.name, named.join(", ")))
}

/// Models that are behind the one that all are compared with, by more than chance.
fn behind(report: &Report) -> Option<String> {
    let sign = if report.goal.is_better_higher { 1.0 } else { -1.0 };
    let is_model = |name: &str| report.candidates.iter().any(|one| one.name == name && one.place != Place::Baseline);
    let lost = report.comparisons.iter().filter(|one| is_model(&one.candidate) && one.p < 0.05);
    let lost: Vec<&Comparison> = lost.filter(|one| sign * one.difference.value < 0.0).collect();
    let with = &lost.first()?.with;
    let named: Vec<String> =
        lost.iter().map(|one| format!("{} by {:.3}", one.candidate, one.difference.value.abs())).collect();
    Some(format!("Behind {with} on the same rows, by more than chance: {}.", named.join(", ")))
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

fn milliseconds(ms: f64) -> String {
    if ms >= 1000.0 { format!("{} s", significant(ms / 1000.0)) } else { format!("{} ms", significant(ms)) }
}

/// Three digits that say something.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (2 - value.abs().log10().floor() as i32).max(0);
    format!("{value:.*}", usize::try_from(digits).unwrap_or(0))
}

/// The day of a moment, in UTC.
fn day(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let day = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH).date();
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn candidate(name: &str, place: &str, value: f64) -> Candidate {
        let place = serde_json::from_value(json!(place)).unwrap();
        let figure = Some(Figure { value, low: value - 0.05, high: value + 0.05 });
        Candidate { figure, answered: 100, rows_per_second: Some(8.0), ..Candidate::without_answers(name, name, place) }
    }

    #[test]
    fn where_a_model_loses_is_said() {
        let mut report: Report = serde_json::from_value(json!({
            "version": 1, "run": "r", "created_ms": 1_795_796_395_000_u64, "task": "t", "kind": "classify",
            "verdict": {"verdict": "not_good_enough", "recommended": null, "text": "No candidate is.", "more_rows": null},
            "goal": {"metric": "accuracy", "about": "", "threshold": 0.9, "is_better_higher": true, "confidence": 0.95,
                "level": 0.975, "latency_ms_p95": null, "cost_per_1000": null},
            "test": {"table": "t", "sha256": "", "rows": 100, "groups": null, "looks": 1}, "candidates": [],
            "comparisons": [{"candidate": "small", "with": "linear", "rows": 100, "p": 0.0001, "only_this": 1,
                "only_other": 30, "difference": {"value": -0.3, "low": -0.4, "high": -0.2}}],
            "smallest_difference": 0.12, "notes": [], "warnings": []
        }))
        .unwrap();
        report.candidates = vec![candidate("small", "local", 0.5), candidate("linear", "baseline", 0.8)];
        assert_eq!(
            in_words(&report),
            "No candidate is. The best model, small, loses to what needs no language model, linear: 0.500 against 0.800, \
             p < 0.001. Behind linear on the same rows, by more than chance: small by 0.300. So many rows show a \
             difference of 0.120 between two candidates 4 times of 5."
        );
        assert_eq!(
            row(&report.candidates[1]),
            "| `linear`, baseline | – | 0.800 | 0.750 to 0.850 | – | 8.00 | – | 12.5 |"
        );
        assert_eq!(day(report.created_ms), "2026-11-27");
        assert_eq!((day(951_782_400_000), day(0)), ("2000-02-29".to_owned(), "1970-01-01".to_owned()));
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([0.012_34, 1.234, 123.4, 12_345.6].map(significant), ["0.0123", "1.23", "123", "12346"]);
    }
}
