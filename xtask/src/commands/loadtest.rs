//! `cargo xtask loadtest`: many clients at once against Bantam and against another server, in one run.
//!
//! Each client asks, reads its answer to the end and asks again (a closed loop). All prompts begin with the same system text
//! and go on with words of their own; every answer is streamed. The system text is new in each turn, or has been read before
//! by whatever keeps texts in a server (`--system`). The servers take turns, so that whatever else the machine does falls on both. Speeds count generated tokens, as the servers report them, over the time from the first request to the
//! last answer. What was measured is kept in `bench/load/`, from which the table in README.md is written.
//!
//! Read next: `loadtest/client.rs`, one request; `loadtest/results.rs`, what is kept.

mod client;
mod results;

use anyhow::{Context, bail};
use futures::future::join_all;
use std::cell::Cell;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use super::bench::results::{cpu_name, today};
use super::bench::tools::Bantam;
use super::{readme, say};
use client::{Answer, Asking, Prompts};
use results::{Row, SystemText, Turn};

pub(super) use results::table;

/// How long a server may take until it is ready.
const START: Duration = Duration::from_secs(120);

/// What to ask, and of whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the other server, as `http://127.0.0.1:8080`; it must be running, with the same model and threads
    #[arg(long, value_name = "URL", required = true)]
    peer: String,
    /// What the other server is called in the table
    #[arg(long, value_name = "NAME", default_value = "llama-server")]
    peer_name: String,
    /// What the other server calls the model
    #[arg(long, value_name = "NAME", default_value = "default")]
    peer_model: String,
    /// The flags that the other server was started with, for the table
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    peer_flags: String,
    /// The model of the store that Bantam serves
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Threads that Bantam computes with; the default is what it chooses
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The system text that all prompts begin with: new in each turn, or known from a turn that is not measured. Some servers
    /// keep a text once for each slot, and read it as often when it is new
    #[arg(long, value_enum, default_value_t = SystemText::New)]
    system: SystemText,
    /// Clients at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Requests of each client in a turn
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// Tokens to generate for each
    #[arg(long, value_name = "N", default_value_t = 64)]
    generate: usize,
    /// Turns of each server
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
}

/// Measures, keeps the results and writes the table.
///
/// # Errors
/// A server that cannot be started or reached, or a file that cannot be written.
pub(super) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let bantam = Bantam::build(root)?;
    let mut flags = vec![args.model.clone()];
    if let Some(threads) = args.threads {
        flags.extend(["--threads".to_owned(), threads.to_string()]);
    }
    let server = Server::start(&bantam, &flags)?;
    let peer = args.peer.trim_end_matches('/').to_owned();
    let peer_version = client::version(&peer).unwrap_or_else(|| "unknown version".to_owned());
    let ours = Asking::of(&server.url, &args.model, args.generate)?;
    let theirs = Asking::of(&peer, &args.peer_model, args.generate)?;
    // One thread for all clients: they share the machine with the servers, and should take little of it.
    let clients = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut our_turns, mut their_turns) = (Vec::new(), Vec::new());
    let first = if args.system == SystemText::Known { 0 } else { 1 };
    for turn in first..=args.repeat {
        // Other words in every turn, so that of the prompts at most the system text is known already.
        let system = if args.system == SystemText::Known { 0 } else { u64::from(turn) };
        let prompts = Prompts::new(u64::from(turn) << 32, system);
        let their_turn = clients.block_on(load(&theirs, args, &prompts)).with_context(|| args.peer_name.clone())?;
        let our_turn = clients.block_on(load(&ours, args, &prompts)).context("bantam")?;
        if turn == 0 {
            continue;
        }
        their_turns.push(their_turn);
        our_turns.push(our_turn);
        let (theirs, ours) = (&their_turns[their_turns.len() - 1], &our_turns[our_turns.len() - 1]);
        say(&format!("{turn}/{}: {} {}; bantam {}", args.repeat, args.peer_name, theirs.line(), ours.line()));
    }
    drop(server);
    let row = Row {
        model: args.model.clone(),
        system: args.system,
        clients: args.clients as usize,
        generate: args.generate,
        date: today(),
        bantam_version: bantam.version().to_owned(),
        bantam: our_turns,
        peer: args.peer_name.clone(),
        peer_version,
        peer_flags: args.peer_flags.clone(),
        peer_turns: their_turns,
    };
    say(&row.line());
    let path = results::keep(root, &cpu_name(), row)?;
    say(&format!("kept in {}", path.display()));
    readme::run(root)
}

/// Bantam, serving until it is dropped.
pub(super) struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts `bantam serve` with these arguments, and waits until it answers.
    pub(super) fn start(bantam: &Bantam, arguments: &[impl AsRef<OsStr>]) -> anyhow::Result<Server> {
        // A port that was free a moment ago: nobody else on this machine is about to take it.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(bantam.path());
        command.args(["serve", "--host", &address.to_string(), "--log-level", "warn"]).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start bantam serve")?;
        let mut server = Server { child, url: format!("http://{address}") };
        let began = Instant::now();
        while !client::is_alive(&server.url) {
            if let Some(status) = server.child.try_wait()? {
                bail!("bantam serve ended with {status} before it was ready");
            }
            if began.elapsed() > START {
                bail!("bantam serve was not ready within {} s", START.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

impl Server {
    /// Its address, as clients write it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to lose: all answers have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One turn of a server.
async fn load(asking: &Asking, args: &Args, prompts: &Prompts) -> anyhow::Result<Turn> {
    // Loads the model where that is not done, and reads the system text once: as whoever wrote it tries it first.
    asking.ask(&prompts.of(usize::MAX)).await.context("the first request")?;
    let total = (args.clients * args.requests) as usize;
    let next = Cell::new(0);
    let began = Instant::now();
    let client = || async {
        let mut answers: Vec<anyhow::Result<Answer>> = Vec::new();
        while next.get() < total {
            let index = next.replace(next.get() + 1);
            answers.push(asking.ask(&prompts.of(index)).await);
        }
        answers
    };
    let clients = join_all((0..args.clients).map(|_| client())).await;
    let answers: Vec<anyhow::Result<Answer>> = clients.into_iter().flatten().collect();
    let seconds = began.elapsed().as_secs_f64();
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    if let Some(Err(error)) = answers.iter().find(|answer| answer.is_err()) {
        say(&format!("{refused} of {total} requests failed; the first: {error:#}"));
    }
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    Ok(Turn::of(&answers, refused, seconds))
}
