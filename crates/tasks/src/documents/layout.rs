//! Pieces of text with the gaps between them, as lines: paragraphs apart, the cells of a row on one line.
//!
//! Gaps are kept until text follows, so that however many elements end at a place, there is one gap, and none at the
//! ends.

/// What stands between two pieces, the larger one winning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Line,
    Paragraph,
}

/// A text that grows.
#[derive(Debug)]
pub struct Layout {
    text: String,
    gap: Gap,
    /// Cells of the row so far.
    cells: usize,
    /// Separators that are written before the next text.
    separators: usize,
    /// Whether the row has text already.
    row_has_text: bool,
    /// Whether a cell or an item of a list has none yet: then no line is broken before it.
    holds_line: bool,
}

impl Layout {
    /// An empty text.
    pub fn new() -> Layout {
        Layout { text: String::new(), gap: Gap::None, cells: 0, separators: 0, row_has_text: false, holds_line: false }
    }

    /// Text whose white space is a gap between words.
    pub fn words(&mut self, text: &str) {
        // White space of HTML and XML; others, such as the no-break space, are characters.
        let is_space = |character: char| matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{c}');
        for (index, word) in text.split(is_space).enumerate() {
            if index > 0 {
                self.space();
            }
            self.verbatim(word);
        }
    }

    /// Text as it is.
    pub fn verbatim(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.text.is_empty() || self.separators > 0 {
            let gap = if self.text.is_empty() { Gap::None } else { self.gap };
            self.text.push_str(match gap {
                Gap::None => "",
                Gap::Space if self.separators > 0 || self.text.ends_with([' ', '\t']) => "",
                Gap::Space => " ",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
        }
        for _ in 0..self.separators {
            self.text.push_str(if self.text.is_empty() || self.text.ends_with('\n') { "|" } else { " |" });
        }
        if self.separators > 0 {
            self.text.push(' ');
        }
        self.separators = 0;
        self.gap = Gap::None;
        self.row_has_text = true;
        self.holds_line = false;
        self.text.push_str(text);
    }

    /// What follows is an item of a list.
    pub fn item(&mut self) {
        self.line();
        self.verbatim("- ");
        self.holds_line = true;
    }

    /// A gap between words.
    pub fn space(&mut self) {
        self.widen(Gap::Space);
    }

    /// What follows begins a line.
    pub fn line(&mut self) {
        self.widen(Gap::Line);
    }

    /// What follows begins a paragraph.
    pub fn paragraph(&mut self) {
        self.widen(Gap::Paragraph);
    }

    /// What follows is a row of a table.
    pub fn row(&mut self) {
        self.end_row();
        self.widen(Gap::Line);
    }

    /// What follows is a cell of a row.
    pub fn cell(&mut self) {
        if self.cells > 0 {
            self.separators += 1;
        }
        if self.row_has_text {
            self.gap = Gap::None;
        } else {
            self.widen(Gap::Line);
        }
        self.cells += 1;
        self.holds_line = true;
    }

    /// The row is over, with the empty cells at its end.
    pub fn end_row(&mut self) {
        if self.row_has_text {
            self.text.push_str(&" |".repeat(self.separators));
        }
        (self.cells, self.separators, self.row_has_text, self.holds_line) = (0, 0, false, false);
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        self.end_row();
        self.text
    }

    fn widen(&mut self, gap: Gap) {
        if gap <= Gap::Space || !self.holds_line {
            self.gap = self.gap.max(gap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_elements_end_there_is_one_gap_and_none_at_the_ends() {
        let mut layout = Layout::new();
        layout.paragraph();
        layout.words(" a \n b");
        layout.line();
        layout.paragraph();
        layout.line();
        layout.words("c ");
        layout.line();
        assert_eq!(layout.finish(), "a b\n\nc");
    }

    #[test]
    fn an_item_of_a_list_begins_beside_its_mark() {
        let mut layout = Layout::new();
        for item in ["a", " b"] {
            layout.item();
            layout.paragraph();
            layout.words(item);
            layout.line();
        }
        assert_eq!(layout.finish(), "- a\n- b");
    }

    #[test]
    fn cells_of_a_row_share_a_line_the_empty_ones_too() {
        let mut layout = Layout::new();
        for row in [["a", "b", "c"], ["", "d", ""], ["e", "", "f"]] {
            layout.row();
            for cell in row {
                layout.cell();
                layout.line();
                layout.words(cell);
                layout.line();
            }
        }
        layout.end_row();
        layout.paragraph();
        layout.words("end");
        assert_eq!(layout.finish(), "a | b | c\n| d |\ne | | f\n\nend");
    }
}
