//! A Modelfile: a text that says what a model is made from, and what is chosen anew for it.
//!
//! ```text
//! # a comment
//! FROM smollm2:135m                    the model, or a path
//! PARAMETER temperature 0.2            one each; `stop` may come several times
//! SYSTEM """Several
//! lines."""
//! TEMPLATE | ADAPTER | LICENSE | MESSAGE role text | REQUIRES
//! ```
//!
//! The words are Ollama's (docs.ollama.com/modelfile), in any case of letters; templates are Jinja here. Every error names
//! the line. Knows texts alone, not what is on this machine. Read next: `commands/create.rs`.

use chat::{CreateRequest, Message, Role};
use serde_json::{Map, Value};
use std::fmt;
use std::path::{Path, PathBuf};

/// What a Modelfile says.
#[derive(Debug, Default, PartialEq)]
pub struct Modelfile {
    from: Option<String>,
    adapter: Option<String>,
    template: Option<String>,
    system: Option<String>,
    messages: Vec<Message>,
    licenses: Vec<String>,
    parameters: Map<String, Value>,
    /// What has no effect, for people.
    pub notes: Vec<String>,
}

/// A line that cannot be understood: its number from 1, and why not.
#[derive(Debug, PartialEq)]
pub struct WrongLine {
    line: usize,
    reason: String,
}

impl fmt::Display for WrongLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for WrongLine {}

/// An instruction: its word, and how it is taken.
struct Instruction {
    word: &'static str,
    take: fn(&mut Modelfile, &str) -> Result<(), String>,
}

static INSTRUCTIONS: &[Instruction] = &[
    Instruction { word: "FROM", take: |file, text| once(&mut file.from, text) },
    Instruction { word: "PARAMETER", take: parameter },
    Instruction { word: "SYSTEM", take: |file, text| once(&mut file.system, text) },
    Instruction { word: "TEMPLATE", take: template },
    Instruction { word: "ADAPTER", take: |file, text| once(&mut file.adapter, text) },
    Instruction { word: "LICENSE", take: license },
    Instruction { word: "MESSAGE", take: message },
    Instruction { word: "REQUIRES", take: requires },
];

fn once(place: &mut Option<String>, text: &str) -> Result<(), String> {
    match place.replace(text.to_owned()) {
        Some(_) => Err("expected once in the file, got it again".to_owned()),
        None => Ok(()),
    }
}

fn parameter(file: &mut Modelfile, text: &str) -> Result<(), String> {
    let (name, value) = text.split_once(char::is_whitespace).ok_or("expected a name and a value")?;
    let value = unquoted(value.trim())?;
    let stops = matches!(file.parameters.get(name), Some(Value::Array(_)));
    let value = match name {
        "stop" => Value::from(value.as_str()),
        // Whatever is no number and no truth value is a text, which the check below refuses with what was expected.
        _ => serde_json::from_str(&value).unwrap_or_else(|_| Value::from(value.as_str())),
    };
    let layer = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
    local::check_parameters(&layer).map_err(|error| error.to_string())?;
    match (name, stops) {
        ("stop", true) => {
            if let Some(Value::Array(texts)) = file.parameters.get_mut(name) {
                texts.push(value);
            }
        }
        ("stop", false) => drop(file.parameters.insert(name.to_owned(), Value::Array(vec![value]))),
        _ => {
            if file.parameters.insert(name.to_owned(), value).is_some() {
                return Err(format!("{name}: expected once in the file, got it again"));
            }
        }
    }
    Ok(())
}

fn template(file: &mut Modelfile, text: &str) -> Result<(), String> {
    local::check_template(text).map_err(|error| error.to_string())?;
    once(&mut file.template, text)
}

fn license(file: &mut Modelfile, text: &str) -> Result<(), String> {
    file.licenses.push(text.to_owned());
    Ok(())
}

