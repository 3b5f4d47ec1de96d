//! `bantam cp`: gives a model a second name; no bytes are copied.

use crate::session::Session;
use serde::Serialize;

/// Give a model in the store a second name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  bantam cp smollm2:135m helper")]
pub struct Args {
    /// A name in the store
    from: String,
    /// The new name
    to: String,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    from: String,
    to: String,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let hub = session.hub()?;
    let from = hub.resolve(&args.from).map_or(args.from, |reference| reference.store_name());
    let to = hub.copy(&from, &args.to)?.name;
    if args.json {
        return session.terminal.json(&Output { from, to });
    }
    Ok(session.terminal.data(&format!("{from} is also {to}\n"))?)
}
