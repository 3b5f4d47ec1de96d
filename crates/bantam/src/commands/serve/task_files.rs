//! The tasks that a server is started with: their files, with the examples that their models are shown.

use server::ServedTask;
use std::path::{Path, PathBuf};
use tasks::Task;

/// Reads the files. A task that names no model takes the one that the server was started with, if there is one alone.
///
/// # Errors
/// The first that is wrong, or that names no model where it is not clear which is meant.
pub fn served(files: &[PathBuf], models: &[String]) -> anyhow::Result<Vec<ServedTask>> {
    files.iter().map(|file| one(file, models)).collect()
}

fn one(file: &Path, models: &[String]) -> anyhow::Result<ServedTask> {
    let mut task = Task::open(file)?;
    if let (None, [only]) = (&task.model, models) {
        task.model = Some(only.clone());
    }
    let examples = task.shown_examples()?;
    Ok(ServedTask::new(task, examples)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_without_a_model_takes_the_only_one_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("reply.toml");
        std::fs::write(&file, "kind = \"generate\"\n").unwrap();
        let model = |models: &[&str]| {
            let models: Vec<String> = models.iter().map(|&name| name.to_owned()).collect();
            served(std::slice::from_ref(&file), &models).map(|tasks| tasks[0].model().to_owned())
        };
        assert_eq!(model(&["small"]).unwrap(), "small");
        for unclear in [&[][..], &["small", "large"]] {
            let error = model(unclear).unwrap_err().to_string();
            assert!(error.starts_with("the task reply names no model, and it is not clear which is meant"), "{error}");
        }
        std::fs::write(&file, "kind = \"generate\"\nmodel = \"own\"\n").unwrap();
        assert_eq!(model(&["small"]).unwrap(), "own");
    }
}
