//! Tests of `nearest.rs`: receipts of a made-up shop.

use super::*;
use crate::baselines::testing::{ask, example, learned};
use futures::executor::block_on;
use tasks::Task;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "shop": {"type": "string"},
            "date": {"type": ["string", "null"]},
            "total": {"type": "number"},
            "items": {"type": "array"},
        },
        "required": ["shop", "total"],
    })
}

fn receipt(row: usize) -> (String, Value) {
    let shop = ["Green Grocer", "Book House", "Corner Cafe"][row % 3];
    let (date, total) = (format!("{:02}/0{}/2019", 1 + row % 28, 1 + row % 9), 5.0 + row as f64 / 4.0);
    let text = format!(
        "{shop}\n{} High Street\nDATE: {date} 10:1{}\nTea 1.25\nBread\n2.50\nTOTAL\n{total:.2}\nCASH 50.00\nCHANGE {:.2}",
        row + 3,
        row % 10,
        50.0 - total
    );
    (text, json!({"shop": shop, "date": date, "total": total}))
}

fn task() -> Task {
    Task::new("receipts", Extract::new(schema()).unwrap())
}

fn receipts(rows: std::ops::Range<usize>) -> Vec<Example> {
    rows.map(receipt).map(|(text, value)| example(&text, value)).collect()
}

#[test]
fn values_stand_where_they_stood_in_train() {
    let work = learned(&ROW, &task(), &receipts(0..30));
    for row in 30..60 {
        let (text, value) = receipt(row);
        let outcome = ask(&*work, &text);
        assert_eq!(outcome["value"], value, "{text}");
        assert_eq!(outcome["fields"]["/total"], json!({"confidence": null, "span": null}));
    }
}

#[test]
fn outcomes_are_of_the_schema_of_the_kind() {
    let task = task();
    let outcome = ask(&*learned(&ROW, &task, &receipts(0..5)), "Green Grocer\nTOTAL 1.00");
    let names: Vec<_> = outcome.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, task.outcome_fields());
    assert_eq!(outcome["value"].get("items"), None);
}

#[test]
fn what_a_text_does_not_have_is_null_or_an_error() {
    let mut examples = receipts(0..10);
    for example in &mut examples {
        example.expected["date"] = Value::Null;
    }
    let work = learned(&ROW, &task(), &examples);
    assert_eq!(ask(&*work, &receipt(20).0)["value"]["date"], Value::Null);
    let error = block_on(work.ask(&Input::text(""))).unwrap_err().to_string();
    assert_eq!(error, "the text has nothing that could be \"shop\", and it may not be null");
}

#[test]
fn a_number_is_one_however_it_is_written() {
    assert_eq!(Sort::Number.value("1,234.50"), Some(json!(1234.5)));
    assert_eq!((Sort::Integer.value("17"), Sort::Integer.value("1.5")), (Some(json!(17)), None));
    assert_eq!(folded(" Book  ta\n"), folded("BOOK TA"));
}
