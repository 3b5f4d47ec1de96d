//! Completions through HTTP.

use crate::testing::{Asked, Reply, Running, finished, logprob, started};
use chat::{ChatEvent, CompletionRequest, FinishReason, Prompt};
use serde_json::{Value, json};

const PATH: &str = "/v1/completions";

fn asked(server: &Running) -> Vec<CompletionRequest> {
    let one = |asked| match asked {
        Asked::Complete(request) => request,
        other => panic!("{other:?}"),
    };
    server.model.asked().into_iter().map(one).collect()
}

#[tokio::test]
async fn a_plain_completion() {
    let server = Running::start().await;
    let answer = server.post(PATH, json!({"model": "small", "prompt": "Hi", "user": "me"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["warnings"], json!(["user has no effect here"]));
    let choice = json!({"index": 0, "text": "Hello world", "logprobs": null, "finish_reason": "stop"});
    assert_eq!(answer["choices"], json!([choice]));
    assert_eq!(answer["usage"]["total_tokens"], 5);
    let [request] = &asked(&server)[..] else { panic!() };
    assert_eq!(request.prompt, Prompt::Text("Hi".to_owned()));
    assert_eq!(request.options.max_tokens, Some(16), "the reference's default");
    assert_eq!(request.prompt_logprobs, None);
}

#[tokio::test]
async fn choices_are_numbered_across_prompts() {
    let server = Running::start().await;
    for pieces in [["a"], ["b"], ["c"], ["d"]] {
        server.model.will(Reply::text(&pieces));
    }
    let body = json!({"model": "small", "prompt": [[1, 2], [3]], "n": 2, "best_of": 2, "seed": 7, "echo": false});
    let answer = server.post(PATH, body).await.json();
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|one| one["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(answer["usage"]["prompt_tokens"], 6, "each prompt counts once");
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    // They are asked at once, on threads of their own: in no order.
    let requests = asked(&server);
    let mut seen: Vec<(&Prompt, Option<u64>)> = requests.iter().map(|one| (&one.prompt, one.options.seed)).collect();
    seen.sort_by_key(|(prompt, seed)| (matches!(prompt, Prompt::Ids(ids) if ids.len() == 1), *seed));
    let (first, second) = (Prompt::Ids(vec![1, 2]), Prompt::Ids(vec![3]));
    assert_eq!(seen, [(&first, Some(7)), (&first, Some(8)), (&second, Some(7)), (&second, Some(8))]);
}

/// What `lm-eval` asks and how it reads the answer: the sum over the tokens of the prompt after the context, all but the last.
#[tokio::test]
async fn evaluations_read_the_log_probabilities_of_their_prompts() {
    let server = Running::start().await;
    let ids: Vec<u32> = "one two three".bytes().map(u32::from).collect();
    let body = json!({
        "model": "small", "prompt": [ids], "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": true,
    });
    let answer = server.post(PATH, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let choice = &answer.json()["choices"][0];
    assert_eq!(choice["text"], "one two three x");
    let logprobs = &choice["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["one ", "two ", "three", " x"]));
    assert_eq!(logprobs["token_logprobs"], json!([null, -3.0, -5.0, -0.5]));
    assert_eq!(logprobs["top_logprobs"], json!([null, {"two ": -3.0}, {"three": -5.0}, {" x": -0.5}]));
    assert_eq!(logprobs["text_offset"], json!([0, 4, 8, 13]));
    let [request] = &asked(&server)[..] else { panic!() };
    assert_eq!((request.prompt_logprobs, request.options.top_logprobs), (Some(1), Some(1)));
}

/// The model ends at once: without an entry for the end token, `lm-eval` would drop a token of the prompt in its place.
#[tokio::test]
async fn an_end_token_has_an_entry() {
    let server = Running::start().await;
    let prompt = ChatEvent::Prompt {
        tokens: vec![chat::PromptToken { id: 1, text: "Hi".to_owned(), logprob: None, top: Vec::new() }],
    };
    server.model.will(Reply::events(vec![Ok(started(1)), Ok(prompt), Ok(finished(FinishReason::Stop, 1, 1))]));
    let body = json!({"model": "small", "prompt": "Hi", "max_tokens": 1, "logprobs": 1, "echo": true});
    let answer = server.post(PATH, body).await.json();
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["Hi", ""]));
    assert_eq!(logprobs["token_logprobs"], json!([null, null]));
}

#[tokio::test]
async fn a_prompt_alone_is_read_with_no_tokens() {
    let server = Running::start().await;
    let body = json!({"model": "small", "prompt": "one two", "max_tokens": 0, "logprobs": 2, "echo": true});
    let answer = server.post(PATH, body).await.json();
    assert_eq!(answer["choices"][0]["text"], "one two");
    assert_eq!(answer["choices"][0]["logprobs"]["top_logprobs"][1], json!({"two": -3.0, "other": -4.0}));
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 0);
}

#[tokio::test]
async fn a_stream_says_the_same_in_pieces() {
    let server = Running::start().await;
    let body = json!({
        "model": "small", "prompt": "one two", "max_tokens": 2, "logprobs": 0, "echo": true, "stream": true,
        "stream_options": {"include_usage": true},
    });
    let answer = server.post(PATH, body.clone()).await;
    let (chunks, is_done) = answer.events();
    assert!(is_done, "{}", answer.text);
    let mut whole = body;
    whole["stream"] = json!(false);
    whole.as_object_mut().unwrap().remove("stream_options");
    let whole = server.post(PATH, whole).await.json();
    let of = |name: &str| -> Vec<Value> {
        let lists = chunks.iter().filter_map(|chunk| chunk["choices"][0]["logprobs"][name].as_array());
        lists.flatten().cloned().collect()
    };
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, whole["choices"][0]["text"]);
    for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(json!(of(name)), whole["choices"][0]["logprobs"][name], "{name}");
    }
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], whole["usage"]);
}

