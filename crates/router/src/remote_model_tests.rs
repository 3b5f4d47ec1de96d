//! What goes wrong on the way, over real connections: refusals, cuts, silence, and bytes that are no answer.

use super::*;
use crate::testing::{Part, Reply, Server, answer, ask, model, quick, refused, timed, told, word};
use crate::{Budget, Metered, prices::Date, prices::Terms};
use crate::{Policy, Price};
use chat::GenerationOptions;
use futures::executor::block_on;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn piece(text: &str) -> String {
    json!({"choices": [{"delta": {"content": text}}]}).to_string()
}

const END: &str = r#"{"choices": [{"delta": {}, "finish_reason": "stop"}]}"#;
const USAGE: &str = r#"{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}"#;

fn good(texts: &[&str]) -> Reply {
    let pieces: Vec<String> = texts.iter().map(|text| piece(text)).collect();
    let data: Vec<&str> = pieces.iter().map(String::as_str).chain([END, USAGE, "[DONE]"]).collect();
    Reply::events(&data)
}

fn limit(name: &'static str, after: &str) -> Reply {
    Reply::json(429, &json!({"error": {"message": "slow down"}})).header(name, after)
}

#[test]
fn a_refusal_for_now_is_waited_for_as_long_as_it_says() {
    let server = Server::saying([limit("retry-after-ms", "150"), limit("retry-after", "0.15"), good(&["hi"])]);
    let (told, took) = timed(|| told(&model(&server, "openai"), ask("x")));
    assert_eq!(told, ["started 0", "text hi", "finished Stop 9 (0) 2"]);
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert_eq!(server.came().len(), 3);
}

#[test]
fn tries_and_patience_have_an_end() {
    let server = Server::saying((0..9).map(|_| limit("x-other", "1")));
    let told = refused(&model(&server, "openai"), ask("x"));
    assert_eq!(told, "p/m: status 429: slow down (3 tries)\nhint: ask for less at once");
    assert_eq!(server.came().len(), 3);
    let server = Server::saying([limit("retry-after", "9999")]);
    let told = refused(&model(&server, "openai"), ask("x"));
    let expected = "p/m: status 429: slow down (1 try; the next is due in 9999.0 s, and ";
    assert!(told.starts_with(expected), "{told}");
    assert_eq!(server.came().len(), 1);
}

#[test]
fn what_lasts_is_not_tried_again() {
    for (status, kind, hint) in [
        (400, "InvalidRequest", "hint: the provider does not take this request as it is"),
        (401, "Unloadable", "hint: check the key of the endpoint, and whether its account may use this model"),
        (403, "Unloadable", "hint: check the key of the endpoint"),
        (404, "UnknownModel", "hint: check the name of the model"),
        (422, "InvalidRequest", "hint: the provider does not take"),
        (402, "Unloadable", "hint: the account there has no credit left"),
    ] {
        let server = Server::saying([Reply::json(status, &json!({"error": {"message": "no sk-1"}}))]);
        let (_, error) = answer(&model(&server, "openai"), ask("x"));
        let error = error.unwrap();
        assert!(format!("{error:?}").starts_with(kind), "{error:?}");
        assert!(error.to_string().starts_with(&format!("p/m: status {status}: no [key]\n{hint}")), "{error}");
        assert_eq!(server.came().len(), 1);
    }
}

#[test]
fn a_key_goes_nowhere_else() {
    let server =
        Server::saying([Reply::new(307, "text/plain", Vec::new()).header("location", "http://127.0.0.1:9/v1")]);
    let told = refused(&model(&server, "openai"), ask("x"));
    assert!(
        told.starts_with("p/m: expected an answer, got status 307, which sends on to another address\nhint: "),
        "{told}"
    );
}

#[test]
fn a_break_before_the_first_token_is_mended_in_silence() {
    let role = r#"{"choices": [{"delta": {"role": "assistant", "content": ""}}]}"#;
    let broken = || Reply::events(&[role]).then(Part::Cut);
    let server = Server::saying([broken(), Reply::json(503, &json!({})), good(&["hi"])]);
    assert_eq!(told(&model(&server, "openai"), ask("x")), ["started 0", "text hi", "finished Stop 9 (0) 2"]);
}

