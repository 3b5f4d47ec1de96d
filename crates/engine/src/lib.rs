//! Token ids in, token ids out: many sequences over one paged KV memory, in steps.
//!
//! A step is [`Engine::begin`] (which tokens of which sequences to compute, within a budget), the model's forward
//! pass by the caller, and [`Engine::finish`] (the logits become tokens and events). A step is deterministic in the
//! state and the seeds of the requests, and it cannot fail: what cannot be served is refused by [`Engine::submit`]
//! with the numbers, and what goes wrong later (a constraint, logits that are not numbers) ends its sequence with a
//! [`FinishReason`].
//!
//! This crate deliberately knows no text, JSON, HTTP, clock, file or thread, and it never sees a weight: of `model` it
//! uses only the shape of a batch.
//!
//! Read next: `sequence` (what is asked, what comes back), `scheduler` (who computes what in a step), `engine` (the
//! step itself), `sampler` (logits to a token), `kv_memory` (who has which pages), `prefix_cache` and `speculation` (what need
//! not be computed); then `local`, which drives it.

#![forbid(unsafe_code)]

mod bound;
mod choice;
mod constraint;
mod engine;
mod kv_memory;
mod kv_pool;
mod prefix_cache;
mod sampler;
#[cfg(test)]
mod scenes;
mod scheduler;
mod sequence;
#[cfg(test)]
mod simulation;
mod speculation;
mod walk;

pub use bound::Bound;
pub use constraint::{Constraint, ConstraintError, TokenMask};
pub use engine::{Demand, Engine, EngineConfig, Status, StepShape};
pub use sampler::{BrokenLogits, Sampler, Sampling};
pub use scheduler::Budget;
pub use sequence::{
    Counts, EngineEvent, FinishReason, PromptScores, Refused, SequenceId, SequenceRequest, TokenLogprob,
};
pub use walk::{Walk, WalkStep};
