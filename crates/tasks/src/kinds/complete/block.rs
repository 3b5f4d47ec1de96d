//! Where the block of code that a completion is in ends, seen while the completion is being written.
//!
//! It knows brackets and indentation and no language: what stands in quotes or after `//` is passed over, and a quote
//! that its line does not close is an apostrophe.
//!
//! ```text
//! a bracket closes that the completion did not open   -> the block that surrounds the cursor is over
//! a line stands further left than the cursor's block  -> it is over, in languages that indent
//! at the left margin: a line after something deeper   -> what the completion began is over
//! ```

/// The byte of the completion at which its block is over; none while it goes on. Whether a closing bracket of the
/// surrounding block belongs to the completion depends on what follows the cursor: where something does, the bracket
/// stands there.
pub fn block_end(prefix: &str, completion: &str, has_suffix: bool) -> Option<usize> {
    let base = surrounding_indentation(prefix, completion);
    let mut depth = 0usize;
    let mut was_deeper = false;
    let mut scanner = Scanner::default();
    // The cursor's own line has begun in the prefix; only lines that begin in the completion have an indentation.
    let mut line_start = if prefix.ends_with('\n') { Some(0) } else { None };
    for (at, character) in completion.char_indices() {
        let is_code = scanner.is_code(character, completion, at);
        if scanner.is_undecided {
            return None;
        }
        if let Some(start) = line_start
            && !character.is_whitespace()
        {
            let indentation = width(&completion[start..at]);
            let is_closing = ")]}".contains(character);
            if depth == 0 && !is_closing && (indentation < base || base == 0 && indentation == 0 && was_deeper) {
                return Some(trimmed(completion, start));
            }
            was_deeper |= indentation > base;
            line_start = None;
        }
        match character {
            '\n' => line_start = Some(at + 1),
            '(' | '[' | '{' if is_code => depth += 1,
            ')' | ']' | '}' if is_code && depth == 0 => {
                return Some(if has_suffix { trimmed(completion, at) } else { at + 1 });
            }
            ')' | ']' | '}' if is_code => {
                depth -= 1;
                was_deeper |= character == '}' && depth == 0;
            }
            _ => {}
        }
    }
    None
}

/// The indentation of the block that the cursor is in.
fn surrounding_indentation(prefix: &str, completion: &str) -> usize {
    let cursor_line = prefix.rsplit('\n').next().unwrap_or(prefix);
    if !cursor_line.is_empty() {
        return width(&cursor_line[..cursor_line.len() - cursor_line.trim_start().len()]);
    }
    // The cursor stands at the left margin: after a line that opens a block, the completion shows how far that is
    // indented.
    let before = prefix.trim_end();
    let opens = before.ends_with([':', '{', '(', '[']);
    let first = completion.lines().find(|line| !line.trim().is_empty()).filter(|_| opens);
    first.map_or(0, |line| width(&line[..line.len() - line.trim_start().len()]))
}

/// Columns of blanks; a tab is as wide as four.
fn width(blanks: &str) -> usize {
    blanks.chars().map(|blank| if blank == '\t' { 4 } else { 1 }).sum()
}

/// The end without the blanks and empty lines before it, but for one line break.
fn trimmed(completion: &str, end: usize) -> usize {
    let text = &completion[..end];
    let words = text.trim_end().len();
    text[words..].find('\n').map_or(words, |newline| words + newline + 1)
}

/// Tells code from what is quoted and from what is said beside it.
#[derive(Default)]
struct Scanner {
    quote: Option<char>,
    is_escaped: bool,
    is_comment: bool,
    /// Whether what follows is code depends on what is not there yet.
    is_undecided: bool,
}

impl Scanner {
    fn is_code(&mut self, character: char, text: &str, at: usize) -> bool {
        let rest = &text[at..];
        if character == '\n' {
            *self = Scanner::default();
            return true;
        }
        if self.is_comment {
            return false;
        }
        if let Some(quote) = self.quote {
            if self.is_escaped {
                self.is_escaped = false;
            } else if character == '\\' {
                self.is_escaped = true;
            } else if character == quote {
                self.quote = None;
            }
            return false;
        }
        match character {
            '\'' if is_apostrophe(&text[..at]) => false,
            '"' | '\'' | '`' => {
                let (line, is_whole) = rest.split_once('\n').map_or((rest, false), |(line, _)| (line, true));
                let is_closed = line[1..].contains(character);
                // A line that is still being written may yet close the quote. Most that open with an apostrophe are
                // quotes, but not all (`&'a str`, `// don't`), so nothing after one is sure before its line is whole.
                self.is_undecided = character == '\'' && !is_closed && !is_whole;
                self.quote = (is_closed || !is_whole).then_some(character);
                false
            }
            '/' if rest.starts_with("//") => {
                self.is_comment = true;
                false
            }
            _ => true,
        }
    }
}

