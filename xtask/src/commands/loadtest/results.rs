//! What a load came to: kept one file a processor in `bench/load/`, shown as a table.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use super::super::bench::results::{median, rounded, slug};
use super::client::Answer;

/// One turn of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Turn {
    /// Generated tokens of all clients over the whole time.
    tokens_per_second: f64,
    /// Seconds from a request to its first token: the middle, and that which 95 of 100 stay under.
    first_token_seconds_p50: f64,
    first_token_seconds_p95: f64,
    /// Requests that were not answered.
    refused: usize,
    /// Tokens of a prompt, on average.
    prompt_tokens: f64,
}

impl Turn {
    pub(super) fn of(answers: &[Answer], refused: usize, seconds: f64) -> Turn {
        let tokens: usize = answers.iter().map(|answer| answer.tokens).sum();
        let prompt_tokens: usize = answers.iter().map(|answer| answer.prompt_tokens).sum();
        let mut waits: Vec<f64> = answers.iter().map(|answer| answer.first_token.as_secs_f64()).collect();
        waits.sort_by(f64::total_cmp);
        // The nearest rank: the smallest wait that so large a share of all does not exceed.
        let at = |share: f64| {
            let rank = (share * waits.len() as f64).ceil() as usize;
            waits.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Turn {
            tokens_per_second: rounded(tokens as f64 / seconds, 100.0),
            first_token_seconds_p50: rounded(at(0.5), 1e4),
            first_token_seconds_p95: rounded(at(0.95), 1e4),
            refused,
            prompt_tokens: rounded(prompt_tokens as f64 / answers.len().max(1) as f64, 10.0),
        }
    }

    pub(super) fn line(&self) -> String {
        let Turn { tokens_per_second, first_token_seconds_p95, refused, .. } = self;
        format!("{tokens_per_second:.1} tokens/s, first token p95 {first_token_seconds_p95:.3} s, {refused} refused")
    }
}

/// What servers know of the text that all prompts begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum SystemText {
    /// It is another one in each turn.
    New,
    /// They have had it in a turn before.
    Known,
}

impl SystemText {
    fn name(self) -> &'static str {
        match self {
            SystemText::New => "new",
            SystemText::Known => "known",
        }
    }
}

/// All turns of both servers with one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) model: String,
    pub(super) system: SystemText,
    pub(super) clients: usize,
    pub(super) generate: usize,
    pub(super) date: String,
    pub(super) bantam_version: String,
    pub(super) bantam: Vec<Turn>,
    pub(super) peer: String,
    pub(super) peer_version: String,
    pub(super) peer_flags: String,
    pub(super) peer_turns: Vec<Turn>,
}

/// The middle of one figure of some turns.
fn middle(turns: &[Turn], figure: fn(&Turn) -> f64) -> f64 {
    median(&turns.iter().map(figure).collect::<Vec<_>>())
}

impl Row {
    fn speeds(&self) -> (f64, f64) {
        let figure = |turn: &Turn| turn.tokens_per_second;
        (middle(&self.bantam, figure), middle(&self.peer_turns, figure))
    }

    fn waits(&self) -> (f64, f64) {
        let figure = |turn: &Turn| turn.first_token_seconds_p95;
        (middle(&self.bantam, figure), middle(&self.peer_turns, figure))
    }

    fn refused(&self) -> (usize, usize) {
        let sum = |turns: &[Turn]| turns.iter().map(|turn| turn.refused).sum();
        (sum(&self.bantam), sum(&self.peer_turns))
    }

    pub(super) fn line(&self) -> String {
        let ((our_speed, their_speed), (our_wait, their_wait)) = (self.speeds(), self.waits());
        format!(
            "{}, system text {}: {our_speed:.1} against {their_speed:.1} tokens/s, {:.2}x; first token p95 {our_wait:.3} \
             against {their_wait:.3} s, 1/{:.1}",
            self.model,
            self.system.name(),
            our_speed / their_speed,
            their_wait / our_wait
        )
    }

    fn cells(&self) -> String {
        let ((our_speed, their_speed), (our_wait, their_wait)) = (self.speeds(), self.waits());
        let (our_refused, their_refused) = self.refused();
        format!(
            "| `{}` | {} | {our_speed:.1} | {our_wait:.3} s | {our_refused} | {} | {their_speed:.1} | {their_wait:.3} s | \
             {their_refused} | {:.2}x | 1/{:.1} |\n",
            self.model,
            self.system.name(),
            self.peer,
            our_speed / their_speed,
            their_wait / our_wait
        )
    }

