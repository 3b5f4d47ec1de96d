//! Chat completions through HTTP.

use crate::testing::{Asked, Reply, Running, finished, logprob, started, text};
use chat::{AnswerFormat, ChatError, ChatEvent, FinishReason, ToolChoice};
use serde_json::{Value, json};

const PATH: &str = "/v1/chat/completions";

fn body(more: Value) -> Value {
    let mut body = json!({"model": "small", "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn calling() -> Reply {
    let call =
        |index: usize, id: &str| ChatEvent::ToolCall { index, id: id.to_owned(), name: "w".to_owned(), tokens: 1 };
    let piece = |index: usize, json: &str| ChatEvent::ToolArguments { index, json: json.to_owned(), tokens: 1 };
    Reply::events(vec![
        Ok(started(4)),
        Ok(call(0, "c0")),
        Ok(piece(0, "{\"city\":")),
        Ok(piece(0, "\"Bern\"}")),
        Ok(call(1, "c1")),
        Ok(piece(1, "{}")),
        Ok(finished(FinishReason::ToolCalls, 4, 6)),
    ])
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "w", "description": "weather"}}])
}

#[tokio::test]
async fn each_way_of_asking_for_a_format_is_understood() {
    let server = Running::start().await;
    let schema = json!({"type": "object", "properties": {"a": {"const": 1}}});
    let held_to_schema = AnswerFormat::JsonSchema(schema.clone());
    let choices = AnswerFormat::Choices(vec!["a".to_owned(), "b".to_owned()]);
    for (fields, format) in [
        (json!({"response_format": {"type": "json_object"}}), AnswerFormat::JsonObject),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema,
                "strict": true}}}),
            held_to_schema.clone(),
        ),
        (json!({"guided_json": schema}), held_to_schema.clone()),
        (json!({"guided_json": schema.to_string()}), held_to_schema.clone()),
        (json!({"structured_outputs": {"json": schema}}), held_to_schema),
        (json!({"structured_outputs": {"json_object": true}}), AnswerFormat::JsonObject),
        (json!({"guided_choice": ["a", "b"]}), choices.clone()),
        (json!({"structured_outputs": {"choice": ["a", "b"]}}), choices),
        (json!({"guided_grammar": "start: \"a\""}), AnswerFormat::Lark("start: \"a\"".to_owned())),
        (json!({"structured_outputs": {"grammar": "root ::= \"a\""}}), AnswerFormat::Gbnf("root ::= \"a\"".to_owned())),
    ] {
        let answer = server.post(PATH, body(fields.clone())).await;
        assert_eq!((answer.status, &answer.json()["warnings"]), (200, &Value::Null), "{}", answer.text);
        let Some(Asked::Chat(request)) = server.model.asked().pop() else { panic!("it is a conversation") };
        assert_eq!(request.format.as_ref(), Some(&format), "{fields}");
        let mut fields = fields;
        (fields["model"], fields["prompt"]) = (json!("small"), json!("Hi"));
        assert_eq!(server.post("/v1/completions", fields.clone()).await.status, 200);
        let Some(Asked::Complete(request)) = server.model.asked().pop() else { panic!("it is a completion") };
        assert_eq!(request.format, Some(format), "{fields}");
    }
    let plain = server.post(PATH, body(json!({"response_format": {"type": "text"}}))).await;
    assert_eq!(plain.status, 200);
    let Some(Asked::Chat(request)) = server.model.asked().pop() else { panic!("it is a conversation") };
    assert_eq!(request.format, None);
}

#[tokio::test]
async fn a_format_that_cannot_be_held_to_is_refused_by_its_field() {
    let server = Running::start().await;
    let strict = |schema: Value| json!({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}});
    let schema = "response_format.json_schema.schema";
    for (fields, param, said) in [
        (strict(json!({"not": {}})), schema, format!("{schema}#/not: cannot be held to")),
        (strict(Value::Null), schema, format!("{schema}: expected a JSON Schema, got none")),
        (json!({"guided_regex": "("}), "guided_regex", "guided_regex: regex: unclosed group".to_owned()),
        (
            json!({"guided_json": "{"}),
            "guided_json",
            "guided_json: expected a JSON Schema, got a text: EOF while parsing an object at line 1 column 1"
                .to_owned(),
        ),
        (
            json!({"structured_outputs": {"json_object": false}}),
            "structured_outputs",
            "structured_outputs: expected one of json, regex, choice, grammar or json_object, got none".to_owned(),
        ),
        (
            json!({"guided_regex": "a", "guided_choice": ["a"]}),
            "guided_choice",
            "guided_choice: expected none beside guided_regex".to_owned(),
        ),
    ] {
        let answer = server.post(PATH, body(fields)).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!(param)), "{error}");
        assert_eq!(error["message"], said);
    }
    assert!(server.model.asked().is_empty(), "nothing was asked");
    let warned = server.post(PATH, body(strict(json!({"x-warn": 1})))).await.json();
    assert_eq!(warned["warnings"], json!([format!("{schema}#/x-warn: the keyword has no effect")]));
}

