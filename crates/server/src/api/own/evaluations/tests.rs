//! Evaluations through HTTP, of a ledger that a real evaluation has written.

use crate::keys::{KeyLimits, KeysFile, add};
use crate::options::Access;
use crate::testing::{Answer, Running};
use axum::http::Method;
use eval::baselines::{BASELINES, Lesson};
use eval::report::Place;
use eval::{Contender, Entrant, Evaluation, Leaks, Options, Plan, Price, TestSet, Watch};
use ledger::Ledger;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tasks::Task;

const TASK: &str = "kind = \"classify\"\n[data]\ntrain = \"train.csv\"\ntest = \"test.csv\"\nexpected = \"label\"\n\
                    [goal]\nthreshold = 0.8\n[classify]\nlabels = [\"bug\", \"question\"]\n";

/// A folder with a task, its tables and a ledger.
struct Desk {
    folder: tempfile::TempDir,
    task: Task,
}

/// Stops an evaluation after so many rows of a candidate.
struct After(usize, AtomicBool);

impl Watch for After {
    fn judged(&self, done: usize, _: usize, _: bool, _: Option<f64>) {
        if done == self.0 {
            self.1.store(true, Ordering::SeqCst);
        }
    }
}

fn table(words: &str, count: usize) -> String {
    let row = |number: usize| match number % 2 {
        0 => format!("{words} {number} is broken,bug\n"),
        _ => format!("{words} {number} how,question\n"),
    };
    format!("text,label\n{}", (0..count).map(row).collect::<String>())
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.csv"), table("learned", 20)).unwrap();
        std::fs::write(folder.path().join("test.csv"), table("asked", 30)).unwrap();
        let task = Task::parse(TASK, &folder.path().join("triage.toml")).unwrap();
        Desk { folder, task }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.sqlite")
    }

    async fn serve(&self) -> Running {
        Running::with(|options| options.ledger = Some(self.path())).await
    }

    fn begin<'l>(&self, ledger: &'l Ledger, name: &str, baselines: &[&str]) -> Evaluation<'l> {
        let entrant = |name: &&str| Entrant {
            name: (*name).to_owned(),
            answerer: (*name).to_owned(),
            place: Place::Baseline,
            fingerprint: (*name).to_owned(),
            task: self.task.clone(),
        };
        let test = TestSet::read(&self.task, None, Leaks::Refused).unwrap();
        let options = Options { name: Some(name.to_owned()), ..Options::default() };
        let entrants = baselines.iter().map(entrant).collect();
        Plan::new(ledger, self.task.clone(), test, entrants, options).unwrap().begin().unwrap()
    }

    async fn judge(&self, evaluation: &mut Evaluation<'_>, name: &str, stop: &After) -> Result<(), eval::EvalError> {
        let row = BASELINES.iter().find(|row| row.name == name).unwrap();
        let examples = self.task.examples_of(&self.folder.path().join("train.csv")).unwrap();
        let lesson = Lesson { task: &self.task, examples: &examples, embedder: None, threads: 1 };
        let contender = Contender {
            tries: vec![Arc::from(row.learn(&lesson).await.unwrap())],
            preview: Box::new(|input| Some(format!("Which is {}?", input.fields["text"]))),
            price: Price::Unknown,
            parameters: None,
        };
        evaluation.judge(&contender, stop, &stop.1).await.map(drop)
    }

    async fn evaluate(&self, name: &str, baselines: &[&str]) {
        let ledger = Ledger::open(&self.path()).unwrap();
        let mut evaluation = self.begin(&ledger, name, baselines);
        for baseline in baselines {
            self.judge(&mut evaluation, baseline, &never()).await.unwrap();
        }
        evaluation.finish().unwrap();
    }
}

fn never() -> After {
    After(usize::MAX, AtomicBool::new(false))
}

