//! The `bantam` binary: one file per subcommand under `commands/`, and the terminal they share.
//!
//! It wires the other crates together and knows how people and programs are answered: data on standard output, everything
//! else on standard error, `--json` for programs, exit codes 0 (done), 1 (failed), 2 (used wrongly). It computes nothing.
//! Read next: `commands.rs`, the table of subcommands; `session.rs`, what they share.
#![forbid(unsafe_code)]

mod address;
mod answer;
mod client;
mod commands;
mod conversation;
mod failure;
mod format;
mod generation;
mod input;
mod interrupt;
mod modelfile;
mod progress;
mod repl;
mod scratch;
mod session;
mod table;
mod terminal;
mod work;

use clap::Parser;
use sandbox::RUN_PROGRAM_ARG;
use std::process::ExitCode;
use tasks::documents::READ_DOCUMENT_ARG;

/// Finds the right language model for a job and runs it, small models first
#[derive(Debug, Parser)]
#[command(name = "bantam", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  bantam run \"Name the three primary colours.\"     ask the default model, fetching it first
  bantam run qwen2.5-coder:0.5b                     chat with another one
  bantam list --available                           what there is, and what fits this machine
  bantam classify --labels praise,complaint --in letters.csv --out labelled.csv

Exit codes: 0 done, 1 failed, 2 used wrongly, 130 stopped by Ctrl-C. Data goes to standard output, everything else to standard error.")]
pub struct CommandLine {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    // A process that reads one document for another of ours: nobody types it, and it does nothing else.
    if std::env::args_os().nth(1).is_some_and(|first| first == READ_DOCUMENT_ARG) {
        return tasks::documents::child_main();
    }
    // One that becomes a program of a model's, without rights.
    if std::env::args_os().nth(1).is_some_and(|first| first == RUN_PROGRAM_ARG) {
        return sandbox::child_main();
    }
    // clap itself ends with 2 on a wrong command line and with 0 after --help and --version.
    let line = CommandLine::parse();
    let terminal = terminal::Terminal::detect();
    let outcome = session::Session::new(terminal).and_then(|session| line.command.execute(&session));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = failure::exit_code(&error);
            // A verdict was printed already.
            if code != 0 && !error.is::<failure::Judged>() {
                terminal.error(&error);
            }
            ExitCode::from(code)
        }
    }
}
