//! The key of a provider: read from the environment, sent to its provider, and shown to nobody.

use chat::ChatError;
use std::fmt;

/// A key, and the variable that it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    secret: String,
    variable: Option<String>,
}

impl Key {
    /// The key that a variable of the environment holds; `lookup` is `std::env::var` outside of tests.
    ///
    /// # Errors
    /// The variable is not set, is blank, or holds what cannot stand in a header. The error has its name alone.
    pub fn of_variable(variable: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Key, ChatError> {
        let Some(secret) = lookup(variable).map(|secret| secret.trim().to_owned()).filter(|secret| !secret.is_empty())
        else {
            let hint = format!("hint: export {variable}=... with the key of your account there");
            let message = format!("expected a key in the environment variable {variable}, got none\n{hint}");
            return Err(ChatError::Unloadable(message));
        };
        Key { secret, variable: Some(variable.to_owned()) }.checked()
    }

    /// A key that came in another way.
    ///
    /// # Errors
    /// It holds what cannot stand in a header.
    pub fn of_secret(secret: impl Into<String>) -> Result<Key, ChatError> {
        Key { secret: secret.into(), variable: None }.checked()
    }

    fn checked(self) -> Result<Key, ChatError> {
        if !self.secret.is_empty() && self.secret.chars().all(|character| character.is_ascii_graphic()) {
            return Ok(self);
        }
        Err(ChatError::Unloadable(format!(
            "expected a key in {}, got characters that no key has\nhint: copy it again, without blanks and quotes",
            self.place()
        )))
    }

    /// The key itself, for the header that it is sent in.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// Where the user finds it.
    pub(crate) fn place(&self) -> &str {
        self.variable.as_deref().unwrap_or("the key of the endpoint")
    }

    /// A text of the provider's without the key: some repeat it in their errors.
    pub(crate) fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.secret, "[key]")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({})", self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_is_named_by_its_variable_and_a_present_one_never_shown() {
        let missing = Key::of_variable("SOME_KEY", &|_| Some("  ".to_owned())).unwrap_err().to_string();
        assert!(
            missing.starts_with("expected a key in the environment variable SOME_KEY, got none\nhint: "),
            "{missing}"
        );
        let odd = Key::of_variable("SOME_KEY", &|_| Some("se cret".to_owned())).unwrap_err().to_string();
        assert!(
            odd.starts_with("expected a key in SOME_KEY, got characters that no key has\nhint: ")
                && !odd.contains("se cret"),
            "{odd}"
        );
        let key = Key::of_variable("SOME_KEY", &|_| Some("secret\n".to_owned())).unwrap();
        assert_eq!((key.secret(), format!("{key:?}")), ("secret", "Key(SOME_KEY)".to_owned()));
        assert_eq!(key.hidden_in("no such key: secret!"), "no such key: [key]!");
    }
}