#[tokio::test]
async fn several_choices_stream_side_by_side() {
    let server = Running::start().await;
    server.model.will(Reply::text(&["a", "b"]));
    server.model.will(Reply::text(&["c"]));
    let asked = body(json!({"n": 2, "stream": true, "stream_options": {"include_usage": true}, "seed": 1}));
    let answer = server.post(PATH, asked).await;
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let (chunks, is_done) = answer.events();
    assert!(is_done);
    let of = |index: u64| -> String {
        let own =
            chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap()).filter(|one| one["index"] == index);
        own.filter_map(|one| one["delta"]["content"].as_str()).collect()
    };
    let mut texts = [of(0), of(1)];
    texts.sort();
    assert_eq!(texts, ["ab", "c"]);
    for index in 0..2 {
        let own: Vec<&Value> =
            chunks.iter().map(|chunk| &chunk["choices"][0]).filter(|one| one["index"] == index).collect();
        assert_eq!(own[0]["delta"]["role"], "assistant");
        assert_eq!(own.last().unwrap()["finish_reason"], "stop");
        assert_eq!(own.iter().filter(|one| !one["finish_reason"].is_null()).count(), 1);
    }
    let (last, before) = chunks.split_last().unwrap();
    assert_eq!(last["usage"]["completion_tokens"], 3);
    assert_eq!(last["usage"]["prompt_tokens"], 3, "one prompt");
    assert!(before.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    // They are asked for at once, and reach the model in any order.
    let mut seeds: Vec<Option<u64>> = server
        .model
        .asked()
        .into_iter()
        .map(|asked| match asked {
            Asked::Chat(request) => request.options.seed,
            other => panic!("{other:?}"),
        })
        .collect();
    seeds.sort();
    assert_eq!(seeds, [Some(1), Some(2)]);
}

#[tokio::test]
async fn an_error_in_the_middle_ends_the_stream_visibly() {
    let server = Running::start().await;
    server.model.will(Reply::breaking(&["a"], ChatError::Internal("boom".to_owned())));
    let answer = server.post(PATH, body(json!({"stream": true}))).await;
    let (chunks, is_done) = answer.events();
    assert!(!is_done, "what broke off is not done: {}", answer.text);
    let error = json!({"message": "internal error: boom", "type": "server_error", "param": null, "code": null});
    assert_eq!(chunks.last().unwrap(), &json!({"error": error}));
    assert_eq!(chunks[1]["choices"][0]["delta"]["content"], "a");
    server.model.will(Reply::breaking(&["a"], ChatError::Internal("boom".to_owned())));
    assert_eq!(server.post(PATH, body(json!({}))).await.status, 500);
}

#[tokio::test]
async fn a_stream_without_an_end_has_failed() {
    let server = Running::start().await;
    let reply = || Reply::events(vec![Ok(started(1)), Ok(text("a"))]);
    server.model.will(reply());
    let answer = server.post(PATH, body(json!({}))).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert_eq!(answer.json()["error"]["message"], "internal error: an answer broke off without an end");
    server.model.will(reply());
    let (_, is_done) = server.post(PATH, body(json!({"stream": true}))).await.events();
    assert!(!is_done);
}