#[tokio::test]
async fn an_echo_without_log_probabilities_comes_first() {
    let server = Running::start().await;
    let body = json!({"model": "small", "prompt": [72, 105], "echo": true, "stream": true});
    let answer = server.post(PATH, body).await;
    let (chunks, is_done) = answer.events();
    let texts: Vec<&str> = chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!((texts, is_done), (vec!["Hi", "Hello", " world", ""], true));
    assert!(chunks.iter().all(|chunk| chunk["choices"][0]["logprobs"].is_null() && chunk.get("usage").is_none()));
}

#[tokio::test]
async fn a_model_that_keeps_the_prompt_back_is_found_out() {
    let server = Running::start().await;
    server.model.will(Reply::text(&["x"]));
    let body = json!({"model": "small", "prompt": "a", "logprobs": 1, "echo": true});
    let answer = server.post(PATH, body).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert_eq!(answer.json()["error"]["message"], "internal error: the tokens of the prompt did not come");
}

#[tokio::test]
async fn log_probabilities_of_the_answer_alone() {
    let server = Running::start().await;
    let piece = ChatEvent::Text {
        text: "ab".to_owned(),
        tokens: 2,
        logprobs: vec![logprob("a", -1.0, &[("z", -0.25)]), logprob("b", -2.0, &[])],
    };
    server.model.will(Reply::events(vec![Ok(started(1)), Ok(piece), Ok(finished(FinishReason::Length, 1, 2))]));
    let answer = server.post(PATH, json!({"model": "small", "prompt": "a", "logprobs": 1})).await.json();
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(logprobs["top_logprobs"], json!([{"z": -0.25, "a": -1.0}, {"b": -2.0}]));
    assert_eq!(logprobs["text_offset"], json!([0, 1]));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_name() {
    let server = Running::start().await;
    for (field, value, message) in [
        ("best_of", json!(2), "best_of: expected the same as n (1), got 2"),
        ("logprobs", json!(6), "logprobs: expected 0 to 5, got 6"),
        ("n", json!(0), "n: expected 1 to 256 for 1 prompts, got 0"),
        ("max_tokens", json!(0), "max_tokens: expected 1 or more unless echo is true, got 0"),
        ("stream_options", json!({}), "stream_options: expected only where stream is true"),
        ("prompt", json!([]), "prompt: expected at least one, got an empty list"),
        ("stop", json!(["a", ""]), "stop[1]: expected a text, got an empty one"),
    ] {
        let mut body = json!({"model": "small", "prompt": "a"});
        body[field] = value;
        let answer = server.post(PATH, body).await;
        assert_eq!(answer.status, 400, "{field}: {}", answer.text);
        assert_eq!(answer.json()["error"]["message"], message);
        assert_eq!(answer.json()["error"]["param"], field);
    }
    assert!(asked(&server).is_empty());
}
