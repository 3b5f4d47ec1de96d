//! The binary as people and programs meet it: exit codes, error texts, JSON shapes, and real models.
//!
//! `create`, `errors`, most of `eval`, `shapes`, `store` and `streams` need neither network nor models. `models`, `parity` and `agreement` need the two models
//! that `.ci/run` pulls into `BANTAM_HOME`; without them they say that they are skipped, and with `BANTAM_CI=1` they fail.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests fail like tests")]

mod agreement;
mod browser;
mod create;
mod desk;
mod errors;
mod eval;
mod eval_pages;
mod eval_proofs;
mod format;
mod models;
mod pages;
mod parity;
mod prices;
mod serve;
mod serving;
mod shapes;
mod store;
mod streams;
mod tasks;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary with a store of its own, no network and no package manager.
pub fn bantam(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
    command.env("BANTAM_HOME", home).env("NO_COLOR", "1").stdin(Stdio::null());
    // A port that nobody listens on: what would reach out fails at once.
    command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("BANTAM_OLLAMA_REGISTRY", "http://127.0.0.1:9");
    command.env("PATH", home).env_remove("HF_TOKEN").env_remove("BANTAM_ISA");
    command.env_remove("BANTAM_HOST").env_remove("BANTAM_API_KEY");
    command
}

/// Exit code, standard output, standard error.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (status.code().expect("no signal ended it"), text(stdout), text(stderr))
}
