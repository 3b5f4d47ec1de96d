//! Objects that a scripted model writes.

use super::*;
use crate::Work;
use crate::testing::Scripted;
use futures::executor::block_on;

fn asked(kind: Extract, answer: &'static str, text: &str) -> Result<Outcome, TaskError> {
    let model = Arc::new(Scripted::saying(answer));
    block_on(async { Task::new("receipts", kind).ready(model, &[]).await?.ask(&Input::text(text)).await })
}

fn receipt() -> Extract {
    let total = Field { kind: "number".to_owned(), description: Some("with tax".to_owned()), ..Field::text("total") };
    Extract::fields(&[Field::text("shop"), total, Field { kind: "date".to_owned(), ..Field::text("day") }]).unwrap()
}

fn parse(text: &str, path: &Path) -> Result<Task, TaskError> {
    Task::parse(&format!("kind = \"extract\"\n[extract]\n{text}"), path)
}

#[test]
fn each_value_has_its_confidence_and_its_place() {
    let answer = r#"{"shop": "Blue Door", "total": 12.5, "day": null}"#;
    let outcome = asked(receipt(), answer, "BLUE DOOR\nTotal 12,50 EUR").unwrap();
    assert_eq!(outcome.fields["value"], json!({"shop": "Blue Door", "total": 12.5, "day": null}));
    let fields = &outcome.fields["fields"];
    // The scripted model's tokens end with a blank and have probability one half: the shop is made of two.
    assert!((fields["/shop"]["confidence"].as_f64().unwrap() - 0.25).abs() < 1e-6);
    assert!((fields["/total"]["confidence"].as_f64().unwrap() - 0.5).abs() < 1e-6);
    assert_eq!(fields["/shop"]["span"]["match"], "folded");
    assert_eq!((&fields["/total"]["span"]["start"], &fields["/total"]["span"]["end"]), (&json!(16), &json!(21)));
    assert_eq!(fields["/day"]["span"], Value::Null);
}

