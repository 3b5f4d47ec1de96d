//! Which of several texts a tiny model would answer with, against a search that looks at everything.

use super::*;
use std::collections::BTreeMap;

/// Texts of a few letters: many begin with the same, some are the beginning of others.
fn options(seed: u64, count: usize) -> Vec<String> {
    let mut state = seed;
    let mut random = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut texts = Vec::new();
    while texts.len() < count {
        let text: String = (0..=random(5)).map(|_| ["a", "b", "c", "yes", " ", "語"][random(6) as usize]).collect();
        if !text.trim().is_empty() && !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// The log-probability of each option by its definition: the whole distribution after every beginning of every option.
fn by_hand(model: &LocalModel, prompt: &[u32], options: &[String], ends: bool, scoring: OptionScoring) -> Vec<f64> {
    let encode = tokenizer::Encode { add_bos_eos: false, parse_special: false };
    let ids: Vec<Vec<u32>> = options.iter().map(|text| model.tokenizer().encode(text, encode)).collect();
    let mut known: BTreeMap<Vec<u32>, Vec<f64>> = BTreeMap::new();
    let mut after = |path: &[u32]| -> Vec<f64> {
        let row = known.entry(path.to_vec()).or_insert_with(|| {
            let all = distributions(model, Prompt::Ids([prompt, path].concat()));
            all[all.len() - VOCABULARY..].iter().map(|&logprob| f64::from(logprob)).collect()
        });
        row.clone()
    };
    let end_of = |row: &[f64]| model.tokenizer().stop_ids().iter().map(|&id| row[id as usize].exp()).sum::<f64>();
    let score = |own: &Vec<u32>| {
        let mut logprob = 0.0;
        for at in 0..own.len() + usize::from(ends) {
            let row = after(&own[..at]);
            let next = own.get(at).map_or_else(|| end_of(&row), |&id| row[id as usize].exp());
            // Every branch that some option takes here.
            let mut branches: Vec<Option<u32>> =
                ids.iter().filter(|ids| ids.starts_with(&own[..at])).map(|ids| ids.get(at).copied()).collect();
            branches.sort_unstable();
            branches.dedup();
            let mass = |branch: &Option<u32>| branch.map_or_else(|| end_of(&row), |id| row[id as usize].exp());
            let all = match scoring {
                OptionScoring::Tree => branches.iter().map(mass).sum(),
                OptionScoring::Likelihood => 1.0,
            };
            logprob += (next / all).ln();
        }
        logprob
    };
    ids.iter().map(score).collect()
}

fn chat(text: &str) -> ChoiceContext {
    ChoiceContext::Chat(conversation(text))
}

fn choose(model: &LocalModel, request: ChooseRequest) -> ChooseResponse {
    block_on(model.choose(request)).unwrap()
}

#[test]
fn scores_are_those_of_the_definition_and_the_best_comes_first() {
    let (_folder, model) = load(&Tiny::default());
    let mut spared = 0;
    for seed in 0..12 {
        for scoring in [OptionScoring::Tree, OptionScoring::Likelihood] {
            let options = options(seed, 2 + seed as usize);
            let prompt = model.render(&conversation("ab")).unwrap().1;
            let expected = by_hand(&model, &prompt, &options, true, scoring);
            let request = ChooseRequest { context: chat("ab"), options, scoring, all: true };
            let all = choose(&model, request.clone());
            assert_eq!(all.scores.len(), expected.len());
            assert_eq!(all.prompt_tokens, prompt.len());
            for score in &all.scores {
                let by_hand = expected[score.option];
                assert!((score.logprob - by_hand).abs() < 1e-3, "{seed} {scoring:?}: {score:?}, by hand {by_hand}");
            }
            assert!(all.scores.is_sorted_by(|one, other| one.logprob >= other.logprob));
            if scoring == OptionScoring::Tree {
                let sum: f64 = all.scores.iter().map(|score| score.logprob.exp()).sum();
                assert!((sum - 1.0).abs() < 1e-6, "{sum}");
            }
            let best = choose(&model, ChooseRequest { all: false, ..request });
            assert_eq!(best.scores[0], all.scores[0], "the bits too: what is read before does not matter");
            assert!(best.scores.iter().all(|score| all.scores.contains(score)));
            spared += all.scores.len() - best.scores.len();
        }
    }
    assert!(spared > 50, "options that cannot win are left out: {spared}");
}

#[test]
fn plain_text_is_gone_on_from_and_options_have_no_end_of_their_own() {
    let (_folder, model) = load(&Tiny::default());
    let options: Vec<String> = options(3, 8).into_iter().map(|text| format!("{text}\n")).collect();
    let context = ChoiceContext::Plain(Prompt::Text("a b".to_owned()));
    let prompt = model.plain_ids("a b").unwrap();
    for scoring in [OptionScoring::Tree, OptionScoring::Likelihood] {
        let expected = by_hand(&model, &prompt, &options, false, scoring);
        let request = ChooseRequest { context: context.clone(), options: options.clone(), scoring, all: true };
        for score in choose(&model, request).scores {
            assert!((score.logprob - expected[score.option]).abs() < 1e-3);
        }
    }
}

#[test]
fn many_who_choose_at_once_get_what_each_would_get_alone() {
    let (_folder, model) = load(&Tiny::default());
    let request = |row: usize| ChooseRequest {
        context: chat(&format!("the same beginning, long enough for a page or two of it, and then {row}")),
        options: options(5, 12),
        scoring: OptionScoring::Tree,
        all: row.is_multiple_of(3),
    };
    let alone: Vec<Vec<OptionScore>> = (0..24).map(|row| choose(&model, request(row)).scores).collect();
    let (_other, fresh) = load(&Tiny::default());
    let together = block_on(futures::future::join_all((0..24).map(|row| fresh.choose(request(row)))));
    let together: Vec<ChooseResponse> = together.into_iter().map(Result::unwrap).collect();
    assert_eq!(together.iter().map(|response| response.scores.clone()).collect::<Vec<_>>(), alone);
    assert!(together.iter().skip(1).all(|response| response.cached_tokens >= 32), "the beginning is read once");
}

#[test]
fn a_single_option_costs_nothing() {
    let (_folder, model) = load(&Tiny::default());
    let steps = model.activity().steps;
    let options = vec!["yes".to_owned()];
    let request = ChooseRequest { context: chat("a"), options, scoring: OptionScoring::Tree, all: true };
    assert_eq!(choose(&model, request).scores, [OptionScore { option: 0, logprob: 0.0 }]);
    assert_eq!(model.activity().steps, steps);
}

#[test]
fn what_is_no_choice_is_refused_with_its_reason() {
    let (_folder, model) = load(&Tiny { context: 64, ..Tiny::default() });
    let refused = |context: ChoiceContext, options: &[&str]| {
        let options = options.iter().map(|&text| text.to_owned()).collect();
        let request = ChooseRequest { context, options, scoring: OptionScoring::Tree, all: false };
        refusal(block_on(model.choose(request)))
    };
    assert_eq!(refused(chat("a"), &[]), "there are 0 options, expected 1 to 10000");
    assert_eq!(refused(chat("a"), &["a", ""]), "option 1 is empty, expected text");
    assert_eq!(refused(chat("a"), &["a", "b", "a"]), "the option \"a\" is there twice");
    let plain = || ChoiceContext::Plain(Prompt::Text("b".to_owned()));
    assert_eq!(
        refused(plain(), &["aa", "a"]),
        "\"a\" is the beginning of another option, and nothing ends it\nhint: end each with a line break"
    );
    let long = refused(chat(&"a".repeat(100)), &["a", "b"]);
    assert!(long.contains("tokens, the context holds 64"), "{long}");
    let broken = load(&Tiny { is_broken: true, ..Tiny::default() }).1;
    let options = vec!["a".to_owned(), "b".to_owned()];
    let request = ChooseRequest { context: chat("a"), options, scoring: OptionScoring::Tree, all: false };
    let text = refusal(block_on(broken.choose(request)));
    assert!(text.contains("is not a number"), "{text}");
}
