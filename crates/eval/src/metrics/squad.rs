//! What of an answer counts to SQuAD: its words without case, punctuation and articles.
//!
//! Source: Rajpurkar et al., SQuAD: 100,000+ Questions for Machine Comprehension of Text, 2016, section 6, and Know What
//! You Don't Know, 2018, for questions without an answer; punctuation is that of ASCII and the articles are English, as
//! in the evaluation that was published with them.

use super::texts;
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

/// The words, with one blank between them.
pub fn normalized(text: &str) -> String {
    static ARTICLES: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b(?:a|an|the)\b").expect("a pattern of this file is sound; this is a bug"));
    let text = text.to_lowercase().replace(|c: char| c.is_ascii_punctuation(), "");
    ARTICLES.replace_all(&text, " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The answers that are right, normalized. Those of nothing but punctuation and articles are none; without any, no
/// answer is the right one, an empty text.
pub fn right(expected: &Value) -> Vec<String> {
    let texts = texts::right(expected);
    let answers: Vec<_> = texts.iter().map(|text| normalized(text)).filter(|text| !text.is_empty()).collect();
    if answers.is_empty() { vec![String::new()] } else { answers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_case_and_punctuation_go() {
        assert_eq!(normalized("The  U.S. Army's\ta-team (an ARMY)"), "us armys ateam army");
        assert_eq!(normalized("a. the"), "");
        assert_eq!(normalized("Theatre — the «Ångström»"), "theatre — «ångström»");
    }
}