#[test]
fn a_break_after_it_is_an_error_and_no_short_answer() {
    for end in [Some(Part::Cut), None] {
        let cut = Reply::events(&[&piece("par")]);
        let server = Server::saying([end.map_or(cut.clone(), |end| cut.then(end)), good(&["hi"])]);
        let (events, error) = answer(&model(&server, "openai"), ask("x"));
        assert_eq!(events.iter().map(word).collect::<Vec<_>>(), ["started 0", "text par"]);
        let told = error.unwrap().to_string();
        assert!(told.starts_with("p/m: the answer was cut short: the "), "{told}");
        assert!(told.ends_with("so it was not asked for again by itself; ask again"), "{told}");
        assert_eq!(server.came().len(), 1);
    }
}

#[test]
fn slow_bytes_and_characters_in_pieces_are_the_same_answer() {
    let whole =
        [piece("größer 🙂"), END.to_owned(), USAGE.to_owned()].map(|data| format!("data: {data}\r\n\r\n")).concat();
    let mut reply = Reply::new(200, "text/event-stream", Vec::new());
    for byte in whole.into_bytes() {
        reply = reply.then(Part::Bytes(vec![byte])).then(Part::Wait(Duration::from_millis(1)));
    }
    let server = Server::saying([reply]);
    let told = told(&model(&server, "openai"), ask("x"));
    assert_eq!(told, ["started 0", "text größer 🙂", "finished Stop 9 (0) 2"]);
}

fn impatient(server: &Server, policy: Policy) -> RemoteModel {
    let remote = Remote::custom("p", "openai", server.address(), None).unwrap();
    RemoteModel::new(Link::direct(policy).unwrap(), remote, "m")
}

