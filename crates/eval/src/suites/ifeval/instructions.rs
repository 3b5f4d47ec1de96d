//! The 25 instructions of IFEval and how each is checked. What the checks of the paper's authors do with odd answers is done
//! here too: the figures are to be the same.
//!
//! It knows no prompt and no model. Read next: `sentences.rs` and `words.rs` for what they count.

use super::{ID, language, sentences, words};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// An instruction with its settings.
#[derive(Debug)]
pub struct Instruction {
    check: Box<dyn Check>,
}

/// Whether an answer follows.
trait Check: Send + Sync {
    fn is_followed(&self, answer: &str) -> bool;
}

impl<F: Fn(&str) -> bool + Send + Sync> Check for F {
    fn is_followed(&self, answer: &str) -> bool {
        self(answer)
    }
}

impl std::fmt::Debug for dyn Check {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Check")
    }
}

/// Makes the check of an instruction from its settings, or says which is missing.
type Make = fn(&Settings<'_>) -> Result<Box<dyn Check>, String>;

/// Every instruction by its name in the published file.
const INSTRUCTIONS: [(&str, Make); 25] = [
    ("keywords:existence", keywords),
    ("keywords:frequency", keyword_frequency),
    ("keywords:forbidden_words", forbidden_words),
    ("keywords:letter_frequency", letter_frequency),
    ("language:response_language", response_language),
    ("length_constraints:number_sentences", |settings| counted(settings, "num_sentences", sentences::count)),
    ("length_constraints:number_paragraphs", paragraphs),
    ("length_constraints:number_words", |settings| counted(settings, "num_words", words::count)),
    ("length_constraints:nth_paragraph_first_word", paragraph_first_word),
    ("detectable_content:number_placeholders", placeholders),
    ("detectable_content:postscript", postscript),
    ("detectable_format:number_bullet_lists", bullets),
    ("detectable_format:constrained_response", |_| check(|answer| ANSWERS.iter().any(|one| answer.contains(one)))),
    ("detectable_format:number_highlighted_sections", highlights),
    ("detectable_format:multiple_sections", sections),
    ("detectable_format:json_format", |_| check(is_json)),
    ("detectable_format:title", |_| check(has_title)),
    ("combination:two_responses", |_| check(are_two)),
    ("combination:repeat_prompt", repeated),
    ("startend:end_checker", ending),
    ("startend:quotation", |_| check(is_quoted)),
    ("change_case:capital_word_frequency", capital_words),
    ("change_case:english_capital", |_| check(|answer| words::is_upper(answer) && language::is(answer, "en"))),
    ("change_case:english_lowercase", |_| check(|answer| words::is_lower(answer) && language::is(answer, "en"))),
    ("punctuation:no_comma", |_| check(|answer| !answer.contains(','))),
];

/// What a constrained response holds one of.
const ANSWERS: [&str; 3] = ["My answer is yes.", "My answer is no.", "My answer is maybe."];

impl Instruction {
    /// Reads one as the rows of the suite hold it.
    pub fn read(value: &Value) -> Result<Instruction, String> {
        let nothing = Map::new();
        let fields = value.as_object().unwrap_or(&nothing);
        let id = fields.get(ID).and_then(Value::as_str).unwrap_or_default();
        let Some((_, make)) = INSTRUCTIONS.iter().find(|(name, _)| *name == id) else {
            return Err(format!("there is no instruction {id:?}"));
        };
        let check = make(&Settings { id, fields })?;
        Ok(Instruction { check })
    }

    /// Whether an answer follows it. One without a word follows nothing.
    pub fn is_followed(&self, answer: &str) -> bool {
        !answer.trim().is_empty() && self.check.is_followed(answer)
    }
}

fn check(check: impl Fn(&str) -> bool + Send + Sync + 'static) -> Result<Box<dyn Check>, String> {
    Ok(Box::new(check))
}

/// The settings of an instruction.
struct Settings<'s> {
    id: &'s str,
    fields: &'s Map<String, Value>,
}

