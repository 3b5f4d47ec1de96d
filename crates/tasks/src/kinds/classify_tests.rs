//! Labels that a scripted model gives.

use super::*;
use crate::Work;
use crate::testing::Scripted;
use futures::executor::block_on;

fn labels(names: &[&str]) -> Vec<Label> {
    names.iter().map(|name| Label { name: (*name).to_owned(), description: None }).collect()
}

fn triage() -> Classify {
    Classify::new(labels(&["billing", "shipping"])).unwrap()
}

fn asked(task: &Task, model: &Arc<Scripted>, text: &str) -> Result<Outcome, TaskError> {
    block_on(async { task.ready(model.clone(), &[]).await?.ask(&Input::text(text)).await })
}

#[test]
fn the_label_that_scores_best_is_the_outcome_with_its_probability() {
    let model = Arc::new(Scripted::choosing(|_, options| {
        assert_eq!(options, ["billing", "shipping", "none of these"]);
        vec![0.2, 0.7, 0.1]
    }));
    let settings = Classify { none_of_these: Some(Classify::NONE_OF_THESE.to_owned()), all_scores: true, ..triage() };
    let mut task = Task::new("triage", settings);
    task.instructions = Some("Tickets of a shop.".to_owned());
    let outcome = asked(&task, &model, "Where is my parcel?").unwrap();
    assert_eq!(outcome.fields["label"], "shipping");
    assert!((outcome.fields["probability"].as_f64().unwrap() - 0.7).abs() < 1e-9);
    let scores = outcome.fields["scores"].as_array().unwrap();
    assert_eq!(
        scores.iter().map(|score| score["label"].clone()).collect::<Vec<_>>(),
        [json!("shipping"), json!("billing"), Value::Null]
    );
    assert_eq!((outcome.cached_tokens, outcome.completion_tokens), (1, 3));
    let expected = "Tickets of a shop.\n\nLabels:\n- billing\n- shipping\n- none of these\n\n\
                    Answer with the one label that fits the text best, and nothing else.\n\nText:\nWhere is my parcel?";
    assert_eq!(model.asked()[0].prompt, expected);
}

#[test]
fn none_of_these_is_null() {
    let model = Arc::new(Scripted::choosing(|_, _| vec![0.1, 0.1, 0.8]));
    let task = Task::new("triage", Classify { none_of_these: Some("something else".to_owned()), ..triage() });
    assert_eq!(asked(&task, &model, "Hello").unwrap().fields["label"], Value::Null);
}

#[test]
fn a_model_without_a_template_goes_on_from_the_heading() {
    let model = Arc::new(
        Scripted::choosing(|prompt, options| {
            assert!(prompt.ends_with("Text:\nHello\n\nLabel:"), "{prompt}");
            assert_eq!(options, [" billing\n", " shipping\n"]);
            vec![0.6, 0.4]
        })
        .without_template(),
    );
    assert_eq!(asked(&Task::new("triage", triage()), &model, "Hello").unwrap().fields["label"], "billing");
}

#[test]
fn a_model_that_scores_nothing_writes_an_answer_held_to_the_labels() {
    let model = Arc::new(Scripted::saying("shipping"));
    let outcome = asked(&Task::new("triage", triage()), &model, "Hello").unwrap();
    assert_eq!((&outcome.fields["label"], &outcome.fields["probability"]), (&json!("shipping"), &Value::Null));
    let format = model.asked()[0].format.clone();
    assert_eq!(format, Some(AnswerFormat::Choices(vec!["billing".to_owned(), "shipping".to_owned()])));

    let model = Arc::new(Scripted::saying("I think it is billing"));
    let error = asked(&Task::new("triage", triage()), &model, "Hello").unwrap_err();
    assert_eq!(error.to_string(), "the model answered \"I think it is billing\", expected one of billing, shipping");

    let error = asked(&Task::new("triage", Classify { all_scores: true, ..triage() }), &model, "Hello").unwrap_err();
    assert_eq!(error.to_string(), "scripted does not support scores of given answers, which all_scores asks for");
    assert!(error.is_fatal());
}

#[test]
fn with_several_each_label_is_a_question_of_its_own() {
    let model = Arc::new(Scripted::choosing(|prompt, options| {
        assert_eq!(options, ["yes", "no"]);
        if prompt.ends_with("Does the label \"shipping\" fit this text?") { vec![0.03, 0.01] } else { vec![0.1, 0.3] }
    }));
    let settings = Classify { several: true, scoring: OptionScoring::Likelihood, ..triage() };
    let outcome = asked(&Task::new("triage", settings), &model, "Late!").unwrap();
    assert_eq!(outcome.fields["labels"], json!(["shipping"]));
    let probability = |index: usize| outcome.fields["scores"][index]["probability"].as_f64().unwrap();
    assert!((probability(0) - 0.25).abs() < 1e-9 && (probability(1) - 0.75).abs() < 1e-9);
    let prompts: Vec<_> = model.asked().into_iter().map(|asked| asked.prompt).collect();
    let shared = prompts[0].find("Does the label").unwrap();
    assert_eq!(prompts[0][..shared], prompts[1][..shared]);
}

