//! Logits to a token.
//!
//! The filters run in the order of llama.cpp's default chain, so that settings found there mean the same here:
//!
//! ```text
//! logits -> bias -> mask -> penalties (repeat, presence, frequency)
//!        -> [temperature 0: the most likely, of equals the lowest id]
//!        -> top-k -> top-p -> min-p -> temperature -> draw
//! ```
//!
//! Top-p and min-p therefore look at the probabilities before temperature. The draw takes one number that depends on
//! (seed, position) alone, so a sequence says the same alone, in a batch, or taken up again later.
//! Nothing here sorts the vocabulary: the few candidates that matter are selected first, in time linear in `V`. With top-k,
//! the usual case, that is one pass that the compiler turns into vector instructions: of the highest logit of each block of
//! the vocabulary the k-th highest is a bound, for at least k logits reach it, so only blocks that reach it are looked at.
//!
//! Read next: `engine`, the only caller.

use crate::bound::Bound;
use crate::constraint::TokenMask;
use crate::sequence::{Refused, TokenLogprob};
use std::cmp::Ordering;
use std::collections::HashMap;

/// How to choose a token. `Default` is greedy with every filter off.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this before the draw; 0 takes the most likely token.
    pub temperature: f32,
    /// Keep the k most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of tokens whose probability reaches this, in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this fraction as likely as the most likely, in [0, 1); 0 keeps all.
    pub min_p: f32,
    /// Divide positive and multiply negative logits of recent tokens by this (Keskar et al., CTRL, 2019, section 4.1);
    /// 1 is off.
    pub repeat_penalty: f32,
    /// How many of the last tokens, prompt included, count as recent.
    pub repeat_last_n: usize,
    /// Subtract this from the logit of every token that was generated; 0 is off.
    pub presence_penalty: f32,
    /// Subtract this for each time that a token was generated; 0 is off.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Start of the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl Sampling {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// [`Refused::BadSampling`] naming the first field outside its range, [`Refused::TokenOutOfRange`] for a bias.
    pub fn check(&self, vocabulary: usize) -> Result<(), Refused> {
        let rows = [
            (Bound::TEMPERATURE, self.temperature),
            (Bound::TOP_P, self.top_p),
            (Bound::MIN_P, self.min_p),
            (Bound::REPEAT_PENALTY, self.repeat_penalty),
            (Bound::PRESENCE_PENALTY, self.presence_penalty),
            (Bound::FREQUENCY_PENALTY, self.frequency_penalty),
        ];
        for (bound, value) in rows {
            bound.check(value)?;
        }
        for &(token, bias) in &self.logit_bias {
            if token as usize >= vocabulary {
                return Err(Refused::TokenOutOfRange { token, vocabulary });
            }
            Bound::LOGIT_BIAS.check(bias)?;
        }
        Ok(())
    }

    /// Whether any penalty is on.
    fn has_penalties(&self) -> bool {
        self.repeat_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }
}

/// The logits held a NaN or +infinity, or nothing but impossible tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the logits leave no token to choose")]
pub struct BrokenLogits;

/// A token that may be chosen, with its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    token: u32,
    logit: f32,
}

