//! Templates render as `transformers` renders them (`tools/reference/template_goldens.py`), and hostile ones end.

use crate::models::{stored, stored_template};
use crate::packages::{folder, load};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokenizer::{ChatTemplate, TemplateError, TemplateInput, Tokenizer};

const GOLDENS: &str = include_str!("template_goldens.json");
/// 26 July 2024, the clock of the goldens.
const NOW: i64 = 1_721_952_000;

/// Packages with a template.
const PACKAGES: [&str; 5] = ["gemma3", "llama3_2", "mistral_nemo", "qwen2_5", "qwen3"];
/// Models with a template.
const MODELS: [&str; 4] = ["qwen2.5-coder:0.5b", "qwen2.5-coder:1.5b", "smollm2:135m", "tinyllama:1.1b-iq2"];
/// Written for these tests: one for each thing that templates do, one for each form that no package carries.
const OWN: [&str; 13] = [
    "filters",
    "form of chatml",
    "form of gemma2",
    "form of mistral 7b",
    "form of phi3",
    "form of zephyr",
    "json",
    "loops",
    "macro",
    "python",
    "refusal",
    "thought",
    "whitespace",
];

fn template(source: &str, bos: &str, eos: &str) -> ChatTemplate {
    ChatTemplate::with_clock(source, bos, eos, Arc::new(|| NOW)).unwrap()
}

fn named(config: &Value, key: &str) -> String {
    let token = &config[key];
    token.as_str().or_else(|| token["content"].as_str()).unwrap_or_default().to_owned()
}

fn check(template: &ChatTemplate, tokenizer: &Tokenizer, inputs: &Value, case: &Value, name: &str) {
    let empty = Vec::new();
    let input = &inputs[case["input"].as_str().unwrap()];
    let input = TemplateInput {
        messages: input["messages"].as_array().unwrap(),
        tools: input["tools"].as_array().unwrap_or(&empty),
        add_generation_prompt: input["add_generation_prompt"].as_bool().unwrap_or(true),
        variables: input["variables"].as_object().cloned().unwrap_or_default(),
    };
    let rendered = template.render(&input, tokenizer);
    match (case["text"].as_str(), rendered) {
        (Some(text), Ok(prompt)) => assert_eq!(prompt.text(), text, "{name}, {}", case["input"]),
        (None, Err(_)) => {}
        (expected, got) => panic!("{name}, {}: expected {expected:?} {}, got {got:?}", case["input"], case["error"]),
    }
}

/// Checks the cases that carry their template; how many each template has.
fn check_own(goldens: &Value, tokenizer: &Tokenizer) -> BTreeMap<String, usize> {
    let mut checked = BTreeMap::new();
    for case in goldens["cases"].as_array().unwrap() {
        if let Some(source) = case["source"].as_str() {
            let name = case["template"].as_str().unwrap();
            check(&template(source, "<s>", "</s>"), tokenizer, &goldens["inputs"], case, name);
            *checked.entry(name.to_owned()).or_default() += 1;
        }
    }
    checked
}

/// Checks the cases whose `key` is `name`: one for every input, no fewer.
fn check_named(goldens: &Value, key: &str, name: &str, compiled: &ChatTemplate, tokenizer: &Tokenizer) {
    let cases: Vec<&Value> = goldens["cases"].as_array().unwrap().iter().filter(|case| case[key] == *name).collect();
    assert_eq!(cases.len(), goldens["inputs"].as_object().unwrap().len(), "cases of {name}");
    for case in cases {
        check(compiled, tokenizer, &goldens["inputs"], case, name);
    }
}

fn goldens() -> Value {
    serde_json::from_str(GOLDENS).unwrap()
}

#[test]
fn own_templates_render_as_transformers_does() {
    let Some(tokenizer) = load("gpt2") else { return };
    let goldens = goldens();
    let inputs = goldens["inputs"].as_object().unwrap().len();
    assert!(inputs >= 12, "{inputs} inputs");
    let expected: BTreeMap<String, usize> = OWN.iter().map(|name| ((*name).to_owned(), inputs)).collect();
    assert_eq!(check_own(&goldens, &tokenizer), expected);
}

/// Goldens of templates that may not be committed, made with the script's `--against`. `BANTAM_TEMPLATE_GOLDENS` names
/// the file; `cargo xtask verify texts` makes it and runs this.
#[cfg(feature = "by-hand")]
#[test]
fn templates_of_a_folder_render_as_transformers_does() {
    let path = std::env::var("BANTAM_TEMPLATE_GOLDENS").expect("BANTAM_TEMPLATE_GOLDENS names a file");
    let tokenizer = load("gpt2").expect("the package can be had");
    let checked = check_own(&serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap(), &tokenizer);
    assert!(!checked.is_empty());
}

#[test]
fn the_packages_templates_render_as_transformers_does() {
    let goldens = goldens();
    for name in PACKAGES {
        let (Some(tokenizer), Some(folder)) = (load(name), folder(name)) else { continue };
        let config: Value =
            serde_json::from_slice(&std::fs::read(folder.join("tokenizer_config.json")).unwrap()).unwrap();
        let source = config["chat_template"].as_str().unwrap_or_else(|| panic!("{name} has no template"));
        let compiled = template(source, &named(&config, "bos_token"), &named(&config, "eos_token"));
        check_named(&goldens, "package", name, &compiled, &tokenizer);
    }
}

#[test]
fn the_models_templates_render_as_transformers_does() {
    let goldens = goldens();
    for name in MODELS {
        let (Some(tokenizer), Some(source)) = (stored(name), stored_template(name)) else { continue };
        let text = |id: Option<u32>| id.map(|id| tokenizer.token_text(id)).unwrap_or_default();
        let compiled = template(&source, &text(tokenizer.bos()), &text(tokenizer.eos()));
        check_named(&goldens, "model", name, &compiled, &tokenizer);
    }
}

#[test]
fn a_refusal_is_told_in_the_templates_words() {
    let Some(tokenizer) = load("gpt2") else { return };
    let compiled = template("{{ raise_exception('only users') }}", "", "");
    let error = compiled.render(&TemplateInput::default(), &tokenizer).unwrap_err();
    assert!(matches!(&error, TemplateError::Raised(text) if text == "only users"), "{error}");
}

#[test]
fn hostile_templates_end_in_an_error() {
    let Some(tokenizer) = load("gpt2") else { return };
    for source in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{{ 'x' * 99999999999 }}",
        "{{ nothing.at.all }}",
        "{{ messages | no_such_filter }}",
    ] {
        let rendered = template(source, "", "").render(&TemplateInput::default(), &tokenizer);
        assert!(rendered.is_err(), "{source}");
    }
    for source in ["{% if %}", "{{ 'open", "{% endfor %}", &"(".repeat(5000)] {
        let source = if source.starts_with('(') { format!("{{{{ {source} }}}}") } else { source.to_owned() };
        assert!(ChatTemplate::new(&source, "", "").is_err(), "{source}");
    }
    let input = TemplateInput { variables: json!({"messages": 1}).as_object().unwrap().clone(), ..Default::default() };
    assert!(template("x", "", "").render(&input, &tokenizer).is_err());
}
