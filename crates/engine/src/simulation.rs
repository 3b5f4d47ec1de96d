//! The engine under a simulated model: seeded arrivals, cancellations, budgets and faults, checked against each
//! sequence run alone by a loop that has neither pages nor batches.
//!
//! The model keeps no weights. It stores each token where the batch says that its keys and values lie, reads the
//! sequence back from there, and makes its logits from a hash of what it read: a wrong page, position, order, adapter or
//! RoPE regime changes every later token. Read next: `scenes`, where single things are looked at.

use crate::*;
use kernels::{Isa, Runtime, log_sum_exp};
use model::{AdapterId, Batch, LogitRows, RopeRegime};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub(crate) const VOCABULARY: usize = 23;
const STOP: u32 = 0;

/// Seeds of the simulation; each is an engine of another shape with its own arrivals.
const SEEDS: u64 = 10_000;

/// What log-probabilities are computed with.
pub(crate) fn one_thread() -> Arc<Runtime> {
    Arc::new(Runtime::new(Isa::Scalar, 1).unwrap())
}

/// A small generator of test choices (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What a stored token was computed with.
type Made = (RopeRegime, Option<AdapterId>);

/// The logits after a context in which every token was computed so. Whatever was said before, the token after the last
/// one in a small circle is likely, so that drafts are often right.
fn logits_after(context: impl Iterator<Item = u32>, (regime, adapter): Made) -> Vec<f32> {
    let mut last = 0;
    let mut hash = match regime {
        RopeRegime::Short => 1,
        RopeRegime::Long => 2,
    };
    hash += adapter.map_or(0, |AdapterId(id)| 10 * (1 + u64::from(id)));
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

/// The KV memory of the simulated model: what was stored in each slot, and how it was made.
pub(crate) struct PagedModel {
    page_len: usize,
    slots: Vec<Option<(u32, Made)>>,
    /// Tokens that were computed.
    pub(crate) computed: usize,
}

impl PagedModel {
    pub(crate) fn new(config: &EngineConfig) -> PagedModel {
        PagedModel { page_len: config.page_len, slots: vec![None; config.pages * config.page_len], computed: 0 }
    }

    pub(crate) fn forward(&mut self, batch: &Batch) -> Vec<f32> {
        let mut logits = Vec::new();
        let mut first = 0;
        self.computed += batch.tokens.len();
        for copy in &batch.copies {
            let [from, to] = [copy.from, copy.to].map(|page| page as usize * self.page_len);
            self.slots.copy_within(from..from + self.page_len, to);
        }
        for segment in &batch.segments {
            let slot = |position: usize| {
                segment.pages[position / self.page_len] as usize * self.page_len + position % self.page_len
            };
            let made = (segment.regime, segment.adapter);
            for offset in 0..segment.len {
                let position = segment.position + offset;
                self.slots[slot(position)] = Some((batch.tokens[first + offset], made));
                let wants_row = match segment.logits {
                    LogitRows::None => false,
                    LogitRows::Last => offset + 1 == segment.len,
                    LogitRows::All => true,
                };
                if wants_row {
                    let context = (0..=position).map(|position| {
                        let (token, stored) = self.slots[slot(position)].expect("a position was never computed");
                        assert_eq!(stored, made, "keys of two kinds in one sequence");
                        token
                    });
                    logits.extend(logits_after(context, made));
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
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) tokens: Vec<u32>,
    prompt_logprobs: Vec<TokenLogprob>,
    prompt_tops: Vec<Vec<TokenLogprob>>,
    distribution_rows: usize,
    seen: Seen,
    pub(crate) end: Option<FinishReason>,
}

/// What a walk saw: a hash of the logits at each of its steps.
type Seen = Arc<Mutex<Vec<u64>>>;

impl PartialEq for Answer {
    fn eq(&self, other: &Answer) -> bool {
        let parts = |one: &Answer| {
            let seen = one.seen.lock().unwrap().clone();
            let prompt = (one.prompt_logprobs.clone(), one.prompt_tops.clone(), one.distribution_rows);
            (one.tokens.clone(), prompt, seen, one.end.clone())
        };
        parts(self) == parts(other)
    }
}

/// What is asked in the simulation; a request is made of it as often as one is needed.
#[derive(Debug, Clone)]
struct Asked {
    prompt: Vec<u32>,
    max_tokens: Option<usize>,
    sampling: Sampling,
    stop_ids: Vec<u32>,
    top_logprobs: Option<usize>,
    prompt_scores: PromptScores,
    /// The token at which its constraint ends it, where it has one.
    fickle: Option<usize>,
    /// The seed of the walk that it takes instead of answering.
    wanders: Option<u64>,
    adapter: Option<AdapterId>,
}

impl Asked {
    fn request(&self, seen: &Seen) -> SequenceRequest {
        SequenceRequest {
            walk: self.wanders.map(|seed| Box::new(Wanderer::new(seed, seen)) as Box<dyn Walk>),
            prompt: self.prompt.clone(),
            max_tokens: self.max_tokens,
            sampling: self.sampling.clone(),
            stop_ids: self.stop_ids.clone(),
            top_logprobs: self.top_logprobs,
            prompt_scores: self.prompt_scores,
            constraint: self.fickle.map(|last| Box::new(Fickle::new(last)) as Box<dyn Constraint>),
            adapter: self.adapter,
        }
    }

    /// Random tokens; half of them go on from something that was said before.
    fn random(random: &mut Random, context: usize, said: &[Vec<u32>]) -> Asked {
        let prompt_len = 1 + random.below(context);
        let mut prompt: Vec<u32> = Vec::new();
        if !said.is_empty() && random.chance(50) {
            let before = &said[random.below(said.len())];
            let len = if random.chance(50) { before.len() } else { random.below(before.len()) };
            prompt.extend(&before[..len.min(prompt_len)]);
        }
        prompt.extend((prompt.len()..prompt_len).map(|_| random.below(VOCABULARY) as u32));
        Asked {
            prompt,
            max_tokens: if random.chance(70) { Some(random.below(20)) } else { None },
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
                0 => PromptScores::Tokens { from: random.below(2), top: random.below(3) },
                1 => PromptScores::Tokens { from: random.below(prompt_len + 2), top: 0 },
                2 => PromptScores::Distributions,
                _ => PromptScores::None,
            },
            fickle: random.chance(15).then(|| 1 + random.below(30)),
            wanders: random.chance(25).then(|| random.next()),
            adapter: random.chance(20).then(|| AdapterId(random.below(2) as u32)),
        }
    }

    /// The naive run: one sequence, no pages, no pieces.
    fn alone(&self, context: usize, long_rope_after: Option<usize>) -> Answer {
        let mut answer = Answer::default();
        let mut tokens = self.prompt.clone();
        let made = |len: usize| match long_rope_after {
            Some(original) if len > original => (RopeRegime::Long, self.adapter),
            _ => (RopeRegime::Short, self.adapter),
        };
        let (from, top) = match self.prompt_scores {
            PromptScores::None => (usize::MAX, 0),
            PromptScores::Tokens { from, top } => (from.max(1), top),
            PromptScores::Distributions => (1, 0),
        };
        for position in from - 1..tokens.len() {
            let mut logprobs = Vec::new();
            let logits = logits_after(tokens[..=position].iter().copied(), made(tokens.len()));
            let normaliser = log_sum_exp(&one_thread(), &logits, VOCABULARY)[0];
            logprobs.extend(logits.iter().map(|&logit| (f64::from(logit) - normaliser) as f32));
            if let Some(&token) = tokens.get(position + 1) {
                answer.prompt_logprobs.push(TokenLogprob { token, logprob: logprobs[token as usize] });
                let mut best: Vec<TokenLogprob> =
                    (0..).zip(logprobs).map(|(token, logprob)| TokenLogprob { token, logprob }).collect();
                best.sort_by(|a, b| b.logprob.total_cmp(&a.logprob).then(a.token.cmp(&b.token)));
                best.truncate(top);
                answer.prompt_tops.push(best);
            }
            answer.distribution_rows += usize::from(self.prompt_scores == PromptScores::Distributions);
        }
        answer.end = Some(match self.wanders {
            Some(seed) => self.wander(seed, &answer.seen, &mut tokens, context, made),
            None => self.say(&mut answer.tokens, &mut tokens, context, made),
        });
        answer
    }

    /// Walks behind the prompt `tokens`; returns why it ended.
    fn wander(
        &self,
        seed: u64,
        seen: &Seen,
        tokens: &mut Vec<u32>,
        context: usize,
        made: impl Fn(usize) -> Made,
    ) -> FinishReason {
        let mut wanderer = Wanderer::new(seed, seen);
        let room = (context + 1).saturating_sub(self.prompt.len());
        let most = self.max_tokens.unwrap_or(room).min(room);
        while tokens.len() - self.prompt.len() < most {
            let logits = logits_after(tokens.iter().copied(), made(tokens.len()));
            match wanderer.step(&logits).unwrap() {
                WalkStep::Done => return FinishReason::Complete,
                WalkStep::Read { kept, tokens: next } => {
                    tokens.truncate(self.prompt.len() + kept);
                    tokens.extend(next);
                }
            }
        }
        FinishReason::Length
    }

    /// Generates into `said` and `tokens`; returns why it ended.
    fn say(
        &self,
        said: &mut Vec<u32>,
        tokens: &mut Vec<u32>,
        context: usize,
        made: impl Fn(usize) -> Made,
    ) -> FinishReason {
        let mut sampler = Sampler::default();
        let mut fickle = self.fickle.map(Fickle::new);
        while said.len() < self.max_tokens.unwrap_or(usize::MAX) && tokens.len() <= context {
            let logits = logits_after(tokens.iter().copied(), made(tokens.len()));
            let mask = fickle.as_mut().map(|fickle| {
                let mut mask = TokenMask::none(VOCABULARY);
                fickle.mask(&mut mask).unwrap();
                mask
            });
            let token = sampler.choose(&logits, &self.sampling, mask.as_ref(), tokens, self.prompt.len()).unwrap();
            if self.stop_ids.contains(&token) {
                return FinishReason::Stop(token);
            }
            tokens.push(token);
            said.push(token);
            if let Some(Err(error)) = fickle.as_mut().map(|fickle| fickle.accept(token)) {
                return FinishReason::Constraint(error.0);
            }
            if fickle.as_ref().is_some_and(Fickle::is_complete) {
                return FinishReason::Complete;
            }
        }
        FinishReason::Length
    }
}

/// One sequence of the simulation: what it must say, and what it has said so far.
struct Followed {
    asked: Asked,
    expected: Answer,
    heard: Answer,
    was_cancelled: bool,
    was_in_fault: bool,
}

/// What a simulation met, over all seeds.
#[derive(Debug, Default)]
struct Met {
    complete: usize,
    cancelled: usize,
    faults: usize,
    overloads: usize,
    counts: Counts,
    preemptions: u64,
    /// Answers of sequences that had been preempted after their first token.
    resumed: usize,
    /// Walks that came to their end after more than a step.
    walked: usize,
    /// Pages whose beginning was copied, and those that were so in their own place.
    copies: usize,
    copies_in_place: usize,
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
    met: Met,
    /// A hash of all batches: the same seed must make the same ones.
    trace: u64,
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
            max_waiting: random.chance(30).then(|| random.below(4)),
            logit_rows: 1 + random.below(8),
            long_rope_after: random.chance(40).then(|| 1 + random.below(context)),
            speculate: random.chance(75),
        };
        Simulation {
            model: PagedModel::new(&config),
            engine: Engine::new(config.clone(), one_thread()),
            random,
            config,
            followed: BTreeMap::new(),
            said: Vec::new(),
            met: Met::default(),
            trace: 0,
            events: Vec::new(),
        }
    }

    fn submit(&mut self) {
        let asked = Asked::random(&mut self.random, self.config.context + 2, &self.said);
        let expected = asked.alone(self.config.context, self.config.long_rope_after);
        let prompt_len = asked.prompt.len();
        let room = (self.config.context + 1).saturating_sub(prompt_len);
        let positions = prompt_len + asked.max_tokens.unwrap_or(room).min(room).saturating_sub(1);
        let heard = Answer::default();
        match self.engine.submit(asked.request(&heard.seen)) {
            Ok(id) => {
                self.said.push(asked.prompt.clone());
                self.followed
                    .insert(id, Followed { asked, expected, heard, was_cancelled: false, was_in_fault: false });
            }
            Err(Refused::PromptTooLong { tokens, context }) => assert!(tokens == prompt_len && tokens > context),
            Err(Refused::NeverFits { pages_needed, pages_total }) => {
                assert_eq!(pages_needed, positions.div_ceil(self.config.page_len));
                assert!(pages_needed > pages_total);
            }
            Err(Refused::QueueFull { waiting, limit }) => {
                assert_eq!((waiting, Some(limit)), (self.engine.status().waiting, self.config.max_waiting));
                assert!(waiting >= limit);
                self.met.overloads += 1;
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
    fn step(&mut self) -> bool {
        let tokens = 1 + self.random.below(12);
        let budget = Budget { tokens, prompt_tokens: self.random.below(tokens + 1) };
        let Some(batch) = self.engine.begin(budget) else {
            assert!(self.engine.is_idle(), "there is something to do");
            return false;
        };
        assert!(batch.tokens.len() <= tokens && batch.logit_rows() <= self.config.logit_rows);
        let shape = self.engine.step_shape();
        assert!(shape.decodes == 0 || shape.prompt_tokens <= budget.prompt_tokens);
        self.check();
        for (&token, index) in batch.tokens.iter().zip(1..) {
            self.trace = mix(self.trace ^ u64::from(token).wrapping_add(index << 32));
        }
        self.met.copies += batch.copies.len();
        self.met.copies_in_place += batch.copies.iter().filter(|copy| copy.from == copy.to).count();
        let logits = self.model.forward(&batch);
        if self.random.chance(2) {
            self.cancel_one();
        }
        if self.random.chance(1) {
            self.model.slots.fill(None);
            self.engine.rebuild(&mut self.events);
        } else {
            self.engine.finish(&logits, &mut self.events);
            if self.random.chance(50) {
                // Prices that follow no rule: what is drafted changes no token.
                self.engine.tell_cost(self.random.below(100) as f32);
            }
        }
        self.check();
        // Whoever was cancelled in this step has no pages any more.
        let scheduler = &self.engine.scheduler;
        assert!(scheduler.running.iter().chain(&scheduler.waiting).all(|one| !self.followed[&one.id].was_cancelled));
        true
    }

    /// What is true at any time.
    fn check(&self) {
        let scheduler = &self.engine.scheduler;
        scheduler.assert_pages_conserved();
        scheduler.memory.assert_consistent(&scheduler.running);
        let order: Vec<SequenceId> = scheduler.running.iter().chain(&scheduler.waiting).map(|one| one.id).collect();
        assert!(order.is_sorted(), "a later sequence goes first: {order:?}");
        assert!(scheduler.waiting.iter().all(|one| one.pages.is_empty()), "who waits has no pages");
    }

    fn hear(&mut self) {
        for event in self.events.drain(..) {
            let one = self.followed.get_mut(&event.id()).unwrap();
            let prompt_len = one.asked.prompt.len();
            assert_eq!(one.heard.end, None, "an event after the end");
            match event {
                EngineEvent::Token { logprob, top, token, .. } => {
                    assert_eq!(logprob.is_some(), top.len() == 3);
                    one.heard.tokens.push(token);
                }
                EngineEvent::Reading { read, total, .. } => {
                    assert!(0 < read && read < total);
                    assert!(one.asked.wanders.is_some() || total == prompt_len + one.heard.tokens.len());
                    // What lost its pages is read behind its first token, or what a constraint forced.
                    self.met.resumed += usize::from(total > prompt_len);
                }
                EngineEvent::PromptLogprobs { first_position, logprobs, top, distributions, .. } => {
                    let from = match one.asked.prompt_scores {
                        PromptScores::Tokens { from, .. } => from.saturating_sub(1),
                        _ => 0,
                    };
                    assert_eq!(first_position, from + one.heard.prompt_logprobs.len());
                    one.heard.prompt_logprobs.extend(logprobs);
                    one.heard.prompt_tops.extend(top);
                    one.heard.distribution_rows += distributions.len() / VOCABULARY;
                }
                EngineEvent::Finished { reason, counts, .. } => {
                    let skippable = match one.asked.prompt_scores {
                        PromptScores::None => prompt_len - 1,
                        PromptScores::Tokens { from, .. } => from.saturating_sub(1).min(prompt_len - 1),
                        PromptScores::Distributions => 0,
                    };
                    assert!(counts.cached_tokens <= skippable, "{counts:?}");
                    self.met.counts.cached_tokens += counts.cached_tokens;
                    self.met.counts.drafted_tokens += counts.drafted_tokens;
                    self.met.counts.accepted_tokens += counts.accepted_tokens;
                    assert!(counts.accepted_tokens <= one.heard.tokens.len().min(counts.drafted_tokens));
                    assert!(self.config.speculate || counts.drafted_tokens == 0);
                    self.said.push([one.asked.prompt.as_slice(), &one.heard.tokens].concat());
                    one.was_in_fault |= reason == FinishReason::Abandoned;
                    one.heard.end = Some(reason);
                }
            }
        }
    }

    /// Everything that was asked was answered once, as it would have been alone, or was cut short for a known reason.
    fn judge(&mut self) {
        assert!(self.engine.is_idle());
        let status = self.engine.status();
        assert_eq!(status.free_pages + status.cached_pages, self.config.pages, "a page or a reader that has gone");
        assert!(status.prefix_hits <= status.prefix_queries);
        for (id, one) in &self.followed {
            let Some(end) = &one.heard.end else { panic!("{id:?} never ended") };
            match end {
                FinishReason::Cancelled => assert!(one.was_cancelled),
                FinishReason::Abandoned => assert!(one.was_in_fault),
                _ => assert_eq!(one.heard, one.expected, "{id:?}"),
            }
            assert!(one.expected.tokens.starts_with(&one.heard.tokens), "{id:?} said something else");
            let [seen, expected] = [&one.heard, &one.expected].map(|answer| answer.seen.lock().unwrap().clone());
            assert!(expected.starts_with(&seen), "{id:?} saw something else");
            self.met.walked += usize::from(matches!(end, FinishReason::Complete) && seen.len() > 1);
            match end {
                FinishReason::Cancelled => self.met.cancelled += 1,
                FinishReason::Abandoned => self.met.faults += 1,
                _ => self.met.complete += 1,
            }
        }
        self.met.preemptions = status.preemptions;
    }

    /// Arrivals, then all that is left.
    fn run(seed: u64) -> Simulation {
        let _told = Seed(seed);
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
                simulation.check();
            }
            simulation.step();
            simulation.hear();
        }
        let mut steps = 0;
        while simulation.step() {
            simulation.hear();
            steps += 1;
            assert!(steps < 20_000, "seed {seed} does not come to an end");
        }
        simulation.hear();
        simulation.judge();
        simulation
    }
}

/// Tells its seed where a run of it fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in seed {}", self.0);
        }
    }
}

