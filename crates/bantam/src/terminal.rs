//! Where the binary writes: data on standard output, everything else on standard error.
//!
//! The one place that knows whether a person is looking (colour, progress bars) and the only one that prints. It knows
//! no command. Read next: `progress.rs`, the bars; `answer.rs`, a streamed answer.

use serde::Serialize;
use std::io::{IsTerminal, Write};

/// The binary's output, with what is known of who reads it.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Standard input is a person's keyboard.
    pub stdin: bool,
    /// Standard output is a screen.
    pub stdout: bool,
    /// Standard error is a screen.
    pub stderr: bool,
    /// Colour is wanted: no `NO_COLOR`, no dumb terminal.
    pub colour: bool,
}

impl Terminal {
    /// Looks at the three streams; colour needs a screen and no `NO_COLOR` (<https://no-color.org>).
    pub fn detect() -> Terminal {
        let stderr = std::io::stderr().is_terminal();
        let stdout = std::io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Terminal { stdin: std::io::stdin().is_terminal(), stdout, stderr, colour: !refused }
    }

    /// Writes a piece of data to standard output and flushes it, so that a stream is seen as it is made.
    ///
    /// # Errors
    /// The reader is gone (a closed pipe) or the disk is full.
    pub fn data(&self, text: &str) -> std::io::Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| std::io::Error::new(error.kind(), format!("cannot write to standard output: {error}")))
    }

    /// Writes one value as a line of JSON to standard output.
    ///
    /// # Errors
    /// As [`Terminal::data`].
    pub fn json<T: Serialize>(&self, value: &T) -> anyhow::Result<()> {
        let mut line = serde_json::to_string_pretty(value)?;
        line.push('\n');
        Ok(self.data(&line)?)
    }

    /// Writes a line to standard error.
    pub fn note(&self, text: &str) {
        self.aside(&format!("{text}\n"));
    }

    /// Writes a piece of a model's thought to standard error, dimmed.
    pub fn thought(&self, text: &str) {
        self.aside(&self.paint(text, "2", self.stderr));
    }

    /// Writes a line to standard error that deserves attention.
    pub fn warn(&self, text: &str) {
        self.aside(&format!("{} {text}\n", self.paint("warning:", "33", self.stderr)));
    }

    /// Writes an error and its hints to standard error.
    pub fn error(&self, error: &anyhow::Error) {
        let mut lines = format!("{error:#}");
        if lines.starts_with("error: ") {
            lines = lines.split_off("error: ".len());
        }
        self.aside(&format!("{} {lines}\n", self.paint("error:", "31;1", self.stderr)));
    }

    /// Writes to standard error. If nobody reads it any more, there is nobody to tell, and the data still has its
    /// reader: the command goes on. (The standard library's macros would panic.)
    fn aside(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
    }

    fn paint(&self, text: &str, code: &str, screen: bool) -> String {
        if self.colour && screen { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
