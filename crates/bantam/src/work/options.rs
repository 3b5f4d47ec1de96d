//! The options that all commands of tasks take.
//!
//! Each flag is one field with its help. What stands beside a task file changes it where that is plain: the model, the
//! words around the inputs, how long an answer may be. The rest of a task is said in one place, the file or the command
//! line ([`refuse_beside`]). Read next: `given.rs`, what comes in.

use crate::failure::UsedWrongly;
use crate::generation::{self, LoadArgs};
use std::path::{Path, PathBuf};
use tasks::{Task, Template};

/// What every command of tasks takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WorkArgs {
    /// A task file, known by its ending .toml; else the text
    #[arg(value_name = "TASK.toml")]
    task_or_text: Option<String>,
    /// The text; without it, --in or standard input has it
    text: Option<String>,
    /// What follows a text that was not quoted
    #[arg(hide = true)]
    more_words: Vec<String>,
    /// The model (as in `bantam run`); the default is the task file's, else smollm2:135m
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// What the model should know or heed, in your words
    #[arg(long, value_name = "TEXT")]
    instructions: Option<String>,
    /// What the text of a row is made of: {name} is a column
    #[arg(long, value_name = "TEMPLATE")]
    input: Option<String>,
    /// Where inputs come from: a table (.csv, .tsv, .jsonl, .parquet, .xlsx, book.xlsx#Sheet), a document (.pdf, .docx,
    /// .html, .txt, ..) or a folder of documents; may be given several times
    #[arg(long = "in", value_name = "PATH", help_heading = "Inputs and results")]
    pub inputs: Vec<PathBuf>,
    /// Where results go, as a job that goes on after an interruption: .jsonl, .csv or .parquet
    #[arg(long, value_name = "FILE", help_heading = "Inputs and results")]
    pub out: Option<PathBuf>,
    /// Replace the file of results that is there
    #[arg(long, requires = "out", help_heading = "Inputs and results")]
    pub overwrite: bool,
    /// Try rows again that failed when the job ran before
    #[arg(long, requires = "out", help_heading = "Inputs and results")]
    pub retry_failed: bool,
    /// Only the first N rows
    #[arg(long, value_name = "N", help_heading = "Inputs and results")]
    pub limit: Option<u64>,
    /// Rows under way at once; the default is what is fastest for most small models
    #[arg(long, value_name = "N", help_heading = "Inputs and results")]
    pub concurrency: Option<usize>,
    /// Read documents also where this system cannot take a reader's rights away
    #[arg(long, help_heading = "Inputs and results")]
    pub trust_documents: bool,
    /// Print JSON (shapes: docs/json.md)
    #[arg(long, help_heading = "Inputs and results")]
    pub json: bool,
    /// Most tokens of an answer
    #[arg(long, value_name = "N", help_heading = "Generation")]
    max_tokens: Option<usize>,
    /// Randomness: 0, the default for tasks, always takes the likeliest token
    #[arg(long, value_name = "T", allow_negative_numbers = true, help_heading = "Generation")]
    temperature: Option<f32>,
    /// The same seed, prompt and model give the same answer
    #[arg(long, value_name = "N", help_heading = "Generation")]
    seed: Option<u64>,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// What the words of a command line are.
#[derive(Debug, PartialEq)]
pub struct Named {
    /// The task file.
    pub file: Option<PathBuf>,
    /// The text.
    pub text: Option<String>,
}

impl WorkArgs {
    /// Tells the task file from the text.
    ///
    /// # Errors
    /// More words than these two: used wrongly.
    pub fn named(&self) -> Result<Named, UsedWrongly> {
        let is_file = |word: &&String| word.len() > 5 && word.to_ascii_lowercase().ends_with(".toml");
        let file = self.task_or_text.as_ref().filter(is_file).map(PathBuf::from);
        let (text, further) = match file {
            Some(_) => (&self.text, None),
            None => (&self.task_or_text, self.text.as_ref()),
        };
        if further.is_some() || !self.more_words.is_empty() {
            return Err(UsedWrongly(
                "expected a task file and a text, got more words\nhint: put the text into quotes; a task file is known by \
                 its ending .toml"
                    .to_owned(),
            ));
        }
        Ok(Named { file, text: text.clone() })
    }

    /// Changes a task as these options say.
    ///
    /// # Errors
    /// A value that nothing can be done with: used wrongly.
    pub fn adjust(&self, task: &mut Task) -> Result<(), UsedWrongly> {
        for (flag, is_none) in [("--limit", self.limit == Some(0)), ("--concurrency", self.concurrency == Some(0))] {
            if is_none {
                return Err(UsedWrongly(format!("{flag}: expected 1 or more, got 0")));
            }
        }
        if let Some(model) = &self.model {
            task.model = Some(model.clone());
        }
        if let Some(instructions) = &self.instructions {
            task.instructions = Some(instructions.trim().to_owned()).filter(|text| !text.is_empty());
        }
        if let Some(template) = &self.input {
            task.input = Template::parse(template).map_err(|error| UsedWrongly(format!("--input: {error}")))?;
        }
        let options = &mut task.options;
        options.max_tokens = self.max_tokens.or(options.max_tokens);
        options.temperature = self.temperature.or(options.temperature);
        options.seed = self.seed.or(options.seed);
        generation::check(options)
    }
}

/// Refuses options that say what a task file says already.
///
/// # Errors
/// The first of the flags that is given.
pub fn refuse_beside(file: &Path, flags: &[(&str, bool)]) -> Result<(), UsedWrongly> {
    match flags.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((flag, _)) => Err(UsedWrongly(format!(
            "{flag}: expected the task file {} or this option, got both\nhint: change it in the file, or leave the file out",
            file.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(words: &[&str]) -> Result<Named, UsedWrongly> {
        let mut words = words.iter().map(|word| (*word).to_owned());
        let (task_or_text, text) = (words.next(), words.next());
        WorkArgs { task_or_text, text, more_words: words.collect(), ..WorkArgs::default() }.named()
    }

    #[test]
    fn a_task_file_is_known_by_its_ending_and_a_text_stands_alone_or_after_it() {
        let some = |file: Option<&str>, text: Option<&str>| Named {
            file: file.map(PathBuf::from),
            text: text.map(str::to_owned),
        };
        assert_eq!(named(&[]).unwrap(), some(None, None));
        assert_eq!(named(&["a text"]).unwrap(), some(None, Some("a text")));
        assert_eq!(named(&["triage.toml"]).unwrap(), some(Some("triage.toml"), None));
        assert_eq!(named(&["triage.TOML", "a"]).unwrap(), some(Some("triage.TOML"), Some("a")));
        for words in [vec!["not", "quoted"], vec!["triage.toml", "not", "quoted"]] {
            assert!(
                named(&words).unwrap_err().0.starts_with("expected a task file and a text, got more words\nhint: ")
            );
        }
    }

    #[test]
    fn what_a_file_says_already_is_refused() {
        let flags = [("--labels", false), ("--several", true)];
        let error = refuse_beside(Path::new("a.toml"), &flags).unwrap_err().0;
        assert!(
            error.starts_with("--several: expected the task file a.toml or this option, got both\nhint: "),
            "{error}"
        );
        assert!(refuse_beside(Path::new("a.toml"), &flags[..1]).is_ok());
    }
}
