//! Tasks that begin with a table.

use super::*;
use crate::{Input, Task};
use serde_json::json;
use std::path::Path;

fn rows(values: impl IntoIterator<Item = Value>) -> Vec<(u64, Map<String, Value>)> {
    values.into_iter().enumerate().map(|(n, value)| (n as u64 + 2, value.as_object().unwrap().clone())).collect()
}

fn tickets() -> Vec<(u64, Map<String, Value>)> {
    let label = |n: usize| ["billing", "shipping", "returns"][n % 3];
    rows((0..30).map(|n| json!({"id": n, "text": format!("ticket number {n} about something"), "team": label(n)})))
}

fn parsed(draft: &Draft) -> Task {
    Task::parse(&draft.file, Path::new("begun.toml")).unwrap_or_else(|error| panic!("{error}\n{}", draft.file))
}

#[test]
fn labels_and_texts_are_found_and_each_label_is_in_both_parts() {
    let rows = tickets();
    let draft = init("classify", &rows, "train.csv", "test.csv", 0).unwrap();
    let task = parsed(&draft);
    assert_eq!((task.fields(), task.data.expected.as_deref()), (vec!["text"], Some("team")));
    assert!(draft.file.contains("labels = [\"billing\", \"returns\", \"shipping\"]"), "{}", draft.file);
    assert_eq!((draft.train.len(), draft.test.len()), (24, 6));
    for label in ["billing", "shipping", "returns"] {
        assert_eq!(draft.test.iter().filter(|&&index| rows[index].1["team"] == label).count(), 2);
    }
    let mut all: Vec<_> = draft.train.iter().chain(&draft.test).copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
    assert_eq!(draft, init("classify", &rows, "train.csv", "test.csv", 0).unwrap());
    assert_ne!(draft.test, init("classify", &rows, "train.csv", "test.csv", 1).unwrap().test);
    for &index in &draft.test {
        task.example(Input { fields: rows[index].1.clone(), pages: Vec::new() }).unwrap();
    }
}

#[test]
fn the_same_text_is_never_on_both_sides() {
    let text =
        |n: usize| if n.is_multiple_of(2) { format!("Text  {}", n % 10) } else { format!("text {}", (n - 1) % 10) };
    let label = |n: usize| if n == 1 { "b" } else { "a" };
    let rows = rows((0..40).map(|n| json!({"text": text(n), "label": label(n)})));
    let draft = init("classify", &rows, "train.csv", "test.csv", 0).unwrap();
    let key = |&index: &usize| rows[index].1["text"].as_str().unwrap().to_lowercase().replace("  ", " ");
    let train: Vec<_> = draft.train.iter().map(key).collect();
    assert!(!draft.test.is_empty() && draft.test.iter().map(key).all(|text| !train.contains(&text)));
    assert_eq!(draft.notes[0], "35 rows have a text that an earlier row has; they stay on its side of the split");
    assert_eq!(draft.notes[1], "rows 2 and 3 have the same text, and are labelled \"a\" and \"b\"");
    let few = format!("rows to judge by: {}; with fewer than 50 ", draft.test.len());
    assert!(draft.notes.iter().any(|note| note.starts_with(&few)), "{:?}", draft.notes);
}

#[test]
fn what_is_right_never_stands_in_the_prompt_of_a_text_to_generate() {
    let input = |names: [&str; 3]| {
        let [id, asked, right] = names;
        let row = |n: usize| json!({id: n, asked: format!("Say {n}."), right: format!("A long answer about {n}, longer than the question.")});
        let draft = init("generate", &rows((0..10).map(row)), "train.csv", "test.csv", 0).unwrap();
        let task = parsed(&draft);
        (task.fields().concat(), task.data.expected.clone())
    };
    assert_eq!(input(["id", "question", "target"]), ("question".to_owned(), Some("target".to_owned())));
    assert_eq!(input(["id", "order", "reply"]), ("order".to_owned(), Some("reply".to_owned())));
    assert_eq!(input(["id", "order", "sql"]), ("order".to_owned(), None));
}

#[test]
fn every_kind_begins_with_a_file_that_is_sound() {
    let table = rows((0..10).map(|n| {
        json!({
            "odd{name": n, "text": format!("A longer text {n} of several words."), "question": format!("What is {n}?"),
            "label": (if n % 2 == 0 { "x" } else { "y \"q\" \u{7f}" }), "answer": "A", "summary": "S",
            "prefix": format!("fn a{n}() {{"), "suffix": "}",
            "completion": "1",
        })
    }));
    for kind in KINDS {
        let draft = init(kind.name, &table, "a/train.csv", "a/test.csv", 0).unwrap();
        let task = parsed(&draft);
        assert_eq!(task.kind(), kind.name);
        let columns = ["text", "question", "label", "answer", "summary", "prefix", "suffix", "completion"];
        task.check_columns("train", &columns).unwrap();
        assert_eq!((draft.train.len() + draft.test.len(), draft.test.is_empty()), (10, false), "{}", kind.name);
    }
}

#[test]
fn fields_have_the_types_that_their_values_have() {
    let right = |n: usize| json!({"shop": "A", "total": n as f64 + 0.5, "count": n, "paid": true}).to_string();
    let table = rows((0..6).map(|n| json!({"text": format!("receipt {n}"), "expected": right(n)})));
    let draft = init("extract", &table, "train.csv", "test.csv", 0).unwrap();
    let fields =
        "fields = { \"shop\" = \"text\", \"total\" = \"number\", \"count\" = \"integer\", \"paid\" = \"boolean\" }";
    assert!(draft.file.contains(fields), "{}", draft.file);
    assert!(parsed(&draft).check_rows("train.csv", &table).is_empty());
}

#[test]
fn what_cannot_begin_says_why() {
    let error = |kind: &str, rows: &[(u64, Map<String, Value>)]| init(kind, rows, "a", "b", 0).unwrap_err().to_string();
    assert!(
        error("clasify", &tickets())
            .starts_with("there is no kind \"clasify\"\nhint: did you mean \"classify\"? expected one")
    );
    assert_eq!(error("classify", &[]), "the table has no rows\nhint: a task begins with a few examples");
    let one = rows([json!({"text": "a"}), json!({"text": "b"})]);
    assert!(error("classify", &one).starts_with("no column looks like labels: its columns are text\nhint: "));
}

#[test]
fn one_text_alone_is_to_learn_from() {
    let draft = init("classify", &rows([json!({"text": "a", "label": "x"})]), "a", "b", 0).unwrap();
    assert_eq!((draft.train.len(), draft.test.len()), (1, 0));
    assert!(!draft.file.contains("\ntest = "));
    assert!(draft.notes.iter().any(|note| note.starts_with("there are too few different texts")));
}
