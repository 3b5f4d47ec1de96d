//! What was measured: rows kept in a file for each processor, and the table of README.md that is written from them.
//!
//! A row is one test of one model against one peer. A later run replaces the rows of the same test and leaves the others,
//! so each row carries its date and the versions. Read next: `../readme.rs`, which puts the table into its place.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::tools::Work;

const FOLDER: &str = "bench/results";

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Test {
    Prompt,
    Generate,
}

/// One engine in one test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Side {
    pub(super) engine: String,
    /// As the engine reports it.
    pub(super) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) isa: Option<String>,
    /// One for each turn, in order.
    pub(super) tokens_per_second: Vec<f64>,
    /// The limit of the machine that is reached first, and the median share of it, from engines that know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of_limit: Option<f64>,
}

/// Bantam's speed over a peer's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ratio {
    /// Of the medians.
    median: f64,
    /// Of two runs next to each other.
    min: f64,
    max: f64,
}

/// One test of one model against one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    model: String,
    test: Test,
    tokens: usize,
    depth: usize,
    batch: usize,
    threads: usize,
    /// Of the measurement: `YYYY-MM-DD`.
    date: String,
    bantam: Side,
    peer: Side,
    ratio: Ratio,
}

impl Row {
    pub(super) fn of(work: &Work, test: Test, date: &str, bantam: Side, peer: Side) -> Row {
        let pairs = bantam.tokens_per_second.iter().zip(&peer.tokens_per_second);
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        let ratio = Ratio {
            median: rounded(median(&bantam.tokens_per_second) / median(&peer.tokens_per_second), 1000.0),
            min: rounded(ratios.iter().copied().fold(f64::INFINITY, f64::min), 1000.0),
            max: rounded(ratios.iter().copied().fold(0.0, f64::max), 1000.0),
        };
        let tokens = match test {
            Test::Prompt => work.prompt,
            Test::Generate => work.generate,
        };
        // Peers of a batch generate behind their prompts.
        let depth = if test == Test::Generate && work.batch > 1 { work.prompt } else { work.depth };
        Row {
            // A path would be of one machine alone.
            model: Path::new(&work.model).file_name().unwrap_or_default().to_string_lossy().into_owned(),
            test,
            tokens,
            depth,
            batch: work.batch,
            threads: work.threads,
            date: date.to_owned(),
            bantam,
            peer,
            ratio,
        }
    }

    /// For the person who waited.
    pub(super) fn line(&self) -> String {
        let Row { model, bantam, peer, .. } = self;
        format!(
            "{model} {}: bantam {:.1}{}, {} {:.1} tokens/s; {}",
            self.what(),
            median(&bantam.tokens_per_second),
            bantam.share().map_or_else(String::new, |share| format!(" ({share})")),
            peer.engine,
            median(&peer.tokens_per_second),
            self.ratio.text(),
        )
    }

    /// `prompt 512, depth 8192`
    fn what(&self) -> String {
        let test = match self.test {
            Test::Prompt => "prompt",
            Test::Generate => "generate",
        };
        let batch = if self.batch > 1 { format!(", {} at once", self.batch) } else { String::new() };
        let depth = if self.depth > 0 { format!(", depth {}", self.depth) } else { String::new() };
        format!("{test} {}{batch}{depth}", self.tokens)
    }

    /// Whether a new measurement takes this one's place.
    fn is_same_test(&self, other: &Row) -> bool {
        let key = |row: &Row| (row.model.clone(), row.test, row.tokens, row.depth, row.batch, row.threads);
        key(self) == key(other) && self.peer.engine == other.peer.engine && self.bantam.isa == other.bantam.isa
    }
}

impl Side {
    /// `63 % int8`
    fn share(&self) -> Option<String> {
        let (limit, share) = self.limit.as_ref().zip(self.of_limit)?;
        Some(format!("{:.0} % {limit}", 100.0 * share))
    }
}

/// Two runs next to each other meet the same machine; ratios further apart than this were disturbed by something else.
const MOST_SPREAD: f64 = 1.5;