impl Settings<'_> {
    fn missing(&self, name: &str, what: &str) -> String {
        format!("{}: expected `{name}`, {what}, got {}", self.id, self.fields.get(name).unwrap_or(&Value::Null))
    }

    fn text(&self, name: &str) -> Result<String, String> {
        let text = self.fields.get(name).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| self.missing(name, "a text"))
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let texts = self.fields.get(name).and_then(Value::as_array);
        let texts = texts.and_then(|texts| texts.iter().map(|text| text.as_str().map(str::to_owned)).collect());
        texts.ok_or_else(|| self.missing(name, "a list of texts"))
    }

    /// Some copies of the file have counts as floating-point numbers.
    fn count(&self, name: &str) -> Result<usize, String> {
        let value = self.fields.get(name);
        let whole = value.and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
        let float = value.and_then(Value::as_f64).filter(|count| count.fract() == 0.0 && (0.0..1e6).contains(count));
        whole.or(float.map(|count| count as usize)).ok_or_else(|| self.missing(name, "a whole number"))
    }

    /// Whether a count may be: less than so many, or at least so many.
    fn relation(&self, relation: &str, count: &str) -> Result<impl Fn(usize) -> bool + Send + Sync + use<>, String> {
        let (word, bound) = (self.text(relation)?, self.count(count)?);
        let is_less = match word.as_str() {
            "less than" => true,
            "at least" => false,
            _ => return Err(self.missing(relation, "\"less than\" or \"at least\"")),
        };
        Ok(move |count: usize| if is_less { count < bound } else { count >= bound })
    }

    /// A pattern of the file, which the authors' checks take as a regular expression too; what is none stands for itself.
    fn pattern(&self, source: &str, around: &str) -> Result<Regex, String> {
        let built =
            |source: &str| RegexBuilder::new(&format!("{around}(?:{source}){around}")).case_insensitive(true).build();
        built(source).or_else(|_| built(&regex::escape(source))).map_err(|error| format!("{}: {error}", self.id))
    }
}

/// A pattern of this file.
fn own(source: &str) -> Regex {
    Regex::new(source).expect("a pattern of this file is sound; this is a bug")
}

fn keywords(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let patterns =
        settings.texts("keywords")?.iter().map(|word| settings.pattern(word, "")).collect::<Result<Vec<_>, _>>()?;
    check(move |answer| patterns.iter().all(|pattern| pattern.is_match(answer)))
}

fn forbidden_words(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let words = settings.texts("forbidden_words")?;
    let patterns = words.iter().map(|word| settings.pattern(word, r"\b")).collect::<Result<Vec<_>, _>>()?;
    check(move |answer| !patterns.iter().any(|pattern| pattern.is_match(answer)))
}

fn keyword_frequency(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let pattern = settings.pattern(settings.text("keyword")?.trim(), "")?;
    let is_enough = settings.relation("relation", "frequency")?;
    check(move |answer| is_enough(pattern.find_iter(answer).count()))
}

fn letter_frequency(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let letter = settings.text("letter")?.to_lowercase();
    if letter.chars().count() != 1 {
        return Err(settings.missing("letter", "one character"));
    }
    let is_enough = settings.relation("let_relation", "let_frequency")?;
    check(move |answer| is_enough(answer.to_lowercase().matches(&letter).count()))
}

fn response_language(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let wanted = settings.text("language")?;
    check(move |answer| language::is(answer, &wanted))
}

/// Less than so many of something, or at least.
fn counted(settings: &Settings<'_>, bound: &str, count: fn(&str) -> usize) -> Result<Box<dyn Check>, String> {
    let is_enough = settings.relation("relation", bound)?;
    check(move |answer| is_enough(count(answer)))
}

fn paragraphs(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    static DIVIDER: LazyLock<Regex> = LazyLock::new(|| own(r"\s?\*\*\*\s?"));
    let wanted = settings.count("num_paragraphs")?;
    check(move |answer| {
        let parts: Vec<&str> = DIVIDER.split(answer).collect();
        let is_blank = |part: &str| part.trim().is_empty();
        let inner = parts.get(1..parts.len() - 1).unwrap_or_default();
        // A divider may stand before the first paragraph and after the last.
        let ends = if parts.len() == 1 { &parts[..] } else { &[parts[0], parts[parts.len() - 1]] };
        let blank_ends = ends.iter().filter(|part| is_blank(part)).count();
        !inner.iter().any(|part| is_blank(part)) && parts.len() - blank_ends == wanted
    })
}

