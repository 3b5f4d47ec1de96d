//! Collects the log-probabilities of a given text: those of its tokens as one answer, those of the whole vocabulary a
//! piece at a time.
//!
//! The log-probabilities of the vocabulary at every position are `T x V` numbers, more than memory holds for a long text.
//! So they are computed when they are asked for:
//!
//! ```text
//! reader:          ask ----> wait for the piece ----> use it ----> ask ...
//! engine's thread: wait ---> one step, one piece --> wait -------> one step ...
//! ```
//!
//! The steps are those of an engine of its own, made like the thread's, with the decoder lent for the whole text; so the
//! numbers are the same as in any other answer. Read next: `local_model`, which asks for them.

use crate::LocalModel;
use crate::answer::broken;
use crate::memory::{STEP_LOGIT_ROWS, STEP_TOKENS};
use crate::worker::{Decoder, Listener, Next};
use chat::{ChatError, Prompt};
use engine::{Budget, Counts, Engine, EngineEvent, FinishReason, PromptScores};
use futures::channel::oneshot;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

/// Listens to the scoring of one text.
pub(crate) struct Scoring {
    /// Of each token that was asked for.
    logprobs: Vec<f32>,
    progress: ScoreProgress,
    reply: Option<oneshot::Sender<Result<Vec<f32>, ChatError>>>,
}

/// Told how many positions more were scored, on the engine's thread: it must not wait.
pub type ScoreProgress = Box<dyn FnMut(usize) + Send>;

impl Scoring {
    /// The reply gets the log-probability of each token that was asked for, in order.
    pub(crate) fn new(progress: ScoreProgress, reply: oneshot::Sender<Result<Vec<f32>, ChatError>>) -> Scoring {
        Scoring { logprobs: Vec::new(), progress, reply: Some(reply) }
    }
}

impl Listener for Scoring {
    fn started(&mut self, _: Instant) {}

    fn token(&mut self, _: u32, _: Option<f32>, _: &[engine::TokenLogprob]) -> Next {
        Next::GoOn
    }

    fn reading(&mut self, _: usize, _: usize) {}

    fn scored(&mut self, logprobs: &[engine::TokenLogprob], _: &[Vec<engine::TokenLogprob>]) {
        (self.progress)(logprobs.len());
        self.logprobs.extend(logprobs.iter().map(|one| one.logprob));
    }

    fn finished(&mut self, end: Result<FinishReason, ChatError>, _: Counts) {
        let outcome = match end {
            Ok(FinishReason::Length | FinishReason::Stop(_)) => Ok(std::mem::take(&mut self.logprobs)),
            Ok(reason) => Err(broken(&reason)),
            Err(error) => Err(error),
        };
        if let Some(reply) = self.reply.take() {
            // Whoever asked may have gone in this very moment.
            let _ = reply.send(outcome);
        }
    }

    fn is_gone(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_canceled)
    }
}

/// Some positions of a text, scored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScoredPiece {
    /// The first position.
    pub first_position: usize,
    /// Log-probabilities of the tokens after these positions; the last position of a text has none after it.
    pub logprobs: Vec<f32>,
    /// `[positions, V]` log-probabilities of what may come after each position.
    pub distributions: Vec<f32>,
}

/// A text that is scored while it is iterated over. Dropping it leaves the rest out.
pub struct ScoredPieces {
    ids: Vec<u32>,
    ask: Sender<()>,
    /// `None` is the end.
    pieces: Receiver<Result<Option<ScoredPiece>, ChatError>>,
    is_over: bool,
}

impl ScoredPieces {
    /// The token ids of the text.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Bytes that a piece takes at most, at a vocabulary of so many tokens.
    pub fn piece_bytes(vocabulary: usize) -> u64 {
        (STEP_LOGIT_ROWS as u64 * 4).saturating_mul(vocabulary as u64)
    }
}

impl Iterator for ScoredPieces {
    type Item = Result<ScoredPiece, ChatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        // A thread that has ended may have left a last word, so the answer is awaited either way.
        let _ = self.ask.send(());
        let gone = || Err(ChatError::Internal("the scoring of a text broke off".to_owned()));
        let told = self.pieces.recv().unwrap_or_else(|_| gone()).transpose();
        self.is_over = !matches!(told, Some(Ok(_)));
        told
    }
}

impl LocalModel {
    /// Scores a text piece by piece, with the log-probabilities of the whole vocabulary. Nothing is computed before it is
    /// asked for, and one piece is in memory at a time. Until the last one, all others who ask this model wait.
    ///
    /// # Errors
    /// As scoring; [`ChatError::Unavailable`] comes as the first piece while the model answers somebody.
    pub fn score_pieces(&self, input: Prompt) -> Result<ScoredPieces, ChatError> {
        let ids = self.prompt_ids(input)?;
        let mut engine = self.engine_beside();
        let mut request = Self::score_request(ids.clone(), PromptScores::Distributions);
        request.adapter = self.adapter_id();
        engine.submit(request).map_err(|refused| self.refusal(refused))?;
        let (ask, asked) = channel();
        let (reply, pieces) = channel();
        self.lend(Box::new(move |decoder| {
            let Some(decoder) = decoder else {
                let busy = "the model is answering somebody\nhint: compare models when nothing else runs";
                // Whoever asked may have gone.
                let _ = reply.send(Err(ChatError::Unavailable(busy.to_owned())));
                return;
            };
            while asked.recv().is_ok() {
                let piece = next_piece(&mut engine, decoder);
                let goes_on = matches!(piece, Ok(Some(_)));
                if reply.send(piece).is_err() || !goes_on {
                    return;
                }
            }
        }))?;
        Ok(ScoredPieces { ids, ask, pieces, is_over: false })
    }
}

/// The next piece of the one text of an engine; `None` after the last.
fn next_piece(engine: &mut Engine, decoder: &mut dyn Decoder) -> Result<Option<ScoredPiece>, ChatError> {
    let mut events = Vec::new();
    while let Some(batch) = engine.begin(Budget::of(STEP_TOKENS)) {
        engine.finish(decoder.forward(&batch), &mut events);
        let mut piece = None;
        for event in events.drain(..) {
            match event {
                EngineEvent::PromptLogprobs { first_position, logprobs, distributions, .. } => {
                    let logprobs = logprobs.iter().map(|one| one.logprob).collect();
                    piece = Some(ScoredPiece { first_position, logprobs, distributions });
                }
                EngineEvent::Token { .. }
                | EngineEvent::Reading { .. }
                | EngineEvent::Finished { reason: FinishReason::Length, .. } => {}
                EngineEvent::Finished { reason, .. } => return Err(broken(&reason)),
            }
        }
        if piece.is_some() {
            return Ok(piece);
        }
    }
    Ok(None)
}
