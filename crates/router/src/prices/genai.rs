//! The catalogue of genai-prices: a list of providers with their models, USD for a million tokens.
//!
//! Source: `prices/data_slim.json` of pydantic/genai-prices and its README. A price is a number, or a base with tiers
//! by the length of the prompt; terms may hold from a day on. Terms that hold at some hours of a day are left out.

use super::{Converted, Date, LeftOut, Row, Rule, Terms, Tier};
use crate::providers::own_name;
use serde::Deserialize;
use serde_json::Value;

/// Where a provider names no page of its prices.
const CATALOGUE: &str = "https://github.com/pydantic/genai-prices";

#[derive(Deserialize)]
struct Provider {
    id: String,
    #[serde(default)]
    pricing_urls: Vec<String>,
    models: Vec<Value>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    r#match: Rule,
    context_window: Option<usize>,
    prices: Prices,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Prices {
    One(Quantities),
    Several(Vec<Conditional>),
}

#[derive(Deserialize)]
struct Conditional {
    constraint: Option<Constraint>,
    prices: Quantities,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Constraint {
    start_date: Date,
}

#[derive(Deserialize)]
struct Quantities {
    input_mtok: Option<Amount>,
    output_mtok: Option<Amount>,
    cache_read_mtok: Option<Amount>,
    cache_write_mtok: Option<Amount>,
    requests_kcount: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Flat(f64),
    Tiered { base: f64, tiers: Vec<Step> },
}

#[derive(Deserialize)]
struct Step {
    start: usize,
    price: f64,
}

pub(super) fn convert(providers: &[Value], seen: &Date) -> Converted {
    let mut converted = Converted::default();
    for (index, provider) in providers.iter().enumerate() {
        let mut leave_out = |provider: &str, model: &str, why: String| {
            converted.left_out.push(LeftOut { provider: provider.to_owned(), model: model.to_owned(), why });
        };
        let Provider { id, pricing_urls, models } = match Provider::deserialize(provider) {
            Ok(provider) => provider,
            Err(error) => {
                leave_out(&format!("[{index}]"), "all of them", error.to_string());
                continue;
            }
        };
        let provider = own_name(&id);
        let source = pricing_urls.first().map_or(CATALOGUE, String::as_str);
        for model in &models {
            let name = model.get("id").and_then(Value::as_str).unwrap_or("one without a name");
            match row(model) {
                Ok(row) => converted.book.add(provider, source, seen, row),
                Err(why) => {
                    converted.left_out.push(LeftOut { provider: provider.to_owned(), model: name.to_owned(), why })
                }
            }
        }
    }
    converted
}

/// A model as a row, or why a book cannot hold it.
fn row(model: &Value) -> Result<Row, String> {
    let has_hours = |prices: &Value| prices.pointer("/constraint/start_time").is_some();
    if model["prices"].as_array().is_some_and(|prices| prices.iter().any(has_hours)) {
        return Err("its price depends on the hour of the day".to_owned());
    }
    let model = Model::deserialize(model).map_err(|error| format!("it is of another shape: {error}"))?;
    model.r#match.check()?;
    let terms = match model.prices {
        Prices::One(quantities) => vec![terms(quantities, None)?],
        Prices::Several(all) => {
            let one = |one: Conditional| terms(one.prices, one.constraint.map(|constraint| constraint.start_date));
            all.into_iter().map(one).collect::<Result<_, _>>()?
        }
    };
    if !terms.is_sorted_by(|one, next| one.from <= next.from) || terms.is_empty() {
        return Err("its prices are not in the order of their days".to_owned());
    }
    Ok(Row { model: model.id, rule: Some(model.r#match), context: model.context_window, terms })
}

fn terms(quantities: Quantities, from: Option<Date>) -> Result<Terms, String> {
    let Quantities { input_mtok, output_mtok, cache_read_mtok, cache_write_mtok, requests_kcount } = quantities;
    if requests_kcount.is_some() {
        return Err("it has a price of another kind (requests_kcount)".to_owned());
    }
    let (Some(input), Some(output)) = (input_mtok, output_mtok) else {
        return Err("it has no price of tokens".to_owned());
    };
    let all = [Some(&input), Some(&output), cache_read_mtok.as_ref(), cache_write_mtok.as_ref()];
    let mut starts: Vec<usize> = all.iter().flatten().flat_map(|amount| amount.starts()).collect();
    starts.sort_unstable();
    starts.dedup();
    let at = |amount: &Option<Amount>, start| amount.as_ref().map(|amount| amount.at(start));
    let tier = |start: usize| Tier {
        above: start,
        input: input.at(Some(start)),
        output: output.at(Some(start)),
        cached_input: at(&cache_read_mtok, Some(start)),
        cache_write: at(&cache_write_mtok, Some(start)),
    };
    let terms = Terms {
        from,
        input: input.at(None),
        output: output.at(None),
        cached_input: at(&cache_read_mtok, None),
        cache_write: at(&cache_write_mtok, None),
        tiers: starts.into_iter().map(tier).collect(),
    };
    terms.check().map(|()| terms)
}

impl Amount {
    fn starts(&self) -> impl Iterator<Item = usize> {
        let steps = match self {
            Amount::Flat(_) => &[],
            Amount::Tiered { tiers, .. } => &tiers[..],
        };
        steps.iter().map(|step| step.start)
    }

    /// The price in the tier that begins there, or below all tiers.
    fn at(&self, start: Option<usize>) -> f64 {
        match self {
            Amount::Flat(price) => *price,
            Amount::Tiered { base, tiers } => {
                let reached = tiers.iter().filter(|step| start.is_some_and(|start| step.start <= start));
                reached.max_by_key(|step| step.start).map_or(*base, |step| step.price)
            }
        }
    }
}