#[test]
fn the_prompt_names_the_fields_and_the_answer_is_held_to_their_schema() {
    let model = Arc::new(Scripted::saying(r#"{"shop":null,"total":null,"day":null}"#).warning("`title` has no effect"));
    let task = Task::new("receipts", receipt());
    let ready = block_on(task.ready(model.clone(), &[])).unwrap();
    assert_eq!(ready.warnings(), ["`title` has no effect"]);
    block_on(ready.ask(&Input::text("nothing"))).unwrap();
    let asked = &model.asked()[0];
    let expected = "Read the text and write a JSON object of what it says. Copy values as they stand in the \
                    text.\nFields:\n- shop\n- total (a number): with tax\n- day (a date as YYYY-MM-DD)\nWhere \
                    the text does not say, a field is null if it may be.\n\nText:\nnothing";
    assert_eq!(asked.prompt, expected);
    assert_eq!(asked.format, Some(AnswerFormat::JsonSchema(receipt().schema().clone())));
    assert_eq!((asked.options.top_logprobs, asked.options.temperature), (Some(0), Some(0.0)));
}

#[test]
fn an_answer_that_is_not_what_was_asked_for_is_an_error() {
    let error = |answer| asked(receipt(), answer, "text").unwrap_err().to_string();
    assert_eq!(error("[]"), "the answer is not of the schema: at \"\": [] is not of type \"object\"");
    assert!(error("Sure: {").starts_with("expected JSON, got \"Sure: {\": expected value"));
    let model = Arc::new(Scripted::saying(r#"{"shop": "a b c d e f g"#));
    let mut task = Task::new("receipts", receipt());
    task.options.max_tokens = Some(3);
    let error = block_on(async { task.ready(model, &[]).await.unwrap().ask(&Input::text("")).await }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer is incomplete, it ended after 3 tokens: \"{\\\"shop\\\": \\\"a b \"\nhint: raise max_tokens \
         in [options], or extract less at once"
    );
    assert!(matches!(error, TaskError::Output(_)));
}

#[test]
fn a_field_has_a_name_and_perhaps_a_type_and_a_description() {
    let text = |text: &str| {
        let Field { name, description, kind } = Field::parse(text);
        (name, kind, description.unwrap_or_default())
    };
    let expected = |name: &str, kind: &str, description: &str| (name.into(), kind.into(), description.into());
    assert_eq!(text("company"), expected("company", "text", ""));
    assert_eq!(text("total:number"), expected("total", "number", ""));
    assert_eq!(text("total:number=with tax: all"), expected("total", "number", "with tax: all"));
    assert_eq!(text("when=the day"), expected("when", "text", "the day"));
}

#[test]
fn a_file_says_what_to_extract_by_names_types_or_schema() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("receipts.toml");
    let schema = |text: &str| parse(text, &path).map(|task| task.kind_settings().settings()["schema"].clone());
    let named = schema("fields = [\"shop\", \"day\"]").unwrap();
    assert_eq!(named["properties"]["shop"], json!({"type": ["string", "null"], "maxLength": 500}));
    assert_eq!(named["required"], json!(["shop", "day"]));
    let typed = schema("fields = [\"shop\", \"day:date\", \"total:number=with tax: all\"]").unwrap();
    assert_eq!(typed["properties"]["day"], json!({"type": ["string", "null"], "format": "date"}));
    let total = json!({"type": ["number", "null"], "description": "with tax: all"});
    assert_eq!(typed["properties"]["total"], total);
    let described = schema(
        "fields = { zone = \"integer\", amount = \"what was paid\", b = { type = \"date\", description = \"x\" } }",
    );
    let described = described.unwrap();
    assert_eq!(described["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["zone", "amount", "b"]);
    assert_eq!(described["properties"]["zone"]["type"][0], "integer");
    assert_eq!(described["properties"]["amount"]["description"], "what was paid");
    assert_eq!(described["properties"]["b"], json!({"type": ["string", "null"], "format": "date", "description": "x"}));
    let inline = schema("schema = { type = \"object\", properties = { a = { type = \"string\" } } }").unwrap();
    assert_eq!(inline, json!({"type": "object", "properties": {"a": {"type": "string"}}}));
    std::fs::write(folder.path().join("schema.json"), "{\"type\": \"object\"}").unwrap();
    assert_eq!(schema("schema = \"schema.json\"").unwrap(), json!({"type": "object"}));
}

#[test]
fn what_is_wrong_with_a_schema_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("receipts.toml");
    let there = folder.path().display().to_string();
    std::fs::write(folder.path().join("broken.json"), "{\n  \"type\": ,\n}").unwrap();
    std::fs::write(folder.path().join("odd.json"), "{\"properties\": {\"a\": {\"type\": \"txt\"}}}").unwrap();
    let cases = [
        ("", "1:8: nothing is said of what to extract\nhint: add `fields = "),
        ("schema = \"a\"\nfields = []", "4:10: `fields`: expected `schema` or `fields`, got both"),
        ("fields = []", "3:10: `fields`: there are no fields"),
        ("fields = [\"a\", \"a\"]", "3:10: `fields`: the field \"a\" stands twice"),
        ("fields = [\"a:txt\"]", "3:10: `fields`: there is no type \"txt\"\nhint: did you mean \"text\"?"),
        (
            "fields = { a = { type = \"txt\" } }",
            "3:10: `fields`: there is no type \"txt\"\nhint: did you mean \"text\"?",
        ),
        ("schema = { type = \"array\" }", "3:10: `schema`: expected the schema of an object, got \"type\": \"array\""),
        ("schema = { type = 3 }", "3:10: `schema`: it is no JSON Schema: at /type: "),
        ("schema = { a = 1979-05-27 }", "3:16: `a`: expected a value that JSON has, got a date"),
        ("schema = \"none.json\"", &format!("3:10: `schema`: {there}/none.json: cannot be read: ")),
        ("schema = \"broken.json\"", &format!("3:10: `schema`: {there}/broken.json:2:11: expected value")),
        (
            "schema = \"odd.json\"",
            &format!("3:10: `schema`: {there}/odd.json: it is no JSON Schema: at /properties/a/type: "),
        ),
    ];
    for (text, expected) in cases {
        let expected = format!("{there}/receipts.toml:{expected}");
        let text = if text.is_empty() { Task::parse("kind = \"extract\"", &path) } else { parse(text, &path) };
        let error = text.unwrap_err().to_string();
        assert!(error.starts_with(&expected), "{error}\nexpected\n{expected}");
    }
}

#[test]
fn an_expected_object_has_to_be_of_the_schema() {
    let right = r#"{"shop": "A", "total": 1, "day": "2025-01-02"}"#;
    assert!(receipt().expected(json!(right)).is_ok());
    let error = receipt().expected(json!("{\"shop\": 1}")).unwrap_err();
    assert!(error.starts_with("it is not of the schema: at "), "{error}");
    assert!(receipt().expected(json!("A")).unwrap_err().starts_with("expected a JSON object, got \"A\": "));
}

#[test]
fn a_model_without_a_template_goes_on_from_the_heading_and_its_tokens_are_found_all_the_same() {
    let model =
        Arc::new(Scripted::saying(" {\"shop\": \"Blue Door\", \"total\": null, \"day\": null}").without_template());
    let task = Task::new("receipts", receipt());
    let outcome =
        block_on(async { task.ready(model.clone(), &[]).await.unwrap().ask(&Input::text("Blue Door")).await });
    let outcome = outcome.unwrap();
    assert!((outcome.fields["fields"]["/shop"]["confidence"].as_f64().unwrap() - 0.25).abs() < 1e-6);
    assert_eq!(outcome.fields["fields"]["/shop"]["span"]["start"], 0);
    assert!(model.asked()[0].prompt.ends_with("Text:\nBlue Door\n\nJSON:"));
}

#[test]
fn a_value_that_the_text_does_not_have_and_the_model_doubts_is_told() {
    let answer = r#"{"shop": "Blue Door", "total": 7, "day": null}"#;
    let warnings = |probability: f32, text: &str, kind: Extract| {
        let model = Arc::new(Scripted::saying(answer).with_probability(probability));
        let outcome =
            block_on(async { Task::new("receipts", kind).ready(model, &[]).await?.ask(&Input::text(text)).await });
        outcome.unwrap().warnings
    };
    let told = "\"/shop\" may be made up: the text does not have \"Blue Door\", and the model is not sure of it";
    assert_eq!(warnings(0.3, "A receipt of 7 euros", receipt()), [told]);
    assert_eq!(warnings(0.95, "A receipt of 7 euros", receipt()), Vec::<String>::new());
    assert_eq!(warnings(0.3, "Blue Door: 7", receipt()), Vec::<String>::new());
    let listed = json!({"type": "object", "properties": {
        "shop": {"enum": ["Blue Door", "Red Door"]}, "total": {"const": 7}, "day": {"type": "null"}}});
    assert_eq!(warnings(0.3, "A receipt", Extract::new(listed).unwrap()), Vec::<String>::new());
}

#[test]
fn a_text_that_fills_its_bound_is_told_to_be_incomplete() {
    let outcome = |shop: String| {
        let answer = json!({"shop": shop}).to_string();
        let task = Task::new("receipts", Extract::fields(&[Field::text("shop")]).unwrap());
        let ready =
            async { task.ready(Arc::new(Scripted::new(move |_| answer.clone()).with_probability(0.95)), &[]).await };
        block_on(block_on(ready).unwrap().ask(&Input::text("A"))).unwrap()
    };
    assert_eq!(outcome("é".repeat(499)).warnings, Vec::<String>::new());
    let warning = "\"shop\" may be incomplete: it has the 500 characters that its schema allows (maxLength)";
    assert_eq!(outcome("é".repeat(500)).warnings, [warning]);
}
