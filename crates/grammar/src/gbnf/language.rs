//! Compiles converted grammars with `llguidance` and tries texts on them, over a vocabulary of single bytes.
//!
//! What the Lark text looks like is for the tests beside the code; here only the language counts.

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv};
use llguidance::{Matcher, ParserFactory};

use super::to_lark;

fn compile(lark: &str) -> Matcher {
    let environment: TokEnv = ApproximateTokEnv::single_byte_env();
    let mut factory = ParserFactory::new_simple(&environment).unwrap();
    factory.quiet();
    Matcher::new(factory.create_parser(TopLevelGrammar::from_lark(lark.to_string())))
}

#[track_caller]
fn matcher(gbnf: &str) -> Matcher {
    let lark = to_lark(gbnf).unwrap_or_else(|error| panic!("{gbnf}\n{error}"));
    let matcher = compile(&lark);
    assert!(!matcher.is_error(), "{gbnf}\n{lark}\n{:?}", matcher.get_error());
    matcher
}

fn accepts(matcher: &Matcher, text: &str) -> bool {
    let mut matcher = matcher.deep_clone();
    let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
    let taken = matcher.try_consume_tokens(&tokens).unwrap();
    taken == tokens.len() && matcher.is_accepting().unwrap()
}

#[track_caller]
fn check(gbnf: &str, accepted: &[&str], refused: &[&str]) {
    let matcher = matcher(gbnf);
    for text in accepted {
        assert!(accepts(&matcher, text), "should accept {text:?}\n{gbnf}\n{}", to_lark(gbnf).unwrap());
    }
    for text in refused {
        assert!(!accepts(&matcher, text), "should refuse {text:?}\n{gbnf}\n{}", to_lark(gbnf).unwrap());
    }
}

