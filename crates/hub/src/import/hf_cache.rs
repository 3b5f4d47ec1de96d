//! The cache of the Hugging Face client libraries: `models--<owner>--<repo>/snapshots/<commit>/<file>`, where files are
//! links to blobs and `refs/main` names the commit last fetched.

use super::{Found, FoundModels, Variable, files, folders, gguf_models, total_bytes};
use std::path::{Path, PathBuf};

pub(super) fn places(variable: Variable<'_>) -> Vec<PathBuf> {
    let stated = variable("HF_HUB_CACHE").or_else(|| Some(variable("HF_HOME")?.join("hub")));
    let home = || variable("HOME").or_else(|| variable("USERPROFILE"));
    let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")));
    stated.or_else(|| Some(cache()?.join("huggingface/hub"))).into_iter().collect()
}

pub(super) fn list(root: &Path) -> std::io::Result<FoundModels> {
    let mut models = Vec::new();
    for (folder, folder_name) in folders(root)? {
        let Some((owner, repo)) = folder_name.strip_prefix("models--").and_then(|rest| rest.split_once("--")) else {
            continue;
        };
        let snapshots = folder.join("snapshots");
        if !snapshots.is_dir() {
            continue;
        }
        let main = std::fs::read_to_string(folder.join("refs/main")).unwrap_or_default();
        let all = folders(&snapshots)?;
        let current = all.iter().find(|(_, commit)| commit == main.trim()).or(all.last());
        let Some((snapshot, _)) = current else { continue };
        models.extend(snapshot_models(snapshot, &format!("hf:{owner}/{repo}"))?);
    }
    Ok(FoundModels { models, skipped: Vec::new() })
}

fn snapshot_models(snapshot: &Path, name: &str) -> std::io::Result<Vec<Found>> {
    let all = files(snapshot)?;
    let mut models = gguf_models(&all, |file| format!("{name}:{file}"));
    let has = |ending: &str| all.iter().any(|(_, file)| file.ends_with(ending));
    if has(".safetensors") && all.iter().any(|(_, file)| file == "config.json") {
        let kept = |file: &str| [".safetensors", ".json", ".jinja"].iter().any(|ending| file.ends_with(ending));
        let mut taken: Vec<(PathBuf, String)> = all.into_iter().filter(|(_, file)| kept(file)).collect();
        taken.retain(|(_, file)| !file.starts_with("consolidated"));
        taken.sort_by_key(|(_, file)| (!file.ends_with(".safetensors"), file.clone()));
        let bytes = total_bytes(&taken);
        models.push(Found { name: name.to_string(), files: taken, bytes, ..Found::default() });
    }
    Ok(models)
}
