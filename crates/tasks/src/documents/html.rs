//! html: the text that a browser shows, blocks as lines, rows of tables as rows.
//!
//! Tags are taken as they come, without a tree: a text needs to know where blocks begin and end, not what they are
//! nested in. Scripts do not run and style sheets are not read, so what only those hide is text here.

use super::{MOST_TEXT_BYTES, Text, layout::Layout, too_long};
use crate::encoding;
use html5gum::emitters::default::DefaultEmitter;
use html5gum::{HtmlString, StartTag, Token, Tokenizer};

/// Elements whose content nobody sees.
const UNSEEN: &str = "head script style template title datalist object iframe";
/// Elements that begin and end a paragraph.
const PARAGRAPHS: &str = "p h1 h2 h3 h4 h5 h6 table blockquote pre article section header footer main nav aside \
    figure form fieldset details hr";
/// Elements that begin and end a line.
const LINES: &str = "ul ol dl div li dt dd br figcaption caption summary address option legend thead tbody tfoot";
/// Elements that may be left open: nobody can tell where one that is hidden ends.
const LEFT_OPEN: &str = "p li dt dd td th tr option thead tbody tfoot html body";
/// Elements without content.
const VOID: &str = "br hr img input meta link wbr source track area base col embed";

/// So much of a file is looked through for the name of its encoding, as browsers do.
const PRESCAN_BYTES: usize = 1024;

/// Reads what is seen.
pub fn parse(bytes: &[u8]) -> Result<Text, String> {
    let (source, warning) = decode(bytes)?;
    let mut page = Page { layout: Layout::new(), unseen: None, preformatted: 0 };
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(source.as_str(), emitter) {
        let Ok(token) = token;
        page.take(&token);
        if page.layout.len() > MOST_TEXT_BYTES {
            return Err(too_long());
        }
    }
    let mut warnings: Vec<String> = warning.into_iter().collect();
    if let Some((name, _)) = page.unseen {
        let name = String::from_utf8_lossy(&name).into_owned();
        warnings.push(format!("a hidden <{name}> is never closed: all that follows it is left out"));
    }
    Ok(Text { text: page.layout.finish(), pages: Vec::new(), warnings })
}

/// The encoding that a file says it has, unless its bytes say otherwise.
fn decode(bytes: &[u8]) -> Result<(String, Option<String>), String> {
    let has_mark = [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| bytes.starts_with(mark));
    let label = declared_label(&bytes[..bytes.len().min(PRESCAN_BYTES)])
        .filter(|_| !has_mark && std::str::from_utf8(bytes).is_err());
    match label.and_then(|label| encoding::decode_labelled(bytes, &label)) {
        Some(Ok(decoded)) => Ok(decoded),
        // A label that the bytes contradict is no help.
        Some(Err(_)) | None => encoding::decode(bytes),
    }
}

/// What stands behind the first `charset=`.
fn declared_label(head: &[u8]) -> Option<Vec<u8>> {
    let lower = head.to_ascii_lowercase();
    let mark = b"charset=";
    let start = lower.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let rest = lower[start..].iter().skip_while(|byte| matches!(byte, b'"' | b'\''));
    let label: Vec<u8> =
        rest.take_while(|byte| byte.is_ascii_alphanumeric() || b"-_:.".contains(byte)).copied().collect();
    (!label.is_empty()).then_some(label)
}

struct Page {
    layout: Layout,
    /// The element that is not seen, with how many of its name are open.
    unseen: Option<(Vec<u8>, usize)>,
    preformatted: usize,
}

