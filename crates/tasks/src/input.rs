//! What a task is asked about.

use serde_json::{Map, Value};

/// The name of the field that holds the text where an input is no more than a text.
pub const TEXT: &str = "text";

/// One input: a row of a table, or a text alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Input {
    /// Fields by name, in the order of the row. A task's template names those that it reads.
    pub fields: Map<String, Value>,
    /// Where the text came from a document of pages: the byte of the text at which each page begins, the first at 0. Else empty.
    pub pages: Vec<usize>,
}

impl Input {
    /// A text alone.
    pub fn text(text: impl Into<String>) -> Input {
        let fields = Map::from_iter([(TEXT.to_owned(), Value::String(text.into()))]);
        Input { fields, pages: Vec::new() }
    }

    /// The page, counted from 1, that a byte of the text is on; none where the text has no pages.
    pub fn page_of(&self, byte: usize) -> Option<usize> {
        Some(self.pages.partition_point(|&start| start <= byte)).filter(|&page| page > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_on_the_page_that_began_last_before_it() {
        let input = Input { pages: vec![0, 10, 10, 25], ..Input::text("") };
        let pages = [0, 9, 10, 24, 25, 99].map(|byte| input.page_of(byte));
        assert_eq!(pages, [Some(1), Some(1), Some(3), Some(3), Some(4), Some(4)]);
        assert_eq!(Input::text("a").page_of(0), None);
    }
}
