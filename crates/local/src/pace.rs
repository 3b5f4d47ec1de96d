//! When a step may have tokens of prompts, and how many.
//!
//! A step makes everybody in it wait for all of it: whoever generates has a token a step, so the gap between two tokens of
//! a stream is what the step costs. A handful of prompt tokens costs nearly as much as some twenty, because weights are
//! unpacked for them all the same; so a prompt is read in pieces worth their price, with steps between them in which nobody
//! reads. Costs are measured as they happen:
//!
//! ```text
//! alone(d):  what steps cost in which d sequences generate and nobody reads
//! token:     what a token of a prompt adds to a step, in pieces as they are now
//! piece:     so many tokens that the step costs about PIECE times alone(d): (PIECE - 1) * alone(d) / token
//! credit:    every step adds (MEAN - 1) * alone(d) to it, a piece takes what it added to its step; who has none waits
//! ```
//!
//! So steps cost MEAN times alone(d) in the mean while a prompt is read, and more than half of them cost what they always do.
//!
//! Where many short prompts wait beside few streams, nearly everybody waits for a first token, and the whole is over in a
//! few steps: then steps may cost as many times more as more sequences read than generate, up to [`MOST`] times.
//!
//! The budget decides when a token comes, never which. Nothing here reads a clock: it is told what steps cost. Read next:
//! `worker`, which asks and tells.

use engine::{Budget, Demand, StepShape};

/// What steps should cost in the mean while somebody reads, in steps in which nobody does.
const MEAN: f32 = 2.25;

/// What a step with a piece of a prompt should cost, in the same. Less than half of the steps have a piece, as
/// `(MEAN - 1) / (PIECE - 1)` is less than a half.
const PIECE: f32 = 4.0;

/// Both, where many more read than generate, and have little to read.
const MOST: f32 = 8.0;

/// So much to read, in steps of the full budget, is soon over.
const SOON: usize = 4;

/// Tokens of prompts in a step before anything was measured.
const FIRST_TOKENS: usize = 16;

/// After so many steps without prompts somebody reads, whatever the last piece took.
const LONGEST_WAIT: u32 = 8;

/// So many steps alone may be missing to the price of the next piece: no figure is exact.
const SLACK: f32 = 0.25;

/// Steps with prompts after which what a step costs without them is measured again.
const STALE: u32 = 32;

/// Share of a new figure in what is known: what a disturbed step left is soon forgotten.
const SHARE: f32 = 0.5;

/// A new figure counts as at most so many times the old one.
const MOST_GROWTH: f32 = 2.0;

/// What steps cost, and what may be in the next.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Most tokens of a step.
    full: usize,
    /// By the number of sequences that generate: what a step of them alone costs, in seconds.
    alone: Vec<Option<f32>>, // index 0 is unused
    /// What a token of a prompt adds to a step, in seconds.
    token: Option<f32>,
    /// Seconds that prompts may take, or that they took too much.
    credit: f32,
    /// What steps may cost in the mean now, in steps alone.
    mean: f32,
    /// Steps with prompts since the last that had none.
    since_alone: u32,
    /// Steps for which those who have prompts to read have waited.
    waited: u32,
    /// Tokens of prompts that the last step with both could have had.
    last_choice: usize,
}

impl Pace {
    /// For steps of at most `full` tokens in which at most `sequences` generate.
    pub(crate) fn new(full: usize, sequences: usize) -> Pace {
        let alone = vec![None; sequences + 1];
        Pace { full, alone, token: None, credit: 0.0, mean: MEAN, since_alone: 0, waited: 0, last_choice: FIRST_TOKENS }
    }

    /// What the next step may have.
    pub(crate) fn budget(&mut self, demand: Demand) -> Budget {
        if demand.decodes == 0 {
            return Budget::of(self.full);
        }
        let is_soon_over = demand.prompt_tokens <= SOON * self.full;
        let crowd = demand.prompts as f32 / demand.decodes as f32;
        self.mean = if is_soon_over { (MEAN * crowd).clamp(MEAN, MOST) } else { MEAN };
        let alone = self.alone_of(demand.decodes);
        let must_wait = self.credit < -SLACK * alone.unwrap_or(0.0) || self.since_alone >= STALE;
        let waits = must_wait && self.waited < LONGEST_WAIT;
        self.waited = if waits && demand.prompts > 0 { self.waited + 1 } else { 0 };
        let prompt_tokens = if waits { 0 } else { self.piece(alone) };
        Budget { tokens: self.full, prompt_tokens }
    }

    /// Tokens of prompts in a step in which somebody generates; at least one.
    fn piece(&self, alone: Option<f32>) -> usize {
        let (Some(alone), Some(token)) = (alone, self.token) else { return FIRST_TOKENS };
        let most = (self.last_choice * 2).clamp(FIRST_TOKENS, self.full);
        ((PIECE.max(self.mean) - 1.0) * alone / token).ceil().min(most as f32) as usize
    }

