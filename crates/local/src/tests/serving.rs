//! What serving many asks of a model: prompts reported, continuations ranked, memory that is too small for all at once, a
//! queue that is full.

use super::*;
use futures::future::join_all;
use std::time::Duration;

/// Bytes of a page of the tiny model in f32: keys and values of 32 positions, 8 layers, one head of 32.
const PAGE_BYTES: u64 = 2 * 32 * 8 * 32 * 4;

/// A tiny model with these options, over f32.
fn load_with(options: LoadOptions) -> Result<(TempDir, LocalModel), ChatError> {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let options = LoadOptions { kv_element: KvElement::F32, ..options };
    LocalModel::load(&source(&path), &options, runtime(2)).map(|model| (folder, model))
}

/// What the model does, once it has nothing more to do.
fn activity_at_rest(model: &LocalModel) -> Activity {
    for _ in 0..1_000 {
        let activity = model.activity();
        if activity.running == 0 && activity.waiting == 0 {
            return activity;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it does not come to rest: {:?}", model.activity());
}

/// Greedy, to the length: no token that ends an answer may come.
fn endless(model: &LocalModel, max_tokens: usize) -> GenerationOptions {
    let logit_bias = model.tokenizer().stop_ids().iter().map(|&id| (id, -100.0)).collect();
    GenerationOptions { logit_bias, ..greedy(max_tokens) }
}

#[test]
fn a_prompt_is_reported_once_before_the_answer_with_the_numbers_of_its_score() {
    let (_folder, model) = load(&Tiny::default());
    let text = "ab yes 語".repeat(15);
    let scored = block_on(model.score(ScoreRequest { input: Prompt::Text(text.clone()) })).unwrap().tokens;
    assert!(scored.len() > 64, "more than one step has rows for");
    // Whatever the cache holds, every number is computed.
    block_on(async { listen(model.complete(completion(&text, greedy(2))).await.unwrap()).await });
    for (max_tokens, top) in [(0, 0), (5, 2), (5, 0)] {
        let request = CompletionRequest { prompt_logprobs: Some(top), ..completion(&text, greedy(max_tokens)) };
        let events = block_on(async { listen(model.complete(request).await.unwrap()).await });
        let reports: Vec<usize> =
            (0..events.len()).filter(|&at| matches!(events[at], ChatEvent::Prompt { .. })).collect();
        let text_at = events.iter().position(|event| matches!(event, ChatEvent::Text { .. })).unwrap_or(events.len());
        assert!(reports.len() == 1 && reports[0] < text_at, "{events:?}");
        let ChatEvent::Prompt { tokens } = &events[reports[0]] else { panic!("no report") };
        let plain =
            |token: &PromptToken| ScoredToken { id: token.id, text: token.text.clone(), logprob: token.logprob };
        assert_eq!(tokens.iter().map(plain).collect::<Vec<_>>(), scored);
        assert!(tokens[0].top.is_empty() && tokens[1..].iter().all(|token| token.top.len() == top));
        let (reason, usage) = end_of(&events);
        assert_eq!((usage.cached_tokens, usage.prompt_tokens), (0, scored.len()));
        assert!(usage.completion_tokens <= max_tokens && (max_tokens > 0 || reason == FinishReason::Length));
        let answered = text_of(&events);
        assert_eq!(answered, if max_tokens == 0 { String::new() } else { answer_to(&model, &text, greedy(5)).0 });
    }
    let lonely = CompletionRequest { prompt_logprobs: Some(1), ..completion("", greedy(0)) };
    let events = block_on(async { listen(model.complete(lonely).await.unwrap()).await });
    let tokens = match &events[1] {
        ChatEvent::Prompt { tokens } => tokens,
        other => panic!("{other:?}"),
    };
    assert_eq!((tokens.len(), tokens[0].logprob), (1, None), "the beginning of the sequence alone");
}

#[test]
fn continuations_score_as_in_the_whole_text_and_their_prompt_is_read_once() {
    let (_folder, model) = load(&Tiny::default());
    let prompt = "ab yes ".repeat(20);
    let continuations: Vec<String> = ["a", "b", "yes yes", "語ab", "a", "bb"].map(str::to_owned).to_vec();
    let before = activity_at_rest(&model);
    let request = RankRequest { prompt: Prompt::Text(prompt.clone()), continuations: continuations.clone() };
    let ranked = block_on(model.rank(request)).unwrap();
    let read = activity_at_rest(&model).prompt_tokens - before.prompt_tokens;
    let whole_pages = ranked.prompt_tokens as u64 / 32 * 32;
    assert!(whole_pages >= 96);
    let most = whole_pages + continuations.iter().map(|text| 32 + text.len() as u64).sum::<u64>();
    assert!(read <= most, "{read} tokens were read, {most} suffice");
    for (text, tokens) in continuations.iter().zip(&ranked.continuations) {
        let input = Prompt::Text(format!("{prompt}{text}"));
        let whole = block_on(model.score(ScoreRequest { input })).unwrap().tokens;
        assert_eq!(tokens, &whole[ranked.prompt_tokens..], "{text}");
        assert_eq!(tokens.iter().map(|token| token.text.as_str()).collect::<String>(), *text);
    }
    // A prompt of ids stays as it is.
    let ids = model.prompt_ids(Prompt::Text(prompt)).unwrap();
    let request = RankRequest { prompt: Prompt::Ids(ids), continuations };
    assert_eq!(block_on(model.rank(request)).unwrap(), ranked);
}

#[test]
fn what_cannot_be_ranked_is_refused_with_its_reason() {
    let (_folder, model) = load(&Tiny::default());
    let rank = |prompt: Prompt, continuations: &[&str]| {
        let continuations = continuations.iter().map(|&text| text.to_owned()).collect();
        refusal(block_on(model.rank(RankRequest { prompt, continuations })))
    };
    let text = |text: &str| Prompt::Text(text.to_owned());
    assert_eq!(rank(text("a"), &[]), "there are 0 continuations, expected 1 to 1000");
    assert_eq!(rank(text("a"), &["a"; 1001]), "there are 1001 continuations, expected 1 to 1000");
    assert_eq!(rank(text("a"), &["a", ""]), "continuation 1 is empty, expected text");
    let first = "continuation 0 begins at the first token, which has nothing before it\nhint: give a prompt";
    assert_eq!(rank(Prompt::Ids(vec![]), &["a"]), first);
    assert!(rank(text(&"a".repeat(300)), &["b"]).starts_with("the prompt has 301 tokens, the context holds 256"));
    assert!(rank(text(&"a".repeat(254)), &["b", "bbb"]).starts_with("the prompt has 258 tokens"));
    assert!(rank(Prompt::Ids(vec![5000]), &["b"]).starts_with("token 5000 is outside the vocabulary"));
    let suffixed = CompletionRequest { suffix: Some("b".to_owned()), ..completion("a", greedy(1)) };
    assert_eq!(refusal(block_on(model.complete(suffixed))), "tiny does not support a suffix (fill in the middle)");
}

#[test]
fn a_conversation_counts_as_many_tokens_as_are_read_of_it() {
    let (_folder, model) = load(&Tiny::default());
    let counted = block_on(model.count_tokens(&conversation("ab yes"))).unwrap();
    let events = block_on(async { listen(model.chat(conversation("ab yes")).await.unwrap()).await });
    assert_eq!(events[0], ChatEvent::Started { prompt_tokens: counted });
    let long = block_on(model.count_tokens(&conversation(&"a".repeat(400)))).unwrap();
    assert!(long > model.info().context, "what is too long to answer can still be counted");
    assert!(refusal(block_on(model.count_tokens(&ChatRequest::default()))).starts_with("the conversation is empty"));
}

#[test]
fn activity_adds_up() {
    let (_folder, model) = load(&Tiny::default());
    let fresh = model.activity();
    assert_eq!((fresh.pages, fresh.free_pages, fresh.page_len, fresh.steps), (32, 32, 32, 0));
    let said = "ab".repeat(50);
    for _ in 0..2 {
        let usage = answer_to(&model, &said, endless(&model, 10)).1;
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (101, 10));
    }
    let activity = activity_at_rest(&model);
    assert_eq!((activity.prefix_queries, activity.prefix_hits), (202, 100), "the second time all but the last token");
    assert_eq!((activity.prompt_tokens, activity.generated_tokens, activity.preemptions), (202 - 100, 20, 0));
    assert!(activity.steps >= 4);
    assert_eq!((activity.free_pages + activity.cached_pages, activity.cached_pages), (32, 4), "one is begun");
}

#[test]
fn what_does_not_fit_at_once_is_preempted_and_says_what_it_says_alone() {
    let options = LoadOptions { kv_memory: Some(9 * PAGE_BYTES), ..LoadOptions::default() };
    let (_folder, model) = load_with(options).unwrap();
    assert_eq!(model.activity().pages, 9);
    let ask = async |index: usize| {
        let temperature = Some(if index.is_multiple_of(2) { 0.0 } else { 1.0 });
        let options = GenerationOptions { temperature, seed: Some(index as u64), ..endless(&model, 90) };
        let request = completion(&format!("{index} ab"), options);
        let events = listen(model.complete(request).await.unwrap()).await;
        assert_eq!(end_of(&events).0, FinishReason::Length);
        text_of(&events)
    };
    let together = block_on(join_all((0..8).map(ask)));
    let activity = activity_at_rest(&model);
    assert!(activity.preemptions > 0, "{activity:?}");
    assert_eq!(activity.free_pages + activity.cached_pages, 9);
    let alone: Vec<String> = (0..8).map(|index| block_on(ask(index))).collect();
    assert_eq!(together, alone);
}

#[test]
fn memory_for_keys_and_values_bounds_the_context() {
    let load = |pages: u64, context| {
        load_with(LoadOptions { kv_memory: Some(pages * PAGE_BYTES + 1), context, ..LoadOptions::default() })
    };
    let (_folder, model) = load(3, None).unwrap();
    assert_eq!((model.info().context, model.activity().pages), (96, 3));
    assert_eq!(model.notes(), ["context 96 instead of 256: 196.6 kB for keys and values hold no more (--kv-memory)"]);
    assert_eq!(
        refusal(load(3, Some(97))),
        "context 97 does not fit: 196.6 kB for keys and values hold 96 positions of tiny\n\
         hint: choose a context of 96 or less, or give it more (--kv-memory)"
    );
    assert_eq!(
        refusal(load(0, None)),
        "1 B for keys and values hold no page of tiny, which takes 65.5 kB\nhint: give it more (--kv-memory)"
    );
    let (_folder, model) = load(20, Some(100)).unwrap();
    assert_eq!((model.info().context, model.activity().pages, model.notes().len()), (100, 20, 0));
    assert_eq!(model.memory().kv, 20 * PAGE_BYTES);
}

#[test]
fn a_full_queue_refuses_at_once_and_harms_nobody_in_it() {
    let options = LoadOptions { max_waiting: Some(2), sequences: 4, ..LoadOptions::default() };
    let (_folder, model) = load_with(options).unwrap();
    let expected = answer_to(&model, "ab", greedy(40)).0;
    let ask = async |_: usize| match model.complete(completion("ab", greedy(40))).await {
        Ok(stream) => Ok(text_of(&listen(stream).await)),
        Err(error) => Err(error),
    };
    let outcomes = block_on(join_all((0..300).map(ask)));
    let (taken, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert!(taken.len() >= 2 && taken.into_iter().all(|text| text.unwrap() == expected));
    assert!(refused.len() > 100);
    for outcome in refused {
        let Err(ChatError::Overloaded(text)) = outcome else { panic!("{outcome:?}") };
        assert!(text.ends_with(" requests wait already, the queue holds 2"), "{text}");
    }
    assert_eq!(answer_to(&model, "ab", greedy(40)).0, expected);
}
