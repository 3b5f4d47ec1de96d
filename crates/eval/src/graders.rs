//! Those who grade, one file each: a model with a rubric, tests that programs have to pass, a command of the user's.
//!
//! Read next: `grader.rs` for what a grader is, `metrics/graded.rs` for how grades are counted.

mod command;
mod rubric;
mod tests;

pub use command::Command;
pub use rubric::{Load, Rubric};
pub use tests::{Program, Tests};

use crate::grader::Graded;
use crate::metrics::Judged;
use crate::metrics::texts::given;

/// An answer as a text: what it says, its label, or where it is neither its fields as JSON.
fn text_of(answer: &Judged<'_>) -> String {
    let label =
        answer.outcome.get("label").map(|label| label.as_str().map_or_else(|| label.to_string(), str::to_owned));
    let text = label.or_else(|| given(answer).map(|text| text.into_owned()));
    text.unwrap_or_else(|| serde_json::Value::Object(answer.outcome.clone()).to_string())
}

/// What an answer that could not be read is graded.
fn unread(answer: &Judged<'_>) -> Option<Graded> {
    answer.outcome.is_empty().then(|| Ok(crate::Grade::of(0.0)))
}
