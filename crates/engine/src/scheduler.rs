//! Who computes what in the next step, and who gives up pages for it.
//!
//! ```text
//! admit:    while the head of the queue has a place and pages for the tokens that it knows, beside what the running ones
//!           will want soon: it starts to run, behind the pages that the prefix cache has of its tokens
//! plan:     every decoding sequence one token, and those that its constraint forced or its walk reads, who was served longest
//!           ago first, and a few drafted ones where few decode;
//!           what is left of the budget goes to prompts, oldest first, in pieces, each behind what the prefix cache has by
//!           now, of the page after that a copy of what is the same; a prompt whose next page an older one is reading in this step waits for that page
//! pages:    each turn takes the pages that it fills; where there are none, the youngest sequence is preempted
//! preempt:  its pages are given up and it waits again, at the head of the queue; it will read all its tokens once more,
//!           those that it generated too
//! ```
//!
//! Sequences are admitted strictly in the order of submission, and only the youngest is preempted: whatever runs was
//! submitted before whatever waits. So a large one at the head of the queue is never passed by a small one behind it, and
//! the oldest can always have all pages, which suffice for it alone, or it would have been refused: it goes on, ends, and
//! another one is the oldest. Among the running, decoding sequences take turns, and a prompt is left one token of the
//! budget at least, unless the caller gave prompts none.
//!
//! Read next: `kv_memory` for the pages, `engine`, which turns a plan into a batch.

use crate::kv_memory::KvMemory;
use crate::sequence::Sequence;
use crate::speculation::{self, MOST_ROWS, Prices};
use model::{LogitRows, PageCopy, RopeRegime};
use std::collections::VecDeque;

/// How much a step may compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most tokens of the step.
    pub tokens: usize,
    /// Most of them that prompts may have while others generate. Where it is 0, prompts wait; who gives that in every step
    /// starves them.
    pub prompt_tokens: usize,
}

impl Budget {
    /// So many tokens for whatever there is to compute.
    pub fn of(tokens: usize) -> Budget {
        Budget { tokens, prompt_tokens: tokens }
    }
}

/// The part of a step that one running sequence has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Turn {
    /// Index into `running`.
    pub(crate) index: usize,
    /// First position computed.
    pub(crate) position: usize,
    /// Tokens computed.
    pub(crate) len: usize,
    /// So many of them, the last, are the sequence's draft.
    pub(crate) drafted: usize,
    /// Which of them need logits.
    pub(crate) rows: LogitRows,
    /// Whether it was planned as going on with an answer, not as reading.
    pub(crate) is_decode: bool,
}

/// What was counted since the engine was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Tokens of prompts that were looked up in the prefix cache.
    pub(crate) prefix_queries: u64,
    /// Those of them that were found.
    pub(crate) prefix_hits: u64,
    /// Times that a sequence was preempted.
    pub(crate) preemptions: u64,
}

/// The sequences that wait and that run, and the pages.
pub(crate) struct Scheduler {
    /// In the order of submission; all were submitted after those that run.
    pub(crate) waiting: VecDeque<Sequence>,
    /// In the order of submission.
    pub(crate) running: Vec<Sequence>,
    pub(crate) memory: KvMemory,
    /// What is to be copied before the next step computes anything.
    pub(crate) copies: Vec<PageCopy>,
    pub(crate) totals: Totals,
    /// What steps cost; none if nothing is to be drafted.
    pub(crate) prices: Option<Prices>,
    max_sequences: usize,
    long_rope_after: Option<usize>,
    step: u64,
    /// Whether the head of the queue lacked pages when it was last looked at.
    is_short_of_pages: bool,
}

impl Scheduler {
    pub(crate) fn new(
        memory: KvMemory,
        max_sequences: usize,
        long_rope_after: Option<usize>,
        speculate: bool,
    ) -> Scheduler {
        Scheduler {
            waiting: VecDeque::new(),
            running: Vec::new(),
            memory,
            copies: Vec::new(),
            totals: Totals::default(),
            prices: speculate.then(Prices::default),
            max_sequences,
            long_rope_after,
            step: 0,
            is_short_of_pages: false,
        }
    }

