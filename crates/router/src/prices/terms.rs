//! What tokens cost: prices of input and output, and others for prompts that are long.

use super::Date;
use chat::Usage;
use serde::{Deserialize, Serialize};

/// Prices in USD for a million tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The day from which they hold, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Date>,
    /// Tokens of the prompt.
    pub input: f64,
    /// Tokens generated, thought included.
    pub output: f64,
    /// Tokens of the prompt that the provider had in its cache; none: as others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Tokens of the prompt that a request has the provider keep; nothing here asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// Other prices for long prompts, by rising length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
}

/// Prices of requests with a long prompt: they hold for all tokens of it and of the answer, not only for those above.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// They hold where the prompt has more tokens than this.
    pub above: usize,
    /// As in [`Terms`].
    pub input: f64,
    /// As in [`Terms`].
    pub output: f64,
    /// As in [`Terms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// As in [`Terms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
}

impl Terms {
    /// Prices without tiers and caches.
    pub fn flat(input: f64, output: f64) -> Terms {
        Terms { input, output, ..Terms::default() }
    }

    /// The cost of an answer in USD.
    pub fn cost(&self, usage: &Usage) -> f64 {
        let tier = self.tiers.iter().rev().find(|tier| usage.prompt_tokens > tier.above);
        let (input, output, cached_input) = match tier {
            Some(tier) => (tier.input, tier.output, tier.cached_input),
            None => (self.input, self.output, self.cached_input),
        };
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let (computed, completion) = (usage.prompt_tokens - cached, usage.completion_tokens);
        let [computed, cached, completion] = [computed, cached, completion].map(|tokens| tokens as f64);
        (computed * input + cached * cached_input.unwrap_or(input) + completion * output) / 1e6
    }

    /// Looks for prices that are none.
    ///
    /// # Errors
    /// What is wrong with the first of them.
    pub(super) fn check(&self) -> Result<(), String> {
        let tiers = self
            .tiers
            .iter()
            .flat_map(|tier| [Some(tier.input), Some(tier.output), tier.cached_input, tier.cache_write]);
        let all = [Some(self.input), Some(self.output), self.cached_input, self.cache_write].into_iter().chain(tiers);
        if let Some(odd) = all.flatten().find(|price| !(price.is_finite() && *price >= 0.0)) {
            return Err(format!("the price {odd}"));
        }
        if self.input == 0.0 && self.output == 0.0 {
            return Err("a price of 0".to_owned());
        }
        if !self.tiers.is_sorted_by(|one, next| one.above < next.above) {
            return Err("tiers out of order".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(prompt_tokens: usize, cached_tokens: usize, completion_tokens: usize) -> Usage {
        Usage { prompt_tokens, cached_tokens, completion_tokens, ..Usage::default() }
    }

    fn terms() -> Terms {
        let tier = Tier { above: 200_000, input: 2.5, output: 15.0, cached_input: Some(0.25), cache_write: None };
        Terms { cached_input: Some(0.125), tiers: vec![tier], ..Terms::flat(1.25, 10.0) }
    }

    fn check(usage: Usage, expected: f64) {
        let cost = terms().cost(&usage);
        assert!((cost - expected).abs() < 1e-12, "{cost} is not {expected}");
    }

    #[test]
    fn a_long_prompt_is_dear_from_its_first_token() {
        check(usage(200_000, 0, 1_000), 0.25 + 0.01);
        check(usage(200_001, 0, 1_000), 200_001.0 * 2.5e-6 + 0.015);
    }

    #[test]
    fn cached_tokens_cost_their_own_price_once() {
        check(usage(1_000, 600, 0), 400.0 * 1.25e-6 + 600.0 * 0.125e-6);
        check(usage(1_000_000, 1_000_000, 0), 0.25);
        let plain = Terms::flat(1.0, 1.0);
        assert_eq!(plain.cost(&usage(1_000_000, 500_000, 0)), 1.0, "no price of its own: that of the others");
    }

    #[test]
    fn what_is_no_price_is_found() {
        assert_eq!(Terms::flat(0.0, 0.0).check().unwrap_err(), "a price of 0");
        assert_eq!(Terms::flat(-1.0, 0.0).check().unwrap_err(), "the price -1");
        let mut disordered = terms();
        disordered.tiers.push(Tier { above: 1, ..Tier::default() });
        assert_eq!(disordered.check().unwrap_err(), "tiers out of order");
        assert_eq!(terms().check(), Ok(()));
    }
}
