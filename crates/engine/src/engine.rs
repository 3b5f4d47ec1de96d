//! The step: [`Engine::begin`] and [`Engine::finish`], and what may happen between steps.
//!
//! Read next: `scheduler` for who gets which part of a step, `choice` for what becomes of its logits.

use crate::choice::Choice;
use crate::constraint::TokenMask;
use crate::kv_memory::KvMemory;
use crate::sampler::Sampler;
use crate::scheduler::{Budget, Scheduler, Totals, Turn, row_count};
use crate::sequence::{EngineEvent, FinishReason, Refused, Sequence, SequenceId, SequenceRequest};
use kernels::Runtime;
use model::{Batch, LogitRows, Segment};
use std::collections::VecDeque;
use std::sync::Arc;

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
    /// Most requests that wait for a place or for pages; more are refused. `None`: any number.
    pub max_waiting: Option<usize>,
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
        let memory = KvMemory::new(self.pages, self.page_len);
        Scheduler::new(memory, self.max_sequences, self.long_rope_after, self.speculate)
    }
}

/// What an engine holds and has done. Pages and sequences are as they are now, the rest since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Sequences that run.
    pub running: usize,
    /// Sequences that wait for a place or for pages.
    pub waiting: usize,
    /// Pages that nobody holds.
    pub free_pages: usize,
    /// Pages that the prefix cache alone holds. They are as good as free.
    pub cached_pages: usize,
    /// Tokens of prompts that were looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Those of them that were found.
    pub prefix_hits: u64,
    /// Times that a sequence had to give up its pages to an older one.
    pub preemptions: u64,
}

/// What the running sequences want to compute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Sequences that generate, a token a step, or some that are forced.
    pub decodes: usize,
    /// Sequences that read.
    pub prompts: usize,
    /// Tokens that these have to read.
    pub prompt_tokens: usize,
}

/// What a step computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepShape {
    /// Sequences that generate in it.
    pub decodes: usize,
    /// Tokens that they read in it beside the last: a constraint had forced them, or a walk reads them.
    pub forced_tokens: usize,
    /// Tokens that others read in it.
    pub prompt_tokens: usize,
}

/// Many sequences over one paged KV memory.
pub struct Engine {
    config: EngineConfig,
    runtime: Arc<Runtime>,
    pub(crate) scheduler: Scheduler,
    next_id: u64,
    /// The turns of the step that was begun and not yet finished.
    in_flight: Option<Vec<Turn>>,
    /// Rows of the step that was finished last, if it only decoded.
    decoded_rows: Option<usize>,
    /// What the step that was begun last computes.
    shape: StepShape,
    sampler: Sampler,
    mask: TokenMask,
    /// Tokens that a constraint forces, while they are taken.
    forced: Vec<u32>,
}

