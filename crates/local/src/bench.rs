//! How fast a model is: prompts and answers of set lengths, timed.
//!
//! It goes past the scheduler and the sampler: the same batches in every run, nothing but the model's passes inside the
//! clock. Read next: `forecast`, which says how fast it should be.

use crate::LocalModel;
use crate::memory::{STEP_LOGIT_ROWS, STEP_TOKENS};
use crate::worker::Decoder;
use chat::{ChatError, ChatModel};
use futures::channel::oneshot;
use kernels::PAGE_LEN;
use model::{AdapterId, Batch, LogitRows, RopeRegime, Segment};
use serde::Serialize;
use std::time::{Duration, Instant};

/// What to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BenchRequest {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens to generate after it.
    pub generate: usize,
    /// Sequences side by side, at most [`BenchRequest::MOST_SEQUENCES`].
    pub batch: usize,
    /// Tokens that are in memory before the prompt, read outside the clock.
    pub depth: usize,
}

impl BenchRequest {
    /// More have no row for their logits in a step.
    pub const MOST_SEQUENCES: usize = STEP_LOGIT_ROWS;
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchSample {
    /// Reading `batch * prompt` tokens.
    pub prompt: Duration,
    /// Making `batch * generate` tokens.
    pub generation: Duration,
}

/// What one token takes at the least, whatever the engine: counted, not measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TokenCost {
    /// A multiplication and an addition for each weight that the token meets.
    pub operations: f64,
    /// Bytes of weights, keys and values.
    pub bytes: f64,
}

impl LocalModel {
    /// What a token of the prompts costs. Weights are read once for as many tokens as the engine takes in a step. The head,
    /// which reads the last token alone, is no operation here, and neither are the scores of attention.
    pub fn prompt_cost(&self, request: BenchRequest) -> TokenCost {
        let cost = self.pass_cost();
        let (tokens, steps) = (request.prompt as f64, request.prompt.div_ceil(STEP_TOKENS) as f64);
        TokenCost {
            operations: 2.0 * cost.layer_weights as f64,
            bytes: (steps * cost.layer_bytes as f64 + cost.head_bytes as f64) / tokens,
        }
    }

    /// What a generated token costs, on the average over their positions. The sequences of a batch share the reading of
    /// the weights; each has keys and values of its own.
    pub fn generation_cost(&self, request: BenchRequest) -> TokenCost {
        let cost = self.pass_cost();
        let first = request.depth.saturating_add(request.prompt);
        let kv: u64 = (first..first.saturating_add(request.generate)).map(|position| cost.kv_bytes_at(position)).sum();
        let weights = (cost.layer_bytes + cost.head_bytes) as f64;
        TokenCost {
            operations: 2.0 * (cost.layer_weights + cost.head_weights) as f64,
            bytes: weights / request.batch as f64 + kv as f64 / request.generate as f64,
        }
    }

    /// Times one run.
    ///
    /// # Errors
    /// [`ChatError::InvalidRequest`] for more than the loaded context or memory holds, with both numbers: load with the
    /// context and for the sequences ([`crate::LoadOptions::sequences`]) of the run;
    /// [`ChatError::Unavailable`] while the model answers somebody.
    pub async fn bench(&self, request: BenchRequest) -> Result<BenchSample, ChatError> {
        // What is too much to count is too much in any case.
        let len = request.depth.saturating_add(request.prompt).saturating_add(request.generate);
        let context = self.info().context;
        let held = self.engine_config().pages * PAGE_LEN;
        let needed = request.batch.saturating_mul(len.div_ceil(PAGE_LEN).saturating_mul(PAGE_LEN));
        if request.batch == 0 || request.batch > STEP_LOGIT_ROWS || len == 0 || len > context || needed > held {
            return Err(ChatError::InvalidRequest(format!(
                "{} sequences of {len} tokens do not fit: expected 1 to {STEP_LOGIT_ROWS} sequences of 1 to {context} \
                 tokens, {held} together\nhint: ask for fewer sequences or tokens, or load the model for more",
                request.batch
            )));
        }
        let (reply, outcome) = oneshot::channel();
        let run = Run {
            request,
            vocabulary: self.info().vocabulary,
            long_rope_after: self.engine_config().long_rope_after,
            adapter: self.adapter_id(),
        };
        self.lend(Box::new(move |decoder| {
            let sample = decoder.map(|decoder| run.time(decoder));
            // Whoever asked may have gone.
            let _ = reply.send(sample);
        }))?;
        let gone = ChatError::Internal("the run did not end".to_owned());
        let busy = "the model is answering somebody\nhint: run the bench when nothing else runs";
        outcome.await.map_err(|_| gone)?.ok_or_else(|| ChatError::Unavailable(busy.to_owned()))
    }
}

/// A run to be made.
struct Run {
    request: BenchRequest,
    vocabulary: usize,
    long_rope_after: Option<usize>,
    adapter: Option<AdapterId>,
}

impl Run {
    fn time(&self, decoder: &mut dyn Decoder) -> BenchSample {
        let BenchRequest { prompt, generate, depth, .. } = self.request;
        self.read(decoder, 0, depth);
        let began = Instant::now();
        self.read(decoder, depth, depth + prompt);
        let prompt_time = began.elapsed();
        let began = Instant::now();
        for position in depth + prompt..depth + prompt + generate {
            decoder.forward(&self.batch(0..self.request.batch, position, position + 1, LogitRows::Last));
        }
        BenchSample { prompt: prompt_time, generation: began.elapsed() }
    }

    /// Reads the positions `from..to` of every sequence, in pieces as the engine would make them.
    fn read(&self, decoder: &mut dyn Decoder, from: usize, to: usize) {
        for sequence in 0..self.request.batch {
            let mut position = from;
            while position < to {
                let end = to.min(position + STEP_TOKENS);
                let rows = if end == to { LogitRows::Last } else { LogitRows::None };
                decoder.forward(&self.batch(sequence..sequence + 1, position, end, rows));
                position = end;
            }
        }
    }

    fn batch(&self, sequences: std::ops::Range<usize>, from: usize, to: usize, rows: LogitRows) -> Batch {
        let whole = self.request.depth + self.request.prompt + self.request.generate;
        let pages = whole.div_ceil(PAGE_LEN);
        let regime = match self.long_rope_after {
            Some(original) if whole > original => RopeRegime::Long,
            _ => RopeRegime::Short,
        };
        let mut batch = Batch::default();
        for sequence in sequences {
            // Any tokens do; these visit the vocabulary without a pattern that a cache could learn.
            let token = |position: usize| ((position * 7919 + sequence * 104_729) % self.vocabulary) as u32;
            batch.tokens.extend((from..to).map(token));
            batch.segments.push(Segment {
                position: from,
                len: to - from,
                pages: (sequence * pages..(sequence + 1) * pages).map(|page| page as u32).collect(),
                regime,
                logits: rows,
                adapter: self.adapter,
            });
        }
        batch
    }
}
