//! `bantam import`: takes over model files that are already on this machine.

use crate::failure::UsedWrongly;
use crate::session::Session;
use hub::{Hub, HubError, Manifest, OTHER_STORES, OtherStore, Progress};
use serde::Serialize;
use std::path::PathBuf;

/// Take over model files that are already on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam import ./model.gguf --name mine          copied into the store
  bantam import ./model.gguf --name mine --link   left where it is; it must not change there
  bantam import --from ollama                     every model that Ollama has, linked")]
pub struct Args {
    /// A GGUF file or a folder of safetensors
    #[arg(required_unless_present = "from")]
    path: Option<PathBuf>,
    /// The name to give it
    #[arg(long, requires = "path", required_unless_present = "from")]
    name: Option<String>,
    /// Leave the bytes where they are; writing to the file later changes the model, or ends a run of it
    #[arg(long, requires = "path")]
    link: bool,
    /// Link all models of another program: ollama, hf-cache or lmstudio
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["path", "name"])]
    from: Option<String>,
    /// Where that program keeps them, if not in the usual place
    #[arg(long, value_name = "FOLDER", requires = "from")]
    folder: Option<PathBuf>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, Default)]
struct Output {
    imported: Vec<Imported>,
    skipped: Vec<Skipped>,
}

#[derive(Serialize)]
struct Imported {
    name: String,
    bytes: u64,
}

#[derive(Serialize)]
struct Skipped {
    name: String,
    reason: String,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let hub = session.hub()?;
    let bars = session.download_progress();
    let progress = HubProgress(&bars);
    let mut output = Output::default();
    if let (Some(path), Some(name)) = (&args.path, &args.name) {
        output.add(name, hub.import(path, name, args.link, &progress))?;
    } else if let Some(program) = &args.from {
        let store = OtherStore::named(program).ok_or_else(|| {
            let known: Vec<&str> = OTHER_STORES.iter().map(|store| store.name).collect();
            UsedWrongly(format!("--from: expected one of {}, got {program:?}", known.join(", ")))
        })?;
        output = import_all(&hub, store, args.folder.as_deref(), &progress)?;
    }
    if args.json {
        session.terminal.json(&output)?;
    } else {
        let lines = output.imported.iter().map(|row| format!("{}  {}\n", row.name, crate::table::bytes(row.bytes)));
        session.terminal.data(&lines.collect::<String>())?;
        for skipped in &output.skipped {
            session.terminal.warn(&format!("skipped {}: {}", skipped.name, skipped.reason));
        }
    }
    if output.imported.is_empty() {
        anyhow::bail!("nothing was imported");
    }
    Ok(())
}

fn import_all(
    hub: &Hub,
    store: &OtherStore,
    folder: Option<&std::path::Path>,
    progress: &dyn Progress,
) -> Result<Output, HubError> {
    let mut output = Output::default();
    let found = store.models(folder)?;
    let skipped = found.skipped.into_iter().map(|model| Skipped { name: model.name, reason: model.reason });
    output.skipped.extend(skipped);
    for found in found.models {
        // One damaged model of another program does not stop the others; it is named.
        match hub.import_found(&found, &found.name, progress) {
            Ok(manifest) => {
                let parameters =
                    manifest.parameters().map(local::parameters_not_applied).unwrap_or_default().join(", ");
                if !parameters.is_empty() {
                    progress.message(&format!("{}: parameters that have no effect here: {parameters}", found.name));
                }
                output.add(&found.name, Ok(manifest))?;
            }
            Err(error) => output.skipped.push(Skipped { name: found.name.clone(), reason: error.to_string() }),
        }
    }
    Ok(output)
}

impl Output {
    fn add(&mut self, name: &str, manifest: Result<Manifest, HubError>) -> Result<(), HubError> {
        self.imported.push(Imported { name: name.to_owned(), bytes: manifest?.bytes() });
        Ok(())
    }
}

/// The hub's way of telling progress, on this program's bars.
struct HubProgress<'a>(&'a crate::progress::Progress);

impl Progress for HubProgress<'_> {
    fn start(&self, what: &str, total: Option<u64>, done: u64) {
        self.0.begin(what, total, done);
    }

    fn advance(&self, bytes: u64) {
        self.0.add(bytes);
    }

    fn message(&self, text: &str) {
        self.0.say(text);
    }

    fn finish(&self) {
        self.0.end();
    }
}