    /// The RoPE regime of a sequence of `len` tokens: long once the whole of it exceeds the original context.
    pub(crate) fn regime(&self, len: usize) -> RopeRegime {
        match self.long_rope_after {
            Some(original) if len > original => RopeRegime::Long,
            _ => RopeRegime::Short,
        }
    }

    /// Places that the next step can give to who waits, as far as the pages are no obstacle.
    pub(crate) fn open_places(&self) -> usize {
        if self.is_short_of_pages { 0 } else { self.max_sequences - self.running.len() }
    }

    /// Lets waiting sequences run, in order, while they fit.
    fn admit(&mut self) {
        self.is_short_of_pages = false;
        while self.running.len() < self.max_sequences {
            let Some(mut sequence) = self.waiting.pop_front() else { return };
            sequence.regime = self.regime(sequence.tokens.len());
            let found = self.memory.look_up(&mut sequence);
            if !self.has_room_for(&sequence) {
                self.memory.give_up(&mut sequence);
                self.waiting.push_front(sequence);
                self.is_short_of_pages = true;
                return;
            }
            if !sequence.has_run && sequence.may_skip() > 0 {
                self.totals.prefix_queries += sequence.prompt_len as u64;
            }
            note_found(&mut self.totals, &mut sequence, found);
            sequence.has_run = true;
            sequence.last_step = self.step;
            self.running.push(sequence);
        }
    }

    /// Whether there are pages for all tokens that a sequence knows and for as many more as a page holds, beside the same for
    /// each that runs: with less it would soon be preempted, and have read for nothing. Alone it has room.
    fn has_room_for(&self, sequence: &Sequence) -> bool {
        let wanted = |sequence: &Sequence| {
            let soon = (sequence.tokens.len() + self.memory.page_len()).min(sequence.positions());
            self.memory.pages_for(soon).saturating_sub(sequence.pages.len())
        };
        let running: usize = self.running.iter().map(wanted).sum();
        self.running.is_empty() || running + wanted(sequence) <= self.memory.available()
    }

    /// Sends sequences that outgrew the original context back to the start of their tokens: their keys were rotated with
    /// the short frequencies.
    fn cross_regimes(&mut self) {
        for index in 0..self.running.len() {
            let regime = self.regime(self.running[index].tokens.len());
            let sequence = &mut self.running[index];
            if sequence.regime != regime {
                self.memory.give_up(sequence);
                sequence.regime = regime;
                sequence.is_read_again = true;
            }
        }
    }

    /// Lets sequences that read go on behind what others have computed by now.
    fn look_up(&mut self) {
        for sequence in self.running.iter_mut().filter(|sequence| sequence.pending() > 1) {
            let found = self.memory.look_up(sequence);
            note_found(&mut self.totals, sequence, found);
        }
    }

    /// Plans a step of which at most `row_budget` tokens need logits.
    pub(crate) fn plan(&mut self, budget: Budget, row_budget: usize) -> Vec<Turn> {
        if budget.tokens == 0 || row_budget == 0 {
            return Vec::new();
        }
        self.step += 1;
        self.cross_regimes();
        // Whoever finds its next pages wants fewer, which may let others in.
        self.look_up();
        self.admit();

        let mut decodes: Vec<usize> = Vec::new();
        let mut prompts: Vec<usize> = Vec::new();
        for (index, sequence) in self.running.iter().enumerate() {
            if sequence.is_decoding() { decodes.push(index) } else { prompts.push(index) }
        }
        decodes.sort_by_key(|&index| (self.running[index].last_step, index));

        let promised = match budget.prompt_tokens {
            0 => 0,
            _ => self.promised_to_prompts(&decodes, &prompts, budget.tokens.min(row_budget)),
        };
        let mut plan = Plan { turns: Vec::new(), tokens_left: budget.tokens, rows_left: row_budget };
        self.plan_decodes(&decodes, promised, &mut plan);
        // Where all that decode lack pages, it is the prompts that can go on.
        if !plan.turns.is_empty() {
            plan.tokens_left = plan.tokens_left.min(budget.prompt_tokens);
        }
        for index in prompts {
            // The last ones may have been preempted in the meantime.
            if index < self.running.len() && !self.is_being_read(index, &plan.turns) {
                if plan.tokens_left > 0 {
                    self.copy_beginning(index);
                }
                let turn = self.turn_with_pages(index, &mut plan);
                plan.add(turn);
            }
        }
        if plan.turns.is_empty() && promised > 0 {
            // The prompt that it was promised to found no page, though younger ones gave way: they had none.
            self.plan_decodes(&decodes, 0, &mut plan);
        }
        for turn in &plan.turns {
            self.running[turn.index].last_step = self.step;
        }
        plan.turns
    }

