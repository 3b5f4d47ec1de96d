//! Batches through HTTP: from an upload to the files that come of it, also where the server ends meanwhile.

use crate::testing::{Asked, Reply, Running, form, until};
use axum::http::Method;
use chat::ChatError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";

fn line(id: &str, url: &str, body: &Value) -> String {
    json!({"custom_id": id, "method": "POST", "url": url, "body": body}).to_string() + "\n"
}

fn question(id: &str) -> String {
    line(id, CHAT, &json!({"model": "small", "messages": [{"role": "user", "content": id}]}))
}

async fn upload(server: &Running, text: &str) -> String {
    let (content_type, body) = form(&[("purpose", None, "batch"), ("file", Some("requests.jsonl"), text)]);
    let answer = server.send(Method::POST, "/v1/files", &[("content-type", &content_type)], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn create(server: &Running, file: &str, endpoint: &str) -> String {
    let body = json!({
        "input_file_id": file, "endpoint": endpoint, "completion_window": "24h", "metadata": {"for": "test"},
    });
    let answer = server.post("/v1/batches", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let batch = answer.json();
    assert_eq!((&batch["object"], &batch["status"]), (&json!("batch"), &json!("validating")));
    assert_eq!(batch["metadata"], json!({"for": "test"}));
    batch["id"].as_str().unwrap().to_owned()
}

/// The batch, once this holds of it.
async fn when(server: &Running, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..2000 {
        let batch = server.get(&format!("/v1/batches/{id}")).await.json();
        if holds(&batch) {
            return batch;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {}", server.get(&format!("/v1/batches/{id}")).await.text);
}

async fn ended(server: &Running, id: &str) -> Value {
    when(server, id, |batch| {
        ["completed", "failed", "cancelled", "expired"].contains(&batch["status"].as_str().unwrap())
    })
    .await
}

/// The lines of a file that a batch wrote, by their own ids; no id stands twice.
async fn lines(server: &Running, file: &Value) -> BTreeMap<String, Value> {
    let Some(id) = file.as_str() else { return BTreeMap::new() };
    let content = server.get(&format!("/v1/files/{id}/content")).await;
    assert_eq!(content.status, 200);
    let mut lines = BTreeMap::new();
    for line in content.lines() {
        assert!(line["id"].as_str().unwrap().starts_with("batch_req_"));
        let before = lines.insert(line["custom_id"].as_str().unwrap().to_owned(), line);
        assert_eq!(before, None);
    }
    lines
}

#[tokio::test]
async fn lines_become_answers_and_errors_in_two_files() {
    let (server, folder) = Running::keeping().await;
    let text = [
        question("good"),
        line("unknown", CHAT, &json!({"model": "small", "messages": [], "colour": 1})),
        line("missing", CHAT, &json!({"model": "none", "messages": [{"role": "user", "content": "x"}]})),
    ];
    let file = upload(&server, &text.concat()).await;
    let id = create(&server, &file, CHAT).await;
    let batch = ended(&server, &id).await;
    assert_eq!(batch["status"], "completed", "{batch}");
    assert_eq!(batch["request_counts"], json!({"total": 3, "completed": 1, "failed": 2}));
    assert_eq!(batch["usage"]["input_tokens"], 3);
    assert_eq!(batch["usage"]["output_tokens"], 2);
    assert_eq!(batch["errors"], Value::Null);
    for time in ["created_at", "in_progress_at", "finalizing_at", "completed_at"] {
        assert!(batch[time].as_u64().unwrap() > 1_700_000_000, "{time}: {batch}");
    }
    let answered = lines(&server, &batch["output_file_id"]).await;
    let good = &answered["good"];
    assert_eq!((answered.len(), &good["error"]), (1, &Value::Null));
    assert_eq!(good["response"]["status_code"], 200);
    assert!(good["response"]["request_id"].as_str().unwrap().starts_with("req_"));
    assert_eq!(good["response"]["body"]["choices"][0]["message"]["content"], "Hello world");
    let failed = lines(&server, &batch["error_file_id"]).await;
    assert_eq!(failed["unknown"]["response"]["status_code"], 400);
    assert_eq!(failed["unknown"]["response"]["body"]["error"]["param"], "colour");
    assert_eq!(failed["missing"]["response"]["status_code"], 404);
    assert_eq!(failed["missing"]["response"]["body"]["error"]["code"], "model_not_found");
    let output = server.get(&format!("/v1/files/{}", batch["output_file_id"].as_str().unwrap())).await.json();
    assert_eq!(output["purpose"], "batch_output");
    assert_eq!(output["filename"], format!("{id}_output.jsonl"));
    let list = server.get("/v1/batches").await.json();
    assert_eq!((&list["data"][0], list["data"].as_array().unwrap().len()), (&batch, 1));
    let left = || std::fs::read_dir(folder.path().join("files/batches").join(&id)).unwrap().count();
    until("nothing but the record and the lock is left, no text of lines", || left() == 2).await;
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("vllm:generation_tokens_total{model_name=\"small\"} 2"), "{metrics}");
}

#[tokio::test]
async fn every_endpoint_takes_lines() {
    let (server, _folder) = Running::keeping().await;
    for (endpoint, body, tokens) in [
        ("/v1/completions", json!({"model": "small", "prompt": "x"}), (3, 2)),
        ("/v1/embeddings", json!({"model": "small", "input": "a b"}), (2, 0)),
        ("/v1/responses", json!({"model": "small", "input": "x"}), (3, 2)),
    ] {
        let file = upload(&server, &line("one", endpoint, &body)).await;
        let id = create(&server, &file, endpoint).await;
        let batch = ended(&server, &id).await;
        assert_eq!(batch["request_counts"], json!({"total": 1, "completed": 1, "failed": 0}), "{endpoint}");
        assert_eq!((&batch["error_file_id"], &batch["status"]), (&Value::Null, &json!("completed")));
        let usage = &batch["usage"];
        let counted = (usage["input_tokens"].as_u64().unwrap(), usage["output_tokens"].as_u64().unwrap());
        assert_eq!(counted, tokens, "{endpoint}");
    }
}

#[tokio::test]
async fn a_file_with_wrong_lines_fails_the_batch_with_all_of_them() {
    let (server, _folder) = Running::keeping().await;
    let text = [question("a"), question("a"), line("b", "/v1/embeddings", &json!({})), "{".to_owned()];
    let file = upload(&server, &text.concat()).await;
    let id = create(&server, &file, CHAT).await;
    let batch = ended(&server, &id).await;
    assert_eq!(batch["status"], "failed");
    assert!(batch["failed_at"].as_u64().is_some());
    let data = batch["errors"]["data"].as_array().unwrap();
    let told: Vec<_> = data.iter().map(|one| (one["line"].as_u64().unwrap(), one["code"].as_str().unwrap())).collect();
    assert_eq!(told, [(2, "duplicate_custom_id"), (3, "invalid_url"), (4, "invalid_json_line")]);
    assert_eq!(data[1]["message"], "url: expected the batch's endpoint, `/v1/chat/completions`");
    assert!(server.model.asked().is_empty(), "nothing was done");
}

#[tokio::test]
async fn a_batch_is_refused_by_its_fields() {
    let (server, _folder) = Running::keeping().await;
    let file = upload(&server, &question("a")).await;
    let whole = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
    let many: BTreeMap<String, String> = (0..17).map(|number| (number.to_string(), String::new())).collect();
    for (field, value, status, message) in [
        (
            "endpoint",
            json!("/v1/chat/completion"),
            400,
            "endpoint: expected one of /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses, got \
             \"/v1/chat/completion\"\nhint: did you mean `/v1/chat/completions`?",
        ),
        ("completion_window", json!("1h"), 400, "completion_window: expected `24h`, got \"1h\""),
        (
            "input_file_id",
            json!("file-x"),
            404,
            "there is no file \"file-x\"\nhint: GET /v1/files lists those that there are",
        ),
        ("metadata", json!(many), 400, "metadata: expected at most 16 pairs, of 64 and 512 bytes at most"),
        (
            "meta",
            json!({}),
            400,
            "meta: unknown field `meta`, expected one of `input_file_id`, `endpoint`, `completion_window`, \
             `metadata`\nhint: did you mean `metadata`?",
        ),
    ] {
        let mut body = whole.clone();
        body[field] = value;
        let answer = server.post("/v1/batches", body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.json()["error"]["message"], message);
        assert_eq!(answer.json()["error"]["param"], field);
    }
    let missing = server.get("/v1/batches/batch_x").await;
    assert_eq!(missing.status, 404);
    let message = "there is no batch \"batch_x\"\nhint: GET /v1/batches lists those that there are";
    assert_eq!(missing.json()["error"]["message"], message);
    assert_eq!(server.get("/v1/batches?purpose=batch").await.status, 400);
}

#[tokio::test]
async fn a_line_that_finds_no_room_is_tried_again() {
    let (server, _folder) = Running::keeping().await;
    server.model.will(Reply::refusing(ChatError::Overloaded("too much".to_owned())));
    let file = upload(&server, &question("a")).await;
    let id = create(&server, &file, CHAT).await;
    let batch = ended(&server, &id).await;
    assert_eq!(batch["request_counts"], json!({"total": 1, "completed": 1, "failed": 0}), "{batch}");
    assert_eq!(server.model.asked().len(), 2);
}

#[tokio::test]
async fn a_batch_is_cancelled_and_what_was_done_is_written() {
    let (server, _folder) = Running::keeping().await;
    // Eight are under way at once: the first is answered, the others never end.
    server.model.will(Reply::text(&["done"]));
    (0..20).for_each(|_| server.model.will(Reply::hanging(&["half"])));
    let ids: Vec<String> = (0..12).map(|number| format!("{number:02}")).collect();
    let file = upload(&server, &ids.iter().map(|id| question(id)).collect::<String>()).await;
    let id = create(&server, &file, CHAT).await;
    when(&server, &id, |batch| batch["request_counts"]["completed"] == 1).await;
    let in_use = server.send(Method::DELETE, &format!("/v1/files/{file}"), &[], "").await;
    assert_eq!(in_use.status, 400);
    let message = format!(
        "the file {file} is read by {id}, which is in_progress\n\
         hint: wait for it, or cancel it: POST /v1/batches/{id}/cancel"
    );
    assert_eq!(in_use.json()["error"]["message"], message);
    let path = format!("/v1/batches/{id}/cancel");
    let cancelling = server.post(&path, json!({})).await;
    assert_eq!((cancelling.status, &cancelling.json()["status"]), (200, &json!("cancelling")));
    let batch = ended(&server, &id).await;
    assert_eq!(batch["status"], "cancelled");
    assert_eq!(batch["request_counts"], json!({"total": 12, "completed": 1, "failed": 0}));
    let (answered, failed) =
        (lines(&server, &batch["output_file_id"]).await, lines(&server, &batch["error_file_id"]).await);
    assert_eq!(answered.len() + failed.len(), 12, "each line is told of");
    assert_eq!(answered.len(), 1);
    assert!(failed.values().all(|line| line["error"]["code"] == "batch_cancelled"), "{failed:?}");
    assert_eq!(server.model.open_streams(), 0, "what was under way was given up");
    assert_eq!(server.post(&path, json!({})).await.status, 200, "asking again changes nothing");
}

#[tokio::test]
async fn what_is_done_cannot_be_cancelled() {
    let (server, _folder) = Running::keeping().await;
    let file = upload(&server, &question("a")).await;
    let id = create(&server, &file, CHAT).await;
    ended(&server, &id).await;
    let refused = server.post(&format!("/v1/batches/{id}/cancel"), json!({})).await;
    assert_eq!(refused.status, 400);
    let message = format!("the batch {id} is completed, nothing is left to cancel");
    assert_eq!(refused.json()["error"]["message"], message);
    let deleted = server.send(Method::DELETE, &format!("/v1/files/{file}"), &[], "").await;
    assert_eq!(deleted.status, 200, "nobody reads it any more");
}

/// The server is dropped in the midst of a batch, as if it were killed, and another one begins on its folder.
#[tokio::test]
async fn a_batch_goes_on_where_it_was_when_its_server_was_killed() {
    let (server, folder) = Running::keeping().await;
    (0..3).for_each(|_| server.model.will(Reply::text(&["early"])));
    (0..30).for_each(|_| server.model.will(Reply::hanging(&["half"])));
    let ids: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    let file = upload(&server, &ids.iter().map(|id| question(id)).collect::<String>()).await;
    let id = create(&server, &file, CHAT).await;
    when(&server, &id, |batch| batch["request_counts"]["completed"] == 3).await;
    // Outcomes are on the disk within half a second.
    tokio::time::sleep(Duration::from_millis(700)).await;
    drop(server);
    let server = Running::over(&folder).await;
    let batch = ended(&server, &id).await;
    assert_eq!(batch["status"], "completed", "{batch}");
    assert_eq!(batch["request_counts"], json!({"total": 20, "completed": 20, "failed": 0}));
    let answered = lines(&server, &batch["output_file_id"]).await;
    assert_eq!(answered.keys().cloned().collect::<Vec<_>>(), ids, "no line twice, none lost");
    let text = |line: &Value| line["response"]["body"]["choices"][0]["message"]["content"].clone();
    assert_eq!(answered.values().filter(|line| text(line) == "early").count(), 3);
    assert_eq!(answered.values().filter(|line| text(line) == "Hello world").count(), 17);
    let asked = server.model.asked();
    assert_eq!(asked.iter().filter(|one| matches!(one, Asked::Chat(_))).count(), 17, "what was done is not done again");
}

/// The server is told to end: what is under way is given up, and the next one does it.
#[tokio::test]
async fn a_server_that_ends_leaves_its_batches_to_the_next() {
    let (server, folder) = Running::keeping().await;
    (0..9).for_each(|_| server.model.will(Reply::hanging(&["half"])));
    let file = upload(&server, &(question("a") + &question("b"))).await;
    let id = create(&server, &file, CHAT).await;
    when(&server, &id, |batch| batch["status"] == "in_progress").await;
    let begun = std::time::Instant::now();
    assert!(server.end().await, "all has ended in time");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let server = Running::over(&folder).await;
    let batch = ended(&server, &id).await;
    assert_eq!(batch["request_counts"], json!({"total": 2, "completed": 2, "failed": 0}));
}

#[tokio::test]
async fn a_batch_that_is_out_of_time_tells_which_lines_were_not_done() {
    let (server, folder) = Running::keeping().await;
    server.model.will(Reply::text(&["done"]));
    (0..9).for_each(|_| server.model.will(Reply::hanging(&["half"])));
    let file = upload(&server, &(question("a") + &question("b"))).await;
    let id = create(&server, &file, CHAT).await;
    when(&server, &id, |batch| batch["request_counts"]["completed"] == 1).await;
    let path = folder.path().join("files/batches").join(&id).join("batch.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["expires"] = json!(1);
    std::fs::write(&path, record.to_string()).unwrap();
    let batch = ended(&server, &id).await;
    assert_eq!(batch["status"], "expired", "{batch}");
    assert!(batch["expired_at"].as_u64().is_some());
    let (answered, failed) =
        (lines(&server, &batch["output_file_id"]).await, lines(&server, &batch["error_file_id"]).await);
    assert_eq!((answered.len(), failed.len()), (1, 1));
    assert!(failed.values().all(|line| line["error"]["code"] == "batch_expired"), "{failed:?}");
}

/// The record of a batch, changed in its file.
fn rewrite(folder: &tempfile::TempDir, id: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.path().join("files/batches").join(id).join("batch.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    std::fs::write(&path, record.to_string()).unwrap();
}

#[tokio::test]
async fn of_two_servers_on_a_folder_one_does_a_batch_and_the_other_leaves_it_ended() {
    let (server, folder) = Running::keeping().await;
    let other = Running::over(&folder).await;
    server.model.will(Reply::text(&["done"]).after(Duration::from_millis(700)));
    other.model.will(Reply::text(&["done"]).after(Duration::from_millis(700)));
    let file = upload(&server, &question("a")).await;
    let id = create(&server, &file, CHAT).await;
    let batch = ended(&server, &id).await;
    assert_eq!((&batch["status"], &batch["request_counts"]["completed"]), (&json!("completed"), &json!(1)), "{batch}");
    // Some rounds of both, which look at the folder again and again.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(server.model.asked().len() + other.model.asked().len(), 1, "the line was done once");
    assert_eq!(ended(&other, &id).await, batch, "nothing was made anew");
}

#[tokio::test]
async fn a_batch_that_another_server_left_is_taken_up() {
    let (server, folder) = Running::keeping().await;
    (0..9).for_each(|_| server.model.will(Reply::hanging(&["half"])));
    let file = upload(&server, &question("a")).await;
    let id = create(&server, &file, CHAT).await;
    when(&server, &id, |batch| batch["status"] == "in_progress").await;
    let other = Running::over(&folder).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(other.model.asked().is_empty(), "it is another's");
    drop(server);
    let batch = ended(&other, &id).await;
    assert_eq!(batch["request_counts"], json!({"total": 1, "completed": 1, "failed": 0}), "{batch}");
}

#[tokio::test]
async fn a_batch_goes_on_once_what_was_broken_is_mended() {
    let (server, folder) = Running::keeping().await;
    // A file where the ledger's folder should be.
    let file = upload(&server, &question("a")).await;
    let broken = |id: &str| folder.path().join("files/batches").join(id).join("job");
    let first = create(&server, &upload(&server, &question("b")).await, CHAT).await;
    ended(&server, &first).await;
    until("its ledger is removed", || !broken(&first).exists()).await;
    std::fs::write(broken(&first), "").unwrap();
    rewrite(&folder, &first, |record| {
        record["status"] = json!("validating");
        record["input_file"] = json!(file);
    });
    let batch = when(&server, &first, |batch| batch["errors"] != Value::Null).await;
    assert_eq!(batch["status"], "validating", "{batch}");
    let told = &batch["errors"]["data"][0];
    let message = "the server could not read or write what it keeps of the batch\n\
                   hint: it is tried again; the server's log says why";
    assert_eq!((&told["code"], &told["message"]), (&json!("storage_failed"), &json!(message)), "no path is told");
    std::fs::remove_file(broken(&first)).unwrap();
    let batch = ended(&server, &first).await;
    assert_eq!((&batch["status"], &batch["errors"]), (&json!("completed"), &Value::Null), "{batch}");
}

#[tokio::test]
async fn a_batch_whose_file_is_gone_or_another_fails() {
    let (server, folder) = Running::keeping().await;
    for text in [None, Some("{}\n")] {
        (0..2).for_each(|_| server.model.will(Reply::hanging(&["half"])));
        let file = upload(&server, &question("a")).await;
        let id = create(&server, &file, CHAT).await;
        until("a line is under way", || server.model.open_streams() > 0).await;
        let path = folder.path().join("files").join(&file);
        match text {
            None => std::fs::remove_file(path).unwrap(),
            Some(text) => std::fs::write(path, text).unwrap(),
        }
        assert_eq!(server.post(&format!("/v1/batches/{id}/cancel"), json!({})).await.status, 200);
        let batch = ended(&server, &id).await;
        assert_eq!(batch["status"], "failed", "{batch}");
        let told = &batch["errors"]["data"][0];
        let message = "the file of the batch cannot be read any more, or is not what it was when it was validated\n\
                       hint: upload it again and make a new batch of it; the server's log says more";
        assert_eq!((&told["code"], &told["message"]), (&json!("file_unreadable"), &json!(message)));
        server.model.asked();
    }
}

#[tokio::test]
async fn a_batch_that_waits_for_its_turn_is_cancelled_at_once() {
    let (server, _folder) = Running::keeping().await;
    (0..9).for_each(|_| server.model.will(Reply::hanging(&["half"])));
    let file = upload(&server, &question("a")).await;
    for _ in 0..4 {
        let id = create(&server, &file, CHAT).await;
        when(&server, &id, |batch| batch["status"] == "in_progress").await;
    }
    let waiting = create(&server, &file, CHAT).await;
    assert_eq!(server.post(&format!("/v1/batches/{waiting}/cancel"), json!({})).await.status, 200);
    let batch = ended(&server, &waiting).await;
    assert_eq!(batch["status"], "cancelled", "{batch}");
    assert_eq!(lines(&server, &batch["error_file_id"]).await["a"]["error"]["code"], "batch_cancelled");
}

#[tokio::test]
async fn a_line_that_had_no_time_is_tried_again() {
    let (server, _folder) = Running::keeping_with(|options| options.request_timeout = Duration::from_millis(300)).await;
    server.model.will(Reply::hanging(&["half"]));
    let file = upload(&server, &question("a")).await;
    let id = create(&server, &file, CHAT).await;
    let batch = ended(&server, &id).await;
    assert_eq!(batch["request_counts"], json!({"total": 1, "completed": 1, "failed": 0}), "{batch}");
}

#[tokio::test]
async fn a_damaged_record_keeps_nobody_from_the_others() {
    let (server, folder) = Running::keeping().await;
    let file = upload(&server, &question("a")).await;
    let id = create(&server, &file, CHAT).await;
    ended(&server, &id).await;
    let files = folder.path().join("files");
    std::fs::write(files.join(format!("{file}.json")), "{").unwrap();
    std::fs::write(files.join("batches").join(&id).join("batch.json"), "{").unwrap();
    let second = create(&server, &upload(&server, &question("b")).await, CHAT).await;
    assert_eq!(ended(&server, &second).await["status"], "completed");
    let ids =
        |list: Value| -> Vec<Value> { list["data"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect() };
    assert_eq!(ids(server.get("/v1/batches").await.json()), [json!(second)]);
    assert!(!ids(server.get("/v1/files").await.json()).contains(&json!(file)));
}

/// A smaller bound on bodies, and a time that is over: neither takes anything from what was validated and done.
#[tokio::test]
async fn what_was_validated_is_written_whatever_bound_and_time_the_next_server_has() {
    let (server, folder) = Running::keeping().await;
    (0..9).for_each(|_| server.model.will(Reply::hanging(&["half"])));
    let file = upload(&server, &(question("a") + &question("b"))).await;
    let id = create(&server, &file, CHAT).await;
    until("lines are under way", || server.model.open_streams() == 2).await;
    drop(server);
    rewrite(&folder, &id, |record| {
        record["status"] = json!("finalizing");
        record["expires"] = json!(1);
    });
    let files = crate::FilesOptions::in_folder(folder.path().join("files"));
    let next = Running::with(|options| {
        options.files = Some(files);
        // Less than a line has, more than its body.
        options.max_body_bytes = 100;
    })
    .await;
    let batch = ended(&next, &id).await;
    assert_eq!(batch["status"], "completed", "{batch}");
    assert_eq!(batch["request_counts"], json!({"total": 2, "completed": 2, "failed": 0}));
}
