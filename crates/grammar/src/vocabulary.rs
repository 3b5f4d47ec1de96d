//! A model's tokens as grammars need them, and the grammars over them.
//!
//! Making one takes milliseconds and is done once a model; a grammar takes from well under a millisecond to some tens, by
//! its size. Read next: `schema` and `gbnf`, which prepare what is compiled here.

use crate::matcher::{Matcher, first_line};
use crate::numerals::{NumeralTokens, Numerals};
use crate::{GrammarError, gbnf, schema};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{ParserFactory, earley::SlicedBiasComputer};
use serde_json::{Value, json};
use std::sync::Arc;
use tokenizer::{Encode, Tokenizer};

/// Longest token, in bytes, that a grammar is given: longer ones are never chosen, rather than trusted to fit.
const LONGEST_TOKEN: usize = 1024;

/// Longest grammar and expression that is taken, in bytes, and most rules of a grammar: the automaton's compiler recurses
/// through them.
const LONGEST_TEXT: usize = 128 << 10;
const MOST_RULES: usize = 1_000;

/// Most states of an automaton's lexer, of a kilobyte or two each.
const MOST_LEXER_STATES: usize = 50_000;

/// Most choices of a list.
const MOST_CHOICES: usize = 10_000;

/// A model's tokens.
pub struct Vocabulary {
    factory: ParserFactory,
    /// The tokens that a text may hold: none that is special or ends it.
    text: Arc<SimpleVob>,
    numeral_tokens: Arc<NumeralTokens>,
}

/// What texts may be, ready to follow one. Cheap to clone, and to start a [`Matcher`] from.
#[derive(Clone)]
pub struct Grammar {
    start: Arc<llguidance::Matcher>,
    text: Arc<SimpleVob>,
    /// Where texts are JSON, or have some.
    numerals: Option<Numerals>,
    numeral_tokens: Arc<NumeralTokens>,
    warnings: Arc<[String]>,
    object_warnings: Arc<[(usize, String)]>,
}

impl Grammar {
    /// Follows a new text.
    pub fn matcher(&self) -> Matcher {
        let (text, numeral_tokens) = (Arc::clone(&self.text), Arc::clone(&self.numeral_tokens));
        Matcher::new(self.start.deep_clone(), text, self.numerals, numeral_tokens)
    }

    /// Tokens that every text has at least, as far as that can be known without looking at all of them: what it must begin with,
    /// and one more where that is not yet a whole text.
    ///
    /// # Errors
    /// A grammar that is too complex to begin with.
    pub fn least_tokens(&self) -> Result<usize, GrammarError> {
        let mut matcher = self.matcher();
        let forced = matcher.forced();
        for &token in &forced {
            matcher.accept(token)?;
        }
        Ok(forced.len() + usize::from(!matcher.may_end()?))
    }

    /// What was asked for and has no effect, each with its place.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The same of the objects of a [`crate::Pattern`], each with its object's number.
    pub fn object_warnings(&self) -> &[(usize, String)] {
        &self.object_warnings
    }

    /// The same, where these tokens may come too.
    pub(crate) fn with_tokens(mut self, tokens: &[u32]) -> Grammar {
        if !tokens.is_empty() {
            let text = Arc::make_mut(&mut self.text);
            tokens.iter().for_each(|&token| text.allow_token(token));
        }
        self
    }

    /// The same, with numerals that a reader of JSON takes.
    pub(crate) fn with_numerals(self, numerals: Numerals) -> Grammar {
        Grammar { numerals: Some(numerals), ..self }
    }

    pub(crate) fn with_object_warnings(self, warnings: Vec<(usize, String)>) -> Grammar {
        Grammar { object_warnings: warnings.into(), ..self }
    }
}

