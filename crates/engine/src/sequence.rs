//! What is asked of the engine, what comes back, and the state of one sequence between the two.
//!
//! Read next: `scheduler`, which decides when a sequence runs.

use crate::constraint::Constraint;
use crate::prefix_cache::Kind;
use crate::sampler::Sampling;
use crate::speculation::Pace;
use crate::walk::Walk;
use model::{AdapterId, RopeRegime};
use std::fmt::{Debug, Formatter};

/// Names a sequence for as long as its engine lives; ids grow in the order of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub(crate) u64);

/// Which log-probabilities of the prompt to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PromptScores {
    /// None: only the last position of the prompt needs logits.
    #[default]
    None,
    /// Of each prompt token at position `from` or later, but never of the first, which has nothing before it. What is
    /// before `from - 1` may come from the prefix cache.
    Tokens {
        /// The first position to report.
        from: usize,
        /// So many of the most likely tokens in the place of each.
        top: usize,
    },
    /// Of each prompt token but the first, and the whole distribution after every position.
    Distributions,
}

impl PromptScores {
    /// The first position whose row is wanted: that before the first token to report. None if no row is.
    fn first_row(self) -> Option<usize> {
        match self {
            PromptScores::None => None,
            PromptScores::Tokens { from, .. } => Some(from.saturating_sub(1)),
            PromptScores::Distributions => Some(0),
        }
    }
}

/// What is asked.
pub struct SequenceRequest {
    /// The tokens to read; at least one.
    pub prompt: Vec<u32>,
    /// Most tokens to generate; `None`: what the context leaves. 0 only reads the prompt.
    pub max_tokens: Option<usize>,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Tokens that end the sequence and are not part of it.
    pub stop_ids: Vec<u32>,
    /// Report the log-probability of each generated token and of this many most likely ones.
    pub top_logprobs: Option<usize>,
    /// Report log-probabilities of the prompt.
    pub prompt_scores: PromptScores,
    /// Restricts what may be generated.
    pub constraint: Option<Box<dyn Constraint>>,
    /// Takes the place of generating: what is read after the prompt, at most `max_tokens - 1` tokens deep. Nothing is sampled,
    /// so sampling, constraint and stop tokens have no part in it.
    pub walk: Option<Box<dyn Walk>>,
    /// The adapter that its tokens go through.
    pub adapter: Option<AdapterId>,
}

/// A token with the natural logarithm of its probability, before temperature, penalties, bias and mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLogprob {
    /// Token id.
    pub token: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// What happened to a sequence in a step. Every sequence that was submitted gets exactly one `Finished`, its last event.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineEvent {
    /// A token was generated. The token that ends a sequence is not reported here but in [`FinishReason::Stop`].
    Token {
        /// Whose.
        id: SequenceId,
        /// The token.
        token: u32,
        /// Its log-probability, where asked for.
        logprob: Option<f32>,
        /// The most likely tokens, best first, as many as were asked for.
        top: Vec<TokenLogprob>,
    },
    /// A part of a long prompt was read, and more of it is left for the next steps. After a preemption what was generated
    /// before is read again, and counts with the prompt.
    Reading {
        /// Whose.
        id: SequenceId,
        /// Tokens that are read.
        read: usize,
        /// Tokens to be read before one is generated.
        total: usize,
    },
    /// Some tokens of a prompt were scored. These come in order and together cover what was asked for, once.
    PromptLogprobs {
        /// Whose.
        id: SequenceId,
        /// Position of the first row: it speaks of the token at `first_position + 1`.
        first_position: usize,
        /// The prompt tokens at `first_position + 1 ..`; one fewer than rows where the last row ends the prompt.
        logprobs: Vec<TokenLogprob>,
        /// For each of them the most likely tokens in its place, best first, as many as were asked for.
        top: Vec<Vec<TokenLogprob>>,
        /// `[rows, V]` log-probabilities of what follows each row's position, where asked for; else empty.
        distributions: Vec<f32>,
    },
    /// The sequence has ended and its pages are free, or kept for those that begin with the same tokens.
    Finished {
        /// Whose.
        id: SequenceId,
        /// Why.
        reason: FinishReason,
        /// What it was spared.
        counts: Counts,
    },
}

