//! Responses through HTTP.

use crate::testing::{Answer, Asked, Reply, Running, finished, logprob, started, text};
use chat::{AnswerFormat, ChatError, ChatEvent, FinishReason, Role, ToolChoice};
use serde_json::{Value, json};

const PATH: &str = "/v1/responses";

/// The names of a stream's events, and their data.
fn told(answer: &Answer) -> (Vec<String>, Vec<Value>) {
    let names = answer.text.lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect();
    let (data, is_done) = answer.events();
    assert!(!is_done, "this API has no [DONE]");
    for (number, event) in data.iter().enumerate() {
        assert_eq!(event["sequence_number"], json!(number));
    }
    (names, data)
}

fn thought_and_call() -> Reply {
    Reply::events(vec![
        Ok(started(5)),
        Ok(ChatEvent::Thought { text: "look".to_owned(), tokens: 2 }),
        Ok(text("Let me see.")),
        Ok(ChatEvent::ToolCall { index: 0, id: "call_1".to_owned(), name: "weather".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 0, json: "{\"city\":".to_owned(), tokens: 1 }),
        Ok(ChatEvent::ToolArguments { index: 0, json: "\"Bern\"}".to_owned(), tokens: 1 }),
        Ok(finished(FinishReason::ToolCalls, 5, 7)),
    ])
}

fn tools() -> Value {
    json!([{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": false}])
}

#[tokio::test]
async fn a_text_is_answered() {
    let server = Running::start().await;
    let body = json!({
        "model": "small", "input": "Hi", "instructions": "be brief", "max_output_tokens": 9, "temperature": 0.5,
        "metadata": {"a": "b"}, "store": false, "user": "me",
    });
    let answer = server.post(PATH, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    assert_eq!(answer["object"], "response");
    assert_eq!(answer["status"], "completed");
    assert_eq!(answer["store"], false);
    assert_eq!(answer["metadata"], json!({"a": "b"}));
    assert_eq!(answer["warnings"], json!(["user has no effect here"]));
    assert_eq!(answer["output"][0]["type"], "message");
    assert_eq!(answer["output"][0]["status"], "completed");
    let part = json!({"type": "output_text", "text": "Hello world", "annotations": [], "logprobs": []});
    assert_eq!(answer["output"][0]["content"], json!([part]));
    assert_eq!(answer["usage"]["input_tokens"], 3);
    assert_eq!(answer["usage"]["output_tokens"], 2);
    let [Asked::Chat(request)] = &server.model.asked()[..] else { panic!() };
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User]);
    assert_eq!(request.options.max_tokens, Some(9));
}

#[tokio::test]
async fn thought_text_and_calls_are_items() {
    let server = Running::start().await;
    server.model.will(thought_and_call());
    let body = json!({
        "model": "small", "input": "Weather?", "tools": tools(), "parallel_tool_calls": false,
        "tool_choice": {"type": "function", "name": "weather"}, "reasoning": {"effort": "none", "summary": "auto"},
    });
    let answer = server.post(PATH, body).await.json();
    let kinds: Vec<&Value> = answer["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call"]);
    assert_eq!(answer["output"][0]["content"], json!([{"type": "reasoning_text", "text": "look"}]));
    assert_eq!(answer["output"][2]["call_id"], "call_1");
    assert_eq!(answer["output"][2]["arguments"], "{\"city\":\"Bern\"}");
    assert_eq!(answer["usage"]["output_tokens_details"]["reasoning_tokens"], 2);
    assert_eq!(answer["warnings"], json!(["reasoning.summary has no effect here"]));
    let [Asked::Chat(request)] = &server.model.asked()[..] else { panic!() };
    assert_eq!(request.tool_choice, ToolChoice::Named("weather".to_owned()));
    assert!(request.one_tool_call);
    assert_eq!(request.think, Some(false));
    let function = json!({"name": "weather", "parameters": {"type": "object"}});
    assert_eq!(request.tools[0].definition, json!({"type": "function", "function": function}));
}

#[tokio::test]
async fn a_stream_tells_each_step_in_the_order_of_the_reference() {
    let server = Running::start().await;
    server.model.will(thought_and_call());
    let body = json!({"model": "small", "input": "Weather?", "tools": tools(), "stream": true});
    let (names, data) = told(&server.post(PATH, body).await);
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let types: Vec<&str> = data.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, names);
    let places: Vec<&Value> = data.iter().filter_map(|event| event.get("output_index")).collect();
    assert!(places.is_sorted_by_key(|place| place.as_u64()), "{places:?}");
    let last = &data.last().unwrap()["response"];
    assert_eq!(last["output"].as_array().unwrap().len(), 3);
    assert_eq!(last["output"][1], data[13]["item"], "the item as it was told");
    assert_eq!(data[17]["arguments"], "{\"city\":\"Bern\"}");
}

