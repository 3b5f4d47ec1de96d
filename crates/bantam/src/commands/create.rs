//! `bantam create`: makes a model of another one by a Modelfile.

use crate::failure::UsedWrongly;
use crate::generation::LoadArgs;
use crate::modelfile::Modelfile;
use crate::session::{Session, load_options};
use chat::ModelHost;
use futures::executor::block_on;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Make a model of another one: its system text, parameters, template, adapter
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam create mine -f Modelfile
  bantam create mine-q4 -f Modelfile --quantize q4_k_m

A Modelfile is Ollama's, but that its TEMPLATE is Jinja:
  FROM smollm2:135m
  PARAMETER temperature 0.2
  SYSTEM \"\"\"You answer in one sentence.\"\"\"

The new model shares the weights of the old one on the disk. A model of the same name is replaced.")]
pub struct Args {
    /// The new model's name in the store
    name: String,
    /// The Modelfile; `-` is standard input
    #[arg(short, long, value_name = "FILE", default_value = "Modelfile")]
    file: PathBuf,
    /// Quantize the weights so (q4_k_m)
    #[arg(short, long, value_name = "QUANTIZATION")]
    quantize: Option<String>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    name: String,
    base: Option<String>,
    bytes: u64,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let (shown, text) = if args.file.as_os_str() == "-" {
        ("standard input".to_owned(), crate::input::standard()?)
    } else {
        (args.file.display().to_string(), crate::input::file(&args.file)?)
    };
    let file = Modelfile::parse(&text).map_err(|error| UsedWrongly(format!("{shown}: {error}")))?;
    for note in &file.notes {
        session.terminal.note(note);
    }
    let folder = args.file.parent().unwrap_or(Path::new(""));
    let request = file.request(&args.name, folder, args.quantize);
    let host = session.host(load_options(&LoadArgs::default())?)?;
    block_on(host.create(request, &session.download_progress()))?;
    let manifest = host.hub().store().expect(&args.name)?;
    let output = Output { bytes: manifest.bytes(), name: manifest.name, base: manifest.base };
    if args.json {
        return session.terminal.json(&output);
    }
    Ok(session.terminal.data(&format!("{}  {}\n", output.name, crate::table::bytes(output.bytes)))?)
}
