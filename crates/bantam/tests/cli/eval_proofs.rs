//! What an evaluation promises of real processes and real connections: killed at any moment it comes to the same figures and
//! asks nothing twice, and our own server is a provider like any other.
//!
//! Ordinary runs kill a few times; with `BANTAM_VERIFY=1`, which `cargo xtask verify` sets, often, and a real model too.

use crate::desk::Desk;
use crate::serve::Serving;
use crate::serving::{CHAT, is_whole};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Rows that may be answered and not yet recorded: those that are recorded together, and those under way at once, twice,
/// as a commit takes a while.
const MOST_LOST: usize = 64 + 2 * 8;

/// A provider of this process that speaks the usual protocol, slowly, and counts what it is asked.
struct Provider {
    url: String,
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Provider {
    fn start(delay: Duration) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let counts = Arc::clone(&asked);
        // The threads wait for connections until the test process ends.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = Arc::clone(&counts);
                std::thread::spawn(move || while answer(&stream, &counts, delay).is_some() {});
            }
        });
        Provider { url, asked }
    }

    fn total(&self) -> usize {
        self.asked.lock().unwrap().values().sum()
    }
}

/// Answers one request of a connection; none where it has ended.
fn answer(stream: &TcpStream, counts: &Mutex<HashMap<String, usize>>, delay: Duration) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    let asked =
        body["messages"].as_array()?.iter().rev().find(|message| message["role"] == "user")?["content"].to_string();
    let number: usize = asked.split("mail ").nth(1)?.split(' ').next()?.parse().ok()?;
    *counts.lock().unwrap().entry(format!("mail {number}")).or_default() += 1;
    std::thread::sleep(delay);
    // Right on two of three.
    let label = if asked.contains("invoice") != number.is_multiple_of(3) { "billing" } else { "account" };
    let usage = json!({"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21});
    let text = if body["stream"] == true {
        let part = json!({"choices": [{"index": 0, "delta": {"content": label}, "finish_reason": null}]});
        let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        let used = json!({"choices": [], "usage": usage});
        ("text/event-stream", format!("data: {part}\n\ndata: {end}\n\ndata: {used}\n\ndata: [DONE]\n\n"))
    } else {
        let message = json!({"role": "assistant", "content": label});
        let whole = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage});
        ("application/json", whole.to_string())
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n", text.0, text.1.len());
    let mut stream = stream;
    stream.write_all((head + &text.1).as_bytes()).ok()
}

fn write(desk: &Desk, rows: usize, candidate: &str) {
    let row = |number: usize| {
        let (word, label) = [("invoice", "billing"), ("password", "account")][number % 2];
        format!("mail {number} about my {word},{label}\n")
    };
    desk.write("test.csv", format!("text,label\n{}", (0..rows).map(row).collect::<String>()));
    desk.write(
        "triage.toml",
        format!(
            "kind = \"classify\"\n[data]\ntest = \"test.csv\"\nexpected = \"label\"\n[classify]\n\
             labels = [\"billing\", \"account\"]\n[goal]\nthreshold = 0.5\n{candidate}"
        ),
    );
}

const ARGS: [&str; 4] = ["eval", "triage.toml", "--yes", "--json"];

/// The report of a run that is left to itself.
fn finished(desk: &Desk) -> Value {
    let (code, out, err) = desk.run(&ARGS);
    assert!([0, 3, 4].contains(&code), "{code} {err}");
    serde_json::from_str(&out).unwrap()
}

/// Begins the run and kills it as soon as something is so; false where it ended before.
fn begun_and_killed(desk: &Desk, is_time: impl Fn() -> bool) -> bool {
    let mut child = desk.command(&ARGS).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !is_time() && child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(300), "it neither comes on nor ends");
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_killed = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    is_killed
}

/// What two runs of the same answers have in common.
fn figures(report: &Value) -> Value {
    let candidate = &report["candidates"][0];
    json!([
        candidate["figure"],
        candidate["answered"],
        candidate["failures"],
        candidate["classes"],
        candidate["confused"],
        candidate["prompt_tokens"],
        report["evidence"],
        report["verdict"],
    ])
}