    /// Lets a sequence that begins a page take over what a cached one has of it.
    fn copy_beginning(&mut self, index: usize) {
        let sequence = &mut self.running[index];
        if let Some((copy, found)) = self.memory.copy_beginning(sequence) {
            note_found(&mut self.totals, sequence, found);
            self.copies.push(copy);
        }
    }

    /// Gives a turn to each of these sequences, in this order, as long as the budget leaves what is promised to prompts.
    fn plan_decodes(&mut self, decodes: &[usize], promised: usize, plan: &mut Plan) {
        let held = promised.min(plan.tokens_left).min(plan.rows_left);
        plan.tokens_left -= held;
        plan.rows_left -= held;
        // What nobody else needs may go to drafts, in equal shares.
        let wanted: usize = decodes.iter().map(|&index| self.running[index].pending()).sum();
        let mut spare = plan.tokens_left.min(plan.rows_left).saturating_sub(wanted);
        for &index in decodes {
            if plan.tokens_left == 0 || plan.rows_left == 0 {
                break;
            }
            if index >= self.running.len() {
                continue;
            }
            let Some(mut turn) = self.turn_with_pages(index, plan) else { continue };
            if turn.rows == LogitRows::Last && self.running[index].pending() == 1 {
                turn.drafted = self.draft(index, decodes.len(), spare);
                spare -= turn.drafted;
            }
            if turn.drafted > 0 {
                (turn.len, turn.rows) = (1 + turn.drafted, LogitRows::All);
            }
            turn.is_decode = true;
            plan.add(Some(turn));
        }
        plan.tokens_left += held;
        plan.rows_left += held;
    }

    /// Drafts for a decoding sequence, one of `sequences`, at most `spare` tokens; returns how many.
    fn draft(&mut self, index: usize, sequences: usize, spare: usize) -> usize {
        let Some(prices) = &self.prices else { return 0 };
        let sequence = &mut self.running[index];
        if sequence.walk.is_some() {
            return 0;
        }
        // Each token of the draft is followed by one that is chosen, and every token must be one that may be generated.
        let room = sequence.max_tokens - sequence.generated().len() - 1;
        let until_crossing = match (sequence.regime, self.long_rope_after) {
            (RopeRegime::Short, Some(original)) => original.saturating_sub(sequence.tokens.len()),
            _ => usize::MAX,
        };
        // Nobody is preempted for a guess.
        let reach = self.memory.reach(sequence) - 1;
        let share = (MOST_ROWS / sequences).saturating_sub(1);
        let most = share.min(spare).min(room).min(until_crossing).min(reach);
        let length = if most == 0 { 0 } else { sequence.pace.length(prices, sequences, most) };
        sequence.draft = if length == 0 { Vec::new() } else { speculation::draft(&sequence.tokens, length) };
        // Nothing follows a token that ends the sequence.
        let end = sequence.draft.iter().position(|token| sequence.stop_ids.contains(token));
        sequence.draft.truncate(end.unwrap_or(length));
        let positions = sequence.tokens.len() + sequence.draft.len();
        assert!(self.memory.take(sequence, positions), "a draft is longer than the pages reach; this is a bug");
        sequence.draft.len()
    }

    /// 1 if the first prompt is to be left a token (and a row) whatever the decoding sequences want: always where the
    /// budget has two, and where it has one if the prompt was served longer ago. Nothing is left to one that could not use
    /// it, for want of a page.
    fn promised_to_prompts(&self, decodes: &[usize], prompts: &[usize], slots: usize) -> usize {
        let (Some(&prompt), Some(&decode)) = (prompts.first(), decodes.first()) else { return 0 };
        let is_older = self.running[prompt].last_step <= self.running[decode].last_step;
        let is_youngest = prompt + 1 == self.running.len();
        let can_go_on = !is_youngest || self.memory.reach(&self.running[prompt]) > 0;
        usize::from(can_go_on && (slots >= 2 || is_older))
    }

