//! Broken and hostile files give errors or a tokenizer that works, never a panic, and soon.

use formats::{Array, Metadata, Value};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tokenizer::{ChatTemplate, Encode, TemplateInput, Tokenizer, TokenizerError};

/// A small byte-level tokenizer with one of everything.
fn small_json() -> String {
    let mut vocab = serde_json::Map::new();
    for code in (0x21..=0x7Eu32).chain(0xA1..=0xAC).chain(0xAE..=0x143) {
        vocab.insert(char::from_u32(code).unwrap().to_string(), vocab.len().into());
    }
    for token in ["Ġt", "he", "Ġthe"] {
        vocab.insert(token.into(), vocab.len().into());
    }
    let special = vocab.len();
    serde_json::json!({
        "added_tokens": [{"id": special, "content": "<s>", "single_word": false, "lstrip": true, "rstrip": true, "normalized": false, "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "x{2,}"}, "content": "y"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": true, "use_regex": true}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [special], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": ["Ġ t", ["h", "e"], "Ġt he"]}
    })
    .to_string()
}

fn small_gguf() -> Metadata {
    let mut metadata = Metadata::new();
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(["▁", "t", "h", "e", "▁t", "he", "▁the"].map(String::from));
    let mut types = vec![2, 3, 3];
    types.resize(259, 6);
    types.resize(tokens.len(), 1);
    let scores: Vec<f32> = (0..tokens.len()).map(|index| index as f32).collect();
    metadata.insert("tokenizer.ggml.model", Value::String("llama".into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::from_strings(&tokens)));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::from_i32s(&types)));
    metadata.insert("tokenizer.ggml.scores", Value::Array(Array::from_f32s(&scores)));
    metadata.insert("tokenizer.ggml.unknown_token_id", Value::U32(0));
    metadata.insert("tokenizer.ggml.bos_token_id", Value::U32(1));
    metadata.insert("tokenizer.ggml.eos_token_id", Value::U32(2));
    metadata
}

fn use_it(tokenizer: &Tokenizer) {
    let ids = tokenizer.encode("the <s> t\u{e9} 12  \n x", Encode { add_bos_eos: true, parse_special: true });
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_len()));
    tokenizer.decode(&ids, false);
    tokenizer.decode(&[u32::MAX], true);
}

