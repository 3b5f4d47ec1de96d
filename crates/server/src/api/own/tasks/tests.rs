//! Tasks through HTTP.

use crate::keys::{KeyLimits, KeysFile, Scope, add};
use crate::options::Access;
use crate::served::ServedTask;
use crate::testing::{Asked, Reply, Running, ScriptedModel, started, until};
use axum::http::Method;
use chat::{Capabilities, ChatError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tasks::{Classify, Extract, Field, Generate, Label, Task, Template};

const REPLY: &str = "/v1/tasks/reply";

fn reply() -> Task {
    let mut task = Task::new("reply", Generate::default());
    task.instructions = Some("Be kind.".to_owned());
    task.input = Template::parse("{name}: {message}").unwrap();
    task
}

fn triage() -> Task {
    let label = |name: &str| Label { name: name.to_owned(), description: None };
    Task::new("triage", Classify::new(vec![label("bug"), label("question")]).unwrap())
}

fn receipt() -> Task {
    Task::new("receipt", Extract::fields(&[Field::text("total")]).unwrap())
}

fn served(mut task: Task, model: &str) -> ServedTask {
    task.model = Some(model.to_owned());
    ServedTask::new(task, Vec::new()).unwrap()
}

async fn start() -> Running {
    Running::with(|options| {
        options.tasks = vec![served(reply(), "small"), served(triage(), "small"), served(receipt(), "other")];
    })
    .await
}

#[tokio::test]
async fn an_input_becomes_an_outcome() {
    let server = start().await;
    server.model.will(Reply::text(&["Dear", " Ada"]));
    let headers = [("x-request-id", "mine")];
    let body = json!({"name": "Ada", "message": 5}).to_string();
    let answer = server.send(Method::POST, REPLY, &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("x-request-id"), "mine");
    let answer = answer.json();
    assert_eq!(answer["object"], "task.outcome");
    assert_eq!((&answer["task"], &answer["model"]), (&json!("reply"), &json!("small")));
    assert_eq!(answer["outcome"], json!({"text": "Dear Ada"}));
    assert_eq!(answer["usage"]["prompt_tokens"], 3);
    assert_eq!(answer["usage"]["completion_tokens"], 2);
    let asked = server.model.asked();
    let Asked::Chat(request) = &asked[0] else { panic!("{asked:?}") };
    let said: String = request.messages.iter().map(|message| message.content.as_str()).collect();
    assert!(said.contains("Be kind.") && said.ends_with("Ada: 5"), "{said}");
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("vllm:generation_tokens_total{model_name=\"small\"} 2"), "{metrics}");
}

