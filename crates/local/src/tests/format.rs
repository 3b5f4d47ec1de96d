//! Answers held to a format, by a tiny model that by itself says anything.

use super::*;
use serde_json::{Value, json};

fn choices(texts: &[&str]) -> AnswerFormat {
    AnswerFormat::Choices(texts.iter().map(|&text| text.to_owned()).collect())
}

fn person() -> AnswerFormat {
    AnswerFormat::JsonSchema(json!({"type": "object", "properties": {"name": {"enum": ["yes", "ab"]},
        "old": {"type": "boolean"}}, "required": ["name", "old"], "additionalProperties": false}))
}

fn held(text: &str, format: AnswerFormat, options: GenerationOptions) -> ChatRequest {
    ChatRequest { format: Some(format), options, ..conversation(text) }
}

fn answer(model: &LocalModel, request: ChatRequest) -> (String, FinishReason, Usage) {
    let events = block_on(async { listen(model.chat(request).await.unwrap()).await });
    let (reason, usage) = end_of(&events);
    (text_of(&events), reason, usage)
}

#[test]
fn an_answer_is_what_the_format_lets_it_be() {
    let (_folder, model) = load(&Tiny::default());
    for seed in 0..12 {
        let options = GenerationOptions { seed: Some(seed), temperature: Some(1.0), ..GenerationOptions::default() };
        let (text, reason, _) = answer(&model, held("a", choices(&["yes", "a b", "語"]), options.clone()));
        assert!(["yes", "a b", "語"].contains(&text.as_str()), "{text:?}");
        assert_eq!(reason, FinishReason::Stop);
        let (text, reason, _) = answer(&model, held("a", person(), options.clone()));
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(["yes", "ab"].contains(&value["name"].as_str().unwrap()) && value["old"].is_boolean(), "{text}");
        assert_eq!(reason, FinishReason::Stop);
        let format = AnswerFormat::Regex("[ab]{3,5}".to_owned());
        let request = CompletionRequest { format: Some(format), ..completion("a", options) };
        let events = block_on(async { listen(model.complete(request).await.unwrap()).await });
        let text = text_of(&events);
        assert!((3..=5).contains(&text.len()) && text.bytes().all(|byte| b"ab".contains(&byte)), "{text:?}");
    }
}

#[test]
fn what_is_forced_is_the_same_token_by_token_and_spares_passes() {
    let (_folder, model) = load(&Tiny::default());
    let forced = answer(&model, held("ab", person(), greedy(100)));
    // With log-probabilities every token has a pass of its own.
    let options = GenerationOptions { top_logprobs: Some(0), ..greedy(100) };
    let one_by_one = answer(&model, held("ab", person(), options));
    assert_eq!((&forced.0, forced.1), (&one_by_one.0, one_by_one.1));
    assert_eq!(forced.2.completion_tokens, one_by_one.2.completion_tokens);
    let steps = |options: GenerationOptions| {
        let before = model.activity().steps;
        answer(&model, held("ab", person(), options));
        model.activity().steps - before
    };
    let one_by_one = steps(GenerationOptions { top_logprobs: Some(0), ..greedy(100) });
    assert!(2 * steps(greedy(100)) < one_by_one, "{} of {one_by_one} passes", steps(greedy(100)));
}

#[test]
fn an_answer_without_room_is_the_beginning_of_one() {
    let (_folder, model) = load(&Tiny::default());
    let whole = answer(&model, held("ab", person(), greedy(100))).0;
    for max_tokens in 11..18 {
        let (text, reason, usage) = answer(&model, held("ab", person(), greedy(max_tokens)));
        assert_eq!((reason, usage.completion_tokens), (FinishReason::Length, max_tokens));
        assert!(whole.starts_with(&text) && text.len() < whole.len(), "{text:?}");
    }
}

