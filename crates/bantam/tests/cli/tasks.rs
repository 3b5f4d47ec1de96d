//! Tasks from the command line: one text, tables and folders, jobs that are killed and go on, and what is said of mistakes.
//!
//! A real model answers, so what it says is not judged here: only that it is one of what was asked for, and the same each
//! time. A home of its own beside the shared store keeps ledgers apart.

use crate::desk::Desk;
use crate::shapes::assert_shape;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

const THINGS: [&str; 8] = ["invoice", "password", "parcel", "refund", "printer", "contract", "delivery", "screen"];

/// So many short mails.
fn mails(count: usize) -> String {
    let row = |number: usize| {
        let thing = THINGS[number % THINGS.len()];
        format!("{number},\"Mail {number}, about my {thing}\",{}\n", ["billing", "technical"][number % 2])
    };
    format!("id,text,label\n{}", (0..count).map(row).collect::<String>())
}

#[test]
fn one_text_gets_its_label_alone_and_json_has_everything() {
    let Some(desk) = Desk::new() else { return };
    let text = desk.done(&["classify", "--labels", "billing,technical", "My invoice is wrong."]);
    assert!(["billing\n", "technical\n"].contains(&text.as_str()), "{text}");
    let args = ["classify", "--labels", "billing=about money,technical", "My invoice is wrong.", "--all-scores"];
    let scores = desk.done(&args);
    let shares: f64 = scores.lines().map(|line| line.split_once('\t').unwrap().1.parse::<f64>().unwrap()).sum();
    assert!((shares - 1.0).abs() < 0.001 && scores.lines().count() == 2, "{scores}");
    let json = desk.done(&[args.as_slice(), &["--json"]].concat());
    assert_shape("classify", 0, &json);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["outcome"]["label"].as_str(), scores.split_once('\t').map(|(label, _)| label));
    assert!(json["usage"]["prompt_tokens"].as_u64().unwrap() > 20, "{json}");
    let mut piped = desk.command(&["classify", "--labels", "billing,technical", "--several"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"My invoice is wrong.").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let labels = String::from_utf8(output.stdout).unwrap();
    assert!(labels.lines().all(|label| ["billing", "technical"].contains(&label)), "{labels}");
}

#[test]
fn a_table_becomes_lines_or_a_file_with_the_columns_it_had() {
    let Some(desk) = Desk::new() else { return };
    desk.write("mails.csv", mails(40));
    let args = ["classify", "--labels", "billing,technical", "--in", "mails.csv"];
    let printed = lines(&desk.done(&args));
    assert_eq!(printed.len(), 40);
    let keys: Vec<_> = printed[3].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "text", "input_label", "label", "probability", "error", "warnings"]);
    assert_eq!((printed[3]["id"].as_str(), printed[3]["input_label"].as_str()), (Some("3"), Some("technical")));
    let detailed = desk.done(&[args.as_slice(), &["--limit", "2", "--json"]].concat());
    detailed.lines().for_each(|line| assert_shape("classify", 1, line));
    assert_eq!(detailed.lines().count(), 2);
    let json = desk.done(&[args.as_slice(), &["--out", "mails.jsonl", "--json"]].concat());
    assert_shape("classify", 2, &json);
    assert_eq!(lines(&desk.read("mails.jsonl")), printed, "a job has the same results");
    desk.done(&[args.as_slice(), &["--out", "labelled.csv", "--limit", "5"]].concat());
    let table = desk.read("labelled.csv");
    assert!(table.starts_with("id,text,input_label,label,probability,error,warnings\n0,"), "{table}");
    assert_eq!(table.lines().count(), 6);
    desk.done(&[args.as_slice(), &["--out", "labelled.parquet", "--limit", "5"]].concat());
    let again = desk.done(&["classify", "--labels", "billing,technical", "--in", "labelled.parquet", "--limit", "1"]);
    assert!(lines(&again)[0]["input_label"].is_string(), "{again}");
    let listed = desk.done(&["jobs", "--json"]);
    assert_shape("jobs", 0, &listed);
    let states: Value = serde_json::from_str(&listed).unwrap();
    let done: Vec<_> = states.as_array().unwrap().iter().map(|job| (&job["state"], &job["done"])).collect();
    assert_eq!(done, [(&json!("done"), &json!(5)), (&json!("done"), &json!(5)), (&json!("done"), &json!(40))]);
    assert!(desk.done(&["jobs"]).contains("classify to labelled.csv"));
    let shown = desk.done(&["jobs", "show", "1"]);
    let command = "bantam classify --labels billing,technical --in mails.csv --out mails.jsonl";
    assert!(shown.contains("state     done") && shown.contains(command), "{shown}");
    assert_shape("jobs", 1, &desk.done(&["jobs", "show", "1", "--json"]));
    let err = desk.fails(1, &["jobs", "cancel", "1"]);
    assert!(err.contains("job 1 is done: nothing is left to cancel\nhint: `bantam jobs remove` forgets it"), "{err}");
    assert_shape("jobs", 2, &desk.done(&["jobs", "remove", "1", "--json"]));
    assert!(desk.fails(1, &["jobs", "show", "1"]).contains("no job 1\nhint: `bantam jobs` lists them"));
}

