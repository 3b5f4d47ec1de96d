//! Code that a scripted model writes.

use super::*;
use crate::Work;
use crate::testing::Scripted;
use futures::executor::block_on;
use std::path::Path;

fn asked(kind: Complete, model: &Arc<Scripted>, input: Value) -> Result<Outcome, TaskError> {
    let input = Input { fields: input.as_object().unwrap().clone(), pages: Vec::new() };
    block_on(async { Task::new("code", kind).ready(model.clone(), &[]).await?.ask(&input).await })
}

#[test]
fn the_model_is_stopped_as_soon_as_the_block_is_over() {
    let model = Arc::new(Scripted::saying("    return a + b\n\n\ndef sub(a, b):\n    return a - b\n"));
    let outcome = asked(Complete::default(), &model, json!({"prefix": "def add(a, b):\n"})).unwrap();
    assert_eq!(outcome.fields, *json!({"completion": "    return a + b\n", "ended": "block"}).as_object().unwrap());
    // Four blanks, `return a + b`, two line breaks and `def`: the model was not read to its end.
    assert_eq!((*model.read_tokens.lock().unwrap(), outcome.completion_tokens), (11, 11));
}

#[test]
fn a_line_ends_with_its_line() {
    let model = Arc::new(Scripted::saying("1 + 2;\r\nlet y = 3;\n"));
    let kind = Complete { end: CompletionEnd::Line, suffix: None };
    let outcome = asked(kind.clone(), &model, json!({"prefix": "let x = "})).unwrap();
    assert_eq!(outcome.fields, *json!({"completion": "1 + 2;", "ended": "line"}).as_object().unwrap());
    let outcome = asked(kind, &Arc::new(Scripted::saying("1")), json!({"prefix": "let x = "})).unwrap();
    assert_eq!(outcome.fields["ended"], "model");
}

#[test]
fn what_follows_goes_to_a_model_that_fills_in_and_is_told_of_where_none_does() {
    let model = Arc::new(Scripted::saying("b()\n}"));
    let input = json!({"prefix": "fn a() {\n    ", "suffix": "\n}\n"});
    let outcome = asked(Complete::default(), &model, input.clone()).unwrap();
    assert_eq!((model.asked()[0].suffix.as_deref(), &outcome.fields["completion"]), (Some("\n}\n"), &json!("b()")));
    let model = Arc::new(Scripted::saying("b()\n}").without(|can| can.insert = false));
    let outcome = asked(Complete::default(), &model, input).unwrap();
    assert_eq!(model.asked()[0].suffix, None);
    assert_eq!(outcome.warnings, ["the model does not fill in the middle: what follows the cursor was not read"]);
}

#[test]
fn code_that_is_too_long_is_read_near_the_cursor_and_the_outcome_says_so() {
    let model = Arc::new(Scripted::saying("end").with_context(600));
    let prefix: String = (0..1000).map(|n| format!("line {n}\n")).collect();
    let outcome = asked(Complete::default(), &model, json!({"prefix": prefix, "suffix": "tail\n"})).unwrap();
    let read = &model.asked()[0].prompt;
    assert!(read.starts_with("line ") && read.ends_with("line 999\n") && prefix.ends_with(read.as_str()));
    let expected = format!(
        "the code is longer than the context: of 8890 bytes before the cursor the last {} were read",
        read.len()
    );
    assert!(outcome.warnings[0].starts_with(&expected), "{:?}", outcome.warnings);
    let model = Arc::new(Scripted::saying("end").with_context(0));
    let error = asked(Complete::default(), &model, json!({"prefix": "word"})).unwrap_err().to_string();
    assert!(error.starts_with("the lines at the cursor alone are longer than the context"), "{error}");
}

#[test]
fn a_place_in_a_file_is_an_input() {
    let parts = |line, column| {
        cursor("ab\r\nçd\n", line, column).map(|input| (input.fields["prefix"].clone(), input.fields["suffix"].clone()))
    };
    assert_eq!(parts(1, 3).unwrap(), (json!("ab"), json!("\r\nçd\n")));
    assert_eq!(parts(2, 2).unwrap(), (json!("ab\r\nç"), json!("d\n")));
    assert_eq!(parts(3, 1).unwrap(), (json!("ab\r\nçd\n"), json!("")));
    assert_eq!(parts(4, 1).unwrap_err().to_string(), "there is no line 4\nhint: the text has 3 lines, counted from 1");
    assert_eq!(
        parts(2, 9).unwrap_err().to_string(),
        "line 2 has no column 9\nhint: columns go from 1 to 3, the line's end"
    );
    assert!(parts(1, 0).is_err() && parts(0, 1).is_err());
}

#[test]
fn what_a_completion_cannot_do_is_told() {
    let model = Arc::new(Scripted::saying("").without(|can| can.complete = false));
    let error = asked(Complete::default(), &model, json!({"prefix": ""})).unwrap_err();
    assert_eq!(error.to_string(), "scripted does not support completion of plain text");
    let task = |text: &str| Task::parse(&format!("kind = \"complete\"\n{text}"), Path::new("a.toml"));
    let error = task("[complete]\nstop = \"word\"").unwrap_err().to_string();
    assert_eq!(error, "a.toml:3:8: `stop`: expected \"block\" or \"line\", got the text \"word\"");
    let ready =
        block_on(task("instructions = \"Be nice.\"").unwrap().ready(Arc::new(Scripted::saying("")), &[])).unwrap();
    assert_eq!(ready.warnings(), ["`instructions` have no effect on a completion: code is continued as it stands"]);
}

#[test]
fn a_completion_is_over_where_it_repeats_what_follows() {
    let end = |text: &'static str, suffix| end_of(CompletionEnd::Block, "", text, suffix).map(|end| &text[..end]);
    assert_eq!(end("sum + price, 0);\n", ", 0);\n"), Some("sum + price"));
    assert_eq!(end("a\n  return b\n", "\n    return b\n}"), Some("a"));
    assert_eq!(end("x = [return b]\n", "\n    return b\n}"), None);
    assert_eq!(end("a }", " }\n"), Some("a"));
    assert_eq!(end("a, b", ", b"), None);
}
