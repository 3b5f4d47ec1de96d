//! A text made of parts: fixed words, single tokens and JSON objects, one after another, one of several, or again and again.
//!
//! It is written as one Lark grammar with a grammar beside it for each object, so that a token may reach over the border of
//! two parts, and what is fixed is forced. This file knows neither what the parts mean nor tokens beyond their ids. Read
//! next: `schema`, which prepares the objects, and `vocabulary`, which compiles.

use crate::GrammarError;
use crate::numerals::Numerals;
use crate::schema::{self, Prepared};
use crate::vocabulary::{Grammar, Vocabulary};
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde_json::Value;
use std::collections::BTreeMap;

/// A text, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub enum Pattern {
    /// This text.
    Text(String),
    /// This token, also where it is one that no text holds otherwise.
    Token(u32),
    /// A JSON object that is valid against a schema. Errors and warnings call it by its number; what has the same number has
    /// the same schema.
    Object {
        /// Its number.
        number: usize,
        /// What it is valid against.
        schema: Value,
    },
    /// One after another.
    Row(Vec<Pattern>),
    /// One of these.
    Choice(Vec<Pattern>),
    /// Any number of times, also none.
    Repeat(Box<Pattern>),
}

impl Pattern {
    /// Fixed text.
    pub fn text(text: impl Into<String>) -> Pattern {
        Pattern::Text(text.into())
    }
}

/// A pattern as it is written down.
#[derive(Default)]
struct Writing<'a> {
    /// The body of the rule `start`.
    lark: String,
    objects: BTreeMap<usize, &'a Value>,
    tokens: Vec<u32>,
}

impl<'a> Writing<'a> {
    fn write(&mut self, pattern: &'a Pattern) {
        match pattern {
            Pattern::Text(text) => self.lark.push_str(&Value::from(text.as_str()).to_string()),
            Pattern::Token(id) => {
                self.tokens.push(*id);
                self.lark.push_str(&format!("<[{id}]>"));
            }
            Pattern::Object { number, schema } => {
                self.objects.insert(*number, schema);
                self.lark.push_str(&format!("@{}", name_of(*number)));
            }
            Pattern::Row(parts) => self.join(parts, " "),
            Pattern::Choice(parts) => self.join(parts, " | "),
            Pattern::Repeat(part) => {
                self.join(std::slice::from_ref(part), " ");
                self.lark.push('*');
            }
        }
    }

    fn join(&mut self, parts: &'a [Pattern], between: &str) {
        self.lark.push('(');
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.lark.push_str(between);
            }
            self.write(part);
        }
        if parts.is_empty() {
            self.lark.push_str("\"\"");
        }
        self.lark.push(')');
    }
}

/// What the grammar of an object is called.
fn name_of(number: usize) -> String {
    format!("object_{number}")
}

impl Vocabulary {
    /// Text of a pattern.
    ///
    /// # Errors
    /// [`GrammarError::Object`] for a schema that cannot be held to, or that lets nothing be an object;
    /// [`GrammarError::Text`] where all together is too large.
    pub fn pattern(&self, pattern: &Pattern) -> Result<Grammar, GrammarError> {
        let mut writing = Writing::default();
        writing.write(pattern);
        let Writing { lark, objects, tokens } = writing;
        let prepare = |(number, schema): (usize, &Value)| match schema::prepare_object(schema) {
            Ok(prepared) => Ok((number, prepared)),
            Err(error) => Err(error.of_object(number)),
        };
        let objects = objects.into_iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        let beside = objects.iter().map(|(number, prepared)| GrammarWithLexer {
            name: Some(name_of(*number)),
            json_schema: Some(prepared.whole()),
            lark_grammar: None,
        });
        let start = GrammarWithLexer { lark_grammar: Some(format!("start: {lark}")), ..GrammarWithLexer::default() };
        let grammars = std::iter::once(start).chain(beside).collect();
        match self.compile(TopLevelGrammar { grammars, max_tokens: None }) {
            Ok(grammar) => {
                let told = |(number, prepared): (usize, Prepared)| {
                    prepared.warnings.into_iter().map(move |warning| (number, warning))
                };
                let warnings = objects.into_iter().flat_map(told).collect();
                Ok(grammar.with_tokens(&tokens).with_numerals(Numerals::of_objects()).with_object_warnings(warnings))
            }
            Err(reason) => Err(self.blame_object(&objects, reason)),
        }
    }