impl Page {
    fn take(&mut self, token: &Token) {
        match token {
            Token::StartTag(tag) => self.start(tag),
            Token::EndTag(tag) => self.end(&tag.name),
            Token::String(text) if self.unseen.is_none() => {
                let text = String::from_utf8_lossy(text);
                if self.preformatted == 0 {
                    return self.layout.words(&text);
                }
                for (index, line) in text.lines().enumerate() {
                    if index > 0 {
                        self.layout.line();
                    }
                    self.layout.verbatim(line);
                }
                if text.ends_with('\n') {
                    self.layout.line();
                }
            }
            // Errors of HTML have a meaning that all browsers agree on.
            Token::String(_) | Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }

    fn start(&mut self, tag: &StartTag<()>) {
        let name: &[u8] = &tag.name;
        match &mut self.unseen {
            // A head may be left open: its body ends it.
            Some((unseen, _)) if name == b"body" && unseen == b"head" => self.unseen = None,
            Some((unseen, open)) => {
                *open += usize::from(unseen == name && !tag.self_closing);
                return;
            }
            None => {}
        }
        let may_hide = !is_among(VOID, name) && !tag.self_closing;
        if may_hide && (is_among(UNSEEN, name) || (is_hidden(tag) && !is_among(LEFT_OPEN, name))) {
            self.unseen = Some((name.to_vec(), 1));
            return;
        }
        self.gap(name);
        match name {
            b"li" => self.layout.item(),
            b"tr" => self.layout.row(),
            b"td" | b"th" => self.layout.cell(),
            b"pre" | b"textarea" => self.preformatted += 1,
            _ => {}
        }
    }

    fn end(&mut self, name: &HtmlString) {
        let name: &[u8] = name;
        if let Some((unseen, open)) = &mut self.unseen {
            if unseen == name {
                *open -= 1;
                if *open == 0 {
                    self.unseen = None;
                }
            }
            return;
        }
        match name {
            b"tr" | b"table" => self.layout.end_row(),
            b"pre" | b"textarea" => self.preformatted = self.preformatted.saturating_sub(1),
            _ => {}
        }
        self.gap(name);
        if name == b"tr" {
            self.layout.line();
        }
    }

    fn gap(&mut self, name: &[u8]) {
        if is_among(PARAGRAPHS, name) {
            self.layout.paragraph();
        } else if is_among(LINES, name) {
            self.layout.line();
        }
    }
}

fn is_among(names: &str, name: &[u8]) -> bool {
    names.split(' ').any(|other| other.as_bytes() == name)
}

fn is_hidden(tag: &StartTag<()>) -> bool {
    let attribute = |name: &[u8]| tag.attributes.iter().find(|(key, _)| ***key == *name).map(|(_, value)| value);
    let hides = |style: &[u8]| {
        let style: Vec<u8> =
            style.iter().filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect();
        style.windows(12).any(|window| window == b"display:none")
    };
    attribute(b"hidden").is_some() || attribute(b"style").is_some_and(|style| hides(style))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, text: &str) {
        let got = parse(html.as_bytes()).unwrap();
        assert_eq!((got.text.as_str(), got.warnings.len()), (text, 0), "{html}");
    }

    #[test]
    fn what_a_browser_shows_is_the_text() {
        check(
            "<!doctype html><html><head><title>T</title><style>p { color: red }</style></head><body>\
             <h1>Head</h1><p>One &amp; <b>two</b>\n three.<br>Line</p><script>if (a < b) { x() }</script>\
             <div hidden>no <div>no</div> no</div><span style='color: red; DISPLAY : none'>no</span><div>Last</div>",
            "Head\n\nOne & two three.\nLine\n\nLast",
        );
    }

    #[test]
    fn tables_lists_and_preformatted_text_keep_their_shape() {
        check(
            "<table><tr><th>a</th><th>b</th></tr><tr><td><p>1</p></td><td></td></tr></table>\
             <ul><li>x</li><li>y</ul><pre>\n  let a;\n    b\n</pre>",
            "a | b\n1 |\n\n- x\n- y\n\n  let a;\n    b",
        );
    }

    #[test]
    fn a_head_that_is_left_open_ends_with_the_body() {
        check("<head><meta charset=utf-8><body>text", "text");
    }

    #[test]
    fn what_is_hidden_to_the_end_is_told() {
        let text = parse(b"a<div hidden>b").unwrap();
        assert_eq!(text.text, "a");
        assert_eq!(text.warnings, ["a hidden <div> is never closed: all that follows it is left out"]);
    }

    #[test]
    fn an_encoding_is_the_one_that_the_page_names() {
        let text = parse(b"<meta charset=\"iso-8859-2\"><p>\xb1\xe6\xea").unwrap();
        assert_eq!(text.text, "ąćę");
        assert_eq!(text.warnings, ["not UTF-8: read as ISO-8859-2, as it says of itself"]);
    }

    #[test]
    fn elements_nested_without_end_take_no_stack() {
        let html = "<div><b>".repeat(200_000) + "text";
        check(&html, "text");
    }
}
