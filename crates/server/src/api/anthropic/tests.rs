//! The dialect over HTTP, with a scripted model: bodies compared as a whole, streams event by event.

use crate::testing::{Answer, Asked, Reply, Running, finished, started, text};
use chat::{AnswerFormat, ChatError, ChatEvent, FinishReason, Message, Role, ToolCall, ToolChoice, Usage};
use serde_json::{Value, json};

fn body(more: Value) -> Value {
    let mut body = json!({"model": "small", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// A message without its id, which differs each time and must be of the right form.
fn nameless(mut message: Value) -> Value {
    let id = message.as_object_mut().unwrap().remove("id").unwrap();
    let id = id.as_str().unwrap();
    assert!(id.starts_with("msg_") && id.len() == 28, "{id}");
    message
}

/// Names and data of the events; each name is the type of its data.
fn events(answer: &Answer) -> Vec<Value> {
    let names: Vec<&str> = answer.text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let (data, _) = answer.events();
    let types: Vec<&str> = data.iter().map(|data| data["type"].as_str().unwrap()).collect();
    assert_eq!(names, types);
    data
}

fn usage(input: usize, output: usize, read: usize) -> Value {
    json!({
        "input_tokens": input, "output_tokens": output, "cache_creation_input_tokens": 0, "cache_read_input_tokens": read,
    })
}

async fn refused(server: &Running, path: &str, body: Value) -> (u16, String, String) {
    let answer = server.post(path, body).await;
    let error = answer.json();
    let word = |name: &str| error["error"][name].as_str().unwrap_or_else(|| panic!("{error}")).to_owned();
    assert_eq!(error, json!({"type": "error", "error": {"type": word("type"), "message": word("message")}}));
    (answer.status, word("type"), word("message"))
}

/// Thought, text and a call.
fn all_kinds() -> Reply {
    let usage = Usage { prompt_tokens: 9, cached_tokens: 4, completion_tokens: 6, ..Usage::default() };
    Reply::events(vec![
        Ok(started(9)),
        Ok(ChatEvent::Thought { text: "h".to_owned(), tokens: 1 }),
        Ok(ChatEvent::Thought { text: "m".to_owned(), tokens: 1 }),
        Ok(text("ok")),
        Ok(ChatEvent::ToolCall { index: 0, id: "c0".to_owned(), name: "add".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 0, json: "{\"a\":".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 0, json: "1}".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolCall { index: 1, id: "c1".to_owned(), name: "now".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 1, json: "{}".to_owned(), tokens: 0 }),
        Ok(ChatEvent::Finished { reason: FinishReason::ToolCalls, usage }),
    ])
}

#[tokio::test]
async fn an_answer_is_held_to_a_schema() {
    let server = Running::start().await;
    let schema = json!({"type": "object", "x-warn": 1});
    let config = |schema: &Value| json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let answer = server.post("/v1/messages", body(config(&schema))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["warnings"], json!(["output_config.format.schema#/x-warn: the keyword has no effect"]));
    let Some(Asked::Chat(request)) = server.model.asked().pop() else { panic!("it is a conversation") };
    assert_eq!(request.format, Some(AnswerFormat::JsonSchema(schema)));
    let answer = server.post("/v1/messages", body(config(&json!({"not": {}})))).await;
    let said = "output_config.format.schema#/not: cannot be held to";
    assert_eq!((answer.status, &answer.json()["error"]["message"]), (400, &json!(said)));
}

#[tokio::test]
async fn a_conversation_is_answered() {
    let server = Running::start().await;
    let answer = server.post("/v1/messages", body(json!({}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let expected = json!({
        "type": "message", "role": "assistant", "model": "small", "content": [{"type": "text", "text": "Hello world"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": usage(3, 2, 0),
    });
    assert_eq!(nameless(answer.json()), expected);

    server.model.will(all_kinds());
    let answer = server.post("/v1/messages", body(json!({}))).await;
    let expected = json!({
        "type": "message", "role": "assistant", "model": "small",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "ok"},
            {"type": "tool_use", "id": "c0", "name": "add", "input": {"a": 1}},
            {"type": "tool_use", "id": "c1", "name": "now", "input": {}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null, "usage": usage(5, 6, 4),
    });
    assert_eq!(nameless(answer.json()), expected);

    server.model.will(Reply::events(vec![Ok(started(3)), Ok(finished(FinishReason::Length, 3, 1))]));
    let answer = server.post("/v1/messages", body(json!({}))).await.json();
    assert_eq!((&answer["content"], &answer["stop_reason"]), (&json!([]), &json!("max_tokens")));
}

#[tokio::test]
async fn the_stop_sequence_that_came_is_named() {
    let server = Running::start().await;
    let reply = || {
        let usage = Usage { prompt_tokens: 3, completion_tokens: 2, stop: Some(1), ..Usage::default() };
        let end = ChatEvent::Finished { reason: FinishReason::Stop, usage };
        Reply::events(vec![Ok(started(3)), Ok(text("a")), Ok(end)])
    };
    server.model.will(reply());
    let answer = server.post("/v1/messages", body(json!({"stop_sequences": ["x", "y"]}))).await.json();
    assert_eq!((&answer["stop_reason"], &answer["stop_sequence"]), (&json!("stop_sequence"), &json!("y")));
    server.model.will(reply());
    let answer = server.post("/v1/messages", body(json!({"stop_sequences": ["x", "y"], "stream": true}))).await;
    let delta = &events(&answer).into_iter().find(|event| event["type"] == "message_delta").unwrap()["delta"];
    assert_eq!(*delta, json!({"stop_reason": "stop_sequence", "stop_sequence": "y"}));
    assert!(matches!(&server.model.asked()[0], Asked::Chat(request) if request.options.stop == ["x", "y"]));
}

#[tokio::test]
async fn an_answer_streams_block_by_block() {
    let server = Running::start().await;
    server.model.will(all_kinds());
    let answer = server.post("/v1/messages", body(json!({"stream": true, "metadata": {"user_id": "u"}}))).await;
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let mut events = events(&answer);
    let message = nameless(events[0]["message"].take());
    let expected = json!({
        "type": "message", "role": "assistant", "model": "small", "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": usage(9, 0, 0), "warnings": ["metadata has no effect here"],
    });
    assert_eq!(message, expected);
    let start =
        |index: usize, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: usize| json!({"type": "content_block_stop", "index": index});
    let expected = [
        json!({"type": "ping"}),
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "h"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "m"})),
        delta(0, json!({"type": "signature_delta", "signature": ""})),
        stop(0),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "ok"})),
        stop(1),
        start(2, json!({"type": "tool_use", "id": "c0", "name": "add", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"a\":"})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "1}"})),
        stop(2),
        start(3, json!({"type": "tool_use", "id": "c1", "name": "now", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{}"})),
        stop(3),
        json!({
            "type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": usage(5, 6, 4),
        }),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(events[1..], expected);
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_in_an_error() {
    let server = Running::start().await;
    server.model.will(Reply::breaking(&["a"], ChatError::Internal("lost".to_owned())));
    let answer = server.post("/v1/messages", body(json!({"stream": true}))).await;
    let last = events(&answer).pop().unwrap();
    let error = json!({"type": "api_error", "message": "internal error: lost"});
    assert_eq!(last, json!({"type": "error", "error": error}));
}

#[tokio::test]
async fn every_kind_of_block_is_read() {
    let server = Running::start().await;
    let cached = json!({"type": "ephemeral"});
    let tool = json!({
        "name": "add", "description": "adds", "input_schema": {"type": "object"}, "type": "custom", "cache_control": cached,
    });
    let more = json!({
        "system": [{"type": "text", "text": "Be ", "cache_control": cached}, {"type": "text", "text": "brief."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "text", "text": "calling"},
                {"type": "tool_use", "id": "c0", "name": "add", "input": {"a": 1}},
                {"type": "tool_use", "id": "c1", "name": "add", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c0", "content": "2"},
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "bad"}], "is_error": true},
                {"type": "text", "text": "go on"},
            ]},
        ],
        "tools": [tool], "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 20}, "temperature": 0.5, "top_p": 0.9, "top_k": 5,
        "service_tier": "auto",
    });
    let answer = server.post("/v1/messages", body(more)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let warnings = ["service_tier", "cache_control", "signature"].map(|name| format!("{name} has no effect here"));
    assert_eq!(answer.json()["warnings"], json!(warnings));
    let asked = server.model.asked();
    let [Asked::Chat(request)] = &asked[..] else { panic!("{asked:?}") };
    let call = |id: &str, arguments: Value| ToolCall {
        id: id.to_owned(),
        name: "add".to_owned(),
        arguments: arguments.as_object().unwrap().clone(),
    };
    let result = |id: &str, text: &str| {
        let mut message = Message::new(Role::Tool, text);
        message.tool_call_id = Some(id.to_owned());
        message.extra.insert("name".to_owned(), json!("add"));
        message
    };
    let mut assistant = Message::new(Role::Assistant, "calling");
    assistant.thought = Some("hm".to_owned());
    assistant.tool_calls = vec![call("c0", json!({"a": 1})), call("c1", json!({}))];
    let expected = [
        Message::new(Role::System, "Be brief."),
        Message::new(Role::User, "ab"),
        assistant,
        result("c0", "2"),
        result("c1", "Error: bad"),
        Message::new(Role::User, "go on"),
    ];
    assert_eq!(request.messages, expected);
    assert_eq!((&request.tool_choice, request.one_tool_call), (&ToolChoice::Required, true));
    assert_eq!((request.think, request.thought_tokens), (Some(true), Some(20)));
    let definition = json!({
        "type": "function",
        "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}},
    });
    assert_eq!((request.tools[0].name.as_str(), &request.tools[0].definition), ("add", &definition));
    let options = &request.options;
    assert_eq!((options.max_tokens, options.temperature, options.top_k), (Some(50), Some(0.5), Some(5)));
}

#[tokio::test]
async fn tokens_are_counted() {
    let server = Running::start().await;
    let counted = json!({
        "model": "small", "system": "one two", "messages": [{"role": "user", "content": "three"}],
        "tools": [{"name": "add", "input_schema": {}}],
    });
    let answer = server.post("/v1/messages/count_tokens", counted).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"input_tokens": 3})));
    let asked = server.model.asked();
    assert!(matches!(&asked[..], [Asked::Count(request)] if request.tools.len() == 1));
    let (status, kind, message) = refused(&server, "/v1/messages/count_tokens", body(json!({}))).await;
    assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
    assert!(message.starts_with("max_tokens: unknown field `max_tokens`"), "{message}");
}

