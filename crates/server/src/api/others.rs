//! Fields of objects that come in kinds.
//!
//! Which fields such an object has depends on its `type`. It is read with the fields of all kinds, so that one of another
//! kind is refused by its name, and not passed over. Read next: `openai::responses::input`, a use.

use crate::failure::Failure;
use std::fmt::Display;

/// Refuses the first of these fields that was sent. `at`: where the object stands; `kind`: what it is, with its article.
pub(crate) fn refuse_others(at: &str, kind: impl Display, sent: &[(&str, bool)]) -> Result<(), Failure> {
    match sent.iter().find(|(_, is_sent)| *is_sent) {
        Some((name, _)) => {
            let path = format!("{at}.{name}");
            Err(Failure::field(path.clone(), format!("{path}: expected none in {kind}")))
        }
        None => Ok(()),
    }
}
