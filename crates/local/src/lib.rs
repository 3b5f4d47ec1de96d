//! Models of this machine: a file in the store becomes something that answers.
//!
//! [`LocalModel`] is a [`chat::ChatModel`]: template, tokenizer and generation defaults around an engine that runs on a
//! thread of its own. So is [`EncoderModel`], around an encoder, which makes vectors of texts. [`LocalHost`] is a
//! [`chat::ModelHost`] over the store of `hub`. Around them stands what only this machine can tell: whether a model fits
//! into memory and how fast it should be ([`Forecast`]), how fast it is ([`BenchRequest`]), and how to make a smaller one of
//! it ([`quantize()`]).
//!
//! This crate knows no command line, no HTTP and no wire format; it prints nothing.
//!
//! Read next: `local_model` (a request from text to ids), `worker` (the engine's thread), `answer` (ids to events).

#![forbid(unsafe_code)]

mod adapters;
#[cfg(test)]
mod adapters_tests;
mod answer;
mod bench;
mod choose;
mod encoder_model;
#[cfg(test)]
mod encoder_tests;
mod encoder_worker;
mod file_state;
mod forecast;
mod format;
mod generation;
mod host;
mod insert;
mod loading;
mod local_model;
mod memory;
mod opening;
mod options;
mod pace;
mod prepared;
mod prompt_report;
mod quantize;
mod quantize_mix;
mod ranking;
mod requests;
mod scoring;
mod script;
mod stop;
#[cfg(test)]
mod tests;
mod thought;
#[cfg(test)]
mod tiny;
mod tools;
#[cfg(test)]
mod turn_tests;
mod watched;
mod worker;

pub use bench::{BenchRequest, BenchSample, TokenCost};
pub use encoder_model::{EncoderDescription, EncoderModel, describe_encoder, is_encoder, load_encoder};
pub use engine::Bound;
pub use forecast::{Forecast, ModelShape, ReadRates, measured_bytes};
pub use generation::{check_parameters, parameters_not_applied, random_seed};
pub use host::{HostOptions, LocalHost, Reach, check_template};
pub use loading::{Description, ModelSource, describe, open_tokenizer};
pub use local_model::LocalModel;
pub use memory::{MemoryPlan, free_memory, human_bytes, peak_memory};
pub use model::YARN_FACTORS;
pub use opening::Opening;
pub use options::LoadOptions;
pub use prepared::Prepared;
pub use quantize::{Calibration, QuantizeError, QuantizeProgress, QuantizeReport, QuantizedTensor, quantize};
pub use quantize_mix::{Mix, mix_names};
pub use scoring::{ScoreProgress, ScoredPiece, ScoredPieces};
