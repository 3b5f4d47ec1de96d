//! What the parent tells the process that becomes a program.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The first argument of a process that becomes a program without rights. Nobody types it.
pub const RUN_PROGRAM_ARG: &str = "__run-program";

/// The exit code of a process that could not give up its rights, and so became nothing.
pub const UNCONFINED: u8 = 125;

/// What the parent orders, as JSON in the second argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The interpreter.
    pub program: PathBuf,
    /// Its arguments; none where rights are given up to see whether they can be, and no program is run.
    pub arguments: Option<Vec<String>>,
    /// Folders and files that may be read, beside the system's own.
    pub readable: Vec<PathBuf>,
    /// Seconds of the processor.
    pub seconds: u64,
    /// Bytes of address space.
    pub memory_bytes: u64,
}
