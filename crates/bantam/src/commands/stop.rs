//! `bantam stop`: has a running server unload a model.

use super::ps::running_names;
use crate::client::{ServerArgs, ServerClient};
use crate::session::Session;
use anyhow::bail;
use serde::Serialize;
use serde_json::json;

/// Have the server unload a model; answers under way are finished
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bantam stop smollm2:135m\n  bantam stop smollm2          the only one of that family in memory\n\n\
BANTAM_API_KEY holds the key to ask with."
)]
pub struct Args {
    /// As `bantam ps` shows it, or without the part after the colon
    model: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    stopped: String,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let client = ServerClient::new(&args.server)?;
    // Asking for a model that is not in memory would load it first.
    let names = running_names(&client)?;
    let model = meant(&args.model, &names)?;
    client.post("/api/generate", &json!({"model": model, "keep_alive": 0, "stream": false}))?;
    if args.json {
        return session.terminal.json(&Output { stopped: model.to_owned() });
    }
    Ok(session.terminal.data(&format!("stopped {model}\n"))?)
}

/// The model in memory that is meant: of that name, or else the only one of that family that has no adapter.
fn meant<'a>(text: &str, names: &'a [String]) -> anyhow::Result<&'a str> {
    let is_meant = |name: &&String| *name == text || text.strip_suffix(":latest") == Some(name);
    if let Some(name) = names.iter().find(is_meant) {
        return Ok(name);
    }
    let is_bare = |name: &str| !name.contains('+');
    let text = text.strip_suffix(":latest").unwrap_or(text);
    let of_family = |name: &&String| name.split_once(':').is_some_and(|(family, _)| family == text) && is_bare(name);
    match names.iter().filter(of_family).collect::<Vec<_>>()[..] {
        [name] => Ok(name),
        [] => {
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            bail!("the server has no model {text:?} in memory; it has: {there}")
        }
        ref several => {
            let several: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            bail!("{text:?} may be any of: {}\nhint: say which", several.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn a_family_alone_is_enough_where_it_is_one_model() {
        let names = ["smollm2:135m", "smollm2:135m+mine", "gemma3:270m", "gemma3:1b", "gemma3"].map(str::to_owned);
        let told = |text: &str| meant(text, &names).map_err(|error| error.to_string());
        assert_eq!(told("smollm2"), Ok("smollm2:135m"));
        assert_eq!(told("gemma3"), Ok("gemma3"), "the very name goes first");
        assert_eq!((told("gemma3:latest"), told("smollm2:latest")), (Ok("gemma3"), Ok("smollm2:135m")));
        let without = &names[..4];
        let several = meant("gemma3", without).unwrap_err().to_string();
        assert_eq!(several, "\"gemma3\" may be any of: gemma3:270m, gemma3:1b\nhint: say which");
        let none = told("smol").unwrap_err();
        let there = "smollm2:135m, smollm2:135m+mine, gemma3:270m, gemma3:1b, gemma3";
        assert_eq!(none, format!("the server has no model \"smol\" in memory; it has: {there}"));
    }
}
