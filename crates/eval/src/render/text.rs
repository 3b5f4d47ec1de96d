//! Text from data, safe to stand in HTML and in Markdown: it can become no markup, and it cannot turn the letters around
//! it.
//!
//! Characters that have no shape of their own but change how others are read (Unicode's controls of direction, and
//! control characters) are shown by their numbers: a label that hides one must not look like another label.

use std::fmt::Write;

/// Text within HTML, in an element or in an attribute with quotes.
pub(super) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            hidden if is_hidden(hidden) => number(&mut escaped, hidden),
            shown => escaped.push(shown),
        }
    }
    escaped
}

/// Text within a line of Markdown, in a table too. A name after `@` is told to nobody.
pub(super) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("@<!-- -->"),
            '\n' | '\t' | '\r' => escaped.push(' '),
            hidden if is_hidden(hidden) => number(&mut escaped, hidden),
            shown => escaped.push(shown),
        }
    }
    escaped
}

/// Text as code within a line of Markdown, in a table too.
pub(super) fn code(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // A table's cell ends at a bar, even within code, but for a bar after a backslash.
            '|' => shown.push_str("\\|"),
            '\n' | '\t' | '\r' => shown.push(' '),
            hidden if is_hidden(hidden) => number(&mut shown, hidden),
            plain => shown.push(plain),
        }
    }
    let longest = shown.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let is_bare = !shown.is_empty() && !shown.starts_with('`') && !shown.ends_with('`');
    let blank = if is_bare { "" } else { " " };
    format!("{fence}{blank}{shown}{blank}{fence}")
}

fn is_hidden(character: char) -> bool {
    let turns =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_invisible = matches!(character, '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    character.is_control() || turns || is_invisible
}

fn number(text: &mut String, character: char) {
    let _ = write!(text, "[U+{:04X}]", u32::from(character));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn html_of_text_is_no_markup() {
        assert_eq!(html("</script><b a='\"'>&"), "&lt;/script&gt;&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    }

    #[test]
    fn what_would_turn_the_line_is_shown_by_its_number() {
        assert_eq!(html("a\u{202e}b\u{2066}\0\u{200f}"), "a[U+202E]b[U+2066][U+0000][U+200F]");
        assert_eq!(code("a\u{202e}"), "`a[U+202E]`");
        assert_eq!(html("سلام 👩\u{200d}🚀"), "سلام 👩\u{200d}🚀", "letters of all scripts stay, and what joins them");
    }

    #[test]
    fn markdown_of_text_is_no_markup() {
        assert_eq!(markdown("a|b\n*c* <i> @you #1 [x](y)"), "a\\|b \\*c\\* &lt;i&gt; @<!-- -->you \\#1 \\[x\\](y)");
    }

    #[test]
    fn code_may_have_any_text() {
        for (text, shown) in [("a_b", "`a_b`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("", "`  `"), ("a|b", "`a\\|b`")]
        {
            assert_eq!(code(text), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_of_markup_or_control_remains(text in "\\PC*|(?s).*") {
            let escaped = html(&text);
            let is_safe = !escaped.contains(['<', '>', '"', '\'', '\0', '\u{202e}', '\u{2067}']);
            prop_assert!(is_safe, "{}", escaped);
            let is_line = |text: &str| !text.contains(['\n', '\r', '\u{202e}']);
            prop_assert!(is_line(&markdown(&text)) && is_line(&code(&text)));
        }
    }
}
