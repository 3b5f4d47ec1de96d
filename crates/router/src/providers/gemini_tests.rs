//! Generated content over real connections.

use super::*;
use crate::testing::{Reply, Server, answer, ask, model, preset, refused, told};
use chat::{AnswerFormat, ChatEvent, GenerationOptions, Tool, ToolCall};

fn piece(parts: Value, reason: Option<&str>) -> Value {
    let usage = json!({
        "promptTokenCount": 9, "cachedContentTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 3,
        "totalTokenCount": 14
    });
    let candidate = json!({"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0});
    json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m"})
}

fn streamed(pieces: &[Value]) -> Reply {
    let data: Vec<String> = pieces.iter().map(Value::to_string).collect();
    Reply::events(&data.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_conversation_goes_out_and_an_answer_comes_in_pieces() {
    let thought = piece(json!([{"text": "hm", "thought": true}]), None);
    let last = piece(json!([{"text": "lo", "thoughtSignature": "s"}]), Some("STOP"));
    let server = Server::saying([streamed(&[thought, piece(json!([{"text": "Hel"}]), None), last])]);
    let mut request = ask("hi");
    request.messages.insert(0, Message::new(Role::System, "be nice"));
    request.think = Some(false);
    request.options = GenerationOptions {
        max_tokens: Some(7),
        temperature: Some(0.0),
        top_p: Some(0.9),
        top_k: Some(5),
        seed: Some(3),
        stop: vec!["\n".into()],
        top_logprobs: Some(0),
        ..GenerationOptions::default()
    };
    let told = told(&preset(&server, "gemini/gemini-2.5-flash"), request);
    assert_eq!(told, ["started 9", "thought hm", "text Hel", "text lo", "finished Stop 9 (4) 5"]);
    let came = &server.came()[0];
    assert_eq!(came.path, "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
    assert_eq!(came.header("x-goog-api-key"), "sk-1");
    let expected = json!({
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "systemInstruction": {"parts": [{"text": "be nice"}]},
        "generationConfig": {
            "temperature": 0.0, "topP": 0.9, "maxOutputTokens": 7, "topK": 5, "seed": 3, "stopSequences": ["\n"],
            "thinkingConfig": {"thinkingBudget": 0}
        }
    });
    assert_eq!(came.body, expected);
}

#[test]
fn an_answer_may_be_asked_for_as_a_whole() {
    let server = Server::saying([Reply::json(200, &piece(json!([{"text": "Hello"}]), Some("MAX_TOKENS")))]);
    let mut remote = crate::Remote::custom("p", "gemini", server.address(), None).unwrap();
    remote.streams = false;
    let model = crate::RemoteModel::new(crate::Link::direct(crate::testing::quick()).unwrap(), remote, "models/m");
    assert_eq!(told(&model, ask("x")), ["started 9", "text Hello", "finished Length 9 (4) 5"]);
    assert_eq!(server.came()[0].path, "/v1/models/m:generateContent");
}

#[test]
fn formats_go_out_as_schemas() {
    let answered = |text: &str| streamed(&[piece(json!([{"text": text}]), Some("STOP"))]);
    let server =
        Server::saying([answered("[1, 2]"), answered("{\"answer\": \"red\"}"), answered("[]"), answered("{}")]);
    let model = model(&server, "gemini");
    let held = |format| ChatRequest { format: Some(format), ..ask("x") };
    let list = json!({"type": "array", "items": {"type": "integer"}});
    assert_eq!(told(&model, held(AnswerFormat::JsonSchema(list.clone())))[1], "text [1, 2]");
    assert_eq!(told(&model, held(AnswerFormat::Choices(vec!["red".into()])))[1], "text red");
    let message = refused(&model, held(AnswerFormat::JsonObject));
    assert!(message.starts_with("p/m: expected JSON of the schema, got \"[]\""), "{message}");
    told(&model, held(AnswerFormat::JsonObject));
    let configs: Vec<Value> = server.came().iter().map(|came| came.body["generationConfig"].clone()).collect();
    assert_eq!(configs[0], json!({"responseMimeType": "application/json", "responseJsonSchema": list}));
    assert_eq!(configs[1]["responseJsonSchema"]["properties"]["answer"]["enum"], json!(["red"]));
    assert_eq!(configs[3], json!({"responseMimeType": "application/json"}));
}

#[test]
fn log_probabilities_come_where_they_are_asked_for() {
    let mut last = piece(json!([{"text": "a"}]), Some("STOP"));
    let token = |text: &str, logprob: f64| json!({"token": text, "tokenId": 5, "logProbability": logprob});
    last["candidates"][0]["logprobsResult"] = json!({
        "chosenCandidates": [token("a", -0.5)], "topCandidates": [{"candidates": [token("a", -0.5), token("b", -1.0)]}]
    });
    let server = Server::saying([streamed(&[last])]);
    let mut request = ask("x");
    request.options.top_logprobs = Some(2);
    let (events, _) = answer(&model(&server, "gemini"), request);
    let ChatEvent::Text { logprobs, .. } = &events[1] else { panic!("{events:?}") };
    assert_eq!((logprobs[0].id, logprobs[0].logprob, logprobs[0].top[1].text.as_str()), (5, -0.5, "b"));
    assert_eq!(server.body()["generationConfig"], json!({"responseLogprobs": true, "logprobs": 2}));
}

#[test]
fn tools_go_out_and_calls_come_whole() {
    let call = json!([{"functionCall": {"name": "weather", "args": {"city": "Bern"}}}]);
    let server = Server::saying([streamed(&[piece(call, None), piece(json!([{"text": ""}]), Some("STOP"))])]);
    let mut request = ask("weather?");
    let mut called = Message::new(Role::Assistant, "");
    called.tool_calls = vec![ToolCall { id: "a".into(), name: "weather".into(), arguments: Map::new() }];
    let mut result = Message::new(Role::Tool, "sunny");
    result.tool_call_id = Some("a".into());
    request.messages.extend([called, result]);
    let function = json!({"name": "weather", "description": "of a city", "parameters": {"type": "object"}});
    request.tools = vec![Tool { name: "weather".into(), definition: json!({"function": function}), strict: false }];
    request.tool_choice = ToolChoice::Named("weather".into());
    let told = told(&model(&server, "gemini"), request);
    let expected =
        ["started 9", "call 0 call_0 weather", "arguments 0 {\"city\":\"Bern\"}", "finished ToolCalls 9 (4) 5"];
    assert_eq!(told, expected);
    let body = server.body();
    let response = json!({"functionResponse": {"name": "weather", "response": {"result": "sunny"}}});
    assert_eq!(body["contents"][2], json!({"role": "user", "parts": [response]}));
    assert_eq!(body["contents"][1]["parts"], json!([{"functionCall": {"name": "weather", "args": {}}}]));
    let declared = json!({"name": "weather", "description": "of a city", "parametersJsonSchema": {"type": "object"}});
    assert_eq!(body["tools"], json!([{"functionDeclarations": [declared]}]));
    let config = json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}});
    assert_eq!(body["toolConfig"], config);
}

#[test]
fn blocked_prompts_and_answers_are_errors() {
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}});
    let cut = piece(json!([{"text": "par"}]), None);
    let server =
        Server::saying([streamed(&[blocked]), streamed(&[piece(json!([]), Some("RECITATION"))]), streamed(&[cut])]);
    let model = model(&server, "gemini");
    assert_eq!(refused(&model, ask("x")), "p/m: the provider blocked the prompt (SAFETY)");
    assert_eq!(refused(&model, ask("x")), "p/m: the provider ended the answer with RECITATION");
    let told = refused(&model, ask("x"));
    assert!(told.starts_with("p/m: the answer was cut short: the answer broke off before its end\nhint: "), "{told}");
}

#[test]
fn what_there_are_no_words_for_is_refused_by_name() {
    let server = Server::saying([]);
    let model = model(&server, "gemini");
    let check = |set: fn(&mut ChatRequest), message: &str| {
        let mut request = ask("x");
        set(&mut request);
        assert_eq!(refused(&model, request), message);
    };
    check(|request| request.options.min_p = Some(0.1), "p/m does not support min_p");
    check(|request| request.options.logit_bias = vec![(1, 1.0)], "p/m does not support logit_bias");
    check(|request| request.options.seed = Some(1 << 40), "p/m: seed: expected at most 2147483647, got 1099511627776");
    check(
        |request| {
            let definition = json!({"function": {"name": "f"}});
            request.tools = vec![Tool { name: "f".into(), definition, strict: true }];
        },
        "p/m does not support calls that are held to the schemas of their tools",
    );
    check(
        |request| request.messages.push(Message::new(Role::Tool, "result")),
        "p/m: messages[1].tool_call_id: expected the id of a call before it",
    );
    let odd = "gemini/../../admin";
    assert_eq!(
        refused(&preset(&server, odd), ask("x")),
        format!("{odd}: expected a model's name of letters, digits and -._, got others")
    );
    assert!(server.came().is_empty());
}
