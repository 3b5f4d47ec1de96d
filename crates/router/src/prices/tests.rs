//! Both catalogues in small, and the book that comes with the program.

use super::*;
use serde_json::json;

fn day(text: &str) -> Date {
    Date::of(text).unwrap()
}

fn converted(catalogue: &serde_json::Value) -> Converted {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.json");
    std::fs::write(&path, catalogue.to_string()).unwrap();
    PriceBook::from_file(&path, &day("2026-11-27")).unwrap()
}

fn litellm() -> serde_json::Value {
    let plain = |provider: &str| {
        json!({
            "litellm_provider": provider, "mode": "chat", "max_input_tokens": 128_000, "source": "https://prices.example",
            "input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7, "cache_read_input_token_cost": 7.5e-8,
            "input_cost_per_token_batches": 7.5e-8
        })
    };
    let with = |mut entry: serde_json::Value, field: &str, value: serde_json::Value| {
        entry[field] = value;
        entry
    };
    let mut tiered = plain("openai");
    for (field, price) in [("input_cost_per_token", 3e-7), ("output_cost_per_token", 9e-7)] {
        tiered[format!("{field}_above_272k_tokens")] = json!(price);
        tiered[format!("{field}_above_272k_tokens_batches")] = json!(1.0);
    }
    json!({
        "sample_spec": plain("openai"),
        "gpt-small": plain("openai"),
        "gpt-long": tiered,
        "together_ai/org/model": plain("together_ai"),
        "old": with(plain("openai"), "deprecation_date", json!("2026-11-27")),
        "free": with(with(plain("openai"), "input_cost_per_token", json!(0)), "output_cost_per_token", json!(0.0)),
        "picture": with(plain("openai"), "mode", json!("image_generation")),
        "thinks": with(plain("openai"), "output_cost_per_reasoning_token", json!(1e-6)),
        "steps": with(plain("openai"), "tiered_pricing", json!([]))
    })
}

fn genai() -> serde_json::Value {
    json!([{
        "id": "google",
        "pricing_urls": ["https://prices.example/g"],
        "models": [
            {"id": "pro", "match": {"starts_with": "pro"}, "context_window": 1_000_000, "prices": {
                "input_mtok": {"base": 1.25, "tiers": [{"start": 200_000, "price": 2.5}]},
                "output_mtok": {"base": 10, "tiers": [{"start": 200_000, "price": 15}]},
                "cache_read_mtok": 0.125
            }},
            {"id": "pro-plus", "match": {"or": [{"equals": "pro-plus"}, {"contains": "plus"}]}, "prices": [
                {"prices": {"input_mtok": 2, "output_mtok": 10}},
                {"constraint": {"start_date": "2026-09-01"}, "prices": {"input_mtok": 3, "output_mtok": 15}}
            ]},
            {"id": "night", "match": {"equals": "night"}, "prices": [
                {"prices": {"input_mtok": 2, "output_mtok": 10}},
                {"constraint": {"start_time": "00:30:00Z", "end_time": "16:30:00Z"}, "prices": {"input_mtok": 1, "output_mtok": 1}}
            ]},
            {"id": "asks", "match": {"equals": "asks"}, "prices": {"input_mtok": 1, "output_mtok": 1, "requests_kcount": 5}},
            {"id": "vectors", "match": {"equals": "vectors"}, "prices": {"input_mtok": 1}},
            {"id": "broken", "match": {"regex": "("}, "prices": {"input_mtok": 1, "output_mtok": 1}}
        ]
    }])
}

fn why(converted: &Converted, model: &str) -> String {
    converted.left_out.iter().find(|left| left.model == model).unwrap().why.clone()
}

#[test]
fn the_catalogue_of_litellm_is_read_with_tiers_and_reasons() {
    let converted = converted(&litellm());
    let book = &converted.book;
    let small = book.find("openai", "gpt-small").unwrap();
    assert_eq!(small.terms, Terms { cached_input: Some(0.075), ..Terms::flat(0.15, 0.6) });
    assert_eq!((small.source.as_str(), small.seen), ("https://prices.example", day("2026-11-27")));
    let tier = Tier { above: 272_000, input: 0.3, output: 0.9, ..Tier::default() };
    assert_eq!(book.find("openai", "gpt-long").unwrap().terms.tiers, [tier]);
    assert!(book.find("together", "org/model").is_some());
    assert_eq!((book.len(), book.context("together", "org/model")), (3, Some(128_000)));
    assert_eq!(why(&converted, "old"), "it was withdrawn on 2026-11-27");
    assert_eq!(why(&converted, "free"), "a price of 0");
    assert_eq!(why(&converted, "picture"), "it is of the mode image_generation, which no conversation is had with");
    assert_eq!(why(&converted, "thinks"), "thought has a price of its own");
    assert_eq!(why(&converted, "steps"), "it has a price of another kind (tiered_pricing)");
    assert_eq!(converted.left_out.len(), 5);
}