#[test]
fn every_sequence_says_what_it_would_say_alone() {
    let halves = std::thread::scope(|scope| {
        let half =
            |part: u64| scope.spawn(move || (part..SEEDS).step_by(2).map(|seed| Simulation::run(seed).met).collect());
        [half(0), half(1)].map(|thread| -> Vec<Met> { thread.join().expect("a seed failed") })
    });
    let mut all = Met::default();
    for met in halves.into_iter().flatten() {
        all.complete += met.complete;
        all.cancelled += met.cancelled;
        all.faults += met.faults;
        all.overloads += met.overloads;
        all.preemptions += met.preemptions;
        all.resumed += met.resumed;
        all.walked += met.walked;
        all.copies += met.copies;
        all.copies_in_place += met.copies_in_place;
        all.counts.cached_tokens += met.counts.cached_tokens;
        all.counts.drafted_tokens += met.counts.drafted_tokens;
        all.counts.accepted_tokens += met.counts.accepted_tokens;
    }
    // The simulation met everything that it is about.
    assert!(all.complete > 30_000 && all.cancelled > 5_000 && all.faults > 2_000 && all.overloads > 4_000, "{all:?}");
    assert!(all.preemptions > 1_000 && all.resumed > 5_000 && all.walked > 1_000, "{all:?}");
    assert!(all.copies > 2_000 && all.copies_in_place > 0, "{all:?}");
    let Counts { cached_tokens, drafted_tokens, accepted_tokens } = all.counts;
    assert!(cached_tokens > 8_000, "{all:?}");
    assert!(accepted_tokens > 3_000 && drafted_tokens - accepted_tokens > 3_000, "{all:?}");
}

