//! `bantam embed`: texts as vectors, by an embedding model.

use crate::failure::UsedWrongly;
use crate::generation::LoadArgs;
use crate::session::{Session, load_options};
use chat::{ChatModel, EmbedRequest, Prompt};
use serde::Serialize;
use std::sync::Arc;

/// Print texts as vectors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam embed all-minilm \"The cat sleeps\" \"A feline is resting\"
  bantam embed all-minilm - < sentences.txt         a text in each line of standard input
  bantam embed nomic-embed --dimensions 256 --json \"search_query: what is a cat?\"")]
pub struct Args {
    /// The model
    model: String,
    /// The texts; `-` alone is standard input, a text in each line
    #[arg(required = true)]
    texts: Vec<String>,
    /// Keep so many of the first components, for models that are made for it
    #[arg(long, value_name = "N")]
    dimensions: Option<usize>,
    /// Cut a text that is longer than the model reads, and say so, instead of refusing it
    #[arg(long)]
    truncate: bool,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Serialize)]
struct Output {
    model: String,
    dimensions: usize,
    prompt_tokens: usize,
    truncated: Vec<usize>,
    vectors: Vec<Vec<f32>>,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let texts = match args.texts.as_slice() {
        [only] if only == "-" => crate::input::standard()?.lines().map(str::to_owned).collect(),
        _ => args.texts,
    };
    if texts.is_empty() {
        return Err(UsedWrongly("standard input: expected a text in each line, got none".to_owned()).into());
    }
    let options = load_options(&args.load)?;
    let host = session.host(options.clone())?;
    if let Some(known) = host.hub().catalog().find(&args.model).filter(|known| known.is_decoder()) {
        return Err(no_embedding_model(&known.name));
    }
    let source = host.source(&args.model, &session.download_progress())?;
    if !local::is_encoder(&source.path)? {
        return Err(no_embedding_model(&source.name));
    }
    let model = local::load_encoder(&source, &options, Arc::clone(host.runtime()))?;
    let inputs = texts.into_iter().map(Prompt::Text).collect();
    let request = EmbedRequest { inputs, truncate: args.truncate, dimensions: args.dimensions };
    let response = futures::executor::block_on(model.embed(request))?;
    for index in &response.truncated {
        session.terminal.note(&format!("text {} was cut to {} tokens", index + 1, model.info().context));
    }
    if args.json {
        let dimensions = response.vectors.first().map_or(0, Vec::len);
        return session.terminal.json(&Output {
            model: source.name,
            dimensions,
            prompt_tokens: response.prompt_tokens,
            truncated: response.truncated,
            vectors: response.vectors,
        });
    }
    let line = |vector: &Vec<f32>| vector.iter().map(f32::to_string).collect::<Vec<_>>().join(" ") + "\n";
    Ok(session.terminal.data(&response.vectors.iter().map(line).collect::<String>())?)
}

fn no_embedding_model(name: &str) -> anyhow::Error {
    let hint = "choose one, such as all-minilm; `bantam list --available` names more";
    anyhow::anyhow!("{name} is no embedding model\nhint: {hint}")
}