#[test]
fn the_catalogue_of_genai_prices_is_read_with_rules_days_and_reasons() {
    let converted = converted(&genai());
    let book = &converted.book;
    let pro = book.find("gemini", "pro-2026-01").unwrap();
    let tier = Tier { above: 200_000, input: 2.5, output: 15.0, cached_input: Some(0.125), cache_write: None };
    assert_eq!(pro.terms.tiers, [tier]);
    assert_eq!((pro.terms.input, pro.terms.cached_input), (1.25, Some(0.125)));
    let on = |date: &str| book.find_on("gemini", "pro-plus", &day(date)).unwrap().terms.input;
    assert_eq!((on("2026-08-31"), on("2026-09-01")), (2.0, 3.0), "its own name comes before the rule of another");
    assert_eq!(book.find("gemini", "big-plus-1").unwrap().terms.input, 3.0);
    assert_eq!(why(&converted, "night"), "its price depends on the hour of the day");
    assert_eq!(why(&converted, "asks"), "it has a price of another kind (requests_kcount)");
    assert_eq!(why(&converted, "vectors"), "it has no price of tokens");
    assert_eq!(why(&converted, "broken"), "\"(\", which is no regular expression");
}

#[test]
fn an_unknown_price_is_none() {
    let book = converted(&genai()).book;
    assert_eq!(book.find("gemini", "ultra"), None);
    assert_eq!(book.find("openai", "pro"), None);
    assert_eq!((book.find_name("gemini/pro"), book.find_name("pro")), (book.find("gemini", "pro"), None));
}

#[test]
fn a_book_is_the_same_after_it_was_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/prices.json");
    let book = converted(&genai()).book.before(converted(&litellm()).book);
    book.write(&path).unwrap();
    assert_eq!(PriceBook::read(&path).unwrap(), book);
    assert_eq!(PriceBook::from_file(&path, &day("2026-11-27")).unwrap().book, book);
    assert!(book.find("openai", "gpt-small").is_some() && book.find("gemini", "pro").is_some());
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    let refused = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let error = PriceBook::from_file(&path, &day("2026-11-27")).unwrap_err().to_string();
        let (line, hint) = error.split_once('\n').unwrap();
        assert_eq!(hint, "hint: they are model_prices_and_context_window.json and data_slim.json");
        line.split_once(", got ").unwrap().1.to_owned()
    };
    assert_eq!(refused("7"), "another JSON value");
    assert!(refused("{").starts_with("no JSON: EOF"));
    assert_eq!(refused("{}"), "a file without one price");
    assert_eq!(refused(r#"{"format": "x", "groups": []}"#), "a book of the format \"x\"");
    let row = r#"{"model": "m", "terms": [{"input": 0, "output": 0}]}"#;
    let group = format!(r#"{{"provider": "p", "source": "s", "seen": "2026-01-01", "rows": [{row}]}}"#);
    let book = format!(r#"{{"format": "bantam-prices-1", "groups": [{group}]}}"#);
    assert_eq!(refused(&book), "a row \"m\" with a price of 0");
    let missing = PriceBook::read(&folder.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("hint: check the path and its permissions"), "{missing}");
}

#[test]
fn the_book_of_the_program_is_small_dated_and_has_every_provider() {
    assert!(include_str!("built_in.json").len() < 60_000);
    let book = PriceBook::built_in();
    assert_eq!(book.text(), include_str!("built_in.json"), "it is as write makes it");
    for preset in &PRESETS {
        assert!(book.groups.iter().any(|group| group.provider == preset.name), "{}", preset.name);
    }
    for group in &book.groups {
        assert!(group.source.starts_with("https://"), "{}", group.source);
        for row in &group.rows {
            assert!(row.terms.iter().all(|terms| terms.check().is_ok()), "{}", row.model);
        }
    }
    let mini = book.find("openai", "gpt-4o-mini").unwrap();
    assert_eq!(mini.terms, Terms { cached_input: Some(0.075), ..Terms::flat(0.15, 0.6) });
    assert_eq!(book.find("gemini", "gemini-2.5-pro").unwrap().terms.tiers[0].above, 200_000);
    assert_eq!(book.find("anthropic", "claude-haiku-4-5").unwrap().terms.output, 5.0);
}