#[test]
fn json() {
    check(
        r#"
# A value on its own, with spaces where JSON has them.
root    ::= space value
value   ::= (object | array | text | number | "true" | "false" | "null") space
object  ::= "{" space (member ("," space member)*)? "}"
member  ::= text space ":" space value
array   ::= "[" space (
    value            # the first
    ("," space value)*
  )? "]"
text    ::=
  "\"" ([^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\""
number  ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]{1,3})?
space   ::= [ \t\r\n]*
"#,
        &["true", " [1, -2.5e+10, \"é\\u00e9\\\"😀\", {}]\n", r#"{"a":{"b":[[],null]},"c":"}"}"#, "0", "1e999"],
        &["", "tru", "[1,]", "{a:1}", "01", "1.", "\"\n\"", "\"\\u12\"", "[", "1e1000", "\"\u{7f}\""],
    );
}

#[test]
fn arithmetic() {
    check(
        r#"
root   ::= sum "=" [0-9]+ "\n"
sum    ::= term ([-+] term)*
term   ::= factor (("*" | "/" | "**") factor)*
factor ::= number | "(" sum ")" | "-" factor
number ::= [0-9]{1,} ("." [0-9]{0,2})?
"#,
        &["1+2=3\n", "(1.5**2)/(3-4)*--5=0\n", "2.=2\n", "((7))=7\n"],
        &["1+=1\n", "(1=1\n", "1***2=2\n", "1.123=1\n", "1=\n", "1=1"],
    );
}

#[test]
fn list() {
    check(
        "root ::= item+\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c]+ \"\\n\"",
        &["- milk\n", "- milk\n- 2 × eggs\n"],
        &["", "- \n", "milk\n", "- milk", "- milk\n\n"],
    );
}

#[test]
fn chess_like_moves() {
    check(
        r#"
# Moves in pairs, numbered; `0-1` and the like end the game.
root     ::= (
    round
    (" " round){0,99}
    (" " result)?
  )
round    ::= [1-9] [0-9]? ". " move " " move
move     ::= (castling | promotion | plain) [+#]?
castling ::= "O-O" "-O"?
plain    ::= [KQRBN]? [a-h]? [1-8]? "x"? square
promotion ::= square "=" [QRBN]
square   ::= [a-h] [1-8]
result   ::= "1-0" | "0-1" | "1/2-1/2"
"#,
        &["1. e4 e5", "1. e4 e5 2. Nf3 Nc6 3. O-O O-O-O# 0-1", "9. exd5+ e8=Q", "10. R1xa3 Nbd7 1/2-1/2"],
        &["", "1. e4", "1. e4 e9", "1. e4  e5", "0. e4 e5", "1. O-O- e5", "1. e8=K e5", "1. e4 e5 0-2"],
    );
}

#[test]
fn characters() {
    check(
        "root ::= [\\uD7FF-\\uE000] [^a] . \"é\\x00\\x7f\\n/\\\\\" [/\\]\\-^] | [^\\x00-\\U0010FFFF]",
        &["\u{e000}b\né\0\u{7f}\n/\\/", "\u{d7ff}😀\u{10ffff}é\0\u{7f}\n/\\]", "\u{e000}bbé\0\u{7f}\n/\\^"],
        &["", "\u{e001}b\né\0\u{7f}\n/\\/", "\u{e000}a\né\0\u{7f}\n/\\/", "\u{e000}b\né\0\u{7f}\n/\\a"],
    );
}

#[test]
fn tokens() {
    check("root ::= <[97]> !<[98]>{2} \"cc\"", &["axycc", "aaacc"], &["bxycc", "abxcc", "axcc", "axyc"]);
}

/// The body of a rule, and whether it should accept a text.
type Regular = (&'static str, fn(&str) -> bool);

/// Grammars over `a` and `b` without recursion, each with the texts it accepts up to the length of five. The
/// shapes are those on which a greedy lexer would go wrong, and those that match the empty text in many ways.
const REGULAR: &[Regular] = &[
    (r#""a" ("b" | "aa") | "abb""#, |text| matches!(text, "ab" | "aaa" | "abb")),
    (r#""a"* "ab""#, |text| text.ends_with("ab") && !text[..text.len() - 2].contains('b')),
    (r#"[ab]* "a" [ab]"#, |text| text.len() >= 2 && text.as_bytes()[text.len() - 2] == b'a'),
    (r#"("a" | "ab" | "ba"){2}"#, |text| ["aa", "aab", "aba", "abab", "abba", "baa", "baab", "baba"].contains(&text)),
    (r#"("a"*)* ("b"?)+"#, |text| !text.contains("ba")),
    (r#""ab"{,2} ""* (|"b"){1,2}"#, |text| ["", "b", "bb", "ab", "abb", "abbb", "abab", "ababb"].contains(&text)),
    (r#""b"{0} "a"{2}{2} | "b"{2,3}"#, |text| matches!(text, "aaaa" | "bb" | "bbb")),
    (r#"[^b]{2,} | ."#, |text| text == "b" || !text.is_empty() && !text.contains('b')),
    ("", str::is_empty),
    ("\n  \"a\" # one\n | # other\n\n  \"b\"\n", |text| matches!(text, "a" | "b")),
];

#[test]
fn both_forms_have_the_same_language() {
    let mut texts = vec![String::new()];
    for length in 0..5 {
        let longest: Vec<String> = texts.iter().filter(|text| text.len() == length).cloned().collect();
        texts.extend(longest.iter().flat_map(|text| [format!("{text}a"), format!("{text}b")]));
    }
    for (body, expected) in REGULAR {
        let terminal = matcher(&format!("root ::= {body}"));
        // The recursion makes rules of it.
        let rules = matcher(&format!("root ::= body | \"(\" root \")\"\nbody ::= {body}"));
        for text in &texts {
            assert_eq!(accepts(&terminal, text), expected(text), "{body} as a terminal on {text:?}");
            assert_eq!(accepts(&rules, text), expected(text), "{body} as rules on {text:?}");
        }
    }
}

#[test]
fn changed_grammars_never_panic_and_always_parse_as_lark() {
    let seed_text = concat!(
        "root ::= (\"a\\n\" [^b-d\\x41]{1,2} | foo-1+ . # x\n) <[7]>? !<[8]> | \n foo-1{,3}\n",
        "foo-1 ::= \"/\\\"\"* [\\]\\-^/] | \"(\" root \")\" | \"é\\u00e9\"\n"
    );
    let pieces: Vec<char> = "()[]{}<>|*+?.\"\\^-,:=#! \n\r\t/axu019é😀\0_".chars().collect();
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut compiled = 0;
    for _ in 0..20_000 {
        let mut characters: Vec<char> = seed_text.chars().collect();
        for _ in 0..=random(3) {
            let place = random(characters.len());
            match random(3) {
                0 => characters[place] = pieces[random(pieces.len())],
                1 => characters.insert(place, pieces[random(pieces.len())]),
                _ => drop(characters.remove(place)),
            }
        }
        let text: String = characters.into_iter().collect();
        if let Ok(lark) = to_lark(&text)
            && compiled < 300
        {
            compiled += 1;
            // Whether a token is in the vocabulary is not for the converter to know.
            let error = compile(&lark).get_error().filter(|error| !error.contains("unknown special token"));
            assert_eq!(error, None, "{text}\n{lark}");
        }
    }
    assert_eq!(compiled, 300);
}

#[test]
fn the_largest_grammars_compile() {
    let recursive = " | \"(\" root \")\"";
    for body in ["\"a\"*? ".repeat(6000), "[a-c]{1,1999} ".repeat(490), format!("\"{}\"", "a".repeat(59_000))] {
        matcher(&format!("root ::= {body}{recursive}"));
    }
    let chain: String = (0..98).map(|index| format!("c{index} ::= \"a\" c{}? | \"ab\"\n", index + 1)).collect();
    for recursive in ["", recursive] {
        matcher(&format!("root ::= c0{recursive}\n{chain}c98 ::= \"x\""));
    }
}
