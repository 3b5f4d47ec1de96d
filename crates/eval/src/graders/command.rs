//! A command of the user's that grades: it gets one line of JSON for each answer, and says one score for each.
//!
//! A line in is `{"input": {..}, "expected": .., "answer": "..", "outcome": {..}}`. A line out is a number from 0 to 1,
//! `{"score": number, ..}` with whatever else is worth keeping, or `{"error": "why there is none"}`. The command is the
//! user's own and runs with the user's rights.

use super::text_of;
use crate::EvalError;
use crate::grader::{Grade, Graded, Grader};
use crate::metrics::Judged;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::process::{Child, ExitStatus, Stdio};
use tasks::GradingCommand;
use tasks::batch::fingerprint;

/// So many answers are given to one process: it may take long to begin, and what it says is recorded when it ends.
const AT_ONCE: usize = 500;
/// Of what a command says on standard error so many characters are told, its last ones.
const LAST_WORDS: usize = 600;

/// Grades by a command.
pub struct Command {
    command: GradingCommand,
}

impl Command {
    /// Nothing is run before there is something to grade.
    pub fn new(command: GradingCommand) -> Command {
        Command { command }
    }

    /// The command as a person types it.
    fn shown(&self) -> String {
        self.command.run.join(" ")
    }
}

impl Grader for Command {
    /// By its words and by the files of its folder that they name: a script that changed grades otherwise.
    fn fingerprint(&self) -> String {
        let GradingCommand { run, folder } = &self.command;
        let contents = run.iter().filter_map(|word| std::fs::read(folder.join(word)).ok());
        let contents: Vec<String> = contents.map(|bytes| format!("{:x?}", Sha256::digest(&bytes))).collect();
        let parts: Vec<&str> = ["command"].into_iter().chain(run.iter().chain(&contents).map(String::as_str)).collect();
        fingerprint(&parts)
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn grade<'a>(&'a self, answers: &'a [Judged<'a>]) -> BoxFuture<'a, Result<Vec<Graded>, EvalError>> {
        let wrong = move |what: String| EvalError::Grader(format!("the command `{}` {what}", self.shown()));
        let lines: String = answers.iter().map(|answer| format!("{}\n", line_of(answer))).collect();
        let (sender, receiver) = oneshot::channel();
        let command = self.command.clone();
        // It is waited for on a thread of its own, so that whoever waits for grades can be told to stop.
        std::thread::spawn(move || {
            // Nobody listens where it was stopped.
            let _ = sender.send(run(&command, &lines));
        });
        Box::pin(async move {
            let ended = receiver.await.map_err(|_| wrong("was left alone".to_owned()))?;
            let ended = ended.map_err(|error| wrong(format!("does not run: {error}\nhint: `run` of [goal.command] is a program with its arguments, from the task file's folder")))?;
            if !ended.status.success() {
                return Err(wrong(format!("ended with {}: {}", ended.status, ended.last_words())));
            }
            let said: Vec<&str> = ended.output.lines().filter(|line| !line.trim().is_empty()).collect();
            if said.len() != answers.len() {
                let (expected, got) = (answers.len(), said.len());
                return Err(wrong(format!(
                    "was given {expected} lines: expected as many scores, got {got} lines\nhint: it writes one line for each line that it reads, in the same order"
                )));
            }
            said.iter()
                .zip(1..)
                .map(|(line, number)| graded(line).map_err(|what| wrong(format!("{what} in line {number}"))))
                .collect()
        })
    }
}

/// What the command is given of an answer.
fn line_of(answer: &Judged<'_>) -> Value {
    let Judged { input, expected, outcome } = answer;
    json!({"input": input.fields, "expected": expected, "answer": text_of(answer), "outcome": outcome})
}

/// What it said of one.
fn graded(line: &str) -> Result<Graded, String> {
    let shown: String = line.chars().take(80).collect();
    let wrong =
        || format!("said {shown:?}: expected a number from 0 to 1, {{\"score\": number}} or {{\"error\": \"why\"}},");
    let score = |value: &Value| value.as_f64().filter(|score| (0.0..=1.0).contains(score)).ok_or_else(wrong);
    match serde_json::from_str::<Value>(line).map_err(|_| wrong())? {
        Value::Object(mut told) => match (told.shift_remove("score"), told.get("error").and_then(Value::as_str)) {
            (Some(value), _) => Ok(Ok(Grade { score: score(&value)?, told })),
            (None, Some(reason)) => Ok(Err(reason.to_owned())),
            (None, None) => Err(wrong()),
        },
        value => Ok(Ok(Grade::of(score(&value)?))),
    }
}

