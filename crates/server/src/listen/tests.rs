//! Connections as the world has them: slow, oversized, cut, half-closed, too many, encrypted, and open while the server ends.

use super::*;
use crate::keys::{KeyLimits, KeysFile, Scope, add, revoke};
use crate::options::Access;
use crate::testing::{Reply, Running, ScriptedHost, ScriptedModel, until};
use axum::http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const CHAT: &str = "/v1/chat/completions";
const SHORT: Duration = Duration::from_millis(200);
/// Long enough for a loaded machine, short enough that a server that hangs fails its test.
const LONG: Duration = Duration::from_secs(20);

fn question(stream: bool) -> Value {
    json!({"model": "small", "messages": [{"role": "user", "content": "Hello"}], "stream": stream})
}

/// A request as bytes; `connection` says whether more are to follow.
fn bytes(path: &str, connection: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n\
         connection: {connection}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Everything up to the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read =
        tokio::time::timeout(LONG, stream.read_to_end(&mut all)).await.expect("the server closes the connection");
    // A connection that was reset is closed too.
    drop(read);
    String::from_utf8_lossy(&all).into_owned()
}

/// What comes until this text has come.
async fn up_to(stream: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    loop {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(LONG, stream.read(&mut piece)).await.expect("something comes").unwrap();
        all.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&all).into_owned();
        if text.contains(end) {
            return text;
        }
        assert!(read > 0, "the connection ended before {end:?}: {text}");
    }
}

