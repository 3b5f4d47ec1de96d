//! BERT's tokenizer against the `tokenizers` library, on hostile text, from either container; and broken files of it.

use formats::{Array, Metadata, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokenizer::{Encode, Tokenizer};

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Letters, letters within words, and some longer tokens; with capitals and accents if it is cased.
fn vocabulary(is_cased: bool) -> Vec<String> {
    let mut tokens: Vec<String> = SPECIAL.map(str::to_owned).to_vec();
    tokens.push("[unused0]".to_owned());
    let plain = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'\"#[]-_$€中文語дñ«»…";
    let letters = plain.chars().chain(if is_cased { "ABCXYZÉéÑ" } else { "" }.chars());
    for letter in letters {
        tokens.push(letter.to_string());
        tokens.push(format!("##{letter}"));
    }
    let words = ["the", "##ing", "un", "##aff", "##able", "una", "play", "##ed", "embed", "##ding", "中文"];
    tokens.extend(words.map(str::to_owned));
    tokens
}

fn json(tokens: &[String], normalizer: serde_json::Value, processor: serde_json::Value) -> String {
    let vocab: serde_json::Map<String, serde_json::Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let added: Vec<serde_json::Value> = (SPECIAL.iter().enumerate())
        .map(|(id, content)| {
            serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": processor,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab}
    })
    .to_string()
}

fn template() -> serde_json::Value {
    let special = |name: &str, kind: u32| serde_json::json!({"SpecialToken": {"id": name, "type_id": kind}});
    let text = |name: &str, kind: u32| serde_json::json!({"Sequence": {"id": name, "type_id": kind}});
    serde_json::json!({"type": "TemplateProcessing",
        "single": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)],
        "pair": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0), text("B", 1), special("[SEP]", 1)],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}})
}

fn normalizer(clean: bool, chinese: bool, accents: Option<bool>, lowercase: bool) -> serde_json::Value {
    serde_json::json!({"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
        "strip_accents": accents, "lowercase": lowercase})
}

/// The same vocabulary as llama.cpp's converter writes it.
fn gguf(tokens: &[String]) -> Metadata {
    let written: Vec<String> = (tokens.iter())
        .map(|token| match token.strip_prefix("##") {
            _ if token.starts_with('[') && token.ends_with(']') => token.clone(),
            Some(rest) if !rest.is_empty() => rest.to_owned(),
            _ => format!("▁{token}"),
        })
        .collect();
    let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id < SPECIAL.len() { 3 } else { 1 }).collect();
    let mut metadata = Metadata::new();
    metadata.insert("tokenizer.ggml.model", "bert");
    metadata.insert("tokenizer.ggml.tokens", Array::from_strings(&written));
    metadata.insert("tokenizer.ggml.token_type", Array::from_i32s(&kinds));
    for (name, id) in [("unknown", 1), ("cls", 2), ("seperator", 3), ("padding", 0), ("mask", 4)] {
        metadata.insert(format!("tokenizer.ggml.{name}_token_id"), id as u32);
    }
    metadata
}

/// Texts that break what is done by halves.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "\\PC{1,8}",
        "[ \t\r\n\u{a0}\u{3000}\u{2028}\u{200b}\u{0}\u{fffd}\u{ad}]{1,4}",
        "[a-zA-ZéÉñÑİıſßÅ']{1,9}",
        "[a-c\u{300}-\u{30f}\u{5b0}\u{93c}\u{1dc0}]{1,6}",
        "[\u{4e00}-\u{4e0f}\u{3400}\u{20000}\u{2b820}\u{2b920}\u{f900}\u{ac00}あ]{1,3}",
        "[.,!?#\\[\\]_$«»…€£¥^`~|<>=+]{1,4}",
        "(the|un|aff|able|play|ed|ing|embed|ding){1,4}",
        Just("[MASK]".to_owned()),
        Just("a".repeat(100)),
        Just("ab".repeat(51)),
        Just("é".repeat(100)),
        Just("##ing".to_owned()),
        Just("\u{1145e}\u{eb8}\u{1e94b}".to_owned()),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|parts| parts.concat())
}

fn encode(tokenizer: &Tokenizer, text: &str, add_bos_eos: bool, parse_special: bool) -> Vec<u32> {
    tokenizer.encode(text, Encode { add_bos_eos, parse_special })
}

#[test]
fn ids_and_texts_equal_the_tokenizers_library() {
    let processors =
        [template(), serde_json::json!({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]})];
    let normalizers = [
        (false, normalizer(true, true, None, true)),
        (true, normalizer(true, true, None, false)),
        (true, normalizer(false, false, Some(true), false)),
        (true, normalizer(true, false, Some(false), true)),
        (
            false,
            serde_json::json!({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}]}),
        ),
    ];
    for (index, (is_cased, normalizer)) in normalizers.into_iter().enumerate() {
        let file = json(&vocabulary(is_cased), normalizer, processors[index % 2].clone());
        let ours = Tokenizer::from_json(file.as_bytes(), None).unwrap();
        let theirs = std::cell::RefCell::new(tokenizers::Tokenizer::from_bytes(file.as_bytes()).unwrap());
        let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
        let check = |text: String| {
            for special in [false, true] {
                theirs.borrow_mut().set_encode_special_tokens(!special);
                for ends in [false, true] {
                    let expected = theirs.borrow().encode(text.as_str(), ends).unwrap();
                    assert_eq!(encode(&ours, &text, ends, special), expected.get_ids(), "{index}: {text:?}");
                    let decoded = theirs.borrow().decode(expected.get_ids(), true).unwrap();
                    assert_eq!(ours.decode(expected.get_ids(), true), decoded, "{index}: {text:?}");
                }
            }
            assert_eq!(ours.unencodable(&text, Encode::default()), None);
            Ok(())
        };
        runner.run(&texts(), check).unwrap();
    }
}

