//! Files through HTTP.

use crate::keys::{KeyLimits, KeysFile, Scope, add};
use crate::options::Access;
use crate::testing::{Answer, Running, form};
use axum::http::Method;
use serde_json::{Value, json};

async fn upload(server: &Running, parts: &[(&str, Option<&str>, &str)]) -> Answer {
    let (content_type, body) = form(parts);
    server.send(Method::POST, "/v1/files", &[("content-type", &content_type)], body).await
}

async fn file(server: &Running, name: &str, text: &str) -> Value {
    let answer = upload(server, &[("purpose", None, "batch"), ("file", Some(name), text)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn a_file_comes_in_is_read_and_is_removed() {
    let (server, folder) = Running::keeping().await;
    let long = "0123456789\n".repeat(60_000);
    let kept = file(&server, "../../requests.jsonl", &long).await;
    assert_eq!(kept["object"], "file");
    assert_eq!(kept["bytes"], long.len());
    assert_eq!((&kept["filename"], &kept["purpose"]), (&json!("../../requests.jsonl"), &json!("batch")));
    assert_eq!((&kept["status"], &kept["expires_at"]), (&json!("processed"), &Value::Null));
    let path = format!("/v1/files/{}", kept["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await.json(), kept);
    let content = server.get(&format!("{path}/content")).await;
    assert_eq!((content.status, content.text.len()), (200, long.len()));
    assert_eq!(content.text, long);
    let removed = server.send(Method::DELETE, &path, &[], "").await.json();
    assert_eq!(removed, json!({"id": kept["id"], "object": "file", "deleted": true}));
    let missing = server.get(&format!("{path}/content")).await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["error"]["param"], "file_id");
    assert_eq!(std::fs::read_dir(folder.path().join("files")).unwrap().count(), 0, "its text is gone");
}

#[tokio::test]
async fn files_are_listed_in_pages() {
    let (server, _folder) = Running::keeping().await;
    let (first, second) = (file(&server, "a", "").await, file(&server, "b", "x").await);
    let all = server.get("/v1/files?order=asc&limit=10&purpose=batch").await.json();
    let mut ids: Vec<_> = all["data"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    ids.sort_by_key(|id| *id == second["id"]);
    assert_eq!(ids, [first["id"].clone(), second["id"].clone()]);
    let page = server.get("/v1/files?limit=1").await.json();
    assert_eq!((&page["object"], &page["has_more"]), (&json!("list"), &json!(true)));
    assert_eq!(server.get("/v1/files?purpose=batch_output").await.json()["data"], json!([]));
    let refused = server.get("/v1/files?purpos=batch").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("did you mean `purpose`?"), "{}", refused.text);
}

#[tokio::test]
async fn what_is_no_upload_is_refused_by_its_part() {
    let (server, folder) = Running::keeping().await;
    let (purpose, text) = (("purpose", None, "batch"), ("file", Some("a.jsonl"), "x"));
    for (parts, status, param, message) in [
        (vec![text], 400, "purpose", "purpose: missing part `purpose` of the form, expected `batch`"),
        (vec![purpose], 400, "file", "file: missing part `file` of the form, expected the file itself"),
        (
            vec![("purpose", None, "fine-tune"), text],
            400,
            "purpose",
            "purpose: expected `batch`, the one purpose that files have here, got \"fine-tune\"",
        ),
        (
            vec![("purpos", None, "batch"), text],
            400,
            "purpos",
            "purpos: unknown part `purpos`, expected `file`, `purpose`\nhint: did you mean `purpose`?",
        ),
        (vec![purpose, text, text], 400, "file", "file: the part `file` came twice, expected it once"),
        (
            vec![("expires_after[seconds]", None, "60"), purpose, text],
            400,
            "expires_after[seconds]",
            "expires_after[seconds]: files do not expire here\nhint: leave it out, and delete the file: \
             DELETE /v1/files/{file_id}",
        ),
        (
            vec![("file", None, "x"), purpose],
            400,
            "file",
            "file: expected a file with a name of 1 to 255 printable bytes",
        ),
    ] {
        let answer = upload(&server, &parts).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.json()["error"]["message"], message);
        assert_eq!(answer.json()["error"]["param"], param);
    }
    let answer = server.post("/v1/files", json!({})).await;
    assert_eq!(answer.status, 400);
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("content-type: expected multipart/form-data with its boundary, got \"\""), "{message}");
    let left = std::fs::read_dir(folder.path().join("files")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing is left of what was refused");
}

#[tokio::test]
async fn a_file_has_its_own_bound() {
    let (server, _folder) = Running::keeping_with(|options| {
        options.max_body_bytes = 10;
        options.files.as_mut().unwrap().max_file_bytes = 1000;
    })
    .await;
    file(&server, "a", &"x".repeat(1000)).await;
    let answer = upload(&server, &[("purpose", None, "batch"), ("file", Some("a"), &"x".repeat(1001))]).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_eq!(answer.json()["error"]["message"], "the file has more than 1000 bytes (--max-file-bytes)");
}

#[tokio::test]
async fn a_server_without_a_folder_keeps_no_files() {
    let server = Running::start().await;
    let message =
        "this server keeps no files, and so has no batches\nhint: whoever runs it says where they may be kept";
    for path in ["/v1/files", "/v1/batches", "/v1/files/file-x/content"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json()["error"]["message"], message);
    }
}

#[tokio::test]
async fn a_key_reaches_its_own_files_alone() {
    let keys = tempfile::tempdir().unwrap();
    let file = KeysFile(keys.path().join("keys.toml"));
    let secret = |name: &str, scope| {
        let key = add(&file, name, vec![scope], KeyLimits::default()).unwrap();
        format!("Bearer {}", key.secret)
    };
    let (one, other, admin) =
        (secret("one", Scope::Infer), secret("other", Scope::Infer), secret("admin", Scope::Admin));
    let (server, _folder) = Running::keeping_with(|options| options.access = Access::Keys(file.clone())).await;
    let (content_type, body) = form(&[("purpose", None, "batch"), ("file", Some("a"), "secret")]);
    let headers = [("authorization", one.as_str()), ("content-type", content_type.as_str())];
    let kept = server.send(Method::POST, "/v1/files", &headers, body).await.json();
    let path = format!("/v1/files/{}/content", kept["id"].as_str().unwrap());
    for (key, status, count) in [(&one, 200, 1), (&other, 404, 0), (&admin, 200, 1)] {
        let headers = [("authorization", key.as_str())];
        assert_eq!(server.send(Method::GET, &path, &headers, "").await.status, status);
        let list = server.send(Method::GET, "/v1/files", &headers, "").await.json();
        assert_eq!(list["data"].as_array().unwrap().len(), count);
    }
}

/// Seeded mutation: whatever comes, it is taken or refused, and nothing is left of what was refused.
#[tokio::test]
async fn no_form_is_too_strange() {
    let (server, folder) = Running::keeping().await;
    let (content_type, whole) = form(&[("purpose", None, "batch"), ("file", Some("a.jsonl"), "{}\n")]);
    let mut state = 11_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut taken = 0;
    for _ in 0..300 {
        let mut body = whole.clone().into_bytes();
        for _ in 0..=random(3) {
            if body.is_empty() {
                break;
            }
            let at = random(body.len());
            match random(3) {
                0 => body[at] = random(256) as u8,
                1 => drop(body.remove(at)),
                _ => body.truncate(at.max(1)),
            }
        }
        let answer = server.send(Method::POST, "/v1/files", &[("content-type", &content_type)], body).await;
        assert!(answer.status == 200 || answer.status == 400, "{}", answer.text);
        taken += usize::from(answer.status == 200);
    }
    let kept = std::fs::read_dir(folder.path().join("files")).unwrap().count();
    assert_eq!(kept, 2 * taken, "a file and its record each");
    assert!((1..300).contains(&taken), "{taken}");
}
