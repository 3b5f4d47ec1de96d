//! Words of a text: runs of letters and digits where their number counts, and tokens of the Penn Treebank where it matters
//! how each is written.

use regex::Regex;
use std::sync::LazyLock;

/// How many words: runs of letters, digits and underscores.
pub fn count(text: &str) -> usize {
    static WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"\w+"));
    WORD.find_iter(text).count()
}

/// Whether all letters that have a case are capital, and there is one.
pub fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)
}

/// Whether no letter is capital, and there is one that could be.
pub fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)
}

/// What is set apart by blanks, in this order. Source: the tokenization of the Penn Treebank (`tokenizer.sed`, MacIntyre
/// 1995) as NLTK has it; a full stop at the end stays with its word, which changes no case.
const APART: [(&str, &str); 14] = [
    (r#"[«“‘„"]|``"#, " $0 "),
    (r"([^\d]):([^\d])", "$1 : $2"),
    (r",([^\d])", " , $1"),
    (r"\.{2,}", " $0 "),
    (r"[;@#$%&?!*]", " $0 "),
    (r"([^'])' ", "$1 ' "),
    (r"[\]\[(){}<>]", " $0 "),
    (r"--", " $0 "),
    (r"[»”’]|''", " $0 "),
    (r"([^' ])('[sSmMdD]|') ", "$1 $2 "),
    (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 "),
    (r"(?i)\b(can)(not)\b|\b(gim|lem)(me)\b", " $1$3 $2$4 "),
    (r"(?i)\b(gon)(na)\b|\b(got)(ta)\b", " $1$3 $2$4 "),
    (r"(?i)\b(wan)(na)\b|\b(d)('ye)\b", " $1$3 $2$4 "),
];

/// The tokens of a text.
pub fn tokens(text: &str) -> Vec<String> {
    static PATTERNS: LazyLock<[(Regex, &str); 14]> =
        LazyLock::new(|| APART.map(|(source, replacement)| (pattern(source), replacement)));
    let mut text = format!(" {} ", text.split_whitespace().collect::<Vec<_>>().join(" "));
    for (pattern, replacement) in PATTERNS.iter() {
        text = pattern.replace_all(&text, *replacement).into_owned();
    }
    text.split_whitespace().map(str::to_owned).collect()
}

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("a pattern of this file is sound; this is a bug")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contractions_and_marks_stand_apart() {
        let check = |text: &str, expected: &[&str]| assert_eq!(tokens(text), expected, "{text}");
        check("I'M HERE, DON'T go", &["I", "'M", "HERE", ",", "DO", "N'T", "go"]);
        check("\"NASA\" (ESA): 1,000!", &["\"", "NASA", "\"", "(", "ESA", ")", ":", "1,000", "!"]);
        check("CANNOT at 10:30", &["CAN", "NOT", "at", "10:30"]);
        assert_eq!(count("it's well-known: 3.5_a"), 6);
    }

    #[test]
    fn a_text_without_case_is_neither() {
        assert!(is_upper("A 1!") && !is_upper("1!") && !is_upper("Ab") && is_lower("a é 1") && !is_lower("漢字"));
    }
}
