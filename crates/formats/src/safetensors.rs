//! A folder of safetensors weights with the JSON texts beside them, as the Hugging Face hub lays models out.
//!
//! The texts are handed on as they stand: older and newer spellings of a setting are told apart by who interprets them
//! (`model`, `tokenizer`). Read next: `safetensors/header.rs` for one file of weights, `safetensors/index.rs` for
//! weights in several.

mod header;
mod index;
mod sentence;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use sentence::SentenceFiles;

use crate::error::quoted;
use crate::{Bytes, FormatError, Mapping, Tensor, Tensors, json};

const WEIGHTS: &str = "model.safetensors";
const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

/// The largest template that is read; known ones have less than 20 kB.
const TEMPLATE_BYTES_MAX: usize = 1 << 20;

/// A model as a folder: configuration, texts of the tokenizer, weights.
#[derive(Debug, Clone)]
pub struct SafetensorsDir {
    /// `config.json`, an object.
    pub config: Value,
    /// `generation_config.json`, an object, if it is there.
    pub generation_config: Option<Value>,
    /// `tokenizer.json` as bytes, if it is there: who needs it parses it, within its own limits.
    pub tokenizer_json: Option<Bytes>,
    /// `tokenizer_config.json`, an object, if it is there.
    pub tokenizer_config: Option<Value>,
    /// `chat_template.jinja`, or else the entry `chat_template` of `tokenizer_config.json`; of several named templates
    /// there, the one named `default`.
    pub chat_template: Option<String>,
    /// What sentence-transformers keeps beside an encoder, if anything of it is there.
    pub sentence: SentenceFiles,
    /// The weights, mapped: file after file, in each by position.
    pub tensors: Tensors,
}

impl SafetensorsDir {
    /// Opens a folder. Nothing of the weights is read but their headers.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn open(folder: &Path) -> Result<SafetensorsDir, FormatError> {
        let config = read_config(folder)?;
        let optional = |name: &str| {
            let path = folder.join(name);
            path.exists().then(|| json::read_object(&path)).transpose()
        };
        let generation_config = optional("generation_config.json")?;
        let tokenizer_config = optional("tokenizer_config.json")?;
        let tokenizer_path = folder.join("tokenizer.json");
        let tokenizer_json =
            tokenizer_path.exists().then(|| Mapping::open(&tokenizer_path).map(Bytes::from_mapping)).transpose()?;
        let chat_template = match read_template_file(&folder.join("chat_template.jinja"))? {
            Some(template) => Some(template),
            None => template_entry(tokenizer_config.as_ref(), folder)?,
        };
        let sentence = SentenceFiles::open(folder)?;
        let tensors = open_weights(folder)?;
        Ok(SafetensorsDir {
            config,
            generation_config,
            tokenizer_json,
            tokenizer_config,
            chat_template,
            sentence,
            tensors,
        })
    }
}

fn read_config(folder: &Path) -> Result<Value, FormatError> {
    let path = folder.join("config.json");
    if path.exists() {
        return json::read_object(&path);
    }
    let gguf = files_ending(folder, ".gguf")?;
    let hint = match gguf.first() {
        Some(file) => format!("the folder holds {}; give that file's path", file.display()),
        None => "give the folder that holds config.json and the weights, or a .gguf file".to_string(),
    };
    Err(FormatError::Missing { file: path, needed_by: "a safetensors model".to_string(), hint })
}

fn read_template_file(path: &Path) -> Result<Option<String>, FormatError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = Mapping::open(path)?;
    let file = path.display().to_string();
    if bytes.len() > TEMPLATE_BYTES_MAX {
        let got = format!("{} bytes", bytes.len());
        return Err(FormatError::damaged(&file, "size", format!("at most {TEMPLATE_BYTES_MAX} bytes"), got));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        FormatError::damaged(&file, "template", "UTF-8 text", format!("a wrong byte at {}", error.valid_up_to()))
    })?;
    Ok(Some(text.to_string()))
}

