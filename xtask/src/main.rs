//! The project's own chores, as `cargo xtask COMMAND`: one file a command under `commands/`.
//!
//! Nothing here is part of the product. Read next: `commands.rs`.
#![forbid(unsafe_code)]

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // A client wants to know whose TLS it has, also one that never speaks it. Nothing was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match commands::Command::parse().run() {
        Ok(code) => code,
        Err(error) => {
            commands::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
