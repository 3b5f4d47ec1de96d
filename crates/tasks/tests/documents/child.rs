//! The program whose only use is to read a document for the tests in `main.rs`, and to find out what a reader may do.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("probe") => probe(),
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

fn told(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
