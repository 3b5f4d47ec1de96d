//! An encoder of this machine: texts to vectors of length 1, or pairs of texts to how well they belong together.
//!
//! A text becomes token ids on the thread that asks, and is computed on the encoder's own; see `encoder_worker.rs`. Nothing
//! is kept from one text to the next, so nothing is allocated for it either. Read next: `encoder_worker`.

use crate::encoder_worker::{Counters, EncoderText, Job, start};
use crate::loading::{ModelSource, NoTokenizer, parameter_count, quantization_of, tokenizer_of, unloadable};
use crate::local_model::{Admit, text_ids};
use crate::memory::{MemoryPlan, STEP_TOKENS};
use crate::options::LoadOptions;
use chat::{
    Activity, Capabilities, ChatError, ChatFuture, ChatModel, ChatRequest, ChatStream, EmbedRequest, EmbedResponse,
    ModelInfo, Prompt, RelevanceRequest, RelevanceResponse,
};
use formats::Checkpoint;
use futures::channel::oneshot;
use kernels::Runtime;
use model::{Encoder, EncoderSpec, EncoderWorkspace, Outcome};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tokenizer::Tokenizer;

/// Whether what lies at a path is an encoder, which [`load_encoder`] loads, and not a decoder. Only descriptions are read.
///
/// # Errors
/// When nothing that is a model can be read there.
pub fn is_encoder(path: &Path) -> Result<bool, ChatError> {
    let name = path.display().to_string();
    let checkpoint = Checkpoint::open(path).map_err(|error| unloadable(&name)(&error))?;
    Ok(model::is_encoder(&checkpoint))
}

/// What can be known of an encoder from its files alone.
#[derive(Debug, Clone)]
pub struct EncoderDescription {
    /// What is known of every model.
    pub info: ModelInfo,
    /// What it is made of.
    pub spec: EncoderSpec,
}

/// What can be known of an encoder without taking memory for it: the answer to `show`.
///
/// # Errors
/// As [`load_encoder`], but for memory.
pub fn describe_encoder(source: &ModelSource, options: &LoadOptions) -> Result<EncoderDescription, ChatError> {
    let parts = Parts::open(source, options)?;
    Ok(EncoderDescription { spec: parts.encoder.spec().clone(), info: parts.info })
}

/// Loads an encoder and starts its thread. Whether it fits into memory is told before memory is taken.
///
/// Of the options, `context` cuts what it reads of a text shorter than it could; one that is larger is no error, as a
/// process has one for all its models.
///
/// # Errors
/// [`ChatError::Unloadable`] for a file that cannot be used or does not fit.
pub fn load_encoder(
    source: &ModelSource,
    options: &LoadOptions,
    runtime: Arc<Runtime>,
) -> Result<EncoderModel, ChatError> {
    load_encoder_when(source, options, runtime, &mut |_, check| check())
}

/// As [`load_encoder`], once `admit` lets it take its memory.
pub(crate) fn load_encoder_when(
    source: &ModelSource,
    options: &LoadOptions,
    runtime: Arc<Runtime>,
    admit: &mut Admit<'_>,
) -> Result<EncoderModel, ChatError> {
    let Parts { mut encoder, tokenizer, info } = Parts::open(source, options)?;
    let spec = encoder.spec().clone();
    let memory = plan(&spec, &info, runtime.threads());
    let advice = format!("a smaller --context than {}", info.context);
    admit(&memory, &|| memory.check(&source.name, options, &advice))?;
    encoder.interleave(&runtime).map_err(|error| unloadable(&source.name)(&error))?;
    let counters = Arc::new(Counters::default());
    let jobs = start(encoder, runtime, Arc::clone(&counters))?;
    Ok(EncoderModel { info, tokenizer, spec, memory, counters, jobs })
}

/// The parts of an encoder.
struct Parts {
    encoder: Encoder,
    tokenizer: Tokenizer,
    info: ModelInfo,
}

