//! The step: [`Engine::begin`] and [`Engine::finish`], and what may happen between steps.
//!
//! Read next: `scheduler` for who gets which part of a step, `sampler` for how a row of logits becomes a token.

use crate::constraint::TokenMask;
use crate::sampler::{self, BrokenLogits, Sampler};
use crate::scheduler::{Scheduler, Turn, row_count};
use crate::sequence::{
    Counts, EngineEvent, FinishReason, PromptScores, Refused, Sequence, SequenceId, SequenceRequest, TokenLogprob,
};
use crate::speculation::Pace;
use model::{Batch, LogitRows, Segment};
use std::collections::VecDeque;

/// What an engine is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Pages of the KV memory.
    pub pages: usize,
    /// Positions in a page.
    pub page_len: usize,
    /// Most positions of one sequence.
    pub context: usize,
    /// `V`, tokens of the vocabulary.
    pub vocabulary: usize,
    /// Most sequences that run at once; others wait.
    pub max_sequences: usize,
    /// Most rows of logits in one step: `logit_rows * V * 4` bytes.
    pub logit_rows: usize,
    /// Length of a sequence past which it uses the long RoPE frequencies, where the model has two sets.
    pub long_rope_after: Option<usize>,
    /// Whether tokens are guessed and tried, several in a step, where few sequences decode. It changes no token.
    pub speculate: bool,
}

impl EngineConfig {
    /// Sequences and pages as nothing has touched them.
    fn scheduler(&self) -> Scheduler {
        Scheduler::new(self.pages, self.page_len, self.max_sequences, self.long_rope_after, self.speculate)
    }
}

/// Many sequences over one paged KV memory.
pub struct Engine {
    config: EngineConfig,
    pub(crate) scheduler: Scheduler,
    next_id: u64,
    /// The turns of the step that was begun and not yet finished.
    in_flight: Option<Vec<Turn>>,
    /// Rows of the step that was finished last, if it only decoded.
    decoded_rows: Option<usize>,
    sampler: Sampler,
    mask: TokenMask,
}

impl Engine {
    /// An engine without sequences.
    pub fn new(config: EngineConfig) -> Engine {
        let config =
            EngineConfig { max_sequences: config.max_sequences.max(1), logit_rows: config.logit_rows.max(1), ..config };
        Engine {
            scheduler: config.scheduler(),
            next_id: 0,
            in_flight: None,
            decoded_rows: None,
            sampler: Sampler::default(),
            mask: TokenMask::none(config.vocabulary),
            config,
        }
    }