/// The next number of a sequence that is other every time; a failure tells the seed.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn a_run_killed_at_any_moment_comes_to_the_same_figures_and_asks_nothing_twice() {
    let (rows, kills) = if is_whole() { (4_000, 40) } else { (400, 4) };
    let candidate = |provider: &Provider| {
        format!("[[candidates]]\nname = \"far\"\nmodel = \"m\"\nendpoint = {{ base_url = \"{}\" }}\n", provider.url)
    };
    let undisturbed = (Desk::without_model(), Provider::start(Duration::ZERO));
    write(&undisturbed.0, rows, &candidate(&undisturbed.1));
    let expected = finished(&undisturbed.0);
    assert_eq!((expected["candidates"][0]["answered"].as_u64(), undisturbed.1.total()), (Some(rows as u64), rows));
    let (desk, provider) = (Desk::without_model(), Provider::start(Duration::from_millis(4)));
    write(&desk, rows, &candidate(&provider));
    let mut seed = u64::from(std::process::id());
    for kill in 0..kills {
        let until = provider.total() + 1 + next(&mut seed) as usize % (rows / kills);
        let is_killed = begun_and_killed(&desk, || provider.total() >= until);
        assert!(is_killed, "kill {kill} of the process {}: it ended before", std::process::id());
    }
    let report = finished(&desk);
    assert_eq!(figures(&report), figures(&expected));
    let asked = provider.total();
    assert!(asked <= rows + kills * MOST_LOST, "{asked} requests for {rows} rows and {kills} kills");
    let most = provider.asked.lock().unwrap().values().copied().max();
    assert!(most.is_some_and(|most| most <= kills + 1), "{most:?}");
    assert_eq!(finished(&desk)["candidates"][0]["reused"], rows, "all of it is kept");
    assert_eq!(provider.total(), asked);
}

#[test]
fn after_ctrl_c_no_provider_is_paid_twice() {
    let (desk, provider) = (Desk::without_model(), Provider::start(Duration::from_millis(30)));
    let endpoint = format!("endpoint = {{ base_url = \"{}\" }}", provider.url);
    write(&desk, 200, &format!("[[candidates]]\nname = \"far\"\nmodel = \"m\"\n{endpoint}\n"));
    let child = desk.command(&ARGS).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while provider.total() < 60 {
        assert!(began.elapsed() < Duration::from_secs(120), "it does not come on");
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("what is under way is paid for and let end; Ctrl-C again ends at once"), "{said}");
    assert!(provider.total() < 200, "it ended before it was interrupted");
    assert_eq!(finished(&desk)["candidates"][0]["answered"], 200);
    assert_eq!(provider.total(), 200, "every row was asked once");
}

#[test]
fn a_run_of_a_model_of_this_machine_is_killed_and_gone_on_with() {
    let (Some(undisturbed), Some(desk)) = (Desk::new(), Desk::new()) else { return };
    let (rows, kills) = if is_whole() { (1_500, 12) } else { (120, 2) };
    let candidate = format!("[[candidates]]\nmodel = \"{CHAT}\"\n");
    for desk in [&undisturbed, &desk] {
        write(desk, rows, &candidate);
    }
    let began = Instant::now();
    let expected = finished(&undisturbed);
    let whole = began.elapsed();
    let mut seed = u64::from(std::process::id());
    for _ in 0..kills {
        let moment = whole.mul_f64((next(&mut seed) % 1000) as f64 / 1000.0 / f64::from(kills));
        let began = Instant::now();
        begun_and_killed(&desk, || began.elapsed() >= moment);
    }
    assert_eq!(figures(&finished(&desk)), figures(&expected));
}

#[test]
fn our_own_server_is_a_provider_that_says_what_its_model_says_here() {
    let Some(desk) = Desk::new() else { return };
    let server = Serving::start(desk.home.path(), &["--log-level", "error", CHAT]);
    server.wait_until_ready();
    let texts = ["The parcel never came.", "I was charged twice!", "Your shop is wonderful.", "Where is my lamp?"];
    let rows: String = texts.iter().map(|text| format!("{},x\n", json!(text))).collect();
    desk.write("test.csv", format!("text,expected\n{rows}"));
    let endpoint = |name: &str, rest: &str| {
        format!(
            "[[candidates]]\nname = \"{name}\"\nmodel = \"{CHAT}\"\nendpoint = {{ base_url = \"{}/v1\"{rest} }}\n",
            server.url
        )
    };
    let (openai, anthropic) = (endpoint("openai", ""), endpoint("anthropic", ", protocol = \"anthropic\""));
    desk.write(
        "reply.toml",
        format!(
            "kind = \"generate\"\ninstructions = \"Answer the customer in one sentence.\"\ninput = \"{{text}}\"\n[data]\n\
             test = \"test.csv\"\nexpected = \"expected\"\n[options]\nmax_tokens = 24\n[[candidates]]\nname = \"here\"\n\
             model = \"{CHAT}\"\n{openai}{anthropic}"
        ),
    );
    desk.done(&["eval", "reply.toml", "--yes", "--name", "own"]);
    desk.done(&["eval", "export", "own", "--out", "rows.jsonl"]);
    let mut answers: HashMap<(String, u64), (String, String)> = HashMap::new();
    for line in desk.read("rows.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let of = (row["candidate"].as_str().unwrap().to_owned(), row["row"].as_u64().unwrap());
        answers.insert(of, (row["outcome"]["text"].as_str().unwrap().to_owned(), row["error"].to_string()));
    }
    assert_eq!(answers.len(), 3 * texts.len());
    for row in 1..=texts.len() as u64 {
        let of = |candidate: &str| &answers[&(candidate.to_owned(), row)];
        assert!(of("here").0.len() > 5, "{:?}", of("here"));
        assert_eq!(of("openai"), of("here"), "row {row}");
        assert_eq!(of("anthropic"), of("here"), "row {row}");
    }
}