/// A command that has ended.
struct Ended {
    status: ExitStatus,
    output: String,
    errors: String,
}

impl Ended {
    fn last_words(&self) -> String {
        let words = self.errors.trim_end();
        let skipped = words.chars().count().saturating_sub(LAST_WORDS);
        if words.is_empty() { "it said nothing".to_owned() } else { words.chars().skip(skipped).collect() }
    }
}

fn run(command: &GradingCommand, lines: &str) -> std::io::Result<Ended> {
    let GradingCommand { run, folder } = command;
    let (program, arguments) = run.split_first().ok_or_else(|| std::io::Error::other("it has no program"))?;
    let mut process = std::process::Command::new(program);
    process.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C is told to whoever waits for grades; those that are being given are let come, as they may be paid for.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut process, 0);
    if !folder.as_os_str().is_empty() {
        process.current_dir(folder);
    }
    attend(process.spawn()?, lines)
}

fn attend(mut child: Child, lines: &str) -> std::io::Result<Ended> {
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let text = |pipe: Option<Box<dyn Read + Send>>| {
        let mut bytes = Vec::new();
        // A pipe that breaks has said what it had to say.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (output, errors) = std::thread::scope(|scope| {
        scope.spawn(move || {
            // One that ends before it has read all is told by its scores, or by its status.
            let _ = input.map(|mut input| input.write_all(lines.as_bytes()));
        });
        let errors = scope.spawn(move || text(errors.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>)));
        let output = text(output.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
        (output, errors.join().unwrap_or_default())
    });
    Ok(Ended { status: child.wait()?, output, errors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use serde_json::Map;
    use tasks::Input;

    fn grade(run: &[&str], answers: usize) -> Result<Vec<Graded>, String> {
        let run = run.iter().map(|word| (*word).to_owned()).collect();
        let command = Command::new(GradingCommand { run, folder: std::env::temp_dir() });
        let (input, expected) = (Input::text("question"), json!("right"));
        let outcome = Map::from_iter([("answer".to_owned(), json!("said"))]);
        let answers = vec![Judged { input: &input, expected: &expected, outcome: &outcome }; answers];
        block_on(command.grade(&answers)).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_go_in_and_scores_come_out() {
        // Right where the line holds all that it should.
        let script = r#"while read -r line; do case "$line" in
            '{"input":{"text":"question"},"expected":"right","answer":"said","outcome":{"answer":"said"}}') echo '{"score": 0.5, "why": "half"}';;
            *) echo 0;; esac; done"#;
        let grades = grade(&["sh", "-c", script], 2).unwrap();
        let told = Map::from_iter([("why".to_owned(), json!("half"))]);
        assert_eq!(grades, vec![Ok(Grade { score: 0.5, told }); 2]);
        let grades = grade(&["sh", "-c", "echo 1; echo '{\"error\": \"too hard\"}'"], 2).unwrap();
        assert_eq!(grades, [Ok(Grade::of(1.0)), Err("too hard".to_owned())]);
    }

    #[test]
    fn a_command_that_fails_or_talks_nonsense_is_told() {
        let error = |run: &[&str], answers| grade(run, answers).unwrap_err();
        assert!(error(&["no-such-command"], 1).starts_with("the command `no-such-command` does not run: "));
        let failed = error(&["sh", "-c", "echo broken >&2; exit 3"], 1);
        assert_eq!(failed, "the command `sh -c echo broken >&2; exit 3` ended with exit status: 3: broken");
        assert!(
            error(&["echo", "1"], 2)
                .contains("was given 2 lines: expected as many scores, got 1 lines\nhint: it writes")
        );
        assert!(error(&["echo", "1.5"], 1).ends_with(
            "said \"1.5\": expected a number from 0 to 1, {\"score\": number} or {\"error\": \"why\"}, in line 1"
        ));
        assert!(error(&["echo", "{\"points\": 1}"], 1).contains("said \"{\\\"points\\\": 1}\": expected"));
        // One that does not read is no reason to hang: more goes in than a pipe holds.
        assert_eq!(grade(&["sh", "-c", "yes 1 | head -n 3000"], 3000).unwrap().len(), 3000);
    }

    #[test]
    fn a_script_that_changed_is_another_grader() {
        let folder = tempfile::tempdir().unwrap();
        let command = Command::new(GradingCommand {
            run: vec!["python3".to_owned(), "score.py".to_owned()],
            folder: folder.path().to_owned(),
        });
        let before = command.fingerprint();
        std::fs::write(folder.path().join("score.py"), "print(1)").unwrap();
        assert_ne!(command.fingerprint(), before);
    }
}
