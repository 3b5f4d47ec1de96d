//! Which names of models a price is for.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Bytes that a compiled expression may take: they come from a file.
const LARGEST_REGEX: usize = 1 << 20;

/// A rule, with the words of genai-prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The name is this.
    Equals(String),
    /// It begins with this.
    StartsWith(String),
    /// It ends with this.
    EndsWith(String),
    /// It has this in it.
    Contains(String),
    /// This regular expression matches a part of it.
    Regex(String),
    /// One of these fits.
    Or(Vec<Rule>),
    /// All of these fit.
    And(Vec<Rule>),
}

impl Rule {
    /// Whether a name is one of those.
    pub fn fits(&self, name: &str) -> bool {
        match self {
            Rule::Equals(text) => name == text,
            Rule::StartsWith(text) => name.starts_with(text.as_str()),
            Rule::EndsWith(text) => name.ends_with(text.as_str()),
            Rule::Contains(text) => name.contains(text.as_str()),
            Rule::Regex(text) => compiled(text).is_ok_and(|regex| regex.is_match(name)),
            Rule::Or(rules) => rules.iter().any(|rule| rule.fits(name)),
            Rule::And(rules) => rules.iter().all(|rule| rule.fits(name)),
        }
    }

    /// Looks for regular expressions that are none.
    ///
    /// # Errors
    /// The first of them.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Rule::Regex(text) => {
                compiled(text).map(|_| ()).map_err(|_| format!("{text:?}, which is no regular expression"))
            }
            Rule::Or(rules) | Rule::And(rules) => rules.iter().try_for_each(Rule::check),
            Rule::Equals(_) | Rule::StartsWith(_) | Rule::EndsWith(_) | Rule::Contains(_) => Ok(()),
        }
    }
}

fn compiled(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(LARGEST_REGEX).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_fit_as_their_words_say() {
        let rule: Rule = serde_json::from_str(
            r#"{"or": [
                {"equals": "a"}, {"and": [{"starts_with": "b"}, {"ends_with": "c"}]}, {"contains": "-x-"}, {"regex": "^o[134]"}
            ]}"#,
        )
        .unwrap();
        for (name, fits) in [
            ("a", true),
            ("ab", false),
            ("b1c", true),
            ("b1", false),
            ("1-x-2", true),
            ("o3-mini", true),
            ("go3", false),
        ] {
            assert_eq!(rule.fits(name), fits, "{name}");
        }
        assert_eq!(rule.check(), Ok(()));
        assert_eq!(Rule::Regex("(".into()).check().unwrap_err(), "\"(\", which is no regular expression");
    }
}