    /// Whether the page that a sequence has to read next is being read in a turn of an older one, for both.
    fn is_being_read(&self, index: usize, turns: &[Turn]) -> bool {
        let sequence = &self.running[index];
        let page_len = self.memory.page_len();
        let page = sequence.computed / page_len;
        let end = (page + 1) * page_len;
        if end > sequence.may_skip() {
            return false;
        }
        turns.iter().any(|turn| {
            let other = &self.running[turn.index];
            // One that decodes would take a step for each token.
            other.pending() > 1
                && turn.position / page_len == page
                && turn.position >= sequence.computed
                && end <= other.publishable().min(other.tokens.len())
                && other.kind() == sequence.kind()
                && other.tokens[..end] == sequence.tokens[..end]
        })
    }

    /// The turn of one sequence within what is left of the budgets, with pages for it, for which younger ones may be
    /// preempted; none if nothing is left for it. The youngest makes do with the pages that are there.
    fn turn_with_pages(&mut self, index: usize, plan: &mut Plan) -> Option<Turn> {
        loop {
            let is_youngest = index + 1 == self.running.len();
            let sequence = &mut self.running[index];
            let most = if is_youngest { self.memory.reach(sequence) } else { usize::MAX };
            let turn = turn(index, sequence, plan.tokens_left.min(most), plan.rows_left)?;
            if self.memory.take(sequence, turn.position + turn.len) {
                return Some(turn);
            }
            self.preempt_youngest(plan);
        }
    }

    /// Takes the pages and the turn of the youngest running sequence, which waits again.
    fn preempt_youngest(&mut self, plan: &mut Plan) {
        let mut sequence = self.running.pop().expect("there is a younger one; this is a bug");
        let index = self.running.len();
        plan.turns.retain(|turn| turn.index != index);
        self.memory.leave(&mut sequence);
        sequence.is_read_again = true;
        self.totals.preemptions += 1;
        self.waiting.push_front(sequence);
        self.is_short_of_pages = true;
    }

    /// Sums up who owns what.
    pub(crate) fn assert_pages_conserved(&self) {
        self.memory.assert_conserved(&self.running);
    }
}

/// A step as far as it is planned.
struct Plan {
    turns: Vec<Turn>,
    tokens_left: usize,
    rows_left: usize,
}

impl Plan {
    fn add(&mut self, turn: Option<Turn>) {
        let Some(turn) = turn else { return };
        self.tokens_left -= turn.len;
        self.rows_left -= row_count(turn.rows, turn.len);
        self.turns.push(turn);
    }
}

/// Counts tokens that a sequence found computed, as far as others computed them.
fn note_found(totals: &mut Totals, sequence: &mut Sequence, found: usize) {
    // Only a prompt is looked up for its own sake: an answer's forced tokens may be another one's too.
    if !sequence.is_read_again && sequence.generated().is_empty() {
        sequence.counts.cached_tokens += found;
        totals.prefix_hits += found as u64;
    }
}

/// The turn of one sequence within what is left of the budgets; none if nothing is left for it.
fn turn(index: usize, sequence: &Sequence, tokens_left: usize, rows_left: usize) -> Option<Turn> {
    let pending = sequence.pending();
    let mut len = pending.min(tokens_left);
    let rows = if sequence.is_scoring() && sequence.computed < sequence.scored {
        // Not asked for, or reported before and computed once more.
        len = len.min(sequence.scored - sequence.computed);
        LogitRows::None
    } else if sequence.is_scoring() {
        len = len.min(rows_left);
        LogitRows::All
    } else if len == pending && sequence.generated().len() < sequence.max_tokens {
        if rows_left == 0 {
            // The last token of a prompt waits for a row.
            len = len.saturating_sub(1);
            LogitRows::None
        } else {
            LogitRows::Last
        }
    } else {
        LogitRows::None
    };
    (len > 0).then_some(Turn { index, position: sequence.computed, len, drafted: 0, rows, is_decode: false })
}

/// Logit rows of a turn of `len` tokens.
pub(crate) fn row_count(rows: LogitRows, len: usize) -> usize {
    match rows {
        LogitRows::None => 0,
        LogitRows::Last => 1,
        LogitRows::All => len,
    }
}
