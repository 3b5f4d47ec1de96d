//! The work: what a task file asks of a model, of one input or of many.
//!
//! ```text
//! task file -> Task (what is asked; known to be sound) -> Ready (the same, with a model) -> ask(Input) -> Outcome
//! documents, tables -> Inputs                             batch: Inputs -> Outcomes, as a job of the ledger
//! ```
//!
//! It holds `Arc<dyn chat::ChatModel>` and knows nothing of engines, stores, HTTP or terminals.
#![forbid(unsafe_code)]

pub mod documents;
mod encoding;
mod error;
mod input;
mod inputs;
mod outcome;
pub mod table;

pub use error::TaskError;
pub use input::Input;
pub use inputs::{Inputs, Item, LeftOut};
pub use outcome::{Outcome, Work};