#[test]
fn the_same_seed_makes_the_same_steps() {
    for seed in (0..SEEDS).step_by(100) {
        assert_eq!(Simulation::run(seed).trace, Simulation::run(seed).trace, "seed {seed}");
    }
}

/// Forbids a third of the tokens, each time another one, forces some runs of tokens, and at a token that the seed decides
/// gives up or lets nothing follow.
struct Fickle {
    said: usize,
    last: usize,
}

impl Fickle {
    fn new(last: usize) -> Fickle {
        Fickle { said: 0, last }
    }

    /// What is forced at a place of the answer, if anything: in one of three runs of five, and never an end.
    fn forced_at(&self, place: usize) -> Option<u32> {
        ((place / 5 + self.last) % 3 == 1).then_some((1 + place * 7 % (VOCABULARY - 1)) as u32)
    }
}

impl Constraint for Fickle {
    fn mask(&mut self, allowed: &mut TokenMask) -> Result<(), ConstraintError> {
        if let Some(forced) = self.forced_at(self.said) {
            allowed.allow(forced);
            return Ok(());
        }
        (0..VOCABULARY as u32)
            .filter(|token| !(*token as usize + self.said).is_multiple_of(3))
            .for_each(|token| allowed.allow(token));
        Ok(())
    }

    fn accept(&mut self, _: u32) -> Result<(), ConstraintError> {
        self.said += 1;
        if self.said == self.last && self.last.is_multiple_of(2) {
            return Err(ConstraintError("enough".to_owned()));
        }
        Ok(())
    }

