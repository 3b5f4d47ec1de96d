//! Telling an adapter's files from a model's.
//!
//! An adapter (LoRA) is a GGUF file that says so (`general.type`), or a folder as the PEFT library writes it:
//! `adapter_config.json` and `adapter_model.safetensors`. What is in them is the affair of whoever applies them.
//! Read next: `import.rs` and `create.rs`, which take them into the store.

use crate::HubError;
use crate::manifest::FileRole;
use formats::{Bytes, Gguf, Mapping};
use std::path::{Path, PathBuf};

/// The name of an adapter's GGUF file in the store.
pub(crate) const GGUF_NAME: &str = "adapter.gguf";

/// The files of a PEFT adapter, weights first.
pub(crate) const FOLDER: [&str; 2] = ["adapter_model.safetensors", "adapter_config.json"];

/// Whether what lies at a path is an adapter. A file that is none of ours is no adapter.
pub fn is_adapter(path: &Path) -> bool {
    matches!(files_at(path), Ok(Some(_)))
}

/// The files of an adapter at a path, each with its name in the store; none if something else lies there.
///
/// # Errors
/// A folder that has one of the two files of an adapter.
pub(crate) fn files_at(path: &Path) -> Result<Option<Vec<(PathBuf, String)>>, HubError> {
    if path.is_dir() {
        let [weights, config] = FOLDER.map(|name| (path.join(name), name.to_string()));
        return match (weights.0.is_file(), config.0.is_file()) {
            (true, true) => Ok(Some(vec![weights, config])),
            (false, false) => Ok(None),
            (has_weights, _) => {
                let [weights, config] = FOLDER;
                let (has, lacks) = if has_weights { (weights, config) } else { (config, weights) };
                let hint = format!("an adapter is {has} and {lacks} together");
                Err(HubError::NotFound { what: path.join(lacks).display().to_string(), hint })
            }
        };
    }
    Ok(is_gguf_adapter(path).then(|| vec![(path.to_path_buf(), GGUF_NAME.to_string())]))
}

/// Whether a file is a GGUF file of an adapter.
pub(crate) fn is_gguf_adapter(path: &Path) -> bool {
    let opened = Mapping::open(path).map(Bytes::from_mapping).and_then(Gguf::parse);
    opened.is_ok_and(|gguf| matches!(gguf.metadata.str("general.type"), Ok(Some("adapter"))))
}

/// What a file of that name in the store is to its model.
pub(crate) fn role_of(file_name: &str) -> FileRole {
    let is_adapter = FOLDER.contains(&file_name) || file_name == GGUF_NAME;
    if is_adapter { FileRole::Adapter } else { FileRole::of_name(file_name) }
}
