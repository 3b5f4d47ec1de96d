//! A stream keeps its pace whatever else the server does: it reads a long prompt, it refuses a thousand requests a second.
//!
//! Beside other tests only that is asserted which needs no clock: that the stream goes on, and who is refused how.
//! `cargo xtask verify steady` runs these tests alone, in release, with all rounds; then times are asserted too.

use super::{CHAT, TOOLS, borrowed, serving, store};
use crate::serve::Serving;
use crate::{bantam, run};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whether nothing else runs, so that times mean something.
fn is_alone() -> bool {
    std::env::var_os("BANTAM_ALONE").is_some_and(|value| value == "1")
}

/// An answer that does not end by itself, with the time at which each of its tokens came.
struct Stream {
    came: Arc<Mutex<Vec<Instant>>>,
    is_over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    /// Returns when the first tokens have come. The place of a stream before this one may be taken for one more step.
    fn start(server: &Serving, model: &str, key: Option<&str>) -> Stream {
        let begin = Instant::now();
        loop {
            match Stream::begin(server, model, key) {
                Some(stream) => return stream,
                None => assert!(begin.elapsed() < Duration::from_secs(5), "no stream begins"),
            }
        }
    }

    fn begin(server: &Serving, model: &str, key: Option<&str>) -> Option<Stream> {
        // Sampled, and kept from repeating itself, so that no tokens are guessed ahead and every step is one; the end of the
        // answer is ruled out.
        let body = json!({"model": model, "prompt": "The history of bread begins", "max_tokens": 7000, "seed": 1,
            "temperature": 1.0, "top_p": 1.0, "frequency_penalty": 1.5, "presence_penalty": 0.5, "stream": true, "logit_bias": ends_of(model)});
        let mut connection = Kept::new(server, "/v1/completions", key, &body.to_string(), "200");
        connection.send();
        let (came, is_over) = (Arc::<Mutex<Vec<Instant>>>::default(), Arc::<AtomicBool>::default());
        let (times, over) = (Arc::clone(&came), Arc::clone(&is_over));
        let reader = std::thread::spawn(move || {
            // A socket of our own: what stands between it and a client's reader would be measured too.
            let mut piece = [0; 4096];
            while !over.load(Ordering::Relaxed) {
                let count = connection.stream.read(&mut piece).unwrap();
                let (now, text) = (Instant::now(), String::from_utf8_lossy(&piece[..count]));
                if count == 0 || text.contains("data: [DONE]") || text.starts_with("HTTP/1.1 429 ") {
                    return;
                }
                assert!(!text.starts_with("HTTP/1.1 ") || text.starts_with("HTTP/1.1 200 "), "{text}");
                times.lock().unwrap().extend(text.matches("data: {").map(|_| now));
            }
        });
        let stream = Stream { came, is_over, reader: Some(reader) };
        while stream.came.lock().unwrap().len() < 20 {
            if stream.has_ended() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(stream)
    }

    fn has_ended(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The gaps, in seconds and in order of size, between tokens that came in this time.
    fn gaps(&self, from: Instant, to: Instant) -> Vec<f64> {
        assert!(!self.has_ended(), "the stream ended before what was to be measured");
        let came = self.came.lock().unwrap();
        let within: Vec<&Instant> = came.iter().filter(|&&at| at >= from && at < to).collect();
        let mut gaps: Vec<f64> = within.windows(2).map(|pair| pair[1].duration_since(*pair[0]).as_secs_f64()).collect();
        gaps.sort_by(f64::total_cmp);
        gaps
    }

    /// Tokens that come in a second from now on, over a time.
    fn speed_over(&self, lasting: Duration) -> f64 {
        let begin = Instant::now();
        std::thread::sleep(lasting);
        self.gaps(begin, Instant::now()).len() as f64 / begin.elapsed().as_secs_f64()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

/// The tokens with which a model ends an answer, ruled out.
fn ends_of(model: &str) -> Value {
    if model == CHAT { json!({"0": -100, "2": -100}) } else { json!({"151643": -100, "151645": -100}) }
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// A long prompt that no other one begins like.
fn long_prompt(model: &str, seed: u64) -> Value {
    let mut state = seed;
    let ids = (0..4_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        json!(1_000 + (state >> 40) % 40_000)
    });
    json!({"model": model, "prompt": ids.collect::<Vec<Value>>(), "max_tokens": 1})
}

#[test]
fn a_long_prompt_leaves_most_gaps_of_a_stream_as_they_are() {
    let (models, rounds): (&[&str], u64) = if is_alone() { (&[CHAT, TOOLS], 3) } else { (&[CHAT], 1) };
    for &model in models {
        let Some(home) = store(&[model]) else { return };
        let server = serving(&home, &[model]);
        // Once unmeasured: the first prompt is also what the server learns its prices from.
        let stream = Stream::start(&server, model, None);
        server.post("/v1/completions", &long_prompt(model, 1));
        drop(stream);
        for seed in 2..2 + rounds {
            let stream = Stream::start(&server, model, None);
            let begin = Instant::now();
            std::thread::sleep(Duration::from_secs(2));
            let quiet = stream.gaps(begin, Instant::now());
            let begin = Instant::now();
            let (status, answer) = server.post("/v1/completions", &long_prompt(model, seed));
            let end = Instant::now();
            assert_eq!((status, &answer["usage"]["prompt_tokens"]), (200, &json!(4_000)), "{answer}");
            let beside = stream.gaps(begin, end);
            // A stream that stood still while the prompt was read would have had a few tokens of the last step at most.
            assert!(beside.len() > 20, "{model}: {} tokens came while a long prompt was read", beside.len());
            let (quiet, median, most) = (median(&quiet), median(&beside), beside[beside.len() - 1]);
            let mean = beside.iter().sum::<f64>() / beside.len() as f64;
            eprintln!(
                "{model}: {:.1} ms between tokens; {:.1} ms ({:.2}x; mean {:.2}x, at most {:.0} ms) while 4,000 tokens are \
                 read in {:.1} s",
                quiet * 1e3,
                median * 1e3,
                median / quiet,
                mean / quiet,
                most * 1e3,
                (end - begin).as_secs_f64()
            );
            assert!(quiet > 1e-4 && median > 1e-4, "tokens came together: these are no gaps between steps");
            if !is_alone() {
                continue;
            }
            assert!(
                mean < 4.0 * quiet,
                "{model}: {quiet} s between tokens alone, {mean} s in the mean beside a long prompt"
            );
            // Most steps have no piece of the prompt, and cost what they always do at that depth.
            assert!(median < 2.0 * quiet, "{model}: {quiet} s between tokens alone, {median} s beside a long prompt");
        }
    }
}

/// A connection that stays open, on which a request is sent and its answer read.
struct Kept {
    stream: TcpStream,
    request: Vec<u8>,
    /// What it must be answered.
    status: &'static str,
    read: Vec<u8>,
}

impl Kept {
    fn new(server: &Serving, path: &str, key: Option<&str>, body: &str, status: &'static str) -> Kept {
        let address = server.url.trim_start_matches("http://");
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let authorization = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\n{authorization}content-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        Kept { stream, request: format!("{head}{body}").into_bytes(), status, read: Vec::new() }
    }

    fn send(&mut self) {
        self.stream.write_all(&self.request).unwrap();
    }

    /// Reads one answer to its end.
    fn receive(&mut self) {
        self.read.clear();
        let mut piece = [0; 4096];
        loop {
            let count = self.stream.read(&mut piece).unwrap();
            let text = String::from_utf8_lossy(&self.read);
            assert!(count > 0, "the server closed a connection after: {text}");
            self.read.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&self.read);
            let Some(head) = text.find("\r\n\r\n") else { continue };
            assert!(text.starts_with(&format!("HTTP/1.1 {} ", self.status)), "expected {}: {text}", self.status);
            let length = text[..head].lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if self.read.len() >= head + 4 + length.parse::<usize>().unwrap() {
                return;
            }
        }
    }
}

/// Sends a thousand requests a second, all refused, over eight connections; returns how many were answered a second.
fn flood(connections: &mut [Kept], lasting: Duration) -> f64 {
    let begin = Instant::now();
    let mut answered = 0;
    while begin.elapsed() < lasting {
        connections.iter_mut().for_each(Kept::send);
        connections.iter_mut().for_each(Kept::receive);
        answered += connections.len();
        let due = Duration::from_millis(answered as u64);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    answered as f64 / begin.elapsed().as_secs_f64()
}

/// What share of its speed a stream keeps in a flood, as the median of pairs of a quiet time and a flooded one.
fn kept_in_flood(server: &Serving, key: Option<&str>, what: &str, connections: &mut [Kept]) -> f64 {
    let (rounds, lasting) = if is_alone() { (5, Duration::from_secs(2)) } else { (1, Duration::from_millis(500)) };
    let mut shares: Vec<f64> = (0..rounds)
        .map(|_| {
            // The same stretch of the same text, in quiet and in the flood.
            let quiet = Stream::start(server, CHAT, key).speed_over(lasting);
            let stream = Stream::start(server, CHAT, key);
            let begin = Instant::now();
            let rate = flood(connections, lasting);
            let flooded = stream.gaps(begin, Instant::now()).len() as f64 / begin.elapsed().as_secs_f64();
            assert!(rate > 900.0 || !is_alone(), "{rate} requests/s were refused, expected 1,000");
            eprintln!("{what}: {quiet:.0} tokens/s, {flooded:.0} beside {rate:.0} refused requests/s");
            flooded / quiet
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    median(&shares)
}

#[test]
fn a_flood_of_refused_requests_leaves_a_stream_its_speed() {
    let Some(home) = store(&[CHAT]) else { return };
    let home = borrowed(&home);
    let (code, key, err) = run(bantam(home.path()).args(["keys", "add", "team"]));
    assert_eq!(code, 0, "{err}");
    let key = Some(key.trim());
    let body = json!({"model": CHAT, "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    let measure = |what: &str, args: &[&str], asks_with: Option<&str>, body: &str, status: &'static str| {
        let server = serving(home.path(), &[&[CHAT], args].concat());
        server.wait_until_ready();
        let one = || Kept::new(&server, "/v1/chat/completions", asks_with, body, status);
        let mut connections: Vec<Kept> = (0..8).map(|_| one()).collect();
        let share = kept_in_flood(&server, key, what, &mut connections);
        assert!(share >= if is_alone() { 0.85 } else { 0.01 }, "{what}: a stream kept {share:.2} of its speed");
    };
    measure("no key", &[], None, &body, "401");
    measure("bad JSON", &[], key, "{\"model\": ", "400");
    measure("full queue", &["--max-requests", "1"], key, &body, "429");
}