impl Ratio {
    /// `5.91x (5.80 to 6.02)`, with `disturbed` where they lie far apart.
    fn text(&self) -> String {
        let disturbed = if self.is_disturbed() { "; disturbed" } else { "" };
        format!("{:.2}x ({:.2} to {:.2}{disturbed})", self.median, self.min, self.max)
    }

    fn is_disturbed(&self) -> bool {
        self.max > MOST_SPREAD * self.min
    }
}

/// All that was measured on machines with one processor.
#[derive(Debug, Serialize, Deserialize)]
struct Results {
    cpu: String,
    rows: Vec<Row>,
}

/// Puts rows into the file of a processor; returns its path.
///
/// # Errors
/// A file that cannot be read or written.
pub(super) fn keep(root: &Path, cpu: &str, rows: Vec<Row>) -> anyhow::Result<PathBuf> {
    let path = root.join(FOLDER).join(format!("{}.json", slug(cpu)));
    let mut results = if path.exists() { read(&path)? } else { Results { cpu: cpu.to_owned(), rows: Vec::new() } };
    results.rows.retain(|old| !rows.iter().any(|new| new.is_same_test(old)));
    results.rows.extend(rows);
    std::fs::create_dir_all(root.join(FOLDER))?;
    std::fs::write(&path, serde_json::to_string_pretty(&results)? + "\n")?;
    Ok(path)
}

fn read(path: &Path) -> anyhow::Result<Results> {
    serde_json::from_slice(&std::fs::read(path)?).with_context(|| format!("cannot read {}", path.display()))
}

/// The tables of all processors, each under its name.
///
/// # Errors
/// A file of results that cannot be read.
pub(in crate::commands) fn table(root: &Path) -> anyhow::Result<String> {
    let folder = root.join(FOLDER);
    let mut paths = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let results = paths.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(text(&results))
}

