//! Whole models, tiny ones: from a file to answers, scores, refusals and smaller files.

use crate::loading::Parts;
use crate::memory::STEP_TOKENS;
use crate::prepared;
use crate::tiny::{Tiny, VOCABULARY};
use crate::*;
use chat::*;
use futures::StreamExt;
use futures::executor::block_on;
use kernels::{Isa, KvElement, Runtime};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

mod calls;
mod choose;
mod format;
mod serving;

fn runtime(threads: usize) -> Arc<Runtime> {
    Arc::new(Runtime::new(Isa::detect(), threads).unwrap())
}

fn source(path: &Path) -> ModelSource {
    ModelSource { name: "tiny".to_owned(), path: path.to_owned(), ..ModelSource::default() }
}

fn load(tiny: &Tiny) -> (TempDir, LocalModel) {
    let folder = TempDir::new().unwrap();
    let path = tiny.write(folder.path());
    let options = LoadOptions { kv_element: KvElement::F32, sequences: 4, ..LoadOptions::default() };
    let model = LocalModel::load(&source(&path), &options, runtime(2)).unwrap();
    (folder, model)
}

/// The ways in which a tiny model computes: in floats as it was written, and in integers as two mixes have it (Q4_K, Q5_0,
/// Q6_K and Q8_0 among them), over each kind of memory of keys and values, with each instruction set.
fn ways() -> impl Iterator<Item = (Option<&'static str>, KvElement, Isa)> {
    let mixes = [(None, KvElement::F32), (Some("q4_k_m"), KvElement::I16), (Some("q8_0"), KvElement::Q8_0)];
    mixes.into_iter().flat_map(|(mix, element)| Isa::available().into_iter().map(move |isa| (mix, element, isa)))
}

/// Loads the tiny model as one of the [`ways`] has it.
fn load_as((mix, kv_element, isa): (Option<&str>, KvElement, Isa), speculate: bool) -> (TempDir, LocalModel) {
    let folder = TempDir::new().unwrap();
    let mut path = Tiny::default().write(folder.path());
    if let Some(mix) = mix {
        let target = folder.path().join("mixed.gguf");
        quantize(&path, &target, Mix::from_name(mix).unwrap(), None, 2, &mut |_| ()).unwrap();
        path = target;
    }
    let options = LoadOptions { kv_element, sequences: 4, speculate, ..LoadOptions::default() };
    let model = LocalModel::load(&source(&path), &options, Arc::new(Runtime::new(isa, 2).unwrap())).unwrap();
    (folder, model)
}

fn greedy(max_tokens: usize) -> GenerationOptions {
    GenerationOptions { max_tokens: Some(max_tokens), temperature: Some(0.0), ..GenerationOptions::default() }
}

fn completion(prompt: &str, options: GenerationOptions) -> CompletionRequest {
    CompletionRequest::new(Prompt::Text(prompt.to_owned()), options)
}

fn conversation(text: &str) -> ChatRequest {
    ChatRequest { messages: vec![Message::new(Role::User, text)], options: greedy(8), ..ChatRequest::default() }
}

/// All events of a stream.
async fn listen(stream: ChatStream) -> Vec<ChatEvent> {
    stream.map(|event| event.unwrap()).collect().await
}