    /// What it was made for.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Takes a request; it waits its turn in the order of submission.
    ///
    /// # Errors
    /// What could never be served, with the numbers.
    pub fn submit(&mut self, request: SequenceRequest) -> Result<SequenceId, Refused> {
        let EngineConfig { context, vocabulary, .. } = self.config;
        let tokens = request.prompt.len();
        if tokens == 0 {
            return Err(Refused::EmptyPrompt);
        }
        if tokens > context {
            return Err(Refused::PromptTooLong { tokens, context });
        }
        if let Some(&token) = request.prompt.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(Refused::TokenOutOfRange { token, vocabulary });
        }
        request.sampling.check(vocabulary)?;
        // The last token that is generated is never read, so it needs no position.
        let room = context - tokens + 1;
        let sequence = Sequence {
            id: SequenceId(self.next_id),
            prompt_len: tokens,
            max_tokens: request.max_tokens.unwrap_or(room).min(room),
            sampling: request.sampling,
            stop_ids: request.stop_ids,
            top_logprobs: request.top_logprobs,
            prompt_scores: request.prompt_scores,
            constraint: request.constraint,
            pages: Vec::new(),
            shared: 0,
            computed: 0,
            scored: 0,
            regime: self.scheduler.regime(tokens),
            last_step: 0,
            cancelled: false,
            draft: Vec::new(),
            pace: Pace::default(),
            counts: Counts::default(),
            tokens: request.prompt,
        };
        let pages_needed = self.scheduler.pages_for(sequence.positions());
        let pages_total = self.scheduler.pool.total();
        if pages_needed > pages_total {
            return Err(Refused::NeverFits { pages_needed, pages_total });
        }
        self.next_id += 1;
        let id = sequence.id;
        self.scheduler.waiting.push_back(sequence);
        Ok(id)
    }

    /// Ends a sequence early. Its pages are given up, and its `Finished` is in `events`, at once, or at the end of the step
    /// that is under way. An unknown or finished id does nothing.
    pub fn cancel(&mut self, id: SequenceId, events: &mut Vec<EngineEvent>) {
        if let Some(index) = self.scheduler.waiting.iter().position(|sequence| sequence.id == id) {
            self.scheduler.waiting.remove(index);
            let (reason, counts) = (FinishReason::Cancelled, Counts::default());
            events.push(EngineEvent::Finished { id, reason, counts });
        } else if let Some(index) = self.scheduler.running.iter().position(|sequence| sequence.id == id) {
            if self.in_flight.is_some() {
                self.scheduler.running[index].cancelled = true;
            } else {
                self.end(id, FinishReason::Cancelled, events);
                self.scheduler.assert_pages_conserved();
            }
        }
    }

    /// Whether no sequence waits or runs.
    pub fn is_idle(&self) -> bool {
        self.scheduler.waiting.is_empty() && self.scheduler.running.is_empty()
    }

    /// Pages that nobody holds.
    pub fn free_pages(&self) -> usize {
        self.scheduler.pool.free()
    }

    /// Pages that ended sequences left for those that begin with the same tokens. Without a reader they are as good as free.
    pub fn cached_pages(&self) -> usize {
        self.scheduler.prefixes.len()
    }

    /// Forgets what ended sequences left. Whoever writes the KV memory past the engine, when nothing runs, must say so here.
    pub fn forget_prefixes(&mut self) {
        self.scheduler.forget_prefixes();
        self.scheduler.assert_pages_conserved();
    }

    /// Whether a sequence has left the queue and not yet ended.
    pub fn is_running(&self, id: SequenceId) -> bool {
        self.scheduler.running.iter().any(|sequence| sequence.id == id)
    }

    /// Sequences that run now.
    pub fn running(&self) -> usize {
        self.scheduler.running.len()
    }

    /// Sequences that wait for a place or for pages.
    pub fn waiting(&self) -> usize {
        self.scheduler.waiting.len()
    }

    /// Begins a step of at most `token_budget` tokens; `None` if there is nothing to compute.
    ///
    /// Every step that is begun must end in [`Engine::finish`] or [`Engine::rebuild`] before the next.
    pub fn begin(&mut self, token_budget: usize) -> Option<Batch> {
        assert!(self.in_flight.is_none(), "a step was begun before the last one was finished; this is a bug");
        let turns = self.scheduler.plan(token_budget, self.config.logit_rows);
        if turns.is_empty() {
            return None;
        }
        let mut batch = Batch { tokens: Vec::new(), segments: Vec::with_capacity(turns.len()) };
        for turn in &turns {
            let sequence = &self.scheduler.running[turn.index];
            let end = turn.position + turn.len;
            batch.tokens.extend_from_slice(&sequence.tokens[turn.position..end - turn.drafted]);
            batch.tokens.extend_from_slice(&sequence.draft[..turn.drafted]);
            batch.segments.push(Segment {
                position: turn.position,
                len: turn.len,
                pages: sequence.pages[..self.scheduler.pages_for(end)].to_vec(),
                regime: sequence.regime,
                logits: turn.rows,
            });
        }
        self.in_flight = Some(turns);
        Some(batch)
    }

    /// Ends the step that was begun: `logits` are the rows that its batch asked for, `[rows, V]` in its order.
    pub fn finish(&mut self, logits: &[f32], events: &mut Vec<EngineEvent>) {
        let turns = self.in_flight.as_deref().expect("finish without begin; this is a bug");
        let vocabulary = self.config.vocabulary;
        let rows: usize = turns.iter().map(|turn| row_count(turn.rows, turn.len)).sum();
        assert_eq!(logits.len(), rows * vocabulary, "the logits are not those of the batch; this is a bug");
        let mut ended: Vec<(SequenceId, FinishReason)> = Vec::new();
        let mut rest = logits;
        for turn in turns {
            let (own, others) = rest.split_at(row_count(turn.rows, turn.len) * vocabulary);
            rest = others;
            let sequence = &mut self.scheduler.running[turn.index];
            sequence.computed += turn.len - turn.drafted;
            if sequence.cancelled {
                continue;
            }
            let mut choice = Choice { sampler: &mut self.sampler, mask: &mut self.mask, vocabulary, events };
            if let Some(reason) = choice.advance(sequence, turn, own) {
                ended.push((sequence.id, reason));
            }
        }
        let is_decode = |turn: &Turn| turn.len == 1 + turn.drafted && turn.rows != LogitRows::None;
        self.decoded_rows = turns.iter().all(is_decode).then(|| turns.iter().map(|turn| turn.len).sum());
        self.in_flight = None;
        for sequence in self.scheduler.running.iter().filter(|sequence| sequence.cancelled) {
            ended.push((sequence.id, FinishReason::Cancelled));
        }
        for (id, reason) in ended {
            self.end(id, reason, events);
        }
        self.scheduler.assert_pages_conserved();
    }

    /// Tells what the step that was finished last cost, from its beginning to its end, in any one unit: by that the engine
    /// decides how much it drafts. Nobody needs to tell; the output is the same.
    pub fn tell_cost(&mut self, cost: f32) {
        if let (Some(rows), Some(prices)) = (self.decoded_rows.take(), &mut self.scheduler.prices) {
            prices.tell(rows, cost);
        }
    }

    /// Makes the state anew after a step failed between [`Engine::begin`] and the end of [`Engine::finish`].
    ///
    /// The sequences of that step end as [`FinishReason::Abandoned`]. All others go on from the start of their tokens:
    /// nothing of the KV memory is trusted, all pages are handed out again, and the prefix cache is empty.
    pub fn rebuild(&mut self, events: &mut Vec<EngineEvent>) {
        let turns = self.in_flight.take().unwrap_or_default();
        let old = std::mem::replace(&mut self.scheduler, self.config.scheduler());
        self.decoded_rows = None;
        self.sampler = Sampler::default();
        self.mask = TokenMask::none(self.config.vocabulary);
        let mut waiting: VecDeque<Sequence> = VecDeque::new();
        for (index, mut sequence) in old.running.into_iter().enumerate() {
            let id = sequence.id;
            let counts = sequence.counts;
            if sequence.cancelled {
                events.push(EngineEvent::Finished { id, reason: FinishReason::Cancelled, counts });
            } else if turns.iter().any(|turn| turn.index == index) {
                events.push(EngineEvent::Finished { id, reason: FinishReason::Abandoned, counts });
            } else {
                (sequence.pages, sequence.shared) = (Vec::new(), 0);
                sequence.computed = 0;
                waiting.push_back(sequence);
            }
        }
        // Those that ran were submitted before those that waited, so the order of submission holds.
        waiting.extend(old.waiting);
        self.scheduler.waiting = waiting;
    }

    fn end(&mut self, id: SequenceId, reason: FinishReason, events: &mut Vec<EngineEvent>) {
        let found = self.scheduler.running.iter().position(|sequence| sequence.id == id);
        let index = found.expect("a sequence ended that does not run; this is a bug");
        let sequence = self.scheduler.running.remove(index);
        let counts = sequence.counts;
        self.scheduler.retire(sequence, &reason);
        events.push(EngineEvent::Finished { id, reason, counts });
    }
}