fn text(results: &[Results]) -> String {
    const HEADER: &str = "| model | test | Bantam, tokens/s | of the limit | peer | its tokens/s | ratio (smallest to largest) |\n\
                          |---|---|---:|---:|---|---:|---:|\n";
    if results.is_empty() {
        return format!("{HEADER}| not measured yet | | | | | | |\n");
    }
    let tables = results.iter().map(|results| {
        let mut text = format!("**{}**\n\n{HEADER}", results.cpu);
        for row in &results.rows {
            let Row { model, bantam, peer, ratio, .. } = row;
            let cells = [
                format!("`{model}`"),
                row.what(),
                format!("{:.1}", median(&bantam.tokens_per_second)),
                bantam.share().unwrap_or_default(),
                peer.engine.clone(),
                format!("{:.1}", median(&peer.tokens_per_second)),
                ratio.text(),
            ];
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        text.push('\n');
        if results.rows.iter().any(|row| row.ratio.is_disturbed()) {
            text.push_str(&format!(
                "*Disturbed*: the largest ratio is more than {MOST_SPREAD} times the smallest, so something else used the \
                 machine in at least one of those runs. The medians are less exact there than in the other rows.\n\n"
            ));
        }
        text + &measured(&results.rows)
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// With what and when, each combination once.
fn measured(rows: &[Row]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for Row { bantam, peer, threads, date, .. } in rows {
        let isa = bantam.isa.as_deref().unwrap_or("?");
        let engines = format!("Bantam {} against {} {}", bantam.version, peer.engine, peer.version);
        let line = format!("{engines}, {threads} threads, {isa}, {date}.\n");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}

/// The middle value, the mean of two for an even count.
pub(in super::super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len.is_multiple_of(2) => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

/// To whole parts of one, `parts` of them: what follows is noise.
pub(in super::super) fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// What the system calls the processor.
pub(in super::super) fn cpu_name() -> String {
    cpu_of(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// The name that `/proc/cpuinfo` tells of the first processor, with the numbers that tell generations apart: on virtual machines
/// several have one name.
fn cpu_of(told: &str) -> String {
    let value = |key: &str| {
        let of_key = |line: &str| {
            line.split_once(':').filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
        };
        told.lines().find_map(of_key).filter(|value| !value.is_empty())
    };
    let name = value("model name").unwrap_or_else(|| format!("unknown {}", std::env::consts::ARCH));
    match (value("cpu family"), value("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    }
}

/// A name as that of a file: `Intel(R) Xeon(R) Processor` becomes `intel-xeon-processor`.
pub(in super::super) fn slug(name: &str) -> String {
    let plain = name.to_lowercase().replace("(r)", " ").replace("(tm)", " ");
    let words = plain.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// The date of today, in UTC.
pub(in super::super) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date(seconds / 86_400)
}

/// The date that lies `days` after 1970-01-01.
fn date(days: u64) -> String {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(model: &str) -> Work {
        let file = PathBuf::new();
        Work { model: model.to_owned(), file, prompt: 512, generate: 128, depth: 0, batch: 1, threads: 2 }
    }

    fn side(engine: &str, tokens_per_second: &[f64], of_limit: Option<f64>) -> Side {
        Side {
            engine: engine.to_owned(),
            version: "1.0".to_owned(),
            isa: of_limit.map(|_| "wide".to_owned()),
            tokens_per_second: tokens_per_second.to_vec(),
            limit: of_limit.map(|_| "int8".to_owned()),
            of_limit,
        }
    }

    fn row(model: &str, ours: &[f64]) -> Row {
        let theirs = side("peer", &[100.0, 120.0, 110.0], None);
        Row::of(&work(model), Test::Prompt, "2026-01-02", side("bantam", ours, Some(0.634)), theirs)
    }

    #[test]
    fn processors_of_one_name_are_told_apart() {
        let told =
            "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n";
        assert_eq!(cpu_of(told), "AMD EPYC (family 25, model 17)");
        assert_eq!(slug(&cpu_of(told)), "amd-epyc-family-25-model-17");
        assert_eq!(cpu_of("model name : Neoverse\n"), "Neoverse");
        assert!(cpu_of("").starts_with("unknown "));
    }

    #[test]
    fn a_ratio_is_of_medians_and_its_spread_of_pairs() {
        let row = row("a/folder/tiny.gguf", &[300.0, 300.0, 440.0]);
        assert_eq!(
            row.line(),
            "tiny.gguf prompt 512: bantam 300.0 (63 % int8), peer 110.0 tokens/s; 2.73x (2.50 to 4.00; disturbed)"
        );
        assert_eq!((median(&[4.0, 1.0, 2.0]), median(&[4.0, 1.0])), (2.0, 2.5));
    }

    #[test]
    fn a_row_whose_ratios_lie_far_apart_is_marked() {
        let text = |ours: &[f64]| text(&[Results { cpu: "some".to_owned(), rows: vec![row("one", ours)] }]);
        let calm = text(&[200.0, 240.0, 220.0]);
        assert!(calm.contains("| 2.00x (2.00 to 2.00) |") && !calm.to_lowercase().contains("disturbed"), "{calm}");
        let disturbed = text(&[200.0, 240.0, 340.0]);
        assert!(disturbed.contains("| 2.18x (2.00 to 3.09; disturbed) |"), "{disturbed}");
        assert!(
            disturbed.contains("*Disturbed*: the largest ratio is more than 1.5 times the smallest"),
            "{disturbed}"
        );
    }

    #[test]
    fn a_later_run_replaces_its_own_rows_alone() {
        let root = tempfile::tempdir().unwrap();
        assert!(table(root.path()).unwrap().contains("not measured yet"));
        let cpu = "Some(R) Processor 9000 @ 2.00GHz";
        keep(root.path(), cpu, vec![row("one", &[1.0, 1.0, 1.0]), row("two", &[500.0, 500.0, 500.0])]).unwrap();
        let path = keep(root.path(), cpu, vec![row("one", &[220.0, 220.0, 220.0])]).unwrap();
        assert!(path.ends_with("bench/results/some-processor-9000-2-00ghz.json"));
        let text = table(root.path()).unwrap();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1], "| `one` | prompt 512 | 220.0 | 63 % int8 | peer | 110.0 | 2.00x (1.83 to 2.20) |");
        assert!(text.ends_with("Bantam 1.0 against peer 1.0, 2 threads, wide, 2026-01-02.\n"), "{text}");
    }

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(20_453), "2025-12-31");
        assert_eq!(date(20_454), "2026-01-01");
    }
}
