//! The engine under a simulated model: seeded arrivals, cancellations, budgets and faults, checked against each
//! sequence run alone by a loop that has neither pages nor batches.
//!
//! The model keeps no weights. It stores each token where the batch says that its keys and values lie, reads the
//! sequence back from there, and makes its logits from a hash of what it read: a wrong page, position, order or RoPE
//! regime changes every later token.

use crate::*;
use model::{Batch, LogitRows, RopeRegime};
use std::collections::BTreeMap;

const VOCABULARY: usize = 23;
const STOP: u32 = 0;

/// A small generator of test choices (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The logits after a context in which every token was computed in `regime`. Whatever was said before, the token after the
/// last one in a small circle is likely, so that drafts are often right.
fn logits_after(context: impl Iterator<Item = u32>, regime: RopeRegime) -> Vec<f32> {
    let mut last = 0;
    let mut hash = match regime {
        RopeRegime::Short => 1,
        RopeRegime::Long => 2,
    };
    for token in context {
        hash = mix(hash ^ u64::from(token)).wrapping_add(0x9E37_79B9_7F4A_7C15);
        last = u64::from(token);
    }
    let logit = |token: u64| {
        let circle = if token == last % 5 + 1 { 3.2 } else { 0.0 };
        circle + (mix(hash.wrapping_add(token)) % 1000) as f32 / 250.0
    };
    (0..VOCABULARY as u64).map(logit).collect()
}

/// The KV memory of the simulated model: what was stored in each slot, and in which regime.
struct PagedModel {
    page_len: usize,
    slots: Vec<Option<(u32, RopeRegime)>>,
}

impl PagedModel {
    fn forward(&mut self, batch: &Batch) -> Vec<f32> {
        let mut logits = Vec::new();
        let mut first = 0;
        for segment in &batch.segments {
            let slot = |position: usize| {
                segment.pages[position / self.page_len] as usize * self.page_len + position % self.page_len
            };
            for offset in 0..segment.len {
                let position = segment.position + offset;
                self.slots[slot(position)] = Some((batch.tokens[first + offset], segment.regime));
                let wants_row = match segment.logits {
                    LogitRows::None => false,
                    LogitRows::Last => offset + 1 == segment.len,
                    LogitRows::All => true,
                };
                if wants_row {
                    let context = (0..=position).map(|position| {
                        let (token, regime) = self.slots[slot(position)].expect("a position was never computed");
                        assert_eq!(regime, segment.regime, "keys of two RoPE regimes in one sequence");
                        token
                    });
                    logits.extend(logits_after(context, segment.regime));
                }
            }
            first += segment.len;
        }
        assert_eq!(first, batch.tokens.len());
        assert_eq!(logits.len(), batch.logit_rows() * VOCABULARY);
        logits
    }
}

/// What a sequence said, and how it ended.
#[derive(Debug, Clone, Default, PartialEq)]
struct Answer {
    tokens: Vec<u32>,
    prompt_logprobs: Vec<TokenLogprob>,
    distribution_rows: usize,
    end: Option<FinishReason>,
}

/// The naive run: one sequence, no pages, no pieces.
fn alone(request: &SequenceRequest, context: usize, long_rope_after: Option<usize>) -> Answer {
    let mut answer = Answer::default();
    let mut tokens = request.prompt.clone();
    let regime = |len: usize| match long_rope_after {
        Some(original) if len > original => RopeRegime::Long,
        _ => RopeRegime::Short,
    };
    if request.prompt_scores != PromptScores::None {
        for position in 0..tokens.len() {
            let mut logprobs = Vec::new();
            let logits = logits_after(tokens[..=position].iter().copied(), regime(tokens.len()));
            log_softmax(&logits, &mut logprobs).unwrap();
            if let Some(&token) = tokens.get(position + 1) {
                answer.prompt_logprobs.push(TokenLogprob { token, logprob: logprobs[token as usize] });
            }
            if request.prompt_scores == PromptScores::Distributions {
                answer.distribution_rows += 1;
            }
        }
    }
    let mut sampler = Sampler::default();
    while answer.tokens.len() < request.max_tokens.unwrap_or(usize::MAX) && tokens.len() <= context {
        let logits = logits_after(tokens.iter().copied(), regime(tokens.len()));
        let token = sampler.choose(&logits, &request.sampling, None, &tokens, request.prompt.len()).unwrap();
        if request.stop_ids.contains(&token) {
            answer.end = Some(FinishReason::Stop(token));
            return answer;
        }
        tokens.push(token);
        answer.tokens.push(token);
    }
    answer.end = Some(FinishReason::Length);
    answer
}