impl Engine {
    /// An engine without sequences. `runtime` turns logits into log-probabilities where these are asked for.
    pub fn new(config: EngineConfig, runtime: Arc<Runtime>) -> Engine {
        let config =
            EngineConfig { max_sequences: config.max_sequences.max(1), logit_rows: config.logit_rows.max(1), ..config };
        Engine {
            scheduler: config.scheduler(),
            next_id: 0,
            in_flight: None,
            decoded_rows: None,
            shape: StepShape::default(),
            sampler: Sampler::default(),
            mask: TokenMask::none(config.vocabulary),
            forced: Vec::new(),
            config,
            runtime,
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
        let sequence = Sequence::new(SequenceId(self.next_id), request, room, self.scheduler.regime(tokens));
        let pages_needed = self.scheduler.memory.pages_for(sequence.positions());
        let pages_total = self.scheduler.memory.total();
        if pages_needed > pages_total {
            return Err(Refused::NeverFits { pages_needed, pages_total });
        }
        let waiting = self.scheduler.waiting.len();
        if let Some(limit) = self.config.max_waiting.filter(|&limit| waiting >= limit + self.scheduler.open_places()) {
            return Err(Refused::QueueFull { waiting, limit });
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
            let counts = self.scheduler.waiting.remove(index).map(|sequence| sequence.counts).unwrap_or_default();
            let reason = FinishReason::Cancelled;
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

    /// What it holds and has done.
    pub fn status(&self) -> Status {
        let Totals { prefix_queries, prefix_hits, preemptions } = self.scheduler.totals;
        Status {
            running: self.scheduler.running.len(),
            waiting: self.scheduler.waiting.len(),
            free_pages: self.scheduler.memory.free(),
            cached_pages: self.scheduler.memory.unread(),
            prefix_queries,
            prefix_hits,
            preemptions,
        }
    }

    /// What the running sequences want to compute.
    pub fn demand(&self) -> Demand {
        let mut demand = Demand::default();
        for sequence in &self.scheduler.running {
            if sequence.is_decoding() {
                demand.decodes += 1;
            } else {
                demand.prompts += 1;
                demand.prompt_tokens += sequence.pending();
            }
        }
        demand
    }

    /// What the step that was begun last computes, or computed.
    pub fn step_shape(&self) -> StepShape {
        self.shape
    }

    /// Forgets what sequences left that have ended. Whoever writes the KV memory past the engine, when nothing runs, must say so here.
    pub fn forget_prefixes(&mut self) {
        self.scheduler.memory.forget_prefixes();
        self.scheduler.assert_pages_conserved();
    }

    /// Whether a sequence has left the queue and not yet ended.
    pub fn is_running(&self, id: SequenceId) -> bool {
        self.scheduler.running.iter().any(|sequence| sequence.id == id)
    }

    /// Begins a step within a budget; `None` if there is nothing to compute. No token depends on the budget, only when it
    /// comes.
    ///
    /// Every step that is begun must end in [`Engine::finish`] or [`Engine::rebuild`] before the next.
    pub fn begin(&mut self, budget: Budget) -> Option<Batch> {
        assert!(self.in_flight.is_none(), "a step was begun before the last one was finished; this is a bug");
        let turns = self.scheduler.plan(budget, self.config.logit_rows);
        if turns.is_empty() {
            return None;
        }
        let copies = std::mem::take(&mut self.scheduler.copies);
        let mut batch = Batch { tokens: Vec::new(), segments: Vec::with_capacity(turns.len()), copies };
        self.shape = StepShape::default();
        for turn in &turns {
            let sequence = &self.scheduler.running[turn.index];
            let end = turn.position + turn.len;
            batch.tokens.extend_from_slice(&sequence.tokens[turn.position..end - turn.drafted]);
            batch.tokens.extend_from_slice(&sequence.draft[..turn.drafted]);
            batch.segments.push(Segment {
                position: turn.position,
                len: turn.len,
                pages: sequence.pages[..self.scheduler.memory.pages_for(end)].to_vec(),
                regime: sequence.regime,
                logits: turn.rows,
                adapter: sequence.adapter,
            });
            if turn.is_decode {
                self.shape.decodes += 1;
                self.shape.forced_tokens += turn.len - 1 - turn.drafted;
            } else {
                self.shape.prompt_tokens += turn.len;
            }
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
                self.scheduler.memory.publish(sequence);
                continue;
            }
            let mut choice = Choice {
                runtime: &self.runtime,
                sampler: &mut self.sampler,
                mask: &mut self.mask,
                forced: &mut self.forced,
                vocabulary,
                events,
            };
            let end = choice.advance(sequence, turn, own);
            if !matches!(end, Some(FinishReason::BrokenLogits { .. })) {
                self.scheduler.memory.publish(sequence);
            }
            ended.extend(end.map(|reason| (sequence.id, reason)));
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
        self.scheduler.totals = old.totals;
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
                sequence.forget_pages();
                sequence.is_read_again = true;
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
        let mut sequence = self.scheduler.running.remove(index);
        let counts = sequence.counts;
        match reason {
            // What is computed is not to be trusted.
            FinishReason::BrokenLogits { .. } => self.scheduler.memory.give_up(&mut sequence),
            _ => self.scheduler.memory.leave(&mut sequence),
        }
        events.push(EngineEvent::Finished { id, reason, counts });
    }
}
