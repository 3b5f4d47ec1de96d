//! Scores that a command of the user's gives: rows in as JSONL, one score a line out.
//!
//! The command gets on its standard input a line of JSON per row, with `input`, `expected` and `outcome`, and writes on
//! its standard output a line for each, in their order: a number from 0 to 1, an object `{"score": number}`, or `null`
//! for a row that it does not judge. It runs as the user does, without a shell; what it may take is bounded in time and
//! in what is kept of its output. It is killed when the time is over; processes that it began itself are its own.

use super::{Judged, MetricError};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What a line of an answer may take on average: a score and what a command likes to say beside it.
const BYTES_OF_LINE: usize = 4096;
/// What is kept of the end of what it says on its standard error.
const BYTES_OF_COMPLAINT: usize = 4096;
/// No command takes longer, and a moment so far away can still be told.
const LONGEST_LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How often a command that closed its output is asked whether it has ended.
const WAIT: Duration = Duration::from_millis(5);

/// Scores of rows by a command: the program and its arguments. None for a row that it does not judge.
///
/// # Errors
/// It cannot be started, takes longer than the limit, fails, or writes something else; the row is named.
pub fn scores(command: &[String], rows: &[Judged<'_>], limit: Duration) -> Result<Vec<Option<f64>>, MetricError> {
    let name = command.join(" ");
    let output = run(command, jsonl(rows), rows.len().saturating_add(1).saturating_mul(BYTES_OF_LINE), limit)
        .map_err(|why| MetricError::Command(format!("the command `{name}` {why}")))?;
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() != rows.len() {
        return Err(MetricError::Command(format!(
            "the command `{name}` gave {} scores, expected one for each of {} rows\n\
             hint: it reads a line of JSON per row and writes a line for each, in their order",
            lines.len(),
            rows.len()
        )));
    }
    let score = |(number, line): (usize, &&str)| {
        score(line).map_err(|got| {
            MetricError::Command(format!(
                "the command `{name}` gave {got} for row {number}, expected a number from 0 to 1\n\
                 hint: a line is a number, {{\"score\": number}}, or null for a row that is not judged"
            ))
        })
    };
    (1..).zip(&lines).map(score).collect()
}

fn jsonl(rows: &[Judged<'_>]) -> String {
    let line = |row: &Judged<'_>| {
        json!({"input": row.input.fields, "expected": row.expected, "outcome": row.outcome}).to_string() + "\n"
    };
    rows.iter().map(line).collect()
}

/// The score of a line, or what came instead.
fn score(line: &str) -> Result<Option<f64>, String> {
    let shown = || line.trim().chars().take(80).collect::<String>();
    let value: Value = serde_json::from_str(line).map_err(|_| format!("{:?}", shown()))?;
    let value = match &value {
        Value::Object(fields) => fields.get("score").ok_or_else(shown)?,
        value => value,
    };
    match value {
        Value::Null => Ok(None),
        value => value.as_f64().filter(|score| (0.0..=1.0).contains(score)).map(Some).ok_or_else(shown),
    }
}

/// What a command writes when it is given an input, or what went wrong, to be read after its name.
fn run(command: &[String], input: String, most_bytes: usize, limit: Duration) -> Result<String, String> {
    let deadline = Instant::now() + limit.min(LONGEST_LIMIT);
    let mut running = Running::start(command)?;
    // Each pipe has a thread of its own, so that none waits for another: a command may write before it has read, or
    // never read at all. They are left to themselves, since a process that the command began may hold a pipe open.
    if let Some(mut stdin) = running.0.stdin.take() {
        // A command that does not read its input has no use for it, and that is its own affair.
        std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    }
    let output = running.0.stdout.take().map(|pipe| reading(move || first_bytes(pipe, most_bytes)));
    let complaint = running.0.stderr.take().map(|pipe| reading(move || last_bytes(pipe, BYTES_OF_COMPLAINT)));
    let late = || format!("took longer than {} s\nhint: allow it more time, or judge fewer rows", limit.as_secs_f64());
    let received = |from: Option<Receiver<std::io::Result<Vec<u8>>>>| {
        from.and_then(|from| from.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok())
    };
    let output = received(output).ok_or_else(late)?.map_err(|error| format!("cannot be read from: {error}"))?;
    if output.len() > most_bytes {
        return Err(format!("wrote more than {most_bytes} bytes\nhint: it is asked for a score a line"));
    }
    let status = running.wait(deadline).ok_or_else(late)?;
    if !status.success() {
        let said = received(complaint).and_then(Result::ok).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        let said = if said.is_empty() { "nothing on its standard error".to_owned() } else { said };
        return Err(format!("failed, {status}: {said}"));
    }
    String::from_utf8(output).map_err(|_| "wrote bytes that are no UTF-8".to_owned())
}

/// A process that ends with its owner.
struct Running(Child);

impl Running {
    fn start(command: &[String]) -> Result<Running, String> {
        let [program, arguments @ ..] = command else {
            return Err("names no program\nhint: `[\"python3\", \"score.py\"]`".to_owned());
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let hint = |error: &std::io::Error| match error.kind() {
            ErrorKind::NotFound => "\nhint: it runs without a shell; name a program of the PATH or its file",
            _ => "",
        };
        command.spawn().map(Running).map_err(|error| format!("cannot be started: {error}{}", hint(&error)))
    }

    /// How it ended; none where it has not by the deadline.
    fn wait(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(WAIT),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has ended both say so, and that is all right.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What comes of reading on a thread of its own.
fn reading(read: impl FnOnce() -> std::io::Result<Vec<u8>> + Send + 'static) -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = channel();
    // Nobody may be waiting any more.
    std::thread::spawn(move || drop(sender.send(read())));
    receiver
}

/// What a pipe gives, and of too much one byte more than that.
fn first_bytes(pipe: impl Read, most: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The end of what a pipe gives, which is read to its end so that nobody waits to write into it.
fn last_bytes(mut pipe: impl Read, most: usize) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match pipe.read(&mut part) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        bytes.drain(..bytes.len().saturating_sub(most));
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use serde_json::Map;
    use tasks::Input;

    const LIMIT: Duration = Duration::from_secs(20);

    fn of_shell(script: &str, rows: usize, limit: Duration) -> Result<Vec<Option<f64>>, String> {
        let (input, expected) = (Input::text("ä\n".repeat(1000)), json!("b"));
        let outcome = Map::from_iter([("answer".to_owned(), json!("b"))]);
        let row = Judged { input: &input, expected: &expected, outcome: &outcome };
        let command = ["sh", "-c", script].map(str::to_owned);
        scores(&command, &vec![row; rows], limit).map_err(|error| error.to_string())
    }

    fn check(script: &str, rows: usize, expected: &[Option<f64>]) {
        assert_eq!(of_shell(script, rows, LIMIT).as_deref(), Ok(expected), "{script}");
    }

    fn check_error(script: &str, expected: &str) {
        let error = of_shell(script, 2, LIMIT).unwrap_err();
        assert_eq!(error, format!("the command `sh -c {script}` {expected}"));
    }

    #[test]
    fn scores_are_read_line_by_line() {
        check(
            "echo 0.5; echo '{\"score\": 1, \"why\": \"\"}'; echo; echo null; echo '{\"score\":null}'",
            4,
            &[Some(0.5), Some(1.0), None, None],
        );
        check("grep -c '\"outcome\":{\"answer\":\"b\"}' | sed 's/^3$/1/'", 1, &[Some(1.0)]);
        check("true", 0, &[]);
    }

    #[test]
    fn more_than_a_pipe_holds_goes_in_and_out_at_once() {
        // Each row in is longer than its line out, and both are more than a pipe holds; the second writes all first.
        check("while read -r line; do echo 0.25; echo \"$line\" >&2; done", 300, &[Some(0.25); 300]);
        check("yes 1 | head -n 300; cat >/dev/null", 300, &[Some(1.0); 300]);
        check("exec <&-; yes 1 | head -n 300", 300, &[Some(1.0); 300]);
    }

    #[test]
    fn what_is_no_score_is_named_with_its_row() {
        let hint = "hint: a line is a number, {\"score\": number}, or null for a row that is not judged";
        let wrong = |got: &str| format!("gave {got} for row 2, expected a number from 0 to 1\n{hint}");
        check_error("echo 1; echo good", &wrong("\"good\""));
        check_error("echo 1; echo 1.5", &wrong("1.5"));
        check_error("echo 1; echo '{\"points\": 1}'", &wrong("{\"points\": 1}"));
        check_error(
            "echo 1",
            "gave 1 scores, expected one for each of 2 rows\nhint: it reads a line of JSON per row and writes a line \
             for each, in their order",
        );
    }

    #[test]
    fn a_command_that_fails_says_why() {
        check_error("echo 1; echo 1; echo 'no such model' >&2; exit 3", "failed, exit status: 3: no such model");
        check_error("exit 1", "failed, exit status: 1: nothing on its standard error");
        check_error("printf '\\377\\n1\\n'", "wrote bytes that are no UTF-8");
        check_error("yes 1", "wrote more than 12288 bytes\nhint: it is asked for a score a line");
        let start = |command: &[&str]| {
            let command: Vec<_> = command.iter().map(|&word| word.to_owned()).collect();
            scores(&command, &[], LIMIT).unwrap_err().to_string()
        };
        assert_eq!(start(&[]), "the command `` names no program\nhint: `[\"python3\", \"score.py\"]`");
        assert_eq!(
            start(&["no-such-program"]),
            "the command `no-such-program` cannot be started: No such file or directory (os error 2)\nhint: it runs \
             without a shell; name a program of the PATH or its file"
        );
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed() {
        let late = "took longer than 0.2 s\nhint: allow it more time, or judge fewer rows";
        // The last one's child holds the pipes open after the shell is dead.
        for script in ["exec sleep 60", "exec >&-; exec sleep 60", "sleep 60 & wait"] {
            let begun = Instant::now();
            let error = of_shell(script, 2, Duration::from_millis(200)).unwrap_err();
            assert_eq!(error, format!("the command `sh -c {script}` {late}"));
            assert!(begun.elapsed() < Duration::from_secs(30), "{script}");
        }
    }
}