impl Vocabulary {
    /// The tokens of a tokenizer.
    ///
    /// # Errors
    /// Tokens that no trie can be made of.
    pub fn new(tokenizer: &Arc<Tokenizer>) -> Result<Vocabulary, GrammarError> {
        let environment: TokEnv = Arc::new(Environment::new(Arc::clone(tokenizer)));
        let slices = SlicedBiasComputer::general_slices();
        let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let factory = ParserFactory::new(&environment, capabilities, &slices);
        let mut factory = factory.map_err(|error| GrammarError::Text(first_line(&error.to_string())))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        factory.limits_mut().max_lexer_states = MOST_LEXER_STATES;
        let mut text = environment.tok_trie().alloc_token_set();
        let is_text = |id: &u32| !environment.tok_trie().token(*id).is_empty();
        (0..tokenizer.vocabulary_len() as u32).filter(is_text).for_each(|id| text.allow_token(id));
        let numeral_tokens = Arc::new(NumeralTokens::of(environment.tok_trie()));
        Ok(Vocabulary { factory, text: Arc::new(text), numeral_tokens })
    }

    /// A JSON object, whatever is in it.
    ///
    /// # Errors
    /// None that are known of; those of [`Vocabulary::json_schema`].
    pub fn json_object(&self) -> Result<Grammar, GrammarError> {
        self.json_schema(&json!({"type": "object"}))
    }

    /// JSON that is valid against a JSON Schema. Properties come in the order of the schema; numerals are no longer than a
    /// double holds, or than programs of 64 bits read, unless the schema leaves no other.
    ///
    /// # Errors
    /// A schema that is none, or that has what cannot be held to, with its place.
    pub fn json_schema(&self, schema: &Value) -> Result<Grammar, GrammarError> {
        let prepared = schema::prepare(schema)?;
        match self.compile(TopLevelGrammar::from_json_schema(prepared.whole())) {
            Ok(grammar) => {
                Ok(Grammar { warnings: prepared.warnings.into(), ..grammar.with_numerals(Numerals::of_json()) })
            }
            Err(reason) => {
                let fails = |part| self.compile(TopLevelGrammar::from_json_schema(part)).err();
                Err(prepared.blame(reason, fails))
            }
        }
    }

    /// Text that a regular expression (that of Rust's `regex`, without look-around) matches as a whole.
    ///
    /// # Errors
    /// An expression that is none, or is too large.
    pub fn regex(&self, expression: &str) -> Result<Grammar, GrammarError> {
        check_length("regex", expression)?;
        let grammar = TopLevelGrammar::from_regex(without_anchors(expression));
        self.compile(grammar).map_err(|reason| GrammarError::Text(format!("regex: {reason}")))
    }

    /// One of these texts.
    ///
    /// # Errors
    /// No text, an empty one, or too many.
    pub fn choices<T: AsRef<str>>(&self, choices: &[T]) -> Result<Grammar, GrammarError> {
        let refuse = |reason: String| Err(GrammarError::Text(format!("choices: {reason}")));
        if choices.is_empty() || choices.len() > MOST_CHOICES {
            return refuse(format!("expected 1 to {MOST_CHOICES} texts, got {}", choices.len()));
        }
        if let Some(empty) = choices.iter().position(|choice| choice.as_ref().is_empty()) {
            return refuse(format!("the text at {empty} is empty"));
        }
        let texts: Vec<String> = choices.iter().map(|choice| Value::from(choice.as_ref()).to_string()).collect();
        let grammar = TopLevelGrammar::from_lark(format!("start: {}", texts.join(" | ")));
        self.compile(grammar).or_else(refuse)
    }

    /// Text of a grammar in Lark's notation, as far as `llguidance` has it; it begins with the rule `start`.
    ///
    /// # Errors
    /// A grammar that is none, or is too large.
    pub fn lark(&self, grammar: &str) -> Result<Grammar, GrammarError> {
        check_length("grammar", grammar)?;
        let rules = grammar.lines().filter(|line| line.contains(':')).count();
        if rules > MOST_RULES {
            return Err(GrammarError::Text(format!("grammar: expected at most {MOST_RULES} rules, got {rules}")));
        }
        self.compiled_lark(grammar)
    }

    fn compiled_lark(&self, grammar: &str) -> Result<Grammar, GrammarError> {
        let grammar = TopLevelGrammar::from_lark(grammar.to_owned());
        self.compile(grammar).map_err(|reason| GrammarError::Text(format!("grammar: {reason}")))
    }

