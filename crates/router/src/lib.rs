//! Models elsewhere: providers behind the same trait as the models of this machine, and what they cost.
//!
//! ```text
//! name, key of the environment -> Remote -> RemoteModel: a chat::ChatModel
//! ChatRequest -> body of the protocol -> HTTP, tried again until the first token -> events -> Answer -> ChatEvents
//! Usage -> Price -> USD -> Budget
//! ```
//!
//! It knows no task and no terminal, and no file beside the book of prices. Wire formats of providers stay in
//! `providers/`, one file each. Read next: `providers.rs` for the table, then `remote_model.rs`.
#![forbid(unsafe_code)]

mod answer;
mod budget;
mod failure;
mod format;
mod key;
mod link;
mod metered;
pub mod prices;
pub mod providers;
mod remote_model;
mod retry;
mod sse;
#[cfg(test)]
mod testing;

pub use budget::{Budget, BudgetError, Charge, estimated_cost};
pub use key::Key;
pub use link::Link;
pub use metered::Metered;
pub use prices::{Price, PriceBook};
pub use providers::{Preset, Protocol, Remote};
pub use remote_model::RemoteModel;
pub use retry::Policy;
