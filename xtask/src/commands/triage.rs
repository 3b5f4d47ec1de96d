//! `cargo xtask triage`: the rows of a table, classified by Bantam and by another server asked for the label as text, in one run.
//!
//! Both serve the same model and are sent the same words by as many clients, each of which sends a row and waits for its answer
//! before it sends the next. They take turns. Printed are rows a second, the share of rows that got their label, and what one
//! row takes where no other is under way and its prompt's beginning is known.
//!
//! Read next: `loadtest.rs`, the same for answers at length.

use anyhow::{Context, bail};
use futures::future::join_all;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tasks::table::Table;
use tasks::{Classify, Label};

use super::bench::tools::Bantam;
use super::loadtest::Server;
use super::say;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(600);
/// No label is longer, in tokens.
const ANSWER_TOKENS: usize = 24;
/// Rows that are sent one at a time.
const ALONE: usize = 100;

/// What to classify, and by whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A table (csv, jsonl, parquet, xlsx) with a column of texts and one of labels
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The column of texts
    #[arg(long, value_name = "COLUMN", default_value = "text")]
    text: String,
    /// The column of labels
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    label: String,
    /// Address of the other server, as `http://127.0.0.1:8080`; it must be running, with the same model and threads
    #[arg(long, value_name = "URL")]
    peer: String,
    /// What the other server is called
    #[arg(long, value_name = "NAME", default_value = "llama-server")]
    peer_name: String,
    /// The model of the store that Bantam serves
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Clients at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Rows that Bantam classifies in a turn; each turn has others, spread over the table
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    rows: usize,
    /// Rows that the other server classifies in a turn: the first of the same
    #[arg(long, value_name = "N", default_value_t = 200)]
    peer_rows: usize,
    /// Turns of each
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
}

/// A row with its label, and the words that ask for it.
struct Ticket {
    text: String,
    label: String,
    prompt: String,
}

/// Rows and labels of one server.
#[derive(Default)]
struct Count {
    rows: usize,
    right: usize,
    /// Answers that are no label.
    strange: usize,
    seconds: f64,
}

impl Count {
    fn rate(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    fn add(&mut self, other: &Count) {
        self.rows += other.rows;
        self.right += other.right;
        self.strange += other.strange;
        self.seconds += other.seconds;
    }

    fn line(&self) -> String {
        let share = |count: usize| 100.0 * count as f64 / self.rows.max(1) as f64;
        let mut line = format!("{:.1} rows/s, {:.1} % right", self.rate(), share(self.right));
        if self.strange > 0 {
            let _ = write!(line, ", {:.1} % no label", share(self.strange));
        }
        line
    }
}

/// Measures and prints.
///
/// # Errors
/// A table or server that cannot be used.
pub(super) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (labels, tickets) = read(args)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("triage.toml");
    std::fs::write(&file, task_file(args, &labels))?;
    let bantam = Bantam::build(root)?;
    let server = Server::start(&bantam, &["--task".as_ref(), file.as_os_str()])?;
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let ours = Side::Task { url: format!("{}/v1/tasks/triage", server.url()) };
    let theirs = Side::Chat { url: format!("{}/v1/chat/completions", args.peer.trim_end_matches('/')) };
    // One thread for all clients: they share the machine with the servers, and should take little of it.
    let clients = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut our_sum, mut their_sum) = (Count::default(), Count::default());
    // Nobody is sent a row twice, and what comes before the first is not counted.
    let (unheard, tickets) = tickets.split_at(ALONE + 1);
    let (first, unheard) = (&unheard[0], &unheard[1..]);
    for (turn, tickets) in (1..=args.repeat).zip(tickets.chunks(args.rows)) {
        let few = &tickets[..args.peer_rows.min(tickets.len())];
        let their_turn =
            clients.block_on(load(&client, &theirs, first, few, &labels, args.clients)).context("the peer")?;
        let our_turn =
            clients.block_on(load(&client, &ours, first, tickets, &labels, args.clients)).context("bantam")?;
        say(&format!("{turn}/{}: {} {}; bantam {}", args.repeat, args.peer_name, their_turn.line(), our_turn.line()));
        their_sum.add(&their_turn);
        our_sum.add(&our_turn);
    }
    let ratio = our_sum.rate() / their_sum.rate();
    say(&format!("{}: {} {}; bantam {}: {ratio:.1}x", args.model, args.peer_name, their_sum.line(), our_sum.line()));
    let mut times = clients.block_on(alone(&client, &ours, unheard))?;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    say(&format!("one row at a time: {:.1} ms in the median, {:.1} ms at the 95th percentile", at(0.5), at(0.95)));
    Ok(ExitCode::SUCCESS)
}

