//! Tests of `linear.rs`: toy tables, odd texts, threads.

use super::*;
use crate::baselines::testing::{ask, classify, example, learned};
use serde_json::json;
use tasks::{Example, Task};

const LABELS: [&str; 3] = ["card", "cash", "login"];

/// Texts of three labels that words alone tell apart.
fn toy() -> (Task, Vec<Example>) {
    let words = [
        ["card lost", "card stolen", "new card"],
        ["cash machine", "no cash", "cash please"],
        ["cannot log in", "password wrong", "login page"],
    ];
    let around = ["", "please help: ", "today ", "hello, ", "again "];
    let rows = LABELS.iter().zip(words).flat_map(|(label, texts)| {
        let each = move |text: &'static str| around.map(|around| example(&format!("{around}{text}"), json!(label)));
        texts.into_iter().flat_map(each)
    });
    (classify(&LABELS, |settings| settings.all_scores = true), rows.collect())
}

#[test]
fn what_words_tell_apart_is_learned_exactly() {
    let (task, examples) = toy();
    let work = learned(&ROW, &task, &examples);
    for example in &examples {
        let text = example.input.fields["text"].as_str().unwrap();
        let outcome = ask(&*work, text);
        assert_eq!(outcome["label"], example.expected, "{text}: {outcome}");
        assert!(outcome["probability"].as_f64().unwrap() > 0.8, "{text}: {outcome}");
        let sum: f64 = outcome["scores"].as_array().unwrap().iter().filter_map(|one| one["probability"].as_f64()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{outcome}");
    }
    assert_eq!(ask(&*work, "Somebody stole my CARD")["label"], "card");
}

#[test]
fn texts_without_known_words_get_an_answer_that_is_not_sure() {
    let (task, examples) = toy();
    let work = learned(&ROW, &task, &examples);
    for text in ["", " \n", "ωψ", "!?"] {
        let probability = ask(&*work, text)["probability"].as_f64().unwrap();
        assert!(probability < 0.5, "{text:?}: {probability}");
    }
}

#[test]
fn a_label_with_one_example_is_learned_and_one_without_is_never_given() {
    let (_, mut examples) = toy();
    examples.push(example("exchange rate", json!("rate")));
    let task = classify(&["none such", "card", "cash", "login", "rate"], |settings| settings.all_scores = true);
    let work = learned(&ROW, &task, &examples);
    assert_eq!(ask(&*work, "exchange rate")["label"], "rate");
    let scores = ask(&*work, "unheard")["scores"].clone();
    assert_eq!(scores[4], json!({"label": "none such", "probability": 0.0}));
    // One example of all: nothing can be held back, and there is nothing else that it could be.
    let alone = learned(&ROW, &task, &[example("x", json!("cash"))]);
    assert_eq!(ask(&*alone, "y")["probability"], 1.0);
}

#[test]
fn any_number_of_labels_may_fit() {
    let task = classify(&["a", "b", "never"], |settings| settings.several = true);
    let words =
        [("alpha", json!(["a"])), ("beta", json!(["b"])), ("alpha beta", json!(["a", "b"])), ("gamma", json!([]))];
    let examples: Vec<_> =
        (0..40).map(|row| example(&format!("{} {row}", words[row % 4].0), words[row % 4].1.clone())).collect();
    let work = learned(&ROW, &task, &examples);
    for (text, labels) in words {
        let outcome = ask(&*work, text);
        assert_eq!(outcome["labels"], labels, "{outcome}");
        assert_eq!(outcome["scores"][2], json!({"label": "never", "fits": false, "probability": 0.0}));
    }
    let none = learned(&ROW, &task, &[example("x", json!([])), example("y", json!([]))]);
    assert_eq!(ask(&*none, "x")["labels"], json!([]));
}

#[test]
fn what_is_learned_does_not_depend_on_threads() {
    let labels: Vec<String> = (0..40).map(|label| format!("label {label}")).collect();
    let names: Vec<&str> = labels.iter().map(String::as_str).collect();
    let task = classify(&names, |_| {});
    let rows =
        (0..400).map(|row| example(&format!("w{} w{} common", row % 40, row * row % 7), json!(labels[row % 40])));
    let examples: Vec<_> = rows.collect();
    let learn =
        |threads: usize| Linear::learn(&Lesson { task: &task, examples: &examples, embedder: None, threads }).unwrap();
    let (one, two) = (learn(1), learn(2));
    assert_eq!(one.separators, two.separators);
    assert_eq!(one.sharpness.to_bits(), two.sharpness.to_bits());
}

#[test]
fn a_row_without_the_field_is_named() {
    let (mut task, mut examples) = toy();
    task.input = Template::field("body");
    examples.truncate(1);
    let error = refused(&task, &examples);
    assert!(
        error.starts_with("train, row 1: the input has no field \"body\", which the task reads\nhint: "),
        "{error}"
    );
}

fn refused(task: &Task, examples: &[Example]) -> String {
    let lesson = Lesson { task, examples, embedder: None, threads: 1 };
    Linear::learn(&lesson).err().map(|error| error.to_string()).unwrap_or_default()
}
