//! `bantam rm`: forgets models and frees the blobs that no other model uses.

use crate::session::Session;
use serde::Serialize;

/// Remove models from the store
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  bantam rm smollm2:135m\n\nBytes that another name still uses stay. \
What broken-off imports left is swept up,\nas are downloads that nobody has gone on with for a week.")]
pub struct Args {
    /// Names in the store
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    removed: Vec<String>,
    bytes_freed: u64,
    left_over_bytes_freed: u64,
    kept_for: Vec<String>,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let hub = session.hub()?;
    // All names are looked up before the first is removed: a typing error removes nothing.
    let mut names = Vec::new();
    for model in &args.models {
        let stored = match hub.resolve(model) {
            Ok(reference) => reference.store_name(),
            Err(_) => model.clone(),
        };
        hub.store().check_held(&stored)?;
        if !names.contains(&stored) {
            names.push(stored);
        }
    }
    let mut output = Output { removed: Vec::new(), bytes_freed: 0, left_over_bytes_freed: 0, kept_for: Vec::new() };
    for name in names {
        let removed = hub.store().remove(&name)?;
        output.bytes_freed += removed.bytes_freed;
        output.left_over_bytes_freed += removed.left_over_bytes_freed;
        output.kept_for = removed.kept_for;
        output.removed.push(name);
    }
    if !output.kept_for.is_empty() {
        let unreadable = output.kept_for.join(", ");
        session.terminal.warn(&format!(
            "bytes were kept that may be unused: the manifests of {unreadable} cannot be read, so nobody knows what they \
             use\nhint: bantam rm or bantam pull them, then remove any model again"
        ));
    }
    if output.left_over_bytes_freed > 0 {
        let freed = crate::table::bytes(output.left_over_bytes_freed);
        session.terminal.note(&format!("{freed} more freed, which broken-off imports and downloads had left"));
    }
    if args.json {
        return session.terminal.json(&output);
    }
    let freed = crate::table::bytes(output.bytes_freed);
    Ok(session.terminal.data(&format!("removed {}; {freed} freed\n", output.removed.join(", ")))?)
}
