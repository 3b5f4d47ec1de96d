//! The table of subcommands: one file each, one line here.

// The comments of arguments are what --help prints, and not written for rustdoc.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

pub mod answer;
pub mod bench;
pub mod check;
pub mod classify;
pub mod complete;
pub mod completions;
pub mod copy;
pub mod create;
pub mod embed;
pub mod eval;
pub mod extract;
pub mod generate;
pub mod import;
pub mod init;
pub mod jobs;
pub mod keys;
pub mod list;
pub mod prepare;
pub mod prices;
pub mod ps;
pub mod pull;
pub mod quantize;
pub mod remove;
pub mod run;
pub mod score;
pub mod serve;
pub mod show;
pub mod stop;
pub mod summarize;
pub mod tokenize;

use crate::session::Session;

macro_rules! commands {
    ($($(#[$attribute:meta])* $variant:ident => $module:ident),+ $(,)?) => {
        /// A subcommand with its arguments.
        #[derive(Debug, clap::Subcommand)]
        pub enum Command {
            $($(#[$attribute])* $variant($module::Args),)+
        }

        impl Command {
            /// Does what was asked.
            ///
            /// # Errors
            /// What the command ran into; `failure::exit_code` turns it into an exit code.
            pub fn execute(self, session: &Session) -> anyhow::Result<()> {
                match self {
                    $(Command::$variant(args) => $module::execute(args, session),)+
                }
            }
        }
    };
}

commands! {
    Run => run,
    Classify => classify,
    Extract => extract,
    Summarize => summarize,
    Answer => answer,
    Complete => complete,
    Generate => generate,
    Init => init,
    Check => check,
    Jobs => jobs,
    Eval => eval,
    Prices => prices,
    Serve => serve,
    Ps => ps,
    Stop => stop,
    Keys => keys,
    Pull => pull,
    List => list,
    Show => show,
    #[command(name = "rm")]
    Remove => remove,
    #[command(name = "cp")]
    Copy => copy,
    Create => create,
    Import => import,
    Prepare => prepare,
    Quantize => quantize,
    Tokenize => tokenize,
    Score => score,
    Embed => embed,
    Bench => bench,
    Completions => completions,
}
