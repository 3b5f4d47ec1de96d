//! A job as it is seen while it runs: a bar on a terminal, elsewhere a line every ten seconds.
//!
//! Knows how far the job is, not what it does.

use crate::terminal::Terminal;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tasks::batch::{Progress, Watch};

/// Without a terminal a line is written this often.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Reasons of failed rows that are told at once; the ledger has all.
const MOST_REASONS: u64 = 5;

/// Shows how a job goes, on standard error.
pub struct JobWatch {
    terminal: Terminal,
    bar: ProgressBar,
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    line: Instant,
    reasons: u64,
}

impl JobWatch {
    pub fn new(terminal: Terminal) -> JobWatch {
        let target = if terminal.stderr { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        JobWatch { terminal, bar, said: Mutex::new(Said { line: Instant::now(), reasons: 0 }) }
    }

    /// The bar goes.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn tell(&self, text: &str) {
        if self.terminal.stderr { self.bar.println(text) } else { self.terminal.note(text) }
    }
}

impl Watch for JobWatch {
    fn progress(&self, progress: &Progress) {
        if let Some(total) = progress.total
            && self.bar.length() != Some(total)
        {
            self.bar.set_length(total);
            if let Ok(style) = ProgressStyle::with_template("[{wide_bar}] {pos}/{len} {msg}") {
                self.bar.set_style(style.progress_chars("=> "));
            }
        }
        self.bar.set_position(progress.done + progress.failed);
        self.bar.set_message(rates(progress));
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.terminal.stderr && said.line.elapsed() >= LINE_INTERVAL {
            said.line = Instant::now();
            let total = progress.total.map_or("?".to_owned(), |total| total.to_string());
            self.terminal.note(&format!("{} of {total} rows, {}", progress.done + progress.failed, rates(progress)));
        }
    }

    fn row_failed(&self, number: u64, name: &str, reason: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.reasons += 1;
        match said.reasons {
            count if count <= MOST_REASONS => self.tell(&format!("row {number} ({name}) failed: {reason}")),
            count if count == MOST_REASONS + 1 => self.tell("more rows failed; they are listed in the end"),
            _ => {}
        }
    }

    fn row_waits(&self, number: u64, name: &str, reason: &str, delay: Duration) {
        self.tell(&format!("row {number} ({name}) waits {:.1} s: {reason}", delay.as_secs_f64()));
    }
}

/// How fast it goes, how long it will take, and what failed.
fn rates(progress: &Progress) -> String {
    let mut parts = Vec::new();
    if let (Some(rows), Some(tokens)) = (progress.rows_per_second(), progress.tokens_per_second()) {
        parts.push(format!("{rows:.1} rows/s"));
        parts.push(format!("{tokens:.0} tokens/s"));
    }
    if let Some(left) = progress.time_left().filter(|left| !left.is_zero()) {
        parts.push(format!("{} left", crate::table::duration(left.as_secs().max(1))));
    }
    if progress.failed > 0 {
        parts.push(format!("{} failed", progress.failed));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_time_left_and_failures_are_told_once_they_are_known() {
        assert_eq!(rates(&Progress::default()), "");
        let progress = Progress {
            done: 50,
            failed: 2,
            total: Some(152),
            settled_now: 50,
            prompt_tokens: 1000,
            elapsed: Duration::from_secs(10),
            ..Progress::default()
        };
        assert_eq!(rates(&progress), "5.0 rows/s, 100 tokens/s, 20 s left, 2 failed");
    }
}