    fn forced(&mut self, forced: &mut Vec<u32>) {
        // Now and then less than could be said: what is not told is found by the mask.
        let most = if self.last.is_multiple_of(3) { 2 } else { usize::MAX };
        forced.extend((self.said..).map_while(|place| self.forced_at(place)).take(most));
    }

    fn is_complete(&self) -> bool {
        self.said == self.last
    }
}

/// Goes on for a while from places that its seed and the logits decide, and notes what it saw there.
struct Wanderer {
    random: Random,
    depth: usize,
    steps: usize,
    seen: Seen,
}

impl Wanderer {
    fn new(seed: u64, seen: &Seen) -> Wanderer {
        let mut random = Random(seed);
        Wanderer { steps: 1 + random.below(8), random, depth: 0, seen: Arc::clone(seen) }
    }
}

impl Walk for Wanderer {
    fn step(&mut self, logits: &[f32]) -> Result<WalkStep, BrokenLogits> {
        let hash = logits.iter().fold(0, |hash, logit| mix(hash ^ u64::from(logit.to_bits())));
        self.seen.lock().unwrap().push(hash);
        self.steps -= 1;
        if self.steps == 0 {
            return Ok(WalkStep::Done);
        }
        self.random.0 ^= hash;
        let kept = self.random.below(self.depth + 1);
        let tokens: Vec<u32> = (0..=self.random.below(4)).map(|_| self.random.below(VOCABULARY) as u32).collect();
        self.depth = kept + tokens.len();
        Ok(WalkStep::Read { kept, tokens })
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
        max_waiting: None,
        logit_rows: 16,
        long_rope_after,
        speculate,
    };
    let mut model = PagedModel::new(&config);
    let mut engine = Engine::new(config, one_thread());
    let mut events = Vec::new();
    engine.submit(request).unwrap();
    while let Some(batch) = engine.begin(Budget::of(32)) {
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
                prompt_scores: if random.chance(20) {
                    PromptScores::Tokens { from: random.below(8), top: 2 }
                } else {
                    PromptScores::None
                },
                walk: None,
                constraint: random
                    .chance(40)
                    .then(|| Box::new(Fickle::new(1 + random.below(60))) as Box<dyn Constraint>),
                adapter: None,
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
