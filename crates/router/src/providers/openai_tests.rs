//! Chat completions over real connections, as the reference and the hosts have them.

use super::*;
use crate::testing::{Reply, Server, answer, ask, model, preset, refused, told};
use chat::{ChatEvent, GenerationOptions, Tool, ToolCall};

const USAGE: &str = concat!(
    r#"{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "#,
    r#""prompt_tokens_details": {"cached_tokens": 4}}}"#
);

fn streamed(deltas: &[Value], reason: &str) -> Reply {
    let chunk = |delta: &Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}).to_string();
    let mut data: Vec<String> = deltas.iter().map(chunk).collect();
    data.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}).to_string());
    data.extend([USAGE.to_owned(), "[DONE]".to_owned()]);
    Reply::events(&data.iter().map(String::as_str).collect::<Vec<_>>())
}

fn said(text: &str) -> Reply {
    streamed(&[json!({"content": text})], "stop")
}

fn options(request: ChatRequest, options: GenerationOptions) -> ChatRequest {
    ChatRequest { options, ..request }
}

fn weather(strict: bool) -> Tool {
    let function = json!({"name": "weather", "description": "of a city", "parameters": {"type": "object"}});
    Tool { name: "weather".into(), definition: json!({"type": "function", "function": function}), strict }
}

#[test]
fn a_conversation_goes_out_and_an_answer_comes_in_pieces() {
    let deltas = [
        json!({"role": "assistant", "content": ""}),
        json!({"reasoning_content": "hm"}),
        json!({"content": "Hel"}),
        json!({"content": "lo"}),
    ];
    let server = Server::saying([streamed(&deltas, "length")]);
    let mut request = ask("hi");
    request.messages.insert(0, Message::new(Role::System, "be nice"));
    request.options = GenerationOptions {
        max_tokens: Some(7),
        temperature: Some(0.1),
        top_p: Some(0.9),
        presence_penalty: Some(0.5),
        frequency_penalty: Some(0.25),
        seed: Some(3),
        stop: vec!["\n".into()],
        logit_bias: vec![(5, -1.5)],
        ..GenerationOptions::default()
    };
    let told = told(&preset(&server, "openai/gpt-4o-mini"), request);
    assert_eq!(told, ["started 0", "thought hm", "text Hel", "text lo", "finished Length 9 (4) 2"]);
    let came = &server.came()[0];
    assert_eq!((came.path.as_str(), came.header("authorization")), ("/v1/chat/completions", "Bearer sk-1"));
    let messages = json!([{"role": "system", "content": "be nice"}, {"role": "user", "content": "hi"}]);
    let expected = json!({
        "model": "gpt-4o-mini", "messages": messages, "stream": true, "stream_options": {"include_usage": true},
        "temperature": 0.1, "top_p": 0.9, "presence_penalty": 0.5, "frequency_penalty": 0.25,
        "max_completion_tokens": 7, "seed": 3, "stop": ["\n"], "logit_bias": {"5": -1.5}
    });
    assert_eq!(came.body, expected);
}

#[test]
fn an_answer_may_come_as_a_whole() {
    let message = json!({"role": "assistant", "content": "Hello", "refusal": null, "tool_calls": null});
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 15});
    let whole = json!({"choices": [{"message": message, "finish_reason": "stop", "logprobs": null}], "usage": usage});
    let server = Server::saying([Reply::json(200, &whole)]);
    let told = told(&model(&server, "openai"), ask("hi"));
    assert_eq!(told, ["started 9", "text Hello", "finished Stop 9 (0) 6"], "thought that only the total counts");
}

#[test]
fn tools_go_out_and_calls_come_in_pieces() {
    let call = |index: usize, rest: Value| {
        let mut call = json!({"index": index, "function": rest});
        if let Some(id) = call["function"].as_object_mut().unwrap().remove("id") {
            call["id"] = id;
        }
        json!({"tool_calls": [call]})
    };
    let deltas = [
        call(0, json!({"id": "c0", "name": "weather", "arguments": ""})),
        call(0, json!({"arguments": "{\"city\":"})),
        call(0, json!({"arguments": "\"Bern\"}"})),
        call(1, json!({"id": "c1", "name": "weather", "arguments": "{}"})),
    ];
    let server = Server::saying([streamed(&deltas, "tool_calls")]);
    let mut request = ask("weather?");
    let mut called = Message::new(Role::Assistant, "");
    called.tool_calls = vec![ToolCall { id: "b".into(), name: "weather".into(), arguments: Map::new() }];
    let mut result = Message::new(Role::Tool, "sunny");
    result.tool_call_id = Some("b".into());
    result.extra.insert("name".into(), "weather".into());
    request.messages.extend([called, result]);
    request.tools = vec![weather(true)];
    request.tool_choice = ToolChoice::Named("weather".into());
    request.one_tool_call = true;
    let told = told(&preset(&server, "openai/gpt-4o"), request);
    let expected = [
        "started 0",
        "call 0 c0 weather",
        "arguments 0 {\"city\":",
        "arguments 0 \"Bern\"}",
        "call 1 c1 weather",
        "arguments 1 {}",
        "finished ToolCalls 9 (4) 2",
    ];
    assert_eq!(told, expected);
    let body = server.body();
    let sent = json!({"id": "b", "type": "function", "function": {"name": "weather", "arguments": "{}"}});
    assert_eq!(body["messages"][1], json!({"role": "assistant", "content": null, "tool_calls": [sent]}));
    assert_eq!(body["messages"][2], json!({"role": "tool", "content": "sunny", "tool_call_id": "b"}));
    assert_eq!(body["tools"][0]["function"]["strict"], true);
    assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": "weather"}}));
    assert_eq!(body["parallel_tool_calls"], false);
}

