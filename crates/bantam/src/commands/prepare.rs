//! `bantam prepare`: keeps a model's weights beside it as they are computed with, so that it loads faster.

use crate::generation::LoadArgs;
use crate::session::{Session, load_options};
use hub::Manifest;
use serde::Serialize;

/// Make a model load faster, for as much disk as its weights take
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam prepare qwen2.5-coder:1.5b           answers begin sooner from now on; the disk holds the weights twice
  bantam prepare qwen2.5-coder:1.5b --undo    gives the disk back

Answers are the same. Long answers of very small models are written more slowly than without.
`bantam list` shows what is prepared, `bantam rm` removes it with the model.")]
pub struct Args {
    /// The model
    model: String,
    /// Remove what was prepared
    #[arg(long)]
    undo: bool,
    /// Threads to compute with
    #[arg(long, value_name = "N", conflicts_with = "undo")]
    threads: Option<usize>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    name: String,
    /// `None` after `--undo`.
    prepared_bytes: Option<u64>,
    bytes_freed: u64,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let host = session.host(load_options(&LoadArgs { threads: args.threads, ..LoadArgs::default() })?)?;
    let hub = host.hub();
    let reference = hub.resolve(&args.model)?;
    let name = reference.store_name();
    let mut output = Output { name, prepared_bytes: None, bytes_freed: 0 };
    if args.undo {
        if let Some(digest) = hub.manifest(&reference)?.as_ref().and_then(Manifest::sole_digest) {
            output.bytes_freed = hub.store().discard_prepared(&digest)?;
        }
    } else {
        output.prepared_bytes = Some(host.prepare(&args.model, &session.download_progress())?);
    }
    if args.json {
        return session.terminal.json(&output);
    }
    let text = match output.prepared_bytes {
        Some(bytes) => format!("{}  prepared, {} on disk\n", output.name, crate::table::bytes(bytes)),
        None if output.bytes_freed == 0 => format!("{}  was not prepared\n", output.name),
        None => format!(
            "{}  {} freed, for all names of these bytes\n",
            output.name,
            crate::table::bytes(output.bytes_freed)
        ),
    };
    Ok(session.terminal.data(&text)?)
}