impl EngineEvent {
    /// Whose event it is.
    pub fn id(&self) -> SequenceId {
        let (EngineEvent::Token { id, .. }
        | EngineEvent::Reading { id, .. }
        | EngineEvent::PromptLogprobs { id, .. }
        | EngineEvent::Finished { id, .. }) = self;
        *id
    }
}

/// What a sequence was spared. None of it changes a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens of the prompt whose keys and values another sequence had computed.
    pub cached_tokens: usize,
    /// Tokens that were guessed and computed on trial.
    pub drafted_tokens: usize,
    /// Those of them that were right: each spared a step.
    pub accepted_tokens: usize,
}

/// Why a sequence ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// The model made this stop token.
    Stop(u32),
    /// `max_tokens` or the context was reached.
    Length,
    /// It was cancelled.
    Cancelled,
    /// Its constraint lets nothing follow, or its walk has come to its end.
    Complete,
    /// Its constraint failed or allowed no token.
    Constraint(String),
    /// The logits at this position were not numbers, or left no token possible.
    BrokenLogits {
        /// Position of the token that could not be chosen.
        position: usize,
    },
    /// The step that it was part of was abandoned ([`crate::Engine::rebuild`]).
    Abandoned,
}

/// Why a request was not taken. Each names both numbers: asked and possible.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// There is nothing to go on from.
    #[error("the prompt is empty, expected at least one token")]
    EmptyPrompt,
    /// The prompt is longer than a sequence may be.
    #[error("the prompt has {tokens} tokens, the context holds {context}")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions that one sequence may use.
        context: usize,
    },
    /// Prompt and answer, as long as they may become within the context, need more pages than exist.
    #[error("prompt and answer need {pages_needed} pages of KV memory, there are {pages_total}")]
    NeverFits {
        /// Pages for the prompt and `max_tokens`.
        pages_needed: usize,
        /// Pages that exist.
        pages_total: usize,
    },
    /// So many wait already that another one would wait too long.
    #[error("{waiting} requests wait already, the queue holds {limit}")]
    QueueFull {
        /// Requests that wait.
        waiting: usize,
        /// Most that may wait.
        limit: usize,
    },
    /// A token id, in the prompt or in the bias, that the model does not know.
    #[error("token {token} is outside the vocabulary of {vocabulary} tokens")]
    TokenOutOfRange {
        /// The id.
        token: u32,
        /// Number of tokens.
        vocabulary: usize,
    },
    /// A sampling parameter outside its range.
    #[error("{field} is {value}, expected {expected}")]
    BadSampling {
        /// The parameter.
        field: &'static str,
        /// Its value.
        value: String,
        /// Its range in words.
        expected: &'static str,
    },
}

/// Most tokens of an answer that are read in its turn as a decoding sequence; more are read as a prompt is.
const FORCED_AT_ONCE: usize = 32;

/// A sequence that was taken: waiting (no pages) or running.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: SequenceId,
    /// The prompt, then what was generated.
    pub(crate) tokens: Vec<u32>,
    pub(crate) prompt_len: usize,
    /// Most tokens to generate, resolved against the context.
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Sampling,
    pub(crate) stop_ids: Vec<u32>,
    pub(crate) top_logprobs: Option<usize>,
    pub(crate) prompt_scores: PromptScores,
    pub(crate) constraint: Option<Held<dyn Constraint>>,
    pub(crate) walk: Option<Held<dyn Walk>>,
    pub(crate) adapter: Option<AdapterId>,
    /// Its pages from position 0 on: none while waiting; while running, what it computed and what its turn computes.
    pub(crate) pages: Vec<u32>,
    /// So many of them, the first, are the prefix cache's and only read; the others are its own.
    pub(crate) shared: usize,
    /// Positions whose keys and values are in the pages.
    pub(crate) computed: usize,
    /// The first position of the prompt whose row is still to be reported; what is read again is not reported again.
    pub(crate) scored: usize,
    /// Which RoPE frequencies its keys were made with.
    pub(crate) regime: RopeRegime,
    /// The step in which it last had a turn.
    pub(crate) last_step: u64,
    /// Whether it lost its pages: what it finds in the prefix cache from then on it may have computed itself.
    pub(crate) is_read_again: bool,
    /// Whether it ever ran.
    pub(crate) has_run: bool,
    pub(crate) cancelled: bool,
    /// The tokens guessed to follow, while the step that tries them is under way.
    pub(crate) draft: Vec<u32>,
    pub(crate) pace: Pace,
    pub(crate) counts: Counts,
}

