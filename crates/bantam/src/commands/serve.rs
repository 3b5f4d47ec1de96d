//! `bantam serve`: answers many users over HTTP.
//!
//! Wires the host of models to the server and ends both in order. Read next: `serve/limits.rs`, the flags.

mod limits;
mod preload;
mod task_files;

use super::keys::default_file;
use crate::address::{Address, PORT, VARIABLE, reached_at};
use crate::failure::UsedWrongly;
use crate::generation::LoadArgs;
use crate::interrupt::Listener;
use crate::session::{Session, load_options};
use anyhow::{Context, bail};
use chat::ModelHost;
use clap::ValueEnum;
use hub::Home;
use limits::LimitArgs;
use local::{HostOptions, LocalHost, Reach};
use preload::preload;
use serde::Serialize;
use server::keys::KeysFile;
use server::log::{LogFormat, LogLevel};
use server::{Access, Server, ServerOptions, TlsFiles};
use std::path::PathBuf;
use std::sync::Arc;
use task_files::served;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Threads that move bytes; what computes has its own.
const NETWORK_THREADS: usize = 2;

/// Serve models to many users, over the APIs that their programs already speak
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam serve smollm2:135m                     this machine alone, one model in memory from the start
  bantam keys add team                          a key; with keys, others may be let in
  bantam serve --host 0.0.0.0:11434             every address, for those who have a key
  BANTAM_HOST=127.0.0.1:8000 bantam serve       another port
  bantam serve smollm2:135m --task triage.toml  the task at /v1/tasks/triage, one input or many a request

OpenAI's, Ollama's and Anthropic's APIs are at /v1 and /api, a playground is at /, all endpoints at /docs, counters for
Prometheus at /metrics; /evals has the evaluations of `bantam eval`, and a page to answer test rows of tasks. Models in the store are loaded when they are first asked for. Ctrl-C or SIGTERM: no new request is
taken, answers under way are finished, then it ends with 0; Ctrl-C again ends it at once.")]
pub struct Args {
    /// Models to fetch where needed, to load at once and to keep in memory: a request's keep_alive, `bantam stop`, or the
    /// memory that others need can end that, until the model is asked for again
    #[arg(value_name = "MODEL")]
    models: Vec<String>,
    /// A task file to serve at /v1/tasks/NAME, where NAME is the file's without its ending; may be given several times.
    /// A task that names no model takes the only MODEL
    #[arg(long, value_name = "FILE")]
    task: Vec<PathBuf>,
    /// Where to listen [default: BANTAM_HOST, else 127.0.0.1:11434, the port that Ollama's clients ask]
    #[arg(long, value_name = "HOST:PORT")]
    host: Option<String>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    log: LogArgs,
    /// Print {"url", "pid"} as JSON as soon as it listens
    #[arg(long)]
    json: bool,
}

/// Who may ask.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Access")]
struct AccessArgs {
    /// The file with the keys [default: keys.toml of the data directory, from the first key on]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Serve everybody without a key, unless --keys is given, even where other machines can reach the address
    #[arg(long)]
    insecure: bool,
    /// Let pages of this origin (https://app.example) ask from browsers; may be given several times; * is all
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Certificate chain for TLS, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// What is logged on standard error.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Log")]
struct LogArgs {
    /// How lines of the log are written
    #[arg(long, value_enum, default_value_t = FormatArg::Text)]
    log_format: FormatArg,
    /// Log from this level on: info has every request, warn those that were refused or broke off
    #[arg(long, value_enum, default_value_t = LevelArg::Info)]
    log_level: LevelArg,
    /// Log also what is asked and answered
    #[arg(long)]
    log_prompts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LevelArg {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Serialize)]
struct Output<'a> {
    url: &'a str,
    pid: u32,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let tasks = served(&args.task, &args.models)?;
    let named = args.models.iter().cloned().chain(tasks.iter().map(|task| task.model().to_owned())).collect();
    let home = Home::from_env()?;
    let files = args.limits.files(home.root().join("files"));
    let ledger = Some(home.root().join("ledger.sqlite"));
    let options = ServerOptions { tasks, files: Some(files), ledger, ..server_options(&args)? };
    let load = args.limits.load_options(load_options(&args.load)?);
    let kept = HostOptions {
        keep_alive: args.limits.keep_alive(),
        kept: args.models.clone(),
        reach: Reach::Store { named },
        ..HostOptions::default()
    };
    start_log(&args.log, session)?;
    let host = Arc::new(LocalHost::keeping(session.hub()?, load, kept)?);
    // Before anything listens; what is wrong within the files is found when they load.
    args.models.iter().try_for_each(|model| host.check_known(model))?;
    let runtime = Builder::new_multi_thread().worker_threads(NETWORK_THREADS).enable_all().build();
    let runtime = runtime.context("cannot start threads for the network")?;
    let outcome = runtime.block_on(serve(&args, session, host, options));
    end(runtime);
    outcome
}