#[tokio::test]
async fn an_answer_cut_at_its_bound_is_incomplete() {
    let server = Running::start().await;
    let cut = || Reply::events(vec![Ok(started(1)), Ok(text("a")), Ok(finished(FinishReason::Length, 1, 1))]);
    server.model.will(cut());
    let answer = server.post(PATH, json!({"model": "small", "input": "x"})).await.json();
    assert_eq!(answer["status"], "incomplete");
    assert_eq!(answer["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(answer["output"][0]["status"], "incomplete");
    server.model.will(cut());
    let (names, _) = told(&server.post(PATH, json!({"model": "small", "input": "x", "stream": true})).await);
    assert_eq!(names.last().unwrap(), "response.incomplete");
}

#[tokio::test]
async fn an_answer_that_breaks_off_has_failed() {
    let server = Running::start().await;
    server.model.will(Reply::breaking(&["a"], ChatError::BadOutput("no JSON".to_owned())));
    let (names, data) = told(&server.post(PATH, json!({"model": "small", "input": "x", "stream": true})).await);
    assert_eq!(names.last().unwrap(), "response.failed");
    let response = &data.last().unwrap()["response"];
    assert_eq!(response["status"], "failed");
    assert_eq!(response["error"]["message"], "no JSON");
    assert_eq!(response["output"][0]["status"], "incomplete");
    server.model.will(Reply::breaking(&["a"], ChatError::BadOutput("no JSON".to_owned())));
    let answer = server.post(PATH, json!({"model": "small", "input": "x"})).await;
    assert_eq!((answer.status, &answer.json()["error"]["message"]), (502, &json!("no JSON")));
}

#[tokio::test]
async fn log_probabilities_come_where_they_are_included() {
    let server = Running::start().await;
    let piece = ChatEvent::Text { text: "a".to_owned(), tokens: 1, logprobs: vec![logprob("a", -1.0, &[("b", -0.5)])] };
    server.model.will(Reply::events(vec![Ok(started(1)), Ok(piece), Ok(finished(FinishReason::Stop, 1, 2))]));
    let body = json!({
        "model": "small", "input": "x", "include": ["message.output_text.logprobs"], "top_logprobs": 1,
    });
    let answer = server.post(PATH, body).await.json();
    let top = json!([{"token": "b", "logprob": -0.5, "bytes": [98]}]);
    let entry = json!({"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": top});
    assert_eq!(answer["output"][0]["content"][0]["logprobs"], json!([entry]));
}

#[tokio::test]
async fn what_needs_a_memory_is_refused_as_stateless() {
    let server = Running::start().await;
    for (field, value) in [
        ("store", json!(true)),
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("background", json!(true)),
    ] {
        let mut body = json!({"model": "small", "input": "x"});
        body[field] = value;
        let answer = server.post(PATH, body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.json()["error"]["param"], field);
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{field}: not supported, because this server is stateless")), "{message}");
    }
}

#[tokio::test]
async fn a_response_is_held_to_a_format_and_tells_it() {
    let server = Running::start().await;
    let format = json!({"type": "json_schema", "name": "x", "schema": {"type": "object", "x-warn": 1}, "strict": true});
    let answer = server.post(PATH, json!({"model": "small", "input": "x", "text": {"format": format}})).await.json();
    assert_eq!(answer["text"], json!({"format": format}));
    assert_eq!(answer["warnings"], json!(["text.format.schema#/x-warn: the keyword has no effect"]));
    let Some(Asked::Chat(request)) = server.model.asked().pop() else { panic!("it is a conversation") };
    assert_eq!(request.format, Some(AnswerFormat::JsonSchema(format["schema"].clone())));
    let plain = server.post(PATH, json!({"model": "small", "input": "x"})).await.json();
    assert_eq!(plain["text"], json!({"format": {"type": "text"}}));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_name() {
    let server = Running::start().await;
    for (field, value, param, start) in [
        (
            "text",
            json!({"format": {"type": "xml"}}),
            "text.format",
            "text.format: expected the type text, json_object or",
        ),
        (
            "text",
            json!({"format": {"type": "json_schema", "name": "x", "strict": true}}),
            "text.format.schema",
            "text.format.schema: expected a JSON Schema, got none",
        ),
        (
            "text",
            json!({"format": {"type": "json_schema", "name": "x", "schema": {"not": {}}}}),
            "text.format.schema",
            "text.format.schema#/not: cannot be held to",
        ),
        ("text", json!({"format": {"type": "text", "foo": 1}}), "text.format.foo", "text.format.foo: unknown field"),
        (
            "text",
            json!({"format": {"type": "text", "schema": {}}}),
            "text.format.schema",
            "text.format.schema: expected none in a format of the type text",
        ),
        ("truncation", json!("auto"), "truncation", "truncation: expected disabled, got \"auto\""),
        ("include", json!(["x"]), "include[0]", "include[0]: expected message.output_text.logprobs"),
        ("tool_choice", json!("required"), "tool_choice", "tool_choice: expected required only where there are tools"),
        (
            "tool_choice",
            json!({"type": "function", "name": "x"}),
            "tool_choice.name",
            "tool_choice.name: expected a function of tools (none), got \"x\"",
        ),
        (
            "tools",
            json!([{"type": "function", "name": "x", "parameters": {"not": {}}, "strict": true}]),
            "tools[0].parameters",
            "tools[0].parameters#/not: cannot be held to\nhint: leave it out of the schema",
        ),
        ("tools", json!([{"type": "web_search"}]), "tools[0].type", "tools[0].type: unknown variant `web_search`"),
        ("input", json!(7), "input", "input: invalid type: integer `7`, expected a text or a list of items"),
        (
            "input",
            json!([{"role": "user", "content": [{"type": "input_text", "text": "a", "colour": 1}]}]),
            "input[0].content[0].colour",
            "input[0].content[0].colour: unknown field",
        ),
        ("metadata", json!({"a": 1}), "metadata.a", "metadata.a: expected a text, got 1"),
        ("max_output_tokens", json!(0), "max_output_tokens", "max_output_tokens: expected 1 or more, got 0"),
    ] {
        let mut body = json!({"model": "small", "input": "x"});
        body[field] = value;
        let answer = server.post(PATH, body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        let error = &answer.json()["error"];
        assert_eq!(error["param"], param, "{error}");
        assert!(error["message"].as_str().unwrap().starts_with(start), "{error}");
    }
    assert!(server.model.asked().is_empty());
}
