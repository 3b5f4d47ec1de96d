//! The dialect over HTTP, with a scripted host: bodies compared as a whole, but for times.

use crate::testing::{Asked, Reply, Running, ScriptedModel, finished, logprob, started, text, until};
use axum::http::Method;
use chat::{AnswerFormat, Capabilities, ChatError, ChatEvent, FinishReason, KeepAlive, Message, Prompt, Role, Usage};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A body without what differs each time. Times must be there, and of the right form.
fn timeless(mut body: Value) -> Value {
    let object = body.as_object_mut().unwrap();
    if let Some(at) = object.remove("created_at") {
        let at = at.as_str().unwrap();
        assert!(at.len() == 27 && at.ends_with('Z') && at.as_bytes()[10] == b'T', "{at}");
    }
    for name in ["total_duration", "load_duration"] {
        if let Some(duration) = object.remove(name) {
            assert!(duration.is_u64(), "{name}: {duration}");
        }
    }
    body
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

/// The last line of an answer of so many tokens.
fn end(model: &str, said: Value, reason: &str, eval_count: usize) -> Value {
    let mut line = json!({
        "model": model, "done": true, "done_reason": reason, "prompt_eval_count": 3, "prompt_eval_duration": 0,
        "eval_count": eval_count, "eval_duration": 0, "cached_tokens": 0,
    });
    line.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    line
}

async fn refused(server: &Running, path: &str, body: Value) -> (u16, String) {
    let answer = server.post(path, body).await;
    let error = answer.json();
    assert_eq!(error.as_object().unwrap().len(), 1, "{error}");
    (answer.status, error["error"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_conversation_is_answered_line_by_line_unless_stream_is_false() {
    let server = Running::start().await;
    let answer = server.post("/api/chat", json!({"model": "small", "messages": user("Hi")})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let said = |content: &str| json!({"message": {"role": "assistant", "content": content}});
    let piece = |content: &str| {
        let mut line = said(content);
        line["model"] = json!("small");
        line["done"] = json!(false);
        line
    };
    let lines: Vec<Value> = answer.lines().into_iter().map(timeless).collect();
    assert_eq!(lines, [piece("Hello"), piece(" world"), end("small", said(""), "stop", 2)]);

    let answer = server.post("/api/chat", json!({"model": "small", "messages": user("Hi"), "stream": false})).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(timeless(answer.json()), end("small", said("Hello world"), "stop", 2));
}

/// Thought, text with its log-probability, and two calls.
fn all_kinds() -> Reply {
    let usage = Usage {
        prompt_tokens: 9,
        cached_tokens: 4,
        completion_tokens: 6,
        prompt_seconds: Duration::from_millis(2),
        generation_seconds: Duration::from_millis(5),
        ..Usage::default()
    };
    let piece = logprob("ok", -0.5, &[("no", -1.5)]);
    Reply::events(vec![
        Ok(started(9)),
        Ok(ChatEvent::Thought { text: "hm".to_owned(), tokens: 1 }),
        Ok(ChatEvent::Text { text: "ok".to_owned(), tokens: 1, logprobs: vec![piece] }),
        Ok(ChatEvent::ToolCall { index: 0, id: "c0".to_owned(), name: "add".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 0, json: "{\"a\":".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 0, json: "1}".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolCall { index: 1, id: "c1".to_owned(), name: "now".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 1, json: "{}".to_owned(), tokens: 0 }),
        Ok(ChatEvent::Finished { reason: FinishReason::ToolCalls, usage }),
    ])
}

#[tokio::test]
async fn thought_calls_and_logprobs_have_their_places() {
    let server = Running::start().await;
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}});
    let mut body = json!({
        "model": "small", "messages": user("Hi"), "tools": [tool("add"), tool("now")], "think": true, "logprobs": true,
        "top_logprobs": 1,
    });
    server.model.will(all_kinds());
    let answer = server.post("/api/chat", body.clone()).await;
    let line = |said: Value| {
        let mut line = json!({"model": "small", "message": {"role": "assistant", "content": ""}, "done": false});
        line["message"].as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        line
    };
    let logprobs = json!([{
        "token": "ok", "logprob": -0.5, "bytes": [111, 107],
        "top_logprobs": [{"token": "no", "logprob": -1.5, "bytes": [110, 111]}],
    }]);
    let add = json!({"id": "c0", "function": {"index": 0, "name": "add", "arguments": {"a": 1}}});
    let now = json!({"id": "c1", "function": {"index": 1, "name": "now", "arguments": {}}});
    let took = json!({
        "done": true, "done_reason": "stop", "prompt_eval_count": 9, "prompt_eval_duration": 2_000_000,
        "eval_count": 6, "eval_duration": 5_000_000, "cached_tokens": 4,
    });
    let mut text = line(json!({"content": "ok"}));
    text["logprobs"] = logprobs.clone();
    let mut last = line(json!({}));
    last.as_object_mut().unwrap().extend(took.as_object().unwrap().clone());
    let expected = [
        line(json!({"thinking": "hm"})),
        text,
        line(json!({"tool_calls": [add]})),
        line(json!({"tool_calls": [now]})),
        last,
    ];
    assert_eq!(answer.lines().into_iter().map(timeless).collect::<Vec<_>>(), expected);

    server.model.will(all_kinds());
    body["stream"] = json!(false);
    let mut whole = line(json!({"content": "ok", "thinking": "hm", "tool_calls": [add, now]}));
    whole["logprobs"] = logprobs;
    whole.as_object_mut().unwrap().extend(took.as_object().unwrap().clone());
    assert_eq!(timeless(server.post("/api/chat", body).await.json()), whole);

    let asked = server.model.asked();
    let [Asked::Chat(request), Asked::Chat(again)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(request, again);
    assert_eq!((request.think, request.options.top_logprobs), (Some(true), Some(1)));
    assert_eq!(request.tools[0].definition, tool("add"));
}

#[tokio::test]
async fn results_belong_to_the_oldest_open_call_of_their_tool() {
    let server = Running::start().await;
    let call = |name: &str| json!({"function": {"name": name, "arguments": {"x": 1}}});
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Go", "images": []},
        {"role": "assistant", "content": "", "thinking": "well", "tool_calls": [call("a"), call("b"), call("a")]},
        {"role": "tool", "content": "of b", "tool_name": "b"},
        {"role": "tool", "content": "of a"},
        {"role": "tool", "content": "of a again", "tool_name": "a"},
    ]);
    let answer = server.post("/api/chat", json!({"model": "small", "messages": messages})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let asked = server.model.asked();
    let [Asked::Chat(request)] = &asked[..] else { panic!("{asked:?}") };
    let calls: Vec<(&str, &str)> =
        request.messages[2].tool_calls.iter().map(|call| (call.id.as_str(), call.name.as_str())).collect();
    assert_eq!(calls, [("call00000", "a"), ("call00001", "b"), ("call00002", "a")]);
    assert_eq!(request.messages[2].thought.as_deref(), Some("well"));
    let results: Vec<(&str, &Value)> = request.messages[3..]
        .iter()
        .map(|message| (message.tool_call_id.as_deref().unwrap(), &message.extra["name"]))
        .collect();
    assert_eq!(results, [("call00001", &json!("b")), ("call00000", &json!("a")), ("call00002", &json!("a"))]);
}

#[tokio::test]
async fn a_prompt_is_answered_completed_or_filled_in() {
    let server = Running::start().await;
    let generate = async |body: Value| {
        let mut body = body;
        body["model"] = json!("small");
        body["stream"] = json!(false);
        let answer = server.post("/api/generate", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(timeless(answer.json()), end("small", json!({"response": "Hello world"}), "stop", 2));
        server.model.asked().pop().unwrap()
    };
    let Asked::Chat(request) = generate(json!({"prompt": "Hi", "system": "Be brief."})).await else { panic!() };
    assert_eq!(request.messages, [Message::new(Role::System, "Be brief."), Message::new(Role::User, "Hi")]);
    // What clients send empty is as good as absent.
    let empty = json!({
        "prompt": "Hi", "suffix": "", "system": "", "template": "", "context": [], "raw": false, "format": "",
        "images": [], "options": {}, "think": null, "keep_alive": null,
    });
    let Asked::Chat(request) = generate(empty).await else { panic!() };
    assert_eq!(request.messages, [Message::new(Role::User, "Hi")]);
    let Asked::Complete(request) = generate(json!({"prompt": "Hi", "raw": true})).await else { panic!() };
    assert_eq!((request.prompt, request.suffix), (Prompt::Text("Hi".to_owned()), None));
    let Asked::Complete(request) = generate(json!({"prompt": "a", "suffix": "c"})).await else { panic!() };
    assert_eq!(request.suffix.as_deref(), Some("c"));
}

#[tokio::test]
async fn a_prompt_to_a_model_without_a_template_is_gone_on_from() {
    let server = Running::start().await;
    let plain = Capabilities { complete: true, ..Capabilities::default() };
    let model = Arc::new(ScriptedModel::able("plain", plain));
    server.host.add(Arc::clone(&model));
    let answer = server.post("/api/generate", json!({"model": "plain", "prompt": "Once"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let asked = model.asked();
    assert!(matches!(&asked[..], [Asked::Complete(request)] if request.prompt == Prompt::Text("Once".to_owned())));
}

#[tokio::test]
async fn an_empty_request_is_checked_as_any_other() {
    let server = Running::start().await;
    let beside = |field: &str, value: Value| {
        let mut body = json!({"model": "small"});
        body[field] = value;
        body
    };
    for path in ["/api/generate", "/api/chat"] {
        for (body, expected) in [
            (beside("options", json!({"temprature": 1})), "options.temprature: unknown option"),
            (beside("options", json!({"num_ctx": 0})), "options.num_ctx: expected a whole number of 1 or more"),
            (beside("format", json!("xml")), "format: expected \"json\" or a JSON Schema"),
            (beside("think", json!("hard")), "think: expected true, false, or low"),
            (beside("top_logprobs", json!(2)), "top_logprobs: expected only where logprobs is true"),
        ] {
            let (status, error) = refused(&server, path, body).await;
            assert!(status == 400 && error.starts_with(expected), "{path}: {error}");
        }
        // What is more than the model holds is none of a load's business, which evicts others before anybody knows.
        let options = json!({"seed": 1, "num_gpu": 2, "num_ctx": 1_000_000});
        let body = json!({"model": "small", "options": options, "think": true, "shift": true});
        let answer = server.post(path, body).await.json();
        let names = ["options.seed", "options.num_gpu", "options.num_ctx", "think", "shift"];
        assert_eq!(answer["warnings"], json!(names.map(|name| format!("{name} has no effect here"))));
    }
    let (_, error) = refused(&server, "/api/generate", json!({"model": "small", "raw": true, "system": "a"})).await;
    assert_eq!(error, "system: expected none where raw is true");
    let answer = server.post("/api/generate", json!({"model": "small", "system": "a"})).await.json();
    assert_eq!(answer["warnings"], json!(["system has no effect here"]));
    let tool = json!({"function": {"name": "w"}});
    let answer = server.post("/api/chat", json!({"model": "small", "tools": [tool]})).await.json();
    assert_eq!(answer["warnings"], json!(["tools has no effect here"]));
    assert_eq!(server.model.asked(), []);
}

#[tokio::test]
async fn an_empty_request_loads_or_unloads() {
    let server = Running::start().await;
    server.host.add(Arc::new(ScriptedModel::named("other")));
    let loaded = || server.get("/api/ps");
    for (path, said) in [
        ("/api/generate", json!({"response": ""})),
        ("/api/chat", json!({"message": {"role": "assistant", "content": ""}})),
    ] {
        let mut expected = said;
        expected["model"] = json!("other");
        expected["done"] = json!(true);
        expected["done_reason"] = json!("load");
        let answer = server.post(path, json!({"model": "other", "keep_alive": "10m"})).await;
        assert_eq!(timeless(answer.json()), expected);
        let kept = server.host.kept().pop().unwrap();
        assert_eq!(kept, ("other".to_owned(), Some(KeepAlive::For(Duration::from_secs(600)))));
        assert_eq!(loaded().await.json()["models"].as_array().unwrap().len(), 2);

        expected["done_reason"] = json!("unload");
        // Unloading what is not loaded does no harm.
        for _ in 0..2 {
            let answer = server.post(path, json!({"model": "other", "keep_alive": 0})).await;
            assert_eq!(timeless(answer.json()), expected);
            assert_eq!(loaded().await.json()["models"].as_array().unwrap().len(), 1);
        }
        let (status, error) = refused(&server, path, json!({"model": "none", "keep_alive": 0})).await;
        assert_eq!((status, error.lines().next().unwrap()), (404, "no model \"none\""));
    }
    assert_eq!(server.model.asked(), []);
}

#[tokio::test]
async fn answers_are_held_to_a_format() {
    let server = Running::start().await;
    let schema = json!({"type": "object", "x-warn": 1});
    for (format, expected) in
        [(json!("json"), AnswerFormat::JsonObject), (schema.clone(), AnswerFormat::JsonSchema(schema.clone()))]
    {
        let body = json!({"model": "small", "messages": user("Hi"), "format": format, "stream": false});
        let answer = server.post("/api/chat", body).await.json();
        let warnings =
            if format.is_object() { json!(["format#/x-warn: the keyword has no effect"]) } else { Value::Null };
        assert_eq!(answer["warnings"], warnings);
        let Some(Asked::Chat(request)) = server.model.asked().pop() else { panic!("it is a conversation") };
        assert_eq!(request.format, Some(expected.clone()));
        let body = json!({"model": "small", "prompt": "Hi", "raw": true, "format": format, "stream": false});
        server.post("/api/generate", body).await;
        let Some(Asked::Complete(request)) = server.model.asked().pop() else { panic!("it is a completion") };
        assert_eq!(request.format, Some(expected));
    }
}

#[tokio::test]
async fn what_has_no_effect_is_warned_of_in_the_last_line() {
    let server = Running::start().await;
    let body = json!({
        "model": "small", "prompt": "Hi", "truncate": true, "shift": false, "think": "low",
        "options": {"num_gpu": 99, "temperature": 0},
    });
    let lines = server.post("/api/generate", body).await.lines();
    assert_eq!(lines[0].get("warnings"), None);
    let expected = [
        "options.num_gpu has no effect here",
        "think: \"low\" is taken for true: there are no levels here",
        "truncate has no effect here: what does not fit the context is refused",
    ];
    assert_eq!(lines.last().unwrap()["warnings"], json!(expected));
    let asked = server.model.asked();
    assert!(matches!(&asked[..], [Asked::Chat(request)] if request.options.temperature == Some(0.0)));
}

#[tokio::test]
async fn num_ctx_bounds_prompt_and_answer_together() {
    let server = Running::start().await;
    let chat = |options: Value| json!({"model": "small", "messages": user("one two three"), "options": options});
    let max_tokens = async |path: &str, body: Value| {
        let answer = server.post(path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        match server.model.asked().pop().unwrap() {
            Asked::Chat(request) => request.options.max_tokens,
            Asked::Complete(request) => request.options.max_tokens,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(max_tokens("/api/chat", chat(json!({"num_ctx": 8}))).await, Some(5));
    assert_eq!(max_tokens("/api/chat", chat(json!({"num_ctx": 8, "num_predict": 2}))).await, Some(2));
    assert_eq!(max_tokens("/api/chat", chat(json!({"num_ctx": 8, "num_predict": 20}))).await, Some(5));
    assert_eq!(max_tokens("/api/chat", chat(json!({"num_ctx": 1024}))).await, None);
    // A plain text is counted by beginning an answer and letting it go: the scripted model says 3.
    let raw = json!({"model": "small", "prompt": "x", "raw": true, "options": {"num_ctx": 10}});
    assert_eq!(max_tokens("/api/generate", raw).await, Some(7));
    until("the stream that was begun to count is dropped", || server.model.open_streams() == 0).await;
    assert_eq!(server.model.left_streams(), 1);

    let (status, error) = refused(&server, "/api/chat", chat(json!({"num_ctx": 3}))).await;
    let expected = "the prompt has 3 tokens, options.num_ctx is 3, which leaves no room for an answer\n\
                    hint: shorten it, or raise num_ctx: the model holds 1024";
    assert_eq!((status, error.as_str()), (400, expected));
    let (status, error) = refused(&server, "/api/chat", chat(json!({"num_ctx": 4096}))).await;
    let expected = "options.num_ctx: the context of small holds 1024, got 4096\n\
                    hint: it was made for 2048";
    assert_eq!((status, error.as_str()), (400, expected));
}

#[tokio::test]
async fn wrong_fields_are_refused_by_name() {
    let server = Running::start().await;
    let generate = [
        (json!({"prompt": "a", "colour": 1}), "colour: unknown field `colour`"),
        (json!({"prompt": 1}), "prompt: invalid type: integer `1`, expected a text"),
        (json!({"prompt": "a", "format": "xml"}), "format: expected \"json\" or a JSON Schema, got \"xml\""),
        (json!({"prompt": "a", "format": {"not": {}}}), "format#/not: cannot be held to"),
        (json!({"prompt": "a", "template": "x"}), "template: expected none; prompts are formatted by"),
        (json!({"prompt": "a", "context": [1]}), "context: expected none; token ids of an earlier answer"),
        (json!({"prompt": "a", "images": ["aa"]}), "images: expected none; models here read text alone"),
        (json!({"prompt": "a", "raw": true, "system": "b"}), "system: expected none where raw is true"),
        (json!({"prompt": "a", "suffix": "c", "think": true}), "think: expected none where a suffix is given"),
        (
            json!({"prompt": "a", "think": "hard"}),
            "think: expected true, false, or low, medium, high or max, got \"hard\"",
        ),
        (json!({"prompt": "a", "top_logprobs": 2}), "top_logprobs: expected only where logprobs is true"),
        (json!({"prompt": "a", "logprobs": true, "top_logprobs": 21}), "top_logprobs: expected 0 to 20, got 21"),
        (json!({"prompt": "a", "options": {"heat": 1}}), "options.heat: unknown option"),
        (json!({"prompt": "a", "keep_alive": "soon"}), "keep_alive: expected seconds or a text such as"),
    ];
    let message = |message: Value| json!({"messages": [message]});
    let chat = [
        (message(json!({"role": "wizard", "content": "a"})), "messages[0].role: unknown variant `wizard`"),
        (message(json!({"role": "user"})), "messages[0].content: expected a text, got none"),
        (message(json!({"role": "user", "content": "a", "images": ["aa"]})), "messages[0].images: expected none"),
        (message(json!({"role": "user", "content": "a", "thinking": "b"})), "messages[0].thinking: expected only in"),
        (message(json!({"role": "user", "content": "a", "tool_name": "b"})), "messages[0].tool_name: expected only in"),
        (message(json!({"role": "assistant", "content": "a"})), "messages[0].role: expected the last message to be no"),
        (
            message(json!({"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{}"}}]})),
            "messages[0].tool_calls[0].function.arguments: invalid type: string \"{}\", expected an object",
        ),
        (
            json!({"messages": user("a"), "tools": [{"type": "function", "function": {"name": ""}}]}),
            "tools[0].function.name: expected a name of its own, got \"\"",
        ),
    ];
    let generate = generate.into_iter().map(|(body, expected)| ("/api/generate", body, expected));
    let chat = chat.into_iter().map(|(body, expected)| ("/api/chat", body, expected));
    for (path, mut body, expected) in generate.chain(chat) {
        body["model"] = json!("small");
        let (status, error) = refused(&server, path, body).await;
        assert_eq!(status, 400, "{error}");
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(refused(&server, "/api/chat", json!({"model": "none", "messages": user("a")})).await.0, 404);
    assert_eq!(refused(&server, "/api/no-such", json!({})).await.0, 404);
    assert_eq!(
        server.get("/api/chat").await.json()["error"].as_str().unwrap().lines().next().unwrap(),
        "/api/chat does not know the method GET"
    );
    assert_eq!(server.model.asked(), []);
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_in_an_error() {
    let server = Running::start().await;
    server.model.will(Reply::breaking(&["a"], ChatError::Internal("lost".to_owned())));
    let lines = server.post("/api/generate", json!({"model": "small", "prompt": "Hi"})).await.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1], json!({"error": "internal error: lost"}));

    let call = ChatEvent::ToolCall { index: 0, id: "c".to_owned(), name: "add".to_owned(), tokens: 1 };
    let arguments = ChatEvent::ToolArguments { index: 0, json: "{\"a\"".to_owned(), tokens: 1 };
    let events = [started(3), call, arguments, text("after"), finished(FinishReason::Stop, 3, 3)];
    server.model.will(Reply::events(events.into_iter().map(Ok).collect()));
    let lines = server.post("/api/chat", json!({"model": "small", "messages": user("Hi")})).await.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let error = lines[0]["error"].as_str().unwrap();
    assert!(error.starts_with("the model called add with what is no JSON object: "), "{error}");
}

#[tokio::test]
async fn a_client_that_goes_ends_its_stream() {
    let server = Running::start().await;
    server.model.will(Reply::hanging(&["a"]));
    let mut stream = server.stream("/api/generate", json!({"model": "small", "prompt": "Hi"})).await;
    assert!(stream.piece().await.unwrap().contains("\"response\":\"a\""));
    drop(stream);
    until("the model's stream is dropped", || server.model.left_streams() == 1).await;
}

#[tokio::test]
async fn models_are_listed_shown_copied_and_deleted() {
    let server = Running::start().await;
    let details = json!({
        "parent_model": "", "format": "", "family": "scripted", "families": ["scripted"], "parameter_size": "1K",
        "quantization_level": "F32",
    });
    let digest = "ab".repeat(32);
    let stored = |name: &str| {
        json!({
            "name": name, "model": name, "modified_at": "2023-11-14T22:13:20.000000Z", "size": 4000, "digest": digest,
            "details": details,
        })
    };
    assert_eq!(server.get("/api/tags").await.json(), json!({"models": [stored("small")]}));
    assert_eq!(server.send(Method::HEAD, "/api/tags", &[], "").await.status, 200);

    let copied = server.post("/api/copy", json!({"source": "small", "destination": "little"})).await;
    assert_eq!((copied.status, copied.text.as_str()), (200, ""));
    assert_eq!(server.get("/api/tags").await.json(), json!({"models": [stored("little"), stored("small")]}));
    assert_eq!(refused(&server, "/api/copy", json!({"source": "none", "destination": "x"})).await.0, 404);

    let delete =
        async |name: &str| server.send(Method::DELETE, "/api/delete", &[], json!({"model": name}).to_string()).await;
    assert_eq!(delete("little").await.status, 200);
    assert_eq!(delete("little").await.status, 404);

    let shown = server.post("/api/show", json!({"model": "small", "verbose": true})).await.json();
    let expected = json!({
        "license": "MIT",
        "modelfile": "FROM small\nTEMPLATE \"\"\"{{ messages }}\"\"\"\nLICENSE \"\"\"MIT\"\"\"\n",
        "parameters": "", "template": "{{ messages }}", "system": "", "details": details, "model_info": {},
        "tensors": [{"name": "output.weight", "type": "f32", "shape": [4, 256]}],
        "capabilities": ["completion", "tools", "insert", "embedding", "thinking"],
        "modified_at": "2023-11-14T22:13:20.000000Z",
    });
    assert_eq!(shown, expected);
    // The older name of the field, which must not say something else.
    assert_eq!(server.post("/api/show", json!({"name": "small"})).await.status, 200);
    let (status, error) = refused(&server, "/api/show", json!({"model": "small", "name": "big"})).await;
    assert_eq!((status, error.as_str()), (400, "name: expected the same as model (\"small\"), got \"big\""));
    let (status, error) = refused(&server, "/api/show", json!({})).await;
    assert_eq!((status, error.as_str()), (400, "model: expected the name of a model, got none"));

    let running = json!({
        "name": "small", "model": "small", "size": 8000, "digest": digest, "details": details,
        "expires_at": "2027-01-15T08:00:00.000000Z", "size_vram": 0, "context_length": 1024,
    });
    assert_eq!(server.get("/api/ps").await.json(), json!({"models": [running]}));
    assert_eq!(server.get("/api/version").await.json(), json!({"version": env!("CARGO_PKG_VERSION")}));
    let pushed = server.post("/api/push", json!({"model": "small"})).await;
    assert_eq!(pushed.status, 501);
    assert!(pushed.json()["error"].as_str().unwrap().starts_with("models are not sent to registries from here"));
}

#[tokio::test]
async fn a_pull_tells_how_it_goes() {
    let server = Running::start().await;
    let answer = server.post("/api/pull", json!({"model": "new", "insecure": false})).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines = answer.lines();
    let expected =
        [json!({"status": "pulling model.gguf", "total": 10, "completed": 10}), json!({"status": "success"})];
    // Only the newest state of a file is sent where the reader is slower than the pull.
    assert_eq!(lines[lines.len() - 2..], expected);
    let answer = server.post("/api/pull", json!({"model": "newer", "stream": false})).await;
    assert_eq!(answer.json(), json!({"status": "success"}));
    assert_eq!(server.get("/api/tags").await.json()["models"].as_array().unwrap().len(), 3);

    for stream in [true, false] {
        let body = json!({"model": "no-such", "stream": stream});
        let (status, error) = refused(&server, "/api/pull", body).await;
        assert_eq!((status, error.as_str()), (404, "no model \"no-such\" anywhere"));
    }
    let (status, error) = refused(&server, "/api/pull", json!({"model": "a", "insecure": true})).await;
    assert_eq!((status, error.as_str()), (400, "insecure: expected false; models come over TLS alone"));
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_is_left() {
    let server = Running::start().await;
    let mut stream = server.stream("/api/pull", json!({"model": "endless"})).await;
    assert!(stream.piece().await.unwrap().starts_with("{\"status\":\"pulling endless.gguf\",\"completed\":"));
    assert_eq!(server.host.left_pulls(), 0);
    drop(stream);
    until("the pull is left", || server.host.left_pulls() == 1).await;

    // Also where only the outcome was asked for.
    let address = server.address;
    let body = json!({"model": "endless", "stream": false}).to_string();
    let waiting = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("POST /api/pull HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let _ = connection.read(&mut [0; 1]).await;
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    waiting.abort();
    until("the pull is left", || server.host.left_pulls() == 2).await;
}

#[tokio::test]
async fn a_model_is_created_from_another_or_from_files() {
    let server = Running::start().await;
    let digest = format!("sha256:{}", "c".repeat(64));
    let body = json!({
        "model": "mine", "from": "small", "adapters": {"adapter.gguf": digest}, "system": "Be brief.",
        "template": "{{ x }}", "license": ["A", "B"], "parameters": {"temperature": 0.5, "stop": ["x"]},
        "quantize": "q4_k_m", "messages": [], "files": {},
    });
    let lines = server.post("/api/create", body).await.lines();
    assert_eq!(lines, [json!({"status": "writing manifest"}), json!({"status": "success"})]);
    let created = server.host.created().pop().unwrap();
    assert_eq!((created.name.as_str(), created.from.as_deref()), ("mine", Some("small")));
    assert_eq!(created.adapters["adapter.gguf"], digest);
    assert_eq!(created.licenses, ["A", "B"]);
    assert_eq!(Value::Object(created.parameters), json!({"temperature": 0.5, "stop": ["x"]}));
    assert_eq!((created.system.as_deref(), created.template.as_deref()), (Some("Be brief."), Some("{{ x }}")));
    assert_eq!(created.quantize.as_deref(), Some("q4_k_m"));

    let body = json!({"model": "mine", "files": {"model.gguf": digest}, "license": "A", "stream": false});
    assert_eq!(server.post("/api/create", body).await.json(), json!({"status": "success"}));

    for (body, expected) in [
        (json!({"from": "small", "messages": [{"role": "user"}]}), "messages[0].content: expected a text, got none"),
        (json!({"from": "small", "parameters": {"heat": 1}}), "parameters.heat: unknown option"),
        (json!({"system": "x"}), "from: expected a model to make it from, or files, got none"),
        (
            json!({"files": {"a.gguf": "/etc/passwd"}}),
            "files.a.gguf: expected sha256: and 64 hexadecimal digits, got \"/etc/passwd\"",
        ),
        (json!({"from": "small", "license": 1}), "license: invalid type: integer `1`, expected a text or a list"),
    ] {
        let mut body = body;
        body["model"] = json!("mine");
        let (status, error) = refused(&server, "/api/create", body).await;
        assert_eq!(status, 400, "{error}");
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(refused(&server, "/api/create", json!({"model": "mine", "from": "none"})).await.0, 404);
}

#[tokio::test]
async fn blobs_are_put_once_and_may_be_larger_than_bodies() {
    let server = Running::with(|options| options.max_body_bytes = 16).await;
    let path = format!("/api/blobs/sha256:{}", "d".repeat(64));
    assert_eq!(server.send(Method::HEAD, &path, &[], "").await.status, 404);
    assert_eq!(server.send(Method::POST, &path, &[], vec![7; 100_000]).await.status, 201);
    assert_eq!(server.send(Method::POST, &path, &[], vec![7; 100_000]).await.status, 200);
    assert_eq!(server.send(Method::HEAD, &path, &[], "").await.status, 200);
    assert_eq!(server.send(Method::HEAD, &path.replace(':', "-"), &[], "").await.status, 200);
    let (status, error) = refused(&server, "/api/blobs/sha256:12", json!({})).await;
    let expected = "digest: expected sha256: and 64 hexadecimal digits, got \"sha256:12\"";
    assert_eq!((status, error.as_str()), (400, expected));
}

#[tokio::test]
async fn texts_become_vectors() {
    let server = Running::start().await;
    let answer = server.post("/api/embed", json!({"model": "small", "input": ["aaa", "ee xx"]})).await.json();
    let expected = json!({
        "model": "small", "embeddings": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]], "prompt_eval_count": 3,
    });
    assert_eq!(timeless(answer), expected);
    let asked = server.model.asked();
    assert!(matches!(&asked[..], [Asked::Embed(request)] if !request.truncate && request.dimensions.is_none()));
    let body = json!({"model": "small", "input": "aaa", "truncate": true, "dimensions": 2, "options": {"num_ctx": 5}});
    let answer = server.post("/api/embed", body).await.json();
    assert_eq!(answer["embeddings"], json!([[1.0, 0.0]]));
    assert_eq!(answer["warnings"], json!(["options.num_ctx has no effect here"]));
    let asked = server.model.asked();
    assert!(matches!(&asked[..], [Asked::Embed(request)] if request.truncate && request.dimensions == Some(2)));
    // Without a text the model is only loaded.
    for body in
        [json!({"model": "small"}), json!({"model": "small", "input": ""}), json!({"model": "small", "input": []})]
    {
        assert_eq!(server.post("/api/embed", body).await.json()["embeddings"], json!([]));
    }
    let answer = server.post("/api/embeddings", json!({"model": "small", "prompt": "aaa"})).await.json();
    assert_eq!(answer, json!({"embedding": [1.0, 0.0, 0.0, 0.0]}));
    let (status, error) = refused(&server, "/api/embed", json!({"model": "small", "input": 5})).await;
    assert_eq!(status, 400);
    assert!(error.starts_with("input: invalid type: integer `5`, expected a text or a list"), "{error}");
    let (status, error) =
        refused(&server, "/api/embed", json!({"model": "small", "input": "a", "dimensions": 0})).await;
    assert_eq!((status, error.as_str()), (400, "dimensions: expected 1 or more, got 0"));
}
