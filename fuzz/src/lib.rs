//! What several targets share: the smallest vocabulary that can say any bytes and name a special token.

#![forbid(unsafe_code)]

use serde_json::{Value, json};
use tokenizer::Tokenizer;

/// A token for each byte, and `</s>`, which ends a text.
pub fn byte_tokenizer() -> Tokenizer {
    let file = json!({
        "version": "1.0",
        "added_tokens": [
            {"id": 256, "content": "</s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}
        ],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": byte_alphabet(), "merges": []}
    });
    Tokenizer::from_json(file.to_string().as_bytes(), None).expect("a sound vocabulary")
}

/// A token for each byte: printable ones are called by themselves, the others by the characters from U+0100 on (GPT-2).
fn byte_alphabet() -> Value {
    let is_printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let printable = (0..256).filter(is_printable);
    let others = (0..256).filter(|byte| !is_printable(byte)).zip(256..).map(|(_, character)| character);
    let characters = printable.chain(others).filter_map(char::from_u32);
    characters.enumerate().map(|(id, character)| (character.to_string(), Value::from(id))).collect()
}
