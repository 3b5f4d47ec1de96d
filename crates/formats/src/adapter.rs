//! An adapter's tensors and description from a path: a GGUF file, or a folder as the PEFT library saves it.
//!
//! As with models, nothing is interpreted here: which tensor belongs where, and what the configuration says, is the affair
//! of `model`. Read next: `checkpoint.rs`, the same for whole models.

use std::path::Path;

use serde_json::Value;

use crate::safetensors::{collect, open_file};
use crate::{Bytes, FormatError, Gguf, Tensors, json, parse_weights};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// An adapter that lies on this machine.
#[derive(Debug, Clone)]
pub enum AdapterCheckpoint {
    /// A GGUF file.
    Gguf(Gguf),
    /// A folder with a configuration and safetensors weights.
    Peft(PeftDir),
}

/// A folder of the PEFT library.
#[derive(Debug, Clone)]
pub struct PeftDir {
    /// `adapter_config.json`, an object.
    pub config: Value,
    /// `adapter_model.safetensors`, mapped.
    pub tensors: Tensors,
}

impl AdapterCheckpoint {
    /// Opens a folder as PEFT's, a file as GGUF (by its first bytes, whatever its name).
    ///
    /// # Errors
    /// Any [`FormatError`]; for a file that is something else, [`FormatError::WrongFormat`] says what it looks like.
    pub fn open(path: &Path) -> Result<AdapterCheckpoint, FormatError> {
        if path.is_dir() {
            return PeftDir::open(path).map(AdapterCheckpoint::Peft);
        }
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            return Err(FormatError::Missing {
                file: path.with_file_name(CONFIG),
                needed_by: path.display().to_string(),
                hint: format!("give the folder that holds {CONFIG} and the weights"),
            });
        }
        Gguf::open(path).map(AdapterCheckpoint::Gguf)
    }
}

impl PeftDir {
    /// Opens a folder. Nothing of the weights is read but their header.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn open(folder: &Path) -> Result<PeftDir, FormatError> {
        let missing = |name: &str, hint: &str| FormatError::Missing {
            file: folder.join(name),
            needed_by: "an adapter".to_owned(),
            hint: hint.to_owned(),
        };
        let (config, weights) = (folder.join(CONFIG), folder.join(WEIGHTS));
        if !config.exists() {
            let hint = if folder.join("config.json").exists() {
                "the folder holds a whole model; give it as the base, and the adapter's own folder as the adapter"
            } else {
                "give the folder that PEFT saved, or a .gguf file"
            };
            return Err(missing(CONFIG, hint));
        }
        if !weights.exists() {
            return Err(missing(WEIGHTS, "save it as safetensors (PyTorch's .bin files are not read)"));
        }
        Ok(PeftDir { config: json::read_object(&config)?, tensors: collect(open_file(&weights)?, folder)? })
    }

    /// Reads an adapter that is in memory already.
    ///
    /// # Errors
    /// Any [`FormatError`] but `Io` and `Missing`.
    pub fn parse(config: &[u8], weights: &Bytes) -> Result<PeftDir, FormatError> {
        Ok(PeftDir { config: json::parse_object(config, CONFIG)?, tensors: parse_weights(weights)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error of opening a folder with these files.
    fn refusal(files: &[(&str, &[u8])]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        AdapterCheckpoint::open(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_missing_is_named_with_a_way_on() {
        let empty = refusal(&[]);
        assert!(
            empty.contains("adapter_config.json: not found, but an adapter needs it\nhint: give the folder"),
            "{empty}"
        );
        let model = refusal(&[("config.json", b"{}")]);
        assert!(model.contains("hint: the folder holds a whole model"), "{model}");
        let pickled = refusal(&[("adapter_config.json", b"{}"), ("adapter_model.bin", b"PK")]);
        assert!(pickled.contains("adapter_model.safetensors: not found"), "{pickled}");
        assert!(pickled.contains("hint: save it as safetensors"), "{pickled}");
        let lone = AdapterCheckpoint::open(Path::new("some/adapter_model.safetensors")).unwrap_err().to_string();
        assert!(lone.contains("give the folder that holds adapter_config.json"), "{lone}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let text = refusal(&[("adapter_config.json", b"{\"r\": "), ("adapter_model.safetensors", b"")]);
        assert!(text.contains("adapter_config.json: JSON: expected a sound text"), "{text}");
        let text = refusal(&[("adapter_config.json", b"{}"), ("adapter_model.safetensors", b"PK\x03\x04")]);
        assert!(text.contains("adapter_model.safetensors: expected a safetensors file"), "{text}");
        assert!(PeftDir::parse(b"{}", &Bytes::from_vec(b"\x02\0\0\0\0\0\0\0{}".to_vec())).is_ok());
    }
}