#[tokio::test]
async fn headers_that_do_not_come_end_the_connection() {
    let server = Running::with(|options| options.header_timeout = SHORT).await;
    let mut stream = server.connect().await;
    stream.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: te").await.unwrap();
    assert!(!rest(&mut stream).await.contains("200"), "nothing was asked");
    let mut silent = server.connect().await;
    assert_eq!(rest(&mut silent).await, "", "nor is a connection kept on which nothing comes");
    // The beginning of HTTP/2's own beginning.
    let mut undecided = server.connect().await;
    undecided.write_all(b"PRI * HTTP/2").await.unwrap();
    assert_eq!(rest(&mut undecided).await, "", "nor one that does not say what it speaks");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused() {
    let server = Running::with(|options| options.body_timeout = SHORT).await;
    let mut stream = server.connect().await;
    let whole = bytes(CHAT, "keep-alive", &question(false).to_string());
    stream.write_all(&whole[..whole.len() - 5]).await.unwrap();
    let answer = up_to(&mut stream, "--body-timeout").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(server.model.asked().is_empty());
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_whatever_it_claims() {
    let server = Running::with(|options| options.max_body_bytes = 64).await;
    let answer = server.post(CHAT, question(false)).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_eq!(answer.json()["error"]["message"], "the body has more than 64 bytes (--max-body-bytes)");
    let mut stream = server.connect().await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = format!("40\r\n{}\r\n", " ".repeat(64));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(chunk.as_bytes()).await.unwrap();
    stream.write_all(chunk.as_bytes()).await.unwrap();
    let answer = up_to(&mut stream, "--max-body-bytes").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_body_that_breaks_off_costs_nothing() {
    let server = Running::start().await;
    let mut stream = server.connect().await;
    let whole = bytes(CHAT, "keep-alive", &question(false).to_string());
    stream.write_all(&whole[..whole.len() - 5]).await.unwrap();
    drop(stream);
    let answer = server.get("/health").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));
    assert!(server.model.asked().is_empty());
}

#[tokio::test]
async fn who_closes_their_half_has_gone() {
    let server = Running::start().await;
    server.model.will(Reply::hanging(&["a"]));
    let mut stream = server.connect().await;
    stream.write_all(&bytes(CHAT, "keep-alive", &question(true).to_string())).await.unwrap();
    up_to(&mut stream, "\"a\"").await;
    assert_eq!(server.model.open_streams(), 1);
    stream.shutdown().await.unwrap();
    until("the model's stream is dropped", || server.model.left_streams() == 1).await;
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed() {
    let server = Running::with(|options| options.max_connections = 1).await;
    let mut first = server.connect().await;
    first.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    up_to(&mut first, "\"ok\"").await;
    let mut second = server.connect().await;
    assert_eq!(rest(&mut second).await, "");
    drop(first);
    let mut answered = false;
    for _ in 0..100 {
        let mut third = server.connect().await;
        let asked = third.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        answered = asked.is_ok() && rest(&mut third).await.contains("\"ok\"");
        if answered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(answered, "there is room again");
}

#[tokio::test]
async fn a_full_server_refuses_at_once_and_says_when_to_come_again() {
    let server = Running::with(|options| options.max_requests = 1).await;
    server.model.will(Reply::hanging(&["a"]));
    let mut first = server.stream(CHAT, question(true)).await;
    assert_eq!(first.status, 200);
    first.piece().await.unwrap();
    let answer = server.post(CHAT, question(false)).await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(answer.json()["error"]["message"], "1 requests are under way, at most 1 may be\nhint: try again later");
    drop(first);
    until("the first is gone", || server.model.left_streams() == 1).await;
    let mut status = 0;
    for _ in 0..100 {
        status = server.post(CHAT, question(false)).await.status;
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status, 200, "its place is free");
}

#[tokio::test]
async fn health_is_answered_by_a_full_server() {
    let server = Running::with(|options| options.max_requests = 1).await;
    server.model.will(Reply::hanging(&["a"]));
    let mut first = server.stream(CHAT, question(true)).await;
    first.piece().await.unwrap();
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn what_runs_is_finished_and_nothing_new_is_taken_while_the_server_ends() {
    let mut server = Running::start().await;
    let address = server.address;
    server.model.will(Reply::text(&["a", "b", "c", "d"]).pausing(Duration::from_millis(150)));
    let mut kept = server.connect().await;
    kept.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    up_to(&mut kept, "\"ok\"").await;
    let mut running = server.connect().await;
    running.write_all(&bytes(CHAT, "keep-alive", &question(true).to_string())).await.unwrap();
    up_to(&mut running, "\"a\"").await;
    server.tell_to_end();
    // The one that waits for another request is closed, or told that the server ends.
    let _ = kept.write_all(&bytes(CHAT, "keep-alive", &question(false).to_string())).await;
    let answer = rest(&mut kept).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer}");
    let all = up_to(&mut running, "[DONE]").await;
    assert!(all.contains("\"d\""), "{all}");
    assert!(server.end().await, "all answers had ended");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_cut_when_its_time_is_over() {
    let server = Running::with(|options| options.drain = SHORT).await;
    server.model.will(Reply::hanging(&["a"]));
    let mut stream = server.stream(CHAT, question(true)).await;
    stream.piece().await.unwrap();
    let told = tokio::spawn(async move {
        let mut all = String::new();
        while let Some(piece) = stream.piece().await {
            all.push_str(&piece);
        }
        all
    });
    let ended = tokio::time::timeout(LONG, server.end()).await.expect("the server ends");
    assert!(!ended, "it says that an answer was left");
    let told = told.await.unwrap();
    assert!(told.contains("the answer was cut: the server ends") && told.contains("server_ended"), "{told}");
    assert!(!told.contains("[DONE]"), "{told}");
}

#[tokio::test]
async fn an_address_that_others_reach_needs_keys() {
    let bind = |change: fn(&mut ServerOptions)| async move {
        let mut options = ServerOptions::at("0.0.0.0:0".parse().unwrap());
        change(&mut options);
        let host = Arc::new(ScriptedHost::of(Arc::new(ScriptedModel::named("small"))));
        Server::bind(host, options).await.map(|_| ())
    };
    let error = bind(|_| ()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "0.0.0.0:0 can be reached from other machines, and no keys are set\n\
         hint: make a key with `bantam keys add NAME`, or serve everybody with --insecure"
    );
    assert!(bind(|options| options.insecure = true).await.is_ok());
    fn nowhere() -> KeysFile {
        KeysFile("/nowhere/keys.toml".into())
    }
    assert!(bind(|options| options.access = Access::Keys(nowhere())).await.is_ok(), "nobody may ask");
    let open = bind(|options| options.access = Access::EverybodyUntilKeys(nowhere())).await;
    assert!(matches!(open, Err(StartError::Public(_))), "everybody might ask");
}

#[tokio::test]
async fn a_key_opens_what_it_allows_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeysFile(folder.path().join("keys.toml"));
    let one = KeyLimits { concurrent: Some(1), ..KeyLimits::default() };
    let new = add(&file, "team", vec![Scope::Infer], one).unwrap();
    let server = Running::with(|options| options.access = Access::Keys(file.clone())).await;
    let body = question(false).to_string();
    let ask = |headers: Vec<(&'static str, String)>| {
        let (server, body) = (&server, body.clone());
        async move {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            server.send(Method::POST, CHAT, &headers, body).await
        }
    };
    let bearer = |secret: &str| vec![("authorization", format!("Bearer {secret}"))];
    let answer = ask(Vec::new()).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(ask(bearer("bantam_0000")).await.status, 401);
    assert_eq!(ask(bearer(&new.secret)).await.status, 200);
    assert_eq!(ask(vec![("x-api-key", new.secret.clone())]).await.status, 200);
    assert_eq!(server.get("/metrics").await.status, 401, "counters say who asks what");
    assert_eq!(server.get("/health").await.status, 200);
    revoke(&file, &new.row.id).unwrap();
    assert_eq!(ask(bearer(&new.secret)).await.status, 401);
}

#[tokio::test]
async fn the_first_key_closes_a_server_that_runs_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeysFile(folder.path().join("keys.toml"));
    let server = Running::with(|options| options.access = Access::EverybodyUntilKeys(file.clone())).await;
    assert_eq!(server.get("/v1/models").await.status, 200);
    let new = add(&file, "team", vec![Scope::Infer], KeyLimits::default()).unwrap();
    assert_eq!(server.get("/v1/models").await.status, 401);
    let header = format!("Bearer {}", new.secret);
    assert_eq!(server.send(Method::GET, "/v1/models", &[("authorization", &header)], "").await.status, 200);
}

#[tokio::test]
async fn ids_of_requests_are_taken_over_or_made() {
    let server = Running::start().await;
    let answer = server.send(Method::GET, "/health", &[("x-request-id", "mine-7")], "").await;
    assert_eq!(answer.header("x-request-id"), "mine-7");
    let long = "x".repeat(1000);
    let answer = server.send(Method::GET, "/health", &[("x-request-id", &long)], "").await;
    assert!(answer.header("x-request-id").starts_with("req_"), "{:?}", answer.headers);
}

#[tokio::test]
async fn other_methods_are_known_by_name() {
    let server = Running::start().await;
    let answer = server.send(Method::HEAD, "/health", &[], "").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    let answer = server.send(Method::DELETE, "/health", &[], "").await;
    assert_eq!(answer.status, 405);
    let said = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(said, "/health does not know the method DELETE\nhint: /docs lists what it knows");
    assert_eq!(server.send(Method::OPTIONS, CHAT, &[], "").await.status, 405, "no page was named");
}

#[tokio::test]
async fn pages_of_named_origins_may_read_answers_and_others_may_not_ask() {
    let server = Running::with(|options| options.cors_origins = vec!["https://app.example".to_owned()]).await;
    let preflight = |origin: &'static str| {
        let server = &server;
        async move {
            let asked = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization, content-type"),
            ];
            server.send(Method::OPTIONS, CHAT, &asked, "").await
        }
    };
    let answer = preflight("https://app.example").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(answer.header("access-control-allow-headers"), "authorization, content-type");
    let answer = preflight("https://evil.example").await;
    assert!(answer.status == 405 && !answer.headers.contains_key("access-control-allow-origin"), "{answer:?}");
    let post = |origin: String, host: &'static str| {
        let server = &server;
        async move {
            let mut stream = server.connect().await;
            let body = question(false).to_string();
            let whole = String::from_utf8(bytes(CHAT, "close", &body)).unwrap();
            let whole = whole.replace("host: localhost", &format!("host: {host}\r\norigin: {origin}"));
            stream.write_all(whole.as_bytes()).await.unwrap();
            rest(&mut stream).await
        }
    };
    let answer = post("https://app.example".to_owned(), "127.0.0.1:1").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("access-control-allow-origin: https://app.example"));
    let answer = post("https://evil.example".to_owned(), "127.0.0.1:1").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("--cors-origin https://evil.example"), "{answer}");
    assert!(post("http://127.0.0.1:1".to_owned(), "127.0.0.1:1").await.starts_with("HTTP/1.1 200"), "its own pages");
    // A foreign name that was made to point here.
    assert!(post("http://evil.example:1".to_owned(), "evil.example:1").await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn a_server_for_this_machine_alone_answers_to_no_foreign_name() {
    let server = Running::with(|options| options.cors_origins = vec!["http://box.example:1".to_owned()]).await;
    let get = |host: &'static str| {
        let server = &server;
        async move {
            let mut stream = server.connect().await;
            let request = format!("GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            rest(&mut stream).await
        }
    };
    // Pages of a name that was made to point here may read what they get, and send no Origin where they only read.
    let answer = get("evil.example:1").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("--cors-origin http://evil.example:1"), "{answer}");
    for own in ["localhost:1", "127.0.0.1", "[::1]:1", "box.example:1"] {
        assert!(get(own).await.starts_with("HTTP/1.1 200"), "{own}");
    }
}

