//! A server as whoever runs it meets it: keys, refusals at the start, requests, and an end in order.

use crate::models::{CHAT, store};
use crate::shapes::assert_shape;
use crate::{bantam, run};
use reqwest::blocking::Client;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// A running server, ended when dropped.
pub struct Serving {
    child: Child,
    pub url: String,
}

impl Serving {
    /// With a store, on a free port; waits until it listens.
    pub fn start(home: &Path, args: &[&str]) -> Serving {
        let mut command = bantam(home);
        command.args(["serve", "--json", "--host", "127.0.0.1:0"]).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The shape is printed over several lines.
        let mut text = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !text.trim_end().ends_with('}') {
            if lines.read_line(&mut text).unwrap() == 0 {
                let mut err = String::new();
                child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
                panic!("the server ended: {err}");
            }
        }
        assert_shape("serve", 0, &text);
        let said: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(said["pid"], child.id());
        Serving { child, url: said["url"].as_str().unwrap().to_owned() }
    }

    /// What `GET` answers: status and text.
    pub fn get(&self, path: &str) -> (u16, String) {
        let response = client().get(format!("{}{path}", self.url)).send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    }

    /// What a JSON body that is posted is answered: status and JSON, or the text where it is none.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = client().post(format!("{}{path}", self.url)).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().expect("the server answers");
        let (status, text) = (response.status().as_u16(), response.text().expect("the answer is text"));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a model has answered.
    pub fn wait_until_ready(&self) {
        let begin = Instant::now();
        while self.get("/ready").0 != 200 {
            assert!(begin.elapsed() < Duration::from_secs(120), "not ready: {}", self.get("/ready").1);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal, waits for the end; exit code and what was written to standard error.
    pub fn end(mut self, signal: &str) -> (i32, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code().expect("no signal ended it"), err)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn client() -> Client {
    hub::use_our_tls();
    Client::builder().no_proxy().timeout(Duration::from_secs(600)).build().unwrap()
}

#[test]
fn a_server_that_is_told_to_end_ends_with_0() {
    let home = tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let server = Serving::start(home.path(), &[]);
        assert_eq!(server.get("/health"), (200, "{\"status\":\"ok\"}".to_owned()));
        assert_eq!(server.get("/ready").0, 503, "no model has answered");
        let (code, err) = server.end(signal);
        assert_eq!(code, 0, "{signal}: {err}");
        assert!(err.contains("listening") && err.contains("/health") && err.contains("ended"), "{err}");
    }
}

#[test]
fn lines_of_the_log_are_json_where_that_is_asked_for() {
    let home = tempdir().unwrap();
    let server = Serving::start(home.path(), &["--log-format", "json"]);
    server.get("/health");
    let (_, err) = server.end("-TERM");
    let lines: Vec<Value> = err.lines().map(|line| serde_json::from_str(line).expect("every line")).collect();
    let answered = lines.iter().find(|line| line["path"] == "/health").unwrap();
    assert_eq!((&answered["status"], &answered["method"]), (&Value::from(200), &Value::from("GET")));
    assert!(answered["request"].as_str().unwrap().starts_with("req_"));
}

#[test]
fn a_server_that_others_reach_needs_keys_or_leave() {
    let home = tempdir().unwrap();
    let (code, out, err) = run(bantam(home.path()).args(["serve", "--host", "0.0.0.0:0"]));
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("no keys are set") && err.contains("hint: make a key with `bantam keys add NAME`"), "{err}");
}

#[test]
fn a_model_that_is_not_there_ends_the_server() {
    let home = tempdir().unwrap();
    let (code, _, err) = run(bantam(home.path()).args(["serve", "./nothing.gguf", "--host", "127.0.0.1:0"]));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("nothing.gguf") && !err.contains("listening"), "{err}");
}

#[test]
fn values_that_make_no_sense_are_used_wrongly() {
    let home = tempdir().unwrap();
    for (args, said) in [
        (["--host", "nowhere:x"], "--host: expected host:port, as 127.0.0.1:11434, got \"nowhere:x\""),
        (["--cors-origin", "app.example"], "--cors-origin: expected an origin"),
        (["--max-requests", "0"], "--max-requests"),
        (["--keep-alive", "soon"], "expected a time, as 5m, 1h, 90 or -1, got \"soon\""),
        (["--memory", "much"], "expected a size above 0"),
        (["--tls-cert", "cert.pem"], "--tls-key"),
    ] {
        let (code, _, err) = run(bantam(home.path()).arg("serve").args(args));
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(err.contains(said), "{args:?}: {err}");
    }
    let (code, _, err) = run(bantam(home.path()).env("BANTAM_HOST", "a b").arg("ps"));
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("BANTAM_HOST: expected host:port"), "{err}");
}

