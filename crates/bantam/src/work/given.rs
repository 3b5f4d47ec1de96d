//! What a command of tasks works on: one text, or many inputs of files and folders.
//!
//! A text alone is the one field that the task reads, whatever that is called. Read next: `one.rs`, `many.rs`, `job.rs`.

use super::options::WorkArgs;
use crate::failure::UsedWrongly;
use crate::session::Session;
use std::io::Read;
use std::path::PathBuf;
use tasks::documents::{Confinement, Reader};
use tasks::table::Table;
use tasks::{Input, Inputs, Item, Task};

/// More than any text that a model reads.
const LONGEST_TEXT: u64 = 256 << 20;

/// What to work on.
#[derive(Debug)]
pub enum Given {
    /// One text.
    One {
        /// What to call it.
        name: String,
        /// The text, or the fields that a command made.
        input: Box<Input>,
        /// What is to be said of it.
        warnings: Vec<String>,
    },
    /// What files and folders hold.
    Many(Vec<PathBuf>),
}

impl Given {
    /// One input that the command line holds.
    pub fn of(input: Input) -> Given {
        Given::One { name: "the command line".to_owned(), input: Box::new(input), warnings: Vec::new() }
    }

    /// A text of the command line, as the field that a task reads.
    ///
    /// # Errors
    /// The task reads several.
    pub fn text(text: &str, task: &Task) -> anyhow::Result<Given> {
        Ok(Given::of(as_field(Input::text(text), task.text_field()?)))
    }

    /// What was given: by the command, else by `--in`, else by standard input.
    pub fn choose(given: Option<Given>, args: &WorkArgs, task: &Task, session: &Session) -> anyhow::Result<Given> {
        let given = match (given, args.inputs.as_slice()) {
            (Some(_), [_, ..]) => {
                let text = "expected a text or --in, got both\nhint: leave one of them out";
                return Err(UsedWrongly(text.to_owned()).into());
            }
            (Some(given), []) => given,
            (None, [only]) if args.out.is_none() && !only.is_dir() && !Table::is_table(only) => {
                first(Inputs::open(&args.inputs, reader(args)?)?, task)?
            }
            (None, [_, ..]) => Given::Many(args.inputs.clone()),
            (None, []) => standard_input(args, task, session)?,
        };
        if let Given::One { name, input, .. } = &given {
            let field = task.text_field().ok().and_then(|field| input.fields.get(field));
            if field.is_some_and(|text| text.as_str().is_some_and(|text| text.trim().is_empty())) {
                let text = format!("{name}: the text is empty\nhint: give a text, or --in with files");
                return Err(UsedWrongly(text).into());
            }
            let lone = [
                ("--out", args.out.is_some()),
                ("--limit", args.limit.is_some()),
                ("--concurrency", args.concurrency.is_some()),
            ];
            if let Some((flag, _)) = lone.iter().find(|(_, is_given)| *is_given) {
                let hint = "its answer is printed: send it into a file, or name inputs by --in";
                return Err(UsedWrongly(format!("{flag} is for many inputs, got one text\nhint: {hint}")).into());
            }
        }
        Ok(given)
    }
}

/// The documents' reader: this program once more, without rights.
pub fn reader(args: &WorkArgs) -> anyhow::Result<Reader> {
    let confinement = if args.trust_documents { Confinement::Waived } else { Confinement::Required };
    Ok(Reader { confinement, ..Reader::new(std::env::current_exe()?) })
}

/// Opens inputs, and looks whether they have what the task reads.
pub fn open(paths: &[PathBuf], args: &WorkArgs, task: &Task, session: &Session) -> anyhow::Result<Inputs> {
    let inputs = Inputs::open(paths, reader(args)?)?;
    if inputs.has_tables() && inputs.has_texts() {
        let text =
            "--in: expected tables or documents, got both\nhint: their results have other columns; give a command each";
        return Err(UsedWrongly(text.to_owned()).into());
    }
    if inputs.has_tables() {
        task.fields().into_iter().try_for_each(|field| inputs.require(field))?;
    } else {
        task.text_field()?;
    }
    for warning in inputs.warnings().iter().chain(&inputs.left_out().warnings()) {
        session.terminal.warn(warning);
    }
    Ok(inputs)
}

/// A text's field under the name by which the task reads it.
pub fn as_field(mut input: Input, field: &str) -> Input {
    if field != tasks::TEXT
        && let Some(text) = input.fields.shift_remove(tasks::TEXT)
    {
        input.fields.insert(field.to_owned(), text);
    }
    input
}

fn first(mut inputs: Inputs, task: &Task) -> anyhow::Result<Given> {
    let Some(Item { source, input, warnings, .. }) = inputs.next() else { anyhow::bail!("there is nothing to read") };
    let input = Box::new(as_field(input?, task.text_field()?));
    Ok(Given::One { name: source, input, warnings })
}

fn standard_input(args: &WorkArgs, task: &Task, session: &Session) -> anyhow::Result<Given> {
    if session.terminal.stdin {
        let text = format!(
            "expected a text, got none\nhint: bantam {} .. \"TEXT\", --in FILE, or pipe a text in",
            task.kind()
        );
        return Err(UsedWrongly(text).into());
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(LONGEST_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_TEXT {
        anyhow::bail!("standard input: expected a text of at most {LONGEST_TEXT} bytes, got more");
    }
    first(Inputs::of_text("standard input", &bytes, reader(args)?)?, task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_called_what_the_task_reads() {
        let input = as_field(Input::text("x"), "question");
        assert_eq!(serde_json::to_string(&input.fields).unwrap(), r#"{"question":"x"}"#);
        assert_eq!(as_field(Input::text("x"), "text"), Input::text("x"));
    }
}
