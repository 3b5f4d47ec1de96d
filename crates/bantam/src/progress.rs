//! Progress of downloads and other work that takes over two seconds: a bar with rate and time left on a terminal, single
//! lines elsewhere.
//!
//! Knows counts and names, not what is counted.

use crate::terminal::Terminal;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Without a terminal a line is written this often.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as kB, MB, GB.
    Bytes,
    /// Things, shown as they are.
    Things,
}

/// Shows how something goes, on standard error.
pub struct Progress {
    terminal: Terminal,
    unit: Unit,
    current: Mutex<Option<Current>>,
}

struct Current {
    bar: ProgressBar,
    name: String,
    started: Instant,
    said: Instant,
}

impl Progress {
    /// Nothing is shown before the first start.
    pub fn new(terminal: Terminal, unit: Unit) -> Progress {
        Progress { terminal, unit, current: Mutex::new(None) }
    }

    /// Something of `total` starts, or goes on, at `done`.
    pub fn begin(&self, name: &str, total: Option<u64>, done: u64) {
        let target = if self.terminal.stderr { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target).with_message(name.to_owned()).with_position(done);
        if let Ok(style) = ProgressStyle::with_template(self.template(total.is_some())) {
            // Its own rates have four digits after the point.
            let rate = |state: &ProgressState, out: &mut dyn Write| {
                // Text in memory, which takes all of it.
                let _ = write!(out, "{:.0}", state.per_sec());
            };
            bar.set_style(style.progress_chars("=> ").with_key("rate", rate));
        }
        bar.reset_eta();
        if !self.terminal.stderr && self.unit == Unit::Bytes {
            let size = total.map_or("unknown size".to_owned(), crate::table::bytes);
            self.terminal.note(&format!("{name}: {size}"));
        }
        let now = Instant::now();
        *self.lock() = Some(Current { bar, name: name.to_owned(), started: now, said: now });
    }

    /// `count` more are done.
    pub fn add(&self, count: u64) {
        let mut current = self.lock();
        let Some(current) = current.as_mut() else { return };
        current.bar.inc(count);
        if !self.terminal.stderr && current.said.elapsed() >= LINE_INTERVAL {
            current.said = Instant::now();
            let (done, total) = (current.bar.position(), current.bar.length().unwrap_or(0));
            let percent = if total > 0 { 100.0 * done as f64 / total as f64 } else { 0.0 };
            let left = HumanDuration(current.bar.eta());
            self.terminal.note(&format!("{}: {percent:.0} %, {left} left", current.name));
        }
    }

    /// Tells something beside the bar.
    pub fn say(&self, text: &str) {
        match self.lock().as_ref() {
            Some(current) if self.terminal.stderr => current.bar.println(text),
            _ => self.terminal.note(text),
        }
    }

    /// What was started is complete.
    pub fn end(&self) {
        let Some(current) = self.lock().take() else { return };
        current.bar.finish_and_clear();
        if self.unit == Unit::Bytes {
            let took = current.started.elapsed().as_secs_f64();
            let done = crate::table::bytes(current.bar.position());
            self.terminal.note(&format!("{}: {done} in {took:.1} s", current.name));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn template(&self, total_known: bool) -> &'static str {
        match (self.unit, total_known) {
            (Unit::Bytes, true) => {
                "{msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left"
            }
            (Unit::Bytes, false) => "{msg} {spinner} {decimal_bytes} {decimal_bytes_per_sec}",
            (Unit::Things, _) => "{msg} [{wide_bar}] {pos}/{len} {rate}/s {eta} left",
        }
    }
}

/// A bar for work that tells how far it is, and that begins when it is first told.
pub struct Gauge {
    progress: Progress,
    name: &'static str,
    at: Option<usize>,
}

impl Gauge {
    /// Nothing is shown yet.
    pub fn new(terminal: Terminal, name: &'static str) -> Gauge {
        Gauge { progress: Progress::new(terminal, Unit::Things), name, at: None }
    }

    /// So many of `total` are done.
    pub fn at(&mut self, done: usize, total: usize) {
        match self.at {
            Some(before) => self.progress.add(done.saturating_sub(before) as u64),
            None => self.progress.begin(self.name, Some(total as u64), done as u64),
        }
        self.at = Some(done);
    }

    /// It is complete; the bar goes.
    pub fn end(&mut self) {
        if self.at.take().is_some() {
            self.progress.end();
        }
    }
}

impl chat::PullProgress for Progress {
    fn start(&self, file: &str, total_bytes: Option<u64>, done_bytes: u64) {
        self.begin(file, total_bytes, done_bytes);
    }

    fn advance(&self, bytes: u64) {
        self.add(bytes);
    }

    fn message(&self, text: &str) {
        self.say(text);
    }

    fn finish(&self) {
        self.end();
    }
}