/// Leaves threads that wait for something (a download, a model that loads) behind: the process ends.
fn end(runtime: Runtime) {
    runtime.shutdown_background();
}

async fn serve(args: &Args, session: &Session, host: Arc<LocalHost>, options: ServerOptions) -> anyhow::Result<()> {
    // Ctrl-C comes through the handler that every command shares; SIGTERM is this command's own.
    let interrupts = session.interrupts.listen();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let server = Server::bind(Arc::clone(&host) as Arc<dyn ModelHost>, options).await?;
    let scheme = if server.is_tls() { "https" } else { "http" };
    let has_keys = server.asks_for_keys();
    let url = format!("{scheme}://{}", server.address());
    tracing::info!(url, keys = has_keys, "listening");
    let url = format!("{scheme}://{}", reached_at(server.address()));
    if args.json {
        session.terminal.json(&Output { url: &url, pid: std::process::id() })?;
    }
    let (broken, preloaded) = oneshot::channel();
    let preloading = server.preloading();
    let (models, log, terminal) = (args.models.clone(), args.log.clone(), session.terminal);
    let told = (args.log.log_format == FormatArg::Text).then(|| what_to_try(&url, &models, has_keys));
    // A thread of its own: it may wait for a download for as long as that takes, and the process does not wait for it.
    std::thread::spawn(move || {
        let outcome = preload(&host, &models, &preloading, log.log_format == FormatArg::Json, terminal);
        match outcome {
            Ok(()) => told.into_iter().for_each(|told| terminal.note(&told)),
            // Whoever waited has ended already if nobody takes it.
            Err(error) => drop(broken.send(error)),
        }
    });
    let mut failure = None;
    let ended = server.run(async {
        tokio::select! {
            () = interrupted(interrupts) => tracing::info!("interrupted: finishing what is under way"),
            _ = terminate.recv() => tracing::info!("told to end: finishing what is under way"),
            Ok(error) = preloaded => failure = Some(error),
        }
    });
    let all_ended = ended.await;
    if let Some(error) = failure {
        return Err(error);
    }
    if all_ended {
        tracing::info!("ended");
    } else {
        let seconds = args.limits.drain_seconds;
        tracing::warn!("ended with answers under way, after {seconds} s (--drain-seconds)");
    }
    Ok(())
}

/// Waits for Ctrl-C. After that nobody listens any more: the next one ends the program.
async fn interrupted(mut interrupts: Listener) {
    interrupts.next().await;
}

/// Everything that the server itself needs to know.
fn server_options(args: &Args) -> anyhow::Result<ServerOptions> {
    let wrong = |error: String| UsedWrongly(format!("--host: {error}"));
    let address = match &args.host {
        Some(text) => Address::parse(text).and_then(|address| address.to_listen()).map_err(wrong)?,
        None => {
            let of_variable = |error| UsedWrongly(format!("{VARIABLE}: {error}"));
            Address::from_env()?.to_listen().map_err(of_variable)?
        }
    };
    let AccessArgs { keys, insecure, cors_origin, tls_cert, tls_key } = args.access.clone();
    for origin in &cors_origin {
        check_origin(origin)?;
    }
    let options = ServerOptions {
        access: access(keys, insecure)?,
        insecure,
        cors_origins: cors_origin,
        tls: tls_cert.zip(tls_key).map(|(certificates, key)| TlsFiles { certificates, key }),
        log_prompts: args.log.log_prompts,
        ..ServerOptions::at(address)
    };
    Ok(args.limits.bound(options))
}