    /// Text of a grammar in GBNF, the notation of llama.cpp; it begins with the rule `root`.
    ///
    /// # Errors
    /// As [`Vocabulary::lark`], with line and column.
    pub fn gbnf(&self, grammar: &str) -> Result<Grammar, GrammarError> {
        let lark = gbnf::to_lark(grammar).map_err(|error| GrammarError::Text(format!("grammar: {error}")))?;
        self.compiled_lark(&lark)
    }

    pub(crate) fn compile(&self, grammar: TopLevelGrammar) -> Result<Grammar, String> {
        let start = llguidance::Matcher::new(self.factory.create_parser(grammar));
        match start.get_error() {
            // It says so where it meets a bound of its own.
            Some(error) if error.contains("panic") => Err("it is too large".to_owned()),
            Some(error) => Err(first_line(&error)),
            None => Ok(Grammar {
                start: Arc::new(start),
                text: Arc::clone(&self.text),
                numerals: None,
                numeral_tokens: Arc::clone(&self.numeral_tokens),
                warnings: Arc::default(),
                object_warnings: Arc::default(),
            }),
        }
    }
}

fn check_length(what: &str, text: &str) -> Result<(), GrammarError> {
    if text.len() > LONGEST_TEXT {
        return Err(GrammarError::Text(format!("{what}: expected at most {LONGEST_TEXT} bytes, got {}", text.len())));
    }
    Ok(())
}

/// An expression is to match as a whole, so anchors at its ends say nothing.
fn without_anchors(expression: &str) -> &str {
    let rest = expression.strip_prefix('^').unwrap_or(expression);
    match rest.strip_suffix('$') {
        // An escaped one is a dollar sign.
        Some(inner) if inner.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0 => inner,
        _ => rest,
    }
}

/// A tokenizer as the automaton asks it.
struct Environment {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
}

impl Environment {
    fn new(tokenizer: Arc<Tokenizer>) -> Environment {
        let len = tokenizer.vocabulary_len();
        let words: Vec<Vec<u8>> = (0..len as u32).map(|id| word(&tokenizer, id)).collect();
        let end = tokenizer.stop_ids().first().copied().unwrap_or(llguidance::toktrie::INVALID_TOKEN);
        let trie = TokTrie::from(&TokRxInfo::new(len as u32, end), &words);
        Environment { tokenizer, trie }
    }

    /// The bytes as the tokenizer writes them; none where its tokens are not these bytes.
    fn canonical(&self, bytes: &[u8]) -> Option<Vec<TokenId>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let ids = self.tokenizer.encode(text, Encode { add_bos_eos: false, parse_special: false });
        let written: Vec<u8> = ids.iter().flat_map(|&id| self.trie.token(id).to_vec()).collect();
        (written == bytes).then_some(ids)
    }
}