#[tokio::test]
async fn with_a_certificate_the_server_speaks_tls_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificates: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificates, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let server = Running::with(|options| {
        options.tls = Some(files.clone());
        options.header_timeout = SHORT;
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await.unwrap();
    tls.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // The peer may close without a farewell.
    let _ = tls.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    let mut plain = server.connect().await;
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(!rest(&mut plain).await.contains("200"));
    let mut silent = server.connect().await;
    assert_eq!(rest(&mut silent).await, "", "a handshake that does not come ends the connection");
}

#[tokio::test]
async fn files_that_are_no_certificate_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles { certificates: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    let refused = || acceptor(&files).err().unwrap().to_string();
    assert!(refused().starts_with("cannot read ") && refused().contains("cert.pem"), "{}", refused());
    std::fs::write(&files.certificates, "nothing").unwrap();
    assert!(
        refused().contains("cert.pem holds no certificate\nhint: --tls-cert and --tls-key name files in PEM"),
        "{}",
        refused()
    );
}

#[tokio::test]
async fn a_model_that_answered_before_anybody_asked_makes_the_server_ready() {
    let mut options = ServerOptions::at("127.0.0.1:0".parse().unwrap());
    options.drain = SHORT;
    let model = Arc::new(ScriptedModel::named("small"));
    let host = Arc::new(ScriptedHost::of(Arc::clone(&model)));
    let server = Server::bind(host, options).await.unwrap();
    let preloading = server.preloading();
    assert!(!server.app.has_answered());
    preloading.ask(model.as_ref()).await.unwrap();
    assert!(server.app.has_answered());
}
