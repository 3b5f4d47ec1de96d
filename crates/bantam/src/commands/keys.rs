//! `bantam keys`: who may ask the server, and how much.

use crate::session::Session;
use crate::table::{Align, table};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use server::keys::{KeyLimits, KeyRow, KeysFile, Scope, add, revoke, rows};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Make, list and revoke the keys that `bantam serve` asks for
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam keys add team --requests-per-minute 120    a key for asking models; it is shown once
  bantam keys add operators --scope admin           one that may also pull, create and delete
  bantam keys list
  bantam keys revoke key_abcdefgh                   a running server refuses it from then on

Only the SHA-256 of a key is kept, in keys.toml of the data directory unless --keys names another file.
From the first key on, `bantam serve` asks everybody for one, also where it runs already.")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The file with the keys
    #[arg(long, value_name = "FILE", global = true)]
    keys: Option<PathBuf>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it: it cannot be shown again
    #[command(after_help = "Examples:
  bantam keys add team --requests-per-minute 120 --concurrent 4
  bantam keys add operators --scope admin
  KEY=$(bantam keys add ci)                         only the key goes to standard output")]
    Add {
        /// Whose it is, for people
        name: String,
        /// What it allows: asking models, which loads and unloads them, or also changing which there are
        #[arg(long, value_enum, default_value_t = ScopeArg::Infer)]
        scope: ScopeArg,
        /// Requests that may be under way at once; the default is no limit
        #[arg(long, value_name = "N")]
        concurrent: Option<usize>,
        /// Requests within a minute; the default is no limit
        #[arg(long, value_name = "N")]
        requests_per_minute: Option<usize>,
        /// Tokens, read and generated, within a minute; the default is no limit
        #[arg(long, value_name = "N")]
        tokens_per_minute: Option<u64>,
    },
    /// List the keys, without their secrets
    #[command(after_help = "Example:\n  bantam keys list --json")]
    List,
    /// Take a key back
    #[command(after_help = "Example:\n  bantam keys revoke key_abcdefgh")]
    Revoke {
        /// As `list` shows it
        id: String,
    },
}

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScopeArg {
    Infer,
    Admin,
}

#[derive(Serialize)]
struct Output<'a> {
    id: &'a str,
    name: &'a str,
    scopes: &'a [Scope],
    created: u64,
    concurrent: Option<usize>,
    requests_per_minute: Option<usize>,
    tokens_per_minute: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> Output<'a> {
    fn of(row: &'a KeyRow, key: Option<&'a str>) -> Output<'a> {
        let KeyLimits { concurrent, requests_per_minute, tokens_per_minute } = row.limits;
        let KeyRow { id, name, scopes, created, .. } = row;
        Output { id, name, scopes, created: *created, concurrent, requests_per_minute, tokens_per_minute, key }
    }
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let is_default = args.keys.is_none();
    let file = args.keys.map_or_else(default_file, |path| Ok(KeysFile(path)))?;
    let is_there = file.0.exists();
    let terminal = session.terminal;
    match args.action {
        Action::Add { name, scope, concurrent, requests_per_minute, tokens_per_minute } => {
            let scope = match scope {
                ScopeArg::Infer => Scope::Infer,
                ScopeArg::Admin => Scope::Admin,
            };
            let limits = KeyLimits { concurrent, requests_per_minute, tokens_per_minute };
            let before = rows(&file)?;
            let new = add(&file, &name, vec![scope], limits)?;
            if is_default && !is_there {
                terminal
                    .note("the first key: servers of this data directory ask for one from now on, running ones too");
            }
            if let Some(other) = before.iter().find(|row| row.name == name) {
                terminal.note(&format!("{name} has another key already, {}; both work", other.id));
            }
            if args.json {
                return terminal.json(&Output::of(&new.row, Some(&new.secret)));
            }
            terminal.note(&format!("{} for {name}, shown this once; keep it where only its user sees it:", new.row.id));
            Ok(terminal.data(&format!("{}\n", new.secret))?)
        }
        Action::List => {
            let keys = rows(&file)?;
            if args.json {
                return terminal.json(&keys.iter().map(|row| Output::of(row, None)).collect::<Vec<_>>());
            }
            if keys.is_empty() {
                terminal.note(&no_keys(&file, is_there));
                return Ok(());
            }
            Ok(terminal.data(&listing(&keys))?)
        }
        Action::Revoke { id } => {
            let row = revoke(&file, &id)?;
            if args.json {
                return terminal.json(&Output::of(&row, None));
            }
            terminal.data(&format!("revoked {id} of {}\n", row.name))?;
            if rows(&file)?.is_empty() {
                terminal.note(&no_keys(&file, true));
            }
            Ok(())
        }
    }
}

/// What it means that there are none.
fn no_keys(file: &KeysFile, is_there: bool) -> String {
    if is_there {
        let path = file.0.display();
        return format!(
            "no keys: nobody may ask the server\nhint: bantam keys add NAME; without the file {path} everybody may"
        );
    }
    "no keys: whoever reaches the server may ask it\nhint: bantam keys add NAME".to_owned()
}

/// Where keys are kept unless another file is named.
///
/// # Errors
/// No data directory.
pub fn default_file() -> anyhow::Result<KeysFile> {
    Ok(KeysFile(hub::Home::from_env()?.root().join("keys.toml")))
}

fn listing(keys: &[KeyRow]) -> String {
    let header = [
        ("ID", Align::Left),
        ("NAME", Align::Left),
        ("SCOPE", Align::Left),
        ("AGE", Align::Right),
        ("AT ONCE", Align::Right),
        ("REQUESTS/MIN", Align::Right),
        ("TOKENS/MIN", Align::Right),
    ];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let limit = |limit: Option<u64>| limit.map_or("-".to_owned(), |limit| limit.to_string());
    let cells = keys.iter().map(|row| {
        let scopes: Vec<&str> = row.scopes.iter().map(|scope| scope.name()).collect();
        let KeyLimits { concurrent, requests_per_minute, tokens_per_minute } = row.limits;
        vec![
            row.id.clone(),
            row.name.clone(),
            scopes.join(", "),
            crate::table::duration(now.saturating_sub(row.created)),
            limit(concurrent.map(|limit| limit as u64)),
            limit(requests_per_minute.map(|limit| limit as u64)),
            limit(tokens_per_minute),
        ]
    });
    table(&header, &cells.collect::<Vec<_>>())
}