/// What a token adds to a text. No text holds special tokens, and none those that would not fit.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    if tokenizer.is_special(id) || tokenizer.stop_ids().contains(&id) {
        return Vec::new();
    }
    let bytes = tokenizer.token_bytes(id);
    if bytes.len() > LONGEST_TOKEN { Vec::new() } else { bytes.into_owned() }
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.canonical(bytes).unwrap_or_else(|| self.trie.greedy_tokenize(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{accepts, tokenizer, vocabulary, write};

    #[test]
    fn an_expression_matches_as_a_whole() {
        for expression in ["[ab]+c", "^[ab]+c$"] {
            let grammar = vocabulary().regex(expression).unwrap();
            assert!(
                accepts(&grammar, "abac") && !accepts(&grammar, "ab") && !accepts(&grammar, "abcd"),
                "{expression}"
            );
        }
        let price = vocabulary().regex(r"[0-9]\$").unwrap();
        assert!(accepts(&price, "5$"));
        assert_eq!(without_anchors(r"^a\\$"), r"a\\");
        let error = vocabulary().regex("(a").err().unwrap().to_string();
        assert_eq!(error, "regex: not a regular expression that can be held to: unclosed group");
        assert!(vocabulary().regex("a(?=b)").is_err());
    }

    #[test]
    fn choices_are_texts_not_patterns() {
        let grammar = vocabulary().choices(&["a", "a+", "line\n\"two\"", "ä"]).unwrap();
        for text in ["a", "a+", "line\n\"two\"", "ä"] {
            assert!(accepts(&grammar, text), "{text}");
        }
        assert!(!accepts(&grammar, "aa") && !accepts(&grammar, ""));
        let refused = |choices: &[&str]| vocabulary().choices(choices).err().unwrap().to_string();
        assert_eq!(refused(&[]), "choices: expected 1 to 10000 texts, got 0");
        assert_eq!(refused(&["a", ""]), "choices: the text at 1 is empty");
    }

    #[test]
    fn grammars_of_both_notations_are_held_to() {
        let lark = vocabulary().lark("start: \"x\" (\",\" \"x\")*").unwrap();
        let gbnf = vocabulary().gbnf("root ::= \"x\" (\",\" \"x\")*").unwrap();
        for grammar in [lark, gbnf] {
            assert!(accepts(&grammar, "x,x,x") && !accepts(&grammar, "x,"));
        }
        let error = |result: Result<Grammar, GrammarError>| result.err().unwrap().to_string();
        assert!(error(vocabulary().lark("start: nothing")).starts_with("grammar: "));
        let deep: String = (0..1_001).map(|n| format!("r{n}: r{}\n", n + 1)).collect();
        assert_eq!(error(vocabulary().lark(&deep)), "grammar: expected at most 1000 rules, got 1001");
        assert!(error(vocabulary().lark(&"a".repeat(200_000))).contains("expected at most 131072 bytes, got 200000"));
        assert_eq!(
            error(vocabulary().gbnf("root ::= other")),
            "grammar: line 1, column 10: expected a defined rule, got `other`, which is not"
        );
    }

    #[test]
    fn what_is_forced_is_forced_as_the_tokenizer_writes_it() {
        let schema = json!({"type": "object", "properties": {"name": {"enum": ["ab", "ac"]}}, "required": ["name"],
            "additionalProperties": false});
        let mut matcher = vocabulary().json_schema(&schema).unwrap().matcher();
        let text = |ids: &[u32]| tokenizer().decode(ids, false);
        let mut forced = Vec::new();
        loop {
            let next = matcher.forced();
            if next.is_empty() {
                break;
            }
            let allowed = matcher.allowed().unwrap().tokens();
            assert_eq!(allowed, next[..1], "nothing else may come");
            next.iter().for_each(|&token| matcher.accept(token).unwrap());
            forced.extend(next);
        }
        assert!(text(&forced).starts_with("{\"name\": "), "{:?}", text(&forced));
        assert!(forced.len() < 8, "a token may be longer than a byte: {forced:?}");
        assert!(!matcher.is_complete() && !matcher.may_end().unwrap());
    }

    #[test]
    fn a_complete_text_allows_nothing_and_a_wrong_token_is_an_error() {
        let grammar = vocabulary().choices(&["ab"]).unwrap();
        let mut matcher = grammar.matcher();
        "ab".bytes().for_each(|byte| matcher.accept(u32::from(byte)).unwrap());
        assert!(matcher.is_complete() && matcher.may_end().unwrap() && matcher.forced().is_empty());
        assert!(matcher.allowed().unwrap().tokens().is_empty());
        let error = grammar.matcher().accept(u32::from(b'c')).unwrap_err().to_string();
        assert!(error.starts_with("the grammar gave up: "), "{error}");
    }

    #[test]
    fn any_object_may_come_where_an_object_is_asked_for() {
        let grammar = vocabulary().json_object().unwrap();
        let mut finished = 0;
        for text in (0..20).filter_map(|seed| write(&grammar, seed, 30)) {
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(value.is_object(), "{text}");
            finished += 1;
        }
        assert!(finished > 5, "{finished}");
    }
}