/// A part of a request that has nothing to show of itself.
pub(crate) struct Held<T: ?Sized>(pub(crate) Box<T>);

impl<T: ?Sized> Debug for Held<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Held")
    }
}

impl Sequence {
    /// A sequence that waits. `room` is what the context leaves for its answer.
    pub(crate) fn new(id: SequenceId, request: SequenceRequest, room: usize, regime: RopeRegime) -> Sequence {
        Sequence {
            id,
            prompt_len: request.prompt.len(),
            max_tokens: request.max_tokens.unwrap_or(room).min(room),
            sampling: request.sampling,
            stop_ids: request.stop_ids,
            top_logprobs: request.top_logprobs,
            prompt_scores: request.prompt_scores,
            constraint: request.constraint.map(Held),
            walk: request.walk.map(Held),
            adapter: request.adapter,
            pages: Vec::new(),
            shared: 0,
            computed: 0,
            scored: request.prompt_scores.first_row().unwrap_or(0),
            regime,
            last_step: 0,
            is_read_again: false,
            has_run: false,
            cancelled: false,
            draft: Vec::new(),
            pace: Pace::default(),
            counts: Counts::default(),
            tokens: request.prompt,
        }
    }

    /// Tokens that are known but not yet computed; 1 while decoding.
    pub(crate) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Whether its turn continues its answer: one token, or those that its constraint forced or its walk reads.
    pub(crate) fn is_decoding(&self) -> bool {
        match self.pending() {
            1 => true,
            pending => pending <= FORCED_AT_ONCE && pending <= self.generated().len(),
        }
    }

    /// Tokens generated so far.
    pub(crate) fn generated(&self) -> &[u32] {
        &self.tokens[self.prompt_len..]
    }

    /// Positions that it may come to use. The last token that is generated is never read, so it takes none.
    pub(crate) fn positions(&self) -> usize {
        self.prompt_len + self.max_tokens.saturating_sub(1)
    }

    /// Whether rows of the prompt are still to be reported.
    pub(crate) fn is_scoring(&self) -> bool {
        self.prompt_scores != PromptScores::None && self.scored < self.prompt_len
    }

    /// What its keys and values follow from beside its tokens.
    pub(crate) fn kind(&self) -> Kind {
        Kind { regime: self.regime, adapter: self.adapter }
    }

    /// Positions, from the first on, that others may compute for it: all but the last known one, whose row it needs, and
    /// all before the first row that it still has to report. What a walk may come back to is its own to overwrite.
    pub(crate) fn may_skip(&self) -> usize {
        let most = if self.walk.is_some() { self.prompt_len } else { usize::MAX };
        let known = (self.tokens.len() - 1).min(most);
        if self.is_scoring() { known.min(self.scored) } else { known }
    }

    /// Positions, from the first on, that it computes for others too. A long text that is scored once would push out what is
    /// asked again, and what follows the prompt of a walk will be overwritten.
    pub(crate) fn publishable(&self) -> usize {
        let most = if self.walk.is_some() { self.prompt_len } else { usize::MAX };
        self.prompt_scores.first_row().unwrap_or(usize::MAX).min(most)
    }

    /// Notes that it has no pages any more, and so has everything to compute again.
    pub(crate) fn forget_pages(&mut self) {
        self.pages.clear();
        self.draft.clear();
        (self.shared, self.computed) = (0, 0);
    }
}