/// The labels, and rows from all over the table.
fn read(args: &Args) -> anyhow::Result<(Vec<String>, Vec<Ticket>)> {
    let table = Table::open(&args.data)?;
    table.require(&args.text)?;
    table.require(&args.label)?;
    let field = |row: &tasks::table::Row, name: &str| {
        row.fields.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("row {}", row.number))
    };
    let mut rows = Vec::new();
    for row in table {
        let row = row?;
        rows.push((field(&row, &args.text)?, field(&row, &args.label)?));
    }
    let mut labels: Vec<String> = rows.iter().map(|(_, label)| label.clone()).collect();
    labels.sort();
    labels.dedup();
    let wanted = args.rows * args.repeat as usize + ALONE + 1;
    if rows.len() < wanted {
        bail!("expected {wanted} rows or more, got {}\nhint: ask for fewer --rows or --repeat", rows.len());
    }
    // As tables are often sorted by label, the rows are taken in an order that is not: by a step that shares no divisor.
    let step = (rows.len() * 5 / 8..).find(|step| gcd(*step, rows.len()) == 1).unwrap_or(1);
    let chosen = (0..wanted).map(|index| &rows[index * step % rows.len()]);
    let kind = Classify::new(labels.iter().map(|name| Label { name: name.clone(), description: None }).collect())?;
    let tickets = chosen.map(|(text, label)| Ticket {
        prompt: kind.question(None, text),
        text: text.clone(),
        label: label.clone(),
    });
    Ok((labels, tickets.collect()))
}

fn gcd(one: usize, other: usize) -> usize {
    if other == 0 { one } else { gcd(other, one % other) }
}

fn task_file(args: &Args, labels: &[String]) -> String {
    let quote = |text: &String| Value::from(text.as_str()).to_string();
    let labels: Vec<String> = labels.iter().map(quote).collect();
    let model = quote(&args.model);
    format!("kind = \"classify\"\nmodel = {model}\n\n[classify]\nlabels = [{}]\n", labels.join(", "))
}

/// Whom to ask, and how.
enum Side {
    /// A task of Bantam.
    Task { url: String },
    /// A chat, which is to answer with the label.
    Chat { url: String },
}

/// The label that came for a row.
async fn ask(client: &reqwest::Client, side: &Side, ticket: &Ticket) -> anyhow::Result<String> {
    let (url, body) = match side {
        Side::Task { url } => (url, json!({"text": ticket.text})),
        Side::Chat { url } => {
            let messages = json!([{"role": "user", "content": ticket.prompt}]);
            (url, json!({"messages": messages, "max_tokens": ANSWER_TOKENS, "temperature": 0.0}))
        }
    };
    let request = client.post(url).header("content-type", "application/json").body(body.to_string());
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        bail!("{status}: {text}");
    }
    let value: Value = serde_json::from_str(&text)?;
    let label = match side {
        Side::Task { .. } => &value["outcome"]["label"],
        Side::Chat { .. } => &value["choices"][0]["message"]["content"],
    };
    let label = label.as_str().with_context(|| format!("expected a label, got {value}"))?;
    Ok(label.trim().to_owned())
}

/// One turn of a server.
async fn load(
    client: &reqwest::Client,
    side: &Side,
    first: &Ticket,
    tickets: &[Ticket],
    labels: &[String],
    clients: u32,
) -> anyhow::Result<Count> {
    // Loads the model where that is not done, and reads once what all prompts begin with.
    ask(client, side, first).await.context("the first request")?;
    let next = Cell::new(0);
    let began = Instant::now();
    let one = || async {
        let mut count = Count::default();
        while next.get() < tickets.len() {
            let ticket = &tickets[next.replace(next.get() + 1)];
            let label = ask(client, side, ticket).await?;
            count.rows += 1;
            count.right += usize::from(label.eq_ignore_ascii_case(&ticket.label));
            count.strange += usize::from(!labels.iter().any(|known| known.eq_ignore_ascii_case(&label)));
        }
        anyhow::Ok(count)
    };
    let mut sum = Count::default();
    for count in join_all((0..clients).map(|_| one())).await {
        sum.add(&count?);
    }
    sum.seconds = began.elapsed().as_secs_f64();
    Ok(sum)
}

/// What each of some rows takes, sent one after the other.
async fn alone(client: &reqwest::Client, side: &Side, tickets: &[Ticket]) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for ticket in tickets {
        let began = Instant::now();
        ask(client, side, ticket).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}
