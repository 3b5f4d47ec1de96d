//! Single scenes of scheduling, where the simulation would only tell that something went wrong: who reads a shared prompt,
//! who is preempted and when it goes on, what a full queue says.

use crate::simulation::{PagedModel, VOCABULARY, one_thread};
use crate::*;
use model::AdapterId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn config() -> EngineConfig {
    EngineConfig {
        pages: 64,
        page_len: 4,
        context: 100,
        vocabulary: VOCABULARY,
        max_sequences: 40,
        max_waiting: None,
        logit_rows: 40,
        long_rope_after: None,
        speculate: false,
    }
}

fn request(prompt: &[u32], max_tokens: usize) -> SequenceRequest {
    SequenceRequest {
        prompt: prompt.to_vec(),
        max_tokens: Some(max_tokens),
        sampling: Sampling::default(),
        stop_ids: vec![],
        top_logprobs: None,
        prompt_scores: PromptScores::None,
        constraint: None,
        walk: None,
        adapter: None,
    }
}

/// `len` tokens that begin no other prompt of another `salt`.
fn prompt(salt: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|index| (index * 7 + salt) % VOCABULARY as u32).collect()
}

/// An engine with its model.
struct Scene {
    engine: Engine,
    model: PagedModel,
    events: Vec<EngineEvent>,
}

impl Scene {
    fn of(config: EngineConfig) -> Scene {
        Scene { model: PagedModel::new(&config), engine: Engine::new(config, one_thread()), events: Vec::new() }
    }

    /// One step of at most `tokens` tokens; how many it computed.
    fn step(&mut self, tokens: usize) -> usize {
        let Some(batch) = self.engine.begin(Budget::of(tokens)) else { return 0 };
        let logits = self.model.forward(&batch);
        self.engine.finish(&logits, &mut self.events);
        self.engine.scheduler.memory.assert_consistent(&self.engine.scheduler.running);
        batch.tokens.len()
    }

    fn run(&mut self) {
        while self.step(512) > 0 {}
    }

    fn said(&self, of: SequenceId) -> Vec<u32> {
        let token = |event: &EngineEvent| match event {
            EngineEvent::Token { id, token, .. } if *id == of => Some(*token),
            _ => None,
        };
        self.events.iter().filter_map(token).collect()
    }

    fn counts(&self, of: SequenceId) -> Counts {
        let counts = |event: &EngineEvent| match event {
            EngineEvent::Finished { id, counts, .. } if *id == of => Some(*counts),
            _ => None,
        };
        self.events.iter().find_map(counts).expect("it has ended")
    }
}

/// What a request says to an engine that has all for itself.
fn alone(request: SequenceRequest) -> Vec<u32> {
    let mut scene = Scene::of(EngineConfig { pages: 200, ..config() });
    let id = scene.engine.submit(request).unwrap();
    scene.run();
    scene.said(id)
}

#[test]
fn a_prompt_that_many_begin_with_is_read_once_though_all_come_at_once() {
    let mut scene = Scene::of(EngineConfig { pages: 200, ..config() });
    let prompt_of = |user: u32| [prompt(1, 40), vec![user % 20, 3, user / 20]].concat();
    let ids: Vec<SequenceId> = (0..32).map(|user| scene.engine.submit(request(&prompt_of(user), 2)).unwrap()).collect();
    assert_eq!(scene.step(512), 43, "the first reads, the others wait for its pages");
    assert_eq!(scene.step(512), 1 + 31 * 3);
    scene.run();
    assert_eq!(scene.model.computed, 40 + 32 * (3 + 1));
    for (user, id) in (0..).zip(ids) {
        assert_eq!(scene.said(id), alone(request(&prompt_of(user), 2)));
        assert_eq!(scene.counts(id).cached_tokens, if user == 0 { 0 } else { 40 });
    }
    let status = scene.engine.status();
    assert_eq!((status.prefix_queries, status.prefix_hits), (32 * 43, 31 * 40));
}

#[test]
fn a_prompt_read_in_pieces_is_waited_for_and_others_use_the_budget() {
    let mut scene = Scene::of(config());
    let first = scene.engine.submit(request(&prompt(1, 20), 1)).unwrap();
    let second = scene.engine.submit(request(&prompt(1, 20), 1)).unwrap();
    let other = scene.engine.submit(request(&prompt(2, 9), 1)).unwrap();
    assert_eq!(scene.step(6), 6, "of the first alone");
    assert_eq!(scene.step(16), 16, "14 that the first still has to read, and two of the other");
    scene.run();
    assert_eq!(scene.model.computed, 20 + 1 + 9, "the last page of the second is a copy but for the last token");
    assert_eq!(scene.said(first), scene.said(second));
    assert_eq!((scene.counts(second).cached_tokens, scene.counts(other).cached_tokens), (19, 0));
}

