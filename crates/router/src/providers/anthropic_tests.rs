//! Messages over real connections.

use super::*;
use crate::testing::{Reply, Server, ask, model, refused, told};
use chat::{AnswerFormat, GenerationOptions, Tool, ToolCall};

fn streamed(events: &[Value], reason: &str, stop: Option<&str>) -> Reply {
    let usage =
        json!({"input_tokens": 5, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 3, "output_tokens": 1});
    let start = json!({"type": "message_start", "message": {"id": "m", "content": [], "usage": usage}});
    let ending = json!({"stop_reason": reason, "stop_sequence": stop});
    let end = json!({"type": "message_delta", "delta": ending, "usage": {"output_tokens": 7}});
    let all = [start, json!({"type": "ping"})].into_iter().chain(events.iter().cloned());
    let all: Vec<String> = all.chain([end, json!({"type": "message_stop"})]).map(|event| event.to_string()).collect();
    Reply::events(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn block(index: usize, block: Value, deltas: &[Value]) -> Vec<Value> {
    let begin = json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |delta: &Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let end = json!({"type": "content_block_stop", "index": index});
    [begin].into_iter().chain(deltas.iter().map(delta)).chain([end]).collect()
}

fn text(index: usize, texts: &[&str]) -> Vec<Value> {
    let deltas: Vec<Value> = texts.iter().map(|text| json!({"type": "text_delta", "text": text})).collect();
    block(index, json!({"type": "text", "text": ""}), &deltas)
}

fn call(index: usize, name: &str, pieces: &[&str]) -> Vec<Value> {
    let delta = |piece: &&str| json!({"type": "input_json_delta", "partial_json": piece});
    let begin = json!({"type": "tool_use", "id": format!("t{index}"), "name": name, "input": {}});
    block(index, begin, &pieces.iter().map(delta).collect::<Vec<_>>())
}

#[test]
fn a_conversation_goes_out_and_an_answer_comes_in_pieces() {
    let thought =
        [json!({"type": "thinking_delta", "thinking": "hm"}), json!({"type": "signature_delta", "signature": "s"})];
    let mut events = block(0, json!({"type": "thinking", "thinking": "", "signature": ""}), &thought);
    events.push(json!({"type": "kind_to_come"}));
    events.extend(text(1, &["Hel", "lo"]));
    let server = Server::saying([streamed(&events, "stop_sequence", Some("b"))]);
    let mut request = ask("hi");
    request.messages.insert(0, Message::new(Role::System, "be nice"));
    request.think = Some(true);
    request.thought_tokens = Some(1024);
    request.options = GenerationOptions {
        max_tokens: Some(2000),
        top_k: Some(5),
        stop: vec!["a".into(), "b".into()],
        top_logprobs: Some(0),
        ..GenerationOptions::default()
    };
    let told = told(&model(&server, "anthropic"), request);
    assert_eq!(told, ["started 9", "thought hm", "text Hel", "text lo", "finished Stop 9 (3) 7 stop 1"]);
    let came = &server.came()[0];
    assert_eq!((came.path.as_str(), came.header("x-api-key")), ("/v1/messages", "sk-1"));
    assert_eq!((came.header("anthropic-version"), came.header("authorization")), ("2023-06-01", ""));
    let expected = json!({
        "model": "m", "max_tokens": 2000, "system": "be nice", "stream": true, "top_k": 5, "stop_sequences": ["a", "b"],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "thinking": {"type": "enabled", "budget_tokens": 1024}
    });
    assert_eq!(came.body, expected);
}

#[test]
fn a_format_is_a_tool_that_must_be_called() {
    let list = json!({"type": "array", "items": {"type": "integer"}});
    let server = Server::saying([
        streamed(&call(0, "answer", &["{\"n\":", " 7}"]), "tool_use", None),
        streamed(&call(0, "answer", &["{\"answer\": [1, 2]}"]), "tool_use", None),
        streamed(&call(0, "answer", &["{\"answer\": \"red\"}"]), "tool_use", None),
        streamed(&call(0, "answer", &["{\"answer\": \"green\"}"]), "tool_use", None),
        streamed(&text(0, &["It is red."]), "end_turn", None),
    ]);
    let model = model(&server, "anthropic");
    let held = |format| ChatRequest { format: Some(format), think: Some(false), ..ask("x") };
    let finished = "finished Stop 9 (3) 7";
    assert_eq!(told(&model, held(AnswerFormat::JsonObject)), ["started 9", "text {\"n\":", "text  7}", finished]);
    assert_eq!(told(&model, held(AnswerFormat::JsonSchema(list.clone()))), ["started 9", "text [1,2]", finished]);
    let choices = || held(AnswerFormat::Choices(vec!["red".into(), "blue".into()]));
    assert_eq!(told(&model, choices()), ["started 9", "text red", finished]);
    assert_eq!(refused(&model, choices()), "p/m: expected one of the choices, got \"{\\\"answer\\\": \\\"green\\\"}\"");
    assert_eq!(refused(&model, choices()), "p/m: expected the answer in its format, got text: \"It is red.\"");
    let body = &server.came()[1].body;
    assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "answer", "disable_parallel_tool_use": true}));
    assert_eq!(body["tools"][0]["input_schema"]["properties"]["answer"], list);
    assert_eq!((&body["thinking"], &body["max_tokens"]), (&json!({"type": "disabled"}), &json!(8192)));
}

