//! The options of commands that generate text, and of those that load a model.
//!
//! Each flag is one field here with its help; nothing else in the binary names them. They end as
//! [`chat::GenerationOptions`], where `None` means the model's own recommendation.

use crate::failure::UsedWrongly;
use chat::GenerationOptions;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kernels::KvElement;
use local::Bound;

/// How to choose tokens and when to end.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Generation")]
pub struct GenerationArgs {
    /// Most tokens to generate; the default is what the context leaves
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max_tokens: Option<usize>,
    /// Randomness: 0 always takes the likeliest token
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f32>,
    /// Choose among the K likeliest tokens; 0 is all
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub top_k: Option<usize>,
    /// Choose among the likeliest tokens that together reach probability P
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f32>,
    /// Choose among tokens at least P times as likely as the likeliest
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub min_p: Option<f32>,
    /// Make recent tokens less likely by this factor; 1 is off
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub repeat_penalty: Option<f32>,
    /// Subtract this from the score of every token already generated
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,
    /// Subtract this from a token's score for each time it was generated
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,
    /// The same seed, prompt and model give the same answer; the default is the model's own, else random
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Always take the likeliest token (temperature 0)
    #[arg(long, conflicts_with = "temperature")]
    pub greedy: bool,
}

impl GenerationArgs {
    /// The options as a model takes them.
    ///
    /// # Errors
    /// A value out of its range: used wrongly.
    pub fn options(&self) -> Result<GenerationOptions, UsedWrongly> {
        let options = GenerationOptions {
            max_tokens: self.max_tokens,
            temperature: if self.greedy { Some(0.0) } else { self.temperature },
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self.seed,
            stop: self.stop.clone(),
            ..GenerationOptions::default()
        };
        check(&options)?;
        Ok(options)
    }
}

/// Refuses values that no model can honour, naming the flag.
///
/// # Errors
/// A value out of its range.
pub fn check(options: &GenerationOptions) -> Result<(), UsedWrongly> {
    for (flag, value, bound) in [
        ("--temperature", options.temperature, Bound::TEMPERATURE),
        ("--top-p", options.top_p, Bound::TOP_P),
        ("--min-p", options.min_p, Bound::MIN_P),
        ("--repeat-penalty", options.repeat_penalty, Bound::REPEAT_PENALTY),
        ("--presence-penalty", options.presence_penalty, Bound::PRESENCE_PENALTY),
        ("--frequency-penalty", options.frequency_penalty, Bound::FREQUENCY_PENALTY),
    ] {
        if let Some(value) = value.filter(|&value| !bound.admits(value)) {
            return Err(UsedWrongly(format!("{flag}: expected {}, got {value}", bound.expected)));
        }
    }
    if options.max_tokens == Some(0) {
        return Err(UsedWrongly("--max-tokens: expected 1 or more, got 0".to_owned()));
    }
    if options.stop.iter().any(String::is_empty) {
        return Err(UsedWrongly("--stop: expected some text, got an empty string".to_owned()));
    }
    Ok(())
}

/// How to load a model.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Model")]
pub struct LoadArgs {
    /// Positions that prompt and answer may use together; the default is the model's own, at most 8192
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub context: Option<usize>,
    /// Threads to compute with; the default is the physical cores that this process may use
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Stretch the context by this factor with YaRN, for models made for it (Qwen 2.5: 4)
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub yarn: Option<f32>,
    /// How keys and values are kept: i16, integers of sixteen bits, is the default; f16 takes 2 % less memory and is slower;
    /// q8_0 takes about half, and is less exact; f32 takes twice as much
    #[arg(long, value_name = "TYPE", value_parser = kv_type())]
    pub kv_type: Option<KvElement>,
}

/// Takes the name of an element of keys and values; the refusal of another lists them.
pub fn kv_type() -> impl TypedValueParser<Value = KvElement> {
    PossibleValuesParser::new(KvElement::names())
        .map(|name| KvElement::from_name(&name).expect("the parser knows these names alone; this is a bug"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_range_is_named_with_what_was_expected() {
        let args = GenerationArgs { top_p: Some(1.5), ..GenerationArgs::default() };
        assert_eq!(args.options().unwrap_err().to_string(), "--top-p: expected a number above 0, at most 1, got 1.5");
        let args = GenerationArgs { temperature: Some(f32::NAN), ..GenerationArgs::default() };
        assert!(args.options().is_err(), "not a number is in no range");
        // What the engine would refuse after the model is loaded is refused before.
        let args = GenerationArgs { min_p: Some(1.0), ..GenerationArgs::default() };
        assert_eq!(args.options().unwrap_err().to_string(), "--min-p: expected a number from 0 up, below 1, got 1");
        let args = GenerationArgs { max_tokens: Some(0), ..GenerationArgs::default() };
        assert_eq!(args.options().unwrap_err().to_string(), "--max-tokens: expected 1 or more, got 0");
    }

    #[test]
    fn greedy_is_temperature_zero() {
        let args = GenerationArgs { greedy: true, ..GenerationArgs::default() };
        assert_eq!(args.options().unwrap().temperature, Some(0.0));
    }
}