#[test]
fn what_an_adapter_computed_is_not_read_under_another() {
    let mut scene = Scene::of(config());
    let with = |adapter| SequenceRequest { adapter, ..request(&prompt(1, 21), 2) };
    let adapters = [None, Some(AdapterId(0)), Some(AdapterId(1)), Some(AdapterId(0))];
    let ids = adapters.map(|adapter| scene.engine.submit(with(adapter)).unwrap());
    scene.run();
    assert_eq!(ids.map(|id| scene.counts(id).cached_tokens), [0, 0, 0, 20]);
    for (adapter, id) in adapters.into_iter().zip(ids) {
        assert_eq!(scene.said(id), alone(with(adapter)));
    }
}

#[test]
fn the_youngest_gives_way_and_goes_on_where_it_was() {
    // Each comes to need nine pages of the twelve.
    let mut scene = Scene::of(EngineConfig { pages: 12, ..config() });
    let older = scene.engine.submit(request(&prompt(1, 8), 29)).unwrap();
    let younger = scene.engine.submit(request(&prompt(2, 8), 29)).unwrap();
    let last = scene.engine.submit(request(&prompt(3, 8), 29)).unwrap();
    scene.run();
    let ends: Vec<SequenceId> = scene
        .events
        .iter()
        .filter_map(|event| matches!(event, EngineEvent::Finished { .. }).then_some(event.id()))
        .collect();
    assert_eq!(ends, [older, younger, last]);
    assert!(scene.engine.status().preemptions >= 1);
    for (salt, id) in [(1, older), (2, younger), (3, last)] {
        assert_eq!(scene.said(id), alone(request(&prompt(salt, 8), 29)));
        assert_eq!(scene.counts(id).cached_tokens, 0, "pages that it had computed itself are no find");
    }
    assert!(scene.model.computed < 3 * 36 + 40, "{}: it was not pushed out again and again", scene.model.computed);
}

#[test]
fn a_preempted_sequence_can_be_cancelled_and_is_counted_among_those_that_wait() {
    let mut scene = Scene::of(EngineConfig { pages: 12, ..config() });
    let older = scene.engine.submit(request(&prompt(1, 8), 29)).unwrap();
    let younger = scene.engine.submit(request(&prompt(2, 8), 29)).unwrap();
    while scene.engine.status().preemptions == 0 {
        assert!(scene.step(512) > 0, "nobody was preempted");
    }
    assert_eq!((scene.engine.status().running, scene.engine.status().waiting), (1, 1));
    let said = scene.said(younger);
    assert!(!said.is_empty());
    scene.engine.cancel(younger, &mut scene.events);
    assert!(scene.engine.status().waiting == 0);
    assert_eq!(scene.events.last().map(EngineEvent::id), Some(younger));
    scene.run();
    assert_eq!(scene.said(younger), said);
    assert_eq!(scene.said(older), alone(request(&prompt(1, 8), 29)));
    let status = scene.engine.status();
    assert_eq!(status.free_pages + status.cached_pages, 12);
}

#[test]
fn scores_that_begin_late_let_the_prompt_be_shared_and_are_reported_once() {
    let mut scene = Scene::of(config());
    let scored = |from: usize, end: u32| SequenceRequest {
        prompt_scores: PromptScores::Tokens { from, top: 2 },
        ..request(&[prompt(1, 22), vec![end, end]].concat(), 0)
    };
    let whole = scene.engine.submit(scored(1, 5)).unwrap();
    let late = scene.engine.submit(scored(22, 5)).unwrap();
    let other = scene.engine.submit(scored(22, 6)).unwrap();
    scene.run();
    let of = |asked: SequenceId| {
        let mut all = (Vec::new(), Vec::new());
        for event in &scene.events {
            if let EngineEvent::PromptLogprobs { id, logprobs, top, .. } = event
                && *id == asked
            {
                all.0.extend_from_slice(logprobs);
                all.1.extend_from_slice(top);
            }
        }
        all
    };
    let (all, tops) = of(whole);
    assert_eq!((all.len(), tops.len()), (23, 23));
    assert!(tops.iter().all(|top| top.len() == 2 && top[0].logprob >= top[1].logprob));
    assert_eq!(of(late), (all[21..].to_vec(), tops[21..].to_vec()), "the same numbers behind shared pages");
    assert_eq!(of(other).0.iter().map(|one| one.token).collect::<Vec<_>>(), [6, 6]);
    let cached = [whole, late, other].map(|id| scene.counts(id).cached_tokens);
    assert_eq!(cached, [0, 0, 20], "a plain score leaves nothing, the others share what is before their first row");
}