    /// What a step of `decodes` sequences costs: as measured, else as the nearest that was.
    fn alone_of(&self, decodes: usize) -> Option<f32> {
        let known = |(count, cost): (usize, &Option<f32>)| cost.map(|cost| (count.abs_diff(decodes), cost));
        let nearest = self.alone.iter().enumerate().filter_map(known).min_by_key(|&(distance, _)| distance);
        nearest.map(|(_, cost)| cost)
    }

    /// A step of this shape took so many seconds.
    pub(crate) fn tell(&mut self, shape: StepShape, seconds: f32) {
        if !seconds.is_finite() || seconds <= 0.0 {
            return;
        }
        let StepShape { decodes, forced_tokens, prompt_tokens } = shape;
        if forced_tokens > 0 {
            // Neither what steps cost alone, nor what a prompt adds.
            return;
        }
        if decodes == 0 {
            // The weights are read in it too, so this is too much for a token, and better than nothing.
            if prompt_tokens > 0 {
                self.token.get_or_insert(seconds / prompt_tokens as f32);
            }
            self.credit = 0.0;
            return;
        }
        if prompt_tokens == 0 {
            self.since_alone = 0;
            if let Some(known) = self.alone.get_mut(decodes) {
                *known = Some(learnt(*known, seconds));
            }
            // Nothing is saved up: a prompt that comes later has the credit of one step.
            self.credit = (self.credit + (self.mean - 1.0) * seconds).min(0.0);
            return;
        }
        self.since_alone += 1;
        self.last_choice = prompt_tokens.max(FIRST_TOKENS / 2);
        let Some(alone) = self.alone_of(decodes) else {
            // What it added is not known, and is after the next step.
            self.credit = -f32::MIN_POSITIVE;
            return;
        };
        // Where nothing seems to be added, the step with nobody who reads was the disturbed one.
        let added = (seconds - alone).max(0.02 * seconds);
        self.token = Some(learnt(self.token, added / prompt_tokens as f32));
        self.credit = (self.credit + (self.mean - 1.0) * alone - added).min(0.0);
    }
}

