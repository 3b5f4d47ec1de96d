//! The work: what a task file asks of a model, of one input or of many.
//!
//! ```text
//! task file -> Task (what is asked; known to be sound) -> Ready (the same, with a model) -> ask(Input) -> Outcome
//! documents, tables -> Inputs                             batch: Inputs -> Outcomes, as a job of the ledger
//! ```
//!
//! It holds `Arc<dyn chat::ChatModel>` and knows nothing of engines, stores, HTTP or terminals.
#![forbid(unsafe_code)]

pub mod batch;
pub mod documents;
mod encoding;
mod error;
mod input;
mod inputs;
mod outcome;
pub mod table;

mod data;
mod grading;
mod init;
mod judging;
mod kinds;
mod labels;
mod ready;
mod task;

mod asking;
#[cfg(test)]
mod examples_tests;
mod frame;
mod generation;
mod leaves;
mod likelihood;
mod reader;
mod seeded;
mod source;
mod split;
mod template;
#[cfg(test)]
mod testing;

pub use asking::{Written, refusal, whole};
pub use error::TaskError;
pub use grading::{Grading, GradingCommand, Judge, Rated, Tests};
pub use init::{Draft, init};
pub use input::{Input, TEXT};
pub use inputs::{Inputs, Item, LeftOut};
pub use judging::{Answerer, Candidate, Endpoint, Goal, Machine, TokenPrice};
pub use kinds::{
    Answer, Classify, Complete, CompletionEnd, Extract, Field, Generate, KINDS, Kind, KindRow, Label, Summarize, cursor,
};
pub use labels::{Labelled, Labels, OpenRow, UNLABELLED};
pub use likelihood::Likelihood;
pub use outcome::{Outcome, Work};
pub use ready::Ready;
pub use split::sentences;
pub use task::{DataFiles, Example, Task};
pub use template::Template;