/// What it takes to turn logits into events.
struct Choice<'a> {
    sampler: &'a mut Sampler,
    mask: &'a mut TokenMask,
    vocabulary: usize,
    events: &'a mut Vec<EngineEvent>,
}

impl Choice<'_> {
    /// Reports and samples from the rows `[rows, V]` of a sequence's turn; returns why it ended, if it did.
    fn advance(&mut self, sequence: &mut Sequence, turn: &Turn, logits: &[f32]) -> Option<FinishReason> {
        if turn.drafted > 0 {
            return self.verify(sequence, logits);
        }
        if turn.rows == LogitRows::All {
            let position = turn.position;
            if self.score(sequence, position, logits).is_err() {
                return Some(FinishReason::BrokenLogits { position });
            }
        }
        if sequence.pending() > 0 {
            let (id, read, total) = (sequence.id, sequence.computed, sequence.tokens.len());
            self.events.push(EngineEvent::Reading { id, read, total });
            return None;
        }
        if sequence.generated().len() >= sequence.max_tokens {
            return Some(FinishReason::Length);
        }
        let last = &logits[logits.len() - self.vocabulary..];
        self.generate(sequence, last).err()
    }

    /// Chooses a token from each row `[rows, V]`, the first of which follows the pending token and the others those of the
    /// draft, as long as the draft says what is chosen. What is right is computed; the rest will be overwritten.
    fn verify(&mut self, sequence: &mut Sequence, logits: &[f32]) -> Option<FinishReason> {
        let draft = std::mem::take(&mut sequence.draft);
        let mut right = 0;
        let mut end = None;
        for row in logits.chunks_exact(self.vocabulary) {
            let len = sequence.tokens.len();
            end = self.generate(sequence, row).err();
            let is_right = sequence.tokens.len() > len && draft.get(right) == sequence.tokens.last();
            if is_right {
                right += 1;
                sequence.computed += 1;
            }
            if end.is_some() || !is_right {
                break;
            }
        }
        sequence.pace.note(draft.len(), right);
        sequence.counts.drafted_tokens += draft.len();
        sequence.counts.accepted_tokens += right;
        end
    }

    /// Reports the log-probabilities of prompt tokens; `logits` are the rows `[rows, V]` from `first_position` on.
    fn score(&mut self, sequence: &mut Sequence, first_position: usize, logits: &[f32]) -> Result<(), BrokenLogits> {
        let wants_distributions = sequence.prompt_scores == PromptScores::Distributions;
        let mut logprobs = Vec::new();
        let mut distributions = Vec::new();
        for (position, row) in (first_position..).zip(logits.chunks_exact(self.vocabulary)) {
            let normaliser = sampler::log_sum_exp(row)?;
            if position + 1 < sequence.prompt_len {
                let token = sequence.tokens[position + 1];
                let logprob = (f64::from(row[token as usize]) - normaliser) as f32;
                logprobs.push(TokenLogprob { token, logprob });
            }
            if wants_distributions {
                distributions.extend(row.iter().map(|&logit| (f64::from(logit) - normaliser) as f32));
            }
            sequence.scored = position + 1;
        }
        self.events.push(EngineEvent::PromptLogprobs { id: sequence.id, first_position, logprobs, distributions });
        Ok(())
    }

    /// Chooses the next token from `[V]` logits; `Err` is why the sequence ends.
    fn generate(&mut self, sequence: &mut Sequence, logits: &[f32]) -> Result<(), FinishReason> {
        let broken = FinishReason::BrokenLogits { position: sequence.tokens.len() };
        let mask = match &mut sequence.constraint {
            Some(constraint) => {
                self.mask.clear();
                constraint.mask(self.mask).map_err(|error| FinishReason::Constraint(error.0))?;
                Some(&*self.mask)
            }
            None => None,
        };
        let chosen = self.sampler.choose(logits, &sequence.sampling, mask, &sequence.tokens, sequence.prompt_len);
        let token = chosen.map_err(|_| match mask {
            // With healthy logits it was the mask that left nothing.
            Some(_) if sampler::log_sum_exp(logits).is_ok() => {
                FinishReason::Constraint("the constraint allows no token".to_owned())
            }
            _ => broken.clone(),
        })?;
        if sequence.stop_ids.contains(&token) {
            return Err(FinishReason::Stop(token));
        }
        let (logprob, top) = match sequence.top_logprobs {
            Some(count) => {
                let normaliser = sampler::log_sum_exp(logits).map_err(|_| broken)?;
                let logprob = (f64::from(logits[token as usize]) - normaliser) as f32;
                (Some(logprob), sampler::top_logprobs(logits, normaliser, count))
            }
            None => (None, Vec::new()),
        };
        sequence.tokens.push(token);
        self.events.push(EngineEvent::Token { id: sequence.id, token, logprob, top });
        if let Some(constraint) = &mut sequence.constraint {
            constraint.accept(token).map_err(|error| FinishReason::Constraint(error.0))?;
        }
        if sequence.generated().len() >= sequence.max_tokens {
            return Err(FinishReason::Length);
        }
        Ok(())
    }
}