/// Each of these requests is refused with a message that begins so, and no model is asked.
#[tokio::test]
async fn a_call_that_was_cut_short_is_left_out_and_told() {
    let server = Running::start().await;
    server.model.will(Reply::events(vec![
        Ok(started(9)),
        Ok(ChatEvent::ToolCall { index: 0, id: "c0".to_owned(), name: "now".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 0, json: "{}".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolCall { index: 1, id: "c1".to_owned(), name: "add".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 1, json: "{\"a\": ".to_owned(), tokens: 1 }),
        Ok(finished(FinishReason::Length, 9, 4)),
    ]));
    let tools = json!([{"name": "add", "input_schema": {}, "strict": true}, {"name": "now", "input_schema": {}}]);
    let answer = server.post("/v1/messages", body(json!({"tools": tools}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    assert_eq!(answer["stop_reason"], "max_tokens");
    assert_eq!(answer["content"], json!([{"type": "tool_use", "id": "c0", "name": "now", "input": {}}]));
    assert_eq!(answer["warnings"], json!(["the answer was cut short in a call of add, which is left out"]));
    let [Asked::Chat(request)] = &server.model.asked()[..] else { panic!() };
    assert_eq!([request.tools[0].strict, request.tools[1].strict], [true, false]);
}

async fn all_refused(server: &Running, wrong: impl IntoIterator<Item = (Value, &str)>) {
    for (more, expected) in wrong {
        let (status, kind, message) = refused(server, "/v1/messages", body(more)).await;
        assert_eq!((status, kind.as_str()), (400, "invalid_request_error"), "{message}");
        assert!(message.starts_with(expected), "{message}");
    }
    assert_eq!(server.model.asked(), []);
}

#[tokio::test]
async fn wrong_messages_are_refused_by_name() {
    let server = Running::start().await;
    let blocks = |role: &str, block: Value| json!({"messages": [{"role": role, "content": [block]}]});
    let user = |block: Value| blocks("user", block);
    let wrong = [
        (json!({"colour": 1}), "colour: unknown field `colour`"),
        (json!({"max_tokens": 0}), "max_tokens: expected 1 or more, got 0"),
        (json!({"messages": []}), "messages: expected at least one message, got none"),
        (json!({"messages": [{"role": "system", "content": "a"}]}), "messages[0].role: unknown variant `system`"),
        (
            json!({"messages": [{"role": "assistant", "content": "a"}]}),
            "messages[0].role: expected the last message to be",
        ),
        (
            json!({"messages": [{"role": "user", "content": 5}]}),
            "messages[0].content: invalid type: integer `5`, expected a text or a list",
        ),
        (json!({"messages": [{"role": "user", "content": []}]}), "messages[0].content: expected at least one block"),
        (
            user(json!({"type": "image", "source": {}})),
            "messages[0].content[0].type: expected text or tool_result, got \"image\": models here read text alone",
        ),
        (
            user(json!({"type": "redacted_thinking", "data": ""})),
            "messages[0].content[0].type: expected text or tool_result, got \"redacted_thinking\"",
        ),
        (
            user(json!({"type": "tool_use", "id": "a", "name": "b", "input": {}})),
            "messages[0].content[0].type: expected text or tool_result, got \"tool_use\"",
        ),
        (user(json!({"type": "text"})), "messages[0].content[0].text: expected a value, got none"),
        (
            user(json!({"type": "text", "text": "a", "id": "b"})),
            "messages[0].content[0].id: expected none in a block of the type text",
        ),
        (user(json!({"type": "text", "text": "a", "colour": 1})), "messages[0].content[0].colour: unknown field"),
        (
            user(json!({"type": "tool_result", "tool_use_id": "a"})),
            "messages[0].content[0].tool_use_id: expected the id of a tool_use block before it, got \"a\"",
        ),
        (
            user(json!({"type": "text", "text": "a", "toolset_name": "b", "citations": null})),
            "messages[0].content[0].toolset_name: expected none in a block of the type text",
        ),
        (
            json!({"system": [{"type": "text", "text": "a", "source": {}}]}),
            "system[0].source: expected none in a block of the type text",
        ),
        (json!({"system": [{"type": "text", "text": "a", "image_url": "b"}]}), "system[0].image_url: unknown field"),
        (json!({"system": 5}), "system: invalid type: integer `5`, expected a text or a list"),
        (json!({"system": [{"type": "image", "source": {}}]}), "system[0].type: expected text, got \"image\""),
    ];
    all_refused(&server, wrong).await;
}

#[tokio::test]
async fn other_wrong_fields_are_refused_by_name() {
    let server = Running::start().await;
    let wrong = [
        (json!({"stop_sequences": [""]}), "stop_sequences[0]: expected a text, got an empty one"),
        (
            json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}),
            "tools[0].type: expected custom, got \"bash_20250124\"",
        ),
        (json!({"tools": [{"name": "a"}]}), "tools[0].input_schema: expected a JSON Schema, got none"),
        (
            json!({"tools": [{"name": "a", "input_schema": {}}, {"name": "b", "input_schema": {"not": {}}, "strict": true}]}),
            "tools[1].input_schema#/not: cannot be held to\nhint: leave it out of the schema",
        ),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice.name: expected the name of a tool, got none"),
        (
            json!({"tool_choice": {"type": "auto", "name": "a"}}),
            "tool_choice.name: expected only where the type is tool",
        ),
        (
            json!({"tool_choice": {"type": "none", "disable_parallel_tool_use": true}}),
            "tool_choice.disable_parallel_tool_use: expected none where the type is none",
        ),
        (json!({"thinking": {"type": "enabled"}}), "thinking.budget_tokens: expected a number of tokens, got none"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 50}}),
            "thinking.budget_tokens: expected fewer than max_tokens (50), got 50",
        ),
        (
            json!({"thinking": {"type": "disabled", "budget_tokens": 5}}),
            "thinking.budget_tokens: expected only where the type is enabled",
        ),
    ];
    all_refused(&server, wrong).await;
    let mut without = body(json!({}));
    without.as_object_mut().unwrap().remove("max_tokens");
    let (_, _, message) = refused(&server, "/v1/messages", without).await;
    assert!(message.contains("missing field `max_tokens`"), "{message}");
}

#[tokio::test]
async fn refusals_have_the_words_of_the_reference() {
    let server = Running::start().await;
    let (status, kind, _) = refused(&server, "/v1/messages", body(json!({"model": "none"}))).await;
    assert_eq!((status, kind.as_str()), (404, "not_found_error"));
    let (status, kind, _) = refused(&server, "/v1/messages/batches", json!({})).await;
    assert_eq!((status, kind.as_str()), (404, "not_found_error"));
    server.model.will(Reply::refusing(ChatError::Overloaded("too many".to_owned())));
    let (status, kind, message) = refused(&server, "/v1/messages", body(json!({}))).await;
    assert_eq!((status, kind.as_str(), message.as_str()), (429, "rate_limit_error", "too many"));
}
