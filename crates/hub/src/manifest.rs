//! A manifest: the name of a model in the store, and the blobs that it is made of.
//!
//! One JSON file each under `manifests/`. It holds no weights and knows no source's protocol. Read next: `store.rs`.

use crate::digest::Sha256;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Fields that a newer version wrote and this one does not know: kept as they are and told, without effect.
pub type UnknownFields = BTreeMap<String, serde_json::Value>;

/// What a file is to its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileRole {
    /// Weights: a GGUF file, one of its shards, or a safetensors file.
    Model,
    /// `config.json` and its like.
    Config,
    /// `tokenizer.json` and its like.
    Tokenizer,
    /// A chat template of its own.
    Template,
    /// Weights that are added to a model's (kept, not yet used).
    Adapter,
    /// Anything else that came along.
    Other,
}

impl FileRole {
    /// What a file of that name is, folders before it left aside.
    pub(crate) fn of(path: &str) -> FileRole {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
        match name.rsplit('.').next().unwrap_or_default() {
            "gguf" | "safetensors" => FileRole::Model,
            "jinja" => FileRole::Template,
            _ if begins(&["tokenizer", "special_tokens", "added_tokens", "vocab", "merges"]) => FileRole::Tokenizer,
            "json" if name.ends_with("config.json") || name.ends_with("index.json") => FileRole::Config,
            _ => FileRole::Other,
        }
    }
}

/// Who said first what a file's digest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestOrigin {
    /// The catalog: the file is pinned, whoever sent it.
    Catalog,
    /// The source that sent it: intact, but the source could have chosen other bytes.
    Source,
    /// Nobody: computed from what arrived, or from a local file.
    Computed,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// What it is to the model.
    pub role: FileRole,
    /// The name by which a reader of the model's format looks for it; no folders.
    pub file_name: String,
    /// The blob.
    pub sha256: Sha256,
    /// The blob's length.
    pub bytes: u64,
    /// Whether the catalog knows its digest; else `unpinned` is shown.
    pub pinned: bool,
    /// Who said what the digest is.
    pub digest_origin: DigestOrigin,
    /// What this version does not know.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// What an Ollama registry adds to a model, kept as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OllamaSettings {
    /// The template, in Go's template language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The system prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Sampling parameters and stop texts, a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<serde_json::Value>,
    /// The licence's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// What this version does not know.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// A model in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name in the store.
    pub name: String,
    /// Architecture family as the catalog or the file calls it.
    pub family: String,
    /// Licence, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where the bytes came from, in words.
    pub source: String,
    /// The files; the first is the one to open.
    pub files: Vec<ManifestFile>,
    /// What came from an Ollama registry besides weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ollama: Option<OllamaSettings>,
    /// What this version does not know.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

impl Manifest {
    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// The digest of the weights, where one file has them all: what was made of them is known by it.
    pub fn sole_digest(&self) -> Option<Sha256> {
        let mut weights = self.files.iter().filter(|file| file.role == FileRole::Model);
        let first = weights.next()?;
        weights.next().is_none().then_some(first.sha256)
    }

    /// Whether the catalog knows every weight's digest.
    pub fn is_pinned(&self) -> bool {
        self.files.iter().filter(|file| file.role == FileRole::Model).all(|file| file.pinned)
    }

    /// Sampling parameters and stop texts that came along with the weights, a JSON object.
    pub fn parameters(&self) -> Option<&serde_json::Value> {
        self.ollama.as_ref()?.params.as_ref()
    }

    /// Names of the fields, at whatever place, that a newer version wrote and this one does not know.
    pub fn unknown_fields(&self) -> Vec<&str> {
        let files = self.files.iter().map(|file| &file.unknown);
        let places = std::iter::once(&self.unknown).chain(files).chain(self.ollama.iter().map(|own| &own.unknown));
        let mut names: Vec<&str> = places.flat_map(BTreeMap::keys).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The digest of the first file with weights.
    pub fn digest(&self) -> Option<Sha256> {
        let weights = self.files.iter().find(|file| file.role == FileRole::Model);
        weights.or(self.files.first()).map(|file| file.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_role_whoever_brings_it() {
        use FileRole::*;
        let roles = [
            ("BF16/m-00001-of-00002.gguf", Model),
            ("M.GGUF", Model),
            ("model.safetensors", Model),
            ("model.safetensors.index.json", Config),
            ("config.json", Config),
            ("generation_config.json", Config),
            ("tokenizer.json", Tokenizer),
            ("tokenizer_config.json", Tokenizer),
            ("special_tokens_map.json", Tokenizer),
            ("vocab.json", Tokenizer),
            ("chat_template.jinja", Template),
            ("other.json", Other),
            ("README.md", Other),
        ];
        for (name, role) in roles {
            assert_eq!(FileRole::of(name), role, "{name}");
        }
    }
}
