//! Fields that several endpoints have: how to generate.

use super::one_or_many::OneOrMany;
use crate::failure::Failure;
use chat::GenerationOptions;
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What requests of both kinds of completion say about choosing tokens.
#[derive(Debug, Default)]
pub(super) struct Choosing {
    pub(super) temperature: Option<f32>,
    pub(super) top_p: Option<f32>,
    pub(super) top_k: Option<usize>,
    pub(super) min_p: Option<f32>,
    pub(super) repeat_penalty: Option<f32>,
    pub(super) presence_penalty: Option<f32>,
    pub(super) frequency_penalty: Option<f32>,
    pub(super) seed: Option<i64>,
    pub(super) stop: Option<OneOrMany<String>>,
    pub(super) logit_bias: Option<BTreeMap<String, f32>>,
}

impl Choosing {
    /// The options that they stand for.
    pub(super) fn options(self) -> Result<GenerationOptions, Failure> {
        let stop = self.stop.map(OneOrMany::into_vec).unwrap_or_default();
        if let Some(at) = stop.iter().position(String::is_empty) {
            return Err(Failure::field("stop", format!("stop[{at}]: expected a text, got an empty one")));
        }
        let mut logit_bias = Vec::new();
        for (token, bias) in self.logit_bias.unwrap_or_default() {
            let id = token.parse().map_err(|_| {
                Failure::field("logit_bias", format!("logit_bias: expected token ids as names, got {token:?}"))
            })?;
            logit_bias.push((id, bias));
        }
        Ok(GenerationOptions {
            max_tokens: None,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            // Negative seeds are seeds: their bits are taken as they are.
            seed: self.seed.map(i64::cast_unsigned),
            stop,
            logit_bias,
            top_logprobs: None,
        })
    }
}

/// The seed of a choice: all differ, and the first is the request's own.
pub(super) fn seed_of(seed: Option<u64>, choice: usize) -> Option<u64> {
    seed.map(|seed| seed.wrapping_add(choice as u64))
}

/// What a stream holds beside the answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamOptions {
    /// Send a last chunk with the counts of tokens.
    include_usage: Option<bool>,
}

impl StreamOptions {
    /// Whether the counts of tokens are to be sent.
    pub(super) fn include_usage(options: Option<StreamOptions>, stream: bool) -> Result<bool, Failure> {
        if options.is_some() && !stream {
            return Err(Failure::field("stream_options", "stream_options: expected only where stream is true"));
        }
        Ok(options.and_then(|options| options.include_usage).unwrap_or(false))
    }
}

/// What to tell a client of an effort that it asks for: a model here thinks or does not.
pub(super) fn effort_warning(field: &str, effort: Option<ReasoningEffort>) -> Option<String> {
    let has_level = effort.is_some_and(|effort| effort != ReasoningEffort::None);
    has_level.then(|| format!("{field} has no levels here: only none has an effect"))
}

/// How much a model should think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReasoningEffort {
    None,
    Minimal,
    Low,
    Medium,
    High,
}