/// Whether `'` after this begins no quote: it stands within a word or names a lifetime. A letter alone before it may
/// say what kind of text is quoted, as in Python.
fn is_apostrophe(before: &str) -> bool {
    let mut last = before.chars().rev();
    let (near, far) = (last.next(), last.next());
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    is_word(near) && is_word(far) || matches!(near, Some('&' | '<'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::rank;

    /// Checks the end, and that it is seen as soon as the character after it is there, and never before.
    fn check(prefix: &str, completion: &str, suffix: bool, expected: Option<&str>) {
        let whole = block_end(prefix, completion, suffix).map(|end| &completion[..end]);
        assert_eq!(whole, expected, "{completion:?}");
        for (end, _) in completion.char_indices() {
            if let Some(cut) = block_end(prefix, &completion[..end], suffix) {
                assert_eq!(Some(&completion[..cut]), expected, "seen at {end} of {completion:?}");
            }
        }
    }

    #[test]
    fn the_bracket_around_the_cursor_ends_the_block() {
        check("fn a() {\n    ", "let x = (1, 2);\n    x\n}\n\nfn b", false, Some("let x = (1, 2);\n    x\n}"));
        check("fn a() {\n    ", "if b { c }\n}\n", true, Some("if b { c }\n"));
        check("call(", "a, [b], c) + d", true, Some("a, [b], c"));
        check("x = \"", "y", false, None);
    }

    #[test]
    fn brackets_in_quotes_and_comments_are_no_brackets() {
        check("{\n  ", "a = \"}\" + '}'; // }\n  b\n}", false, Some("a = \"}\" + '}'; // }\n  b\n}"));
        check("{\n  ", "x: &'a str, // don't }\n}", true, Some("x: &'a str, // don't }\n"));
        check("{\n  ", "a = f'}' + b\n}", true, Some("a = f'}' + b\n"));
        check("{\n  ", "a = \"\\\"}\";\n}", true, Some("a = \"\\\"}\";\n"));
    }

    #[test]
    fn a_line_further_left_ends_an_indented_block() {
        check("def add(a, b):\n", "    return a + b\n\n\ndef sub", false, Some("    return a + b\n"));
        check("def add(a, b):\n    ", "c = (a +\nb)\n    return c\nprint", false, Some("c = (a +\nb)\n    return c\n"));
        check("class A:\n    def a(self):\n        ", "pass\n\n    def b(self)", false, Some("pass\n"));
        check("if a:\n\t", "b\n\tif c:\n\t\td\n\te\nf", false, Some("b\n\tif c:\n\t\td\n\te\n"));
    }

    #[test]
    fn an_end_lies_in_the_completion_whatever_it_is() {
        let piece =
            |n: u64| ["{", "}", "(", ")", "'", "\"", "\n", "    ", "\t", "//", "\\", "é", "x", ":"][n as usize % 14];
        let text =
            |seed: u64, length: u64| -> String { (0..length).map(|n| piece(rank(seed, &n.to_string()))).collect() };
        for seed in 0..2000 {
            let (prefix, completion) = (text(seed, seed % 8), text(seed + 10_000, 30));
            for has_suffix in [true, false] {
                let end = block_end(&prefix, &completion, has_suffix);
                assert!(end.is_none_or(|end| completion.is_char_boundary(end)), "{prefix:?} {completion:?}");
            }
        }
    }

    #[test]
    fn at_the_left_margin_the_first_thing_that_is_whole_is_the_block() {
        check("fn ", "a() {\n    b();\n}\n\nfn c() {", false, Some("a() {\n    b();\n}\n"));
        check("def ", "a():\n    return 1\n\nx = 2", false, Some("a():\n    return 1\n"));
        check("x = ", "1\ny = 2\n", false, None);
        check("", "", false, None);
    }
}
