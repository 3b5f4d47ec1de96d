//! Who computes what in the next step.
//!
//! ```text
//! admit:  while the head of the queue fits (a free place, pages for prompt + max_tokens): it starts to run, behind the
//!         pages that the prefix cache has of its tokens; pages that the cache alone holds count as free
//! plan:   every decoding sequence one token, those served longest ago first, and a few drafted ones where few decode;
//!         what is left of the budget goes to prompts, oldest first, in pieces
//! ```
//!
//! Sequences are admitted strictly in the order of submission: a large one at the head of the queue is never passed by
//! a small one behind it, so nobody starves there. Among the running, a prompt is always left one token of the budget
//! and decoding sequences take turns, so nobody starves here either. Pages for everything that a sequence may come to
//! use are taken when it is admitted; a running sequence can therefore always go on (preemption comes with serving).
//!
//! Read next: `engine`, which turns a plan into a batch.

use crate::kv_pool::KvPool;
use crate::prefix_cache::PrefixCache;
use crate::sequence::{FinishReason, PromptScores, Sequence};
use crate::speculation::{self, MOST_ROWS, Prices};
use model::{LogitRows, RopeRegime};
use std::collections::VecDeque;

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
}

/// The sequences that wait and that run, and the pages.
pub(crate) struct Scheduler {
    pub(crate) waiting: VecDeque<Sequence>,
    /// In the order of submission.
    pub(crate) running: Vec<Sequence>,
    pub(crate) pool: KvPool,
    pub(crate) prefixes: PrefixCache,
    /// What steps cost; none if nothing is to be drafted.
    pub(crate) prices: Option<Prices>,
    page_len: usize,
    max_sequences: usize,
    long_rope_after: Option<usize>,
    step: u64,
}

impl Scheduler {
    pub(crate) fn new(
        pages: usize,
        page_len: usize,
        max_sequences: usize,
        long_rope_after: Option<usize>,
        speculate: bool,
    ) -> Scheduler {
        Scheduler {
            waiting: VecDeque::new(),
            running: Vec::new(),
            pool: KvPool::new(pages),
            prefixes: PrefixCache::new(page_len),
            prices: speculate.then(Prices::default),
            page_len,
            max_sequences,
            long_rope_after,
            step: 0,
        }
    }

    /// Pages that hold `positions` positions.
    pub(crate) fn pages_for(&self, positions: usize) -> usize {
        positions.div_ceil(self.page_len)
    }

    /// The RoPE regime of a sequence of `len` tokens: long once the whole of it exceeds the original context.
    pub(crate) fn regime(&self, len: usize) -> RopeRegime {
        match self.long_rope_after {
            Some(original) if len > original => RopeRegime::Long,
            _ => RopeRegime::Short,
        }
    }

    /// Lets waiting sequences run, in order, while they fit.
    fn admit(&mut self) {
        while self.running.len() < self.max_sequences {
            let Some(mut sequence) = self.waiting.pop_front() else { return };
            let mut pages = self.known_prefix(&sequence);
            let needed = self.pages_for(sequence.positions()) - pages.len();
            let Some(own) = self.take_pages(needed) else {
                self.prefixes.release(&pages);
                self.waiting.push_front(sequence);
                return;
            };
            sequence.shared = pages.len();
            sequence.computed = pages.len() * self.page_len;
            sequence.counts.cached_tokens = sequence.computed.min(sequence.prompt_len);
            pages.extend(own);
            sequence.pages = pages;
            sequence.last_step = self.step;
            self.running.push(sequence);
        }
    }

    /// The pages that the prefix cache has of a sequence's tokens, taken; one token at least is left to compute. None where
    /// rows of the prompt are wanted, and none where the sequence may outgrow the original context: then it computes all
    /// positions again, which it can do only on pages of its own.
    fn known_prefix(&mut self, sequence: &Sequence) -> Vec<u32> {
        let may_cross = self.regime(sequence.positions()) != sequence.regime;
        if sequence.prompt_scores != PromptScores::None || may_cross {
            return Vec::new();
        }
        self.prefixes.take(&sequence.tokens, sequence.tokens.len() - 1, sequence.regime)
    }

    /// Takes `count` pages, of the prefix cache's where too few are free; none if there are not so many.
    fn take_pages(&mut self, count: usize) -> Option<Vec<u32>> {
        if self.pool.free() + self.prefixes.unread() < count {
            return None;
        }
        while self.pool.free() < count {
            let page = self.prefixes.evict().expect("unread pages can be evicted; this is a bug");
            self.pool.give(vec![page]);
        }
        self.pool.take(count)
    }

    /// Takes back the pages of a sequence that has ended: those that are whole and computed stay in the prefix cache, but
    /// for a long text that was scored once, which would push out what is asked again, and for what ended in broken logits,
    /// which would break who reads it.
    pub(crate) fn retire(&mut self, sequence: Sequence, reason: &FinishReason) {
        let Sequence { tokens, computed, pages, shared, regime, prompt_scores, .. } = sequence;
        let is_kept = prompt_scores == PromptScores::None && !matches!(reason, FinishReason::BrokenLogits { .. });
        let computed = if is_kept { &tokens[..computed] } else { &[] };
        let left = self.prefixes.keep(computed, &pages, shared, regime);
        self.pool.give(left);
    }

    /// Empties the prefix cache of all that no running sequence reads.
    pub(crate) fn forget_prefixes(&mut self) {
        while let Some(page) = self.prefixes.evict() {
            self.pool.give(vec![page]);
        }
    }

