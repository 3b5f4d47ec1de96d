//! `bantam pull`: fetches a model into the store.

use crate::generation::LoadArgs;
use crate::session::{Session, load_options};
use futures::executor::block_on;
use hub::Manifest;
use serde::Serialize;

/// Fetch a model into the store
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam pull smollm2:135m
  bantam pull hf:HuggingFaceTB/SmolLM2-135M-Instruct    a repository of the Hugging Face hub (HF_TOKEN is used)
  bantam pull hf:owner/repo:q4_k_m                      one quantization of a GGUF repository
  bantam pull ollama:smollm2:135m

A pull that was cut off goes on where it stopped. What arrives is checked against its SHA-256.")]
pub struct Args {
    /// Catalog name, hf:owner/repo[:file or quant], ollama:name[:tag]
    model: String,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    family: &'a str,
    licence: Option<&'a str>,
    source: &'a str,
    bytes: u64,
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    role: hub::FileRole,
    file_name: &'a str,
    sha256: String,
    bytes: u64,
    pinned: bool,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let host = session.host(load_options(&LoadArgs::default())?)?;
    let progress = session.download_progress();
    let reference = host.hub().resolve(&args.model)?;
    let name = block_on(chat::ModelHost::pull(&host, &args.model, &progress))?;
    let Some(manifest) = host.hub().manifest(&reference)? else {
        anyhow::bail!("{name} is a path, not a model to fetch\nhint: bantam import {name} --name NAME");
    };
    if args.json {
        return session.terminal.json(&output(&manifest));
    }
    let mut text = format!("{}\n", manifest.name);
    for file in &manifest.files {
        let pinned = if file.pinned { "" } else { "  unpinned" };
        let size = crate::table::bytes(file.bytes);
        text.push_str(&format!("  {}  {size}  sha256 {}{pinned}\n", file.file_name, file.sha256));
    }
    text.push_str(&format!("  licence {}\n", manifest.license.as_deref().unwrap_or("unknown")));
    text.push_str(&format!("  source  {}\n", manifest.source));
    Ok(session.terminal.data(&text)?)
}

fn output(manifest: &Manifest) -> Output<'_> {
    let files = manifest.files.iter().map(|file| File {
        role: file.role,
        file_name: &file.file_name,
        sha256: file.sha256.to_string(),
        bytes: file.bytes,
        pinned: file.pinned,
    });
    Output {
        name: &manifest.name,
        family: &manifest.family,
        licence: manifest.license.as_deref(),
        source: &manifest.source,
        bytes: manifest.bytes(),
        files: files.collect(),
    }
}
