//! One cell is written, and not a byte beside it.

use super::*;
use serde_json::json;

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn edit(&self, name: &str, bytes: &[u8], number: u64, value: &Value) -> Result<Edit, TaskError> {
        std::fs::write(self.path(name), bytes).unwrap();
        Edit::of(&self.path(name), &Cell { number, column: "label", value })
    }
}

fn check(name: &str, before: &str, number: u64, value: &Value, after: &str) {
    let scene = Scene::new();
    scene.edit(name, before.as_bytes(), number, value).unwrap().write().unwrap();
    assert_eq!(std::fs::read_to_string(scene.path(name)).unwrap(), after, "{before:?}");
    assert_eq!(std::fs::read_dir(scene.folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

fn refused(name: &str, before: &[u8], number: u64, value: &Value) -> String {
    let scene = Scene::new();
    let error = scene.edit(name, before, number, value).unwrap_err().to_string();
    assert_eq!(std::fs::read(scene.path(name)).unwrap(), before);
    error.replace(&format!("{}/", scene.folder.path().canonicalize().unwrap().display()), "")
}

#[test]
fn a_cell_of_csv_is_written_as_the_file_is_written() {
    let a = json!("a");
    check("t.csv", "text,label\nx,\ny,b\n", 1, &a, "text,label\nx,a\ny,b\n");
    check("t.csv", "text,label\nx,b\ny,", 2, &a, "text,label\nx,b\ny,a");
    check("t.csv", "text,label\r\nx,\r\n\r\ny,?\r\n", 2, &a, "text,label\r\nx,\r\n\r\ny,a\r\n");
    check("t.csv", "\u{feff}label;text\n;x\n?;y\n", 1, &a, "\u{feff}label;text\na;x\n?;y\n");
    check(
        "t.csv",
        "text,label\n\"a\nb, \"\"c\"\"\",\"\"\nd,e\n",
        1,
        &a,
        "text,label\n\"a\nb, \"\"c\"\"\",\"a\"\nd,e\n",
    );
    check("t.csv", "text,label,more\nx,,1\n", 1, &json!("a, \"b\""), "text,label,more\nx,\"a, \"\"b\"\"\",1\n");
    check("t.csv", "text,label\nx,\n", 1, &json!("one\ntwo"), "text,label\nx,\"one\ntwo\"\n");
    check("t.csv", "text,label\nx,\n", 1, &json!(["a", "b"]), "text,label\nx,a;b\n");
    check("t.csv", "text,label\nx,?\n", 1, &Value::Null, "text,label\nx,\n");
    check("t.csv", "text,label\nx,\n", 1, &json!({"n": 1}), "text,label\nx,\"{\"\"n\"\":1}\"\n");
    check("t.csv", "label\n?\nb\n", 1, &json!(""), "label\n\"\"\nb\n");
    check("t.tsv", "text\tlabel\nx, y\t\n", 1, &json!("a, b"), "text\tlabel\nx, y\ta, b\n");
}

#[test]
fn a_value_of_jsonl_is_written_where_it_stands_or_as_the_last_one() {
    let a = json!("a");
    check("t.jsonl", "{\"text\": \"x\", \"label\": null}\n", 1, &a, "{\"text\": \"x\", \"label\": \"a\"}\n");
    check("t.jsonl", "{\"label\":\"\",\"n\":1e2}\r\n\r\n{}", 1, &a, "{\"label\":\"a\",\"n\":1e2}\r\n\r\n{}");
    check("t.jsonl", "{\"n\": 1}\n\n{\"label\": 1}", 1, &a, "{\"n\": 1, \"label\": \"a\"}\n\n{\"label\": 1}");
    check("t.jsonl", "\u{feff}{}\n{\"label\": 1}\n", 1, &a, "\u{feff}{\"label\": \"a\"}\n{\"label\": 1}\n");
    let nested = "{\"label\": {\"label\": [1, \"}\"]} , \"u\": \"\\u00fc\"}\n";
    check("t.jsonl", nested, 1, &json!({"b": 2}), "{\"label\": {\"b\":2} , \"u\": \"\\u00fc\"}\n");
    check("t.ndjson", "{\"label\": 1}\n{\"label\": 2}", 2, &Value::Null, "{\"label\": 1}\n{\"label\": null}");
}

#[test]
fn what_cannot_be_written_is_refused_and_the_file_is_as_it_was() {
    let a = json!("a");
    let error = refused("t.csv", b"text,label\nx,\n", 2, &a);
    assert_eq!(error, "t.csv: there is no row 2\nhint: nothing was written; look at its rows again");
    assert_eq!(refused("t.csv", b"text,topic\nx,\n", 1, &a), "t.csv: row 1: there is no column \"label\"");
    let error = refused("t.csv", b"text,label\nx\n", 1, &a);
    assert!(error.starts_with("t.csv: line 2: expected 2 fields, as the first line has, got 1\nhint: "), "{error}");
    let error = refused("t.csv", b"text,label\n\xe9t\xe9,\n", 1, &a);
    assert_eq!(error, "t.csv: expected UTF-8, got another encoding\nhint: save it as UTF-8");
    // By its new value the file would seem to be parted by `;`.
    let error = refused("t.csv", b"a;b;c,label\n1,\n", 1, &json!("p;q;r"));
    assert!(
        error.starts_with("t.csv: row 1: with \"p;q;r\" in it the table would be read otherwise\nhint: "),
        "{error}"
    );
    for name in ["t.parquet", "t.xlsx", "t.txt"] {
        let scene = Scene::new();
        let error = scene.edit(name, b"x", 1, &a).unwrap_err().to_string();
        let expected = "expected a table whose cells can be written one by one: csv, tsv, jsonl\n\
                        hint: save it as csv, and name that file in the task";
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn a_file_that_was_written_meanwhile_is_left_alone() {
    for meanwhile in ["text,label\nx,b\n", "text,label\nx,\ny,\n"] {
        let scene = Scene::new();
        let edit = scene.edit("t.csv", b"text,label\nx,\n", 1, &json!("a")).unwrap();
        // As an editor does it: another file under the same name.
        std::fs::write(scene.path("new.csv"), meanwhile).unwrap();
        std::fs::rename(scene.path("new.csv"), scene.path("t.csv")).unwrap();
        let error = edit.write().unwrap_err();
        assert!(matches!(error, TaskError::Changed(_)), "{error}");
        assert!(error.to_string().contains("t.csv: another program has written it meanwhile\nhint: "), "{error}");
        assert_eq!(std::fs::read_to_string(scene.path("t.csv")).unwrap(), meanwhile);
    }
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_rights_stay_as_they_are() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    std::fs::write(scene.path("real.csv"), "text,label\nx,\n").unwrap();
    std::fs::set_permissions(scene.path("real.csv"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real.csv", scene.path("t.csv")).unwrap();
    let value = json!("a");
    Edit::of(&scene.path("t.csv"), &Cell { number: 1, column: "label", value: &value }).unwrap().write().unwrap();
    assert!(std::fs::symlink_metadata(scene.path("t.csv")).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(scene.path("real.csv")).unwrap(), "text,label\nx,a\n");
    assert_eq!(std::fs::metadata(scene.path("real.csv")).unwrap().permissions().mode() & 0o777, 0o640);
}
