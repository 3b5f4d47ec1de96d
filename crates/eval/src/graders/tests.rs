//! Programs that have to pass their tests: an answer is right if the program that is made of it ends with code 0.
//!
//! The programs are a model's, so they run without rights (`sandbox`), several at once.

use super::{text_of, unread};
use crate::EvalError;
use crate::grader::{Grade, Graded, Grader};
use crate::metrics::Judged;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use sandbox::{End, Ended, Sandbox, SandboxError};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tasks::batch::fingerprint;
use tasks::{Input, Template};

/// Of what a program said so many characters are kept, its last ones: an error stands at the end.
const MOST_CHARACTERS: usize = 1000;
/// What stands before and after code in an answer that has words around it.
const FENCE: &str = "```";

/// Makes the program of an answer, or says why there is none.
pub type Program = Box<dyn Fn(&Judged<'_>) -> Result<String, String> + Send + Sync>;

/// How an interpreter says a word, by how its name begins: the last line of a program says one that the program cannot know
/// of, so that one which ends before its tests has not passed them.
const SAY: [(&str, &str); 5] = [
    ("python", "print('{}')"),
    ("pypy", "print('{}')"),
    ("node", "console.log('{}')"),
    ("ruby", "puts '{}'"),
    ("bash", "echo {}"),
];
/// What is told of a program whose time was over, which it may not be on a machine with less to do.
const TIME_OVER: &str = "its time was over";

/// Runs the programs of answers.
pub struct Tests {
    sandbox: Arc<Sandbox>,
    program: Program,
    digest: String,
    /// How the interpreter says a word; none where it is not known, and then the exit code alone counts.
    say: Option<&'static str>,
}

impl Tests {
    /// Programs that a function makes; `made` tells all that they and their end depend on beside the interpreter, in any form.
    pub fn new(sandbox: Sandbox, made: &str, program: Program) -> Tests {
        let interpreter = sandbox.interpreter();
        let name = interpreter.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let say = SAY.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, say)| *say);
        let digest = fingerprint(&["tests", made, &identity(interpreter)]);
        Tests { sandbox: Arc::new(sandbox), program, digest, say }
    }

    /// Programs by the template of a task file.
    pub fn of_template(sandbox: Sandbox, tests: &tasks::Tests) -> Tests {
        let template = tests.program.clone();
        let made = format!("{:?}", (template.source(), &tests.run, tests.time, tests.memory_bytes));
        Tests::new(sandbox, &made, Box::new(move |answer| filled(&template, answer)))
    }
}

/// Which interpreter a path leads to now: another version has another length, or was written at another time.
fn identity(interpreter: &Path) -> String {
    let real = interpreter.canonicalize().unwrap_or_else(|_| interpreter.to_owned());
    let written = std::fs::metadata(&real).map(|file| (file.len(), file.modified().ok()));
    format!("{} {:?}", real.display(), written.ok())
}

/// The text of a program: the row's fields, and of the answer `answer` and `code`.
fn filled(template: &Template, answer: &Judged<'_>) -> Result<String, String> {
    let text = text_of(answer);
    let mut fields = answer.input.fields.clone();
    for name in ["answer", "code"] {
        if template.fields().contains(&name) && fields.contains_key(name) {
            return Err(format!(
                "the row has a column {name:?}, and `{{{name}}}` in the program is the model's answer\n\
                 hint: give the column another name"
            ));
        }
    }
    fields.insert("code".to_owned(), code(&text).into());
    fields.insert("answer".to_owned(), text.into());
    template.fill(&Input { fields, pages: Vec::new() }).map_err(|error| error.to_string())
}

/// The code of an answer: what stands between its first fences, or all of it.
fn code(answer: &str) -> &str {
    let fenced = answer.split_once(FENCE).and_then(|(_, rest)| rest.split_once('\n'));
    fenced.map_or(answer, |(_, rest)| rest.split_once(FENCE).map_or(rest, |(code, _)| code))
}

impl Grader for Tests {
    fn fingerprint(&self) -> String {
        self.digest.clone()
    }

    fn at_once(&self) -> usize {
        8 * threads()
    }

    fn is_final(&self, grade: &Grade) -> bool {
        grade.told.get("ended").and_then(Value::as_str) != Some(TIME_OVER)
    }

    fn grade<'a>(&'a self, answers: &'a [Judged<'a>]) -> BoxFuture<'a, Result<Vec<Graded>, EvalError>> {
        let program = |answer| (unread(answer), (self.program)(answer).map(|text| Ending::of(text, self.say)));
        let programs: Vec<_> = answers.iter().map(program).collect();
        let sandbox = Arc::clone(&self.sandbox);
        let (sender, receiver) = oneshot::channel();
        // Programs are waited for on threads of their own, so that whoever waits for grades can be told to stop.
        std::thread::spawn(move || {
            // Nobody listens where it was stopped.
            let _ = sender.send(run_all(&sandbox, &programs));
        });
        Box::pin(async move {
            let run =
                receiver.await.map_err(|_| EvalError::Grader("a thread that runs programs has ended".to_owned()))?;
            run.into_iter()
                .collect::<Result<Vec<Graded>, SandboxError>>()
                .map_err(|error| EvalError::Grader(error.to_string()))
        })
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs programs, as many at once as there are processors; each grade in the place of its program.
fn run_all(
    sandbox: &Sandbox,
    programs: &[(Option<Graded>, Result<Ending, String>)],
) -> Vec<Result<Graded, SandboxError>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((unread, program)) = programs.get(place) else { return done };
            let graded = match (unread, program) {
                (Some(grade), _) => Ok(grade.clone()),
                (None, Err(reason)) => Ok(Err(reason.clone())),
                (None, Ok(program)) => {
                    sandbox.run(&program.text).map(|ended| Ok(grade_of(&ended, program.word.as_deref())))
                }
            };
            done.push((place, graded));
        }
    };
    let mut all: Vec<(usize, Result<Graded, SandboxError>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads().min(programs.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, graded)| graded).collect()
}