#[tokio::test]
async fn log_probabilities_are_told() {
    let server = Running::start().await;
    let reply = || {
        let logprobs = vec![logprob("a", -1.0, &[("b", -0.5)])];
        let piece = ChatEvent::Text { text: "a".to_owned(), tokens: 1, logprobs };
        Reply::events(vec![Ok(started(1)), Ok(piece), Ok(finished(FinishReason::Stop, 1, 2))])
    };
    let top = json!([{"token": "b", "logprob": -0.5, "bytes": [98]}]);
    let content = json!([{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": top}]);
    server.model.will(reply());
    let answer = server.post(PATH, body(json!({"logprobs": true, "top_logprobs": 1}))).await.json();
    assert_eq!(answer["choices"][0]["logprobs"]["content"], content);
    server.model.will(reply());
    let asked = body(json!({"logprobs": true, "top_logprobs": 1, "stream": true}));
    let (chunks, _) = server.post(PATH, asked).await.events();
    assert_eq!(chunks[1]["choices"][0]["logprobs"]["content"], content);
}

#[tokio::test]
async fn calls_of_tools_come_whole_and_in_pieces() {
    let server = Running::start().await;
    server.model.will(calling());
    let asked = body(json!({"tools": tools(), "tool_choice": {"type": "function", "function": {"name": "w"}}}));
    let answer = server.post(PATH, asked).await.json();
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "w", "arguments": arguments}});
    assert_eq!(choice["message"]["tool_calls"], json!([call("c0", "{\"city\":\"Bern\"}"), call("c1", "{}")]));
    let [Asked::Chat(request)] = &server.model.asked()[..] else { panic!() };
    assert_eq!(request.tool_choice, ToolChoice::Named("w".to_owned()));

    server.model.will(calling());
    let (chunks, is_done) = server.post(PATH, body(json!({"tools": tools(), "stream": true}))).await.events();
    assert!(is_done);
    let calls: Vec<&Value> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0)).collect();
    let function = |call: &Value| (call["index"].clone(), call["function"]["arguments"].as_str().unwrap().to_owned());
    let told: Vec<(Value, String)> = calls.iter().map(|call| function(call)).collect();
    let piece = |index: usize, text: &str| (json!(index), text.to_owned());
    assert_eq!(told, [piece(0, ""), piece(0, "{\"city\":"), piece(0, "\"Bern\"}"), piece(1, ""), piece(1, "{}")]);
    assert_eq!(calls[0]["id"], "c0");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn strict_tools_are_held_or_refused_by_the_place_of_their_schema() {
    let server = Running::start().await;
    let tools = |schema: Value, strict: Value| {
        let function = json!({"name": "f", "parameters": schema, "strict": strict});
        body(json!({"tools": [tools()[0], {"type": "function", "function": function}]}))
    };
    let answer = server.post(PATH, tools(json!({"x-warn": 1}), json!(true))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let warning = "tools[1].function.parameters#/x-warn: the keyword has no effect";
    assert_eq!(answer.json()["warnings"], json!([warning]));
    let Some(Asked::Chat(request)) = server.model.asked().pop() else { panic!("it is a conversation") };
    assert_eq!([request.tools[0].strict, request.tools[1].strict], [false, true]);
    let definition = json!({"type": "function", "function": {"name": "f", "parameters": {"x-warn": 1}}});
    assert_eq!(request.tools[1].definition, definition, "templates read no strict");

    let refused = server.post(PATH, tools(json!({"not": {}}), json!(true))).await;
    let error = &refused.json()["error"];
    let place = "tools[1].function.parameters";
    assert_eq!((refused.status, &error["param"]), (400, &json!(place)), "{error}");
    let said = format!(
        "{place}#/not: cannot be held to\n\
         hint: leave it out of the schema, or let the model call freely: tool_choice auto, and strict false"
    );
    assert_eq!(error["message"], said);
    assert!(server.model.asked().is_empty(), "nothing was asked");
    for strict in [json!(false), Value::Null] {
        assert_eq!(server.post(PATH, tools(json!({"not": {}}), strict)).await.status, 200);
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_its_path() {
    let server = Running::start().await;
    let message = |value: Value| json!([{"role": "user", "content": "a"}, value]);
    for (field, value, param, start) in [
        (
            "messages",
            message(json!({"role": "user", "content": 7})),
            "messages[1].content",
            "messages[1].content: invalid type: integer `7`, expected a text or a list of parts",
        ),
        (
            "messages",
            message(json!({"role": "user", "content": [{"type": "text", "text": 7}]})),
            "messages[1].content[0].text",
            "messages[1].content[0].text: invalid type: integer `7`, expected a text",
        ),
        (
            "messages",
            message(json!({"role": "robot", "content": "x"})),
            "messages[1].role",
            "messages[1].role: unknown variant `robot`, expected one of",
        ),
        (
            "messages",
            message(json!({
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "custom", "function": {"name": "w", "arguments": "{}"}}],
            })),
            "messages[1].tool_calls[0].type",
            "messages[1].tool_calls[0].type: unknown variant `custom`, expected `function`",
        ),
        ("messages", message(json!({"content": "x"})), "messages[1].role", "messages[1].role: missing field `role`"),
        ("stop", json!(7), "stop", "stop: invalid type: integer `7`, expected a text or a list of texts"),
        ("stop", json!(["a", 7]), "stop[1]", "stop[1]: invalid type: integer `7`, expected a text"),
        ("tool_choice", json!("always"), "tool_choice", "tool_choice: unknown variant `always`, expected one of"),
        (
            "tool_choice",
            json!(["auto"]),
            "tool_choice",
            "tool_choice: invalid type: sequence, expected none, auto, required or an object that names a function",
        ),
        (
            "tool_choice",
            json!({"type": "function", "function": {"name": "x"}}),
            "tool_choice.function.name",
            "tool_choice.function.name: expected a function of tools (none), got \"x\"",
        ),
        ("temperature", json!("hot"), "temperature", "temperature: invalid type: string \"hot\", expected a number"),
        ("n", json!(0), "n", "n: expected 1 to 128, got 0"),
        ("max_tokens", json!(0), "max_tokens", "max_tokens: expected 1 or more, got 0"),
    ] {
        let answer = server.post(PATH, body(json!({field: value}))).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        let error = &answer.json()["error"];
        assert_eq!(error["param"], param, "{error}");
        assert!(error["message"].as_str().unwrap().starts_with(start), "{error}");
    }
    assert!(server.model.asked().is_empty());
}
