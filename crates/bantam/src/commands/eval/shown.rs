//! A report as people read it in a terminal, and as files.

use crate::failure::UsedWrongly;
use crate::table::{Align, table};
use ::eval::gate::Gate;
use ::eval::report::{Candidate, Figure, Named, Part, Protocol, Report};
use ::eval::{render, verdict::Verdict};
use std::path::Path;

/// Writes a report as a text.
type Write = fn(&Report) -> anyhow::Result<String>;

/// What a report can be written as.
const ENDINGS: [(&str, Write); 3] = [
    ("html", |report| Ok(render::html(report))),
    ("md", |report| Ok(render::markdown(report))),
    ("json", |report| Ok(serde_json::to_string_pretty(report)? + "\n")),
];

fn written(path: &Path) -> Option<Write> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, write)| *write)
}

/// Looks whether a report can be written under a name, before anything is asked.
pub fn check_report(path: &Path) -> anyhow::Result<()> {
    let name = path.display();
    if written(path).is_none() {
        let text = format!("--report: expected a file that ends in .html, .md or .json, got {name}");
        return Err(UsedWrongly(text).into());
    }
    temporary(path).map(drop)
}

/// A file beside the one that is to be, with the rights that new files have.
pub fn temporary(path: &Path) -> anyhow::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The system takes away what its user keeps from others (umask).
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|error| anyhow::anyhow!("{}: cannot be written: {error}", path.display()))
}

/// Writes a report, all of it or nothing.
pub fn write_report(report: &Report, path: &Path) -> anyhow::Result<()> {
    let Some(write) = written(path) else { anyhow::bail!("{}: no kind of report", path.display()) };
    let mut file = temporary(path)?;
    std::io::Write::write_all(&mut file, write(report)?.as_bytes())?;
    file.persist(path).map_err(|error| anyhow::anyhow!("{}: cannot be written: {error}", path.display()))?;
    Ok(())
}

fn figure(figure: Option<Figure>) -> String {
    figure.map_or("-".to_owned(), |Figure { value, low, high }| format!("{value:.3} ({low:.3} to {high:.3})"))
}

/// A candidate in a line, as soon as it is judged.
pub fn line(candidate: &Candidate) -> String {
    let verdict = candidate.verdict.map_or(String::new(), |verdict| format!(": {}", verdict.words()));
    let reused = match candidate.reused {
        0 => String::new(),
        rows => format!(", {rows} answers known before"),
    };
    let early = if candidate.stopped_early { ", ended early" } else { "" };
    format!("{}: {}{verdict}; {} rows{reused}{early}", candidate.name, figure(candidate.figure), candidate.answered)
}

/// The verdict first, then every candidate in a line, then why and what would help.
pub fn text(report: &Report) -> String {
    let mut text = match report.verdict.verdict {
        Some(verdict) => format!("{}. {}\n\n", capital(verdict.words()), report.verdict.text),
        None => format!("{}\n\n", capital(&report.verdict.text)),
    };
    if let Some(gate) = &report.gate {
        text.push_str(&compared(gate));
    }
    if let Some(Protocol { suite, text: protocol, source, .. }) = &report.protocol {
        let rows = report.test.rows;
        text.push_str(&format!("{suite}, {rows} rows: {protocol}\nsource: {source}\n\n"));
    }
    let header = [
        ("CANDIDATE", Align::Left),
        (report.goal.metric.as_str(), Align::Left),
        ("VERDICT", Align::Left),
        ("P50", Align::Right),
        ("P95", Align::Right),
        ("ROWS/S", Align::Right),
        ("PER 1,000", Align::Right),
        ("FAILED", Align::Right),
    ];
    let rows: Vec<Vec<String>> = report.candidates.iter().map(row).collect();
    text.push_str(&table(&header, &rows));
    for candidate in &report.candidates {
        text.push_str(&figures(candidate, report));
        if let Some(flaky) = &candidate.flaky {
            let (name, rows, tries) = (&candidate.name, flaky.rows, flaky.tries);
            text.push_str(&format!(
                "\n{name}: {rows} of {} rows had different answers in {tries} tries; the worst try came to {:.3}, the best \
                 to {:.3}\n",
                candidate.answered, flaky.lowest, flaky.highest
            ));
        }
        if candidate.stopped_early {
            text.push_str(&format!(
                "\n{}: ended after {} rows, as enough was known\n",
                candidate.name, candidate.answered
            ));
        }
    }
    for candidate in report.candidates.iter().filter(|one| one.verdict != Some(Verdict::GoodEnough)) {
        let lines: Vec<&String> = candidate.reasons.iter().chain(&candidate.advice).collect();
        if !lines.is_empty() {
            text.push_str(&format!("\n{}:\n", candidate.name));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
        if let Some(failure) = candidate.failures.first() {
            let reason = failure.reason.replace('\n', "; ");
            text.push_str(&format!("  row {} failed: {reason}\n", failure.number));
        }
    }
    text
}

/// How the run stands to an earlier one.
fn compared(gate: &Gate) -> String {
    let mut text = format!("{}\n", gate.text);
    for change in &gate.changes {
        change.reasons.iter().for_each(|reason| text.push_str(&format!("  {}: {reason}\n", change.candidate)));
    }
    gate.warnings.iter().for_each(|warning| text.push_str(&format!("  warning: {warning}\n")));
    text + "\n"
}

/// How a standard benchmark was asked, and the figures that it usually has beside the main one.
fn figures(candidate: &Candidate, report: &Report) -> String {
    if report.protocol.is_none() || candidate.figures.is_empty() && candidate.parts.is_empty() {
        return String::new();
    }
    let named = |named: &[Named]| {
        let each = named.iter().map(|named| format!("{} {}", named.metric, figure(Some(named.figure))));
        each.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("\n{}:\n", candidate.name);
    if !candidate.figures.is_empty() {
        text.push_str(&format!("  all rows: {}\n", named(&candidate.figures)));
    }
    for Part { name, rows, figures } in &candidate.parts {
        text.push_str(&format!("  {name} ({rows} rows): {}\n", named(figures)));
    }
    text
}

fn row(candidate: &Candidate) -> Vec<String> {
    let milliseconds = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.1} ms"));
    vec![
        candidate.name.clone(),
        figure(candidate.figure),
        candidate.verdict.map_or("-", Verdict::words).to_owned(),
        milliseconds(candidate.latency.map(|latency| latency.p50)),
        milliseconds(candidate.latency.map(|latency| latency.p95)),
        candidate.rows_per_second.map_or("-".to_owned(), |rate| format!("{rate:.1}")),
        candidate.cost_per_1000.map_or("unknown".to_owned(), |cost| format!("${cost:.5}")),
        candidate.failures.len().to_string(),
    ]
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}
