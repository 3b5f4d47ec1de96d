//! The fields of a completion's request.

use crate::api::format::AskedFormat;
use crate::api::ignored::{Ignored, warnings};
use crate::api::keep_alive::keep_alive;
use crate::api::openai::fields::{Choosing, StreamOptions, seed_of};
use crate::api::openai::format::{FormatFields, ResponseFormat, StructuredOutputs};
use crate::api::openai::inputs::Inputs;
use crate::api::openai::one_or_many::OneOrMany;
use crate::failure::Failure;
use chat::{CompletionRequest, GenerationOptions, KeepAlive, Prompt};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Most answers to one request, over all its prompts.
const MOST_CHOICES: usize = 256;

/// Most alternatives a token (the reference's bound).
const MOST_LOGPROBS: usize = 5;

/// Tokens to generate where a request does not say (the reference's default).
const DEFAULT_MAX_TOKENS: usize = 16;

/// Text to go on from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompletionFields {
    /// The model to ask.
    model: String,
    /// A text, token ids, or a list of either. Choices are numbered prompt by prompt.
    prompt: Inputs,
    /// What is to follow the completion, for models that fill in the middle.
    suffix: Option<String>,
    /// Most tokens to generate, 16 where absent; 0 with `echo` only reads the prompt.
    max_tokens: Option<usize>,
    /// 0 always takes the likeliest token.
    temperature: Option<f32>,
    top_p: Option<f32>,
    /// Extension: keep the k likeliest tokens.
    top_k: Option<usize>,
    /// Extension: keep tokens at least this fraction as likely as the likeliest.
    min_p: Option<f32>,
    /// Extension: divide the logits of recent tokens by this.
    #[serde(alias = "repetition_penalty")]
    repeat_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    /// How many answers to each prompt.
    n: Option<usize>,
    /// Only the same as `n`: nothing is generated to be thrown away.
    best_of: Option<usize>,
    seed: Option<i64>,
    /// Texts that end the answer and are not part of it.
    stop: Option<OneOrMany<String>>,
    /// Added to the logits of tokens, by id.
    logit_bias: Option<BTreeMap<String, f32>>,
    /// Report log-probabilities, with so many of the likeliest tokens at each place, 0 to 5.
    logprobs: Option<usize>,
    /// Begin each choice with its prompt, whose log-probabilities are reported too.
    echo: Option<bool>,
    /// What each completion must be; it is held to that while it is written.
    response_format: Option<ResponseFormat>,
    /// Extension, as vLLM has it: the same, and more kinds of it.
    structured_outputs: Option<StructuredOutputs>,
    /// Extension, as vLLM had it: a JSON Schema.
    #[schema(value_type = Option<Value>)]
    guided_json: Option<Value>,
    /// Extension: a regular expression that the whole completion matches.
    guided_regex: Option<String>,
    /// Extension: the completion is one of these texts.
    guided_choice: Option<Vec<String>>,
    /// Extension: a grammar in Lark's notation, or in GBNF.
    guided_grammar: Option<String>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// Extension: how long the model stays in memory, in seconds or as `5m`.
    #[schema(value_type = Option<Value>)]
    keep_alive: Option<Value>,
    #[schema(value_type = Option<Value>)]
    #[serde(default)]
    user: Ignored,
}

/// What a request asks, checked.
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) prompts: Vec<Prompt>,
    /// Answers to each prompt.
    pub(super) choices: usize,
    pub(super) echo: bool,
    /// Alternatives to report.
    pub(super) logprobs: Option<usize>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) warnings: Vec<String>,
    pub(super) format: Option<AskedFormat>,
    suffix: Option<String>,
    options: GenerationOptions,
}

impl Asked {
    /// Checks every field.
    pub(super) fn of(request: CompletionFields) -> Result<Asked, Failure> {
        let prompts = request.prompt.prompts("prompt", MOST_CHOICES)?;
        let choices = request.n.unwrap_or(1);
        let most = MOST_CHOICES / prompts.len();
        if !(1..=most).contains(&choices) {
            return Err(Failure::field(
                "n",
                format!("n: expected 1 to {most} for {} prompts, got {choices}", prompts.len()),
            ));
        }
        if let Some(best) = request.best_of.filter(|best| *best != choices) {
            return Err(Failure::field("best_of", format!("best_of: expected the same as n ({choices}), got {best}")));
        }
        if let Some(count) = request.logprobs.filter(|count| *count > MOST_LOGPROBS) {
            return Err(Failure::field("logprobs", format!("logprobs: expected 0 to {MOST_LOGPROBS}, got {count}")));
        }
        let format = FormatFields {
            response_format: request.response_format,
            structured_outputs: request.structured_outputs,
            guided_json: request.guided_json,
            guided_regex: request.guided_regex,
            guided_choice: request.guided_choice,
            guided_grammar: request.guided_grammar,
        }
        .asked()?;
        let echo = request.echo.unwrap_or(false);
        let max_tokens = request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
        if max_tokens == 0 && !echo {
            return Err(Failure::field("max_tokens", "max_tokens: expected 1 or more unless echo is true, got 0"));
        }
        let stream = request.stream.unwrap_or(false);
        let include_usage = StreamOptions::include_usage(request.stream_options, stream)?;
        let options = GenerationOptions {
            max_tokens: Some(max_tokens),
            top_logprobs: request.logprobs,
            ..Choosing {
                temperature: request.temperature,
                top_p: request.top_p,
                top_k: request.top_k,
                min_p: request.min_p,
                repeat_penalty: request.repeat_penalty,
                presence_penalty: request.presence_penalty,
                frequency_penalty: request.frequency_penalty,
                seed: request.seed,
                stop: request.stop,
                logit_bias: request.logit_bias,
            }
            .options()?
        };
        Ok(Asked {
            model: request.model,
            keep_alive: keep_alive(request.keep_alive.as_ref())?,
            prompts,
            choices,
            echo,
            logprobs: request.logprobs,
            stream,
            include_usage,
            warnings: warnings(&[("user", &request.user)]),
            format,
            suffix: request.suffix,
            options,
        })
    }

    /// The request for one of the choices.
    pub(super) fn choice(&self, choice: usize) -> CompletionRequest {
        let seed = seed_of(self.options.seed, choice % self.choices);
        CompletionRequest {
            prompt: self.prompts[self.prompt_of(choice)].clone(),
            suffix: self.suffix.clone(),
            prompt_logprobs: self.logprobs.filter(|_| self.echo),
            format: self.format.as_ref().map(|asked| asked.format.clone()),
            options: GenerationOptions { seed, ..self.options.clone() },
        }
    }

    /// Which prompt a choice answers.
    pub(super) fn prompt_of(&self, choice: usize) -> usize {
        choice / self.choices
    }
}