/// A program with the word that it says at its end.
struct Ending {
    text: String,
    word: Option<String>,
}

impl Ending {
    fn of(text: String, say: Option<&str>) -> Ending {
        let Some(say) = say else { return Ending { text, word: None } };
        // Nothing of a program that was written before can name it.
        let word = fingerprint(&["ending", &text, &format!("{:?}", std::time::SystemTime::now())]);
        Ending { text: format!("{text}\n{}\n", say.replace("{}", &word)), word: Some(word) }
    }
}

/// 1 for a program that came to its end, with how one that did not ended.
fn grade_of(ended: &Ended, word: Option<&str>) -> Grade {
    let is_at_end = word.is_none_or(|word| ended.output.trim_end().ends_with(word));
    let (score, how) = match ended.end {
        End::Code(0) if is_at_end => (1.0, "passed".to_owned()),
        End::Code(0) => (0.0, "ended before its last line".to_owned()),
        End::Code(code) => (0.0, format!("ended with code {code}")),
        End::Signal(signal) => (0.0, format!("ended by signal {signal}")),
        End::TimedOut => (0.0, TIME_OVER.to_owned()),
    };
    let mut told = Map::from_iter([("ended".to_owned(), Value::from(how))]);
    let said = if ended.errors.is_empty() { &ended.output } else { &ended.errors };
    if score < 1.0 && !said.is_empty() {
        let skipped = said.chars().count().saturating_sub(MOST_CHARACTERS);
        told.insert("said".to_owned(), said.chars().skip(skipped).collect::<String>().into());
    }
    Grade { score, told }
}

#[cfg(test)]
mod unit_tests {
    use super::*;
    use serde_json::json;

    fn made(template: &str, row: Value, outcome: Value) -> Result<String, String> {
        let input = Input { fields: row.as_object().unwrap().clone(), pages: Vec::new() };
        let answer = Judged { input: &input, expected: &Value::Null, outcome: outcome.as_object().unwrap() };
        filled(&Template::parse(template).unwrap(), &answer)
    }

    #[test]
    fn a_program_is_made_of_the_row_and_the_answer() {
        let row = json!({"prefix": "def f():\n", "tests": "assert f()"});
        let outcome = json!({"completion": "    return 1"});
        assert_eq!(
            made("{prefix}{answer}\n{tests}\n", row.clone(), outcome).unwrap(),
            "def f():\n    return 1\nassert f()\n"
        );
        let fenced = json!({"text": "Sure:\n```python\nx = 1\n```\nThat is it."});
        assert_eq!(made("{code}{tests}", row.clone(), fenced.clone()).unwrap(), "x = 1\nassert f()");
        assert_eq!(made("{code}", row.clone(), json!({"text": "x = 1"})).unwrap(), "x = 1");
        assert_eq!(made("{code}", row, json!({"text": "```\nx = 1"})).unwrap(), "x = 1");
        let error = made("{answer}", json!({"answer": "x"}), fenced.clone()).unwrap_err();
        assert!(error.starts_with("the row has a column \"answer\", and `{answer}` in the program is"), "{error}");
        let error = made("{code}{missing}", json!({}), fenced).unwrap_err();
        assert!(error.starts_with("the input has no field \"missing\""), "{error}");
    }

    #[test]
    fn an_end_is_a_grade_and_an_error_is_kept() {
        let ended =
            |end, errors: &str| grade_of(&Ended { end, output: "out".to_owned(), errors: errors.to_owned() }, None);
        assert_eq!(
            ended(End::Code(0), "warning"),
            Grade { score: 1.0, told: Map::from_iter([("ended".to_owned(), json!("passed"))]) }
        );
        let failed = ended(End::Code(1), &format!("{}AssertionError", "x".repeat(2000)));
        assert_eq!((failed.score, failed.told["ended"].as_str()), (0.0, Some("ended with code 1")));
        let said = failed.told["said"].as_str().unwrap();
        assert!(said.len() == MOST_CHARACTERS && said.ends_with("xAssertionError"), "{said}");
        assert_eq!(ended(End::TimedOut, "").told["said"], json!("out"));
        assert_eq!(ended(End::Signal(9), "").told["ended"], json!("ended by signal 9"));
        let said = |output: &str| {
            let ended = Ended { end: End::Code(0), output: output.to_owned(), errors: String::new() };
            grade_of(&ended, Some("word")).score
        };
        assert_eq!((said("1\nword\n"), said("1\n"), said("word\n1\n")), (1.0, 0.0, 0.0));
        let ending = Ending::of("exit()".to_owned(), Some("print('{}')"));
        assert_eq!(ending.text, format!("exit()\nprint('{}')\n", ending.word.unwrap()));
    }
}