#[test]
fn silence_and_slowness_have_limits() {
    let silent = || Reply::events(&[]).then(Part::Wait(Duration::from_secs(9)));
    let server = Server::saying([silent(), silent(), silent()]);
    let told = refused(&impatient(&server, Policy { idle: Duration::from_millis(50), ..quick() }), ask("x"));
    let hint = "hint: the provider or the network has trouble; try again later";
    assert_eq!(told, format!("p/m: the server was silent for 0.05 s (3 tries)\n{hint}"));
    let drip = (0..99).fold(Reply::events(&[]), |reply, _| {
        reply.then(Part::Bytes(b": ping\n\n".to_vec())).then(Part::Wait(Duration::from_millis(20)))
    });
    let server = Server::saying([drip]);
    let policy = Policy { total: Duration::from_millis(200), ..quick() };
    let (told, took) = timed(|| refused(&impatient(&server, policy), ask("x")));
    assert_eq!(
        told,
        "p/m: expected a whole answer within 0.2 s, got none\nhint: ask for a shorter answer, or allow more time"
    );
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn bytes_that_are_no_answer_are_told_as_they_are() {
    let tries = |reply: &dyn Fn() -> Reply| {
        let server = Server::saying([reply(), reply(), reply()]);
        refused(&model(&server, "openai"), ask("x"))
    };
    let told = tries(&|| Reply::events(&["{\"choices\": 7}"]));
    let expected = "p/m: expected JSON of the protocol, got \"{\\\"choices\\\": 7}\": invalid type: integer `7`, \
                    expected a sequence";
    assert!(told.starts_with(expected), "{told}");
    let told = tries(&|| Reply::events(&["{"]));
    assert!(told.starts_with("p/m: expected JSON of the protocol, got \"{\": EOF"), "{told}");
    let huge = vec![b'x'; crate::sse::LONGEST_LINE + 9];
    let told = tries(&|| Reply::events(&[]).then(Part::Bytes(huge.clone())));
    assert!(told.starts_with("p/m: expected events of at most 1048576 bytes, got a longer one (3 tries)"), "{told}");
    let told = tries(&|| Reply::new(200, "text/html", vec![Part::Bytes(b"<html>".to_vec())]));
    assert_eq!(
        told,
        "p/m: expected an answer as text/event-stream or application/json, got \"text/html\"\nhint: check the base URL"
    );
}

#[test]
fn an_answer_without_counts_has_no_known_cost() {
    let server = Server::saying([Reply::events(&[&piece("hi"), END, "[DONE]"])]);
    let told = refused(&model(&server, "openai"), ask("x"));
    assert!(told.starts_with("p/m: expected counts of tokens (usage) with the answer, got none\nhint: "), "{told}");
}

#[test]
fn nobody_there_is_said_without_an_address() {
    let remote = Remote::custom("p", "openai", "http://127.0.0.1:9/v1", None).unwrap();
    let told = refused(&RemoteModel::new(Link::direct(quick()).unwrap(), remote, "m"), ask("x"));
    assert!(
        told.starts_with("p/m: no connection: ") && told.contains("(3 tries)") && !told.contains("127.0.0.1"),
        "{told}"
    );
}

#[test]
fn an_error_in_the_stream_is_the_providers() {
    let error = r#"{"error": {"message": "out of memory"}}"#;
    let server = Server::saying([Reply::events(&[&piece("a"), error])]);
    let told = refused(&model(&server, "openai"), ask("x"));
    assert!(told.starts_with("p/m: the answer was cut short: the provider broke off: out of memory\nhint: "), "{told}");
}

#[test]
fn a_dropped_answer_ends_its_connection() {
    let long = (0..500).fold(Reply::events(&[&piece("a")]), |reply, _| {
        reply.then(Part::Wait(Duration::from_millis(10))).then(Part::Bytes(b": ping\n\n".to_vec()))
    });
    let server = Server::saying([long]);
    let model = model(&server, "openai");
    let stream = block_on(model.chat(ask("x"))).unwrap();
    drop(stream);
    let (_, took) = timed(|| drop(model));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_connection_serves_one_question_after_the_other() {
    // The end of the body comes after the answer's own.
    let late = || good(&["a"]).then(Part::Wait(Duration::from_millis(30)));
    let server = Server::saying([late(), late(), late()]);
    let model = model(&server, "openai");
    for _ in 0..3 {
        told(&model, ask("x"));
        std::thread::sleep(Duration::from_millis(200));
    }
    let from: Vec<_> = server.came().iter().map(|came| came.from).collect();
    assert!(from.iter().all(|one| *one == from[0]), "{from:?}");
}

#[test]
fn many_questions_are_asked_at_once() {
    let slow = || Reply::events(&[]).then(Part::Wait(Duration::from_millis(200)));
    let reply = || {
        let pieces = [piece("a"), END.to_owned(), USAGE.to_owned()].map(|data| format!("data: {data}\n\n")).concat();
        slow().then(Part::Bytes(pieces.into_bytes()))
    };
    let server = Server::saying((0..8).map(|_| reply()));
    let model = model(&server, "openai");
    let one = |_| async { model.chat(ask("x")).await.unwrap().collect::<Vec<_>>().await.len() };
    let (events, took) = timed(|| block_on(futures::future::join_all((0..8).map(one))));
    assert_eq!(events, [3; 8]);
    assert!(took < Duration::from_millis(1000), "{took:?}");
}

#[test]
fn a_budget_stops_before_it_is_passed() {
    let server = Server::saying([good(&["a"]), Reply::json(400, &json!({"message": "no"})), good(&["b"])]);
    let price = Price { terms: Terms::flat(1.0, 1000.0), source: String::new(), seen: Date::of("2026-01-01").unwrap() };
    let budget = Budget::new(0.015).unwrap();
    let metered = Metered::new(Arc::new(model(&server, "openai")), price, budget.clone());
    let limited = || {
        let options = GenerationOptions { max_tokens: Some(10), ..GenerationOptions::default() };
        ChatRequest { options, ..ask("x") }
    };
    assert_eq!(told(&metered, limited()).len(), 3);
    assert!((budget.spent() - (9.0 + 2000.0) / 1e6).abs() < 1e-12, "{}", budget.spent());
    assert!(refused(&metered, limited()).starts_with("p/m: status 400: no"));
    assert!((budget.spent() - 0.002009).abs() < 1e-12, "what was refused cost nothing");
    let (first, second) = (block_on(metered.chat(limited())).unwrap(), refused(&metered, limited()));
    let expected = "p/m: the budget of 0.0150 USD would be passed: 0.0120 USD are spent or under way, and the next request \
                    may cost 0.010009 USD\nhint: raise it with --max-cost, or lower max_tokens";
    assert_eq!(second, expected);
    assert_eq!(server.came().len(), 3, "it was not sent");
    drop(first);
    assert!((budget.spent() - 0.012018).abs() < 1e-12, "an answer that nobody waited for is spent as estimated");
    let told = refused(&metered, ask("x"));
    assert!(told.starts_with("p/m: max_tokens: expected a number where a budget is set, got none\nhint: "), "{told}");
}

#[test]
fn what_cannot_be_held_to_is_known_before_anything_is_asked() {
    let server = Server::saying([]);
    let prepared =
        |format| block_on(model(&server, "gemini").prepare_format(&format)).map_err(|error| error.to_string());
    assert_eq!(prepared(AnswerFormat::JsonObject), Ok(Vec::new()));
    let told = "p/m does not support answers held to a regular expression";
    assert_eq!(prepared(AnswerFormat::Regex("a".into())), Err(told.to_owned()));
    let request = ChatRequest { format: Some(AnswerFormat::Regex("a".into())), ..ask("x") };
    assert_eq!(refused(&model(&server, "openai"), request), told);
    assert_eq!(
        refused(&model(&server, "openai"), ChatRequest::default()),
        "p/m: expected at least one message, got none"
    );
    assert!(server.came().is_empty());
}

/// Whatever an endpoint sends, it is an answer or an error.
mod hostile {
    use super::*;
    use crate::format::Held;
    use crate::providers::Protocol;
    use proptest::prelude::*;

    const SEEDS: [(&str, &str); 6] = [
        (
            "openai",
            r#"{"choices": [{"delta": {"content": "a", "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}}]}"#,
        ),
        (
            "openai",
            r#"{"choices": [], "usage": {"prompt_tokens": 18446744073709551615, "completion_tokens": 2, "total_tokens": 18446744073709551615}}"#,
        ),
        (
            "anthropic",
            r#"{"type": "message_start", "message": {"usage": {"input_tokens": 18446744073709551615, "cache_read_input_tokens": 18446744073709551615, "output_tokens": 1}}}"#,
        ),
        (
            "anthropic",
            r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}}"#,
        ),
        (
            "gemini",
            r#"{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}]}, "finishReason": "STOP"}]}"#,
        ),
        (
            "gemini",
            r#"{"usageMetadata": {"candidatesTokenCount": 18446744073709551615, "thoughtsTokenCount": 18446744073709551615}}"#,
        ),
    ];

    fn read(protocol: &str, data: &str) {
        let mut reader = Protocol::named(protocol).unwrap().0.reader(&ask("x"));
        let mut answer = Answer::new("p/m", Held::Free);
        let _ = reader.event(data, &mut answer);
        let _ = reader.whole(data, &mut answer);
        let _ = answer.finish(Usage::default());
    }

    #[test]
    fn counts_past_all_numbers_are_no_panic() {
        for (protocol, data) in SEEDS {
            read(protocol, data);
        }
    }

    proptest! {
        #[test]
        fn mutations_are_no_panic(
            seed in 0..SEEDS.len(),
            at in 0usize..200,
            with in "[\\[\\]{}\",:0-9a-z-]{0,3}",
            cut in 0usize..9,
        ) {
            let (protocol, data) = SEEDS[seed];
            let at = at.min(data.len());
            let end = (at + cut).min(data.len());
            read(protocol, &format!("{}{with}{}", &data[..at], &data[end..]));
        }
    }
}