impl Parts {
    fn open(source: &ModelSource, options: &LoadOptions) -> Result<Parts, ChatError> {
        let refuse = unloadable(&source.name);
        let checkpoint = Checkpoint::open(&source.path).map_err(|error| refuse(&error))?;
        let encoder = Encoder::load(&checkpoint).map_err(|error| refuse(&error))?;
        let tokenizer = tokenizer_of(&checkpoint)
            .map_err(|(NoTokenizer::Absent(reason) | NoTokenizer::Unusable(reason))| refuse(&reason))?;
        let spec = encoder.spec();
        if tokenizer.vocabulary_len() > spec.vocabulary {
            let (tokens, rows) = (tokenizer.vocabulary_len(), spec.vocabulary);
            return Err(refuse(&format!(
                "its tokenizer: expected at most {rows} tokens, as the table of tokens has rows, got {tokens}\n\
                 hint: tokenizer and weights do not belong together"
            )));
        }
        let is_judge = matches!(spec.outcome, Outcome::Score { .. });
        if is_judge && (tokenizer.between_pair().is_none() || spec.token_types < 2) {
            return Err(refuse(
                &"expected a tokenizer of pairs and two kinds of token, for it judges pairs of texts, got neither or one",
            ));
        }
        let context = options.context.map_or(spec.context, |context| context.min(spec.context));
        let ends = tokenizer.ends();
        if context <= ends.0.len() + ends.1.len() {
            return Err(ChatError::InvalidRequest(format!(
                "context {context} is too small for {}: expected more than the tokens around every text, got no more\n\
                 hint: choose a larger --context, or none",
                source.name
            )));
        }
        let info = ModelInfo {
            name: source.name.clone(),
            family: spec.family.to_owned(),
            parameters: parameter_count(checkpoint.tensors()),
            weight_bytes: encoder.weight_bytes(),
            quantization: quantization_of(&checkpoint),
            context,
            maximum_context: spec.context,
            vocabulary: spec.vocabulary,
            capabilities: Capabilities { embed: !is_judge, relevance: is_judge, ..Capabilities::default() },
        };
        Ok(Parts { encoder, tokenizer, info })
    }
}

/// What an encoder takes: its weights, and the buffers of the largest batch, which is one long text or several short ones.
fn plan(spec: &EncoderSpec, info: &ModelInfo, threads: usize) -> MemoryPlan {
    let rows = STEP_TOKENS.max(info.context);
    // Scores of 32 queries, and the widest input rounded to eight bits; see `kernels`.
    let scores = 4 * 32 * (info.context.next_multiple_of(64) * threads) as u64;
    let rounded = 2 * (rows * spec.width.max(spec.feed_forward)) as u64;
    let workspace = EncoderWorkspace::bytes(spec.width, spec.feed_forward, rows) + scores + rounded;
    MemoryPlan { weights: info.weight_bytes, kv: 0, workspace }
}

/// A loaded encoder. Dropping it ends its thread and frees its memory once what was asked of it is done.
pub struct EncoderModel {
    info: ModelInfo,
    tokenizer: Tokenizer,
    spec: EncoderSpec,
    memory: MemoryPlan,
    counters: Arc<Counters>,
    jobs: Sender<Job>,
}

/// A text as the encoder reads it, and whether something of it was cut off.
struct Read {
    text: EncoderText,
    is_cut: bool,
}

impl EncoderModel {
    /// What it takes of memory.
    pub fn memory(&self) -> MemoryPlan {
        self.memory
    }

    /// Tells, also when it is gone, whether its memory is still taken: by its thread, until what was asked of it is done.
    pub(crate) fn is_taken(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let counters = Arc::downgrade(&self.counters);
        move || counters.strong_count() > 0
    }

