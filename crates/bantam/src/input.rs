//! Texts that come in: from files and from standard input, UTF-8 or refused with the place where it is not.
//!
//! Knows nothing of what the texts are for.

use crate::failure::UsedWrongly;
use anyhow::{Context, anyhow};
use std::io::Read;
use std::path::Path;

/// The whole of standard input.
///
/// # Errors
/// It cannot be read, or is not UTF-8: used wrongly.
pub fn standard() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).context("standard input")?;
    text("standard input", bytes)
}

/// The whole of a file.
///
/// # Errors
/// It cannot be read, or is not UTF-8: used wrongly.
pub fn file(path: &Path) -> anyhow::Result<String> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|error| anyhow!("{name}: cannot read: {error}\nhint: check the path and its rights"))?;
    text(&name, bytes)
}

fn text(name: &str, bytes: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        let text = format!(
            "{name}: expected UTF-8 text, got another byte at position {position}\n\
             hint: convert it first, for example with iconv -f LATIN1 -t UTF-8"
        );
        UsedWrongly(text).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_place() {
        assert_eq!(text("a.txt", b"caf\xc3\xa9".to_vec()).unwrap(), "café");
        let error = text("a.txt", b"caf\xe9".to_vec()).unwrap_err();
        assert!(error.to_string().starts_with("a.txt: expected UTF-8 text, got another byte at position 3\nhint: "));
        assert_eq!(crate::failure::exit_code(&error), 2);
        let folder = tempfile::tempdir().unwrap();
        let absent = format!("{:#}", file(&folder.path().join("absent.txt")).unwrap_err());
        assert!(absent.contains("absent.txt: "), "{absent}");
    }
}
