//! Who grades answers where no count can tell whether they are right: a model with a rubric, tests that a program has to
//! pass, a command of the author's. A goal has one of them at most, as a table of `[goal]`.
//!
//! What they do stands in the `eval` crate; this is what a task file says of them.

use crate::judging::{Endpoint, TokenPrice, read_endpoint, read_price, read_template};
use crate::reader::{Entry, Section};
use crate::{TaskError, Template};
use std::path::PathBuf;
use std::time::Duration;

/// The tables of `[goal]` that name a grader.
pub(crate) const GRADINGS: [&str; 3] = ["judge", "tests", "command"];

/// The points of a judge's scale where nothing is said.
const SCALE: usize = 5;
/// Seconds and bytes of memory of a program where nothing is said.
const SECONDS: f64 = 10.0;
const MEMORY_BYTES: u64 = 1 << 30;

/// Who grades answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Grading {
    /// A model with a rubric.
    Judge(Judge),
    /// Tests that a program made of the answer has to pass.
    Tests(Tests),
    /// A command of the author's.
    Command(GradingCommand),
}

impl Grading {
    /// The metric that counts its grades.
    pub fn metric(&self) -> &'static str {
        match self {
            Grading::Judge(_) => "judge",
            Grading::Tests(_) => "pass_at_1",
            Grading::Command(_) => "command",
        }
    }
}

/// A model that grades by a rubric.
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    /// The model, as a candidate names it.
    pub model: String,
    /// Where it answers, where it is an endpoint of the author's.
    pub endpoint: Option<Endpoint>,
    /// What its tokens cost, where the author knows better than a list of prices.
    pub price: Option<TokenPrice>,
    /// What makes an answer good, in the author's words.
    pub rubric: String,
    /// Points go from 1 to this.
    pub scale: usize,
    /// The columns of rows that people have graded.
    pub rated: Option<Rated>,
}

/// Where the data have answers with the points that people gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rated {
    /// The column of the answers.
    pub answer: String,
    /// The column of their points, on the judge's scale.
    pub points: String,
}

/// Tests that a program has to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tests {
    /// The text of the program: fields of the row, and of the answer `{answer}`, or `{code}`, which is what stands between
    /// the first fences of an answer that has some.
    pub program: Template,
    /// What runs it: a program with its arguments, to which the name of the file is added.
    pub run: Vec<String>,
    /// How long it may take.
    pub time: Duration,
    /// Bytes of memory that it may take.
    pub memory_bytes: u64,
}

/// A command that grades: rows go in as JSON Lines, scores come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GradingCommand {
    /// The program with its arguments.
    pub run: Vec<String>,
    /// Where it runs: the folder of the task file.
    pub folder: PathBuf,
}

/// Reads the table of a goal that names who grades.
pub(crate) fn read_grading(section: &mut Section<'_>) -> Result<Option<Grading>, TaskError> {
    let mut found = None;
    for name in GRADINGS {
        let Some(entry) = section.take(name) else { continue };
        if found.is_some() {
            let all = GRADINGS.join(", ");
            return Err(entry.wrong(format_args!("expected one of {all}, got several\nhint: leave all but one out")));
        }
        found = Some(match name {
            "judge" => Grading::Judge(read_judge(entry)?),
            "tests" => Grading::Tests(read_tests(entry)?),
            _ => Grading::Command(read_command(entry)?),
        });
    }
    Ok(found)
}

fn read_judge(entry: Entry<'_>) -> Result<Judge, TaskError> {
    let keys = ["model", "endpoint", "price", "rubric", "scale", "rated_answer", "rated_points"];
    let mut section = entry.section(&keys)?;
    let model = section.require("model", "`model = \"..\"`, the model that judges")?.text()?;
    let rubric = section.require("rubric", "`rubric = \"..\"`, what makes an answer good")?;
    let blank = rubric.wrong("expected what makes an answer good, got a blank text");
    let rubric = rubric.text()?.trim().to_owned();
    if rubric.is_empty() {
        return Err(blank);
    }
    let scale = match section.take("scale") {
        Some(entry) => {
            let wrong = entry.expected("a whole number of 2 to 10");
            entry.count().ok().filter(|points| (2..=10).contains(points)).ok_or(wrong)?
        }
        None => SCALE,
    };
    let rated = match (section.text("rated_answer")?, section.text("rated_points")?) {
        (None, None) => None,
        (Some(answer), Some(points)) => Some(Rated { answer, points }),
        _ => {
            let hint = "hint: one is the column of answers, the other that of the points that people gave them";
            return Err(
                section.wrong(format_args!("expected `rated_answer` and `rated_points`, got one of them\n{hint}"))
            );
        }
    };
    let endpoint = section.take("endpoint").map(read_endpoint).transpose()?;
    let price = section.take("price").map(read_price).transpose()?;
    Ok(Judge { model, endpoint, price, rubric, scale, rated })
}