fn text_of(events: &[ChatEvent]) -> String {
    let text = |event: &ChatEvent| match event {
        ChatEvent::Text { text, .. } => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

fn end_of(events: &[ChatEvent]) -> (FinishReason, Usage) {
    match events.last() {
        Some(ChatEvent::Finished { reason, usage }) => (*reason, *usage),
        other => panic!("the last event is {other:?}"),
    }
}

/// `[T, V]` log-probabilities of what may come after each position of a text.
fn distributions(model: &LocalModel, input: Prompt) -> Vec<f32> {
    model.score_pieces(input).unwrap().flat_map(|piece| piece.unwrap().distributions).collect()
}

fn refusal<T>(outcome: Result<T, ChatError>) -> String {
    match outcome {
        Ok(_) => panic!("was not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_conversation_is_answered_and_counted() {
    let (_folder, model) = load(&Tiny::default());
    let (rendered, ids) = model.render(&conversation("ab")).unwrap();
    assert_eq!(rendered, "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n");
    // No stop token may come, so that the length is what ends the answer.
    let logit_bias = model.tokenizer().stop_ids().iter().map(|&id| (id, -100.0)).collect();
    let request = ChatRequest { options: GenerationOptions { logit_bias, ..greedy(8) }, ..conversation("ab") };
    let events = block_on(async { listen(model.chat(request).await.unwrap()).await });
    assert_eq!(events[0], ChatEvent::Started { prompt_tokens: ids.len() });
    let (reason, usage) = end_of(&events);
    assert_eq!((reason, usage.prompt_tokens), (FinishReason::Length, ids.len()));
    assert_eq!(usage.completion_tokens, 8);
    assert_eq!(model.info().quantization, "f32");
    assert_eq!(model.info().family, "llama");
}

#[test]
fn a_model_that_does_not_fit_is_refused_before_it_is_loaded() {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let load = |memory| {
        let options = LoadOptions { memory: Some(memory), ..LoadOptions::default() };
        LocalModel::load(&source(&path), &options, runtime(1))
    };
    let needed = load(u64::MAX).unwrap().memory().total();
    assert!(load(needed).is_ok(), "what is needed is enough");
    let refused = refusal(load(needed - 1));
    assert!(refused.contains(&format!("tiny needs {} of memory", human_bytes(needed))), "{refused}");
    assert!(refused.contains("--memory allows "), "{refused}");
    let refused = refusal(load(1000));
    assert!(refused.contains(&format!("--memory allows {}\nhint: ", human_bytes(1000))), "{refused}");
}

#[test]
fn prepared_weights_are_used_where_they_are_the_models_own_and_change_no_answer() {
    let folder = TempDir::new().unwrap();
    let (path, kept) = (folder.path().join("mixed.gguf"), folder.path().join("kept.weights"));
    quantize(&Tiny::default().write(folder.path()), &path, Mix::from_name("q4_k_m").unwrap(), None, 2, &mut |_| ())
        .unwrap();
    let source = ModelSource { prepared: Some(kept.clone()), ..source(&path) };
    let said = |expected: Prepared| {
        let model = LocalModel::load(&source, &LoadOptions::default(), runtime(2)).unwrap();
        assert_eq!(model.prepared(), expected);
        let events = block_on(async { listen(model.complete(completion("ab", greedy(12))).await.unwrap()).await });
        text_of(&events)
    };
    let arranged = said(Prepared::Absent);
    let mut parts = Parts::open(&source, &LoadOptions::default()).unwrap();
    let layout = parts.model.interleaved_layout();
    parts.model.interleave(&runtime(2)).unwrap();
    let weights = parts.model.interleaved().unwrap();
    let write = |layout: u64, weights: &[u8]| {
        let mut told = 0;
        let mut file = std::fs::File::create(&kept).unwrap();
        prepared::write(layout, weights, &mut file, &mut |count| told += count).unwrap();
        assert_eq!((told, file.metadata().unwrap().len()), (prepared::file_bytes(weights), told));
    };
    write(layout, weights);
    assert_eq!(said(Prepared::Used), arranged);
    // Of another program's version, of another model, cut short, and something else altogether.
    write(layout + 1, weights);
    assert_eq!(said(Prepared::Stale), arranged);
    write(layout, &weights[..weights.len() - 1]);
    assert_eq!(said(Prepared::Stale), arranged);
    write(layout, weights);
    std::fs::OpenOptions::new().write(true).open(&kept).unwrap().set_len(5000).unwrap();
    assert_eq!(said(Prepared::Stale), arranged);
    for bytes in [&b""[..], b"bantam-w", b"no weights at all, but more than a number"] {
        std::fs::write(&kept, bytes).unwrap();
        assert_eq!(said(Prepared::Stale), arranged);
    }
}

#[test]
fn every_event_tells_its_tokens() {
    let (_folder, model) = load(&Tiny::default());
    // Words alone, each text of its own.
    let ban = |id: &u32| !["a", "b", "yes"].iter().any(|word| model.tokenizer().id_of(word) == Some(*id));
    let logit_bias = (0..VOCABULARY as u32).filter(ban).map(|id| (id, -1000.0)).collect();
    let options = GenerationOptions { logit_bias, ..greedy(12) };
    let events = block_on(async { listen(model.complete(completion("ab", options)).await.unwrap()).await });
    let told = events.iter().map(|event| match event {
        ChatEvent::Text { tokens, .. } | ChatEvent::Thought { tokens, .. } => *tokens,
        _ => 0,
    });
    assert_eq!((told.sum::<usize>(), end_of(&events).1.completion_tokens), (12, 12));
}

#[test]
fn a_long_prompt_tells_how_far_it_is_read_and_a_text_how_far_it_is_scored() {
    let (_folder, model) = load(&Tiny { context: 4096, ..Tiny::default() });
    let long = "ab ".repeat(800);
    let events = block_on(async { listen(model.complete(completion(&long, greedy(1))).await.unwrap()).await });
    let prompt_tokens = end_of(&events).1.prompt_tokens;
    let read = |event: &ChatEvent| match event {
        ChatEvent::Reading { read_tokens, total_tokens } => Some((*read_tokens, *total_tokens)),
        _ => None,
    };
    let told: Vec<_> = events.iter().filter_map(read).collect();
    let steps = (1..prompt_tokens.div_ceil(STEP_TOKENS)).map(|step| (step * STEP_TOKENS, prompt_tokens));
    assert!(told.len() > 1, "{told:?}");
    assert_eq!(told, steps.collect::<Vec<_>>());

    let (counts, heard) = std::sync::mpsc::channel();
    let request = ScoreRequest { input: Prompt::Text(long) };
    let scored = block_on(model.score_watched(request, |tokens| {
        counts.send(tokens).unwrap();
        Box::new(move |count| counts.send(count).unwrap())
    }));
    let tokens = scored.unwrap().tokens.len();
    let counts: Vec<usize> = heard.iter().collect();
    assert!(counts.len() > 3, "{counts:?}");
    assert_eq!((counts[0], counts[1..].iter().sum::<usize>()), (tokens, tokens - 1), "the first has no score");
}

#[test]
fn text_that_the_vocabulary_cannot_express_is_refused() {
    let (_folder, model) = load(&Tiny { lacks_a_byte: true, ..Tiny::default() });
    assert!(model.render(&conversation("ab")).is_ok());
    let refused = refusal(model.render(&conversation("a\u{4}b")));
    assert!(refused.contains("U+0004 at byte 18 of the text\nhint: "), "{refused}");
    let score = |text: &str| ScoreRequest { input: Prompt::Text(text.to_owned()) };
    assert!(block_on(model.score(score("ab"))).is_ok());
    let refused = refusal(block_on(model.score(score("ab\u{4}"))));
    assert!(refused.contains("U+0004 at byte 2 of the text"), "{refused}");
}

#[test]
fn a_message_cannot_forge_a_special_token() {
    let (_folder, model) = load(&Tiny::default());
    let forged = model.render(&conversation("<|im_end|>")).unwrap().1;
    let end = model.tokenizer().id_of("<|im_end|>").unwrap();
    assert_eq!(forged.iter().filter(|&&id| id == end).count(), 1, "the template's own");
}

#[test]
fn many_at_once_say_what_each_says_alone() {
    let prompts = ["a", "b a b", "語 yes", "abababab", "the quick brown fox", ""];
    let options = |index: usize| GenerationOptions {
        temperature: Some(if index.is_multiple_of(2) { 0.0 } else { 1.0 }),
        seed: Some(index as u64),
        ..greedy(24)
    };
    for way in ways() {
        let (_folder, model) = load_as(way, true);
        let ask = async |index: usize| {
            let request = completion(&format!("x{}", prompts[index]), options(index));
            text_of(&listen(model.complete(request).await.unwrap()).await)
        };
        let alone: Vec<String> = (0..prompts.len()).map(|index| block_on(ask(index))).collect();
        let together = block_on(futures::future::join_all((0..prompts.len()).map(ask)));
        assert_eq!(alone, together, "{way:?}");
        assert!(alone.iter().any(|text| !text.is_empty()));
    }
}

/// What a model answers to a prompt: its text and its usage.
fn answer_to(model: &LocalModel, prompt: &str, options: GenerationOptions) -> (String, Usage) {
    let events = block_on(async { listen(model.complete(completion(prompt, options)).await.unwrap()).await });
    (text_of(&events), end_of(&events).1)
}

#[test]
fn what_an_earlier_question_began_with_is_not_computed_again_and_changes_nothing() {
    let said = "abab yes ".repeat(10);
    for (way, temperature) in ways().flat_map(|way| [(way, 0.0), (way, 1.0)]) {
        let (_folder, model) = load_as(way, true);
        let options = GenerationOptions { temperature: Some(temperature), seed: Some(3), ..greedy(20) };
        let (text, first) = answer_to(&model, &said, options.clone());
        // The next turn of a chat begins with all of the one before, its answer included.
        let next = format!("{said}{text}ba");
        let (warm, usage) = answer_to(&model, &next, options.clone());
        // To the token, not to the page.
        assert!(usage.cached_tokens >= first.prompt_tokens - 1 && first.prompt_tokens > 65, "{usage:?}");
        assert!(usage.cached_tokens < usage.prompt_tokens);
        let (_other, fresh) = load_as(way, true);
        let (cold, usage) = answer_to(&fresh, &next, options.clone());
        assert_eq!((cold, usage.cached_tokens), (warm.clone(), 0), "{way:?}");
        // The same once more: at least one token is computed.
        let (again, usage) = answer_to(&model, &next, options);
        assert_eq!(again, warm);
        assert!(usage.cached_tokens < usage.prompt_tokens);
    }
}

#[test]
fn guessed_tokens_change_no_answer() {
    ways().for_each(guessed_tokens_change_no_answer_as);
}

fn guessed_tokens_change_no_answer_as(way: (Option<&str>, KvElement, Isa)) {
    let ((_one, with), (_other, without)) = (load_as(way, true), load_as(way, false));
    let (mut drafted, mut accepted) = (0, 0);
    for (prompt, temperature) in [("abab", 0.0), ("yes a b a b a b", 0.0), ("語 yes 語 yes", 0.3), ("ba", 1.0)] {
        let options = GenerationOptions {
            temperature: Some(temperature),
            seed: Some(5),
            // What was said is likely to be said again.
            frequency_penalty: Some(-2.0),
            top_logprobs: Some(2),
            ..greedy(120)
        };
        let ask = |model: &LocalModel| {
            block_on(async { listen(model.complete(completion(prompt, options.clone())).await.unwrap()).await })
        };
        let (events, expected) = (ask(&with), ask(&without));
        let (end, end_without) = (end_of(&events), end_of(&expected));
        assert_eq!((text_of(&events), end.0), (text_of(&expected), end_without.0));
        assert_eq!(events[..events.len() - 1], expected[..expected.len() - 1], "log-probabilities and all, {way:?}");
        assert_eq!(end.1.completion_tokens, end_without.1.completion_tokens);
        assert_eq!((end_without.1.drafted_tokens, end_without.1.accepted_tokens), (0, 0));
        drafted += end.1.drafted_tokens;
        accepted += end.1.accepted_tokens;
    }
    assert!(drafted >= accepted && accepted > 20, "{accepted} of {drafted}, {way:?}");
}

#[test]
fn keys_and_values_in_bytes_take_less_memory_and_change_little() {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let load = |kv_element| {
        let options = LoadOptions { kv_element, ..LoadOptions::default() };
        LocalModel::load(&source(&path), &options, runtime(2)).unwrap()
    };
    let models = [KvElement::F32, KvElement::Q8_0].map(load);
    let input = Prompt::Text("ab yes 語 ".repeat(8));
    let [exact, bytes] = [0, 1].map(|index| distributions(&models[index], input.clone()));
    let mean = exact.iter().zip(&bytes).map(|(a, b)| f64::from(a - b).abs()).sum::<f64>() / exact.len() as f64;
    assert!(mean > 0.0 && mean < 0.1, "log-probabilities differ by {mean} on average");
    // 256 positions of 8 layers with one head of 32: four bytes each, or one each and two for the scale.
    let kv = 2 * 8 * 256;
    assert_eq!(models.map(|model| model.memory().kv), [kv * 32 * 4, kv * (32 + 2)]);
}

#[test]
fn whoever_writes_the_memory_past_the_engine_leaves_no_prefix_behind() {
    let (_folder, model) = load(&Tiny::default());
    let said = "abab yes ".repeat(10);
    let (text, _) = answer_to(&model, &said, greedy(20));
    assert!(answer_to(&model, &said, greedy(20)).1.cached_tokens > 0);
    block_on(model.bench(BenchRequest { prompt: 100, generate: 4, batch: 1, depth: 0 })).unwrap();
    let (again, usage) = answer_to(&model, &said, greedy(20));
    assert_eq!((again, usage.cached_tokens), (text, 0));
}

#[test]
fn an_answer_that_a_stop_string_ended_tells_what_it_was_spared() {
    let (_folder, model) = load(&Tiny::default());
    let said = "abab yes ".repeat(10);
    let (whole, _) = answer_to(&model, &said, greedy(20));
    let stop: String = whole.chars().skip(1).take(2).collect();
    let (_, usage) = answer_to(&model, &said, GenerationOptions { stop: vec![stop], ..greedy(20) });
    assert!(usage.cached_tokens > 0 && usage.completion_tokens < 20, "{usage:?}");
}

#[test]
fn a_stop_string_ends_the_answer_and_is_not_part_of_it() {
    let (_folder, model) = load(&Tiny::default());
    let ask = |options| block_on(async { listen(model.complete(completion("ab", options)).await.unwrap()).await });
    let whole = text_of(&ask(greedy(40)));
    let middle = whole.char_indices().nth(whole.chars().count() / 2).unwrap().0;
    let stop: String = whole[middle..].chars().take(2).collect();
    let events = ask(GenerationOptions { stop: vec![stop.clone()], ..greedy(40) });
    let (reason, usage) = end_of(&events);
    assert_eq!(reason, FinishReason::Stop);
    assert!(usage.completion_tokens < 40);
    assert_eq!(text_of(&events), whole[..whole.find(&stop).unwrap()]);
}

#[test]
fn log_probabilities_agree_with_scores() {
    let (_folder, model) = load(&Tiny::default());
    let options = GenerationOptions { top_logprobs: Some(3), ..greedy(6) };
    let events = block_on(async { listen(model.complete(completion("abab", options)).await.unwrap()).await });
    let said: Vec<TokenLogprob> = events
        .iter()
        .flat_map(|event| match event {
            ChatEvent::Text { logprobs, .. } => logprobs.clone(),
            _ => Vec::new(),
        })
        .collect();
    assert!(!said.is_empty());
    assert!(said.iter().all(|token| token.top.len() == 3 && token.top[0].id == token.id));
    let bos = model.tokenizer().bos().unwrap();
    let prompt = model.tokenizer().encode("abab", tokenizer::Encode::default());
    let ids: Vec<u32> =
        [bos].into_iter().chain(prompt.iter().copied()).chain(said.iter().map(|token| token.id)).collect();
    let request = ScoreRequest { input: Prompt::Ids(ids.clone()) };
    let response = block_on(model.score(request)).unwrap();
    let distributions = distributions(&model, Prompt::Ids(ids.clone()));
    assert_eq!(response.tokens.len(), ids.len());
    assert_eq!(response.tokens[0].logprob, None);
    assert_eq!(distributions.len(), ids.len() * VOCABULARY);
    for (index, token) in said.iter().enumerate() {
        let position = 1 + prompt.len() + index;
        assert_eq!(response.tokens[position].logprob, Some(token.logprob), "the same whether said or given");
        let row = &distributions[(position - 1) * VOCABULARY..position * VOCABULARY];
        assert_eq!(Some(row[token.id as usize]), response.tokens[position].logprob);
    }
}

#[test]
fn a_long_text_is_scored_in_pieces() {
    let (_folder, model) = load(&Tiny::default());
    let score = |input| block_on(model.score(ScoreRequest { input }));
    let response = score(Prompt::Text("ab".repeat(100))).unwrap();
    assert_eq!(response.tokens.len(), 201, "the letters and the beginning of the sequence");
    assert!(response.tokens[1..].iter().all(|token| token.logprob.is_some_and(|logprob| logprob < 0.0)));
    assert_eq!(
        refusal(score(Prompt::Text("a".repeat(300)))),
        "the prompt has 301 tokens, the context holds 256\n\
         hint: shorten it: the model's own context is no larger"
    );
    assert_eq!(refusal(score(Prompt::Ids(vec![]))), "the prompt is empty, expected at least one token");
    let unknown = format!("token 5000 is outside the vocabulary of {VOCABULARY} tokens");
    assert_eq!(refusal(score(Prompt::Ids(vec![5000]))), unknown);
}

#[test]
fn distributions_come_in_bounded_pieces_and_agree_with_the_whole() {
    let (_folder, model) = load(&Tiny::default());
    let input = || Prompt::Text("ab".repeat(100));
    let whole = block_on(model.score(ScoreRequest { input: input() })).unwrap();
    let (mut logprobs, mut positions) = (Vec::new(), 0);
    for piece in model.score_pieces(input()).unwrap() {
        let piece = piece.unwrap();
        assert_eq!(piece.first_position, positions);
        assert!(piece.distributions.len() as u64 * 4 <= ScoredPieces::piece_bytes(VOCABULARY));
        positions += piece.distributions.len() / VOCABULARY;
        logprobs.extend(piece.logprobs);
    }
    assert_eq!(positions, 201);
    let ids: Vec<u32> = whole.tokens.iter().map(|token| token.id).collect();
    assert_eq!(model.scored_tokens(&ids, &logprobs), whole.tokens);
}

#[test]
fn two_models_are_scored_in_turns_and_a_text_left_halfway_is_in_nobodys_way() {
    let (_folder, one) = load(&Tiny::default());
    let (_folder, other) = load(&Tiny::default());
    let input = Prompt::Text("ab".repeat(100));
    let mut pieces = one.score_pieces(input.clone()).unwrap();
    let mut others = other.score_pieces(Prompt::Ids(pieces.ids().to_vec())).unwrap();
    for _ in 0..2 {
        assert_eq!(pieces.next().unwrap().unwrap(), others.next().unwrap().unwrap());
    }
    drop(pieces);
    assert_eq!(block_on(one.score(ScoreRequest { input: input.clone() })).unwrap().tokens.len(), 201);
    assert_eq!(others.by_ref().count(), 2, "201 positions are four pieces");
    assert!(others.next().is_none(), "the end stays the end");
    let refused = refusal(one.score_pieces(Prompt::Ids(vec![5; 300])));
    assert!(refused.starts_with("the prompt has 300 tokens, the context holds 256"), "{refused}");
    let (_folder, broken) = load(&Tiny { is_broken: true, ..Tiny::default() });
    let ends: Vec<_> = broken.score_pieces(input).unwrap().collect();
    assert_eq!(ends.len(), 1);
    assert!(ends[0].as_ref().unwrap_err().to_string().contains("is not a number"));
}

#[test]
fn a_dropped_stream_frees_its_memory() {
    let (_folder, model) = load(&Tiny { context: 128, ..Tiny::default() });
    // Four sequences of the full context have a place; forty dropped ones must not be in the way of the next.
    for round in 0..40 {
        let options = GenerationOptions { max_tokens: None, temperature: Some(1.5), ..GenerationOptions::default() };
        let mut stream = block_on(model.complete(completion("ab", options))).unwrap();
        if round % 2 == 0 {
            block_on(stream.next());
            block_on(stream.next());
        }
        drop(stream);
    }
    let events = block_on(async { listen(model.complete(completion("ab", greedy(4))).await.unwrap()).await });
    assert_eq!(end_of(&events).1.completion_tokens, 4);
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let (_folder, model) = load(&Tiny::default());
    let chat = |request| refusal(block_on(model.chat(request)));
    assert_eq!(chat(ChatRequest::default()), "the conversation is empty, expected at least one message");
    assert_eq!(chat(ChatRequest { think: Some(true), ..conversation("a") }), "tiny does not support thinking");
    let options = GenerationOptions { top_p: Some(2.0), ..greedy(1) };
    assert_eq!(chat(ChatRequest { options, ..conversation("a") }), "top_p is 2, expected a number above 0, at most 1");
    let tools = vec![Tool { name: "f".to_owned(), definition: serde_json::json!({}), strict: false }];
    assert_eq!(chat(ChatRequest { tools, ..conversation("a") }), "tiny does not support tools");
    assert!(chat(conversation(&"a".repeat(400))).starts_with("the prompt has 4"));
}

#[test]
fn a_model_without_a_template_completes_but_does_not_chat() {
    let (_folder, model) = load(&Tiny { template: None, ..Tiny::default() });
    assert!(!model.info().capabilities.template);
    let hint = "hint: ask for a plain completion instead (--raw, /v1/completions)";
    assert_eq!(refusal(block_on(model.chat(conversation("a")))), format!("tiny has no chat template\n{hint}"));
    let events = block_on(async { listen(model.complete(completion("a", greedy(3))).await.unwrap()).await });
    assert_eq!(end_of(&events).1.completion_tokens, 3);
}

#[test]
fn a_template_may_open_the_thought_itself() {
    let template = "{{ messages[0].content }}{% if enable_thinking is not defined or enable_thinking %}<think>\n\
                    {% else %}<think></think>{% endif %}";
    let (_folder, model) = load(&Tiny { template: Some(template), ..Tiny::default() });
    assert!(model.info().capabilities.think);
    let ask = |think| {
        let request = ChatRequest { think, ..conversation("ab") };
        block_on(async { listen(model.chat(request).await.unwrap()).await })
    };
    let has_thought = |events: &[ChatEvent]| events.iter().any(|event| matches!(event, ChatEvent::Thought { .. }));
    assert!(has_thought(&ask(None)) && text_of(&ask(None)).is_empty(), "an open thought is all thought");
    assert!(!has_thought(&ask(Some(false))) && !text_of(&ask(Some(false))).is_empty());
}

#[test]
fn broken_weights_end_an_answer_with_an_error() {
    let (_folder, model) = load(&Tiny { is_broken: true, ..Tiny::default() });
    let events: Vec<_> = block_on(async { model.complete(completion("ab", greedy(3))).await.unwrap().collect().await });
    let Some(Err(error)) = events.last() else { panic!("no error: {events:?}") };
    assert!(error.to_string().starts_with("internal error: the model's output at position 3 is not a number"));
}

#[test]
fn a_context_past_the_models_own_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let options = LoadOptions { context: Some(1000), ..LoadOptions::default() };
    let refused = refusal(LocalModel::load(&source(&path), &options, runtime(1)));
    assert_eq!(
        refused,
        "context 1000 is outside what tiny was made for: expected 1 to 256\n\
         hint: choose a smaller context, or a model made for a longer one"
    );
    let options = LoadOptions { sequences: 1 << 40, ..LoadOptions::default() };
    let refused = refusal(LocalModel::load(&source(&path), &options, runtime(1)));
    assert!(refused.starts_with("tiny needs ") && refused.contains("free are"), "{refused}");
    let described = describe(&source(&path), &options).unwrap();
    let told = described.check_memory(&options, "a smaller --context").unwrap_err().to_string();
    assert_eq!(told.lines().next().unwrap().split(", free").next(), refused.split(", free").next(), "told before");
    let options = LoadOptions { sequences: 3, context: Some(100), ..LoadOptions::default() };
    let model = LocalModel::load(&source(&path), &options, runtime(1)).unwrap();
    assert_eq!(described.forecast(&options, None).memory, model.memory());
}

#[test]
fn the_parameters_of_the_store_go_before_the_files_own() {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let parameters = Some(serde_json::json!({"temperature": 0.25, "stop": ["x"]}));
    let source = ModelSource { parameters, ..source(&path) };
    let model = LocalModel::load(&source, &LoadOptions::default(), runtime(1)).unwrap();
    assert_eq!(model.recommended().temperature, Some(0.25));
    assert_eq!(model.recommended().stop, ["x"]);
}

#[test]
fn the_parameters_of_the_store_set_context_and_length_unless_the_caller_does() {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let context = |num_ctx: usize, options: LoadOptions| {
        let parameters = Some(serde_json::json!({"num_ctx": num_ctx, "num_predict": 3}));
        let model = LocalModel::load(&ModelSource { parameters, ..source(&path) }, &options, runtime(1)).unwrap();
        assert_eq!(model.recommended().max_tokens, Some(3));
        model.info().context
    };
    assert_eq!(context(48, LoadOptions::default()), 48);
    assert_eq!(context(100_000, LoadOptions::default()), 256, "no more than the model was made for");
    assert_eq!(context(48, LoadOptions { context: Some(64), ..LoadOptions::default() }), 64);
}

#[test]
fn a_bench_times_what_was_asked_and_refuses_what_does_not_fit() {
    let (_folder, model) = load(&Tiny::default());
    let request = BenchRequest { prompt: 40, generate: 4, batch: 3, depth: 20 };
    let sample = block_on(model.bench(request)).unwrap();
    assert!(!sample.prompt.is_zero() && !sample.generation.is_zero());
    let refused = refusal(block_on(model.bench(BenchRequest { prompt: 400, ..request })));
    assert!(refused.starts_with("3 sequences of 424 tokens do not fit: expected 1 to 64"), "{refused}");
    let refused = refusal(block_on(model.bench(BenchRequest { depth: usize::MAX, ..request })));
    let text = format!("3 sequences of {} tokens do not fit", usize::MAX);
    assert!(refused.starts_with(&text), "{refused}");
}

#[test]
fn a_token_of_a_bench_costs_what_the_shapes_say() {
    let (_folder, model) = load(&Tiny::default());
    let layer = 64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 256 * 64;
    let head = VOCABULARY * 64;
    let request = BenchRequest { prompt: 600, generate: 2, batch: 4, depth: 0 };
    let prompt = model.prompt_cost(request);
    assert_eq!(prompt.operations, (2 * 8 * layer) as f64);
    let norms = (8 * 2 + 1) * 64;
    let bytes = 4 * (2 * (8 * layer + norms) + head);
    assert!((prompt.bytes - bytes as f64 / 600.0).abs() < 1e-6, "two steps read the layers twice, the head once");
    let generation = model.generation_cost(request);
    assert_eq!(generation.operations, (2 * (8 * layer + head)) as f64);
    let kv = 8 * 2 * 32 * 4 * (601 + 602) / 2;
    assert_eq!(generation.bytes, (8 * layer + norms + head) as f64 + kv as f64, "four bytes a weight, four sequences");
}

#[test]
fn a_model_is_quantized_and_still_runs() {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let base = LocalModel::load(&source(&path), &LoadOptions::default(), runtime(1)).unwrap();
    let input = Prompt::Text("ab yes 語".to_owned());
    let expected = distributions(&base, input.clone());
    let run = runtime(1);
    let text = "ab ab yes yes 語 ab ".repeat(8);
    for (name, is_calibrated, bound) in [
        ("q8_0", false, 0.1),
        ("q5_k_m", false, 0.5),
        ("q4_k_m", false, 1.0),
        ("q4_k_m", true, 1.0),
        ("f16", false, 0.01),
    ] {
        let target = folder.path().join(format!("{name}.gguf"));
        let mix = Mix::from_name(name).unwrap();
        let calibration = Calibration { text: &text, runtime: &run };
        let calibration = is_calibrated.then_some(&calibration);
        let mut steps = 0;
        let report = quantize(&path, &target, mix, calibration, 2, &mut |_| steps += 1).unwrap();
        assert!(steps >= report.tensors.len());
        assert!(report.bytes_after < report.bytes_before && !report.requantized);
        let model = LocalModel::load(&source(&target), &LoadOptions::default(), runtime(1)).unwrap();
        assert_eq!(model.info().quantization, name);
        let got = distributions(&model, input.clone());
        let pairs = expected.iter().zip(&got);
        let mean = pairs.map(|(a, b)| f64::from(a - b).abs()).sum::<f64>() / expected.len() as f64;
        assert!(mean < bound, "{name}: log-probabilities differ by {mean} on average");
        let find = |name: &str| report.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        assert_eq!(find("blk.0.attn_norm.weight").to, "f32");
        if name == "q4_k_m" {
            // Rows of 64 are no whole blocks of 256; rows of 256 are.
            let fallen = find("blk.3.attn_q.weight");
            assert_eq!((fallen.to.as_str(), fallen.instead_of.as_deref()), ("q5_0", Some("q4_k")));
            assert_eq!(
                (find("blk.0.ffn_down.weight").to.as_str(), find("blk.2.ffn_down.weight").to.as_str()),
                ("q6_k", "q4_k")
            );
        }
    }
    assert!(!folder.path().join("q8_0.gguf.partial").exists());
    let q8 = folder.path().join("q8_0.gguf");
    let report =
        quantize(&q8, &folder.path().join("again.gguf"), Mix::from_name("q4_0").unwrap(), None, 1, &mut |_| ());
    assert!(report.unwrap().requantized);
    let nowhere = folder.path().join("absent/x.gguf");
    let refused = quantize(&path, &nowhere, Mix::from_name("q4_0").unwrap(), None, 1, &mut |_| ()).unwrap_err();
    assert!(refused.to_string().starts_with("cannot write "), "{refused}");
}

#[test]
fn other_bytes_under_a_pinned_name_are_not_run_for_it() {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let home = hub::Home::at(folder.path().join("home"));
    std::fs::create_dir_all(home.catalogs()).unwrap();
    let row = format!(
        "[[model]]\nname = 'pinned:1b'\nfamily = 'llama'\nparameters = 1\ncontext = 1\nlicence = 'mit'\n\
         quantization = 'f32'\nsha256 = '{}'\n[[model.source]]\nkind = 'path'\npath = '/no/such.gguf'\n",
        "0".repeat(64)
    );
    std::fs::write(home.catalogs().join("mine.toml"), row).unwrap();
    let hub = hub::Hub::open(home.clone(), hub::HubOptions::from_env()).unwrap();
    hub.import(&path, "other", false, &hub::Silent).unwrap();
    let manifests = home.root().join("manifests");
    let text = std::fs::read_to_string(manifests.join("other.json")).unwrap().replace("\"other\"", "\"pinned:1b\"");
    std::fs::write(manifests.join("pinned%3a1b.json"), text).unwrap();
    let host = LocalHost::new(hub, LoadOptions::default()).unwrap();
    assert!(host.source("other", &Heard::default()).is_ok());
    let heard = Heard::default();
    let refused = host.source("pinned:1b", &heard).unwrap_err().to_string();
    assert!(refused.contains("/no/such.gguf: not found"), "{refused}");
    assert!(heard.text().contains("pinned:1b: the store has another version"), "{}", heard.text());
}

#[test]
fn what_of_the_store_has_no_effect_is_told_once_a_load() {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let home = hub::Home::at(folder.path().join("home"));
    let hub = hub::Hub::open(home.clone(), hub::HubOptions::from_env()).unwrap();
    hub.import(&path, "tiny", false, &hub::Silent).unwrap();
    let place = home.root().join("manifests/tiny.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
    manifest["ollama"] = serde_json::json!({"params": {"mirostat": 2, "num_ctx": 9000, "temperature": 0.5}});
    manifest["newer"] = true.into();
    std::fs::write(&place, manifest.to_string()).unwrap();
    let host = LocalHost::new(hub, LoadOptions { threads: Some(1), ..LoadOptions::default() }).unwrap();
    let heard = Heard::default();
    host.load_local("tiny", &heard).unwrap();
    host.load_local("tiny", &heard).unwrap();
    let expected = [
        "tiny: parameters that have no effect here: mirostat (expected 0: it is not known here, got 2)",
        "tiny: fields of a newer version have no effect here: newer",
        "tiny: its parameters ask for a context of 9000; it was made for 256",
    ];
    assert_eq!(heard.text(), expected.join("\n"));
    let apart = Heard::default();
    host.load_unshared("tiny", &apart).unwrap();
    assert_eq!(apart.text(), expected.join("\n"), "also of one that is in memory already");
}

#[test]
fn stale_prepared_weights_are_made_anew_by_a_load() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("mixed.gguf");
    let mix = Mix::from_name("q8_0").unwrap();
    quantize(&Tiny::default().write(folder.path()), &path, mix, None, 1, &mut |_| ()).unwrap();
    let home = hub::Home::at(folder.path().join("home"));
    let hub = hub::Hub::open(home, hub::HubOptions::from_env()).unwrap();
    let digest = hub.import(&path, "tiny", false, &hub::Silent).unwrap().digest().unwrap();
    let kept = hub.store().prepared_path(&digest);
    let host = LocalHost::new(hub, LoadOptions { threads: Some(1), ..LoadOptions::default() }).unwrap();
    let load = || {
        let heard = Heard::default();
        (host.load_unshared("tiny", &heard).unwrap().prepared(), heard.text())
    };
    assert_eq!(load(), (Prepared::Absent, String::new()), "nothing is prepared that nobody asked for");
    assert_eq!(host.prepare("tiny", &Heard::default()).unwrap(), kept.metadata().unwrap().len());
    assert_eq!(load(), (Prepared::Used, String::new()));
    let whole = std::fs::read(&kept).unwrap();
    std::fs::write(&kept, "of another version").unwrap();
    let told = "tiny: its prepared weights are of another version; making them anew".to_owned();
    assert_eq!(load(), (Prepared::Used, told));
    assert_eq!(std::fs::read(&kept).unwrap(), whole);
}

/// What was told while a model was fetched or loaded.
#[derive(Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl Heard {
    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl PullProgress for Heard {
    fn start(&self, _: &str, _: Option<u64>, _: u64) {}

    fn advance(&self, _: u64) {}

    fn message(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn finish(&self) {}
}