    /// What it is made of.
    pub fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        text_ids(&self.info.name, &self.tokenizer, text)
    }

    fn too_long(&self, tokens: usize) -> ChatError {
        let (context, maximum_context) = (self.info.context, self.info.maximum_context);
        ChatError::ContextTooLong { prompt_tokens: tokens, context, maximum_context }
    }

    /// A text with its ends, or ids as they are.
    fn read(&self, input: Prompt, truncate: bool) -> Result<Read, ChatError> {
        let (before, body, behind) = match input {
            Prompt::Text(text) => {
                let (before, behind) = self.tokenizer.ends();
                (before, self.ids(&text)?, behind)
            }
            Prompt::Ids(ids) => {
                self.check_ids(&ids)?;
                (&[][..], ids, &[][..])
            }
        };
        let tokens = before.len() + body.len() + behind.len();
        let is_cut = tokens > self.info.context;
        if is_cut && !truncate {
            return Err(self.too_long(tokens));
        }
        let kept = body.len().min(self.info.context - before.len() - behind.len());
        let tokens = [before, &body[..kept], behind].concat();
        let token_types = vec![0; tokens.len()];
        Ok(Read { text: EncoderText { tokens, token_types }, is_cut })
    }

    fn check_ids(&self, ids: &[u32]) -> Result<(), ChatError> {
        if ids.is_empty() {
            return Err(ChatError::InvalidRequest("expected at least one token id, got none".to_owned()));
        }
        match ids.iter().find(|id| **id as usize >= self.info.vocabulary) {
            None => Ok(()),
            Some(id) => Err(ChatError::InvalidRequest(format!(
                "expected token ids below {}, got {id}\nhint: ids of another model's tokenizer mean nothing to this one",
                self.info.vocabulary
            ))),
        }
    }

    /// A query and a document, of which only the document is cut.
    fn read_pair(&self, query: &[u32], document: &str, truncate: bool) -> Result<Read, ChatError> {
        let (before, behind) = self.tokenizer.ends();
        let between = self.tokenizer.between_pair().unwrap_or_default();
        let document = self.ids(document)?;
        let first = [before, query, between].concat();
        let tokens = first.len() + document.len() + behind.len();
        let room = self.info.context.checked_sub(first.len() + behind.len()).filter(|room| *room > 0);
        let is_cut = tokens > self.info.context;
        let kept = match room {
            Some(room) if truncate || !is_cut => document.len().min(room),
            _ => return Err(self.too_long(tokens)),
        };
        let second = [&document[..kept], behind].concat();
        let token_types = [vec![0; first.len()], vec![1; second.len()]].concat();
        Ok(Read { text: EncoderText { tokens: [first, second].concat(), token_types }, is_cut })
    }

    /// Has texts computed; the rows of the response are in their order.
    async fn compute(&self, texts: Vec<EncoderText>) -> Result<Vec<Vec<f32>>, ChatError> {
        let gone = || ChatError::Internal("the encoder's thread has ended".to_owned());
        let (reply, outcome) = oneshot::channel();
        self.counters.asked();
        self.jobs.send(Job::new(texts, reply)).map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    fn check_dimensions(&self, dimensions: Option<usize>) -> Result<usize, ChatError> {
        let width = self.spec.width;
        match dimensions {
            None => Ok(width),
            Some(wanted) if (1..=width).contains(&wanted) => Ok(wanted),
            Some(wanted) => Err(ChatError::InvalidRequest(format!(
                "dimensions: expected 1 to {width}, the components that {} has, got {wanted}",
                self.info.name
            ))),
        }
    }

    fn unsupported(&self, what: &'static str) -> ChatError {
        ChatError::Unsupported { model: self.info.name.clone(), what }
    }

    async fn embed_all(&self, request: EmbedRequest) -> Result<EmbedResponse, ChatError> {
        if !self.info.capabilities.embed {
            return Err(self.unsupported("embeddings"));
        }
        let dimensions = self.check_dimensions(request.dimensions)?;
        if request.inputs.is_empty() {
            return Err(ChatError::InvalidRequest("expected at least one text, got none".to_owned()));
        }
        let reads = request.inputs.into_iter().map(|input| self.read(input, request.truncate));
        let (texts, truncated, prompt_tokens) = gather(reads)?;
        let mut vectors = self.compute(texts).await?;
        for vector in &mut vectors {
            vector.truncate(dimensions);
            normalize(vector).map_err(|what| self.bad(what))?;
        }
        Ok(EmbedResponse { vectors, prompt_tokens, truncated })
    }

    async fn judge_all(&self, request: RelevanceRequest) -> Result<RelevanceResponse, ChatError> {
        if !self.info.capabilities.relevance {
            return Err(self.unsupported("judging documents together with a query"));
        }
        if request.documents.is_empty() {
            return Err(ChatError::InvalidRequest("expected at least one document, got none".to_owned()));
        }
        let query = self.ids(&request.query)?;
        let reads = request.documents.iter().map(|document| self.read_pair(&query, document, request.truncate));
        let (texts, truncated, prompt_tokens) = gather(reads)?;
        let rows = self.compute(texts).await?;
        let score = |row: &Vec<f32>| match row.first() {
            Some(score) if score.is_finite() => Ok(logistic(*score)),
            _ => Err(self.bad("a score that is no number")),
        };
        Ok(RelevanceResponse { scores: rows.iter().map(score).collect::<Result<_, _>>()?, prompt_tokens, truncated })
    }

    fn bad(&self, what: &str) -> ChatError {
        ChatError::BadOutput(format!(
            "{} computed {what}\nhint: its weights are damaged, or it is quantized too coarsely",
            self.info.name
        ))
    }
}

/// Texts, which of them were cut, and how many tokens they have.
fn gather(
    reads: impl Iterator<Item = Result<Read, ChatError>>,
) -> Result<(Vec<EncoderText>, Vec<usize>, usize), ChatError> {
    let (mut texts, mut truncated, mut tokens) = (Vec::new(), Vec::new(), 0);
    for (index, read) in reads.enumerate() {
        let read = read?;
        tokens += read.text.tokens.len();
        truncated.extend(read.is_cut.then_some(index));
        texts.push(read.text);
    }
    Ok((texts, truncated, tokens))
}

/// Makes a vector's length 1.
fn normalize(vector: &mut [f32]) -> Result<(), &'static str> {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() {
        return Err("a vector with components that are no numbers");
    }
    if length == 0.0 {
        return Err("a vector of zeros, which has no direction");
    }
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    Ok(())
}

/// 1 / (1 + e^-x): scores as whoever trains cross-encoders reads them, between 0 and 1.
fn logistic(x: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(x)).exp())) as f32
}

impl ChatModel for EncoderModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn activity(&self) -> Activity {
        self.counters.activity()
    }

    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
        drop(request);
        Box::pin(std::future::ready(Err(self.unsupported("chat"))))
    }

    fn embed(&self, request: EmbedRequest) -> ChatFuture<'_, EmbedResponse> {
        Box::pin(self.embed_all(request))
    }

    fn relevance(&self, request: RelevanceRequest) -> ChatFuture<'_, RelevanceResponse> {
        Box::pin(self.judge_all(request))
    }
}
