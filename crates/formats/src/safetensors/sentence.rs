//! The texts that sentence-transformers keeps beside an encoder: which steps make a vector of a text.
//!
//! They are handed on as they stand; what a step means is the affair of `model`.

use std::path::Path;

use serde_json::Value;

use crate::{FormatError, json};

/// More steps than this are no honest list.
const MODULES_MAX: usize = 64;

/// What sentence-transformers keeps beside an encoder. Everything may be absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SentenceFiles {
    /// The steps of `modules.json`, by the last part of their types (`Transformer`, `Pooling`, `Normalize`), in order.
    pub modules: Option<Vec<String>>,
    /// `1_Pooling/config.json`, an object; or the file `1_Pooling.config.json`, as a store without folders keeps it.
    pub pooling: Option<Value>,
    /// `sentence_bert_config.json`, an object.
    pub transformer: Option<Value>,
}

impl SentenceFiles {
    pub(super) fn open(folder: &Path) -> Result<SentenceFiles, FormatError> {
        let object = |name: &str| {
            let path = folder.join(name);
            path.exists().then(|| json::read_object(&path)).transpose()
        };
        let pooling = match object("1_Pooling/config.json")? {
            Some(pooling) => Some(pooling),
            None => object("1_Pooling.config.json")?,
        };
        let path = folder.join("modules.json");
        let modules = path.exists().then(|| read_modules(&path)).transpose()?;
        Ok(SentenceFiles { modules, pooling, transformer: object("sentence_bert_config.json")? })
    }
}

fn read_modules(path: &Path) -> Result<Vec<String>, FormatError> {
    let file = path.display().to_string();
    let list = json::read_list(path)?;
    if list.len() > MODULES_MAX {
        return Err(FormatError::damaged(&file, "modules", format!("at most {MODULES_MAX}"), list.len().to_string()));
    }
    let kind = |(index, module): (usize, &Value)| {
        let kind = module.get("type").and_then(Value::as_str).and_then(|kind| kind.rsplit('.').next());
        let expected = || FormatError::damaged(&file, format!("module {index}"), "a text as its type", "none");
        kind.map(str::to_owned).ok_or_else(expected)
    };
    list.iter().enumerate().map(kind).collect()
}
