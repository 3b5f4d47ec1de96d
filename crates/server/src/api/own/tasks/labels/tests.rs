//! Rows to answer through HTTP: what is asked, what is written, and who may.

use crate::served::ServedTask;
use crate::testing::{Answer, Running};
use axum::http::Method;
use serde_json::{Value, json};
use std::path::Path;
use tasks::Task;

const TRIAGE: &str = "/v1/tasks/triage/labels";
const TABLE: &str = "id,text,label\r\n1,\"x, y\",\r\n2,z,bug\r\n3,w,\r\n";

/// A task whose settings are given, over a table that stands beside it.
fn task(folder: &Path, name: &str, kind: &str, settings: &str) -> ServedTask {
    let text = format!(
        "kind = \"{kind}\"\nmodel = \"small\"\ninstructions = \"Be quick.\"\n\
         [data]\ntest = \"{name}\"\nexpected = \"label\"\n[{kind}]\n{settings}\n"
    );
    let stem = name.split('.').next().unwrap();
    ServedTask::new(Task::parse(&text, &folder.join(format!("{stem}.toml"))).unwrap(), Vec::new()).unwrap()
}

const LABELS: &str = "[[classify.label]]\nname = \"bug\"\ndescription = \"It does not work.\"\n\
                      [[classify.label]]\nname = \"question\"";

async fn serve() -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("triage.csv"), TABLE).unwrap();
    let tasks = vec![
        task(folder.path(), "triage.csv", "classify", LABELS),
        task(folder.path(), "bill.jsonl", "extract", "fields = [\"total\"]"),
        task(folder.path(), "book.xlsx", "summarize", ""),
    ];
    (Running::with(|options| options.tasks = tasks).await, folder)
}

fn found(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn refused(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text);
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

fn text(folder: &tempfile::TempDir) -> String {
    std::fs::read_to_string(folder.path().join("triage.csv")).unwrap()
}

#[tokio::test]
async fn rows_without_an_answer_come_with_what_one_may_be() {
    let (server, folder) = serve().await;
    let sheet = found(&server.get(&format!("{TRIAGE}?limit=1")).await);
    assert_eq!((&sheet["rows"], &sheet["unlabelled"], &sheet["has_more"]), (&json!(3), &json!(2), &json!(true)));
    assert_eq!(sheet["labels"][0], json!({"name": "bug", "description": "It does not work."}));
    assert_eq!(
        (&sheet["instructions"], &sheet["several"], &sheet["none"]),
        (&json!("Be quick."), &json!(false), &Value::Null)
    );
    assert_eq!((&sheet["data"][0]["row"], &sheet["data"][0]["input"]), (&json!(1), &json!({"text": "x, y"})));
    let rest = found(&server.get(&format!("{TRIAGE}?after=1")).await);
    assert_eq!((&rest["data"][0]["row"], &rest["has_more"]), (&json!(3), &json!(false)));
    std::fs::write(folder.path().join("bill.jsonl"), "{\"text\": \"5 euros\"}\n").unwrap();
    let sheet = found(&server.get("/v1/tasks/bill/labels").await);
    assert_eq!((&sheet["labels"], &sheet["may_be_empty"]), (&Value::Null, &json!(false)));
    assert!(sheet["schema"]["properties"]["total"].is_object(), "{sheet}");
    let error = refused(&server.get("/v1/tasks/book/labels").await, 400);
    assert!(
        error.contains("book.xlsx: expected a table whose cells can be written one by one: csv, tsv, jsonl\nhint: ")
    );
    let error = refused(&server.get(&format!("{TRIAGE}?limit=501")).await, 400);
    assert_eq!(error, "limit: expected at most 500, got 501");
}

#[tokio::test]
async fn an_answer_is_written_into_the_table_and_may_be_put_right() {
    let (server, folder) = serve().await;
    let row = found(&server.get(TRIAGE).await)["data"][1].clone();
    let body = |version: &Value, answer: &str| json!({"row": 3, "version": version, "answer": answer});
    let written = found(&server.post(TRIAGE, body(&row["version"], "question")).await);
    assert_eq!((&written["row"], &written["unlabelled"]), (&json!(3), &json!(1)));
    assert_eq!(text(&folder), TABLE.replace("3,w,", "3,w,question"));
    found(&server.post(TRIAGE, body(&written["version"], "bug")).await);
    assert_eq!(text(&folder), TABLE.replace("3,w,", "3,w,bug"));
    std::fs::write(folder.path().join("bill.jsonl"), "{\"text\": \"5 euros\"}\n").unwrap();
    let row = found(&server.get("/v1/tasks/bill/labels").await)["data"][0].clone();
    let body = |answer: Value| json!({"row": 1, "version": row["version"], "answer": answer});
    let error = refused(&server.post("/v1/tasks/bill/labels", body(json!({"total": 5}))).await, 400);
    assert!(error.starts_with("answer: it is not of the schema: at \"/total\": 5 is not of "), "{error}");
    found(&server.post("/v1/tasks/bill/labels", body(json!({"total": "5"}))).await);
    let bill = std::fs::read_to_string(folder.path().join("bill.jsonl")).unwrap();
    assert_eq!(bill, "{\"text\": \"5 euros\", \"label\": {\"total\":\"5\"}}\n");
}

#[tokio::test]
async fn nothing_is_written_where_the_row_is_another_one_or_the_answer_none() {
    let (server, folder) = serve().await;
    let row = found(&server.get(TRIAGE).await)["data"][0].clone();
    let error =
        refused(&server.post(TRIAGE, json!({"row": 1, "version": row["version"], "answer": "fault"})).await, 400);
    assert_eq!(error, "answer: \"fault\" is not one of the labels: bug, question");
    let changed = "id,text,label\n0,new,\n1,\"x, y\",\n";
    std::fs::write(folder.path().join("triage.csv"), changed).unwrap();
    let error = refused(&server.post(TRIAGE, json!({"row": 1, "version": row["version"], "answer": "bug"})).await, 409);
    assert!(
        error.ends_with("row 1 is another one by now\nhint: nothing was written; look at its rows again"),
        "{error}"
    );
    assert_eq!(text(&folder), changed);
}

#[tokio::test]
async fn pages_of_other_sites_write_nothing() {
    let (server, folder) = serve().await;
    let row = found(&server.get(TRIAGE).await)["data"][0].clone();
    let body = json!({"row": 1, "version": row["version"], "answer": "bug"}).to_string();
    let foreign = [("origin", "https://elsewhere.example")];
    let error = refused(&server.send(Method::POST, TRIAGE, &foreign, body.clone()).await, 403);
    assert!(error.starts_with("pages of https://elsewhere.example may not ask this server\nhint: "), "{error}");
    assert_eq!(text(&folder), TABLE);
    let own = [("origin", "http://localhost")];
    assert_eq!(server.send(Method::POST, TRIAGE, &own, body).await.status, 200);
}

#[tokio::test]
async fn of_answers_that_come_at_once_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..12).map(|number| format!("text {number},\n")).collect();
    std::fs::write(folder.path().join("triage.csv"), format!("text,label\n{rows}")).unwrap();
    let served = task(folder.path(), "triage.csv", "classify", LABELS);
    let server = Running::with(|options| options.tasks = vec![served]).await;
    let sheet = found(&server.get(TRIAGE).await);
    let write = |row: &Value| {
        let body = json!({"row": row["row"], "version": row["version"], "answer": "bug"});
        server.post(TRIAGE, body)
    };
    let answers = futures::future::join_all(sheet["data"].as_array().unwrap().iter().map(write)).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(text(&folder).matches(",bug\n").count(), 12);
}