#[test]
fn shots_are_of_every_label_in_turn_and_always_the_same() {
    let example = |text: &str, label: &str| Example { input: Input::text(text), expected: json!(label) };
    let mut examples: Vec<_> = (0..20).map(|n| example(&format!("bill {n}"), "billing")).collect();
    examples.push(example("parcel", "shipping"));
    let model: Arc<Scripted> = Arc::new(Scripted::choosing(|_, _| vec![0.5, 0.5]));
    let task = Task::new("triage", Classify { shots: 4, ..triage() });
    let preview = |task: &Task, examples: &[Example]| {
        let ready = block_on(task.ready(model.clone(), examples)).unwrap();
        (ready.preview(&Input::text("new")).unwrap(), ready.fingerprint().to_owned(), ready.warnings().to_vec())
    };
    let (shown, fingerprint, warnings) = preview(&task, &examples);
    assert_eq!(shown.matches("[assistant]\nbilling").count(), 3, "{shown}");
    assert_eq!(shown.matches("parcel\n\n[assistant]\nshipping").count(), 1, "{shown}");
    assert!(shown.ends_with("[user]\nText:\nnew") && warnings.is_empty());
    examples.reverse();
    assert_eq!(preview(&task, &examples), (shown, fingerprint.clone(), warnings));
    let other = Task::new("triage", Classify { shots: 4, seed: 9, ..triage() });
    assert_ne!(preview(&other, &examples).1, fingerprint);
    let (_, _, warnings) = preview(&task, &examples[..2]);
    assert_eq!(warnings, ["4 examples are to be shown, there are only 2"]);
}

#[test]
fn one_label_alone_is_told_to_say_nothing() {
    let warnings = |kind: Classify| {
        let model = Arc::new(Scripted::choosing(|_, _| vec![1.0]));
        block_on(Task::new("triage", kind).ready(model, &[])).unwrap().warnings().to_vec()
    };
    let one = || Classify::new(labels(&["billing"])).unwrap();
    let told = "there is one label: every text is \"billing\", unless none_of_these lets it be none";
    assert_eq!(warnings(one()), [told]);
    let or_none = Classify { none_of_these: Some("other".to_owned()), ..one() };
    assert_eq!(warnings(or_none), Vec::<String>::new());
    assert_eq!(warnings(Classify { several: true, ..one() }), Vec::<String>::new());
    assert_eq!(warnings(triage()), Vec::<String>::new());
}

#[test]
fn a_text_longer_than_the_context_is_refused_with_both_numbers() {
    let model = Arc::new(Scripted::saying("billing").with_context(20));
    let error = asked(&Task::new("triage", triage()), &model, &"word ".repeat(50)).unwrap_err();
    assert!(
        error.to_string().starts_with("the prompt has 69 tokens, the context holds 20\nhint: shorten it"),
        "{error}"
    );
    assert!(matches!(error, TaskError::Input(_)));
}

#[test]
fn expected_labels_are_read_as_tables_have_them() {
    let several = Classify { several: true, ..triage() };
    assert_eq!(several.expected(json!("billing; shipping")), Ok(json!(["billing", "shipping"])));
    assert_eq!(several.expected(json!("")), Ok(json!([])));
    assert_eq!(
        triage().expected(json!("")),
        Err("expected one of the labels billing, shipping, got an empty cell".to_owned())
    );
    let numbers = Classify::new(labels(&["1", "2"])).unwrap();
    assert_eq!(numbers.expected(json!(1)), Ok(json!("1")));
}

#[test]
fn settings_that_contradict_each_other_are_refused_without_a_file_too() {
    let model = Arc::new(Scripted::choosing(|_, _| vec![1.0, 0.0]));
    let error = |settings| asked(&Task::new("triage", settings), &model, "x").unwrap_err().to_string();
    let none = Some("Billing".to_owned());
    assert_eq!(
        error(Classify { none_of_these: none.clone(), ..triage() }),
        "the wording \"Billing\" for none of the labels is also the name of one\nhint: leave one of them out"
    );
    assert!(
        error(Classify { several: true, none_of_these: none, ..triage() })
            .starts_with("of several labels none may fit")
    );
    assert!(error(Classify { several: true, shots: 1, ..triage() }).starts_with("with several labels no examples"));
}