/// A request of random tokens; half of them go on from something that was said before.
fn request(random: &mut Random, context: usize, said: &[Vec<u32>]) -> SequenceRequest {
    let prompt_len = 1 + random.below(context);
    let mut prompt: Vec<u32> = Vec::new();
    if !said.is_empty() && random.chance(50) {
        let before = &said[random.below(said.len())];
        let len = if random.chance(50) { before.len() } else { random.below(before.len()) };
        prompt.extend(&before[..len.min(prompt_len)]);
    }
    prompt.extend((prompt.len()..prompt_len).map(|_| random.below(VOCABULARY) as u32));
    SequenceRequest {
        prompt,
        max_tokens: if random.chance(80) { Some(random.below(20)) } else { None },
        sampling: Sampling {
            temperature: if random.chance(50) { 0.0 } else { 0.9 },
            top_k: random.below(8),
            repeat_penalty: if random.chance(30) { 1.3 } else { 1.0 },
            seed: random.next(),
            ..Sampling::default()
        },
        stop_ids: if random.chance(50) { vec![STOP] } else { vec![] },
        top_logprobs: random.chance(20).then_some(3),
        prompt_scores: match random.below(10) {
            0 => PromptScores::Tokens,
            1 => PromptScores::Distributions,
            _ => PromptScores::None,
        },
        constraint: None,
    }
}

/// One sequence of the simulation: what it must say, and what it has said so far.
struct Followed {
    prompt: Vec<u32>,
    expected: Answer,
    heard: Answer,
    was_cancelled: bool,
    was_in_fault: bool,
}

