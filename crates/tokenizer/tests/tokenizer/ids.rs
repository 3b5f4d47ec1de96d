//! Ids equal those of the `tokenizers` library and of llama.cpp's own vocabulary tests.

use crate::models::stored;
use crate::packages::{CORPUS, TOKENIZERS, load, oracle};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokenizer::{Encode, Tokenizer};

const RAW: Encode = Encode { add_bos_eos: false, parse_special: false };

fn check_equal(name: &str, ours: &Tokenizer, theirs: &mut tokenizers::Tokenizer, text: &str) {
    for special in [false, true] {
        theirs.set_encode_special_tokens(!special);
        for ends in [false, true] {
            let expected = theirs.encode(text, ends).unwrap();
            let got = ours.encode(text, Encode { add_bos_eos: ends, parse_special: special });
            assert_eq!(got, expected.get_ids(), "{name}, special {special}, ends {ends}, {text:?}");
        }
    }
}

#[test]
fn ids_equal_the_tokenizers_library() {
    for (name, _) in TOKENIZERS {
        let (Some(ours), Some(mut theirs)) = (load(name), oracle(name)) else { continue };
        check_equal(name, &ours, &mut theirs, CORPUS);
        for part in CORPUS.split('\u{1e}').flat_map(|part| part.split_inclusive('\n')) {
            check_equal(name, &ours, &mut theirs, part);
            check_equal(name, &ours, &mut theirs, part.trim_end());
        }
        // Marks whose classes are younger than the tables that this library normalises by.
        check_equal(name, &ours, &mut theirs, "\u{1145e}\u{eb8}");
        let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
        let piece = prop_oneof![
            any::<char>().prop_map(String::from),
            "\\PC{1,8}",
            "[ \t\r\n]{1,5}",
            "[a-zA-Z']{1,9}",
            "[0-9]{1,5}",
            "[\u{4e00}-\u{4eff}▁ ]{1,4}",
            Just("<|im_end|>".to_owned()),
            Just("<end_of_turn>".to_owned()),
        ];
        let theirs = std::cell::RefCell::new(theirs);
        runner
            .run(&proptest::collection::vec(piece, 0..12).prop_map(|parts| parts.concat()), |text| {
                check_equal(name, &ours, &mut theirs.borrow_mut(), &text);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_lossless_tokenizer_gives_back_what_it_was_given() {
    for name in ["gpt2", "llama3_2", "mistral_nemo"] {
        let Some(tokenizer) = load(name) else { continue };
        for part in CORPUS.split('\u{1e}') {
            assert_eq!(tokenizer.decode(&tokenizer.encode(part, RAW), false), part, "{name}");
        }
    }
}

#[test]
fn a_megabyte_without_a_space_ends() {
    for name in ["gpt2", "gemma3"] {
        let Some(tokenizer) = load(name) else { continue };
        let text = "abcdefghij".repeat(100_000);
        assert_eq!(tokenizer.decode(&tokenizer.encode(&text, RAW), false), text, "{name}");
    }
}

/// llama.cpp's `ggml-vocab-*.gguf` with its `.inp` and `.out`. `BANTAM_SHARED_TOKENIZERS` names their folder;
/// `cargo xtask verify texts` runs it on those of the source archive of llama-cpp-python.
#[cfg(feature = "by-hand")]
#[test]
fn ids_equal_llama_cpp_vocabulary_tests() {
    let folder = std::env::var("BANTAM_SHARED_TOKENIZERS").expect("BANTAM_SHARED_TOKENIZERS names a folder");
    let mut compared = 0;
    for name in ["gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"] {
        let path = std::path::Path::new(&folder).join(format!("ggml-vocab-{name}.gguf"));
        let tokenizer = Tokenizer::from_gguf(&formats::Gguf::open(&path).unwrap().metadata).unwrap();
        let read = |end: &str| std::fs::read_to_string(format!("{}.{end}", path.display())).unwrap();
        let (texts, expected) = (read("inp"), read("out"));
        let mut texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        // The file ends in a separator.
        assert_eq!(texts.pop(), Some(""));
        let expected: Vec<Vec<u32>> =
            expected.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect()).collect();
        assert_eq!(texts.len(), expected.len(), "{name}");
        for (text, expected) in texts.iter().zip(&expected) {
            assert_eq!(&tokenizer.encode(text, RAW), expected, "{name}: {text:?}");
            compared += 1;
        }
    }
    assert!(compared > 200, "{compared} texts compared");
}

/// A GGUF file of Gemma 3 has scores where its `tokenizer.json` has merges: the ids are the same.
#[test]
fn scores_and_merges_give_the_same_ids() {
    let (Some(from_gguf), Some(from_json)) = (stored("gemma3:270m-base"), load("gemma3")) else { return };
    // The file calls `<unused5>` special and writes runs of marks as spaces; `tokenizer.json` does neither.
    let parts = CORPUS.split('\u{1e}').flat_map(|part| part.split_inclusive('\n'));
    for part in parts.filter(|part| !part.contains(['▁'])) {
        assert_eq!(from_gguf.encode(part, RAW), from_json.encode(part, RAW), "{part:?}");
    }
}
