//! The program that reads documents for the tests in `main.rs`. Under another name it is a reader that misbehaves, as
//! the name says.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = called.as_deref().and_then(std::path::Path::file_name).and_then(std::ffi::OsStr::to_str);
    match name {
        Some("ends-with-3") => ExitCode::from(3),
        Some("aborts") => std::process::abort(),
        Some("nests") => ExitCode::from(nest(1)),
        Some("sleeps") => {
            std::thread::sleep(std::time::Duration::from_secs(100));
            ExitCode::SUCCESS
        }
        Some("babbles") => told("nonsense"),
        Some("lies") => told(r#"{"text": {"text": "ab", "pages": [0, 9], "warnings": []}}"#),
        Some("stumbles") => told(r#"{"panicked": "at a.rs:1"}"#),
        Some("is-free") => told(r#"{"unconfined": "expected a kernel"}"#),
        Some("probes") => probe(),
        _ => tasks::documents::child_main(),
    }
}

/// Gives up its rights and tries what it has no right to any more.
fn probe() -> ExitCode {
    if let Err(reason) = tasks::documents::confine_as_usual() {
        return told(&reason);
    }
    let word = |denied: bool| if denied { "denied" } else { "ALLOWED" };
    let file = std::fs::File::open("/etc/passwd").is_err();
    let network =
        std::net::TcpListener::bind("127.0.0.1:0").is_err() && std::net::UdpSocket::bind("127.0.0.1:0").is_err();
    let program = std::process::Command::new("/bin/true").status().is_err();
    let thread = std::thread::Builder::new().spawn(|| ()).is_err();
    let [file, network, program, thread] = [file, network, program, thread].map(word);
    told(&format!("file {file}, network {network}, program {program}, thread {thread}"))
}

/// Calls itself until the stack is full.
#[expect(unconditional_recursion, reason = "what a parser without a bound on depth does")]
fn nest(depth: u8) -> u8 {
    std::hint::black_box(nest(std::hint::black_box(depth))).wrapping_add(1)
}

fn told(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