/// Who may ask: those with the keys that were named, which must be there, or that the data directory has or will have.
fn access(named: Option<PathBuf>, insecure: bool) -> anyhow::Result<Access> {
    match named {
        Some(path) if !path.is_file() => {
            let path = path.display();
            bail!("--keys: no file {path}\nhint: bantam keys add NAME --keys {path} makes it")
        }
        Some(path) => Ok(Access::Keys(KeysFile(path))),
        None if insecure => Ok(Access::Everybody),
        None => Ok(Access::EverybodyUntilKeys(default_file()?)),
    }
}

/// An origin is a scheme and a host, and a port where it is not the scheme's own; nothing after it.
fn check_origin(origin: &str) -> Result<(), UsedWrongly> {
    let host = origin.split_once("://").map(|(_, host)| host);
    if origin == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' '])) {
        return Ok(());
    }
    Err(UsedWrongly(format!("--cors-origin: expected an origin, as https://app.example, got {origin:?}")))
}

fn start_log(log: &LogArgs, session: &Session) -> anyhow::Result<()> {
    let colour = session.terminal.colour && session.terminal.stderr;
    let format = match log.log_format {
        FormatArg::Text => LogFormat::Text { colour },
        FormatArg::Json => LogFormat::Json,
    };
    let level = match log.log_level {
        LevelArg::Error => LogLevel::Error,
        LevelArg::Warn => LogLevel::Warn,
        LevelArg::Info => LogLevel::Info,
        LevelArg::Debug => LogLevel::Debug,
    };
    server::log::start(format, level).map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

/// What a person may do next.
fn what_to_try(url: &str, models: &[String], has_keys: bool) -> String {
    let model = models.first().map_or("MODEL", String::as_str);
    let key = if has_keys { " -H 'authorization: Bearer KEY'" } else { "" };
    let body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]});
    let note = match models {
        [] => "no model is in memory yet; one of the store is loaded when it is asked for\n".to_owned(),
        _ => format!("ready: {}\n", models.join(", ")),
    };
    format!(
        "{note}  in a browser: {url}/\n  OpenAI base URL: {url}/v1{}\n  \
         curl {url}/v1/chat/completions -H 'content-type: application/json'{key} -d '{body}'",
        if url.ends_with(&format!(":{PORT}")) { ", which many clients ask by themselves" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_try_can_be_pasted() {
        let told = what_to_try("http://127.0.0.1:8000", &["smollm2:135m".to_owned()], true);
        assert!(told.starts_with("ready: smollm2:135m\n"), "{told}");
        assert!(told.contains("-H 'authorization: Bearer KEY' -d '{\"model\":\"smollm2:135m\""), "{told}");
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for origin in ["*", "https://app.example", "http://localhost:3000", "app://obsidian.md"] {
            assert!(check_origin(origin).is_ok(), "{origin}");
        }
        for wrong in ["", "app.example", "https://", "https://app.example/", "https://a b"] {
            let error = check_origin(wrong).unwrap_err().to_string();
            assert_eq!(error, format!("--cors-origin: expected an origin, as https://app.example, got {wrong:?}"));
        }
    }

    #[test]
    fn keys_that_were_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.toml");
        let error = access(Some(path.clone()), false).unwrap_err().to_string();
        assert!(
            error.starts_with("--keys: no file ") && error.contains("hint: bantam keys add NAME --keys "),
            "{error}"
        );
        std::fs::write(&path, "").unwrap();
        assert_eq!(access(Some(path.clone()), true).unwrap(), Access::Keys(KeysFile(path)));
    }
}