#[test]
fn a_full_queue_refuses_with_both_numbers_but_not_what_can_run_at_once() {
    let mut scene = Scene::of(EngineConfig { max_sequences: 2, max_waiting: Some(1), ..config() });
    let submit = |scene: &mut Scene| scene.engine.submit(request(&[1, 2], 5)).map(|_| ());
    assert_eq!([submit(&mut scene), submit(&mut scene), submit(&mut scene)], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(submit(&mut scene), Err(Refused::QueueFull { waiting: 3, limit: 1 }));
    scene.step(512);
    assert_eq!(submit(&mut scene), Err(Refused::QueueFull { waiting: 1, limit: 1 }));
    let text = submit(&mut scene).unwrap_err().to_string();
    assert_eq!(text, "1 requests wait already, the queue holds 1");
    scene.run();
    assert_eq!(submit(&mut scene), Ok(()));
}

#[test]
fn prompts_have_their_own_budget_beside_those_that_generate() {
    let mut scene = Scene::of(config());
    scene.engine.submit(request(&[1, 2], 50)).unwrap();
    assert_eq!(scene.step(512), 2);
    scene.engine.submit(request(&prompt(2, 30), 1)).unwrap();
    for (prompt_tokens, read) in [(0, 0), (5, 5), (3, 3), (0, 0), (100, 22)] {
        let batch = scene.engine.begin(Budget { tokens: 512, prompt_tokens }).unwrap();
        assert_eq!(scene.engine.step_shape(), StepShape { decodes: 1, prompt_tokens: read, forced_tokens: 0 });
        let logits = scene.model.forward(&batch);
        scene.engine.finish(&logits, &mut scene.events);
    }
    assert_eq!(scene.engine.demand(), Demand { decodes: 1, prompts: 0, prompt_tokens: 0 });
}

/// Says these tokens, and is complete.
struct Recites {
    text: Vec<u32>,
    said: usize,
}

impl Constraint for Recites {
    fn mask(&mut self, allowed: &mut TokenMask) -> Result<(), ConstraintError> {
        allowed.allow(self.text[self.said]);
        Ok(())
    }

    fn accept(&mut self, _: u32) -> Result<(), ConstraintError> {
        self.said += 1;
        Ok(())
    }

    fn forced(&mut self, forced: &mut Vec<u32>) {
        // One token in the middle is left to a choice, of which the mask allows one.
        let end = if self.said <= 10 { 10 } else { self.text.len() };
        forced.extend(&self.text[self.said..end]);
    }

    fn is_complete(&self) -> bool {
        self.said == self.text.len()
    }
}

#[test]
fn what_is_forced_takes_no_pass_and_is_not_counted_as_cached() {
    let text: Vec<u32> = (0..21).map(|index| 1 + index * 5 % 20).collect();
    let recite = || SequenceRequest {
        constraint: Some(Box::new(Recites { text: text.clone(), said: 0 })),
        ..request(&prompt(3, 9), 40)
    };
    let mut scene = Scene::of(config());
    for _ in 0..2 {
        let id = scene.engine.submit(recite()).unwrap();
        let mut steps = 0;
        while scene.step(512) > 0 {
            steps += 1;
        }
        // The prompt; the first ten tokens, after which one is chosen. The last ten are never read.
        assert_eq!((steps, scene.said(id).as_slice()), (2, text.as_slice()));
        assert!(scene.counts(id).cached_tokens <= 8, "{:?}", scene.counts(id));
        let is_complete = |event: &EngineEvent| matches!(event, EngineEvent::Finished { id: of, reason: FinishReason::Complete, .. } if *of == id);
        assert!(scene.events.iter().any(is_complete));
    }
    let Status { prefix_queries, prefix_hits, .. } = scene.engine.status();
    assert!(prefix_hits <= prefix_queries, "{prefix_hits} of {prefix_queries}");
}

/// Lets tokens come whose sum with the last one leaves no rest by three; counts its masks.
struct ByThree {
    last: u32,
    tells: bool,
    masks: Arc<AtomicUsize>,
}

impl ByThree {
    fn may_come(&self, token: u32) -> bool {
        !(self.last + token).is_multiple_of(3)
    }
}

impl Constraint for ByThree {
    fn mask(&mut self, allowed: &mut TokenMask) -> Result<(), ConstraintError> {
        self.masks.fetch_add(1, Ordering::Relaxed);
        (0..VOCABULARY as u32).filter(|token| self.may_come(*token)).for_each(|token| allowed.allow(token));
        Ok(())
    }

    fn allows(&mut self, token: u32) -> Result<Option<bool>, ConstraintError> {
        Ok(self.tells.then(|| self.may_come(token)))
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        assert!(self.may_come(token), "{token} after {}", self.last);
        self.last = token;
        Ok(())
    }
}

#[test]
fn the_likeliest_token_is_taken_without_a_mask_where_it_may_come() {
    let penalized = Sampling { repeat_penalty: 1.3, frequency_penalty: 0.5, ..Sampling::default() };
    let drawn = Sampling { temperature: 0.8, seed: 7, ..Sampling::default() };
    for (sampling, is_greedy) in [(Sampling::default(), true), (penalized, true), (drawn, false)] {
        let says = |tells: bool| {
            let masks = Arc::new(AtomicUsize::new(0));
            let constraint = ByThree { last: 0, tells, masks: Arc::clone(&masks) };
            let constraint: Option<Box<dyn Constraint>> = Some(Box::new(constraint));
            let text = alone(SequenceRequest { constraint, sampling: sampling.clone(), ..request(&prompt(5, 7), 60) });
            (text, masks.load(Ordering::Relaxed))
        };
        let ((text, masks), (same, fewer)) = (says(false), says(true));
        assert_eq!((&text, text.len()), (&same, 60));
        assert!(if is_greedy { fewer < masks && fewer > 0 } else { fewer == masks }, "{fewer} of {masks}");
    }
}

#[test]
fn what_a_page_begins_with_is_copied_and_goes_on_as_it_would_alone() {
    let mut scene = Scene::of(config());
    let row = |own: u32| request(&[prompt(1, 18), vec![own, 5, own, 7]].concat(), 6);
    let first = scene.engine.submit(row(2)).unwrap();
    scene.run();
    let computed = scene.model.computed;
    let ids: Vec<SequenceId> = (3..9).map(|own| scene.engine.submit(row(own)).unwrap()).collect();
    scene.run();
    assert_eq!(scene.counts(first).cached_tokens, 0);
    assert_eq!(scene.model.computed - computed, 6 * (4 + 5), "each its own tokens and those that it generates");
    for (own, id) in (3..9).zip(ids) {
        assert_eq!(scene.counts(id).cached_tokens, 18);
        assert_eq!(scene.said(id), alone(row(own)));
    }
}

#[test]
fn a_conversation_goes_on_at_the_very_token_where_it_ended() {
    let mut scene = Scene::of(config());
    let asked = prompt(1, 9);
    let first = scene.engine.submit(request(&asked, 5)).unwrap();
    scene.run();
    let next = [asked, scene.said(first), vec![3, 4]].concat();
    let second = scene.engine.submit(request(&next, 1)).unwrap();
    scene.run();
    // The last token that was generated was never read.
    assert_eq!(scene.counts(second).cached_tokens, 9 + 4);
    assert_eq!(scene.said(second), alone(request(&next, 1)));
}

#[test]
fn a_row_of_a_prompt_that_is_no_number_ends_its_sequence_and_is_named() {
    let mut scene = Scene::of(config());
    let mut scored = request(&prompt(1, 6), 2);
    scored.prompt_scores = PromptScores::Tokens { from: 1, top: 2 };
    let id = scene.engine.submit(scored).unwrap();
    let other = scene.engine.submit(request(&prompt(2, 6), 1)).unwrap();
    let batch = scene.engine.begin(Budget::of(64)).unwrap();
    let mut logits = scene.model.forward(&batch);
    logits[2 * VOCABULARY + 3] = f32::NAN;
    scene.engine.finish(&logits, &mut scene.events);
    scene.run();
    let end = |of: SequenceId| {
        scene.events.iter().find_map(|event| match event {
            EngineEvent::Finished { id, reason, .. } if *id == of => Some(reason.clone()),
            _ => None,
        })
    };
    assert_eq!(end(id), Some(FinishReason::BrokenLogits { position: 0 }));
    assert_eq!(end(other), Some(FinishReason::Length));
    let told = |event: &EngineEvent| matches!(event, EngineEvent::PromptLogprobs { .. });
    assert!(!scene.events.iter().any(told));
}