/// A figure with a new one.
fn learnt(known: Option<f32>, new: f32) -> f32 {
    known.map_or(new, |known| known + SHARE * (new.min(MOST_GROWTH * known) - known))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 512;

    /// A machine on which a step costs this much: `base` seconds, and more for each that generates and each token read.
    #[derive(Clone, Copy)]
    struct Machine {
        base: f32,
        decode: f32,
        token: f32,
    }

    impl Machine {
        fn cost(self, shape: StepShape) -> f32 {
            let weights = if shape.decodes + shape.prompt_tokens > 0 { self.base } else { 0.0 };
            weights + self.decode * shape.decodes as f32 + self.token * shape.prompt_tokens as f32
        }
    }

    const MACHINES: [Machine; 4] = [
        // A small model, whose rows are dear; a larger one, whose rows are cheap; two that are far off.
        Machine { base: 0.010, decode: 0.002, token: 0.0018 },
        Machine { base: 0.150, decode: 0.012, token: 0.010 },
        Machine { base: 0.002, decode: 0.010, token: 0.010 },
        Machine { base: 5.0, decode: 0.0, token: 0.0001 },
    ];

    /// Reads prompts of these lengths beside `decodes` streams; returns the gaps of the streams, in steps without prompts.
    fn gaps(pace: &mut Pace, machine: Machine, decodes: usize, prompts: &[usize]) -> Vec<f32> {
        let alone = machine.cost(StepShape { decodes, prompt_tokens: 0, ..StepShape::default() });
        for _ in 0..10 {
            pace.tell(StepShape { decodes, prompt_tokens: 0, ..StepShape::default() }, alone);
        }
        let mut left = prompts.to_vec();
        let mut gaps = Vec::new();
        while left.iter().any(|&left| left > 0) {
            let reading = left.iter().filter(|&&left| left > 0).count();
            let demand = Demand { decodes, prompts: reading, prompt_tokens: left.iter().sum() };
            let mut budget = pace.budget(demand).prompt_tokens;
            let mut shape = StepShape { decodes, prompt_tokens: 0, ..StepShape::default() };
            for left in &mut left {
                let read = budget.min(*left);
                (*left, budget) = (*left - read, budget - read);
                shape.prompt_tokens += read;
            }
            let cost = machine.cost(shape);
            pace.tell(shape, cost);
            gaps.push(cost / alone);
            assert!(gaps.len() < 100_000, "prompts are starved");
        }
        gaps
    }

    fn mean(gaps: &[f32]) -> f32 {
        gaps.iter().sum::<f32>() / gaps.len() as f32
    }

    fn median(mut gaps: Vec<f32>) -> f32 {
        gaps.sort_by(f32::total_cmp);
        gaps[gaps.len() / 2]
    }

    #[test]
    fn a_long_prompt_leaves_most_gaps_as_they_are_and_has_more_than_half_of_the_time() {
        for machine in MACHINES {
            for decodes in [1, 2, 5, 31] {
                let mut pace = Pace::new(FULL, 64);
                let gaps = gaps(&mut pace, machine, decodes, &[4000]);
                let alone = machine.cost(StepShape { decodes, prompt_tokens: 0, ..StepShape::default() });
                // All but the first piece, whose price nobody knew.
                let (mean, most) = (mean(&gaps), gaps.iter().skip(1).copied().fold(0.0, f32::max));
                assert!(mean < 1.1 * MEAN && most < 1.3 * PIECE, "{mean} in the mean, {most} at most with {decodes}");
                assert!(median(gaps.clone()) < 1.05, "with {decodes}");
                // But where a step cannot hold so many tokens.
                let steps = (machine.token * 4000.0 / alone / (MEAN - 1.0)).max(4000.0 / FULL as f32);
                assert!((gaps.len() as f32) < 1.3 * steps + 12.0, "{} steps for {steps}", gaps.len());
            }
        }
    }

    #[test]
    fn figures_of_another_machine_are_unlearnt() {
        let mut pace = Pace::new(FULL, 64);
        gaps(&mut pace, MACHINES[3], 4, &[4000]);
        let gaps = gaps(&mut pace, MACHINES[0], 4, &[4000, 4000]);
        assert!(mean(&gaps[STALE as usize + 8..]) < 1.1 * MEAN);
    }

    #[test]
    fn many_short_prompts_beside_one_stream_are_read_fast() {
        let machine = MACHINES[0];
        let mut pace = Pace::new(FULL, 64);
        gaps(&mut pace, machine, 1, &[400]);
        let crowd = gaps(&mut pace, machine, 1, &[30; 31]);
        assert!(crowd.len() < 35, "{}", crowd.len());
        assert!(crowd.iter().all(|&gap| gap < 1.3 * MOST));
        let long = gaps(&mut pace, machine, 1, &[4000; 4]);
        assert!(mean(&long) < 1.1 * MEAN, "what takes long is no reason to stop a stream");
    }

    #[test]
    fn without_streams_a_step_is_full_and_nobody_waits_for_ever() {
        let mut pace = Pace::new(FULL, 64);
        let demand = |decodes| Demand { decodes, prompts: 1, prompt_tokens: 4000 };
        assert_eq!(pace.budget(demand(0)), Budget::of(FULL));
        assert_eq!(pace.budget(demand(1)), Budget { tokens: FULL, prompt_tokens: FIRST_TOKENS }, "nothing is known");
        pace.tell(StepShape { decodes: 1, prompt_tokens: FIRST_TOKENS, ..StepShape::default() }, 0.1);
        assert_eq!(pace.budget(demand(1)).prompt_tokens, 0, "a step to measure by");
        pace.tell(StepShape { decodes: 1, prompt_tokens: 0, ..StepShape::default() }, 0.05);
        assert!(pace.budget(demand(1)).prompt_tokens > 0);
        // However dear a piece was, and whatever changes.
        let (mut waited, mut read) = (0, 0);
        for step in 0..1_000 {
            let decodes = 1 + step % 70;
            let prompts = if step % 50 < 25 { 31 } else { 1 };
            let prompt_tokens = pace.budget(Demand { decodes, prompts, prompt_tokens: 600 }).prompt_tokens;
            waited = if prompt_tokens == 0 { waited + 1 } else { 0 };
            read += usize::from(prompt_tokens > 0);
            assert!(waited <= LONGEST_WAIT, "{waited} steps");
            let alone = if step % 3 == 0 { 0.001 } else { 0.1 };
            pace.tell(
                StepShape { decodes, prompt_tokens, ..StepShape::default() },
                if prompt_tokens == 0 { alone } else { 100.0 },
            );
        }
        assert!((100..300).contains(&read), "{read}");
    }

    #[test]
    fn times_that_are_none_change_nothing() {
        let mut pace = Pace::new(FULL, 4);
        for seconds in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            pace.tell(StepShape { decodes: 1, prompt_tokens: 0, ..StepShape::default() }, seconds);
            pace.tell(StepShape { decodes: 0, prompt_tokens: 5, ..StepShape::default() }, seconds);
        }
        assert_eq!((pace.alone_of(1), pace.token), (None, None));
        pace.tell(StepShape { decodes: 9, prompt_tokens: 0, ..StepShape::default() }, 1.0);
        assert_eq!(pace.alone_of(1), None, "more sequences than it is made for");
    }
}
