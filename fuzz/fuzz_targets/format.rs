//! Any text as what an answer must be (a JSON Schema, an expression, a grammar in either notation): it can be held to, token by
//! token, or is refused with a reason.
#![no_main]

use std::sync::{Arc, LazyLock};

use grammar::{Grammar, Vocabulary};

/// Tokens after which a text is left unfinished.
const MOST_TOKENS: usize = 64;

static VOCABULARY: LazyLock<Vocabulary> =
    LazyLock::new(|| Vocabulary::new(&Arc::new(fuzz::byte_tokenizer())).expect("a sound vocabulary"));

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