fn message(file: &mut Modelfile, text: &str) -> Result<(), String> {
    const ROLES: [(&str, Role); 3] = [("system", Role::System), ("user", Role::User), ("assistant", Role::Assistant)];
    let (word, content) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let known = ROLES.iter().find(|(name, _)| *name == word);
    let (_, role) = known.ok_or_else(|| format!("expected system, user or assistant and a text, got {word:?}"))?;
    let content = unquoted(content.trim())?;
    if content.is_empty() {
        return Err("expected a text after the role, got none".to_owned());
    }
    file.messages.push(Message::new(*role, content));
    Ok(())
}

fn requires(file: &mut Modelfile, text: &str) -> Result<(), String> {
    file.notes.push(format!("REQUIRES {text} has no effect here: it is a version of another program"));
    Ok(())
}

/// A text without the quotes around it, where it has them.
fn unquoted(text: &str) -> Result<String, String> {
    for quotes in ["\"\"\"", "\""] {
        let Some(rest) = text.strip_prefix(quotes) else { continue };
        let inner = rest.strip_suffix(quotes);
        return inner.map(str::to_owned).ok_or_else(|| format!("expected {quotes} at the end of the text too"));
    }
    Ok(text.to_owned())
}

impl Modelfile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first line that cannot be understood.
    pub fn parse(text: &str) -> Result<Modelfile, WrongLine> {
        let mut file = Modelfile::default();
        // Editors of one system write a mark first.
        let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let wrong = |reason: String| WrongLine { line: index + 1, reason };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let instruction = INSTRUCTIONS.iter().find(|known| known.word.eq_ignore_ascii_case(word));
            let instruction = instruction.ok_or_else(|| wrong(unknown(word)))?;
            let mut text = rest.trim().to_owned();
            let is_pair = ["PARAMETER", "MESSAGE"].contains(&instruction.word);
            // Three quotes that are not closed on their line go on until they are.
            while is_open(&text, is_pair) {
                let (_, next) = lines.next().ok_or_else(|| wrong(format!("{word}: \"\"\" is never closed")))?;
                text = format!("{text}\n{next}");
            }
            let text = text.trim();
            let text = if is_pair {
                text.to_owned()
            } else {
                unquoted(text).map_err(|error| wrong(format!("{word}: {error}")))?
            };
            if text.is_empty() {
                return Err(wrong(format!("{word}: expected something after it, got nothing")));
            }
            (instruction.take)(&mut file, &text).map_err(|reason| wrong(format!("{word}: {reason}")))?;
        }
        if file.from.is_none() {
            let reason = "expected a line FROM with a model or a path, got none in the whole file".to_owned();
            return Err(WrongLine { line: text.lines().count().max(1), reason });
        }
        Ok(file)
    }

    /// What is to be made of it, under a name. Paths in it are taken from `folder`.
    pub fn request(self, name: &str, folder: &Path, quantize: Option<String>) -> CreateRequest {
        let place = |text: &str| {
            let path: PathBuf = folder.join(text);
            if path.exists() { path.display().to_string() } else { text.to_owned() }
        };
        let adapters = self.adapter.iter().map(|adapter| ("adapter".to_owned(), place(adapter)));
        CreateRequest {
            name: name.to_owned(),
            from: self.from.as_deref().map(place),
            adapters: adapters.collect(),
            template: self.template,
            system: self.system,
            messages: self.messages,
            licenses: self.licenses,
            parameters: self.parameters,
            quantize,
            ..CreateRequest::default()
        }
    }
}

/// Whether a text begins with three quotes, after the word that a pair begins with, and does not end with three others.
fn is_open(text: &str, is_pair: bool) -> bool {
    let value = if is_pair { text.split_once(char::is_whitespace).map_or("", |(_, value)| value) } else { text };
    let after = value.trim_start().strip_prefix("\"\"\"");
    after.is_some_and(|rest| !rest.trim_end().ends_with("\"\"\""))
}

