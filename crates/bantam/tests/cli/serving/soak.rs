//! Hostile traffic for a while: nothing breaks, nothing is lost, nothing grows.

use super::{CHAT, is_whole, serving, store};
use crate::serve::{Serving, client};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 32;

/// What was met, over all clients.
#[derive(Default)]
struct Met {
    answered: AtomicUsize,
    refused: AtomicUsize,
    broken: AtomicUsize,
}

fn question(index: usize) -> Value {
    let words = ["apple", "river", "stone", "cloud", "horse", "lamp", "table", "ship"];
    let content = format!("Say something about a {} and a {}.", words[index % 8], words[index / 8 % 8]);
    json!({"model": CHAT, "temperature": 0, "max_tokens": 12, "messages": [{"role": "user", "content": content}]})
}

/// Writes raw bytes, reads what comes until the end or a moment has passed, and hangs up.
fn raw(address: &str, pieces: &[&[u8]], pause: Duration) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
        std::thread::sleep(pause);
    }
    let mut start = [0; 64];
    let read = stream.read(&mut start).unwrap_or(0);
    String::from_utf8_lossy(&start[..read]).into_owned()
}

/// One request of a client, of any kind; a status of 500 or more is a fault.
fn misbehave(server: &Serving, kind: usize, index: usize, met: &Met) {
    let address = server.url.trim_start_matches("http://");
    let posted = |body: &Value| {
        let (status, answer) = server.post("/v1/chat/completions", body);
        assert!(status < 500, "{status}: {answer}");
        status
    };
    let head = |length: usize| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    match kind {
        // Bad JSON, a wrong field, no such model, a prompt beyond the context, a body beyond its bound.
        0 => assert_eq!(posted(&json!({"model": CHAT, "messages": "no list"})), 400),
        1 => assert_eq!(posted(&json!({"model": CHAT, "messages": [], "what": 1})), 400),
        2 => assert_eq!(posted(&json!({"model": "none", "messages": [{"role": "user", "content": "x"}]})), 404),
        3 => {
            let long = "word ".repeat(20_000);
            assert_eq!(posted(&json!({"model": CHAT, "messages": [{"role": "user", "content": long}]})), 400);
        }
        4 => {
            let answer = raw(address, &[head(1 << 30).as_bytes(), &[b' '; 4096]], Duration::ZERO);
            assert!(answer.is_empty() || answer.contains(" 413 ") || answer.contains(" 4"), "{answer}");
        }
        // Slow, half closed, broken off in the middle of the headers or of the body.
        5 => {
            let body = question(index).to_string();
            let (first, second) = body.split_at(body.len() / 2);
            let head = head(body.len());
            let answer =
                raw(address, &[head.as_bytes(), first.as_bytes(), second.as_bytes()], Duration::from_millis(150));
            assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 429"), "{answer}");
        }
        6 => drop(TcpStream::connect(address).map(|mut stream| stream.write_all(b"POST /v1/chat/comp"))),
        7 => drop(TcpStream::connect(address).map(|mut stream| {
            let _ = stream.write_all(head(100).as_bytes());
            stream.shutdown(std::net::Shutdown::Write)
        })),
        // A stream whose reader leaves.
        _ => {
            let mut body = question(index);
            body["stream"] = json!(true);
            body["max_tokens"] = json!(64);
            let request = client().post(format!("{}/v1/chat/completions", server.url));
            let sent = request.header("content-type", "application/json").body(body.to_string()).send();
            if let Ok(mut response) = sent {
                let mut some = [0; 200];
                let _ = response.read(&mut some);
            }
        }
    }
    met.broken.fetch_add(1, Ordering::Relaxed);
}

/// Bytes of memory that a process has.
fn resident(id: u32) -> u64 {
    let told = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = told.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A figure of the status page.
fn pages(server: &Serving) -> (u64, u64, u64) {
    let status: Value = serde_json::from_str(&server.get("/status.json").1).unwrap();
    let activity = &status["models"][0]["activity"];
    let figure = |name: &str| activity[name].as_u64().unwrap_or_else(|| panic!("{name}: {status}"));
    (figure("pages"), figure("free_pages"), figure("cached_pages"))
}

#[test]
fn hostile_traffic_breaks_nothing() {
    let Some(home) = store(&[CHAT]) else { return };
    let lasting = Duration::from_secs(if is_whole() { 600 } else { 60 });
    let server = serving(&home, &[CHAT]);
    // What is right, asked while nobody else asks.
    let right: Vec<String> = (0..64)
        .map(|index| {
            let (status, answer) = server.post("/v1/chat/completions", &question(index));
            assert_eq!(status, 200, "{answer}");
            answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
        })
        .collect();
    let (began, over, met) = (Instant::now(), AtomicBool::new(false), Met::default());
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, right, over, met) = (&server, &right, &over, &met);
            scope.spawn(move || {
                let mut turn = number;
                while !over.load(Ordering::Relaxed) {
                    turn += 7;
                    if turn % 3 != 0 {
                        misbehave(server, turn % 9, turn, met);
                        continue;
                    }
                    let (status, answer) = server.post("/v1/chat/completions", &question(turn % 64));
                    match status {
                        200 => {
                            let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
                            assert_eq!(said, right[turn % 64], "question {}", turn % 64);
                            met.answered.fetch_add(1, Ordering::Relaxed);
                        }
                        429 => drop(met.refused.fetch_add(1, Ordering::Relaxed)),
                        other => panic!("{other}: {answer}"),
                    }
                }
            });
        }
        while began.elapsed() < lasting {
            std::thread::sleep(Duration::from_secs(1));
            memory.push(resident(server.id()));
        }
        over.store(true, Ordering::Relaxed);
    });
    let answered = met.answered.load(Ordering::Relaxed);
    assert!(answered > 20, "{answered} right answers in {lasting:?}, {} refused", met.refused.load(Ordering::Relaxed));
    // Whoever left is noticed within a step; then every page is free, or kept for who asks the same.
    let settled = Instant::now();
    loop {
        let (all, free, cached) = pages(&server);
        if free + cached == all {
            break;
        }
        assert!(settled.elapsed() < Duration::from_secs(10), "{all} pages, {free} free, {cached} cached");
        std::thread::sleep(Duration::from_millis(100));
    }
    if is_whole() {
        let after_a_minute = memory[60];
        let most = memory[60..].iter().max().unwrap();
        assert!(*most as f64 <= after_a_minute as f64 * 1.02, "{after_a_minute} bytes after a minute, {most} at most");
    }
    let (code, err) = server.end("-TERM");
    assert_eq!(code, 0, "{err}");
}
