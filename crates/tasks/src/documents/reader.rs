//! Reads documents: plain text here, all else in a process that a hostile file may do its worst to.
//!
//! A file that hangs, takes all memory, crashes or talks nonsense ends in one error that names it. Read next:
//! `documents/child.rs`.

use super::child::{Answer, Order};
use super::confine::Bounds;
use super::{Document, Format, HEAD_BYTES, Text};
use crate::TaskError;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// So much of what a child says in its last moments is kept.
const LAST_WORDS_BYTES: u64 = 64 << 10;

/// What reading a document may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From its start to its answer.
    pub time: Duration,
    /// Of the process that reads it.
    pub memory_bytes: u64,
    /// A larger file is not read.
    pub input_bytes: u64,
    /// A longer answer is not taken.
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { time: Duration::from_secs(60), memory_bytes: 1 << 30, input_bytes: 256 << 20, output_bytes: 160 << 20 }
    }
}

/// What to do where the system cannot take its rights from a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confinement {
    /// Refuse documents that are more than text.
    #[default]
    Required,
    /// Read them all the same, because somebody who trusts them said so.
    Waived,
}

/// Reads documents.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The program that calls [`super::child_main`] where its first argument says so: this program.
    pub program: PathBuf,
    /// What one document may take.
    pub limits: Limits,
    /// Whether the process that reads a document must be without rights.
    pub confinement: Confinement,
}

impl Reader {
    /// A reader with the usual limits.
    pub fn new(program: impl Into<PathBuf>) -> Reader {
        Reader { program: program.into(), limits: Limits::default(), confinement: Confinement::default() }
    }

    /// Reads a document of any format that is known.
    ///
    /// # Errors
    /// [`TaskError::Data`], which names the file and says what was wrong with it, however badly its reading ended.
    pub fn read(&self, path: &Path) -> Result<Document, TaskError> {
        self.read_file(path).map_err(|reason| TaskError::Data(format!("{}: {reason}", path.display())))
    }

    fn read_file(&self, path: &Path) -> Result<Document, String> {
        let cannot = |error: std::io::Error| format!("cannot be read: {error}");
        // Opening a pipe would wait for a writer.
        if !std::fs::metadata(path).map_err(cannot)?.is_file() {
            return Err("expected a file, got a folder or a device".to_owned());
        }
        let mut file = File::open(path).map_err(cannot)?;
        let bytes = file.metadata().map_err(cannot)?.len();
        let most = self.limits.input_bytes;
        if bytes > most {
            return Err(format!("expected a file of at most {most} bytes, got {bytes}"));
        }
        let mut head = Vec::new();
        file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(cannot)?;
        if head.is_empty() {
            return Err("expected a document, got an empty file".to_owned());
        }
        let format = Format::of(path, &head).ok_or_else(unknown_format)?;
        file.rewind().map_err(cannot)?;
        let text = if format.confined {
            self.read_confined(format, file)?
        } else {
            let mut bytes = Vec::new();
            file.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
            if bytes.len() as u64 > most {
                return Err(format!("expected a file of at most {most} bytes, got one that grows"));
            }
            format.parse(&bytes)?
        };
        let Text { text, pages, warnings } = text;
        Ok(Document { format: format.name, text, pages, warnings })
    }

    fn read_confined(&self, format: &Format, file: File) -> Result<Text, String> {
        // The clock of the processor stops what the clock on the wall does not see.
        let seconds = self.limits.time.as_secs().saturating_add(1);
        let bounds = Bounds { memory_bytes: self.limits.memory_bytes, seconds };
        let Limits { input_bytes, .. } = self.limits;
        let order = Order { format: format.name.to_owned(), bounds, input_bytes, confinement: self.confinement };
        let mut command = Command::new(&self.program);
        command.args(order.arguments()).stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What is in the environment is nothing that a document should have.
        #[cfg(unix)]
        command.env_clear();
        let child = command
            .spawn()
            .map_err(|error| format!("cannot be read: {} does not start: {error}", self.program.display()))?;
        let ended = self.attend(child)?;
        if ended.answer.len() as u64 > self.limits.output_bytes {
            return Err(format!(
                "expected an answer of at most {} bytes from its reader, got more",
                self.limits.output_bytes
            ));
        }
        if !ended.status.success() {
            return Err(self.obituary(&ended));
        }
        let answer = serde_json::from_slice(&ended.answer)
            .map_err(|error| format!("expected an answer from its reader, got nonsense: {error}"))?;
        match answer {
            Answer::Text(text) => check(text),
            Answer::Refused(reason) => Err(reason),
            Answer::Panicked(place) => {
                Err(format!("expected a sound {} file, got one that its reader stumbled over ({place})", format.name))
            }
            Answer::Unconfined(reason) => {
                let hint =
                    "convert it to text, or say that you trust your documents, which are then read without confinement";
                Err(format!("{reason}\nhint: {hint}"))
            }
        }
    }

