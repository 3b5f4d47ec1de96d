//! The process that reads one document: the program once more, with a hidden argument.
//!
//! It gets the file as its standard input, gives up its rights, and answers in JSON on its standard output. Whatever
//! a hostile file makes of it, its parent has a document, a reason, or a process that ended badly. Read next:
//! `documents/confine.rs`; the parent is `documents/reader.rs`.

use super::confine::{Bounds, confine};
use super::{Confinement, Format, Text};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// The first argument of a process that reads a document. Nobody types it.
pub const READ_DOCUMENT_ARG: &str = "__read-document";

/// What the child tells the parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The document.
    Text(Text),
    /// Why it is none.
    Refused(String),
    /// Where its reader panicked.
    Panicked(String),
    /// What the system does not give, so that nothing was read.
    Unconfined(String),
}

/// What the parent tells the child, besides the file.
#[derive(Debug, Clone)]
pub struct Order {
    /// The name of the format.
    pub format: String,
    /// What the process may take.
    pub bounds: Bounds,
    /// No larger file is read.
    pub input_bytes: u64,
    /// Whether it is read in a process with rights too.
    pub confinement: Confinement,
}

impl Order {
    /// As arguments.
    pub fn arguments(&self) -> [String; 6] {
        let Bounds { memory_bytes, seconds } = self.bounds;
        let confinement = match self.confinement {
            Confinement::Required => "required",
            Confinement::Waived => "waived",
        };
        [
            READ_DOCUMENT_ARG.to_owned(),
            self.format.clone(),
            memory_bytes.to_string(),
            seconds.to_string(),
            self.input_bytes.to_string(),
            confinement.to_owned(),
        ]
    }

    fn of_arguments(arguments: &[String]) -> Option<Order> {
        let [word, format, memory_bytes, seconds, input_bytes, confinement] = arguments else { return None };
        let confinement = match confinement.as_str() {
            "required" => Confinement::Required,
            "waived" => Confinement::Waived,
            _ => return None,
        };
        let bounds = Bounds { memory_bytes: memory_bytes.parse().ok()?, seconds: seconds.parse().ok()? };
        let order = Order { format: format.clone(), bounds, input_bytes: input_bytes.parse().ok()?, confinement };
        (word == READ_DOCUMENT_ARG).then_some(order)
    }
}

/// What a program does first where its first argument is [`READ_DOCUMENT_ARG`], before it has threads or open files.
pub fn child_main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let order = Order::of_arguments(&arguments);
    let Some((order, format)) = order.and_then(|order| Format::named(&order.format).map(|format| (order, format)))
    else {
        return ExitCode::from(2);
    };
    let answer = match confine(order.bounds, order.confinement) {
        Ok(()) => read(format, order.input_bytes),
        Err(reason) => Answer::Unconfined(reason),
    };
    let mut output = std::io::stdout().lock();
    match serde_json::to_writer(&mut output, &answer).map(|()| output.flush()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn read(format: &Format, input_bytes: u64) -> Answer {
    let mut bytes = Vec::new();
    match std::io::stdin().lock().take(input_bytes + 1).read_to_end(&mut bytes) {
        Err(error) => Answer::Refused(format!("cannot be read: {error}")),
        Ok(_) if bytes.len() as u64 > input_bytes => {
            Answer::Refused(format!("expected a file of at most {input_bytes} bytes, got more"))
        }
        Ok(_) => parse(format, &bytes),
    }
}

/// Parses, and tells of a panic as of any other outcome.
fn parse(format: &Format, bytes: &[u8]) -> Answer {
    let place = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&place);
    std::panic::set_hook(Box::new(move |panic| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string().replace('\n', " ");
    }));
    match catch_unwind(AssertUnwindSafe(|| format.parse(bytes))) {
        Ok(Ok(text)) => Answer::Text(text),
        Ok(Err(reason)) => Answer::Refused(reason),
        Err(_) => Answer::Panicked(place.lock().unwrap_or_else(PoisonError::into_inner).clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_that_panics_is_an_answer_with_the_place() {
        let parse_badly = |_: &[u8]| panic!("a table of no columns");
        let format = Format { name: "bad", extensions: &[], magic: b"", parse: parse_badly, confined: true };
        let answer = parse(&format, b"");
        // The usual way of telling panics, for the tests that run beside this one.
        drop(std::panic::take_hook());
        let Answer::Panicked(place) = answer else { panic!("{answer:?}") };
        assert!(place.contains("child.rs:") && place.ends_with("a table of no columns"), "{place}");
    }

    #[test]
    fn an_order_is_what_its_arguments_say() {
        let bounds = Bounds { memory_bytes: 1 << 30, seconds: 7 };
        let order = Order { format: "pdf".into(), bounds, input_bytes: 9, confinement: Confinement::Waived };
        let arguments = order.arguments();
        assert_eq!(arguments, ["__read-document", "pdf", "1073741824", "7", "9", "waived"]);
        assert_eq!(Order::of_arguments(&arguments).unwrap().arguments(), arguments);
        assert!(Order::of_arguments(&arguments[..5]).is_none());
    }
}