fn template_entry(tokenizer_config: Option<&Value>, folder: &Path) -> Result<Option<String>, FormatError> {
    let entry = tokenizer_config.and_then(|config| config.get("chat_template"));
    let default_of = |templates: &[Value]| {
        let default = templates.iter().find(|template| template["name"] == "default")?;
        default["template"].as_str().map(str::to_string)
    };
    let wrong = |got: &str| FormatError::Field {
        file: folder.join("tokenizer_config.json").display().to_string(),
        field: "chat_template".to_string(),
        expected: "a text, or templates of which one is named `default`".to_string(),
        got: got.to_string(),
    };
    match entry {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(template)) => Ok(Some(template.clone())),
        Some(Value::Array(templates)) => {
            default_of(templates).map(Some).ok_or_else(|| wrong("templates of other names"))
        }
        Some(_) => Err(wrong("another kind of value")),
    }
}

fn open_weights(folder: &Path) -> Result<Tensors, FormatError> {
    let index_path = folder.join(WEIGHTS_INDEX);
    let mut tensors = Vec::new();
    if index_path.exists() {
        let index = index::Index::open(&index_path)?;
        for file in index.files() {
            let path = folder.join(file);
            if !path.exists() {
                return Err(FormatError::Missing {
                    file: path,
                    needed_by: index_path.display().to_string(),
                    hint: "fetch all parts of the weights into one folder".to_string(),
                });
            }
            tensors.extend(open_file(&path)?);
            header::check_total(tensors.len(), &path)?;
        }
        let tensors = collect(tensors, folder)?;
        index.check(&tensors)?;
        return Ok(tensors);
    }
    collect(open_file(&single_file(folder)?)?, folder)
}

/// The weights of a folder without an index.
fn single_file(folder: &Path) -> Result<PathBuf, FormatError> {
    let expected = folder.join(WEIGHTS);
    if expected.exists() {
        return Ok(expected);
    }
    let mut files = files_ending(folder, ".safetensors")?;
    match (files.pop(), files.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(FormatError::Missing {
            file: folder.join(WEIGHTS_INDEX),
            needed_by: "a folder with several safetensors files".to_string(),
            hint: "fetch the index that says which tensor lies in which file".to_string(),
        }),
        (None, _) => Err(FormatError::Missing {
            file: expected,
            needed_by: "a safetensors model".to_string(),
            hint: "fetch the weights as safetensors (PyTorch's .bin files are not read), or take a GGUF file"
                .to_string(),
        }),
    }
}

/// The files of a folder whose names end so, sorted.
fn files_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, FormatError> {
    let entries = std::fs::read_dir(folder).map_err(|error| FormatError::io(folder, "read", error))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| FormatError::io(folder, "read", error))?;
        if entry.file_name().to_str().is_some_and(|name| name.ends_with(ending)) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

pub(crate) fn open_file(path: &Path) -> Result<Vec<Tensor>, FormatError> {
    header::parse(&Bytes::from_mapping(Mapping::open(path)?), &path.display().to_string())
}

pub(crate) fn collect(tensors: Vec<Tensor>, folder: &Path) -> Result<Tensors, FormatError> {
    Tensors::new(tensors).map_err(|name| {
        let field = format!("tensor {}", quoted(&name));
        FormatError::damaged(&folder.display().to_string(), field, "each name once", "the name a second time")
    })
}

/// Reads the weights of one safetensors file that is in memory already: the header's checks alone, for whoever has no
/// folder (fuzzing, and tools that look into single files).
///
/// # Errors
/// Any [`FormatError`] but `Io` and `Missing`.
pub fn parse_weights(bytes: &Bytes) -> Result<Tensors, FormatError> {
    collect(header::parse(bytes, "safetensors in memory")?, Path::new("safetensors in memory"))
}