    /// The error for a pattern that the automaton refuses: of the object that it refuses alone, if there is one.
    fn blame_object(&self, objects: &[(usize, Prepared)], reason: String) -> GrammarError {
        let fails = |part| self.compile(TopLevelGrammar::from_json_schema(part)).err();
        for (number, prepared) in objects {
            if let Some(reason) = fails(prepared.whole()) {
                return prepared.blame(reason, fails).of_object(*number);
            }
        }
        GrammarError::Text(format!("all together: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MARK, accepts, tokenizer, vocabulary, write};
    use serde_json::json;

    fn object(number: usize, schema: Value) -> Pattern {
        Pattern::Object { number, schema }
    }

    fn refused(pattern: &Pattern) -> (Option<usize>, String) {
        match vocabulary().pattern(pattern).err().expect("it is refused") {
            error @ GrammarError::Object { number, .. } => (Some(number), error.to_string()),
            error => (None, error.to_string()),
        }
    }

    /// `add{"a": ..}` or `not{}`, in brackets, one or more.
    fn calls() -> Pattern {
        let number =
            json!({"properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
        let nothing = json!({"type": "object", "additionalProperties": false});
        let one = Pattern::Choice(vec![
            Pattern::Row(vec![Pattern::text("add"), object(0, number)]),
            Pattern::Row(vec![Pattern::text("add\"not"), object(4, nothing)]),
        ]);
        let more = Pattern::Repeat(Box::new(Pattern::Row(vec![Pattern::text(", "), one.clone()])));
        Pattern::Row(vec![Pattern::text("["), one, more, Pattern::text("}]")])
    }

    #[test]
    fn parts_follow_one_another_and_alternatives_keep_their_own_schema() {
        let grammar = vocabulary().pattern(&calls()).unwrap();
        for text in ["[add{\"a\": 1}}]", "[add\"not{}}]", "[add{\"a\": -20}, add\"not{}, add{\"a\": 0}}]"] {
            assert!(accepts(&grammar, text), "{text}");
        }
        for text in ["[}]", "[add{}}]", "[add\"not{\"a\": 1}}]", "[add{\"a\": 1}]", "[add{\"a\":1}}]", "add{\"a\": 1}"]
        {
            assert!(!accepts(&grammar, text), "{text}");
        }
        let written: Vec<String> = (0..40).filter_map(|seed| write(&grammar, seed, 30)).collect();
        assert!(written.len() > 20, "{written:?}");
        for text in written {
            assert!(text.starts_with("[add") && text.ends_with("}}]"), "{text}");
        }
    }

    #[test]
    fn a_token_that_no_text_holds_comes_where_the_pattern_has_it_and_nowhere_else() {
        let pattern = Pattern::Row(vec![
            Pattern::text("ab"),
            Pattern::Token(MARK),
            Pattern::text("name"),
            object(0, json!({})),
            Pattern::Token(MARK),
        ]);
        let grammar = vocabulary().pattern(&pattern).unwrap();
        let mut matcher = grammar.matcher();
        let mut said = Vec::new();
        loop {
            let forced = matcher.forced();
            let Some(&first) = forced.first() else { break };
            assert_eq!(matcher.allowed().unwrap().tokens(), [first], "after {said:?}");
            forced.iter().for_each(|&token| matcher.accept(token).unwrap());
            said.extend(forced);
        }
        let id = |text: &str| tokenizer().id_of(text).unwrap();
        assert_eq!(said, [id("a"), id("b"), MARK, id("name")]);
        assert_eq!(matcher.allowed().unwrap().tokens(), [id("{"), id("{\"")]);
        matcher.accept_text("{\"").unwrap();
        let allowed = matcher.allowed().unwrap().tokens();
        assert!(!allowed.contains(&MARK) && allowed.contains(&id("a")), "{allowed:?}");
        matcher.accept_text("a\": 1}").unwrap();
        assert_eq!(matcher.allowed().unwrap().tokens(), [MARK]);
        assert!(!matcher.may_end().unwrap());
        matcher.accept(MARK).unwrap();
        assert!(matcher.is_complete());
    }

    #[test]
    fn what_is_asked_for_is_an_object_whatever_else_its_schema_says() {
        let free = [json!({}), json!(true), json!({"properties": {"b": {"type": "null"}}})];
        let referred = json!({"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/x",
            "definitions": {"x": {"properties": {"b": {"type": "null"}}, "additionalProperties": {"type": "boolean"}}}});
        for schema in free.into_iter().chain([json!({"type": ["null", "object"]}), json!({"anyOf": [{}]}), referred]) {
            let grammar = vocabulary().pattern(&object(0, schema.clone())).unwrap();
            assert!(accepts(&grammar, "{}") && accepts(&grammar, "{\"b\": null, \"c\": true}"), "{schema}");
            for text in ["null", "1", "[]", "\"\""] {
                assert!(!accepts(&grammar, text), "{schema}: {text}");
            }
        }
    }

    #[test]
    fn an_object_that_cannot_be_held_to_is_named_with_its_place() {
        let both = |schema: Value| Pattern::Row(vec![object(2, json!({})), object(7, schema)]);
        for (schema, told) in [
            (json!({"type": "string"}), "#/type: expected \"object\", got \"string\""),
            (json!({"type": ["null", "array"]}), "#/type: expected \"object\", got [\"null\",\"array\"]"),
            (json!([1]), "#: expected a schema, got a list"),
            (json!(false), "#: nothing is valid against `false`"),
            (
                json!({"properties": {"a": {"not": {}}}}),
                "#/properties/a/not: a text cannot be held to `not` while it is written",
            ),
        ] {
            assert_eq!(refused(&both(schema)), (Some(7), told.to_owned()));
        }
        let (number, told) = refused(&both(json!({"properties": {"a": {"pattern": "(?=x)"}}})));
        assert!(number == Some(7) && told.starts_with("#/properties/a: "), "the automaton's own refusal: {told}");
    }

    #[test]
    fn what_has_no_effect_is_told_by_object() {
        let pattern =
            Pattern::Choice(vec![object(3, json!({"x-a": 1})), object(5, json!({"properties": {"a": {"b": 1}}}))]);
        let grammar = vocabulary().pattern(&pattern).unwrap();
        let told = [(3, "#/x-a: the keyword has no effect"), (5, "#/properties/a/b: the keyword has no effect")];
        assert_eq!(grammar.object_warnings(), told.map(|(number, text)| (number, text.to_owned())));
    }
}
