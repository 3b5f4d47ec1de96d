//! `bantam stop`: has a running server unload a model.

use super::ps::running_names;
use crate::client::ServerClient;
use crate::session::Session;
use anyhow::bail;
use serde::Serialize;
use serde_json::json;

/// Have the server unload a model; answers under way are finished
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  bantam stop smollm2:135m\n\n\
BANTAM_HOST tells where the server is (default: 127.0.0.1:11434), BANTAM_API_KEY holds the key to ask with.")]
pub struct Args {
    /// As `bantam ps` shows it
    model: String,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    stopped: String,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let client = ServerClient::from_env()?;
    // Asking for a model that is not in memory would load it first.
    let names = running_names(&client)?;
    if !names.contains(&args.model) {
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        bail!("the server has no model {:?} in memory; it has: {there}", args.model);
    }
    client.post("/api/generate", &json!({"model": args.model, "keep_alive": 0, "stream": false}))?;
    if args.json {
        return session.terminal.json(&Output { stopped: args.model });
    }
    Ok(session.terminal.data(&format!("stopped {}\n", args.model))?)
}
