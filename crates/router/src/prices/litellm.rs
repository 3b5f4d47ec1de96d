//! The catalogue of LiteLLM: one object, an entry a model, USD for one token.
//!
//! Source: `model_prices_and_context_window.json` of BerriAI/litellm, and its `sample_spec`. Prices of batches, of
//! priority and of other service classes are not those of a plain request and are passed over.

use super::{Converted, Date, Group, LeftOut, Row, Terms, Tier};
use crate::providers::own_name;
use serde_json::{Map, Value};

/// The kinds of models that a conversation can be had with.
const MODES: [&str; 3] = ["chat", "completion", "responses"];
/// The entry that explains the others.
const SAMPLE: &str = "sample_spec";
/// Where an entry names no source.
const CATALOGUE: &str = "https://github.com/BerriAI/litellm";

pub(super) fn convert(entries: &Map<String, Value>, seen: &Date) -> Converted {
    let mut converted = Converted::default();
    for (key, entry) in entries.iter().filter(|(key, _)| *key != SAMPLE) {
        let text = |field: &str| entry.get(field).and_then(Value::as_str);
        let Some(catalogued) = text("litellm_provider") else { continue };
        let model = key.strip_prefix(catalogued).and_then(|rest| rest.strip_prefix('/')).unwrap_or(key);
        let provider = own_name(catalogued);
        match terms(entry, seen) {
            Ok(terms) => {
                let source = text("source").unwrap_or(CATALOGUE);
                let context = entry.get("max_input_tokens").and_then(Value::as_u64);
                let context = context.and_then(|context| usize::try_from(context).ok());
                let row = Row { model: model.to_owned(), rule: None, context, terms: vec![terms] };
                converted.book.add(provider, source, seen, row);
            }
            Err(why) => {
                converted.left_out.push(LeftOut { provider: provider.to_owned(), model: model.to_owned(), why })
            }
        }
    }
    converted
}

impl super::PriceBook {
    /// Adds a row to the group of its provider and source, unless a model of that name is there.
    pub(super) fn add(&mut self, provider: &str, source: &str, seen: &Date, row: Row) {
        let mut own = self.groups.iter().filter(|group| group.provider == provider);
        if own.any(|group| group.rows.iter().any(|known| known.model == row.model)) {
            return;
        }
        let same = self.groups.iter_mut().find(|group| group.provider == provider && group.source == source);
        match same {
            Some(group) => group.rows.push(row),
            None => self.groups.push(Group {
                provider: provider.to_owned(),
                source: source.to_owned(),
                seen: seen.clone(),
                rows: vec![row],
            }),
        }
    }
}

/// The terms of an entry, or why it has none that a book can hold.
fn terms(entry: &Value, seen: &Date) -> Result<Terms, String> {
    let mode = entry.get("mode").and_then(Value::as_str).unwrap_or("none");
    if !MODES.contains(&mode) {
        return Err(format!("it is of the mode {mode}, which no conversation is had with"));
    }
    if let Some(end) =
        entry.get("deprecation_date").and_then(Value::as_str).filter(|end| *end <= seen.to_string().as_str())
    {
        return Err(format!("it was withdrawn on {end}"));
    }
    for other in ["tiered_pricing", "input_cost_per_request", "citation_cost_per_token"] {
        if entry.get(other).is_some_and(|price| !price.is_null()) {
            return Err(format!("it has a price of another kind ({other})"));
        }
    }
    let price = |field: &str| entry.get(field).and_then(Value::as_f64).map(per_million);
    let (Some(input), Some(output)) = (price("input_cost_per_token"), price("output_cost_per_token")) else {
        return Err("it has no price of tokens".to_owned());
    };
    if price("output_cost_per_reasoning_token").is_some_and(|thought| thought != output) {
        return Err("thought has a price of its own".to_owned());
    }
    let (cached, written) = ("cache_read_input_token_cost", "cache_creation_input_token_cost");
    let mut tiers: Vec<Tier> = Vec::new();
    for (field, value) in entry.as_object().into_iter().flatten() {
        let Some(length) = field.strip_prefix("input_cost_per_token_above_") else { continue };
        let Some(thousands) = length.strip_suffix("k_tokens").and_then(|number| number.parse::<usize>().ok()) else {
            continue;
        };
        let Some(input) = value.as_f64().map(per_million) else { continue };
        let of = |field: &str| price(&format!("{field}_above_{length}"));
        tiers.push(Tier {
            above: thousands.saturating_mul(1000),
            input,
            output: of("output_cost_per_token").unwrap_or(output),
            cached_input: of(cached),
            cache_write: of(written),
        });
    }
    tiers.sort_by_key(|tier| tier.above);
    let terms = Terms { from: None, input, output, cached_input: price(cached), cache_write: price(written), tiers };
    terms.check().map(|()| terms)
}

/// USD for a million tokens, without the noise of the multiplication.
fn per_million(per_token: f64) -> f64 {
    (per_token * 1e12).round() / 1e6
}
