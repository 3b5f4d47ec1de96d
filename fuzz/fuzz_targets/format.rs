//! Any text as what an answer must be (a JSON Schema, an expression, a grammar in either notation): it can be held to, token by
//! token, or is refused with a reason. What ends and was held to a schema is JSON, with numbers that a double holds.
#![no_main]

use std::sync::{Arc, LazyLock};

use grammar::{Grammar, Vocabulary};
use tokenizer::Tokenizer;

/// Tokens after which a text is left unfinished.
const MOST_TOKENS: usize = 64;

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(fuzz::byte_tokenizer()));
static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::new(&TOKENIZER).expect("a sound vocabulary"));

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
        Ok(grammar) => {
            let finished = write(&grammar);
            if kind % 4 == 0 {
                let is_read = |text: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&text).is_ok();
                assert!(finished.is_none_or(is_read));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Always the first token that may come; the text, if it may end.
fn write(grammar: &Grammar) -> Option<Vec<u8>> {
    let mut matcher = grammar.matcher();
    let mut text = Vec::new();
    for _ in 0..MOST_TOKENS {
        let Some(&token) = matcher.allowed().ok()?.tokens().first() else { break };
        matcher.accept(token).ok()?;
        text.extend_from_slice(&TOKENIZER.token_bytes(token));
    }
    matcher.may_end().ok()?.then_some(text)
}