#[test]
fn a_gguf_file_gives_the_ids_of_the_json_file() {
    for is_cased in [false, true] {
        let tokens = vocabulary(is_cased);
        let file = json(&tokens, normalizer(true, true, None, !is_cased), template());
        let from_json = Tokenizer::from_json(file.as_bytes(), None).unwrap();
        let from_gguf = Tokenizer::from_gguf(&gguf(&tokens)).unwrap();
        let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
        let check = |text: String| {
            let ids = encode(&from_json, &text, true, false);
            assert_eq!(encode(&from_gguf, &text, true, false), ids, "{text:?}");
            assert_eq!(from_gguf.decode(&ids, true), from_json.decode(&ids, true), "{text:?}");
            Ok(())
        };
        runner.run(&texts(), check).unwrap();
        assert_eq!(from_gguf.ends(), (&[2][..], &[3][..]));
        for tokenizer in [&from_gguf, &from_json] {
            assert_eq!(tokenizer.between_pair(), Some(&[3][..]));
        }
    }
}

#[test]
fn a_gguf_file_may_say_what_is_done_to_letters() {
    let tokens = vocabulary(true);
    let mut metadata = gguf(&tokens);
    let upper = |metadata: &Metadata| encode(&Tokenizer::from_gguf(metadata).unwrap(), "Éé", false, false);
    let id = |text: &str| tokens.iter().position(|token| token == text).unwrap() as u32;
    assert_eq!(upper(&metadata), [id("É"), id("##é")]);
    metadata.insert("tokenizer.ggml.normalizer.lowercase", true);
    assert_eq!(upper(&metadata), [id("e"), id("##e")]);
    metadata.insert("tokenizer.ggml.normalizer.strip_accents", false);
    assert_eq!(upper(&metadata), [id("é"), id("##é")]);
    metadata.insert("tokenizer.ggml.add_sep_token", false);
    metadata.insert("tokenizer.ggml.add_bos_token", false);
    assert_eq!(Tokenizer::from_gguf(&metadata).unwrap().ends(), (&[][..], &[][..]));
}

#[test]
fn what_is_missing_is_named() {
    let tokens = vocabulary(false);
    let file = json(&tokens, normalizer(true, true, None, true), template());
    for (from, to, named) in [
        ("\"unk_token\":\"[UNK]\"", "\"unk_token\":\"[NO]\"", "model.unk_token"),
        ("\"ids\":[2]", "\"ids\":[99999]", "post_processor"),
        ("\"lowercase\":true", "\"lowercase\":3", "BertNormalizer.lowercase"),
        ("\"prefix\":\"##\"", "\"prefix\":7", "WordPiece.prefix"),
    ] {
        let broken = file.replace(from, to);
        assert_ne!(broken, file, "{from}");
        let error = Tokenizer::from_json(broken.as_bytes(), None).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
    for key in ["unknown_token_id", "cls_token_id", "seperator_token_id", "tokens"] {
        let mut metadata = gguf(&tokens);
        metadata.remove(&format!("tokenizer.ggml.{key}"));
        let error = Tokenizer::from_gguf(&metadata).unwrap_err().to_string();
        assert!(error.contains(key), "{key}: {error}");
    }
}

#[test]
fn mutated_files_end_in_an_error_or_work() {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let original = json(&vocabulary(false), normalizer(true, true, None, true), template()).into_bytes();
    let mut worked = 0;
    for _ in 0..1000 {
        let mut bytes = original.clone();
        for _ in 0..1 + random.next_u32() % 4 {
            let at = random.next_u32() as usize % bytes.len();
            match random.next_u32() % 3 {
                0 => bytes[at] = random.next_u32() as u8,
                1 => bytes[at] = b"0123456789\"\\{}[]#"[random.next_u32() as usize % 17],
                _ => drop(bytes.drain(at..(at + 1 + random.next_u32() as usize % 40).min(bytes.len() - 1).max(at))),
            }
        }
        if let Ok(tokenizer) = Tokenizer::from_json(&bytes, None) {
            let ids = encode(&tokenizer, "The embeddings, [MASK] unaffable \u{4e2d}\u{301}", true, true);
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_len()));
            tokenizer.decode(&ids, false);
            worked += 1;
        }
    }
    assert!(worked > 0, "no mutation was harmless: the test mutates too much to reach the inside");
    let hostile = [Value::U32(u32::MAX), Value::Bool(true), Value::String("\u{0}".into()), Value::F32(f32::NAN)];
    let keys: Vec<String> = gguf(&vocabulary(false)).iter().map(|(key, _)| key.to_owned()).collect();
    for (key, value) in keys.iter().flat_map(|key| hostile.iter().map(move |value| (key, value))) {
        let mut metadata = gguf(&vocabulary(false));
        metadata.insert(key.clone(), value.clone());
        if let Ok(tokenizer) = Tokenizer::from_gguf(&metadata) {
            encode(&tokenizer, "the [CLS] unaffable", true, true);
        }
    }
}