fn read_tests(entry: Entry<'_>) -> Result<Tests, TaskError> {
    let mut section = entry.section(&["program", "run", "seconds", "memory_mb"])?;
    let program =
        section.require("program", "`program = \"..\"`, the text of the program, as `{prefix}{answer}\\n{tests}`")?;
    let no_answer = program.wrong("expected `{answer}` or `{code}` in the text of the program, got neither");
    let program = read_template(program)?;
    if !program.fields().iter().any(|field| matches!(*field, "answer" | "code")) {
        return Err(no_answer);
    }
    let run = match section.take("run") {
        Some(entry) => read_words(entry)?,
        None => vec!["python3".to_owned()],
    };
    let seconds = match section.take("seconds") {
        Some(entry) => entry.number("a number above 0, at most 600", |n| n > 0.0 && n <= 600.0)?,
        None => SECONDS,
    };
    let memory_bytes = match section.take("memory_mb") {
        Some(entry) => {
            let wrong = entry.expected("a whole number of 16 or more, in MiB");
            let megabytes = entry.count().ok().filter(|&count| count >= 16).ok_or(wrong)?;
            (megabytes as u64) << 20
        }
        None => MEMORY_BYTES,
    };
    Ok(Tests { program, run, time: Duration::from_secs_f64(seconds), memory_bytes })
}

fn read_command(entry: Entry<'_>) -> Result<GradingCommand, TaskError> {
    let mut section = entry.section(&["run"])?;
    let folder = section.place().folder().to_owned();
    let run =
        section.require("run", "`run = [\"program\", \"argument\"]`, which reads JSON Lines and writes scores")?;
    Ok(GradingCommand { run: read_words(run)?, folder })
}

/// A program with its arguments.
fn read_words(entry: Entry<'_>) -> Result<Vec<String>, TaskError> {
    let empty = entry.wrong("expected a program with its arguments, got an empty list");
    let words = entry.items()?.into_iter().map(Entry::text).collect::<Result<Vec<_>, _>>()?;
    if words.first().is_none_or(|program| program.trim().is_empty()) { Err(empty) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Task;
    use std::path::Path;

    fn grading(text: &str) -> Result<Option<Grading>, TaskError> {
        let file = format!("kind = \"complete\"\n[goal]\nthreshold = 0.5\n{text}");
        Task::parse(&file, Path::new("folder/t.toml")).map(|task| task.goal.grading)
    }

    #[test]
    fn each_way_of_grading_is_read_as_it_stands() {
        let judge = grading("[goal.judge]\nmodel = \"big\"\nrubric = \" Is it kind? \"\n").unwrap().unwrap();
        let Grading::Judge(Judge { model, rubric, scale, rated, .. }) = &judge else { panic!("{judge:?}") };
        assert_eq!((model.as_str(), rubric.as_str(), *scale, rated), ("big", "Is it kind?", 5, &None));
        let text = "judge = { model = \"m\", rubric = \"r\", scale = 3, rated_answer = \"a\", rated_points = \"p\" }\n";
        let Some(Grading::Judge(judge)) = grading(text).unwrap() else { panic!("no judge") };
        assert_eq!((judge.scale, judge.rated.unwrap().points.as_str()), (3, "p"));
        let text = "tests = { program = \"{prefix}{code}\", run = [\"node\"], seconds = 0.5, memory_mb = 64 }\n";
        let Some(Grading::Tests(tests)) = grading(text).unwrap() else { panic!("no tests") };
        assert_eq!(
            (tests.run, tests.time, tests.memory_bytes),
            (vec!["node".to_owned()], Duration::from_millis(500), 64 << 20)
        );
        let command = grading("command = { run = [\"python3\", \"score.py\"] }\n").unwrap().unwrap();
        assert_eq!(command.metric(), "command");
        let Grading::Command(command) = command else { panic!("no command") };
        assert_eq!((command.run.len(), command.folder.as_path()), (2, Path::new("folder")));
        assert_eq!(grading("").unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases = [
            ("judge = { rubric = \"r\" }\n", "4:9: [goal.judge] lacks `model`"),
            (
                "judge = { model = \"m\", rubric = \" \" }\n",
                "4:33: `rubric`: expected what makes an answer good, got a blank",
            ),
            (
                "judge = { model = \"m\", rubric = \"r\", scale = 1 }\n",
                "4:46: `scale`: expected a whole number of 2 to 10, got",
            ),
            (
                "judge = { model = \"m\", rubric = \"r\", rated_answer = \"a\" }\n",
                "4:9: expected `rated_answer` and `rated_points`, got one of them\nhint: ",
            ),
            ("tests = { program = \"{prefix}\" }\n", "4:21: `program`: expected `{answer}` or `{code}` in the text of"),
            (
                "tests = { program = \"{code}\", run = [] }\n",
                "4:37: `run`: expected a program with its arguments, got an empty",
            ),
            (
                "tests = { program = \"{code}\", seconds = 0 }\n",
                "4:41: `seconds`: expected a number above 0, at most 600",
            ),
            ("command = {}\n", "4:11: [goal.command] lacks `run`"),
            (
                "tests = { program = \"{code}\" }\ncommand = { run = [\"x\"] }\n",
                "5:11: `command`: expected one of judge, tests, command, got several\nhint: leave all but one out",
            ),
        ];
        for (text, expected) in cases {
            let error = grading(text).unwrap_err().to_string();
            let expected = format!("folder/t.toml:{expected}");
            assert!(error.starts_with(&expected), "{error}\nexpected\n{expected}");
        }
    }
}