#[tokio::test]
async fn several_inputs_have_their_outcomes_and_errors_in_order() {
    let server = start().await;
    server.model.will(Reply::text(&["bug"]));
    server.model.will(Reply::refusing(ChatError::ContextTooLong {
        prompt_tokens: 2000,
        context: 1024,
        maximum_context: 1024,
    }));
    server.model.will(Reply::text(&["maybe"]));
    server.model.will(Reply::text(&["question"]));
    let inputs: Vec<Value> = ["a", "b", "c", "d"].map(|text| json!({"text": text})).into();
    let answer = server.post("/v1/tasks/triage", json!({"inputs": inputs})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    assert_eq!(answer["object"], "list");
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.iter().map(|one| one["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    // They are asked at once: each has the reply that came to its own text.
    let asked = server.model.asked();
    let got = |index: usize| {
        let is_of = |one: &Asked| match one {
            Asked::Chat(request) => request.messages.last().unwrap().content.ends_with(["a", "b", "c", "d"][index]),
            _ => false,
        };
        asked.iter().position(is_of).unwrap()
    };
    for (index, one) in data.iter().enumerate() {
        match got(index) {
            0 => assert_eq!(one["outcome"], json!({"label": "bug", "probability": null})),
            1 => {
                let message = "the prompt has 2000 tokens, the context holds 1024\n\
                               hint: shorten it: the model's own context is no larger";
                assert_eq!((&one["outcome"], &one["error"]["message"]), (&Value::Null, &json!(message)));
            }
            2 => {
                let message = "the model answered \"maybe\", expected one of bug, question";
                assert_eq!((&one["error"]["message"], &one["error"]["type"]), (&json!(message), &json!("model_error")));
            }
            _ => assert_eq!(one["outcome"]["label"], "question"),
        }
    }
    assert_eq!(answer["usage"]["total_tokens"], 8, "of those that have an outcome");
}

#[tokio::test]
async fn fields_are_checked_by_name_before_the_model_is_asked() {
    let server = start().await;
    let whole = json!({"name": "Ada", "message": "Hi"});
    for (body, param, message) in [
        (
            json!({"name": "Ada", "mesage": "Hi"}),
            json!("mesage"),
            "mesage: unknown field `mesage`, expected `name`, `message`\nhint: did you mean `message`?",
        ),
        (json!({"name": "Ada"}), json!("message"), "message: missing field `message`, which the task reads"),
        (json!({"inputs": []}), json!("inputs"), "inputs: expected 1 to 1024, got 0"),
        (json!({"inputs": whole}), json!("inputs"), "inputs: expected a list of inputs, got an object"),
        (json!({"inputs": vec![&whole; 1025]}), json!("inputs"), "inputs: expected 1 to 1024, got 1025"),
        (json!({"inputs": [whole, "Hi"]}), json!("inputs[1]"), "inputs[1]: expected an object, got a text"),
        (
            json!({"inputs": [whole, {"name": "x"}]}),
            json!("inputs[1].message"),
            "inputs[1].message: missing field `message`, which the task reads",
        ),
        (
            json!({"inputs": [whole], "name": "x"}),
            json!("name"),
            "name: expected no field beside `inputs`\nhint: put fields into each of its inputs",
        ),
        (
            json!("Hi"),
            Value::Null,
            "the body is not the JSON that was expected: invalid type: string \"Hi\", expected an object",
        ),
    ] {
        let answer = server.post(REPLY, body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        let error = &answer.json()["error"];
        assert_eq!(error["message"], message);
        assert_eq!(error["param"], param, "{message}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    assert!(server.model.asked().is_empty());
}

#[tokio::test]
async fn a_task_or_a_model_that_is_not_there_is_named() {
    let server = start().await;
    for (path, message) in [
        ("/v1/tasks/repy", "there is no task \"repy\"\nhint: did you mean `reply`?"),
        ("/v1/tasks/x", "there is no task \"x\"\nhint: GET /v1/tasks lists those that there are"),
    ] {
        for answer in [server.get(path).await, server.post(path, json!({})).await] {
            assert_eq!(answer.status, 404);
            assert_eq!(answer.json()["error"]["message"], message);
            assert_eq!(answer.json()["error"]["code"], "task_not_found");
        }
    }
    let answer = server.post("/v1/tasks/receipt", json!({"text": "x"})).await;
    assert_eq!(answer.status, 404, "{}", answer.text);
    let error = &answer.json()["error"];
    let message = "no model \"other\"\nhint: there are small; `GET /v1/models` lists what this server has";
    assert_eq!(error["message"], message);
    assert_eq!((&error["code"], &error["param"]), (&json!("model_not_found"), &Value::Null));
    let none = Running::start().await;
    let message = "there is no task \"x\"\nhint: start the server with --task FILE";
    assert_eq!(none.post("/v1/tasks/x", json!({})).await.json()["error"]["message"], message);
}

#[tokio::test]
async fn tasks_tell_what_they_read_and_what_comes_of_it() {
    let server = start().await;
    let list = server.get("/v1/tasks").await.json();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["reply", "triage", "receipt"]);
    let triage = server.get("/v1/tasks/triage").await.json();
    assert_eq!((&triage["kind"], &triage["model"]), (&json!("classify"), &json!("small")));
    assert_eq!(triage["fields"], json!(["text"]));
    assert_eq!(triage["outcome_schema"]["properties"]["label"], json!({"enum": ["bug", "question"]}));
    assert_eq!(list["data"][0]["input_schema"]["required"], json!(["name", "message"]));
    let document = server.get("/openapi.json").await.json();
    let post = &document["paths"]["/v1/tasks/receipt"]["post"];
    let schema = &post["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"][0];
    assert_eq!(schema["properties"]["outcome"]["properties"]["value"]["required"], json!(["total"]));
    let input = &post["requestBody"]["content"]["application/json"]["schema"]["oneOf"][0];
    assert_eq!(input["required"], json!(["text"]));
    assert!(document["paths"]["/v1/tasks/{name}"]["get"].is_object());
    assert!(server.get("/docs").await.text.contains("Does the task receipt (extract) with other"));
}

#[tokio::test]
async fn what_is_ready_holds_no_model_and_is_made_again_for_another() {
    let other = || Arc::new(ScriptedModel::named("other"));
    let server = start().await;
    let first = other();
    server.host.add(Arc::clone(&first));
    let ask = async || {
        let answer = server.post("/v1/tasks/receipt", json!({"text": "5 euros"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["outcome"]["value"]["total"].clone()
    };
    let says = |total: &str| Reply::text(&[&json!({"total": total}).to_string()]);
    first.will(says("5"));
    assert_eq!(ask().await, "5");
    until("nobody but the host and the test holds the model", || Arc::strong_count(&first) == 2).await;
    first.will(says("6"));
    assert_eq!(ask().await, "6");
    let second = other();
    second.will(says("7"));
    server.host.add(Arc::clone(&second));
    assert_eq!(ask().await, "7");
    assert_eq!((first.asked().len(), second.asked().len()), (2, 1));
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_model() {
    let server = start().await;
    server.model.will(Reply::hanging(&["Dear"]));
    let body = json!({"name": "Ada", "message": "Hi"});
    let left = tokio::time::timeout(Duration::from_millis(200), server.post(REPLY, body.clone())).await;
    assert!(left.is_err(), "it hangs");
    until("the stream is dropped", || server.model.left_streams() == 1 && server.model.open_streams() == 0).await;
    server.model.will(Reply::hanging(&["Dear"]));
    let headers = [("x-request-timeout", "0.05")];
    let late = server.send(Method::POST, REPLY, &headers, body.to_string()).await;
    assert_eq!(late.status, 408, "{}", late.text);
    assert_eq!(late.json()["error"]["code"], "timeout");
}

#[tokio::test]
async fn the_bound_on_prompts_holds_for_tasks() {
    let server = Running::with(|options| {
        options.tasks = vec![served(reply(), "small")];
        options.max_prompt_tokens = Some(2);
    })
    .await;
    let answer = server.post(REPLY, json!({"name": "Ada", "message": "Hi"})).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    let message = "the prompt has 3 tokens, this server takes 2 (--max-prompt-tokens)\n\
                   hint: shorten it, or have whoever runs the server allow more";
    assert_eq!(answer.json()["error"]["message"], message);
}

#[tokio::test]
async fn tasks_are_for_those_who_may_ask_and_count_for_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeysFile(folder.path().join("keys.toml"));
    let limits = KeyLimits { tokens_per_minute: Some(4), ..KeyLimits::default() };
    let key = add(&file, "team", vec![Scope::Infer], limits).unwrap();
    let server = Running::with(|options| {
        options.tasks = vec![served(reply(), "small")];
        options.access = Access::Keys(file);
    })
    .await;
    assert_eq!(server.get("/v1/tasks").await.status, 401);
    assert!(!server.get("/openapi.json").await.text.contains("Be kind."), "it is nobody else's business");
    let bearer = format!("Bearer {}", key.secret);
    let headers = [("authorization", bearer.as_str())];
    let document = server.send(Method::GET, "/openapi.json", &headers, "").await;
    assert!(document.text.contains("Be kind."), "{}", document.text);
    let body = json!({"name": "Ada", "message": "Hi"}).to_string();
    assert_eq!(server.send(Method::POST, REPLY, &headers, body.clone()).await.status, 200);
    let limited = server.send(Method::POST, REPLY, &headers, body).await;
    assert_eq!(limited.status, 429);
    assert!(limited.text.contains("the key team has used 5 tokens within a minute"), "{}", limited.text);
}

#[tokio::test]
async fn what_an_input_took_that_has_no_outcome_counts_for_its_key_too() {
    let folder = tempfile::tempdir().unwrap();
    for (task, path, reply, status) in
        [(reply(), REPLY, Reply::hanging(&["Dear"]), 408), (triage(), "/v1/tasks/triage", Reply::text(&["maybe"]), 502)]
    {
        let file = KeysFile(folder.path().join(format!("{status}.toml")));
        let limits = KeyLimits { tokens_per_minute: Some(4), ..KeyLimits::default() };
        let key = add(&file, "team", vec![Scope::Infer], limits).unwrap();
        let server = Running::with(|options| {
            options.tasks = vec![served(task, "small")];
            options.access = Access::Keys(file);
        })
        .await;
        server.model.will(reply);
        let bearer = format!("Bearer {}", key.secret);
        let headers = [("authorization", bearer.as_str()), ("x-request-timeout", "0.3")];
        let body = match status {
            408 => json!({"name": "Ada", "message": "Hi"}).to_string(),
            _ => json!({"text": "x"}).to_string(),
        };
        let failed = server.send(Method::POST, path, &headers, body.clone()).await;
        assert_eq!(failed.status, status, "{}", failed.text);
        let limited = server.send(Method::POST, path, &headers, body).await;
        assert!(limited.text.contains("the key team has used 4 tokens within a minute"), "{}", limited.text);
    }
}

#[tokio::test]
async fn the_bound_on_prompts_holds_for_choices() {
    let all = ScriptedModel::named("chooser").info.capabilities;
    for template in [true, false] {
        let model = Arc::new(ScriptedModel::able("chooser", Capabilities { choose: true, template, ..all }));
        let server = Running::with(|options| {
            options.tasks = vec![served(triage(), "chooser")];
            options.max_prompt_tokens = Some(60);
        })
        .await;
        server.host.add(Arc::clone(&model));
        let ask = async |text: String| server.post("/v1/tasks/triage", json!({"text": text})).await;
        let short = ask("a".to_owned()).await;
        assert_eq!((short.status, &short.json()["outcome"]["label"]), (200, &json!("bug")), "{}", short.text);
        model.asked();
        if !template {
            model.will(Reply::events(vec![Ok(started(61))]));
        }
        let long = ask("a ".repeat(100)).await;
        assert_eq!(long.status, 400, "{}", long.text);
        assert!(long.text.contains("tokens, this server takes 60 (--max-prompt-tokens)"), "{}", long.text);
        assert!(!model.asked().iter().any(|asked| matches!(asked, Asked::Choose(_))), "nothing was computed");
    }
}
