//! Answers that a scripted model gives.

use super::*;
use crate::Work;
use crate::testing::Scripted;
use futures::executor::block_on;

const TEXT: &str = "The shop opens at nine.\nIt closes  at SIX.";

fn ask(kind: Answer, model: Scripted, input: Value) -> Result<Outcome, TaskError> {
    let input = Input { fields: input.as_object().unwrap().clone(), pages: Vec::new() };
    block_on(async { Task::new("handbook", kind).ready(Arc::new(model), &[]).await?.ask(&input).await })
}

fn about_text(answer: &'static str) -> Result<Outcome, TaskError> {
    let input = json!({"text": TEXT, "question": "When does it close?"});
    ask(Answer::from_field("text"), Scripted::saying(answer), input)
}

#[test]
fn an_answer_comes_with_the_words_that_hold_it() {
    let outcome = about_text(r#"{"quote": "closes at six", "answer": "at six"}"#).unwrap();
    assert_eq!((&outcome.fields["answer"], &outcome.fields["found"]), (&json!("at six"), &json!(true)));
    assert_eq!(outcome.fields["quote"], "closes  at SIX");
    assert_eq!((&outcome.fields["span"]["start"], &outcome.fields["span"]["match"]), (&json!(27), &json!("folded")));
    assert!((outcome.fields["confidence"].as_f64().unwrap() - 0.25).abs() < 1e-6);
    assert_eq!(outcome.fields["parts"], 1);
}

#[test]
fn without_a_quote_that_the_text_has_nothing_was_found() {
    let outcome = about_text(r#"{"quote": "closes at ten", "answer": "at ten"}"#).unwrap();
    assert_eq!((&outcome.fields["answer"], &outcome.fields["found"]), (&Value::Null, &json!(false)));
    let warning = "the model quoted what the text does not have, and its answer was dropped: \"closes at ten\"";
    assert_eq!(outcome.warnings, [warning]);
    let outcome = about_text(r#"{"quote": null, "answer": null}"#).unwrap();
    assert_eq!((&outcome.fields["found"], outcome.warnings.len()), (&json!(false), 0));
    let error = about_text("It closes at six.").unwrap_err().to_string();
    assert!(error.starts_with("expected JSON of quote and answer, got \"It closes at six.\": "), "{error}");
}

#[test]
fn an_answer_that_fills_its_bound_is_told_to_be_incomplete() {
    let outcome = |answer: String| {
        let written = json!({"quote": "closes at six", "answer": answer}).to_string();
        let input = json!({"text": TEXT, "question": "When does it close?"});
        ask(Answer::from_field("text"), Scripted::new(move |_| written.clone()), input).unwrap()
    };
    let repeated = "at six ".repeat(60);
    assert_eq!(outcome(repeated.chars().take(399).collect()).warnings, Vec::<String>::new());
    let warning = "the answer may be incomplete: it has the 400 characters that it may have";
    assert_eq!(outcome(repeated.chars().take(400).collect()).warnings, [warning]);
}

#[test]
fn a_long_text_is_asked_in_parts_and_the_surest_answer_is_taken() {
    let filler = "Nothing of interest stands here. ".repeat(100);
    let text = format!("{filler}The code is not 7 7 7. {filler}The code is 42. {filler}");
    let model = Scripted::new(|prompt| {
        let answer = if prompt.contains("The code is 42.") {
            r#"{"quote": "The code is 42.", "answer": "42"}"#
        } else if prompt.contains("not 7 7 7") {
            r#"{"quote": "not 7 7 7", "answer": "7 7 7"}"#
        } else {
            r#"{"quote": null, "answer": null}"#
        };
        answer.to_owned()
    });
    let outcome = ask(
        Answer::from_field("text"),
        model.with_context(900),
        json!({"text": text, "question": "What is the code?"}),
    )
    .unwrap();
    assert_eq!(outcome.fields["answer"], "42");
    let parts = outcome.fields["parts"].as_u64().unwrap();
    assert!(parts > 3, "{parts}");
    assert!(outcome.warnings[0].ends_with(&format!("it was asked in {parts} parts")), "{:?}", outcome.warnings);
    let start = outcome.fields["span"]["start"].as_u64().unwrap() as usize;
    assert!(text[start..].starts_with("The code is 42."));
}

#[test]
fn a_context_that_the_tasks_own_words_fill_is_told_with_all_numbers() {
    let error = ask(
        Answer::from_field("text"),
        Scripted::saying("{}").with_context(530),
        json!({"text": "word ".repeat(600), "question": "What?"}),
    );
    let expected = "the prompt has 657 tokens, 57 of them the task's own words, and an answer may take 512; the \
                    context holds 530: no part of the text would fit\nhint: load the model with a larger \
                    context, or lower max_tokens in [options]";
    assert_eq!(error.unwrap_err().to_string(), expected);
}

#[test]
fn a_question_alone_is_answered_freely() {
    let outcome =
        ask(Answer::freely(), Scripted::saying(" Paris "), json!({"question": "Capital of France?"})).unwrap();
    assert_eq!(outcome.fields, *json!({"answer": "Paris"}).as_object().unwrap());
}

#[test]
fn one_document_comes_before_all_questions() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("handbook.md"), TEXT).unwrap();
    let parse = |settings: &str| {
        Task::parse(&format!("kind = \"answer\"\n[answer]\n{settings}"), &folder.path().join("ask.toml"))
    };
    let task = parse("document = \"handbook.md\"").unwrap();
    assert_eq!(task.fields(), ["question"]);
    let ready = block_on(task.ready(Arc::new(Scripted::saying("")), &[])).unwrap();
    let input = Input { fields: json!({"question": "When?"}).as_object().unwrap().clone(), pages: Vec::new() };
    assert!(ready.preview(&input).unwrap().ends_with(&format!("Text:\n{TEXT}\n\nQuestion: When?")));
    let error = |settings: &str| parse(settings).unwrap_err().to_string();
    assert!(error("document = \"none\"").contains("ask.toml:3:12: `document`: "));
    assert!(error("from_text = false\ntext = \"a\"").contains(":4:8: `text`: has no effect with `from_text = false`"));
    assert!(
        error("text = \"a\"\ndocument = \"b\"").contains(":4:12: `document`: expected `text` or `document`, got both")
    );
}

#[test]
fn a_quote_that_has_nothing_of_the_answer_is_told_and_yields_to_one_that_has() {
    let outcome = about_text(r#"{"quote": "The shop opens at nine.", "answer": "a cat"}"#).unwrap();
    let warning = "the quote has no word of the answer: it may not be what the answer is from";
    assert_eq!(
        (&outcome.fields["found"], outcome.warnings.as_slice()),
        (&json!(true), [warning.to_owned()].as_slice())
    );
    assert!(shares_a_word("at 20:00", "It closes at 20:00.") && shares_a_word("six", "closes at SIX"));
    assert!(!shares_a_word("The founder's dog", "The office opens") && !shares_a_word("Yes", "The office opens"));
}

#[test]
fn a_quote_may_end_with_a_full_stop_that_the_text_does_not_have() {
    let (place, _) =
        find_quote("Receipts come within 30 days.", "Receipts come within 30 days; later ones do not.").unwrap();
    assert_eq!(place, 0..28);
}

#[test]
fn questions_of_unlike_lengths_find_a_long_text_in_the_same_parts() {
    let text: String = (0..400).map(|n| format!("Fact {n} stands here. ")).collect();
    let model = Arc::new(Scripted::saying(r#"{"quote": null, "answer": null}"#).with_context(900));
    let parts = |question: &str| {
        let before = model.asked().len();
        let input = json!({"text": text, "question": question}).as_object().unwrap().clone();
        let input = Input { fields: input, pages: Vec::new() };
        let task = Task::new("handbook", Answer::from_field("text"));
        block_on(async { task.ready(model.clone(), &[]).await.unwrap().ask(&input).await }).unwrap();
        let texts = model.asked().into_iter().skip(before).map(|asked| asked.prompt);
        texts.map(|prompt| prompt.split("\n\nQuestion:").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(parts("Why?"), parts("Why is it so?"));
}