fn paragraph_first_word(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let (wanted, nth) = (settings.count("num_paragraphs")?, settings.count("nth_paragraph")?);
    let first_word = settings.text("first_word")?.to_lowercase();
    check(move |answer| {
        let parts: Vec<&str> = answer.split("\n\n").collect();
        let count = parts.iter().filter(|part| !part.trim().is_empty()).count();
        let part = nth.checked_sub(1).and_then(|place| parts.get(place)).filter(|_| nth <= count);
        let Some(word) = part.and_then(|part| part.split_whitespace().next()) else { return false };
        let word = word.trim_start_matches('\'').trim_start_matches('"');
        let word = word.split(['.', ',', '?', '!', '\'', '"']).next().unwrap_or_default();
        count == wanted && word.to_lowercase() == first_word
    })
}

fn placeholders(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| own(r"\[.*?\]"));
    let wanted = settings.count("num_placeholders")?;
    check(move |answer| PLACEHOLDER.find_iter(answer).count() >= wanted)
}

fn postscript(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let marker = settings.text("postscript_marker")?;
    let pattern = match marker.trim() {
        "P.P.S" => own(r"p\.\s?p\.\s?s"),
        "P.S." => own(r"p\.\s?s\."),
        other => settings.pattern(&other.to_lowercase(), "")?,
    };
    check(move |answer| pattern.is_match(&answer.to_lowercase()))
}

fn bullets(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    static STARS: LazyLock<Regex> = LazyLock::new(|| own(r"(?m)^\s*\*[^*].*$"));
    static DASHES: LazyLock<Regex> = LazyLock::new(|| own(r"(?m)^\s*-.*$"));
    let wanted = settings.count("num_bullets")?;
    check(move |answer| STARS.find_iter(answer).count() + DASHES.find_iter(answer).count() == wanted)
}

fn highlights(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    static SINGLE: LazyLock<Regex> = LazyLock::new(|| own(r"\*([^\n*]*)\*"));
    static DOUBLE: LazyLock<Regex> = LazyLock::new(|| own(r"\*\*([^\n*]*)\*\*"));
    let wanted = settings.count("num_highlights")?;
    check(move |answer| {
        let count = |pattern: &Regex| pattern.captures_iter(answer).filter(|found| !found[1].trim().is_empty()).count();
        count(&SINGLE) + count(&DOUBLE) >= wanted
    })
}

fn sections(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let (wanted, mark) = (settings.count("num_sections")?, settings.text("section_spliter")?);
    let pattern = Regex::new(&format!(r"\s?(?:{})\s?\d+\s?", regex::escape(mark.trim())));
    let pattern = pattern.map_err(|error| format!("{}: {error}", settings.id))?;
    check(move |answer| pattern.find_iter(answer).count() >= wanted)
}

fn is_json(answer: &str) -> bool {
    let mut text = answer.trim();
    for fence in ["```json", "```Json", "```JSON", "```"] {
        text = text.strip_prefix(fence).unwrap_or(text);
    }
    let text = text.strip_suffix("```").unwrap_or(text).trim();
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn has_title(answer: &str) -> bool {
    static TITLE: LazyLock<Regex> = LazyLock::new(|| own(r"<<[^\n]+>>"));
    let is_said = |title: &str| !title.trim_start_matches('<').trim_end_matches('>').trim().is_empty();
    TITLE.find_iter(answer).any(|title| is_said(title.as_str()))
}

fn are_two(answer: &str) -> bool {
    let parts: Vec<&str> = answer.split("******").map(str::trim).collect();
    let inner = parts.get(1..parts.len() - 1).unwrap_or_default();
    let said: Vec<&&str> = parts.iter().filter(|part| !part.is_empty()).collect();
    !inner.contains(&"") && said.len() == 2 && said[0] != said[1]
}

fn repeated(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let prompt = settings.text("prompt_to_repeat")?.trim().to_lowercase();
    check(move |answer| answer.trim().to_lowercase().starts_with(&prompt))
}

fn ending(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let phrase = settings.text("end_phrase")?.trim().to_lowercase();
    check(move |answer| answer.trim().trim_matches('"').to_lowercase().ends_with(&phrase))
}

fn is_quoted(answer: &str) -> bool {
    let answer = answer.trim();
    answer.len() > 1 && answer.starts_with('"') && answer.ends_with('"')
}

fn capital_words(settings: &Settings<'_>) -> Result<Box<dyn Check>, String> {
    let is_enough = settings.relation("capital_relation", "capital_frequency")?;
    check(move |answer| is_enough(words::tokens(answer).iter().filter(|word| words::is_upper(word)).count()))
}
