//! Log-probabilities in the classic format: lists side by side, alternatives as an object by their texts.
//!
//! An entry for every token that the usage counts: one that left no text, such as the end token, has the text `""`, and null
//! where the model did not tell its log-probability. So whoever drops the generated tokens by their number, as evaluations of
//! prompts do, drops no token of the prompt.

use chat::{PromptToken, TokenLogprob};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Log-probabilities of tokens.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct ClassicLogprobs {
    tokens: Vec<String>,
    /// Null for the first token of a prompt, which has nothing before it.
    token_logprobs: Vec<Option<f32>>,
    /// The likeliest tokens in each place and the one that came, by their texts.
    top_logprobs: Vec<Option<Map<String, Value>>>,
    /// Characters of the choice's text before each token.
    text_offset: Vec<usize>,
}

impl ClassicLogprobs {
    fn push(&mut self, text: String, logprob: Option<f32>, top: &[TokenLogprob], offset: usize) {
        let object = logprob.map(|logprob| {
            let mut object = Map::new();
            for one in top {
                // Tokens of the same text, such as parts of characters: the likeliest comes first and stays.
                object.entry(one.text.clone()).or_insert_with(|| one.logprob.into());
            }
            object.entry(text.clone()).or_insert_with(|| logprob.into());
            object
        });
        self.tokens.push(text);
        self.token_logprobs.push(logprob);
        self.top_logprobs.push(object);
        self.text_offset.push(offset);
    }
}

/// Where in its text the tokens of one choice begin.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// Characters before what comes next.
    characters: usize,
    /// Tokens that were told.
    tokens: usize,
}

impl Places {
    /// The tokens of a prompt.
    pub(super) fn prompt(&mut self, text: &str, tokens: Vec<PromptToken>, out: &mut ClassicLogprobs) {
        let offsets = offsets(text, tokens.iter().map(|token| token.text.as_str()));
        for (token, offset) in tokens.into_iter().zip(offsets) {
            out.push(token.text, token.logprob, &token.top, self.characters + offset);
        }
        self.skip(text);
    }

    /// The tokens of a piece of the answer.
    pub(super) fn piece(&mut self, text: &str, tokens: Vec<TokenLogprob>, out: &mut ClassicLogprobs) {
        let offsets = offsets(text, tokens.iter().map(|token| token.text.as_str()));
        self.tokens += tokens.len();
        for (token, offset) in tokens.into_iter().zip(offsets) {
            out.push(token.text, Some(token.logprob), &token.top, self.characters + offset);
        }
        self.skip(text);
    }

    /// Text whose tokens are not told.
    pub(super) fn skip(&mut self, text: &str) {
        self.characters += text.chars().count();
    }

    /// The tokens that left no text, when the answer has ended after so many.
    pub(super) fn rest(&mut self, completion_tokens: usize, out: &mut ClassicLogprobs) {
        for _ in self.tokens..completion_tokens {
            out.push(String::new(), None, &[], self.characters);
        }
        self.tokens = self.tokens.max(completion_tokens);
    }
}

/// Characters of a text before each of its tokens. A token that is not in the text (one that marks the beginning) takes no
/// place; parts of one character all stand at its place.
fn offsets<'a>(text: &str, tokens: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let (mut rest, mut place, mut parts) = (text, 0, 0);
    let mut offsets = Vec::new();
    for token in tokens {
        if token.contains(char::REPLACEMENT_CHARACTER) && !rest.starts_with(token) {
            parts += token.chars().count();
            offsets.push(place);
            continue;
        }
        // After parts of characters: the first place, at most as many characters on, where this token stands.
        let skips = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).take(parts + 1).enumerate();
        let found = skips.into_iter().find_map(|(characters, at)| {
            // Some tokenizers begin every text with a space that the text does not have.
            let own = if place == 0 && characters == 0 { token.strip_prefix(' ') } else { None };
            let spelled = [Some(token), own].into_iter().flatten().find(|token| rest[at..].starts_with(*token))?;
            Some((characters, at, spelled))
        });
        let Some((characters, at, spelled)) = found else {
            offsets.push(place);
            continue;
        };
        parts = 0;
        offsets.push(place + characters);
        place += characters + spelled.chars().count();
        rest = &rest[at + spelled.len()..];
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::logprob;

    #[test]
    fn offsets_count_characters() {
        let check = |text: &str, tokens: &[&str]| offsets(text, tokens.iter().copied());
        assert_eq!(check("Hello wörld!", &["Hello", " wör", "ld", "!"]), [0, 5, 9, 11]);
        assert_eq!(check("Hi you", &["<s>", " Hi", " you"]), [0, 0, 2], "a mark and a space that are not in the text");
        let part = "\u{fffd}";
        assert_eq!(check("a🙂b", &["a", part, part, part, part, "b"]), [0, 1, 1, 1, 1, 2]);
        assert_eq!(check("🙂🙂 c", &[part, part, part, part, " c"]), [0, 0, 0, 0, 2]);
        assert_eq!(check("", &["x"]), [0]);
    }

    #[test]
    fn every_counted_token_has_an_entry() {
        let mut out = ClassicLogprobs::default();
        let mut places = Places::default();
        places.skip("ab");
        places.piece("cd", vec![logprob("cd", -1.0, &[("x", -0.5), ("cd", -1.0)])], &mut out);
        places.rest(2, &mut out);
        places.rest(2, &mut out);
        assert_eq!(out.tokens, ["cd", ""]);
        assert_eq!(out.token_logprobs, [Some(-1.0), None]);
        assert_eq!(serde_json::to_string(&out.top_logprobs).unwrap(), r#"[{"x":-0.5,"cd":-1.0},null]"#);
        assert_eq!(out.text_offset, [2, 4]);
    }
}
