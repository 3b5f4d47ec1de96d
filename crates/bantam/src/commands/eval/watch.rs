//! A candidate as it is seen while it is judged: a bar on a terminal, elsewhere a line every ten seconds.

use crate::terminal::Terminal;
use ::eval::Watch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Without a terminal a line is written this often.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows how far a candidate is, on standard error.
pub struct EvalWatch {
    terminal: Terminal,
    name: String,
    bar: ProgressBar,
    seen: Mutex<Seen>,
}

struct Seen {
    began: Instant,
    line: Instant,
    asked: usize,
    scored: usize,
    sum: f64,
}

impl EvalWatch {
    pub fn new(terminal: Terminal, name: &str) -> EvalWatch {
        let target = if terminal.stderr { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let now = Instant::now();
        let seen = Mutex::new(Seen { began: now, line: now, asked: 0, scored: 0, sum: 0.0 });
        EvalWatch { terminal, name: name.to_owned(), bar, seen }
    }

    /// The bar comes, if it is not there.
    fn show(&self, all: usize) {
        if self.bar.length() == Some(all as u64) {
            return;
        }
        self.bar.set_length(all as u64);
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{wide_bar}] {pos}/{len} {msg}") {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_prefix(self.name.clone());
    }

    /// The bar goes.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for EvalWatch {
    fn came(&self, done: usize, all: usize) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.show(all);
        if !self.terminal.stderr && seen.line.elapsed() >= LINE_INTERVAL {
            seen.line = Instant::now();
            self.terminal.note(&format!("{}: {done} of {all} rows answered", self.name));
        }
        self.bar.set_position(done as u64);
        self.bar.set_message("answered, to be graded");
    }

    fn judged(&self, done: usize, all: usize, is_reused: bool, score: Option<f64>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.asked += usize::from(!is_reused);
        if let Some(score) = score {
            seen.scored += 1;
            seen.sum += score;
        }
        self.show(all);
        let text = rates(&seen, seen.began.elapsed(), all - done);
        if !self.terminal.stderr && seen.line.elapsed() >= LINE_INTERVAL {
            seen.line = Instant::now();
            self.terminal.note(&format!("{}: {done} of {all} rows, {text}", self.name));
        }
        self.bar.set_position(done as u64);
        self.bar.set_message(text);
    }
}

/// How well it does so far, how fast it goes, and how long it will take.
fn rates(seen: &Seen, elapsed: Duration, left: usize) -> String {
    let mut parts = Vec::new();
    if seen.scored > 0 {
        parts.push(format!("{:.3} so far", seen.sum / seen.scored as f64));
    }
    let seconds = elapsed.as_secs_f64();
    if seen.asked > 0 && seconds > 0.0 {
        let rate = seen.asked as f64 / seconds;
        parts.push(format!("{rate:.1} rows/s"));
        if left > 0 {
            parts.push(format!("{} left", crate::table::duration(((left as f64 / rate) as u64).max(1))));
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_so_far_is_told() {
        let now = Instant::now();
        let mut seen = Seen { began: now, line: now, asked: 0, scored: 0, sum: 0.0 };
        assert_eq!(rates(&seen, Duration::ZERO, 5), "");
        (seen.asked, seen.scored, seen.sum) = (50, 40, 30.0);
        assert_eq!(rates(&seen, Duration::from_secs(10), 100), "0.750 so far, 5.0 rows/s, 20 s left");
    }
}
