//! `bantam tokenize`: the token ids of a text under a model's tokenizer.

use crate::generation::LoadArgs;
use crate::session::{Session, load_options};
use serde::Serialize;
use tokenizer::Encode;

/// Print the token ids of a text
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam tokenize smollm2:135m \"Hello, world\"
  bantam tokenize smollm2:135m - < letter.txt       text from standard input")]
pub struct Args {
    /// The model
    model: String,
    /// The text; `-` is standard input
    text: String,
    /// Add the tokens that the model wants at the beginning and end of a text
    #[arg(long)]
    add_special: bool,
    /// Read special tokens in the text as what they name, not as plain text
    #[arg(long)]
    parse_special: bool,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    model: String,
    ids: Vec<u32>,
    tokens: Vec<Token>,
}

#[derive(Serialize)]
struct Token {
    id: u32,
    text: String,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let host = session.host(load_options(&LoadArgs::default())?)?;
    let source = host.source(&args.model, &session.download_progress())?;
    let tokenizer = local::open_tokenizer(&source.path)?;
    let text = if args.text == "-" { crate::input::standard()? } else { args.text };
    let options = Encode { add_bos_eos: args.add_special, parse_special: args.parse_special };
    if let Some(lost) = tokenizer.unencodable(&text, options) {
        anyhow::bail!(
            "{}: its vocabulary has no token for U+{:04X}\nhint: leave that character out, or use another model",
            args.model,
            u32::from(lost)
        );
    }
    let ids = tokenizer.encode(&text, options);
    if args.json {
        let tokens = ids.iter().map(|&id| Token { id, text: tokenizer.token_text(id) }).collect();
        return session.terminal.json(&Output { model: args.model, ids, tokens });
    }
    let lines = ids.iter().map(|&id| format!("{id:>8}  {:?}\n", tokenizer.token_text(id)));
    session.terminal.data(&lines.collect::<String>())?;
    session.terminal.note(&format!("{} tokens", ids.len()));
    Ok(())
}