#[test]
fn a_choice_comes_back_as_itself_with_the_tokens_that_made_it() {
    let pieces = [("{\"answer\":", -0.01), ("\"bl", -0.5), ("ue\"", -0.25), ("}", -0.01)];
    let chunk = |(text, logprob): &(&str, f64)| {
        let token = json!({"token": text, "logprob": logprob, "bytes": text.as_bytes(), "top_logprobs": []});
        json!({"choices": [{"delta": {"content": text}, "logprobs": {"content": [token]}}]}).to_string()
    };
    let mut data: Vec<String> = pieces.iter().map(chunk).collect();
    data.push(json!({"choices": [{"delta": {}, "finish_reason": "stop"}]}).to_string());
    data.push(USAGE.to_owned());
    let server = Server::saying([Reply::events(&data.iter().map(String::as_str).collect::<Vec<_>>())]);
    let mut request = ask("which?");
    request.format = Some(AnswerFormat::Choices(vec!["red".into(), "blue".into()]));
    request.options.top_logprobs = Some(0);
    let (events, error) = answer(&preset(&server, "openai/gpt-4o-mini"), request);
    assert!(error.is_none());
    let ChatEvent::Text { text, tokens, logprobs } = &events[1] else { panic!("{events:?}") };
    let found: Vec<_> = logprobs.iter().map(|token| (token.text.as_str(), token.logprob)).collect();
    assert_eq!((text.as_str(), *tokens, found), ("blue", 4, vec![("bl", -0.5), ("ue", -0.25)]));
    let body = server.body();
    assert_eq!((&body["logprobs"], body.get("top_logprobs")), (&json!(true), None));
    let schema = json!({
        "type": "object", "properties": {"answer": {"type": "string", "enum": ["red", "blue"]}},
        "required": ["answer"], "additionalProperties": false
    });
    let named = json!({"name": "answer", "schema": schema, "strict": true});
    assert_eq!(body["response_format"], json!({"type": "json_schema", "json_schema": named}));
}

#[test]
fn an_answer_that_is_not_of_its_format_is_an_error() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let held = |format| ChatRequest { format: Some(format), ..ask("x") };
    let server = Server::saying([said("{\"n\": 7}"), said("{\"n\": \"7\"}"), said("seven")]);
    let asked = || held(AnswerFormat::JsonSchema(schema.clone()));
    let model = model(&server, "openai");
    assert_eq!(told(&model, asked())[1], "text {\"n\": 7}");
    let message = refused(&model, asked());
    assert!(
        message.starts_with("p/m: expected JSON of the schema, got \"{\\\"n\\\": \\\"7\\\"}\": at \"/n\""),
        "{message}"
    );
    let message = refused(&model, held(AnswerFormat::JsonObject));
    assert!(message.starts_with("p/m: expected JSON, got \"seven\": expected value"), "{message}");
    let [first, _, last] = &server.came()[..] else { panic!() };
    assert_eq!(first.body["response_format"]["json_schema"]["strict"], false, "it is not closed");
    assert_eq!(last.body["response_format"], json!({"type": "json_object"}));
}

#[test]
fn half_an_answer_of_a_format_is_a_beginning() {
    let server = Server::saying([streamed(&[json!({"content": "{\"answer\""})], "length")]);
    let request = ChatRequest { format: Some(AnswerFormat::Choices(vec!["a".into()])), ..ask("x") };
    assert_eq!(told(&model(&server, "openai"), request), ["started 0", "finished Length 9 (4) 2"]);
}

#[test]
fn refusals_and_filters_are_no_answers() {
    let filtered = streamed(&[json!({"content": "a"})], "content_filter");
    let server = Server::saying([streamed(&[json!({"refusal": "I cannot"})], "stop"), filtered, streamed(&[], "odd")]);
    let model = model(&server, "openai");
    assert_eq!(refused(&model, ask("x")), "p/m: the model refused to answer: I cannot");
    let filter = "p/m: the provider's filter of contents cut the answer off (finish_reason content_filter)";
    assert_eq!(refused(&model, ask("x")), filter);
    assert_eq!(refused(&model, ask("x")), "p/m: the answer ended as \"odd\", which is unknown here");
}