#[test]
fn a_thought_is_free_and_the_answer_after_it_is_held() {
    let template = "{{ messages[0].content }}{% if enable_thinking is not defined or enable_thinking %}<think>\n\
                    {% else %}<think></think>{% endif %}";
    let tiny = Tiny { template: Some(template), controls: ["<think>", "</think>", "<|im_end|>"], ..Tiny::default() };
    let (_folder, model) = load(&tiny);
    // It closes its thought when it must, not before.
    let logit_bias = vec![(model.tokenizer().id_of("</think>").unwrap(), -100.0)];
    let options = GenerationOptions { logit_bias, ..greedy(40) };
    let request = ChatRequest { thought_tokens: Some(4), ..held("ab", choices(&["yes", "ba"]), options) };
    let events = block_on(async { listen(model.chat(request).await.unwrap()).await });
    let text = text_of(&events);
    assert!(["yes", "ba"].contains(&text.as_str()), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, ChatEvent::Thought { .. })), "{events:?}");
    let request = ChatRequest { think: Some(false), ..held("ab", choices(&["yes", "ba"]), greedy(40)) };
    assert!(["yes", "ba"].contains(&answer(&model, request).0.as_str()));
}

#[test]
fn a_format_that_cannot_be_held_to_is_refused_before_any_token() {
    let (_folder, model) = load(&Tiny::default());
    let chat = |request| refusal(block_on(model.chat(request)));
    let schema = AnswerFormat::JsonSchema(json!({"properties": {"a": {"not": {}}}}));
    let said = "#/properties/a/not: a text cannot be held to `not` while it is written";
    assert_eq!(chat(held("a", schema.clone(), greedy(9))), said);
    assert_eq!(refusal(block_on(model.prepare_format(&schema))), said);
    let options = GenerationOptions { stop: vec![",".to_owned()], ..greedy(9) };
    let said = "stop: expected none beside a format, which says where the answer ends";
    assert_eq!(chat(held("a", person(), options)), said);
    let long = AnswerFormat::Regex("a".repeat(2 << 20));
    assert!(chat(held("a", long, greedy(9))).contains("bytes, expected at most 1048576"));
    let with_suffix =
        CompletionRequest { suffix: Some("b".to_owned()), format: Some(person()), ..completion("a", greedy(1)) };
    let said = "expected a format or a suffix, got both: what fills in is not held to a format";
    assert_eq!(refusal(block_on(model.complete(with_suffix))), said);
}

#[test]
fn what_of_a_format_has_no_effect_is_told_and_grammars_are_kept() {
    let (_folder, model) = load(&Tiny::default());
    let schema = |width: usize| AnswerFormat::JsonSchema(json!({"type": "string", "maxLength": width, "widht": 1}));
    let told = || block_on(model.prepare_format(&schema(3))).unwrap();
    assert_eq!(told(), ["#/widht: the keyword has no effect"]);
    assert_eq!(told(), ["#/widht: the keyword has no effect"], "the second time from what was kept");
    // A view has the same grammars, and of many the oldest are forgotten.
    for width in 0..100 {
        block_on(model.view().prepare_format(&schema(width))).unwrap();
    }
    assert_eq!(told().len(), 1);
}

#[test]
fn held_and_free_answers_share_a_batch_and_are_what_they_are_alone() {
    let (_folder, model) = load(&Tiny::default());
    let request = |index: usize| match index % 3 {
        0 => held("ab", person(), greedy(60)),
        1 => held("b", AnswerFormat::JsonObject, greedy(20)),
        _ => conversation("abab"),
    };
    let alone: Vec<_> = (0..9).map(|index| answer(&model, request(index)).0).collect();
    let together = block_on(futures::future::join_all((0..9).map(|index| {
        let asked = model.chat(request(index));
        async { text_of(&listen(asked.await.unwrap()).await) }
    })));
    assert_eq!(alone, together);
}

#[test]
fn a_limit_that_no_answer_can_keep_is_refused_before_any_token() {
    let (_folder, model) = load(&Tiny::default());
    let schema = AnswerFormat::JsonSchema(json!({"type": "object", "properties": {"a": {"const": "abababab"}},
        "required": ["a"], "additionalProperties": false}));
    let steps = model.activity().steps;
    let text = refusal(block_on(model.chat(held("a", schema.clone(), greedy(3)))));
    assert!(text.starts_with("at most 3 tokens are allowed, what the answer must be takes "), "{text}");
    assert!(text.ends_with(" at least\nhint: allow more (max_tokens, --max-tokens)"), "{text}");
    assert_eq!(model.activity().steps, steps);
    let needed: usize = text.split("takes ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let (text, reason, _) = answer(&model, held("a", schema, greedy(needed)));
    assert_eq!((text.as_str(), reason), ("{\"a\": \"abababab\"}", FinishReason::Stop));
}
