//! The examples at the top of the repository are sound: every task is read, and its data are what it says.

use crate::testing::Scripted;
use crate::{Input, KINDS, Task};
use futures::executor::block_on;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn task_files() -> Vec<PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let folders = std::fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let mut tasks: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    tasks.sort();
    tasks
}

fn rows(path: &Path) -> Vec<(u64, Map<String, Value>)> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (1..).zip(text.lines().map(|line| serde_json::from_str(line).unwrap())).collect()
}

#[test]
fn every_kind_has_an_example() {
    let mut kinds: Vec<_> = task_files().iter().map(|path| Task::open(path).unwrap().kind()).collect();
    kinds.sort_unstable();
    let mut expected: Vec<_> = KINDS.iter().map(|row| row.name).collect();
    expected.sort_unstable();
    assert_eq!(kinds, expected);
}

#[test]
fn their_data_are_what_their_tasks_say() {
    for path in task_files() {
        let task = Task::open(&path).unwrap();
        let tables: Vec<_> = task.data.train.iter().chain(&task.data.test).collect();
        assert!(!tables.is_empty(), "{}", path.display());
        for table in tables {
            let rows = rows(table);
            assert!((9..=40).contains(&rows.len()), "{}: {} rows", table.display(), rows.len());
            let columns: Vec<_> = rows[0].1.keys().map(String::as_str).collect();
            task.check_columns("the table", &columns).unwrap();
            assert_eq!(task.check_rows(&table.display().to_string(), &rows), Vec::<String>::new());
        }
    }
}

#[test]
fn each_fills_a_prompt_whose_end_is_the_input() {
    for path in task_files() {
        let task = Task::open(&path).unwrap();
        let input = |row: Map<String, Value>| Input { fields: row, pages: Vec::new() };
        let train = task.data.train.as_deref().map(rows).unwrap_or_default();
        let examples: Vec<_> = train.into_iter().map(|(_, row)| task.example(input(row)).unwrap()).collect();
        let model = Arc::new(Scripted::choosing(|_, _| Vec::new()));
        let ready = block_on(task.ready(model, &examples)).unwrap();
        assert!(ready.warnings().is_empty(), "{:?}", ready.warnings());
        let (_, row) = rows(task.data.test.as_deref().unwrap()).swap_remove(0);
        let row = input(row);
        let (text, prompt) = (task.input.fill(&row).unwrap(), ready.preview(&row).unwrap());
        assert!(prompt.contains(&text), "{prompt}");
    }
}
