//! Task files as they are read, and what is said of those that are wrong.

use super::*;
use crate::seeded::rank;

const TRIAGE: &str = r#"kind = "classify"
model = "small:1b"
instructions = """
Tickets of a shop.
"""
input = "Subject: {subject}\n\n{body}"

[data]
train = "tickets/train.csv"
expected = "team"

[options]
seed = 7

[classify]
none_of_these = true
shots = 2

[[classify.label]]
name = "billing"
description = "invoices, refunds"

[[classify.label]]
name = "shipping"
"#;

fn parse(text: &str) -> Result<Task, TaskError> {
    Task::parse(text, Path::new("jobs/triage.toml"))
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn row(value: Value) -> Input {
    Input { fields: value.as_object().unwrap().clone(), pages: Vec::new() }
}

#[test]
fn a_file_says_all_that_is_asked() {
    let task = parse(TRIAGE).unwrap();
    assert_eq!((task.name.as_str(), task.kind(), task.model.as_deref()), ("triage", "classify", Some("small:1b")));
    assert_eq!(task.instructions.as_deref(), Some("Tickets of a shop."));
    assert_eq!(task.data.train.as_deref(), Some(Path::new("jobs/tickets/train.csv")));
    assert_eq!(task.fields(), ["subject", "body"]);
    assert_eq!((task.options.temperature, task.options.seed), (Some(0.0), Some(7)));
}

#[test]
fn a_fingerprint_changes_with_what_is_asked_and_with_nothing_else() {
    let fingerprint = |text: &str| parse(text).unwrap().fingerprint();
    let before = fingerprint(TRIAGE);
    assert_eq!(before.len(), 64);
    assert_eq!(before, fingerprint(&TRIAGE.replace("small:1b", "other:1b").replace("train.csv", "other.csv")));
    for (old, new) in [("refunds", "payments"), ("a shop", "two shops"), ("seed = 7", "seed = 8"), ("{body}", "{text}")]
    {
        assert_ne!(before, fingerprint(&TRIAGE.replace(old, new)), "{old} -> {new}");
    }
}

/// Files with the beginning of what is said of them.
const WRONG: &[(&str, &str)] = &[
    ("kind = ", "1:8: string values must be quoted, expected literal string\nhint: a task file is TOML"),
    ("model = \"a\"", "1:1: the task file lacks `kind`\nhint: expected `kind = \"...\"`, one of classify"),
    ("kind = 3", "1:8: `kind`: expected one of classify, extract, summarize, answer, complete, generate"),
    (
        "kind = \"clasify\"",
        "1:8: there is no kind \"clasify\"\nhint: did you mean \"classify\"? expected one of classify, \
         extract, summarize, answer, complete, generate",
    ),
    (
        "kind = \"classify\"\ninstruction = \"a\"",
        "2:1: unknown key \"instruction\" in the task file\nhint: did you mean `instructions`? its keys are \
         kind, model",
    ),
    (
        "kind = \"classify\"\n  [classify]\nlables = []",
        "3:1: unknown key \"lables\" in [classify]\nhint: did you mean `labels`? its keys are labels, label",
    ),
    ("kind = \"classify\"", "1:8: there are no labels\nhint: add `labels = "),
    ("kind = \"classify\"\nclassify = 1", "2:12: `classify`: expected a table, got the number 1"),
    ("kind = \"classify\"\n[classify]\nlabels = []", "3:10: `labels`: there are no labels\nhint: name at least one"),
    (
        "kind = \"classify\"\n[classify]\nlabels = [\"ä\",\n \" \"]",
        "4:2: `labels`: a label is blank\nhint: a label is what the model says",
    ),
    (
        "kind = \"classify\"\n[classify]\nlabels = [\"ä\", \"b\", \"Ä\"]",
        "3:21: `labels`: the label \"Ä\" stands twice: \"ä\" is the same but for its case\nhint: leave one \
         of them out",
    ),
    (
        "kind = \"classify\"\n[classify]\nlabels = [\"a\", \"a\"]",
        "3:16: `labels`: the label \"a\" stands twice\nhint: leave one of them out",
    ),
    ("kind = \"classify\"\n[classify]\nlabels = [1]", "3:11: `labels`: expected a text in quotes, got the number 1"),
    (
        "kind = \"classify\"\n[classify]\nlabels = [\"a\"]\n[[classify.label]]\nname = \"b\"",
        "4:1: `label`: expected `labels` or [[classify.label]], got both",
    ),
    (
        "kind = \"classify\"\n[[classify.label]]\ndescription = \"b\"",
        "2:1: [classify.label] lacks `name`\nhint: expected `name = \"...\"`, what the model says",
    ),
    (
        "kind = \"classify\"\n[classify]\nlabels = [\"a\"]\nnone_of_these = \"A\"",
        "4:17: `none_of_these`: this wording is also the name of a label\nhint: take another",
    ),
    (
        "kind = \"classify\"\n[classify]\nlabels = [\"a\"]\nshots = 4",
        "4:9: `shots`: there is nothing to show\nhint: [data] needs `train`",
    ),
    (
        "kind = \"classify\"\n[classify]\nlabels = [\"a\"]\nseveral = true\nshots = 4",
        "5:9: `shots`: with `several` each label is a question of its own",
    ),
    (
        "kind = \"classify\"\n[classify]\nlabels = [\"a\"]\nthreshold = 0.3",
        "4:13: `threshold`: has no effect without `several = true`\nhint: take it out",
    ),
    (
        "kind = \"classify\"\n[classify]\nlabels = [\"a\"]\nscoring = \"trie\"",
        "4:11: `scoring`: expected \"tree\" or \"likelihood\", got the text \"trie\"",
    ),
    ("kind = \"classify\"\ninput = \"{text\"", "2:9: `input`: character 1 of the template: expected a `}`"),
    (
        "kind = \"classify\"\n[options]\ntop_p = 1.5",
        "3:9: `top_p`: expected a number above 0, at most 1, got the number 1.5",
    ),
    (
        "kind = \"classify\"\n[options]\nmax_tokens = 0",
        "3:14: `max_tokens`: expected a whole number of 1 or more, got the number 0",
    ),
    ("kind = \"classify\"\n[options]\nstop = [\"\"]", "3:9: `stop`: expected a text of at least one character, got"),
    (
        "kind = \"classify\"\n[data]\nlabel = \"x\"",
        "3:1: unknown key \"label\" in [data]\nhint: its keys are train, test, expected",
    ),
];

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_to_do() {
    for (text, expected) in WRONG {
        let error = error(text);
        let expected = format!("jobs/triage.toml:{expected}");
        assert!(error.starts_with(&expected), "of {text:?}\n{error}\nexpected\n{expected}");
    }
}

#[test]
fn columns_that_a_table_lacks_are_told_with_the_nearest() {
    let task = parse(TRIAGE).unwrap();
    task.check_columns("train.csv", &["subject", "body", "team"]).unwrap();
    let error = task.check_columns("train.csv", &["subject", "boddy", "team"]).unwrap_err();
    let expected = "train.csv has no column \"body\", which the task reads\n\
                    hint: did you mean `boddy`? its columns are subject, boddy, team";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_row_becomes_an_example_whose_label_is_known() {
    let task = parse(TRIAGE).unwrap();
    let example = |team: Value| task.example(row(json!({"subject": "s", "body": "b", "team": team})));
    let billing = example(json!("billing")).unwrap();
    assert_eq!(billing.expected, json!("billing"));
    assert!(!billing.input.fields.contains_key("team"));
    assert_eq!(example(json!("none of these")).unwrap().expected, Value::Null);
    let error = example(json!("sales")).unwrap_err().to_string();
    assert_eq!(error, "column \"team\": \"sales\" is not one of the labels: billing, shipping, none of these");
    let error = task.example(row(json!({"subject": "s"}))).unwrap_err().to_string();
    assert!(error.starts_with("the input has no field \"team\""), "{error}");
}

#[test]
fn rows_that_the_task_cannot_do_are_named_by_their_number() {
    let task = parse(TRIAGE).unwrap();
    let rows =
        [json!({"subject": "s", "body": "b", "team": "billing"}), json!({"subject": "s", "body": "b", "team": "x"})];
    let rows: Vec<_> = rows.into_iter().zip(2..).map(|(row, n)| (n, row.as_object().unwrap().clone())).collect();
    let expected =
        "tickets.csv, row 3: column \"team\": \"x\" is not one of the labels: billing, shipping, none of these";
    assert_eq!(task.check_rows("tickets.csv", &rows), [expected]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let error = Task::open(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be read: ", path.display())), "{error}");
    std::fs::write(&path, b"kind = \"\xff\"").unwrap();
    let error = Task::open(&path).unwrap_err().to_string();
    assert!(error.ends_with("expected UTF-8, byte 8 is none\nhint: save it as UTF-8"), "{error}");
    std::fs::write(&path, vec![b'#'; LONGEST_FILE as usize + 1]).unwrap();
    let error = Task::open(&path).unwrap_err().to_string();
    assert!(error.ends_with("expected at most 1048576 bytes, got more"), "{error}");
}

/// Task files with characters changed, doubled and left out are read or refused, and never end the program.
#[test]
fn changed_files_are_refused_without_a_panic() {
    let others =
        "kind = \"extract\"\n[extract]\nfields = { a = \"date\", b = { type = \"text\", description = \"c\" } }\n";
    let schema = "kind = \"extract\"\n[extract.schema]\ntype = \"object\"\n[extract.schema.properties.a]\nenum \
                  = [1, \"x\", 2.5]\n";
    let free = "kind = \"generate\"\ninput = \"{a}{{\"\n[generate]\nchoices = [\"a\", \"b\"]\n[options]\nstop = \
                [\"a\"]\ntop_p = 0.5\n";
    let short = "kind = \"summarize\"\n[summarize]\nwords = 40\nstyle = \"plain\"\n";
    let code = "kind = \"complete\"\n[complete]\nstop = \"line\"\nsuffix = \"after\"\n";
    let ask = "kind = \"answer\"\n[answer]\nfrom_text = true\ntext = \"body\"\n";
    for source in [TRIAGE, others, schema, free, short, code, ask] {
        parse(source).unwrap();
        let refused = (0..1000).filter(|&seed| parse(&changed(source, seed)).is_err()).count();
        assert!(
            refused > 250,
            "only {refused} of 1000 were refused: the changes are too small to say much of {source}"
        );
    }
}

fn changed(source: &str, seed: u64) -> String {
    let mut text: Vec<char> = source.chars().collect();
    for round in 0..=seed % 3 {
        if text.is_empty() {
            break;
        }
        let number = rank(seed, &format!("{round}")) as usize;
        let (at, kind) = (number % text.len(), (number >> 32) % 4);
        match kind {
            0 => text[at] = ['{', '}', '"', '[', ']', '=', '\n', '0', 'ß', '\0'][(number >> 40) % 10],
            1 => drop(text.remove(at)),
            2 => text.truncate(at.max(1)),
            _ => {
                let copied = text[at..(at + 20).min(text.len())].to_vec();
                text.splice(at..at, copied);
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn a_file_nested_without_end_is_refused() {
    let lists = format!("kind = \"extract\"\n[extract]\nschema = {}", "[".repeat(100_000));
    let tables = format!("kind = \"extract\"\n[extract]\nschema = {}", "{a=".repeat(100_000));
    let keys = format!("kind = \"extract\"\n[extract]\nschema{} = 1", ".a".repeat(100_000));
    let headers = format!("kind = \"extract\"\n[extract.schema{}]\nb = 1", ".a".repeat(100_000));
    for text in [lists, tables, keys, headers] {
        assert!(parse(&text).is_err());
    }
}
