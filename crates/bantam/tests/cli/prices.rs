//! Prices from the command line: the built-in table, a catalogue that comes before it, and files that are refused.

use crate::desk::Desk;
use crate::shapes::assert_shape;
use serde_json::{Value, json};

/// A catalogue of one provider, as LiteLLM writes it: US dollars for one token.
fn catalogue(rows: &[(&str, f64, f64)]) -> String {
    let entry = |&(model, input, output): &(&str, f64, f64)| {
        let entry = json!({
            "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": input, "output_cost_per_token": output,
            "source": "https://prices.example",
        });
        (model.to_owned(), entry)
    };
    Value::Object(rows.iter().map(entry).collect()).to_string()
}

#[test]
fn a_catalogue_comes_before_the_built_in_table_and_what_changed_is_said() {
    let desk = Desk::without_model();
    assert_shape("prices", 0, &desk.done(&["prices", "--json"]));
    let shown = desk.done(&["prices", "show", "openai/gpt-4o-mini"]);
    assert!(
        shown.starts_with(
            "openai/gpt-4o-mini: $0.15 for a million tokens of prompts, $0.075 for what its cache had, $0.6 for"
        ),
        "{shown}"
    );
    desk.write("prices.json", catalogue(&[("gpt-4o-mini", 1e-7, 5e-7), ("brand-new", 2e-6, 8e-6)]));
    let told = desk.done(&["prices", "update", "--file", "prices.json", "--seen", "2026-11-01"]);
    assert_eq!(
        told,
        "changed: openai/gpt-4o-mini: $0.15 in, cached $0.075, $0.6 out -> $0.1 in, $0.5 out\n\
         new: openai/brand-new: $2 in, $8 out\n"
    );
    let shown: Value = serde_json::from_str(&desk.done(&["prices", "show", "openai/gpt-4o-mini", "--json"])).unwrap();
    assert_eq!(
        shown,
        json!({"model": "openai/gpt-4o-mini", "input": 0.1, "output": 0.5, "context": null,
            "source": "https://prices.example", "seen": "2026-11-01", "own": true})
    );
    let list = desk.done(&["prices", "list", "gpt-4o-mini"]);
    assert!(list.contains("2026-11-01  own") && list.contains("built in"), "{list}");
    // Where the owner's table loses a model, the built-in price holds again; where nobody else has it, it is gone.
    desk.write("next.json", catalogue(&[("another", 2e-6, 8e-6)]));
    let told: Value = serde_json::from_str(&desk.done(&["prices", "update", "--file", "next.json", "--json"])).unwrap();
    assert_shape("prices", 1, &told.to_string());
    assert_eq!((&told["new"], &told["gone"]), (&json!(["openai/another"]), &json!(["openai/brand-new"])));
    assert_eq!(told["changed"][0]["model"], "openai/gpt-4o-mini");
}

#[test]
fn an_evaluation_reckons_with_the_owners_table() {
    let desk = Desk::without_model();
    desk.write("prices.json", catalogue(&[("brand-new", 2e-5, 8e-5)]));
    desk.done(&["prices", "update", "--file", "prices.json"]);
    desk.write("test.csv", "text,label\nx,a\ny,b\n");
    desk.write(
        "t.toml",
        "kind = \"classify\"\n[data]\ntest = \"test.csv\"\nexpected = \"label\"\n[classify]\nlabels = [\"a\", \"b\"]\n\
         [[candidates]]\nmodel = \"openai/brand-new\"\n",
    );
    let (code, _, error) = crate::run(desk.command(&["eval", "t.toml"]).env("OPENAI_API_KEY", "sk-none"));
    assert!(code == 2 && error.contains("openai/brand-new will be sent 2 requests, about $"), "{code} {error}");
}

#[test]
fn what_looks_wrong_is_refused_and_changes_nothing() {
    let desk = Desk::without_model();
    // The catalogue is in US dollars for one token; these are for a million.
    desk.write("wrong.json", catalogue(&[("gpt-4o-mini", 0.15, 0.6)]));
    let error = desk.fails(1, &["prices", "update", "--file", "wrong.json"]);
    assert!(
        error.contains(
            "wrong.json: a price looks wrong, and nothing was changed\nopenai/gpt-4o-mini: $600000 for a million tokens is more \
             than any price: is it one for another number of tokens?\nhint: look at the file; --accept-odd takes them"
        ),
        "{error}"
    );
    assert!(!desk.home.path().join("prices.json").exists());
    desk.done(&["prices", "update", "--file", "wrong.json", "--accept-odd"]);
    desk.write("negative.json", catalogue(&[("gpt-4o", -1.0, 6e-7), ("gpt-4o-mini", 1e-7, 5e-7)]));
    let (code, _, told) = desk.run(&["prices", "update", "--file", "negative.json", "--accept-odd"]);
    assert!(code == 0 && told.contains("left out: 1 (the price -1000000)"), "{code} {told}");
    let error = desk.fails(1, &["prices", "show", "openai/none"]);
    assert!(error.contains("the price of openai/none is not known\nhint: `bantam prices list` shows"), "{error}");
    assert!(desk.fails(2, &["prices", "show", "mini"]).contains("expected provider/model, got \"mini\"\nhint: "));
    let error = desk.fails(1, &["prices", "update", "--file", "none.json"]);
    assert!(error.contains("none.json: ") && error.contains("hint: check the path"), "{error}");
}