#[test]
fn a_job_that_is_killed_goes_on_and_ends_with_the_same_file() {
    let Some(desk) = Desk::new() else { return };
    desk.write("mails.csv", mails(200));
    let args = |out| ["classify", "--labels", "billing,technical,delivery", "--in", "mails.csv", "--out", out];
    let mut child = desk.begin(&args("killed.jsonl"), 20);
    child.kill().unwrap();
    child.wait().unwrap();
    let job = desk.job("1");
    let kept = job["done"].as_u64().unwrap();
    assert!((20..200).contains(&kept) && job["state"] == "interrupted", "{job}");
    assert!(!desk.path("killed.jsonl").exists(), "results appear whole");
    let (code, out, err) = desk.run(&[args("killed.jsonl").as_slice(), &["--json"]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(err.contains(&format!("job 1 was begun before: {kept} rows are done already")), "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["resumed"], &told["done"], &told["rows"]), (&json!(true), &json!(200), &json!(200)), "{out}");
    desk.done(&args("undisturbed.jsonl"));
    assert_eq!(desk.read("killed.jsonl"), desk.read("undisturbed.jsonl"));
    // The same once more: nothing is overwritten unless that is wanted, and a file that is gone is written again.
    let err = desk.fails(1, &args("killed.jsonl"));
    assert!(err.contains("killed.jsonl: there is such a file already; job 1 did the same before\nhint: "), "{err}");
    std::fs::remove_file(desk.path("killed.jsonl")).unwrap();
    desk.done(&args("killed.jsonl"));
    assert_eq!(desk.read("killed.jsonl"), desk.read("undisturbed.jsonl"));
}

#[test]
fn a_job_is_cancelled_from_another_process_and_goes_on_when_asked_to() {
    let Some(desk) = Desk::new() else { return };
    desk.write("mails.csv", mails(400));
    let args = ["classify", "--labels", "billing,technical", "--in", "mails.csv", "--out", "out.csv"];
    let child = desk.begin(&args, 5);
    assert!(desk.done(&["jobs", "cancel", "1"]).contains("was asked to stop job 1, and does within a second"));
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    assert_eq!(desk.job("1")["state"], "cancelled");
    desk.done(&args);
    let job = desk.job("1");
    assert_eq!((&job["state"], &job["done"]), (&json!("done"), &json!(400)));
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_job_that_says_how_it_goes_on() {
    let Some(desk) = Desk::new() else { return };
    desk.write("mails.csv", mails(400));
    let args = ["classify", "--labels", "billing,technical", "--in", "mails.csv", "--out", "out.csv"];
    let child = desk.begin(&args, 5);
    let killed = Command::new("/bin/kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(desk.job("1")["state"], "interrupted");
    assert!(desk.done(&["jobs", "show", "1"]).contains("go on     cd "));
}

#[test]
fn an_object_is_extracted_to_a_schema_and_spread_over_columns() {
    let Some(desk) = Desk::new() else { return };
    let schema = json!({
        "type": "object",
        "properties": {"company": {"type": "string", "maxLength": 20}, "paid": {"type": "boolean"}},
        "required": ["company", "paid"],
        "additionalProperties": false,
    });
    desk.write("invoice.json", schema.to_string());
    let args = ["extract", "--schema", "invoice.json", "Acme billed 12.50 on 3 May 2024."];
    let value: Value = serde_json::from_str(&desk.done(&args)).unwrap();
    assert!(jsonschema::is_valid(&schema, &value), "{value}");
    let json = desk.done(&[args.as_slice(), &["--json"]].concat());
    assert_shape("extract", 0, &json);
    assert!(serde_json::from_str::<Value>(&json).unwrap()["outcome"]["fields"]["/company"]["confidence"].is_number());
    // A row that lacks the field is one failed row, and its reason stands in its place.
    desk.write("mails.jsonl", "{\"id\": 1, \"text\": \"Acme billed 12.50.\"}\n{\"id\": 2, \"body\": \"no text\"}\n");
    let args = ["extract", "--schema", "invoice.json", "--in", "mails.jsonl", "--out", "found.csv"];
    let err = desk.fails(1, &args);
    let expected = "1 of 2 rows failed; `error` of their results says why\nhint: `bantam jobs show 1` lists them";
    assert!(err.contains(expected), "{err}");
    let table = desk.read("found.csv");
    assert!(table.starts_with("id,text,company,paid,fields,error,warnings,body\n1,"), "{table}");
    assert!(desk.done(&["jobs", "show", "1"]).contains("row 2 (mails.jsonl row 2): the input has no field \"text\""));
    let err = desk.fails(1, &[args.as_slice(), &["--retry-failed"]].concat());
    assert!(err.contains("job 1 was begun before") && err.contains("1 of 2 rows failed"), "{err}");
}

#[test]
fn a_folder_of_documents_is_worked_through_and_a_broken_one_is_a_failed_row() {
    let Some(desk) = Desk::new() else { return };
    desk.write("letters/a.txt", "The parcel came late.");
    desk.write("letters/b.pdf", "%PDF-1.7\nthis is no PDF");
    desk.write("letters/c.html", "<p>The screen is <b>dark</b>.</p>");
    desk.write("letters/d.txt", b"Die Lieferung kam sp\xe4t, schade f\xfcr alle, die gewartet h\xe4tten.");
    let args = ["classify", "--labels", "delivery,technical", "--in", "letters", "--trust-documents"];
    let (code, out, err) = desk.run(&args);
    let rows = lines(&out);
    let sources: Vec<_> = rows.iter().map(|row| row["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["letters/a.txt", "letters/b.pdf", "letters/c.html", "letters/d.txt"]);
    assert!(code == 1 && err.contains("1 of 4 rows failed"), "{err}");
    assert!(rows[1]["error"].as_str().unwrap().starts_with("letters/b.pdf: ") && rows[1]["label"].is_null(), "{out}");
    assert!(rows[2]["label"].is_string() && rows[2]["error"].is_null(), "{out}");
    assert!(rows[3]["warnings"][0].as_str().unwrap().contains("windows-125"), "{out}");
    let (code, _, _) = desk.run(&[args.as_slice(), &["--out", "letters.jsonl"]].concat());
    assert_eq!((code, lines(&desk.read("letters.jsonl"))), (1, rows), "a job has the same results");
    let one = desk.done(&["classify", "--labels", "delivery,technical", "--in", "letters/a.txt"]);
    assert!(["delivery\n", "technical\n"].contains(&one.as_str()), "{one}");
}

#[test]
fn every_kind_answers() {
    let Some(desk) = Desk::new() else { return };
    let text = "Bantam hens are small. They lay eggs in spring, and sleep on a branch at night.";
    assert_shape("summarize", 0, &desk.done(&["summarize", "--words", "12", text, "--json"]));
    assert_shape("answer", 0, &desk.done(&["answer", "--question", "When do they lay eggs?", text, "--json"]));
    desk.write("hens.txt", text);
    let answered = desk.done(&["answer", "--document", "hens.txt", "When do they lay eggs?", "--json"]);
    assert!(serde_json::from_str::<Value>(&answered).unwrap()["outcome"]["found"].is_boolean(), "{answered}");
    assert!(!desk.done(&["answer", "What is an egg?", "--max-tokens", "12"]).trim().is_empty());
    desk.write("code.py", "def add(a, b):\n    return \n\nprint(add(1, 2))\n");
    let completion = desk.done(&["complete", "--file", "code.py", "--line", "2", "--stop", "line"]);
    assert!(!completion.contains('\n'), "{completion:?}");
    assert_shape("complete", 0, &desk.done(&["complete", "--prefix", "x = ", "--stop", "line", "--json"]));
    let code = desk.done(&["generate", "--regex", "[A-Z]{3}", "A code for Vienna airport:"]);
    assert!(code.trim_end().len() == 3 && code.trim_end().chars().all(|letter| letter.is_ascii_uppercase()), "{code}");
    assert_shape("generate", 0, &desk.done(&["generate", "Say hello.", "--max-tokens", "4", "--json"]));
}

#[test]
fn a_task_begins_with_its_data_is_checked_and_works() {
    let Some(desk) = Desk::new() else { return };
    desk.write("mails.csv", mails(40));
    let json = desk.done(&["init", "triage", "--kind", "classify", "--data", "mails.csv", "--json"]);
    assert_shape("init", 0, &json);
    assert!(desk.read("triage.toml").contains("labels = [\"billing\", \"technical\"]"));
    let rows = |name: &str| desk.read(name).lines().count() - 1;
    assert_eq!(rows("triage-train.csv") + rows("triage-test.csv"), 40);
    let err = desk.fails(1, &["init", "triage", "--kind", "classify", "--data", "mails.csv"]);
    assert!(err.contains("triage.toml: there is such a file already\nhint: "), "{err}");
    let checked = desk.done(&["check", "triage.toml"]);
    assert!(checked.contains("(loaded, and can do it)") && checked.contains("- billing\n"), "{checked}");
    assert_shape("check", 0, &desk.done(&["check", "triage.toml", "--no-model", "--json"]));
    let label = desk.done(&["classify", "triage.toml", "My invoice is wrong.", "--shots", "2"]);
    assert!(["billing\n", "technical\n"].contains(&label.as_str()), "{label}");
    let err = desk.fails(1, &["extract", "triage.toml", "My invoice is wrong."]);
    let expected =
        "triage.toml: expected a task of kind \"extract\", got \"classify\"\nhint: bantam classify triage.toml";
    assert!(err.contains(expected), "{err}");
    desk.write("triage-train.csv", desk.read("triage-train.csv").replacen("billing", "bills", 1));
    let (code, _, err) = desk.run(&["check", "triage.toml", "--no-model"]);
    assert!(code == 1 && err.contains("\"bills\" is not one of the labels: billing, technical"), "{err}");
}

/// None of these needs a model: all is refused before one is asked for.
#[test]
fn mistakes_are_named_before_anything_is_loaded() {
    let desk = Desk::without_model();
    desk.write("mails.csv", mails(4));
    desk.write("empty.csv", "");
    desk.write("letter.txt", "Hello");
    desk.write("schema.json", "{\"type\": \"array\"}");
    desk.write("several.toml", "kind = \"classify\"\ninput = \"{a} {b}\"\n[classify]\nlabels = [\"x\", \"y\"]\n");
    let classify = |code, args: &[&str], expected: &str| {
        let err = desk.fails(code, &[["classify", "--labels", "a,b"].as_slice(), args].concat());
        assert!(err.contains(expected), "{args:?}: {err}");
    };
    classify(2, &["--several", "--none-of-these", "text"], "of several labels none may fit anyway");
    classify(2, &["--shots", "2", "text"], "--shots: there are no examples to show\nhint: ");
    classify(2, &["not", "quoted"], "hint: put the text into quotes");
    classify(2, &[" "], "the command line: the text is empty\nhint: ");
    classify(2, &["text", "--in", "mails.csv"], "expected a text or --in, got both");
    classify(2, &["--in", "mails.csv", "--in", "letter.txt"], "expected tables or documents, got both");
    classify(2, &["text", "--out", "a.csv"], "--out is for many inputs, got one text");
    classify(2, &["several.toml"], "--labels: expected the task file several.toml or this option");
    classify(2, &["--limit", "0", "text"], "--limit: expected 1 or more, got 0");
    classify(1, &["--in", "empty.csv"], "empty.csv: expected rows, got an empty file");
    classify(1, &["--in", "none.csv"], "none.csv: ");
    let out = |name| ["--in", "mails.csv", "--out", name];
    classify(1, &out("a.pdf"), "a.pdf: expected a name for results that ends in .jsonl or .csv or .parquet");
    classify(1, &out("no/a.csv"), "cannot be written: No such file or directory");
    let cases: [(i32, &[&str], &str); 11] = [
        (2, &["classify", "text"], "expected labels, got none\nhint: --labels one,other"),
        (2, &["classify", "--labels", "a,A", "text"], "--labels: the label \"A\" stands twice: \"a\" is the same but"),
        (2, &["classify", "--labels", "a,,b", "text"], "--labels: a label is blank\nhint: "),
        (1, &["classify", "none.toml", "text"], "none.toml: no such file\nhint: "),
        (1, &["classify", "several.toml", "text"], "the task reads several fields, a text is only one: it reads a, b"),
        (1, &["classify", "several.toml", "--in", "mails.csv"], "no column \"a\"; the columns are id, text, label"),
        (
            2,
            &["extract", "--schema", "schema.json", "text"],
            "expected the schema of an object, got \"type\": \"array\"",
        ),
        (2, &["extract", "--fields", "a:money", "text"], "--fields: there is no type \"money\"\nhint: expected one of"),
        (
            1,
            &["complete", "--file", "letter.txt", "--line", "7"],
            "letter.txt: there is no line 7\nhint: the text has 1",
        ),
        (2, &["summarize", "--words", "0", "text"], "--words: expected a number from 1 to 10000, got 0"),
        (2, &["jobs", "show", "x"], "expected the number of a job, got \"x\"\nhint: `bantam jobs` lists them"),
    ];
    for (code, args, expected) in cases {
        let err = desk.fails(code, args);
        assert!(err.contains(expected), "{args:?}: {err}");
    }
}

#[test]
fn results_never_take_the_place_of_another_file_unasked() {
    let Some(desk) = Desk::new() else { return };
    desk.write("mails.csv", mails(3));
    desk.write("taken.jsonl", "mine");
    let args = ["classify", "--labels", "billing,technical", "--in", "mails.csv", "--out", "taken.jsonl"];
    let expected = "taken.jsonl: there is such a file already\nhint: --overwrite replaces it, or name another file";
    let err = desk.fails(1, &args);
    assert!(err.contains(expected), "{err}");
    assert_eq!(desk.read("taken.jsonl"), "mine");
    desk.done(&[args.as_slice(), &["--overwrite"]].concat());
    assert_eq!(lines(&desk.read("taken.jsonl")).len(), 3);
    // An input that changed is another job, so that its file is in the way again.
    desk.write("mails.csv", mails(2));
    assert!(desk.fails(1, &args).contains(expected));
}
