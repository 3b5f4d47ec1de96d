//! What holds for every endpoint, through HTTP: fields are known or refused, errors have their dialect's shape, every response
//! has an id, deadlines are kept, and who has gone costs nothing.

use crate::api::{DIALECTS, Endpoint};
use crate::keys::KeysFile;
use crate::options::Access;
use crate::testing::{Reply, Running, ScriptedModel, until};
use axum::http::Method;
use chat::KeepAlive;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    DIALECTS.iter().flat_map(|dialect| dialect.endpoints).copied()
}

fn chat(more: &Value) -> Value {
    let mut body = json!({"model": "small", "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn an_unknown_field_is_named_by_every_endpoint() {
    let server = Running::start().await;
    let mut tried = 0;
    for endpoint in endpoints().filter(|endpoint| endpoint.request.is_some()) {
        let body = json!({"no_such_field": 1}).to_string();
        let answer = server.send(endpoint.method.clone(), endpoint.path, &[], body).await;
        let path = endpoint.path;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        assert!(answer.text.contains("no_such_field: unknown field `no_such_field`"), "{path}: {}", answer.text);
        tried += 1;
    }
    assert!(tried >= 8, "{tried}");
}

#[tokio::test]
async fn every_response_has_an_id() {
    let server = Running::start().await;
    for (method, path, body) in [
        (Method::GET, "/health", ""),
        (Method::POST, "/v1/chat/completions", "{"),
        (Method::GET, "/v1/no/such/path", ""),
        (Method::DELETE, "/v1/chat/completions", ""),
        (Method::GET, "/tokenize", ""),
    ] {
        let answer = server.send(method.clone(), path, &[("x-request-id", "mine-7")], body).await;
        assert_eq!(answer.header("x-request-id"), "mine-7", "{method} {path}");
        let answer = server.send(method.clone(), path, &[("x-request-id", "not a word")], body).await;
        assert!(answer.header("x-request-id").starts_with("req_"), "{method} {path}");
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_refused_in_the_dialects_shape() {
    let server = Running::start().await;
    let answer = server.get("/v1/no/such/path").await;
    assert_eq!(answer.status, 404);
    let message = "no endpoint GET /v1/no/such/path\nhint: /docs lists all that there are";
    assert_eq!(
        answer.json(),
        json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}})
    );
    for path in ["/v1/chat/completions", "/v1/score", "/tokenize"] {
        let answer = server.send(Method::DELETE, path, &[], "").await;
        assert_eq!(answer.status, 405, "{path}: {}", answer.text);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error", "{path}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_or_too_large_are_refused() {
    let server = Running::with(|options| options.max_body_bytes = 100).await;
    for (body, status, start) in [
        ("{\"model\":", 400, "the body is not JSON: EOF"),
        ("[]", 400, "the body is not the JSON that was expected: invalid"),
        ("{\"model\":\"small\",\"prompt\":\"a\"} x", 400, "there is more after the JSON body: trailing characters"),
        (&format!("{{\"model\":\"{}\"}}", "a".repeat(100)), 413, "the body has more than 100 bytes (--max-body-bytes)"),
    ] {
        let answer = server.send(Method::POST, "/v1/completions", &[], body.to_owned()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(start), "{message}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Running::with(|options| options.body_timeout = Duration::from_millis(50)).await;
    let mut stream = server.connect().await;
    let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"model\":";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn the_deadline_ends_every_kind_of_answer() {
    let server = Running::start().await;
    let late = [("x-request-timeout", "0.05")];
    for (path, body) in [
        ("/v1/chat/completions", chat(&json!({}))),
        ("/v1/completions", json!({"model": "small", "prompt": "a"})),
        ("/v1/responses", json!({"model": "small", "input": "a"})),
        ("/v1/embeddings", json!({"model": "small", "input": "a"})),
        ("/v1/score", json!({"model": "small", "prompt": "a", "continuations": ["b"]})),
        ("/v1/rerank", json!({"model": "small", "query": "a", "documents": ["b"]})),
    ] {
        server.model.will(Reply::text(&["a"]).after(Duration::from_secs(60)));
        let began = Instant::now();
        let answer = server.send(Method::POST, path, &late, body.to_string()).await;
        assert_eq!(answer.status, 408, "{path}: {}", answer.text);
        assert_eq!(answer.json()["error"]["code"], "timeout", "{path}");
        assert!(began.elapsed() < Duration::from_secs(30), "{path}");
    }
}

#[tokio::test]
async fn the_deadline_ends_streams_and_loads_too() {
    let server = Running::start().await;
    let late = [("x-request-timeout", "0.05")];
    server.model.will(Reply::hanging(&["a"]));
    let answer =
        server.send(Method::POST, "/v1/chat/completions", &late, chat(&json!({"stream": true})).to_string()).await;
    let (chunks, is_done) = answer.events();
    assert!(!is_done);
    assert_eq!(chunks.last().unwrap()["error"]["code"], "timeout");
    until("its stream is dropped", || server.model.left_streams() == 1).await;

    server.host.add(Arc::new(ScriptedModel::named("large")));
    server.host.load_slowly(Duration::from_secs(1));
    let body = json!({"model": "large", "input": "a"});
    let answer = server.send(Method::POST, "/v1/embeddings", &late, body.to_string()).await;
    assert_eq!(answer.status, 408, "{}", answer.text);
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_is_left() {
    let server = Running::start().await;
    server.host.add(Arc::new(ScriptedModel::named("endless")));
    let body = || json!({"model": "endless", "input": "a"});
    let late = [("x-request-timeout", "0.05")];
    let answer = server.send(Method::POST, "/v1/embeddings", &late, body().to_string()).await;
    assert_eq!(answer.status, 408, "{}", answer.text);
    until("the load is left at the deadline", || server.host.left_loads() == 1).await;
    let leaving = tokio::time::timeout(Duration::from_millis(50), server.post("/v1/embeddings", body())).await;
    assert!(leaving.is_err() && server.host.left_loads() == 1);
    until("the load is left with the client", || server.host.left_loads() == 2).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_ends_it() {
    let server = Running::start().await;
    for (path, body) in [
        ("/v1/chat/completions", chat(&json!({"stream": true}))),
        ("/v1/completions", json!({"model": "small", "prompt": "a", "stream": true})),
        ("/v1/responses", json!({"model": "small", "input": "a", "stream": true})),
    ] {
        let before = server.model.left_streams();
        server.model.will(Reply::hanging(&["a"]));
        let mut stream = server.stream(path, body).await;
        assert_eq!(stream.status, 200);
        assert!(stream.piece().await.is_some());
        assert_eq!(server.model.open_streams(), 1);
        drop(stream);
        until("its stream is dropped", || server.model.open_streams() == 0).await;
        assert_eq!(server.model.left_streams(), before + 1, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_a_whole_answer_ends_it() {
    let server = Running::start().await;
    for (path, body) in [
        ("/v1/chat/completions", chat(&json!({"n": 2}))),
        ("/v1/completions", json!({"model": "small", "prompt": ["a", "b"]})),
        ("/v1/responses", json!({"model": "small", "input": "a"})),
    ] {
        let streams = if path == "/v1/responses" { 1 } else { 2 };
        let before = server.model.left_streams();
        for _ in 0..streams {
            server.model.will(Reply::hanging(&["a"]));
        }
        let mut client = server.connect().await;
        let body = body.to_string();
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        client.write_all(request.as_bytes()).await.unwrap();
        until("the model answers", || server.model.open_streams() == streams).await;
        drop(client);
        until("its streams are dropped", || server.model.open_streams() == 0).await;
        assert_eq!(server.model.left_streams(), before + streams, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_model_keeps_its_kind() {
    let server = Running::start().await;
    let context = chat::ChatError::ContextTooLong { prompt_tokens: 2000, context: 1024, maximum_context: 1024 };
    server.model.will(Reply::refusing(context));
    let answer = server.post("/v1/chat/completions", chat(&json!({}))).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("context_length_exceeded")));
    server.model.will(Reply::refusing(chat::ChatError::Overloaded("full".to_owned())));
    let answer = server.post("/v1/embeddings", json!({"model": "small", "input": "a"})).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
}

#[tokio::test]
async fn who_meets_a_full_queue_is_told_to_wait_as_long_as_others_waited() {
    let server = Running::start().await;
    server.model.will(Reply::text(&["a"]).after(Duration::from_millis(1100)));
    assert_eq!(server.post("/v1/chat/completions", chat(&json!({}))).await.status, 200);
    server.model.will(Reply::refusing(chat::ChatError::Overloaded("full".to_owned())));
    let answer = server.post("/v1/chat/completions", chat(&json!({}))).await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 2, "{}", answer.header("retry-after"));
}

#[tokio::test]
async fn a_slow_stream_arrives_piece_by_piece() {
    let server = Running::start().await;
    server.model.will(Reply::text(&["a", "b"]).pausing(Duration::from_millis(20)));
    let mut stream = server.stream("/v1/completions", json!({"model": "small", "prompt": "x", "stream": true})).await;
    let mut pieces = Vec::new();
    while let Some(piece) = stream.piece().await {
        pieces.push(piece);
    }
    assert!(pieces.len() >= 3, "not held back until the end: {pieces:?}");
    assert!(pieces.last().unwrap().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn the_server_is_ready_once_a_model_has_answered() {
    let server = Running::start().await;
    assert_eq!(server.get("/ready").await.status, 503);
    assert_eq!(server.post("/v1/embeddings", json!({"model": "small", "input": "a"})).await.status, 200);
    assert_eq!(server.get("/ready").await.status, 200);
    assert!(server.end().await);
}

#[tokio::test]
async fn tokens_that_are_only_read_count_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    // The SHA-256 of `secret`.
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let row = format!(
        "[[key]]\nid = \"k\"\nname = \"team\"\nsha256 = \"{hash}\"\nscopes = [\"infer\"]\ncreated = 0\n\
         [key.limits]\ntokens_per_minute = 2\n"
    );
    std::fs::write(&path, row).unwrap();
    let server = Running::with(|options| options.access = Access::Keys(KeysFile(path))).await;
    let key = [("authorization", "Bearer secret")];
    let body = json!({"model": "small", "input": "one two"}).to_string();
    assert_eq!(server.send(Method::POST, "/v1/embeddings", &key, body.clone()).await.status, 200);
    let page = server.send(Method::GET, "/metrics", &[("authorization", "Bearer other")], "").await;
    assert_eq!(page.status, 401, "{}", page.text);
    let answer = server.send(Method::POST, "/v1/embeddings", &key, body).await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert_eq!(
        answer.json()["error"]["message"],
        "the key team has used 2 tokens within a minute, its limit is 2\nhint: Retry-After tells when to come back"
    );
}

#[tokio::test]
async fn the_metrics_count_what_was_read() {
    let server = Running::start().await;
    let body = json!({"model": "small", "prompt": "one two", "continuations": ["three", "four"]});
    assert_eq!(server.post("/v1/score", body).await.status, 200);
    let page = server.get("/metrics").await.text;
    for line in [
        "vllm:prompt_tokens_total{model_name=\"small\"} 4",
        "vllm:request_success_total{model_name=\"small\",finished_reason=\"stop\"} 1",
        "vllm:e2e_request_latency_seconds_count{model_name=\"small\"} 1",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    assert!(!page.contains("finished_reason=\"abort\""), "{page}");
}

#[tokio::test]
async fn models_are_kept_as_long_as_a_request_says() {
    let server = Running::start().await;
    for (path, body) in [
        ("/v1/chat/completions", chat(&json!({"keep_alive": "2s"}))),
        ("/v1/completions", json!({"model": "small", "prompt": "a", "keep_alive": 2})),
        ("/v1/responses", json!({"model": "small", "input": "a", "keep_alive": "2s"})),
        ("/v1/embeddings", json!({"model": "small", "input": "a", "keep_alive": "2s"})),
        ("/v1/score", json!({"model": "small", "prompt": "a", "continuations": ["b"], "keep_alive": "2s"})),
        ("/v1/rerank", json!({"model": "small", "query": "a", "documents": ["b"], "keep_alive": "2s"})),
    ] {
        assert_eq!(server.post(path, body).await.status, 200, "{path}");
        let kept = server.host.kept().pop();
        assert_eq!(kept, Some(("small".to_owned(), Some(KeepAlive::For(Duration::from_secs(2))))), "{path}");
    }
}
