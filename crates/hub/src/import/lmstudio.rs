//! LM Studio's folder of models: `<publisher>/<repo>/<file>.gguf`.

use super::{FoundModels, Variable, files, folders, gguf_models};
use std::path::{Path, PathBuf};

pub(super) fn places(variable: Variable<'_>) -> Vec<PathBuf> {
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    let Some(home) = home else { return Vec::new() };
    // The second is where versions before 0.3 kept them.
    vec![home.join(".lmstudio/models"), home.join(".cache/lm-studio/models")]
}

pub(super) fn list(root: &Path) -> std::io::Result<FoundModels> {
    let mut models = Vec::new();
    for (publisher, publisher_name) in folders(root)? {
        for (repo, repo_name) in folders(&publisher)? {
            let prefix = format!("{publisher_name}/{repo_name}");
            let all = files(&repo)?;
            models.extend(gguf_models(&all, |file| format!("{prefix}:{}", file.trim_end_matches(".gguf"))));
        }
    }
    Ok(FoundModels { models, skipped: Vec::new() })
}