fn found(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn refused(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text);
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn evaluations_are_listed_and_shown_with_their_report() {
    let desk = Desk::new();
    let server = desk.serve().await;
    assert_eq!(found(&server.get("/v1/evaluations").await), json!({"object": "list", "data": []}));
    assert!(!desk.path().exists(), "who looks makes no ledger");
    let error = refused(&server.get("/v1/evaluations/first").await, 404);
    assert_eq!(error, "there is no run \"first\"\nhint: `bantam eval TASK.toml` makes the first one");
    desk.evaluate("first", &["linear", "majority"]).await;
    desk.evaluate("second one", &["linear"]).await;
    let list = found(&server.get("/v1/evaluations").await);
    let [second, first] = list["data"].as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!((&first["id"], &second["id"], &second["looks"]), (&json!("first"), &json!("second one"), &json!(2)));
    assert_eq!(
        (&first["state"], &first["verdict"], &first["rows"]),
        (&json!("ended"), &json!("good_enough"), &json!(30))
    );
    assert_eq!(first["candidates"], json!(["linear", "majority"]));
    let one = found(&server.get("/v1/evaluations/second%20one").await);
    assert_eq!((&one["report"]["run"], &one["progress"]), (&json!("second one"), &json!([])));
    let page = server.get("/v1/evaluations/first/report.html").await;
    assert!(page.text.starts_with("<!doctype html>") && page.text.contains("majority"), "{}", page.text);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    let error = refused(&server.get("/v1/evaluations/firs").await, 404);
    assert_eq!(error, "there is no run \"firs\"\nhint: did you mean \"first\"? `bantam eval list` shows them");
}

#[tokio::test]
async fn how_far_a_run_is_can_be_watched_until_it_has_its_report() {
    let desk = Desk::new();
    let server = desk.serve().await;
    let ledger = Ledger::open(&desk.path()).unwrap();
    let mut evaluation = desk.begin(&ledger, "live", &["linear", "majority"]);
    desk.judge(&mut evaluation, "linear", &never()).await.unwrap();
    let now = found(&server.get("/v1/evaluations/live").await);
    assert_eq!((&now["state"], &now["report"], &now["threshold"]), (&json!("running"), &Value::Null, &json!(0.8)));
    let [linear, majority] = now["progress"].as_array().unwrap().as_slice() else { panic!("{now}") };
    assert_eq!((&linear["turn"], &linear["done"], &linear["all"]), (&json!("done"), &json!(30), &json!(30)));
    let figure = &linear["figure"];
    assert!(figure["value"] == 1.0 && figure["low"].as_f64().unwrap() > 0.85, "{figure}");
    assert_eq!((&majority["turn"], &majority["figure"]), (&json!("waiting"), &Value::Null));
    let error = refused(&server.get("/v1/evaluations/live/report.html").await, 404);
    assert_eq!(error, "run live has not ended\nhint: the command that began it goes on with it");
    // Stopped in the midst of the second.
    let stopped = desk.judge(&mut evaluation, "majority", &After(7, AtomicBool::new(false))).await;
    assert!(stopped.is_err());
    drop(evaluation);
    let now = found(&server.get("/v1/evaluations/live").await);
    assert_eq!((&now["state"], &now["progress"][1]["done"]), (&json!("stopped"), &json!(7)));
    let mut evaluation = desk.begin(&ledger, "live", &["linear", "majority"]);
    for name in ["linear", "majority"] {
        desk.judge(&mut evaluation, name, &never()).await.unwrap();
    }
    evaluation.finish().unwrap();
    let now = found(&server.get("/v1/evaluations/live").await);
    assert_eq!((&now["state"], &now["report"]["candidates"][1]["answered"]), (&json!("ended"), &json!(30)));
}

#[tokio::test]
async fn rows_come_with_what_was_asked_page_by_page() {
    let desk = Desk::new();
    desk.evaluate("first", &["linear", "majority"]).await;
    let server = desk.serve().await;
    let page = found(&server.get("/v1/evaluations/first/rows?limit=3").await);
    assert_eq!((&page["total"], page["data"].as_array().unwrap().len()), (&json!(60), 3));
    let row = &page["data"][0];
    assert_eq!((&row["row"], &row["candidate"], &row["expected"]), (&json!(1), &json!("linear"), &json!("bug")));
    assert_eq!(row["input"], json!({"text": "asked 0 is broken"}));
    assert_eq!(row["prompt"], "Which is \"asked 0 is broken\"?");
    assert!(row["outcome"]["label"] == "bug" && row["score"] == 1.0, "{row}");
    let wrong = found(&server.get("/v1/evaluations/first/rows?only=wrong&candidate=1&offset=10").await);
    assert_eq!((&wrong["total"], &wrong["offset"]), (&json!(15), &json!(10)));
    assert!(wrong["data"].as_array().unwrap().iter().all(|row| row["score"] == 0.0 && row["candidate"] == "majority"));
    assert_eq!(found(&server.get("/v1/evaluations/first/rows?only=failed").await)["total"], 0);
    for (query, expected) in [
        ("limit=0", "limit: expected 1 to 500, got 0"),
        ("only=worst", "parameters of the address: only: unknown variant `worst`, expected `wrong` or `failed`"),
        (
            "page=2",
            "parameters of the address: page: unknown field `page`, expected one of `candidate`, `only`, `offset`, `limit`",
        ),
    ] {
        let error = refused(&server.get(&format!("/v1/evaluations/first/rows?{query}")).await, 400);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn two_evaluations_are_compared_row_by_row() {
    let desk = Desk::new();
    desk.evaluate("before", &["majority"]).await;
    desk.evaluate("after", &["linear"]).await;
    let server = desk.serve().await;
    let changes = found(&server.get("/v1/evaluations/before/changes/after").await);
    let change = &changes["data"][0];
    assert_eq!(
        (&change["before"], &change["after"], &change["rows"]),
        (&json!("majority"), &json!("linear"), &json!(30))
    );
    assert_eq!((&change["better"], &change["worse"]), (&json!(15), &json!(0)));
    let row = &change["better_rows"][0];
    assert_eq!((&row["row"], &row["input"]), (&json!(2), &json!({"text": "asked 1 how"})));
    assert_eq!((&row["outcome_before"]["label"], &row["outcome_after"]["label"]), (&json!("bug"), &json!("question")));
    let error = refused(&server.get("/v1/evaluations/before/changes/later").await, 404);
    assert!(error.starts_with("there is no run \"later\"\nhint: "), "{error}");
}

#[tokio::test]
async fn private_texts_are_for_this_machine_or_for_keys_of_admins() {
    let desk = Desk::new();
    desk.evaluate("first", &["majority"]).await;
    let paths = ["/v1/evaluations", "/v1/evaluations/first", "/v1/evaluations/first/rows"];
    let keys = KeysFile(desk.folder.path().join("keys.toml"));
    let secret = |scope| add(&keys, "team", vec![scope], KeyLimits::default()).unwrap().secret;
    let (infer, admin) = (secret(crate::keys::Scope::Infer), secret(crate::keys::Scope::Admin));
    let server = Running::with(|options| {
        options.ledger = Some(desk.path());
        options.access = Access::Keys(keys.clone());
    })
    .await;
    for path in paths {
        let with = |secret: &str| [("authorization", format!("Bearer {secret}"))];
        for (secret, status) in [(&infer, 403), (&admin, 200)] {
            let headers = with(secret);
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            let answer = server.send(Method::GET, path, &headers, "").await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
        }
    }
    let everybody = Running::with(|options| {
        options.ledger = Some(desk.path());
        options.address = "0.0.0.0:0".parse().unwrap();
        options.insecure = true;
    })
    .await;
    for path in paths {
        let error = refused(&everybody.get(path).await, 403);
        assert_eq!(
            error,
            "evaluations and labels hold private texts: without keys they are for this machine alone\n\
             hint: `bantam keys add NAME --scope admin` makes a key"
        );
    }
}
