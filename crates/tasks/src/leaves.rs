//! Where the values of a JSON text stand in it, each by its JSON Pointer (RFC 6901), and those of an object by their names.
//!
//! The text has been read as JSON before, so its syntax is known to be right; what is odd all the same ends the walk.

use std::ops::Range;

/// The values without parts, in the order of the text: those that are neither an object nor a list, and empty ones of
/// these.
pub fn leaves(json: &str) -> Vec<(String, Range<usize>)> {
    let mut walk = Walk { json: json.as_bytes(), at: 0, leaves: Vec::new() };
    walk.value(String::new());
    walk.leaves
}

/// The members of the object that a JSON text is, in the order of the text; a name that stands there twice comes twice.
pub fn members(json: &str) -> Vec<(String, Range<usize>)> {
    let mut walk = Walk { json: json.as_bytes(), at: 0, leaves: Vec::new() };
    let mut members = Vec::new();
    // What is odd ends the walk, as above.
    let _ = walk.members(&mut members);
    members
}

struct Walk<'j> {
    json: &'j [u8],
    at: usize,
    leaves: Vec<(String, Range<usize>)>,
}

impl Walk<'_> {
    fn value(&mut self, pointer: String) -> Option<()> {
        self.blanks();
        let start = self.at;
        match *self.json.get(start)? {
            open @ (b'{' | b'[') => return self.parts(pointer, open == b'{'),
            b'"' => self.string()?,
            _ => {
                let rest = &self.json[start..];
                let length = rest.iter().position(|byte| b",]} \t\r\n".contains(byte)).unwrap_or(rest.len());
                self.at += length;
            }
        }
        self.leaves.push((pointer, start..self.at));
        Some(())
    }

    fn parts(&mut self, pointer: String, is_object: bool) -> Option<()> {
        let start = self.at;
        self.at += 1;
        for index in 0.. {
            self.blanks();
            if b"}]".contains(self.json.get(self.at)?) {
                self.at += 1;
                if index == 0 {
                    self.leaves.push((pointer, start..self.at));
                }
                return Some(());
            }
            let name = if is_object { self.name()? } else { index.to_string() };
            self.value(format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")))?;
            self.blanks();
            if self.json.get(self.at) == Some(&b',') {
                self.at += 1;
            }
        }
        None
    }

    fn members(&mut self, members: &mut Vec<(String, Range<usize>)>) -> Option<()> {
        self.blanks();
        self.at += 1;
        loop {
            self.blanks();
            if *self.json.get(self.at)? == b'}' {
                return Some(());
            }
            let name = self.name()?;
            self.blanks();
            let start = self.at;
            self.value(String::new())?;
            members.push((name, start..self.at));
            self.blanks();
            if self.json.get(self.at) == Some(&b',') {
                self.at += 1;
            }
        }
    }

    /// The name of a field, and the colon after it.
    fn name(&mut self) -> Option<String> {
        let start = self.at;
        self.string()?;
        let name = serde_json::from_slice(&self.json[start..self.at]).ok()?;
        self.blanks();
        self.at += 1;
        Some(name)
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match *self.json.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    fn blanks(&mut self) {
        while self.json.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::rank;

    #[test]
    fn every_value_without_parts_has_its_pointer_and_place() {
        let json = r#" { "a/b" : "x \" ]", "list": [1.5 , {"~": null}, []],"o":{}, "t":true}"#;
        let found: Vec<_> = leaves(json).into_iter().map(|(pointer, range)| (pointer, &json[range])).collect();
        let expected = [
            ("/a~1b", r#""x \" ]""#),
            ("/list/0", "1.5"),
            ("/list/1/~0", "null"),
            ("/list/2", "[]"),
            ("/o", "{}"),
            ("/t", "true"),
        ];
        assert_eq!(found, expected.map(|(pointer, text)| (pointer.to_owned(), text)));
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert!(leaves(json).iter().all(|(pointer, _)| value.pointer(pointer).is_some()));
    }

    #[test]
    fn every_member_has_its_name_and_the_place_of_all_of_its_value() {
        let json = r#" { "a" : {"b": [1, "}"]} ,"a":1.5 , "c\"\u00fc": [ ] , "d":"x" }"#;
        let found: Vec<_> = members(json).into_iter().map(|(name, range)| (name, &json[range])).collect();
        let expected = [("a", r#"{"b": [1, "}"]}"#), ("a", "1.5"), ("c\"ü", "[ ]"), ("d", r#""x""#)];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text)));
        for odd in ["", "{", "{}", "[1]", "{\"a\"", "{\"a\":", "{\"a\": 1"] {
            assert!(members(odd).len() <= 1, "{odd}");
        }
    }

    #[test]
    fn text_that_is_no_json_ends_the_walk() {
        let json = r#"{"a/b": "x \" ]", "list": [1.5, {"~": null}, []], "o": {}, "é": true}"#;
        for seed in 0..2000 {
            let mut bytes = json.as_bytes().to_vec();
            let number = rank(seed, "") as usize;
            let at = number % bytes.len();
            bytes[at] = br#"{}[]",:\1 "#[(number >> 32) % 10];
            leaves(&String::from_utf8_lossy(&bytes));
        }
        for text in ["", "{", "{\"a", "[1,", "\"\\", "{\"a\":", "}", "[}", "{]"] {
            leaves(text);
        }
    }
}
