//! How the binary ends: exit codes, and the error that means "used wrongly".
//!
//! Codes: 0 done, 1 failed, 2 used wrongly, 3 judged and not good enough or worse than it was, 4 judged without enough evidence, 130 interrupted from the keyboard (128 + SIGINT, as shells have it).
//! Used wrongly is a command line that cannot be understood whatever is on this machine. A model's name that is of
//! nothing is none: it fails, in every command.

use std::fmt;

/// The command was used wrongly: exit code 2 rather than 1.
#[derive(Debug)]
pub struct UsedWrongly(pub String);

impl fmt::Display for UsedWrongly {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for UsedWrongly {}

/// The answer was stopped from the keyboard.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// A model was judged, and is not known to be good enough. What is to be said of it was said.
#[derive(Debug)]
pub struct Judged {
    /// The exit code.
    pub code: u8,
}

impl Judged {
    /// What was judged is not good enough.
    pub const NOT_GOOD_ENOUGH: u8 = 3;
    /// The rows do not tell.
    pub const NOT_ENOUGH_EVIDENCE: u8 = 4;
}

impl fmt::Display for Judged {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.code == Judged::NOT_GOOD_ENOUGH {
            "not good enough"
        } else {
            "not enough evidence"
        })
    }
}

impl std::error::Error for Judged {}

/// The exit code that an error ends in.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(judged) = error.downcast_ref::<Judged>() {
        return judged.code;
    }
    let closed_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    match error {
        error if error.is::<UsedWrongly>() => 2,
        error if error.is::<Interrupted>() => 130,
        error if error.downcast_ref::<std::io::Error>().is_some_and(closed_pipe) => 0,
        _ => 1,
    }
}