fn unknown(word: &str) -> String {
    let known: Vec<&str> = INSTRUCTIONS.iter().map(|known| known.word).collect();
    let word: String = word.chars().take(40).collect();
    format!("expected one of {}, got {word:?}\nhint: texts of several lines stand between \"\"\"", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_instruction_is_read() {
        let text = "\u{feff}# mine\nfrom tiny\n\nPARAMETER temperature 0.5\nPARAMETER stop \"<|x|>\"\nPARAMETER stop y z\n\
                    PARAMETER num_ctx 4096\nSYSTEM \"\"\"Be\n  brief.\n# no comment\n\"\"\"  \nTEMPLATE {{ messages[0].content }}\n\
                    ADAPTER ./lora.gguf\nLICENSE \"\"\"MIT\"\"\"\nLICENSE more\nMESSAGE user 2+2?\nMESSAGE assistant \"\"\"4,\n\
                    exactly\"\"\"\nREQUIRES 0.14.0\r\n";
        let file = Modelfile::parse(text).unwrap();
        assert_eq!(file.notes.len(), 1);
        let request = file.request("mine", Path::new("/no/such"), Some("q8_0".to_owned()));
        assert_eq!((request.name.as_str(), request.from.as_deref()), ("mine", Some("tiny")));
        let parameters = json!({"temperature": 0.5, "stop": ["<|x|>", "y z"], "num_ctx": 4096});
        assert_eq!(Value::Object(request.parameters), parameters);
        assert_eq!(request.system.as_deref(), Some("Be\n  brief.\n# no comment\n"));
        assert_eq!(request.template.as_deref(), Some("{{ messages[0].content }}"));
        assert_eq!(request.adapters["adapter"], "./lora.gguf");
        assert_eq!(request.licenses, ["MIT", "more"]);
        let said: Vec<&str> = request.messages.iter().map(|message| message.content.as_str()).collect();
        assert_eq!(said, ["2+2?", "4,\nexactly"]);
        assert_eq!(request.quantize.as_deref(), Some("q8_0"));
    }

    #[test]
    fn paths_are_those_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.gguf"), "").unwrap();
        let request = Modelfile::parse("FROM ./m.gguf").unwrap().request("x", folder.path(), None);
        assert_eq!(request.from.unwrap(), folder.path().join("./m.gguf").display().to_string());
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            ("", "line 1: expected a line FROM with a model or a path"),
            ("FROM a\nFROM b", "line 2: FROM: expected once in the file"),
            ("FROM a\n\nCOPY x", "line 3: expected one of FROM, PARAMETER"),
            ("FROM", "line 1: FROM: expected something after it, got nothing"),
            ("FROM a\nPARAMETER heat 1", "line 2: PARAMETER: parameters that have no effect here: heat"),
            ("FROM a\nPARAMETER top_p warm", "top_p (expected a number above 0, at most 1, got \"warm\")"),
            ("FROM a\nPARAMETER top_k", "line 2: PARAMETER: expected a name and a value"),
            ("FROM a\nPARAMETER seed 1\nPARAMETER seed 2", "line 3: PARAMETER: seed: expected once"),
            ("FROM a\nSYSTEM \"\"\"x\ny", "line 2: SYSTEM: \"\"\" is never closed"),
            ("FROM a\nSYSTEM \"x", "line 2: SYSTEM: expected \" at the end of the text too"),
            ("FROM a\nTEMPLATE {{ .Prompt }}", "hint: it is in Go's template language"),
            ("FROM a\nMESSAGE tool x", "line 2: MESSAGE: expected system, user or assistant and a text, got \"tool\""),
            ("FROM a\nMESSAGE user", "line 2: MESSAGE: expected a text after the role, got none"),
        ] {
            let error = Modelfile::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn no_text_ends_in_a_panic() {
        let words =
            ["FROM ", "SYSTEM ", "\"\"\"", "\"", "\n", " ", "é", "PARAMETER ", "stop ", "{{", "#", "MESSAGE user "];
        let mut state = 1_u64;
        for _ in 0..5000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(words[(state >> 33) as usize % words.len()]);
            }
            drop(Modelfile::parse(&text));
        }
    }
}