/// One run of the engine with its model, and all that was asked of it.
struct Simulation {
    random: Random,
    config: EngineConfig,
    engine: Engine,
    model: PagedModel,
    followed: BTreeMap<SequenceId, Followed>,
    /// Prompts with their answers so far.
    said: Vec<Vec<u32>>,
    /// What all sequences were spared.
    counts: Counts,
    events: Vec<EngineEvent>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = Random(seed);
        let page_len = 1 + random.below(5);
        let context = 4 + random.below(40);
        let config = EngineConfig {
            pages: 1 + random.below(3 * context.div_ceil(page_len)),
            page_len,
            context,
            vocabulary: VOCABULARY,
            max_sequences: 1 + random.below(6),
            logit_rows: 1 + random.below(8),
            long_rope_after: random.chance(40).then(|| 1 + random.below(context)),
            speculate: random.chance(75),
        };
        Simulation {
            model: PagedModel { page_len, slots: vec![None; config.pages * page_len] },
            engine: Engine::new(config.clone()),
            random,
            config,
            followed: BTreeMap::new(),
            said: Vec::new(),
            counts: Counts::default(),
            events: Vec::new(),
        }
    }

    fn submit(&mut self) {
        let request = request(&mut self.random, self.config.context + 2, &self.said);
        let expected = alone(&request, self.config.context, self.config.long_rope_after);
        let prompt = request.prompt.clone();
        let prompt_len = prompt.len();
        let room = (self.config.context + 1).saturating_sub(prompt_len);
        let positions = prompt_len + request.max_tokens.unwrap_or(room).min(room).saturating_sub(1);
        match self.engine.submit(request) {
            Ok(id) => {
                let heard = Answer::default();
                self.followed
                    .insert(id, Followed { prompt, expected, heard, was_cancelled: false, was_in_fault: false });
            }
            Err(Refused::PromptTooLong { tokens, context }) => assert!(tokens == prompt_len && tokens > context),
            Err(Refused::NeverFits { pages_needed, pages_total }) => {
                assert_eq!(pages_needed, positions.div_ceil(self.config.page_len));
                assert!(pages_needed > pages_total);
            }
            Err(other) => panic!("refused for no reason: {other}"),
        }
    }

    fn cancel_one(&mut self) {
        let unfinished: Vec<SequenceId> =
            self.followed.iter().filter(|(_, one)| one.heard.end.is_none()).map(|(&id, _)| id).collect();
        if unfinished.is_empty() {
            return;
        }
        let id = unfinished[self.random.below(unfinished.len())];
        self.engine.cancel(id, &mut self.events);
        self.followed.get_mut(&id).unwrap().was_cancelled = true;
    }

    /// A step, with now and then a cancellation or a fault in its middle. False if there was nothing to do.
    fn step(&mut self, may_fail: bool) -> bool {
        let budget = 1 + self.random.below(12);
        let Some(batch) = self.engine.begin(budget) else { return false };
        assert!(batch.tokens.len() <= budget && batch.logit_rows() <= self.config.logit_rows);
        let scheduler = &self.engine.scheduler;
        if let (Some(running), Some(waiting)) = (scheduler.running.last(), scheduler.waiting.front()) {
            assert!(running.id < waiting.id, "a later sequence was admitted first");
            let needed = waiting.positions().div_ceil(self.config.page_len);
            let is_full = scheduler.running.len() == self.config.max_sequences;
            let available = scheduler.pool.free() + scheduler.prefixes.unread();
            assert!(is_full || needed > available, "a sequence waits that could run");
        }
        let logits = self.model.forward(&batch);
        if self.random.chance(8) {
            self.cancel_one();
        }
        if may_fail && self.random.chance(2) {
            self.model.slots.fill(None);
            self.engine.rebuild(&mut self.events);
        } else {
            self.engine.finish(&logits, &mut self.events);
            if self.random.chance(50) {
                // Prices that follow no rule: what is drafted changes no token.
                self.engine.tell_cost(self.random.below(100) as f32);
            }
        }
        true
    }

    fn hear(&mut self) {
        for event in self.events.drain(..) {
            let one = self.followed.get_mut(&event.id()).unwrap();
            assert_eq!(one.heard.end, None, "an event after the end");
            match event {
                EngineEvent::Token { token, logprob, top, .. } => {
                    assert_eq!(logprob.is_some(), top.len() == 3);
                    one.heard.tokens.push(token);
                }
                EngineEvent::Reading { read, total, .. } => {
                    assert!(0 < read && read < total);
                    assert_eq!(total, one.prompt.len() + one.heard.tokens.len());
                }
                EngineEvent::PromptLogprobs { first_position, logprobs, distributions, .. } => {
                    assert_eq!(first_position, one.heard.prompt_logprobs.len());
                    one.heard.prompt_logprobs.extend(logprobs);
                    one.heard.distribution_rows += distributions.len() / VOCABULARY;
                }
                EngineEvent::Finished { reason, counts, .. } => {
                    let scores = one.expected.distribution_rows + one.expected.prompt_logprobs.len();
                    assert!(counts.cached_tokens < one.prompt.len() && (scores == 0 || counts.cached_tokens == 0));
                    self.counts.cached_tokens += counts.cached_tokens;
                    self.counts.drafted_tokens += counts.drafted_tokens;
                    self.counts.accepted_tokens += counts.accepted_tokens;
                    assert!(counts.accepted_tokens <= one.heard.tokens.len().min(counts.drafted_tokens));
                    assert!(self.config.speculate || counts.drafted_tokens == 0);
                    self.said.push([one.prompt.as_slice(), &one.heard.tokens].concat());
                    one.was_in_fault |= reason == FinishReason::Abandoned;
                    one.heard.end = Some(reason);
                }
            }
        }
    }

    /// Everything that was asked was answered once, as it would have been alone, or was cut short for a known reason.
    fn judge(&self) {
        assert!(self.engine.is_idle());
        assert_eq!(self.engine.free_pages() + self.engine.cached_pages(), self.config.pages);
        assert_eq!(self.engine.scheduler.prefixes.unread(), self.engine.cached_pages(), "a reader that has gone");
        for (id, one) in &self.followed {
            let Some(end) = &one.heard.end else { panic!("{id:?} never ended") };
            match end {
                FinishReason::Cancelled => assert!(one.was_cancelled),
                FinishReason::Abandoned => assert!(one.was_in_fault),
                _ => assert_eq!(one.heard, one.expected, "{id:?}"),
            }
            assert!(one.expected.tokens.starts_with(&one.heard.tokens), "{id:?} said something else");
        }
    }
}