    fn note(&self) -> String {
        let Row { clients, generate, date, bantam_version, peer, peer_version, peer_flags, .. } = self;
        let prompt = middle(&self.bantam, |turn| turn.prompt_tokens);
        let flags = if peer_flags.is_empty() { String::new() } else { format!(" (`{peer_flags}`)") };
        format!(
            "{clients} clients, prompts of {prompt:.0} tokens of which most are shared, {generate} generated; \
             Bantam {bantam_version} against {peer} {peer_version}{flags}, {date}.\n"
        )
    }
}

/// What was measured on one processor.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Results {
    cpu: String,
    rows: Vec<Row>,
}

fn folder(root: &Path) -> PathBuf {
    root.join("bench/load")
}

/// Keeps a row in place of the one with the same model, system text and peer.
pub(super) fn keep(root: &Path, cpu: &str, row: Row) -> anyhow::Result<PathBuf> {
    let path = folder(root).join(format!("{}.json", slug(cpu)));
    let mut results = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?,
        Err(_) => Results { cpu: cpu.to_owned(), rows: Vec::new() },
    };
    let is_other = |old: &Row| (&old.model, old.system, &old.peer) != (&row.model, row.system, &row.peer);
    results.rows.retain(is_other);
    results.rows.push(row);
    std::fs::create_dir_all(folder(root))?;
    std::fs::write(&path, serde_json::to_string_pretty(&results)? + "\n")?;
    Ok(path)
}

/// The table in README.md.
pub(in super::super) fn table(root: &Path) -> anyhow::Result<String> {
    let Ok(entries) = std::fs::read_dir(folder(root)) else { return Ok("not measured yet\n".to_owned()) };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let read = |path: PathBuf| -> anyhow::Result<Results> {
        serde_json::from_slice(&std::fs::read(&path)?).with_context(|| path.display().to_string())
    };
    Ok(text(&paths.into_iter().map(read).collect::<anyhow::Result<Vec<_>>>()?))
}

fn text(results: &[Results]) -> String {
    let tables = results.iter().map(|results| {
        let mut text = format!(
            "**{}**\n\n| model | system text | tokens/s | first token p95 | refused | peer | tokens/s | first token p95 | refused | \
             speed | wait |\n|---|---|---:|---:|---:|---|---:|---:|---:|---:|---:|\n",
            results.cpu
        );
        results.rows.iter().for_each(|row| text.push_str(&row.cells()));
        text.push('\n');
        let mut notes: Vec<String> = results.rows.iter().map(Row::note).collect();
        notes.dedup();
        text + &notes.concat()
    });
    tables.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn turn(speed: usize, wait: u64) -> Turn {
        let first_token = Duration::from_millis(wait);
        let answers = [Answer { first_token, tokens: speed * 2, prompt_tokens: 540 }];
        Turn::of(&answers, 0, 2.0)
    }

    fn row(model: &str) -> Row {
        Row {
            model: model.to_owned(),
            system: SystemText::New,
            clients: 32,
            generate: 64,
            date: "2026-01-02".to_owned(),
            bantam_version: "1".to_owned(),
            bantam: vec![turn(600, 500), turn(700, 700), turn(500, 600)],
            peer: "other".to_owned(),
            peer_version: "b2".to_owned(),
            peer_flags: "-t 2".to_owned(),
            peer_turns: vec![turn(50, 30_000)],
        }
    }

    #[test]
    fn a_share_of_waits_is_a_wait_that_was() {
        let answer =
            |milliseconds| Answer { first_token: Duration::from_millis(milliseconds), tokens: 1, prompt_tokens: 1 };
        let answers: Vec<Answer> = (1..=20).map(|index| answer(index * 100)).collect();
        let turn = Turn::of(&answers, 1, 2.0);
        assert_eq!((turn.first_token_seconds_p50, turn.first_token_seconds_p95), (1.0, 1.9));
        assert_eq!(turn.line(), "10.0 tokens/s, first token p95 1.900 s, 1 refused");
    }

    #[test]
    fn a_later_run_replaces_its_own_row_and_the_table_shows_medians() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(table(root.path()).unwrap(), "not measured yet\n");
        keep(root.path(), "cpu", row("one")).unwrap();
        keep(root.path(), "cpu", row("two")).unwrap();
        keep(root.path(), "cpu", row("one")).unwrap();
        let text = table(root.path()).unwrap();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1], "| `one` | new | 600.0 | 0.600 s | 0 | other | 50.0 | 30.000 s | 0 | 12.00x | 1/50.0 |");
        assert!(text.ends_with("Bantam 1 against other b2 (`-t 2`), 2026-01-02.\n"), "{text}");
        keep(root.path(), "other cpu", row("one")).unwrap();
        let text = table(root.path()).unwrap();
        assert!(text.contains("2026-01-02.\n\n**other cpu**\n\n| model |"), "{text}");
    }
}
