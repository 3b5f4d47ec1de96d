//! txt, md, csv, json: the text is what stands there. Models read these as they are.

use super::Text;
use crate::encoding;

/// Decodes.
pub fn parse(bytes: &[u8]) -> Result<Text, String> {
    let (text, warning) = encoding::decode(bytes)?;
    Ok(Text { text, pages: Vec::new(), warnings: warning.into_iter().collect() })
}
