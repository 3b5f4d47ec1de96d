//! A small tokenizer, and texts written by it at random, for the tests of this crate.

use crate::{Grammar, Vocabulary};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use tokenizer::{Encode, Tokenizer};

/// The byte-level alphabet: which character stands for a byte in a vocabulary.
fn letter(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        // The others follow one another from 256 on.
        0..=b' ' => char::from_u32(256 + u32::from(byte)).unwrap(),
        0x7F..=0xA0 => char::from_u32(256 + 33 + u32::from(byte) - 0x7F).unwrap(),
        0xAD => char::from_u32(256 + 67).unwrap(),
    }
}

/// A special token that ends no text.
pub(crate) const MARK: u32 = 265;

/// All bytes, a few longer tokens, an end and a mark.
pub(crate) fn tokenizer() -> Arc<Tokenizer> {
    static TOKENIZER: OnceLock<Arc<Tokenizer>> = OnceLock::new();
    Arc::clone(TOKENIZER.get_or_init(|| {
        let mut vocabulary: serde_json::Map<String, Value> =
            (0..=255).map(|byte| (letter(byte).to_string(), json!(byte))).collect();
        // Each is a pair of tokens before it.
        let pairs =
            [("{", "\""), ("\"", ":"), ("\":", "Ġ"), (",", "Ġ"), (",Ġ", "\""), ("n", "a"), ("na", "m"), ("nam", "e")];
        let mut merges = Vec::new();
        for (index, (left, right)) in pairs.iter().enumerate() {
            vocabulary.insert(format!("{left}{right}"), json!(256 + index));
            merges.push(format!("{left} {right}"));
        }
        let end = 256 + pairs.len();
        assert_eq!(end + 1, MARK as usize);
        let special = |id: usize, content: &str| {
            json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false})
        };
        let file = json!({
            "added_tokens": [special(end, "<end>"), special(end + 1, "<mark>")],
            "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
            "post_processor": null,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
        });
        let mut tokenizer = Tokenizer::from_json(file.to_string().as_bytes(), None).unwrap();
        tokenizer.add_stop_ids(&[end as u32]);
        Arc::new(tokenizer)
    }))
}

pub(crate) fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| Vocabulary::new(&tokenizer()).unwrap())
}

/// Whether a text is one of a grammar, token by token as the tokenizer writes it.
pub(crate) fn accepts(grammar: &Grammar, text: &str) -> bool {
    let mut matcher = grammar.matcher();
    for id in tokenizer().encode(text, Encode { add_bos_eos: false, parse_special: false }) {
        if !matcher.allowed().unwrap().tokens().contains(&id) {
            return false;
        }
        matcher.accept(id).unwrap();
    }
    matcher.may_end().unwrap()
}

/// A text of tokens at random, which ends soon after `enough` of them; none if it does not within ten times as many.
pub(crate) fn write(grammar: &Grammar, seed: u64, enough: usize) -> Option<String> {
    let mut matcher = grammar.matcher();
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes: Vec<u8> = Vec::new();
    for count in 0..10 * enough {
        let allowed = matcher.allowed().unwrap().tokens();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = (random >> 33) as usize;
        let may_end = matcher.may_end().unwrap();
        assert!(may_end || !allowed.is_empty(), "nothing may come, and the text may not end");
        if may_end && (count >= enough || allowed.is_empty() || draw.is_multiple_of(4)) {
            return Some(String::from_utf8(bytes).expect("a text is whole characters"));
        }
        let closes = |token: &&u32| matches!(tokenizer().token_bytes(**token).as_ref(), b"\"" | b"]" | b"}" | b"0");
        let shortest = allowed.iter().filter(|_| count >= enough).find(closes);
        let token = *shortest.unwrap_or(&allowed[draw % allowed.len()]);
        matcher.accept(token).unwrap();
        bytes.extend_from_slice(&tokenizer().token_bytes(token));
    }
    None
}
