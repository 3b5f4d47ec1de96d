//! What becomes of the logits of one sequence's turn: scores of its prompt, its next token, as many
//! as its draft had right, or where its walk goes on.
//!
//! Read next: `sampler` for how a row of logits becomes a token, `speculation` for where drafts come from.

use crate::constraint::TokenMask;
use crate::sampler::{BrokenLogits, Sampler};
use crate::scheduler::Turn;
use crate::sequence::{EngineEvent, FinishReason, PromptScores, Sequence, TokenLogprob};
use crate::walk::WalkStep;
use kernels::{Runtime, log_sum_exp};
use model::LogitRows;

/// What it takes to turn logits into events.
pub(crate) struct Choice<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) sampler: &'a mut Sampler,
    pub(crate) mask: &'a mut TokenMask,
    pub(crate) forced: &'a mut Vec<u32>,
    pub(crate) vocabulary: usize,
    pub(crate) events: &'a mut Vec<EngineEvent>,
}

impl Choice<'_> {
    /// Reports and samples from the rows `[rows, V]` of a sequence's turn; returns why it ended, if it did.
    pub(crate) fn advance(&mut self, sequence: &mut Sequence, turn: &Turn, logits: &[f32]) -> Option<FinishReason> {
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
        if sequence.walk.is_some() {
            return walk_on(sequence, last).err();
        }
        self.generate(sequence, last).err()
    }

    /// Chooses a token from each row `[rows, V]`, the first of which follows the pending token and the others those of the
    /// draft, as long as the draft says what comes. What is right is computed; the rest will be overwritten.
    fn verify(&mut self, sequence: &mut Sequence, logits: &[f32]) -> Option<FinishReason> {
        let draft = std::mem::take(&mut sequence.draft);
        let first = sequence.tokens.len();
        let mut right = 0;
        let mut end = None;
        // The row after what is right says what follows, unless more is known already.
        while end.is_none() && first + right == sequence.tokens.len() && right <= draft.len() {
            let row = &logits[right * self.vocabulary..][..self.vocabulary];
            end = self.generate(sequence, row).err();
            let known = &sequence.tokens[first..];
            right += known[right..].iter().zip(&draft[right..]).take_while(|(known, drafted)| known == drafted).count();
        }
        sequence.computed = first + right;
        sequence.pace.note(draft.len(), right);
        sequence.counts.drafted_tokens += draft.len();
        sequence.counts.accepted_tokens += right;
        end
    }

    /// Reports the log-probabilities of prompt tokens; `logits` are the rows `[rows, V]` from `first_position` on.
    fn score(&mut self, sequence: &mut Sequence, first_position: usize, logits: &[f32]) -> Result<(), BrokenLogits> {
        let (count, wants_distributions) = match sequence.prompt_scores {
            PromptScores::Tokens { top, .. } => (top, false),
            PromptScores::Distributions => (0, true),
            PromptScores::None => (0, false),
        };
        let mut logprobs = Vec::new();
        let mut top = Vec::new();
        let mut distributions = Vec::new();
        let normalisers = log_sum_exp(self.runtime, logits, self.vocabulary);
        let rows = logits.chunks_exact(self.vocabulary).zip(normalisers);
        for (position, (row, normaliser)) in (first_position..).zip(rows) {
            if normaliser.is_nan() {
                return Err(BrokenLogits);
            }
            if position + 1 < sequence.prompt_len {
                let token = sequence.tokens[position + 1];
                let logprob = (f64::from(row[token as usize]) - normaliser) as f32;
                logprobs.push(TokenLogprob { token, logprob });
                top.push(self.sampler.top_logprobs(row, normaliser, count));
            }
            if wants_distributions {
                distributions.extend(row.iter().map(|&logit| (f64::from(logit) - normaliser) as f32));
            }
            sequence.scored = position + 1;
        }
        self.events.push(EngineEvent::PromptLogprobs { id: sequence.id, first_position, logprobs, top, distributions });
        Ok(())
    }

    /// Takes what must come next, or else chooses the next token from `[V]` logits, and then takes what must follow it; `Err`
    /// is why the sequence ends.
    fn generate(&mut self, sequence: &mut Sequence, logits: &[f32]) -> Result<(), FinishReason> {
        let before = sequence.tokens.len();
        // Later on, what is forced was taken with the token before it.
        if sequence.generated().is_empty() {
            self.take_forced(sequence)?;
        }
        if sequence.tokens.len() == before {
            self.choose(sequence, logits)?;
            self.take_forced(sequence)?;
        }
        Ok(())
    }

    /// Takes the tokens that the constraint forces. Where log-probabilities are asked for, each is chosen from logits of its
    /// own: it is the same one.
    fn take_forced(&mut self, sequence: &mut Sequence) -> Result<(), FinishReason> {
        let Some(constraint) = sequence.constraint.as_mut().filter(|_| sequence.top_logprobs.is_none()) else {
            return Ok(());
        };
        self.forced.clear();
        constraint.0.forced(self.forced);
        for index in 0..self.forced.len() {
            self.take(sequence, self.forced[index], None, Vec::new())?;
        }
        Ok(())
    }

    /// Chooses the next token from `[V]` logits.
    fn choose(&mut self, sequence: &mut Sequence, logits: &[f32]) -> Result<(), FinishReason> {
        let broken = FinishReason::BrokenLogits { position: sequence.tokens.len() };
        if let Some(token) = self.likeliest_if_allowed(sequence, logits)? {
            return self.take(sequence, token, None, Vec::new());
        }
        let mask = match &mut sequence.constraint {
            Some(constraint) => {
                self.mask.clear();
                constraint.0.mask(self.mask).map_err(|error| FinishReason::Constraint(error.0))?;
                Some(&*self.mask)
            }
            None => None,
        };
        let chosen = self.sampler.choose(logits, &sequence.sampling, mask, &sequence.tokens, sequence.prompt_len);
        let token = chosen.map_err(|_| match mask {
            // With healthy logits it was the mask that left nothing.
            Some(_) if !log_sum_exp(self.runtime, logits, self.vocabulary)[0].is_nan() => {
                FinishReason::Constraint("the constraint allows no token".to_owned())
            }
            _ => broken.clone(),
        })?;
        if sequence.stop_ids.contains(&token) {
            return Err(FinishReason::Stop(token));
        }
        let (logprob, top) = match sequence.top_logprobs {
            Some(count) => {
                // A number: a token was chosen from them.
                let normaliser = log_sum_exp(self.runtime, logits, self.vocabulary)[0];
                let logprob = (f64::from(logits[token as usize]) - normaliser) as f32;
                (Some(logprob), self.sampler.top_logprobs(logits, normaliser, count))
            }
            None => (None, Vec::new()),
        };
        self.take(sequence, token, logprob, top)
    }

    /// The token that is likeliest of all, where the likeliest is wanted and the constraint lets it come: then it is the
    /// likeliest of those that the mask allows too, and no mask is made.
    fn likeliest_if_allowed(&mut self, sequence: &mut Sequence, logits: &[f32]) -> Result<Option<u32>, FinishReason> {
        let Some(constraint) = &mut sequence.constraint else { return Ok(None) };
        if sequence.sampling.temperature != 0.0 || sequence.top_logprobs.is_some() {
            return Ok(None);
        }
        let likeliest = self.sampler.choose(logits, &sequence.sampling, None, &sequence.tokens, sequence.prompt_len);
        // Broken logits are told of with the mask, as an end is.
        let Some(token) = likeliest.ok().filter(|token| !sequence.stop_ids.contains(token)) else { return Ok(None) };
        let allows = constraint.0.allows(token).map_err(|error| FinishReason::Constraint(error.0))?;
        Ok((allows == Some(true)).then_some(token))
    }

    /// Makes a token the next one of the answer.
    fn take(
        &mut self,
        sequence: &mut Sequence,
        token: u32,
        logprob: Option<f32>,
        top: Vec<TokenLogprob>,
    ) -> Result<(), FinishReason> {
        sequence.tokens.push(token);
        self.events.push(EngineEvent::Token { id: sequence.id, token, logprob, top });
        if let Some(constraint) = &mut sequence.constraint {
            constraint.0.accept(token).map_err(|error| FinishReason::Constraint(error.0))?;
            if constraint.0.is_complete() {
                return Err(FinishReason::Complete);
            }
        }
        if sequence.generated().len() >= sequence.max_tokens {
            return Err(FinishReason::Length);
        }
        Ok(())
    }
}

/// Lets a walk say what its sequence reads next, given the `[V]` logits after all that it read; `Err` is why it ends.
fn walk_on(sequence: &mut Sequence, logits: &[f32]) -> Result<(), FinishReason> {
    let position = sequence.tokens.len();
    let walk = sequence.walk.as_mut().expect("asked of a walk alone; this is a bug");
    let step = walk.0.step(logits).map_err(|BrokenLogits| FinishReason::BrokenLogits { position })?;
    let WalkStep::Read { kept, tokens } = step else { return Err(FinishReason::Complete) };
    assert!(!tokens.is_empty() && kept <= sequence.generated().len(), "a walk goes where it cannot; this is a bug");
    sequence.tokens.truncate(sequence.prompt_len + kept);
    sequence.computed = sequence.computed.min(sequence.tokens.len());
    sequence.tokens.extend(tokens);
    if sequence.generated().len() >= sequence.max_tokens {
        return Err(FinishReason::Length);
    }
    Ok(())
}
