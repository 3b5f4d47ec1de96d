//! Whole model files from Bantam's store, by the digests that `tests/real_models.json` gives them.

use crate::packages::skip;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokenizer::{Encode, Tokenizer};

/// The models that `.ci/run` pulls, and that thus may not be skipped there.
const PULLED: [&str; 2] = ["smollm2:135m", "gemma3:270m-base"];

const PLAIN: Encode = Encode { add_bos_eos: true, parse_special: false };

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

fn real_models() -> Value {
    serde_json::from_slice(&std::fs::read(tests().join("real_models.json")).unwrap()).unwrap()
}

fn blob(sha256: &str) -> Option<PathBuf> {
    let home = std::env::var_os("BANTAM_HOME")?;
    Some(Path::new(&home).join("blobs").join(format!("sha256-{sha256}"))).filter(|path| path.exists())
}

fn open(path: &Path) -> Tokenizer {
    Tokenizer::from_gguf(&formats::Gguf::open(path).unwrap().metadata).unwrap()
}

/// The file of a model. `None` where the store does not have it: with a note if it is one that CI pulls, or if
/// `cargo xtask verify` asks, which pulls all.
fn file(name: &str) -> Option<PathBuf> {
    let found = blob(real_models()[name]["sha256"].as_str().unwrap());
    if found.is_none() && (PULLED.contains(&name) || std::env::var_os("BANTAM_VERIFY").is_some()) {
        skip(&format!("{name} is not in the store of BANTAM_HOME; `bantam pull {name}` puts it there"));
    }
    found
}

/// The tokenizer of a pulled model.
pub fn stored(name: &str) -> Option<Tokenizer> {
    file(name).map(|path| open(&path))
}

/// The chat template of a pulled model.
pub fn stored_template(name: &str) -> Option<String> {
    let file = formats::Gguf::open(&file(name)?).unwrap();
    Some(file.metadata.str("tokenizer.chat_template").unwrap().expect("a template").to_owned())
}

/// The ids of the file are llama.cpp's: the first 2,000 of each text.
#[test]
fn ids_of_real_models_equal_llama_cpp() {
    let models = real_models();
    for (name, model) in models.as_object().unwrap() {
        let Some(tokenizer) = stored(name) else { continue };
        let texts = model["texts"].as_object().unwrap();
        assert_eq!(texts.len(), 3, "{name}");
        for (text, expected) in texts {
            let expected: Vec<u32> = serde_json::from_value(expected["ids"].clone()).unwrap();
            assert_eq!(expected.len(), 2000, "{name}, {text}");
            let content = std::fs::read_to_string(tests().join("texts").join(format!("{text}.txt"))).unwrap();
            assert_eq!(tokenizer.unencodable(&content, PLAIN), None, "{name}, {text}");
            assert_eq!(tokenizer.encode(&content, PLAIN)[..2000], expected, "{name}, {text}");
        }
    }
}

/// SmolLM2's training text held no `U+0004`: its vocabulary has no token for that byte.
#[test]
fn a_byte_that_a_real_vocabulary_lacks_is_named() {
    let Some(tokenizer) = stored("smollm2:135m") else { return };
    for (text, expected) in [("a\u{4}b", Some('\u{4}')), ("a\u{5}b", None), ("a\u{50000}", Some('\u{50000}'))] {
        assert_eq!(tokenizer.unencodable(text, PLAIN), expected, "{text:?}");
        assert_eq!(tokenizer.decode(&tokenizer.encode(text, PLAIN), false) == text, expected.is_none(), "{text:?}");
    }
}