#[test]
fn small_files_work() {
    let tokenizer = Tokenizer::from_json(small_json().as_bytes(), None).unwrap();
    assert_eq!(tokenizer.decode(&tokenizer.encode("the théxx", Encode::default()), false), " the  théy");
    let tokenizer = Tokenizer::from_gguf(&small_gguf()).unwrap();
    let ids = tokenizer.encode("the é", Encode { add_bos_eos: true, parse_special: false });
    assert_eq!(ids, [1, 265, 259, 3 + 0xC3, 3 + 0xA9]);
    assert_eq!(tokenizer.decode(&ids, true), "the é");
    assert_eq!(tokenizer.stop_ids(), [2]);
    // The scores would make `</s>` of these, the kinds forbid it.
    assert!(!tokenizer.encode("</s>", Encode::default()).contains(&2));
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    for (from, to, named) in [
        ("\"NFC\"", "\"Precompiled\"", "normalizer `Precompiled`"),
        ("\"Digits\"", "\"UnicodeScripts\"", "pre-tokenizer `UnicodeScripts`"),
        ("\"TemplateProcessing\"", "\"RobertaProcessing\"", "post-processor `RobertaProcessing`"),
        ("\"decoder\":{\"type\":\"ByteLevel\"}", "\"decoder\":{\"type\":\"CTC\"}", "decoder `CTC`"),
        ("\"BPE\"", "\"Unigram\"", "model `Unigram`"),
        ("\"dropout\":null", "\"dropout\":0.5", "dropout"),
        ("\\\\p{L}+|", "(?<=a)b|", "look-around"),
        ("\"he\"", "\"hello\"", "merge"),
    ] {
        let json = small_json().replace(from, to);
        assert_ne!(json, small_json(), "{from}");
        let error = Tokenizer::from_json(json.as_bytes(), None).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
    let mut metadata = small_gguf();
    metadata.insert("tokenizer.ggml.model", Value::String("rwkv".into()));
    assert!(Tokenizer::from_gguf(&metadata).unwrap_err().to_string().contains("`rwkv`"));
    metadata.insert("tokenizer.ggml.model", Value::String("gpt2".into()));
    metadata.insert("tokenizer.ggml.pre", Value::String("martian".into()));
    assert!(Tokenizer::from_gguf(&metadata).unwrap_err().to_string().contains("`martian`"));
}

#[test]
fn a_file_without_a_tokenizer_says_that_it_has_none() {
    let mut metadata = small_gguf();
    for absent in ["none", "no_vocab"] {
        metadata.insert("tokenizer.ggml.model", Value::String(absent.into()));
        assert!(matches!(Tokenizer::from_gguf(&metadata), Err(TokenizerError::Absent)), "{absent}");
    }
    metadata.remove("tokenizer.ggml.model");
    let error = Tokenizer::from_gguf(&metadata).unwrap_err().to_string();
    assert!(error.starts_with("the file has no tokenizer") && error.contains("\nhint: "), "{error}");
}

#[test]
fn mutated_files_end_in_an_error_or_work() {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let original = small_json().into_bytes();
    let mut worked = 0;
    for _ in 0..1500 {
        let mut bytes = original.clone();
        for _ in 0..1 + random.next_u32() % 4 {
            let at = random.next_u32() as usize % bytes.len();
            match random.next_u32() % 4 {
                0 => bytes[at] = random.next_u32() as u8,
                1 => bytes[at] = b"0123456789\"\\{}[]+?*"[random.next_u32() as usize % 19],
                2 => bytes.truncate(at.max(1)),
                _ => drop(bytes.drain(at..(at + 1 + random.next_u32() as usize % 40).min(bytes.len() - 1).max(at))),
            }
        }
        if let Ok(tokenizer) = Tokenizer::from_json(&bytes, None) {
            use_it(&tokenizer);
            worked += 1;
        }
    }
    assert!(worked > 0, "no mutation was harmless: the test mutates too much to reach the inside");
}

#[test]
fn hostile_metadata_ends_in_an_error() {
    let original = small_gguf();
    use_it(&Tokenizer::from_gguf(&original).unwrap());
    let hostile = [
        Value::U32(u32::MAX),
        Value::Bool(true),
        Value::String("\u{0}".into()),
        Value::F32(f32::NAN),
        Value::Array(Array::from_i32s(&[-1, 7])),
        Value::Array(Array::from_f32s(&[f32::NAN; 266])),
        Value::Array(Array::from_strings(["", "", "a b c", " "])),
    ];
    let keys: Vec<String> = original.iter().map(|(key, _)| key.to_owned()).collect();
    for key in keys.iter().map(String::as_str).chain(["tokenizer.ggml.add_bos_token", "tokenizer.ggml.eot_token_id"]) {
        for value in &hostile {
            let mut metadata = small_gguf();
            metadata.insert(key, value.clone());
            if let Ok(tokenizer) = Tokenizer::from_gguf(&metadata) {
                use_it(&tokenizer);
            }
        }
        let mut metadata = small_gguf();
        metadata.remove(key);
        if let Ok(tokenizer) = Tokenizer::from_gguf(&metadata) {
            use_it(&tokenizer);
        }
    }
}

#[test]
fn mutated_templates_end_in_an_error_or_render() {
    let tokenizer = Tokenizer::from_json(small_json().as_bytes(), None).unwrap();
    let source = "{%- for m in messages %}{% set ns = namespace(a=[1, 2]) %}{{ m.content[1:] | trim | tojson(indent=2) }}{% if loop.last and m.role in ['user'] %}{{ ns.a[0] * 3 ~ strftime_now('%d %b') }}{% endif %}{%- endfor %}{% macro f(x) %}{{ x }}{% endmacro %}{{ f('a') }}";
    let messages = [serde_json::json!({"role": "user", "content": "hi <s>"})];
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for _ in 0..3000 {
        let mut characters: Vec<char> = source.chars().collect();
        for _ in 0..1 + random.next_u32() % 4 {
            let at = random.next_u32() as usize % characters.len();
            match random.next_u32() % 3 {
                0 => characters[at] = ['{', '}', '%', '|', '9', '*', '~', '(', '['][random.next_u32() as usize % 9],
                1 => drop(characters.remove(at)),
                _ => characters.insert(at, characters[random.next_u32() as usize % characters.len()]),
            }
        }
        let source: String = characters.into_iter().collect();
        if let Ok(template) = ChatTemplate::new(&source, "<s>", "")
            && let Ok(prompt) =
                template.render(&TemplateInput { messages: &messages, ..Default::default() }, &tokenizer)
        {
            tokenizer.encode_prompt(&prompt);
        }
    }
}