#[test]
fn every_bound_is_in_the_help_with_its_default() {
    let home = tempdir().unwrap();
    let (_, help, _) = run(bantam(home.path()).args(["serve", "--help"]));
    // Lines end where the terminal does.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (flag, default) in [
        ("--max-requests", "512"),
        ("--max-queue", "256"),
        ("--sequences", "4"),
        ("--max-connections", "1024"),
        ("--max-body-bytes", "16MiB"),
        ("--header-timeout", "10"),
        ("--body-timeout", "30"),
        ("--request-timeout", "600"),
        ("--drain-seconds", "30"),
        ("--keep-alive", "5m"),
    ] {
        let from = help.find(flag).unwrap_or_else(|| panic!("{flag} is not in {help}"));
        let own = help[from..].find("[default: ").map(|at| &help[from + at..]).unwrap_or_default();
        assert!(own.starts_with(&format!("[default: {default}]")), "{flag}: {}", &own[..own.len().min(40)]);
    }
}

#[test]
fn keys_are_made_shown_once_used_and_revoked() {
    let home = tempdir().unwrap();
    let server = Serving::start(home.path(), &[]);
    assert_eq!(server.get("/v1/models").0, 200, "there is no key yet");
    let keys = |args: &[&str]| {
        let (code, out, err) = run(bantam(home.path()).arg("keys").args(args).arg("--json"));
        assert_eq!(code, 0, "{err}");
        out
    };
    let made = keys(&["add", "team", "--concurrent", "2"]);
    assert_shape("keys", 0, &made);
    let made: Value = serde_json::from_str(&made).unwrap();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let listed = keys(&["list"]);
    assert_shape("keys", 1, &listed);
    assert!(!listed.contains(key) && listed.contains(id), "{listed}");
    let (_, table, _) = run(bantam(home.path()).args(["keys", "list"]));
    assert!(table.starts_with("ID ") && table.contains("team") && table.contains("infer"), "{table}");
    let ask = || {
        let request = client().get(format!("{}/v1/models", server.url)).bearer_auth(key);
        request.send().unwrap().status().as_u16()
    };
    assert_eq!((server.get("/v1/models").0, ask()), (401, 200));
    assert_shape("keys", 0, &keys(&["revoke", id]));
    assert_eq!(ask(), 401);
    let (code, _, err) = run(bantam(home.path()).args(["keys", "revoke", id]));
    assert_eq!(code, 1);
    assert!(err.contains("there are: none") && err.contains("hint: "), "{err}");
}

#[test]
fn without_a_server_that_is_said() {
    let home = tempdir().unwrap();
    for args in [&["ps"][..], &["stop", "a"]] {
        let (code, out, err) = run(bantam(home.path()).env("BANTAM_HOST", "127.0.0.1:9").args(args));
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("no server listens at http://127.0.0.1:9\nhint: `bantam serve` starts one"), "{err}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_and_a_wrong_scheme_are_said() {
    let home = tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = Serving::start(home.path(), &files);
    let place = server.url.replace("https://127.0.0.1", "localhost");
    let ask = |host: String, trusted: Option<&Path>| {
        let mut command = bantam(home.path());
        command.args(["ps", "--host", &host]);
        if let Some(file) = trusted {
            command.env("SSL_CERT_FILE", file);
        }
        run(&mut command)
    };
    let (code, _, err) = ask(format!("https://{place}"), Some(&certificate));
    assert_eq!((code, err.trim()), (0, "no model is in memory"));
    let (code, _, err) = ask(format!("https://{place}"), None);
    assert_eq!(code, 1);
    assert!(err.contains(&format!("cannot ask https://{place}: ")) && err.contains("certificate"), "{err}");
    assert!(err.contains("hint: the certificate is of no authority that this system trusts; SSL_CERT_FILE"), "{err}");
    let (code, _, err) = ask(place.clone(), None);
    assert_eq!(code, 1);
    assert!(err.contains(&format!("hint: a server with TLS is asked at https://{place}")), "{err}");
    let (code, _, err) = ask(server.url.clone(), Some(&certificate));
    assert_eq!(code, 1);
    assert!(err.contains("must have the name that the certificate is for"), "{err}");
    let plain = Serving::start(home.path(), &[]);
    let (code, _, err) = ask(plain.url.replace("http://", "https://"), None);
    assert_eq!(code, 1);
    assert!(err.contains(&format!("hint: a server without TLS is asked at {}", plain.url)), "{err}");
}

#[test]
fn a_model_in_memory_is_listed_and_stopped() {
    let Some(home) = store(CHAT) else { return };
    let server = Serving::start(&home, &[CHAT]);
    server.wait_until_ready();
    let command = |args: &[&str]| {
        let (code, out, err) = run(bantam(&home).env("BANTAM_HOST", &server.url).args(args));
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    };
    let rows = command(&["ps", "--json"]);
    assert_shape("ps", 0, &rows);
    let rows: Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(rows[0]["name"], CHAT);
    assert!(command(&["ps"]).contains("never"), "models named at the start stay");
    let (family, _) = CHAT.split_once(':').unwrap();
    assert_shape("stop", 0, &command(&["stop", family, "--json"]));
    let (code, out, err) = run(bantam(&home).env("BANTAM_HOST", &server.url).args(["stop", CHAT]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("has no model \"smollm2:135m\" in memory; it has: none"), "{err}");
    assert_eq!(server.end("-TERM").0, 0);
}