#[test]
fn every_sequence_says_what_it_would_say_alone() {
    let mut faults = 0;
    let mut cancelled = 0;
    let mut complete = 0;
    let mut counts = Counts::default();
    for seed in 0..1_500 {
        let mut simulation = Simulation::new(seed);
        let arrivals = 1 + simulation.random.below(16);
        let mut submitted = 0;
        while submitted < arrivals {
            for _ in 0..simulation.random.below(4) {
                simulation.submit();
                submitted += 1;
            }
            if simulation.random.chance(5) {
                simulation.cancel_one();
            }
            simulation.step(true);
            simulation.hear();
        }
        let mut steps = 0;
        while simulation.step(true) {
            simulation.hear();
            steps += 1;
            assert!(steps < 20_000, "seed {seed} does not come to an end");
        }
        simulation.hear();
        simulation.judge();
        counts.cached_tokens += simulation.counts.cached_tokens;
        counts.drafted_tokens += simulation.counts.drafted_tokens;
        counts.accepted_tokens += simulation.counts.accepted_tokens;
        for one in simulation.followed.values() {
            match one.heard.end {
                Some(FinishReason::Cancelled) => cancelled += 1,
                Some(FinishReason::Abandoned) => faults += 1,
                _ => complete += 1,
            }
        }
    }
    // The simulation met everything that it is about.
    assert!(complete > 3_000 && cancelled > 100 && faults > 50, "{complete} {cancelled} {faults}");
    assert!(counts.cached_tokens > 1_000, "{counts:?}");
    assert!(counts.accepted_tokens > 500 && counts.drafted_tokens - counts.accepted_tokens > 500, "{counts:?}");
}

/// Forbids a third of the tokens, each time another one, and gives up at a token that the seed decides.
struct Fickle {
    said: usize,
    last: usize,
}

impl Constraint for Fickle {
    fn mask(&mut self, allowed: &mut TokenMask) -> Result<(), ConstraintError> {
        (0..VOCABULARY as u32)
            .filter(|token| !(*token as usize + self.said).is_multiple_of(3))
            .for_each(|token| allowed.allow(token));
        Ok(())
    }

    fn accept(&mut self, _: u32) -> Result<(), ConstraintError> {
        self.said += 1;
        if self.said == self.last { Err(ConstraintError("enough".to_owned())) } else { Ok(()) }
    }
}

/// All events of one request, and what it was spared.
fn events_of(request: SequenceRequest, speculate: bool, long_rope_after: Option<usize>) -> (Vec<EngineEvent>, Counts) {
    let config = EngineConfig {
        pages: 20,
        page_len: 4,
        context: 80,
        vocabulary: VOCABULARY,
        max_sequences: 2,
        logit_rows: 16,
        long_rope_after,
        speculate,
    };
    let mut model = PagedModel { page_len: 4, slots: vec![None; 80] };
    let mut engine = Engine::new(config);
    let mut events = Vec::new();
    engine.submit(request).unwrap();
    while let Some(batch) = engine.begin(32) {
        engine.finish(&model.forward(&batch), &mut events);
    }
    let Some(EngineEvent::Finished { counts, .. }) = events.last_mut() else { panic!("no end") };
    let counts = std::mem::take(counts);
    (events, counts)
}

#[test]
fn drafts_change_no_event_whatever_chooses_the_tokens() {
    let mut all = Counts::default();
    for seed in 0..400 {
        let make = || {
            let mut random = Random(seed);
            let prompt_len = 1 + random.below(30);
            let request = SequenceRequest {
                prompt: (0..prompt_len).map(|_| random.below(7) as u32).collect(),
                max_tokens: random.chance(50).then(|| random.below(40)),
                sampling: Sampling {
                    temperature: if random.chance(50) { 0.0 } else { 0.7 },
                    repeat_penalty: if random.chance(30) { 1.1 } else { 1.0 },
                    frequency_penalty: if random.chance(30) { 0.1 } else { 0.0 },
                    logit_bias: vec![(random.below(VOCABULARY) as u32, 1.0)],
                    seed,
                    ..Sampling::default()
                },
                stop_ids: if random.chance(50) { vec![STOP, 9] } else { vec![] },
                top_logprobs: random.chance(50).then_some(2),
                prompt_scores: if random.chance(20) { PromptScores::Tokens } else { PromptScores::None },
                constraint: random
                    .chance(40)
                    .then(|| Box::new(Fickle { said: 0, last: 1 + random.below(60) }) as Box<dyn Constraint>),
            };
            (request, random.chance(40).then(|| random.below(80)))
        };
        let [(with, counts), (without, none)] = [true, false].map(|speculate| {
            let (request, long_rope_after) = make();
            events_of(request, speculate, long_rope_after)
        });
        assert_eq!(with, without, "seed {seed}");
        assert_eq!(none, Counts::default());
        all.drafted_tokens += counts.drafted_tokens;
        all.accepted_tokens += counts.accepted_tokens;
    }
    assert!(all.accepted_tokens > 1_000 && all.drafted_tokens > all.accepted_tokens, "{all:?}");
}
