//! The formats of texts that are held to. What the automaton knows by name and takes too widely is said in patterns here.
//!
//! Where two ways of writing mean the same, or one is all but never met, the patterns may know one alone: what comes out is
//! valid. Read next: `keywords`, what becomes of the others.

/// Held to by the automaton's own patterns.
const OF_THE_AUTOMATON: &[&str] = &["duration", "ipv4", "ipv6", "uuid", "uri"];

/// Whether texts are held to a format of JSON Schema. Another one is an annotation, which is warned of.
pub fn is_held_format(format: &str) -> bool {
    OF_THE_AUTOMATON.contains(&format) || !patterns(format).is_empty()
}

/// The patterns that a text of a format matches, all of them; none for a format of the automaton, or an unknown one.
pub(super) fn patterns(format: &str) -> Vec<String> {
    match format {
        "date" => vec![format!("^(?:{})$", date())],
        "time" => vec![format!("^(?:{})$", time())],
        "date-time" => vec![format!("^(?:{})[tT](?:{})$", date(), time())],
        "hostname" => vec![format!("^{}$", host()), "^.{1,253}$".to_owned()],
        "email" => vec![format!("^{}@{}$", mailbox(), host())],
        _ => Vec::new(),
    }
}

/// A full-date of RFC 3339: a 29th of February only where there is one.
fn date() -> String {
    let fours = "(?:0[48]|[2468][048]|[13579][26])";
    let leap_year = format!("(?:[0-9]{{2}}{fours}|(?:00|{fours})00)");
    let day = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8])";
    format!("[0-9]{{4}}-(?:{day})|{leap_year}-02-29")
}

/// A full-time of RFC 3339, to nanoseconds: a leap second only where one may be, told in UTC.
fn time() -> String {
    let fraction = r"(?:\.[0-9]{1,9})?";
    let offset = "(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
    format!("(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]{fraction}{offset}|23:59:60{fraction}[zZ]")
}

/// Names of at most 63 characters between dots (RFC 1123, 2.1). Hyphens in both the third and the fourth place of one mark what
/// is encoded (RFC 5891, 4.2.3.1), and are left out.
fn host() -> String {
    let (letter, inner) = ("[a-zA-Z0-9]", "[a-zA-Z0-9-]");
    let name = format!("{letter}(?:{letter}|{inner}-?{letter}(?:{inner}{{0,58}}{letter})?)?");
    format!(r"{name}(?:\.{name})*")
}

/// What stands before the `@` (RFC 5321, 4.1.2), unquoted. Its 64 characters (4.5.3.1.1) are shared out among its words: to count
/// them beside its shape takes more states than a schema's own pattern leaves room for.
fn mailbox() -> String {
    let of = |most: usize| format!(r"[a-zA-Z0-9!#$%&'*+\-/=?^_`{{|}}~]{{1,{most}}}");
    format!(r"(?:{}|{}\.{}|{}(?:\.{}){{2,3}})", of(64), of(32), of(31), of(16), of(15))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{accepts, vocabulary, write};
    use serde_json::{Value, json};

    fn is_valid(schema: &Value, text: &str) -> bool {
        let validator = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
        validator.is_valid(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn what_is_held_to_is_what_a_validator_takes() {
        let (long, longest) = (format!("{}@a.b", "x".repeat(65)), format!("{}@a.b", "x".repeat(64)));
        let (wide, label) = (["abc"; 64].join("."), format!("a@{}", "b".repeat(64)));
        for (format, right, wrong) in [
            ("email", vec!["a.b+c@d-e.org", "x@localhost", &longest], vec!["a..b@c.d", "a@-b.c", "a.b", &long, &label]),
            ("hostname", vec!["a", "a-b.c1.org", "9.9"], vec!["ab--c.d", "a.", "-a", "a_b", &label[2..], &wide]),
            (
                "date",
                vec!["2024-02-29", "2000-02-29", "0000-02-29", "1999-12-31", "2023-02-28"],
                vec!["2023-02-29", "1900-02-29", "2023-04-31", "2023-13-01", "2023-00-10", "23-01-01"],
            ),
            (
                "time",
                vec!["23:59:60Z", "00:00:00.123456789+02:00", "12:30:59z"],
                vec!["12:30:60Z", "24:00:00Z", "12:30Z", "12:30:00", "12:30:00.Z"],
            ),
            ("date-time", vec!["2024-02-29T23:59:59.5-08:00"], vec!["2023-02-29T00:00:00Z", "2024-02-29 00:00:00Z"]),
        ] {
            let schema = json!({"type": "string", "format": format});
            let grammar = vocabulary().json_schema(&schema).unwrap();
            for text in right {
                let text = Value::from(text).to_string();
                assert!(accepts(&grammar, &text) && is_valid(&schema, &text), "{format}: {text}");
            }
            for text in wrong {
                let text = Value::from(text).to_string();
                assert!(!accepts(&grammar, &text), "{format}: {text}");
            }
        }
    }

    #[test]
    fn texts_of_every_format_are_valid() {
        let own = ["date", "time", "date-time", "hostname", "email"];
        for format in own.iter().chain(OF_THE_AUTOMATON) {
            assert!(is_held_format(format), "{format}");
            let schema = json!({"type": "string", "format": format});
            let grammar = vocabulary().json_schema(&schema).unwrap();
            let written: Vec<String> = (0..60).filter_map(|seed| write(&grammar, seed, 40)).collect();
            assert!(written.len() > 10, "{format}: {}", written.len());
            for text in written {
                assert!(is_valid(&schema, &text), "{format}: {text}");
            }
        }
        assert!(!is_held_format("phone") && !is_held_format("unknown"));
    }

    #[test]
    fn a_format_stands_beside_a_pattern_and_other_kinds() {
        let both = json!({"type": ["string", "null"], "format": "email", "pattern": "@example\\.org$"});
        let grammar = vocabulary().json_schema(&both).unwrap();
        assert!(accepts(&grammar, "\"a@example.org\"") && accepts(&grammar, "null"));
        for text in ["\"a@example.com\"", "\"@example.org\"", "\"a@b@example.org\"", "1"] {
            assert!(!accepts(&grammar, text), "{text}");
        }
        let any = vocabulary().json_schema(&json!({"format": "date"})).unwrap();
        assert!(accepts(&any, "1") && accepts(&any, "\"2024-02-29\"") && !accepts(&any, "\"x\""));
    }
}