#[test]
fn models_that_think_are_asked_for_the_least() {
    let server = Server::saying([said("a"), said("a"), said("a")]);
    let asked = |temperature| {
        let options = GenerationOptions { temperature, top_logprobs: Some(0), ..GenerationOptions::default() };
        ChatRequest { think: Some(false), options, ..ask("x") }
    };
    told(&preset(&server, "openai/gpt-5-mini"), asked(Some(1.0)));
    told(&preset(&server, "openai/gpt-5.4"), asked(Some(0.0)));
    told(&preset(&server, "openai/gpt-4o"), asked(Some(0.0)));
    let sent: Vec<_> = server
        .came()
        .iter()
        .map(|came| (came.body["reasoning_effort"].clone(), came.body["logprobs"].clone()))
        .collect();
    assert_eq!(sent, [(json!("minimal"), json!(null)), (json!("none"), json!(true)), (json!(null), json!(true))]);
    let message = refused(&preset(&server, "openai/o3"), asked(Some(0.0)));
    assert!(
        message.starts_with("openai/o3: temperature: expected 1, ") && message.contains("hint: set temperature = 1")
    );
}

#[test]
fn hosts_differ_in_their_fields() {
    let server = Server::saying([said("a"), said("a"), said("a")]);
    let asked = || {
        let set = GenerationOptions { max_tokens: Some(5), seed: Some(1), ..GenerationOptions::default() };
        ChatRequest { think: Some(false), ..options(ask("x"), set) }
    };
    told(&preset(&server, "mistral/mistral-small-latest"), asked());
    let mut own = asked();
    own.options.top_k = Some(40);
    own.options.min_p = Some(0.05);
    own.options.repeat_penalty = Some(1.1);
    told(&preset(&server, "together/org/name"), own);
    told(&model(&server, "openai"), asked());
    let [mistral, together, own] = &server.came()[..] else { panic!() };
    let expected = json!({
        "model": "mistral-small-latest", "messages": [{"role": "user", "content": "x"}], "stream": true, "max_tokens": 5,
        "random_seed": 1
    });
    assert_eq!(mistral.body, expected);
    assert_eq!(together.body["model"], "org/name");
    let samplers = ["top_k", "min_p", "repetition_penalty"].map(|field| together.body[field].clone());
    assert_eq!(samplers, [json!(40), json!(0.05), json!(1.1)]);
    assert_eq!(own.body["chat_template_kwargs"], json!({"enable_thinking": false}));
}

#[test]
fn thought_in_parts_is_kept_apart() {
    let parts =
        json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]);
    let server = Server::saying([streamed(&[json!({"content": parts})], "stop")]);
    let told = told(&preset(&server, "mistral/magistral-small-latest"), ask("x"));
    assert_eq!(told, ["started 0", "thought hm", "text yes", "finished Stop 9 (4) 2"]);
}

#[test]
fn what_there_are_no_words_for_is_refused_by_name() {
    let server = Server::saying([]);
    let with = |set: fn(&mut ChatRequest)| {
        let mut request = ask("x");
        set(&mut request);
        request
    };
    for (name, request, what) in [
        ("openai/gpt-4o", with(|request| request.options.top_k = Some(1)), "top_k"),
        ("openai/gpt-4o", with(|request| request.options.min_p = Some(0.1)), "min_p"),
        ("openai/gpt-4o", with(|request| request.options.repeat_penalty = Some(1.1)), "repeat_penalty"),
        ("mistral/m", with(|request| request.options.logit_bias = vec![(1, 1.0)]), "logit_bias"),
        ("mistral/m", with(|request| request.options.top_logprobs = Some(2)), "log-probabilities of alternatives"),
        ("openai/gpt-4o", with(|request| request.thought_tokens = Some(9)), "a limit of tokens for its thought"),
        (
            "openai/gpt-4o",
            with(|request| request.think = Some(true)),
            "thinking before the answer, as far as is known here",
        ),
        (
            "openai/gpt-4o",
            with(|request| drop(request.template_variables.insert("a".into(), 1.into()))),
            "variables of a chat template",
        ),
    ] {
        assert_eq!(refused(&preset(&server, name), request), format!("{name} does not support {what}"));
    }
    let odd = with(|request| drop(request.messages[0].extra.insert("mood".into(), 1.into())));
    assert_eq!(refused(&model(&server, "openai"), odd), "p/m: messages[0].mood: there is no such field");
    let odd = with(|request| request.options.top_p = Some(f32::NAN));
    assert_eq!(refused(&model(&server, "openai"), odd), "p/m: top_p: expected a number, got NaN");
    assert!(server.came().is_empty());
}
