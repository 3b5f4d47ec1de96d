//! What a user may call a model by, and telling such a name from a prompt.
//!
//! Knows the shapes of names; whether something of that name exists is asked of the catalog and the store by `hub.rs`.

use crate::HubError;
use crate::sources;
use std::fmt::{self, Display};
use std::path::PathBuf;

/// A model, named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelRef {
    /// A row of the catalog, by its own name (never an alias).
    Catalog(String),
    /// A repository of a Hugging Face hub: `hf:owner/repo[@revision][:file or quantisation]`.
    HuggingFace {
        /// The account.
        owner: String,
        /// The repository.
        repo: String,
        /// A branch, tag or commit; the main branch if none.
        revision: Option<String>,
        /// A file's name, or a quantisation such as `q4_k_m`.
        file_or_quant: Option<String>,
    },
    /// A model of an Ollama registry: `ollama:name[:tag]`.
    Ollama {
        /// The name, with the account before it where it has one.
        name: String,
        /// The tag; `latest` if none was given.
        tag: String,
    },
    /// A name in the store.
    Stored(String),
    /// A GGUF file or a folder of safetensors.
    Path(PathBuf),
}

/// What a first argument turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It names a model.
    Model(ModelRef),
    /// It looks like a name, but of nothing; these are near.
    NearMiss {
        /// The nearest names, or the expected form.
        nearest: Vec<String>,
    },
    /// It is a text.
    NotAModel,
}

impl ModelRef {
    /// Reads the forms that a prefix marks (`hf:`, `ollama:`); none for any other text.
    pub fn from_prefixed(text: &str) -> Option<Result<ModelRef, HubError>> {
        let (prefix, rest) = text.split_once(':')?;
        let row = sources::PREFIXES.iter().find(|row| row.prefix == prefix)?;
        let wrong = || HubError::BadName { text: text.to_string(), expected: row.form.to_string() };
        Some((row.parse)(rest).filter(|_| valid_name(text)).ok_or_else(wrong))
    }

    /// The name that a text has with its prefix, where it has the form of a name in a hub (`owner/repo`) or a registry
    /// (`name:tag`).
    pub(crate) fn elsewhere(text: &str) -> Option<String> {
        let is_form = |named: &String| matches!(ModelRef::from_prefixed(named), Some(Ok(_)));
        let with = |prefix: &str| Some(format!("{prefix}:{text}")).filter(is_form);
        match (text.contains('/'), text.contains(':')) {
            (true, _) => with("hf"),
            (false, true) => with("ollama"),
            (false, false) => None,
        }
    }

    /// The name that the model gets in the store.
    pub fn store_name(&self) -> String {
        self.to_string()
    }
}

impl Display for ModelRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelRef::Catalog(name) | ModelRef::Stored(name) => out.write_str(name),
            ModelRef::HuggingFace { owner, repo, revision, file_or_quant } => {
                write!(out, "hf:{owner}/{repo}")?;
                if let Some(revision) = revision {
                    write!(out, "@{revision}")?;
                }
                file_or_quant.as_ref().map_or(Ok(()), |wanted| write!(out, ":{wanted}"))
            }
            ModelRef::Ollama { name, tag } => write!(out, "ollama:{name}:{tag}"),
            ModelRef::Path(path) => write!(out, "{}", path.display()),
        }
    }
}

/// Longest name of a model, in bytes: its encoded form must fit a file name.
const LONGEST_NAME: usize = 120;

/// Whether a model in the store or catalog may be called that: letters, digits and `. _ - + : / @`, beginning with a
/// letter or digit, with no empty or dotted path segment.
pub(crate) fn valid_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+:/@".contains(&byte))
        && name.split(['/', ':']).all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}

/// Whether a text is one segment of a repository's or file's name.
pub(crate) fn valid_segment(text: &str) -> bool {
    valid_name(text) && !text.contains(['/', ':', '@'])
}

/// Refuses a name that cannot be one.
pub(crate) fn check_name(name: &str) -> Result<(), HubError> {
    if valid_name(name) {
        return Ok(());
    }
    let expected = format!("a name of at most {LONGEST_NAME} letters and digits, such as mine:1b");
    Err(HubError::BadName { text: name.chars().take(LONGEST_NAME).collect(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ModelRef {
        ModelRef::from_prefixed(text).unwrap().unwrap()
    }

    #[test]
    fn prefixed_names_are_read_and_written_back() {
        let plain = ModelRef::HuggingFace {
            owner: "Qwen".into(),
            repo: "Qwen3-0.6B-GGUF".into(),
            revision: None,
            file_or_quant: Some("q8_0".into()),
        };
        assert_eq!(parse("hf:Qwen/Qwen3-0.6B-GGUF:q8_0"), plain);
        for text in ["hf:a/b", "hf:a/b@v1:c.gguf", "hf:a/b:sub/c.gguf", "ollama:smollm2:135m", "ollama:me/mine:1b"] {
            assert_eq!(parse(text).store_name(), text);
        }
        assert_eq!(parse("ollama:smollm2"), ModelRef::Ollama { name: "smollm2".into(), tag: "latest".into() });
        assert!(ModelRef::from_prefixed("smollm2:135m").is_none());
    }

    #[test]
    fn a_malformed_name_tells_the_form() {
        for text in ["hf:", "hf:a", "hf:a/../b", "hf:a/b/c", "hf:/b", "hf:a/b:../c", "hf:a/b:", "hf:a/b@:c", "hf:a/b c"]
        {
            let error = ModelRef::from_prefixed(text).unwrap().unwrap_err().to_string();
            assert!(error.contains("expected hf:owner/repo[@revision][:file or quant]"), "{text}: {error}");
        }
        for text in ["ollama:", "ollama:a:b:c", "ollama:../x", "ollama:a/b/c"] {
            let error = ModelRef::from_prefixed(text).unwrap().unwrap_err().to_string();
            assert!(error.contains("expected ollama:name[:tag]"), "{text}: {error}");
        }
    }

    #[test]
    fn no_name_can_leave_the_store() {
        for name in ["..", "../a", "a/../b", "/a", "a//b", ".hidden", "a\\b", "a\0", "a b", "", "a/.", "é", "-rf", "a:"]
        {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name(&"a".repeat(LONGEST_NAME + 1)).is_err());
        for name in ["a", "mine:1b", "hf:Qwen/Qwen3-0.6B-GGUF@main:q8_0", "0x"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
