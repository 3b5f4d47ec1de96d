//! Runs a program that nobody has read, such as one that a model wrote: without network, without other processes, without
//! writing any file, reading no more than the system's own, in bounded time and memory. Where the system cannot take these
//! rights from a process, nothing is run.
//!
//! ```text
//! Sandbox::open: is the interpreter there? can this system confine?        once
//! Sandbox::run:  text -> file in a folder of its own -> this program again with a hidden argument
//!                -> gives up its rights (confine.rs) -> becomes the interpreter -> Ended
//! ```
//!
//! It knows nothing of models. Read next: `confine.rs` for what is taken.
#![forbid(unsafe_code)]

mod confine;
mod order;
mod run;

pub use confine::child_main;
pub use order::RUN_PROGRAM_ARG;
pub use run::{End, Ended, Limits, Sandbox, SandboxError};