#[test]
fn tools_go_out_and_calls_come_in_pieces() {
    let mut events = text(0, &["Let me see."]);
    events.extend(call(1, "weather", &["", "{\"city\": ", "\"Bern\"}"]));
    let server = Server::saying([streamed(&events, "tool_use", None)]);
    let mut request = ask("weather?");
    let mut called = Message::new(Role::Assistant, "");
    let one = |id: &str| ToolCall { id: id.into(), name: "weather".into(), arguments: Map::new() };
    called.tool_calls = vec![one("a"), one("b")];
    request.messages.push(called);
    for id in ["a", "b"] {
        let mut result = Message::new(Role::Tool, format!("result {id}"));
        result.tool_call_id = Some(id.into());
        request.messages.push(result);
    }
    let function = json!({"name": "weather", "description": "of a city", "parameters": {"type": "object"}});
    request.tools = vec![Tool { name: "weather".into(), definition: json!({"function": function}), strict: true }];
    request.tool_choice = ToolChoice::Required;
    request.one_tool_call = true;
    let told = told(&model(&server, "anthropic"), request);
    let expected = [
        "started 9",
        "text Let me see.",
        "call 0 t1 weather",
        "arguments 0 {\"city\": ",
        "arguments 0 \"Bern\"}",
        "finished ToolCalls 9 (3) 7",
    ];
    assert_eq!(told, expected);
    let body = server.body();
    let roles: Vec<_> = body["messages"].as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user"], "results stand together");
    let result = json!({"type": "tool_result", "tool_use_id": "b", "content": "result b"});
    assert_eq!(body["messages"][2]["content"][1], result);
    let tool =
        json!({"name": "weather", "input_schema": {"type": "object"}, "description": "of a city", "strict": true});
    assert_eq!(body["tools"], json!([tool]));
    assert_eq!(body["tool_choice"], json!({"type": "any", "disable_parallel_tool_use": true}));
}

#[test]
fn an_answer_may_come_as_a_whole() {
    let call = json!({"type": "tool_use", "id": "t", "name": "answer", "input": {"answer": "red"}});
    let whole = json!({
        "type": "message", "content": [call], "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 5, "output_tokens": 2}
    });
    let server = Server::saying([Reply::json(200, &whole)]);
    let request = ChatRequest { format: Some(AnswerFormat::Choices(vec!["red".into()])), ..ask("x") };
    assert_eq!(told(&model(&server, "anthropic"), request), ["started 5", "text red", "finished Stop 5 (0) 2"]);
}

#[test]
fn errors_of_a_stream_are_tried_again_before_the_first_token() {
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}).to_string();
    let start =
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}).to_string();
    let server = Server::saying([
        Reply::events(&[&error]),
        Reply::events(&[&start, &error]),
        streamed(&text(0, &["a"]), "end_turn", None),
    ]);
    let told = told(&model(&server, "anthropic"), ask("x"));
    assert_eq!(told.len(), 3, "it starts once: {told:?}");
    let refusing = streamed(&text(0, &["I "]), "refusal", None);
    let cut = Reply::events(&[&start, &text(0, &["par"])[1].to_string()]);
    let server = Server::saying([refusing, cut, streamed(&[], "pause_turn", None)]);
    let model = model(&server, "anthropic");
    assert_eq!(refused(&model, ask("x")), "p/m: the model refused to answer (stop_reason refusal)");
    let told = refused(&model, ask("x"));
    assert!(told.starts_with("p/m: the answer was cut short: the answer broke off before its end\nhint: "), "{told}");
    assert_eq!(refused(&model, ask("x")), "p/m: the answer ended as \"pause_turn\", which is unknown here");
}

#[test]
fn what_there_are_no_words_for_is_refused_by_name() {
    let server = Server::saying([]);
    let model = model(&server, "anthropic");
    let check = |set: fn(&mut ChatRequest), message: &str| {
        let mut request = ask("x");
        set(&mut request);
        assert_eq!(refused(&model, request), message);
    };
    check(|request| request.options.seed = Some(1), "p/m does not support a seed");
    check(|request| request.options.min_p = Some(0.1), "p/m does not support min_p");
    check(|request| request.options.top_logprobs = Some(1), "p/m does not support log-probabilities of alternatives");
    check(
        |request| request.think = Some(true),
        "p/m: thought_tokens: expected a number where it is to think, got none",
    );
    check(
        |request| {
            request.thought_tokens = Some(9);
            request.format = Some(AnswerFormat::JsonObject);
        },
        "p/m does not support thinking before an answer that is held to a format",
    );
    check(
        |request| request.messages.push(Message::new(Role::System, "late")),
        "p/m: messages[1].role: expected messages of the system only at the beginning",
    );
    check(
        |request| request.messages.push(Message::new(Role::Tool, "result")),
        "p/m: messages[1].tool_call_id: expected the id of a call, got none",
    );
    check(
        |request| drop(request.messages[0].extra.insert("name".into(), "Ada".into())),
        "p/m: messages[0].name: there is no such field",
    );
    assert!(server.came().is_empty());
}