/// Most likely first, of equals the lowest id first. A total order, as no logit is NaN here.
fn by_likelihood(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// Logits of which the highest is kept, to pass over them all where it is too low.
const BLOCK: usize = 32;

/// How many candidates are selected at first where the settings do not bound them.
const FIRST_SELECTION: usize = 256;

/// Chooses tokens; holds only scratch memory, no state.
#[derive(Debug, Default)]
pub struct Sampler {
    logits: Vec<f32>,           // [V] after bias, mask and penalties, where any is on
    highest: Vec<f32>,          // of each block
    bounds: Vec<f32>,           // the same, in another order
    candidates: Vec<Candidate>, // up to V
    counts: HashMap<u32, u32>,
}

impl Sampler {
    /// Chooses the token that follows `tokens`, of which the first `prompt_len` are the prompt.
    ///
    /// `logits` is `[V]`; `mask`, where given, says which tokens may come.
    ///
    /// # Errors
    /// [`BrokenLogits`] if a logit is NaN or +infinity, or none is possible.
    pub fn choose(
        &mut self,
        logits: &[f32],
        sampling: &Sampling,
        mask: Option<&TokenMask>,
        tokens: &[u32],
        prompt_len: usize,
    ) -> Result<u32, BrokenLogits> {
        if has_broken(logits) {
            return Err(BrokenLogits);
        }
        if sampling.logit_bias.is_empty() && mask.is_none() && !sampling.has_penalties() {
            return self.choose_of(logits, sampling, tokens);
        }
        let mut changed = std::mem::take(&mut self.logits);
        changed.clear();
        changed.extend_from_slice(logits);
        for &(token, bias) in &sampling.logit_bias {
            if let Some(logit) = changed.get_mut(token as usize) {
                *logit += bias;
            }
        }
        if let Some(mask) = mask {
            for (token, logit) in (0_u32..).zip(&mut changed) {
                if !mask.allows(token) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        if sampling.has_penalties() {
            self.penalise(&mut changed, sampling, tokens, prompt_len);
        }
        let chosen = self.choose_of(&changed, sampling, tokens);
        self.logits = changed;
        chosen
    }

    /// The rest of the chain, from logits that are final.
    fn choose_of(&mut self, logits: &[f32], sampling: &Sampling, tokens: &[u32]) -> Result<u32, BrokenLogits> {
        if sampling.temperature == 0.0 || sampling.top_k == 1 {
            return most_likely(logits);
        }
        let drawn = uniform(sampling.seed, tokens.len() as u64);
        self.keep_likely(logits, sampling)?;
        self.draw(sampling.temperature, drawn)
    }

    /// Applies the three penalties: repeat over the recent tokens, presence and frequency over the generated ones.
    fn penalise(&mut self, logits: &mut [f32], sampling: &Sampling, tokens: &[u32], prompt_len: usize) {
        let recent = &tokens[tokens.len().saturating_sub(sampling.repeat_last_n)..];
        self.count(recent);
        for &token in self.counts.keys() {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit > 0.0 { *logit / sampling.repeat_penalty } else { *logit * sampling.repeat_penalty };
            }
        }
        self.count(&tokens[prompt_len..]);
        for (&token, &count) in &self.counts {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit -= sampling.presence_penalty + sampling.frequency_penalty * count as f32;
            }
        }
    }

    fn count(&mut self, tokens: &[u32]) {
        self.counts.clear();
        for &token in tokens {
            *self.counts.entry(token).or_default() += 1;
        }
    }

    /// Leaves in `candidates` what top-k, top-p and min-p keep: sorted by likelihood if any of them is on, else by id.
    fn keep_likely(&mut self, logits: &[f32], sampling: &Sampling) -> Result<(), BrokenLogits> {
        self.find_candidates(logits, sampling.top_k);
        let candidates = &mut self.candidates;
        if candidates.is_empty() {
            return Err(BrokenLogits);
        }
        let highest = candidates.iter().fold(f32::NEG_INFINITY, |highest, candidate| highest.max(candidate.logit));
        // Top-k.
        if sampling.top_k > 0 && sampling.top_k < candidates.len() {
            candidates.select_nth_unstable_by(sampling.top_k - 1, by_likelihood);
            candidates.truncate(sampling.top_k);
        }
        let weight = |candidate: &Candidate| f64::from(candidate.logit - highest).exp();
        // The order in which a selection leaves its head is a function of the logits alone, so this sum is the same
        // whenever the same logits come. Min-p is measured against the most likely token, which top-p always keeps, so the two commute; the smaller
        // set goes to top-p, which must still measure itself against the whole of what top-k kept.
        let mass_wanted =
            (sampling.top_p < 1.0).then(|| f64::from(sampling.top_p) * candidates.iter().map(weight).sum::<f64>());
        if sampling.min_p > 0.0 {
            let lowest = highest + sampling.min_p.ln();
            candidates.retain(|candidate| candidate.logit >= lowest);
        }
        if let Some(mass_wanted) = mass_wanted {
            keep_mass(candidates, mass_wanted, weight);
        }
        if sampling.top_k > 0 || sampling.min_p > 0.0 || sampling.top_p < 1.0 {
            candidates.sort_unstable_by(by_likelihood);
        }
        Ok(())
    }

    /// Puts into `candidates`, by id, every token that is possible and may be among the `top_k` most likely, if that is not 0.
    fn find_candidates(&mut self, logits: &[f32], top_k: usize) {
        let Sampler { highest, bounds, candidates, .. } = self;
        candidates.clear();
        let (mut lowest, blocks) = (f32::NEG_INFINITY, logits.len().div_ceil(BLOCK));
        highest.clear();
        if (1..=blocks).contains(&top_k) {
            highest.extend(logits.chunks(BLOCK).map(highest_of));
            bounds.clone_from(highest);
            lowest = *bounds.select_nth_unstable_by(top_k - 1, |a, b| b.total_cmp(a)).1;
        }
        for (index, block) in logits.chunks(BLOCK).enumerate() {
            if highest.get(index).is_some_and(|&highest| highest < lowest) {
                continue;
            }
            let reaches = |logit: f32| logit >= lowest && logit > f32::NEG_INFINITY;
            let found = ((index * BLOCK) as u32..).zip(block).filter(|(_, logit)| reaches(**logit));
            candidates.extend(found.map(|(token, &logit)| Candidate { token, logit }));
        }
    }

    /// The `count` most likely tokens of `[V]` logits with their log-probabilities, best first, of equals the lowest id; fewer
    /// where fewer are possible. `normaliser` is the logarithm of the sum of their exponentials.
    pub(crate) fn top_logprobs(&mut self, logits: &[f32], normaliser: f64, count: usize) -> Vec<TokenLogprob> {
        if count == 0 {
            return Vec::new();
        }
        self.find_candidates(logits, count);
        let candidates = &mut self.candidates;
        if count < candidates.len() {
            candidates.select_nth_unstable_by(count - 1, by_likelihood);
            candidates.truncate(count);
        }
        candidates.sort_unstable_by(by_likelihood);
        let told = |candidate: &Candidate| TokenLogprob {
            token: candidate.token,
            logprob: (f64::from(candidate.logit) - normaliser) as f32,
        };
        candidates.iter().map(told).collect()
    }

    /// Draws one of the candidates with `drawn` in [0, 1), by the inverse of the cumulative distribution.
    fn draw(&self, temperature: f32, drawn: f64) -> Result<u32, BrokenLogits> {
        let highest = self.candidates.iter().fold(f32::NEG_INFINITY, |highest, candidate| highest.max(candidate.logit));
        let temperature = f64::from(temperature);
        let weight = |candidate: &Candidate| (f64::from(candidate.logit - highest) / temperature).exp();
        let mut left = drawn * self.candidates.iter().map(weight).sum::<f64>();
        let mut last_possible = None;
        for candidate in &self.candidates {
            let weight = weight(candidate);
            if weight > 0.0 {
                last_possible = Some(candidate.token);
                if left < weight {
                    break;
                }
            }
            left -= weight;
        }
        // Rounding may carry the draw past the end; the last token that has any probability takes it.
        last_possible.ok_or(BrokenLogits)
    }
}

/// Keeps the fewest most likely candidates whose weights add up to `mass_wanted`; at least one.
///
/// Selects a growing head of the candidates and sorts only that, so that the usual case, a few hundred likely tokens
/// out of a large vocabulary, costs one pass.
fn keep_mass(candidates: &mut Vec<Candidate>, mass_wanted: f64, weight: impl Fn(&Candidate) -> f64) {
    let mut sorted = 0;
    let mut mass = 0.0;
    let mut head = FIRST_SELECTION;
    while sorted < candidates.len() {
        let end = head.min(candidates.len());
        let rest = &mut candidates[sorted..];
        if end < sorted + rest.len() {
            rest.select_nth_unstable_by(end - sorted - 1, by_likelihood);
        }
        candidates[sorted..end].sort_unstable_by(by_likelihood);
        for index in sorted..end {
            mass += weight(&candidates[index]);
            if mass >= mass_wanted {
                candidates.truncate(index + 1);
                return;
            }
        }
        sorted = end;
        head = head.saturating_mul(4);
    }
}

/// Whether a logit is NaN or +infinity.
fn has_broken(logits: &[f32]) -> bool {
    // No early end inside a block: each is a few vector instructions.
    let is_broken = |logit: &f32| logit.is_nan() | (*logit == f32::INFINITY);
    logits.chunks(BLOCK).any(|block| block.iter().fold(false, |broken, logit| broken | is_broken(logit)))
}

/// The highest of some logits, none of which is NaN.
fn highest_of(logits: &[f32]) -> f32 {
    // Lanes that do not wait for each other.
    let mut lanes = [f32::NEG_INFINITY; 8];
    let higher = |a: f32, b: f32| if a > b { a } else { b };
    for chunk in logits.chunks(8) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &logit)| *lane = higher(*lane, logit));
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, higher)
}