    /// Sends sequences that outgrew the original context back to the start of their prompt: their keys were rotated
    /// with the short frequencies.
    fn cross_regimes(&mut self) {
        for index in 0..self.running.len() {
            let regime = self.regime(self.running[index].tokens.len());
            let sequence = &mut self.running[index];
            if sequence.regime != regime {
                assert_eq!(sequence.shared, 0, "a sequence would write pages that others read; this is a bug");
                sequence.regime = regime;
                sequence.computed = 0;
            }
        }
    }

    /// Plans a step of at most `token_budget` tokens of which at most `row_budget` need logits.
    pub(crate) fn plan(&mut self, token_budget: usize, row_budget: usize) -> Vec<Turn> {
        if token_budget == 0 || row_budget == 0 {
            return Vec::new();
        }
        self.step += 1;
        self.admit();
        self.cross_regimes();

        let mut decodes: Vec<usize> = Vec::new();
        let mut prompts: Vec<usize> = Vec::new();
        for (index, sequence) in self.running.iter().enumerate() {
            if sequence.pending() == 1 { decodes.push(index) } else { prompts.push(index) }
        }
        decodes.sort_by_key(|&index| (self.running[index].last_step, index));

        let promised = self.promised_to_prompts(&decodes, &prompts, token_budget.min(row_budget));
        let mut tokens_left = token_budget;
        let mut rows_left = row_budget;
        // What nobody else needs may go to drafts, in equal shares.
        let mut spare = tokens_left.min(rows_left).saturating_sub(promised + decodes.len());
        let sequences = decodes.len();
        let mut turns = Vec::new();
        for index in decodes {
            if tokens_left <= promised || rows_left <= promised {
                break;
            }
            let Some(mut turn) = self.turn(index, 1, rows_left) else { continue };
            if turn.rows == LogitRows::Last {
                turn.drafted = self.draft(index, sequences, spare);
                spare -= turn.drafted;
            }
            if turn.drafted > 0 {
                (turn.len, turn.rows) = (1 + turn.drafted, LogitRows::All);
            }
            tokens_left -= turn.len;
            rows_left -= row_count(turn.rows, turn.len);
            turns.push(turn);
        }
        for index in prompts {
            let Some(turn) = self.turn(index, tokens_left, rows_left) else { continue };
            tokens_left -= turn.len;
            rows_left -= row_count(turn.rows, turn.len);
            turns.push(turn);
        }
        for turn in &turns {
            self.running[turn.index].last_step = self.step;
        }
        turns
    }

    /// Drafts for a decoding sequence, one of `sequences`, at most `spare` tokens; returns how many.
    fn draft(&mut self, index: usize, sequences: usize, spare: usize) -> usize {
        let Some(prices) = &self.prices else { return 0 };
        let sequence = &self.running[index];
        // Each token of the draft is followed by one that is chosen, and every token must be one that may be generated.
        let room = sequence.max_tokens - sequence.generated().len() - 1;
        let until_crossing = match (sequence.regime, self.long_rope_after) {
            (RopeRegime::Short, Some(original)) => original.saturating_sub(sequence.tokens.len()),
            _ => usize::MAX,
        };
        let share = (MOST_ROWS / sequences).saturating_sub(1);
        let most = share.min(spare).min(room).min(until_crossing);
        let sequence = &mut self.running[index];
        let length = if most == 0 { 0 } else { sequence.pace.length(prices, sequences, most) };
        sequence.draft = if length == 0 { Vec::new() } else { speculation::draft(&sequence.tokens, length) };
        // Nothing follows a token that ends the sequence.
        let end = sequence.draft.iter().position(|token| sequence.stop_ids.contains(token));
        sequence.draft.truncate(end.unwrap_or(length));
        sequence.draft.len()
    }

    /// 1 if the first prompt is to be left a token (and a row) whatever the decoding sequences want: always where the
    /// budget has two, and where it has one if the prompt was served longer ago.
    fn promised_to_prompts(&self, decodes: &[usize], prompts: &[usize], slots: usize) -> usize {
        let (Some(&prompt), Some(&decode)) = (prompts.first(), decodes.first()) else { return 0 };
        let is_older = self.running[prompt].last_step <= self.running[decode].last_step;
        usize::from(slots >= 2 || is_older)
    }

    /// The turn of one sequence within what is left of the budgets; none if nothing is left for it.
    fn turn(&self, index: usize, tokens_left: usize, rows_left: usize) -> Option<Turn> {
        let sequence = &self.running[index];
        let pending = sequence.pending();
        let mut len = pending.min(tokens_left);
        let rows = if sequence.is_scoring() && sequence.computed < sequence.scored {
            // Reported before a rebuild, computed once more.
            len = len.min(sequence.scored - sequence.computed);
            LogitRows::None
        } else if sequence.is_scoring() {
            len = len.min(rows_left);
            LogitRows::All
        } else if len == pending && sequence.generated().len() < sequence.max_tokens {
            if rows_left == 0 {
                // The last token of a prompt waits for a row.
                len -= 1;
                LogitRows::None
            } else {
                LogitRows::Last
            }
        } else {
            LogitRows::None
        };
        (len > 0).then_some(Turn { index, position: sequence.computed, len, drafted: 0, rows })
    }

    /// Sums up who owns what.
    pub(crate) fn assert_pages_conserved(&self) {
        let owned: usize = self.running.iter().map(|sequence| sequence.pages.len() - sequence.shared).sum();
        let known = self.pool.free() + owned + self.prefixes.len();
        assert_eq!(known, self.pool.total(), "KV pages were lost or made; this is a bug");
    }
}

/// Logit rows of a turn of `len` tokens.
pub(crate) fn row_count(rows: LogitRows, len: usize) -> usize {
    match rows {
        LogitRows::None => 0,
        LogitRows::Last => 1,
        LogitRows::All => len,
    }
}