    /// Takes a child's answer and sees it to its end, which comes in time or is brought about.
    fn attend(&self, mut child: Child) -> Result<Ended, String> {
        let deadline = Instant::now() + self.limits.time;
        let output = child.stdout.take().expect("standard output is piped; this is a bug");
        let errors = child.stderr.take().expect("standard error is piped; this is a bug");
        let most = self.limits.output_bytes.saturating_add(1);
        let (sender, receiver) = mpsc::channel();
        let words = std::thread::spawn(move || read_up_to(errors, LAST_WORDS_BYTES));
        // It ends with the child, if not before.
        std::thread::spawn(move || {
            // Nobody listens any more once the time is over.
            let _ = sender.send(read_up_to(output, most));
        });
        let answer = receiver.recv_timeout(self.limits.time);
        let status = match &answer {
            Ok(answer) if (answer.len() as u64) < most => wait_until(&mut child, deadline),
            _ => None,
        };
        let in_time = status.is_some();
        let status = match status {
            Some(status) => status,
            None => {
                // It may have ended just now; then there is nothing to kill.
                let _ = child.kill();
                child.wait().map_err(|error| format!("its reader cannot be waited for: {error}"))?
            }
        };
        let words = words.join().unwrap_or_default();
        match answer {
            Ok(answer) if in_time || answer.len() as u64 >= most => {
                Ok(Ended { answer, words: String::from_utf8_lossy(&words).into_owned(), status })
            }
            _ => Err(self.too_slow()),
        }
    }

    fn too_slow(&self) -> String {
        let hint = "give it more time, or convert it to text";
        format!("its reading takes more than {} seconds\nhint: {hint}", self.limits.time.as_secs_f64())
    }

    /// Why a child ended without an answer.
    fn obituary(&self, ended: &Ended) -> String {
        if ended.words.contains("memory allocation of") {
            let hint = "give it more memory, or convert it to text";
            return format!(
                "its reading takes more than {} MiB of memory\nhint: {hint}",
                self.limits.memory_bytes >> 20
            );
        }
        if ended.words.contains("overflowed its stack") {
            return "it is nested deeper than its reader can follow".to_owned();
        }
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&ended.status) {
            return match signal {
                SIGXCPU => self.too_slow(),
                _ => format!("its reader was ended by signal {signal}"),
            };
        }
        let code = ended.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
        format!("its reader ended with exit code {code} and no answer")
    }
}

/// The signal that ends a process whose time of the processor is over; the same number on all systems of the family.
#[cfg(unix)]
const SIGXCPU: i32 = 24;

struct Ended {
    answer: Vec<u8>,
    /// What it wrote to its standard error.
    words: String,
    status: ExitStatus,
}

/// What could be read, up to a bound. A pipe that breaks ends what it carries; how the child ended says more.
fn read_up_to(pipe: impl Read, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = pipe.take(most).read_to_end(&mut bytes);
    bytes
}

/// How a child ended that has nothing more to say; none where it does not end.
fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    const PAUSE: Duration = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Ok(None) | Err(_) => return None,
        }
    }
}

fn unknown_format() -> String {
    let names: Vec<&str> = super::FORMATS.iter().map(|format| format.name).collect();
    format!(
        "expected a document, one of {}; got none of them\nhint: a format is known by the ending of the file's name",
        names.join(", ")
    )
}

/// A child that a hostile file took over may say what it likes: places of pages that are none would end us instead.
fn check(text: Text) -> Result<Text, String> {
    let begins = text.pages.first().is_none_or(|&first| first == 0);
    let sound = text.pages.iter().all(|&start| text.text.is_char_boundary(start));
    match begins && sound && text.pages.is_sorted() {
        true => Ok(text),
        false => Err("expected pages within the text, got others".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_outside_the_text_are_refused() {
        let text = |pages: &[usize]| Text { text: "aüb".into(), pages: pages.to_vec(), warnings: Vec::new() };
        assert!(check(text(&[])).is_ok() && check(text(&[0, 1, 1, 4])).is_ok());
        for pages in [&[0, 2][..], &[0, 5], &[0, 3, 1], &[1]] {
            assert_eq!(check(text(pages)).unwrap_err(), "expected pages within the text, got others", "{pages:?}");
        }
    }
}
