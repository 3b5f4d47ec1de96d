//! Which rows have no answer yet, and what answering one does.

use super::*;
use serde_json::json;

struct Scene {
    folder: tempfile::TempDir,
    task: Task,
}

/// A task over a table, of which the settings of its kind are given.
fn scene(kind: &str, settings: &str, name: &str, table: &str) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), table).unwrap();
    let text = format!("kind = \"{kind}\"\n[data]\ntest = \"{name}\"\nexpected = \"label\"\n[{kind}]\n{settings}\n");
    let task = Task::parse(&text, &folder.path().join("t.toml")).unwrap();
    Scene { folder, task }
}

impl Scene {
    fn open(&self) -> Vec<u64> {
        self.task.labels().unwrap().unlabelled.iter().map(|row| row.number).collect()
    }

    fn label(&self, number: u64, answer: &Value) -> Result<String, TaskError> {
        let row = self.task.labels().unwrap().unlabelled.into_iter().find(|row| row.number == number).unwrap();
        self.task.label(number, &row.version, answer)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

const LABELS: &str = "labels = [\"a\", \"b\"]";

#[test]
fn an_empty_cell_is_no_answer_unless_nothing_may_be_right() {
    let table = "text,question,label\nx,q,\ny,q,a\nz,q,?\nw,q,\" \"\n";
    let json = "text,question,label\nx,q,\ny,q,\"{\"\"n\"\": \"\"1\"\"}\"\nz,q,?\nw,q,\" \"\n";
    let check = |kind: &str, settings: &str, table: &str, expected: &[u64]| {
        assert_eq!(scene(kind, settings, "t.csv", table).open(), expected, "{kind} {settings}");
    };
    check("classify", LABELS, table, &[1, 3, 4]);
    check("classify", &format!("{LABELS}\nnone_of_these = \"neither\""), table, &[3]);
    check("classify", &format!("{LABELS}\nseveral = true"), table, &[3]);
    check("classify", "labels = [\"a\", \"?\"]", table, &[1, 4]);
    check("extract", "fields = [\"n\"]", json, &[1, 3, 4]);
    check("answer", "from_text = false", table, &[1, 3, 4]);
    check("answer", "", table, &[3]);
    check("generate", "", table, &[1, 4]);
    let lines = "{\"text\": \"x\"}\n{\"text\": \"y\", \"label\": null}\n{\"text\": \"z\", \"label\": \"a\"}\n";
    assert_eq!(scene("classify", LABELS, "t.jsonl", lines).open(), [1, 2]);
    let none = format!("{LABELS}\nnone_of_these = \"neither\"");
    assert_eq!(scene("classify", &none, "t.jsonl", lines).open(), [1], "a name that is missing says nothing");
}

#[test]
fn rows_with_an_answer_are_examples_under_their_own_numbers() {
    let scene = scene("classify", LABELS, "t.csv", "text,label\nx,\ny,a\nz,\nw,b\n");
    let labelled = scene.task.labelled(&scene.folder.path().join("t.csv")).unwrap();
    assert_eq!(labelled.unlabelled, [1, 3]);
    let read: Vec<_> = labelled.examples.iter().map(|(number, row)| (*number, row.expected.clone())).collect();
    assert_eq!(read, [(2, json!("a")), (4, json!("b"))]);
}

#[test]
fn an_answer_is_written_and_may_be_put_right() {
    let scene = scene("classify", LABELS, "t.csv", "id,text,label\r\n7,\"x, y\",\r\n8,z,");
    let labels = scene.task.labels().unwrap();
    assert_eq!((labels.rows, labels.unlabelled.len()), (2, 2));
    assert_eq!(Value::from(labels.unlabelled[0].fields.clone()), json!({"text": "x, y"}), "what the task reads");
    let version = scene.label(2, &json!("a")).unwrap();
    assert_eq!(scene.text("t.csv"), "id,text,label\r\n7,\"x, y\",\r\n8,z,a");
    assert_eq!(scene.open(), [1]);
    scene.task.label(2, &version, &json!("b")).unwrap();
    assert_eq!(scene.text("t.csv"), "id,text,label\r\n7,\"x, y\",\r\n8,z,b");
}

#[test]
fn answers_of_every_kind_are_read_as_they_were_meant() {
    let check = |kind: &str, settings: &str, table: [&str; 2], answer: Value, after: &str| {
        let scene = scene(kind, settings, table[0], table[1]);
        scene.label(1, &answer).unwrap();
        assert_eq!(scene.text(table[0]), after);
        assert!(!scene.open().contains(&1), "{after}");
    };
    let marked = ["t.csv", "text,question,label\nx,q,?\n"];
    let none = format!("{LABELS}\nnone_of_these = \"neither\"");
    let several = format!("{LABELS}\nseveral = true");
    check("classify", &none, marked, Value::Null, "text,question,label\nx,q,\n");
    check("classify", &several, marked, json!(["a", "b"]), "text,question,label\nx,q,a;b\n");
    check("classify", &several, marked, json!([]), "text,question,label\nx,q,\n");
    check("answer", "", marked, json!(""), "text,question,label\nx,q,\n");
    let object = json!({"n": "1", "m": null});
    let written = "text,question,label\nx,q,\"{\"\"n\"\":\"\"1\"\",\"\"m\"\":null}\"\n";
    check("extract", "fields = [\"n\", \"m\"]", marked, object.clone(), written);
    let line = ["t.jsonl", "{\"text\": \"x\", \"label\": \"\"}\n"];
    check(
        "extract",
        "fields = [\"n\", \"m\"]",
        line,
        object,
        "{\"text\": \"x\", \"label\": {\"n\":\"1\",\"m\":null}}\n",
    );
    check("summarize", "", line, json!("So it is."), "{\"text\": \"x\", \"label\": \"So it is.\"}\n");
}

#[test]
fn an_answer_is_refused_where_the_row_is_another_one_or_the_answer_none() {
    let table = "text,label\nx,\ny,\n";
    let scene = scene("classify", LABELS, "t.csv", table);
    let row = scene.task.labels().unwrap().unlabelled[0].clone();
    let error = scene.task.label(1, &row.version, &json!("c")).unwrap_err().to_string();
    assert_eq!(error, "answer: \"c\" is not one of the labels: a, b");
    let error = scene.task.label(2, &row.version, &json!("a")).unwrap_err();
    assert!(matches!(error, TaskError::Changed(_)), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("t.csv: row 2 is another one by now\nhint: nothing was written; look at its rows again")
    );
    assert_eq!(scene.text("t.csv"), table);
    std::fs::write(scene.folder.path().join("t.csv"), "text,label\nnew,\nx,\ny,\n").unwrap();
    let error = scene.task.label(1, &row.version, &json!("a")).unwrap_err().to_string();
    assert!(error.contains("row 1 is another one by now"), "{error}");
    let free = self::scene("summarize", "", "t.csv", table);
    assert_eq!(free.label(1, &json!(" ")).unwrap_err().to_string(), "answer: expected one, got \" \"");
}

#[test]
fn labels_that_hold_what_parts_them_are_told_and_not_written() {
    let settings = "labels = [\"a;b\", \"c\"]\nseveral = true";
    let csv = scene("classify", settings, "t.csv", "text,label\nx,?\n");
    let error = csv.label(1, &json!(["a;b", "c"])).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "t.csv, row 1: [\"a;b\",\"c\"] would be read as \"a;b;c\"\nhint: a jsonl table holds any answer"
        ),
        "{error}"
    );
    let lines = scene("classify", settings, "t.jsonl", "{\"text\": \"x\", \"label\": \"?\"}\n");
    lines.label(1, &json!(["a;b", "c"])).unwrap();
    assert_eq!(lines.text("t.jsonl"), "{\"text\": \"x\", \"label\": [\"a;b\",\"c\"]}\n");
}

#[test]
fn a_task_without_a_table_that_can_be_written_says_so() {
    let label = crate::Label { name: "a".to_owned(), description: None };
    let other = crate::Label { name: "b".to_owned(), description: None };
    let mut task = Task::new("t", crate::Classify::new(vec![label, other]).unwrap());
    let error = |task: &Task| task.labels().unwrap_err().to_string();
    let hint = "hint: add `test = \"FILE\"` and `expected = \"COLUMN\"` to [data]";
    assert_eq!(error(&task), format!("the task t names no test table\n{hint}"));
    task.data.test = Some(PathBuf::from("t.xlsx"));
    assert_eq!(error(&task), format!("the task t names no column for what is right\n{hint}"));
    task.data.expected = Some("label".to_owned());
    let expected = "t.xlsx: expected a table whose cells can be written one by one: csv, tsv, jsonl\nhint: ";
    assert!(error(&task).starts_with(expected), "{}", error(&task));
}
