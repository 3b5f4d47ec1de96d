//! Ollama's own store: `manifests/<registry>/<account>/<model>/<tag>` name blobs in `blobs/sha256-<digest>`.

use super::{Found, FoundModels, Skipped, Variable, files, folders};
use crate::digest::Sha256;
use crate::manifest::Settings;
use crate::sources::ollama::{
    ImageManifest, LONGEST_MANIFEST, LONGEST_TEXT, is_setting, keep, left_out, license_line, not_applied,
};
use std::io::Read;
use std::path::{Path, PathBuf};

pub(super) fn places(variable: Variable<'_>) -> Vec<PathBuf> {
    if let Some(stated) = variable("OLLAMA_MODELS") {
        return vec![stated];
    }
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    let mut places: Vec<PathBuf> = home.map(|home| home.join(".ollama/models")).into_iter().collect();
    // Where its installer for Linux puts the service's models.
    places.push(PathBuf::from("/usr/share/ollama/.ollama/models"));
    places
}

pub(super) fn list(root: &Path) -> std::io::Result<FoundModels> {
    let mut found = FoundModels::default();
    for (registry, _) in folders(&root.join("manifests"))? {
        for (account, account_name) in folders(&registry)? {
            for (model, model_name) in folders(&account)? {
                for (manifest, tag) in files(&model)? {
                    let account = if account_name == "library" { String::new() } else { format!("{account_name}/") };
                    let name = format!("ollama:{account}{model_name}:{tag}");
                    match read(root, &manifest, &name) {
                        Ok(model) => found.models.push(model),
                        Err(reason) => found.skipped.push(Skipped { name, reason }),
                    }
                }
            }
        }
    }
    Ok(found)
}

/// The model that a manifest describes, with the settings that a pull from the registry would bring; or why not.
fn read(root: &Path, manifest: &Path, name: &str) -> Result<Found, String> {
    let manifest: ImageManifest = serde_json::from_slice(&bounded(manifest, LONGEST_MANIFEST)?)
        .map_err(|error| format!("{}: expected a manifest with layers, got {error}", manifest.display()))?;
    let mut weights = None;
    let mut settings = Settings::default();
    let mut notes = Vec::new();
    for layer in &manifest.layers {
        let sha256 = layer.sha256()?;
        let blob = root.join("blobs").join(format!("sha256-{sha256}"));
        match layer.kind() {
            "adapter" => {
                return Err(
                    "it has an adapter, which cannot be applied yet; without it, it is another model".to_string()
                );
            }
            "model" if weights.is_some() => return Err("expected one layer of weights, got several".to_string()),
            "model" => weights = Some((blob, sha256)),
            kind if is_setting(kind) => {
                let bytes = bounded(&blob, LONGEST_TEXT)?;
                let (got, wrong) = (Sha256::of(&bytes), |got: String| format!("{}: {kind}: {got}", blob.display()));
                if got != sha256 {
                    return Err(wrong(format!("expected sha256 {sha256}, got sha256 {got}")));
                }
                let text = String::from_utf8(bytes).map_err(|_| wrong("expected UTF-8 text".to_string()))?;
                keep(&mut settings, kind, text).map_err(wrong)?;
            }
            other => notes.push(left_out(other)),
        }
    }
    let (blob, sha256) = weights.ok_or("expected a layer of weights, got none")?;
    let bytes = std::fs::metadata(&blob).map_err(|error| format!("{}: {error}", blob.display()))?.len();
    notes.extend(not_applied(&settings).into_iter().map(|part| format!("kept, but not applied: its {part}")));
    Ok(Found {
        name: name.to_string(),
        files: vec![(blob, "model.gguf".to_string())],
        bytes,
        sha256: Some(sha256),
        license: license_line(&settings),
        settings: Some(settings),
        notes,
    })
}

/// A whole file, if it is no longer than that.
fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    if bytes.len() as u64 > limit {
        return Err(format!("{}: expected at most {limit} bytes, got more", path.display()));
    }
    Ok(bytes)
}
