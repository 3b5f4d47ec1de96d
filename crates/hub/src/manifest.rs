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
    /// Weights that are added to a model's, or what describes them.
    Adapter,
    /// Anything else that came along.
    Other,
}

impl FileRole {
    /// What a file of that name is, folders before it left aside.
    pub fn of_name(path: &str) -> FileRole {
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

/// A message that stands before every conversation with a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeningMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// What came along with the weights: from a registry that keeps such things, or from whoever made the model out of
/// another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The template of an Ollama registry, in Go's template language: kept as it was sent, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The chat template, Jinja; it goes before that of the weights' file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// The system text of conversations that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Messages that stand before every conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<OpeningMessage>,
    /// Sampling parameters and stop texts, a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<serde_json::Value>,
    /// Texts of licences. Manifests of older versions have one text.
    #[serde(default, alias = "license", deserialize_with = "one_or_several", skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
    /// What this version does not know.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// A text, or a list of them.
fn one_or_several<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Texts::deserialize(deserializer)? {
        Texts::One(text) => vec![text],
        Texts::Several(texts) => texts,
    })
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
    /// The model that it was made from, by name or path, where it is another one's weights with other settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What came along besides weights. Older versions called it `ollama`.
    #[serde(default, alias = "ollama", skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
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
        self.settings.as_ref()?.params.as_ref()
    }

    /// Its adapter's files; none where it has no adapter.
    pub fn adapter_files(&self) -> impl Iterator<Item = &ManifestFile> {
        self.files.iter().filter(|file| file.role == FileRole::Adapter)
    }

    /// Whether it is an adapter alone, which runs only together with a model.
    pub fn is_adapter(&self) -> bool {
        self.adapter_files().next().is_some() && !self.files.iter().any(|file| file.role == FileRole::Model)
    }

    /// Names of the fields, at whatever place, that a newer version wrote and this one does not know.
    pub fn unknown_fields(&self) -> Vec<&str> {
        let files = self.files.iter().map(|file| &file.unknown);
        let places = std::iter::once(&self.unknown).chain(files).chain(self.settings.iter().map(|own| &own.unknown));
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
            assert_eq!(FileRole::of_name(name), role, "{name}");
        }
    }
}
