//! Any text as what an answer must be (a JSON Schema, an expression, a grammar in either notation): it can be held to, token by
//! token, or is refused with a reason.
#![no_main]

use std::sync::{Arc, LazyLock};

use grammar::{Grammar, Vocabulary};
use serde_json::{Value, json};
use tokenizer::Tokenizer;

/// Tokens after which a text is left unfinished.
const MOST_TOKENS: usize = 64;

/// A token for each byte, and one that ends a text.
static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
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
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes(), None).expect("a sound vocabulary");
    Vocabulary::new(&Arc::new(tokenizer)).expect("a sound vocabulary")
});

/// A token for each byte: printable ones are called by themselves, the others by the characters from U+0100 on (GPT-2).
fn byte_alphabet() -> Value {
    let is_printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let printable = (0..256).filter(is_printable);
    let others = (0..256).filter(|byte| !is_printable(byte)).zip(256..).map(|(_, character)| character);
    let characters = printable.chain(others).filter_map(char::from_u32);
    characters.enumerate().map(|(id, character)| (character.to_string(), Value::from(id))).collect()
}

libfuzzer_sys::fuzz_target!(|input: (u8, &str)| {
    let (kind, text) = input;
    let made = match kind % 4 {
        0 => match serde_json::from_str(text) {
            Ok(schema) => VOCABULARY.json_schema(&schema),
            Err(_) => return,
        },
        1 => VOCABULARY.regex(text),
        2 => VOCABULARY.gbnf(text),
        _ => VOCABULARY.lark(text),
    };
    match made {
        Ok(grammar) => write(&grammar),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Always the first token that may come.
fn write(grammar: &Grammar) {
    let mut matcher = grammar.matcher();
    for _ in 0..MOST_TOKENS {
        let Ok(allowed) = matcher.allowed() else { return };
        let Some(&token) = allowed.tokens().first() else { return };
        if matcher.accept(token).is_err() {
            return;
        }
    }
}
