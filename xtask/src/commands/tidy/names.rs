//! A name from the world (a model family, a way of storing numbers, a place to fetch from) stands in its own file and in
//! the table that lists it, and nowhere else: adding one must not mean to look for all places that know another.
//!
//! Tests, docs, helps and the texts of error enums may name what they like.

use super::Violation;
use super::tokens::{Outline, Token, is_test_file, module_path, tokens};
use super::tree::Tree;

/// One row a kind of name: the names, and the beginnings of the paths where they may stand.
const NAMES: &[(&str, &[&str], &[&str])] = &[
    (
        "model family",
        &["llama", "mistral", "smollm", "smollm2", "phi3", "gemma", "gemma2", "gemma3", "qwen2", "qwen3"],
        // Beside the families' own files: the kinds of rotary scaling and of tokenizers, which configurations and files
        // call after the family that brought them.
        &[
            "crates/model/src/arch",
            "crates/model/src/rope.rs",
            "crates/model/src/hf_config.rs",
            "crates/tokenizer/src/families.rs",
            "crates/tokenizer/src/pattern.rs",
            "crates/tokenizer/src/gguf.rs",
            // Formats of calls are called after the family whose template brought them.
            "crates/local/src/tools",
            // A provider of models has the name of its family.
            "crates/router/src/providers",
            // Seeds of fuzz targets lie in folders that are named after families.
            "fuzz/",
        ],
    ),
    (
        "block format",
        &[
            "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs",
            "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "mxfp4",
        ],
        // Beside the kernels: the table of types of a file, and that of the mixes that are quantized to.
        &["crates/kernels/src/", "crates/formats/src/element.rs", "crates/local/src/quantize_mix.rs"],
    ),
    ("instruction set", &["avx2", "avx512", "avx512f", "neon"], &["crates/kernels/"]),
    ("source of models", &["huggingface", "npm", "pip", "lmstudio"], &["crates/hub/src/"]),
    (
        "source of models and dialect",
        &["ollama"],
        &["crates/hub/src/", "crates/server/src/api/ollama", "crates/server/src/api.rs"],
    ),
    (
        "dialect or provider",
        &["anthropic", "gemini"],
        &["crates/server/src/api/anthropic", "crates/server/src/api.rs", "crates/router/src/providers"],
    ),
];

pub(super) fn check(tree: &Tree) -> anyhow::Result<Vec<Violation>> {
    // A file that is no Rust is reported by the rule of sources.
    let files: Vec<(&str, Vec<Token>, Outline)> = tree
        .rust()
        .filter(|(path, _)| !is_test_file(path))
        .filter_map(|(path, text)| Some((path, tokens(text).ok()?, Outline::of(text).ok()?)))
        .collect();
    let test_modules: Vec<String> = files
        .iter()
        .flat_map(|(path, _, outline)| outline.test_modules.iter().map(|module| module_path(path, module)))
        .collect();
    let is_test_module = |path: &str| {
        let within = |rest: &str| rest.starts_with('/') || rest == ".rs";
        test_modules.iter().any(|module| path.strip_prefix(module.as_str()).is_some_and(within))
    };
    let mut violations = Vec::new();
    for (path, tokens, outline) in files.iter().filter(|(path, ..)| !is_test_module(path)) {
        for token in tokens.iter().filter(|token| !outline.is_test(token.line)) {
            violations.extend(violation(path, token));
        }
    }
    Ok(violations)
}

fn violation(path: &str, token: &Token) -> Option<Violation> {
    NAMES.iter().find_map(|(kind, names, places)| {
        if places.iter().any(|place| path.starts_with(place)) {
            return None;
        }
        let name = names.iter().find(|name| holds(&token.text, name))?;
        let message = format!("`{name}`, the name of a {kind}, may stand only under {}", places.join(", "));
        Some(Violation { path: path.to_string(), line: token.line, message })
    })
}

/// Whether a token holds a name as a word of its own: `llama` is in `load_llama` and `LlamaSpec`, not in `ollama`.
fn holds(token: &str, name: &str) -> bool {
    let lower = token.to_ascii_lowercase();
    lower.match_indices(name).any(|(at, _)| {
        let (before, found) = token.split_at(at);
        let starts_word = match before.chars().next_back() {
            Some(previous) => {
                !previous.is_alphanumeric() || previous.is_lowercase() && found.starts_with(char::is_uppercase)
            }
            None => true,
        };
        // A program of that name is none of the family.
        let rest = &token[at + name.len()..];
        let ends_word = !rest.starts_with(|next: char| next.is_ascii_lowercase()) && !rest.starts_with(".cpp");
        starts_word && ends_word
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_parts_of_words() {
        for token in ["llama", "load_llama", "LlamaSpec", "TinyLlama", "\"llama-bpe\"", "llama3"] {
            assert!(holds(token, "llama"), "{token}");
        }
        for token in ["ollama", "Ollama", "llamas", "pipe", "\"llama.cpp\""] {
            assert!(!holds(token, "llama") && !holds(token, "pip"), "{token}");
        }
    }

    #[test]
    fn a_name_outside_its_place_is_found() {
        let text = "//! Of ollama.\n// npm\nfn f() { g(\"https://ollama.example\", Q4_K) }\n\
                    #[cfg(test)]\nmod tests { fn gemma3() {} }\n";
        let tree = Tree::of(&[
            ("crates/engine/src/x.rs", text),
            ("crates/engine/tests/x.rs", text),
            ("crates/engine/src/lib.rs", "//! Head.\n#[cfg(test)]\nmod simulation;\n"),
            ("crates/engine/src/simulation.rs", text),
            ("crates/hub/src/sources/ollama.rs", "//! Head.\nfn f() { \"ollama\" }\n"),
            ("crates/server/src/api/ollama/chat.rs", "//! Head.\nfn f() { \"ollama\" }\n"),
            ("crates/server/src/api.rs", "//! Head.\nmod ollama;\nmod anthropic;\n"),
            ("crates/server/src/stream.rs", "//! Head.\nfn f() { \"anthropic\" }\n"),
        ]);
        let found: Vec<String> = check(&tree).unwrap().iter().map(Violation::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("crates/engine/src/x.rs:3: `ollama`, the name of a source"), "{found:?}");
        assert!(found[1].starts_with("crates/engine/src/x.rs:3: `q4_k`, the name of a block format"), "{found:?}");
        assert!(found[2].starts_with("crates/server/src/stream.rs:2: `anthropic`, the name of a dialect"), "{found:?}");
    }
}