/// The most likely token, of equals the lowest id.
fn most_likely(logits: &[f32]) -> Result<u32, BrokenLogits> {
    let highest = highest_of(logits);
    let first = logits.iter().position(|&logit| logit == highest).filter(|_| highest > f32::NEG_INFINITY);
    first.map(|token| token as u32).ok_or(BrokenLogits)
}

/// A number in [0, 1) that depends on its arguments alone: the SplitMix64 finaliser (Steele, Lea, Flood, "Fast
/// splittable pseudorandom number generators", 2014) over the seed, then over its result and the position.
fn uniform(seed: u64, position: u64) -> f64 {
    let mixed = mix(mix(seed.wrapping_add(GOLDEN_GAMMA)).wrapping_add(position.wrapping_mul(GOLDEN_GAMMA)));
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// The odd integer nearest to 2^64 divided by the golden ratio.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The probabilities that the chain leaves, by full sorts and definitions: `[V]`, 0 where a token is dropped.
    fn oracle(logits: &[f32], sampling: &Sampling, tokens: &[u32], prompt_len: usize) -> Vec<f64> {
        let mut logits: Vec<f32> = logits.to_vec();
        for &(token, bias) in &sampling.logit_bias {
            logits[token as usize] += bias;
        }
        let recent = &tokens[tokens.len().saturating_sub(sampling.repeat_last_n)..];
        let generated = &tokens[prompt_len..];
        for (token, logit) in (0_u32..).zip(&mut logits) {
            if recent.contains(&token) {
                *logit = if *logit > 0.0 { *logit / sampling.repeat_penalty } else { *logit * sampling.repeat_penalty };
            }
            let count = generated.iter().filter(|&&other| other == token).count();
            if count > 0 {
                *logit -= sampling.presence_penalty + sampling.frequency_penalty * count as f32;
            }
        }
        let mut order: Vec<usize> = (0..logits.len()).filter(|&token| logits[token] > f32::NEG_INFINITY).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        if sampling.top_k > 0 {
            order.truncate(sampling.top_k);
        }
        let highest = logits[order[0]];
        let weight = |token: usize| f64::from(logits[token] - highest).exp();
        if sampling.top_p < 1.0 {
            let total: f64 = order.iter().map(|&token| weight(token)).sum();
            let mut mass = 0.0;
            let mut kept = 0;
            for &token in &order {
                kept += 1;
                mass += weight(token);
                if mass >= f64::from(sampling.top_p) * total {
                    break;
                }
            }
            order.truncate(kept);
        }
        if sampling.min_p > 0.0 {
            order.retain(|&token| logits[token] >= highest + sampling.min_p.ln());
        }
        let hot = |token: usize| (f64::from(logits[token] - highest) / f64::from(sampling.temperature)).exp();
        let total: f64 = order.iter().map(|&token| hot(token)).sum();
        let mut probabilities = vec![0.0; logits.len()];
        for &token in &order {
            probabilities[token] = hot(token) / total;
        }
        probabilities
    }

    fn settings() -> impl Strategy<Value = Sampling> {
        (
            prop_oneof![0.1_f32..3.0],
            prop_oneof![Just(0_usize), 1_usize..40, Just(10_000)],
            prop_oneof![Just(1.0_f32), 0.01_f32..1.0],
            prop_oneof![Just(0.0_f32), 0.0_f32..0.9],
            prop_oneof![Just(1.0_f32), 0.5_f32..2.0],
            0_usize..12,
            -1.0_f32..1.0,
            -1.0_f32..1.0,
            proptest::collection::vec((0_u32..20, -5.0_f32..5.0), 0..3),
            any::<u64>(),
        )
            .prop_map(
                |(temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n, presence, frequency, bias, seed)| {
                    Sampling {
                        temperature,
                        top_k,
                        top_p,
                        min_p,
                        repeat_penalty,
                        repeat_last_n,
                        presence_penalty: presence,
                        frequency_penalty: frequency,
                        logit_bias: bias,
                        seed,
                    }
                },
            )
    }

    /// A vocabulary's worth of logits, with ties and impossible tokens among them.
    fn rows() -> impl Strategy<Value = Vec<f32>> {
        let logit = prop_oneof![
            6 => -8.0_f32..8.0,
            2 => (-3_i8..3).prop_map(f32::from),
            1 => Just(f32::NEG_INFINITY),
        ];
        proptest::collection::vec(logit, 20..1500)
            .prop_filter("one token is possible", |row| row.iter().any(|logit| logit.is_finite()))
    }

    proptest! {
        #[test]
        fn keeps_what_the_oracle_keeps_with_the_same_probabilities(
            logits in rows(),
            sampling in settings(),
            tokens in proptest::collection::vec(0_u32..20, 1..16),
            prompt_share in 0.0_f64..1.0,
        ) {
            let prompt_len = (tokens.len() as f64 * prompt_share) as usize;
            let expected = oracle(&logits, &sampling, &tokens, prompt_len);
            let mut sampler = Sampler::default();
            let chosen = sampler.choose(&logits, &sampling, None, &tokens, prompt_len).unwrap();
            if sampling.top_k == 1 {
                prop_assert!((expected[chosen as usize] - 1.0).abs() < 1e-9);
                return Ok(());
            }
            let kept: std::collections::BTreeSet<u32> =
                sampler.candidates.iter().map(|candidate| candidate.token).collect();
            let expected_kept: std::collections::BTreeSet<u32> =
                (0_u32..).zip(&expected).filter(|(_, p)| **p > 0.0).map(|(token, _)| token).collect();
            // Sums in another order may differ in the last bit, so a token that sits on the edge of top-p may fall to
            // either side; no other difference is allowed.
            let differing = kept.symmetric_difference(&expected_kept).count();
            prop_assert!(differing == 0 || (sampling.top_p < 1.0 && differing == 1), "{differing} tokens differ");
            if differing == 0 {
                // The draw is the inverse of the cumulative distribution in the order of the candidates.
                let drawn = uniform(sampling.seed, tokens.len() as u64);
                let mut mass = 0.0;
                for candidate in &sampler.candidates {
                    let before = mass;
                    mass += expected[candidate.token as usize];
                    if candidate.token == chosen {
                        prop_assert!(before - 1e-9 <= drawn && drawn <= mass + 1e-9, "{before} {drawn} {mass}");
                    }
                }
                prop_assert!(kept.contains(&chosen));
            }
        }

        #[test]
        fn greedy_is_the_first_of_the_highest(logits in rows()) {
            let chosen = Sampler::default().choose(&logits, &Sampling::default(), None, &[0], 1).unwrap();
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(Some(chosen as usize), logits.iter().position(|&logit| logit == highest));
        }

        #[test]
        fn a_mask_is_never_left(logits in rows(), sampling in settings(), allowed in 0_u32..20) {
            let mut mask = TokenMask::none(logits.len());
            mask.allow(allowed);
            mask.allow(allowed + 7);
            let chosen = Sampler::default().choose(&logits, &sampling, Some(&mask), &[1], 1);
            let is_possible = |token: u32| logits.get(token as usize).is_some_and(|logit| logit.is_finite());
            match chosen {
                Ok(token) => prop_assert!(mask.allows(token) && is_possible(token)),
                Err(BrokenLogits) => prop_assert!(!is_possible(allowed) && !is_possible(allowed + 7)),
            }
        }

        #[test]
        fn the_top_tokens_are_those_of_a_sort(logits in rows(), count in 0_usize..30) {
            let mut expected: Vec<usize> = (0..logits.len()).filter(|&token| logits[token].is_finite()).collect();
            expected.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            expected.truncate(count);
            let top = Sampler::default().top_logprobs(&logits, 1.5, count);
            prop_assert_eq!(top.iter().map(|entry| entry.token as usize).collect::<Vec<_>>(), expected);
            for one in top {
                prop_assert_eq!(one.logprob, (f64::from(logits[one.token as usize]) - 1.5) as f32);
            }
        }
    }

    #[test]
    fn frequencies_of_many_draws_follow_the_distribution() {
        let logits = [2.0, 1.0, 0.0, -1.0, f32::NEG_INFINITY, 0.5];
        let sampling = Sampling { temperature: 0.7, top_p: 0.98, min_p: 0.01, ..Sampling::default() };
        let expected = oracle(&logits, &sampling, &[0], 1);
        let draws = 40_000;
        let mut counts = [0_u32; 6];
        let mut sampler = Sampler::default();
        for seed in 0..draws {
            let sampling = Sampling { seed, ..sampling.clone() };
            counts[sampler.choose(&logits, &sampling, None, &[0], 1).unwrap() as usize] += 1;
        }
        for (token, &probability) in expected.iter().enumerate() {
            let share = f64::from(counts[token]) / draws as f64;
            // Five standard deviations.
            let bound = 5.0 * (probability * (1.0 - probability) / draws as f64).sqrt();
            assert!(
                (share - probability).abs() <= bound,
                "token {token}: {share} of the draws, expected {probability}"
            );
        }
    }

    #[test]
    fn broken_logits_are_told_not_chosen_from() {
        let mut sampler = Sampler::default();
        for sampling in [Sampling::default(), Sampling { temperature: 1.0, ..Sampling::default() }] {
            for broken in [f32::NAN, f32::INFINITY] {
                assert_eq!(sampler.choose(&[0.0, broken, 1.0], &sampling, None, &[0], 1), Err(BrokenLogits));
            }
            assert_eq!(sampler.choose(&[f32::NEG_INFINITY; 3], &sampling, None, &[0], 1), Err(BrokenLogits));
        }
    }

    #[test]
    fn a_setting_outside_its_range_is_named() {
        let check = |change: fn(&mut Sampling)| {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            sampling.check(100).map_err(|refused| refused.to_string())
        };
        assert_eq!(check(|_| ()), Ok(()));
        type Change = fn(&mut Sampling);
        let cases: [(Change, &str); 6] = [
            (|s| s.temperature = -1.0, "temperature is -1, expected a finite number from 0 up"),
            (|s| s.temperature = f32::NAN, "temperature is NaN, expected a finite number from 0 up"),
            (|s| s.top_p = 0.0, "top_p is 0, expected a number above 0, at most 1"),
            (|s| s.min_p = 1.0, "min_p is 1, expected a number from 0 up, below 1"),
            (|s| s.repeat_penalty = 0.0, "repeat_penalty is 0, expected a finite number above 0"),
            (|s| s.logit_bias = vec![(100, 1.0)], "token 100 is outside the vocabulary of 100 tokens"),
        ];
        for (change, expected) in cases {
            assert_eq!(check(change), Err(expected.to_owned()));
        }
    }
}
