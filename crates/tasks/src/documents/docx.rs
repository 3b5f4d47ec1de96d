//! docx: paragraphs and tables of the document, with its headers, footers and notes (ECMA-376, part 1, chapter 17).
//!
//! Elements are known by their names without prefixes: the transitional and the strict form differ in namespaces
//! alone. Entities of a document's own are not expanded, so there are none that grow.

use super::archive::Archive;
use super::layout::Layout;
use super::{MOST_TEXT_BYTES, Text, too_long};
use crate::encoding;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::io::Cursor;

/// The document itself, as programs name it.
const MAIN: &str = "word/document.xml";
/// More than the text of any honest document takes: pictures, which are larger, are not unpacked.
const MOST_UNPACKED_BYTES: u64 = 128 << 20;
/// Deeper than any honest document is nested.
const DEEPEST: usize = 2_000;

/// Parts of a document in the order in which their text is given: what their names begin with.
const PARTS: &[&str] = &["word/header", MAIN, "word/footnotes.xml", "word/endnotes.xml", "word/footer"];

/// Elements whose text is not the document's: what was deleted or moved away, codes of fields, and a form of the same
/// content for programs of old.
const UNSEEN: &[&str] = &["del", "moveFrom", "instrText", "delText", "Fallback"];

/// Reads a document.
pub fn parse(bytes: &[u8]) -> Result<Text, String> {
    let mut archive = Archive::open(Cursor::new(bytes), MOST_UNPACKED_BYTES)?;
    let mut names = archive.names();
    names.sort();
    if !names.iter().any(|name| name == MAIN) {
        let hint = "a docx file is saved by a word processor; other archives are unpacked first";
        return Err(format!("expected a docx document, got an archive without {MAIN}\nhint: {hint}"));
    }
    let mut layout = Layout::new();
    for part in PARTS {
        for name in names.iter().filter(|name| name.starts_with(part) && name.ends_with(".xml")) {
            let Some(bytes) = archive.read(name)? else { continue };
            let (source, _) = encoding::decode(&bytes).map_err(|reason| format!("{name}: {reason}"))?;
            read_part(&source, &mut layout).map_err(|reason| format!("{name}: {reason}"))?;
            layout.paragraph();
        }
    }
    let mut warnings = Vec::new();
    if names.iter().any(|name| name == "word/comments.xml") {
        warnings.push("comments in the margin are left out".to_owned());
    }
    Ok(Text { text: layout.finish(), pages: Vec::new(), warnings })
}

/// Where in a part we are.
struct Place<'a> {
    layout: &'a mut Layout,
    depth: usize,
    /// How many tables are open.
    tables: usize,
    /// How many elements of text are open: other characters are white space between elements.
    texts: usize,
    /// The depth of the element that is not seen.
    unseen_at: Option<usize>,
}

fn read_part(source: &str, layout: &mut Layout) -> Result<(), String> {
    let mut reader = Reader::from_str(source);
    let mut place = Place { layout, depth: 0, tables: 0, texts: 0, unseen_at: None };
    loop {
        let wrong =
            |error: &dyn std::fmt::Display, at: u64| format!("expected sound XML, got an error at byte {at}: {error}");
        let event = reader.read_event().map_err(|error| wrong(&error, reader.error_position()))?;
        match event {
            Event::Start(element) => place.start(&element)?,
            Event::Empty(element) => {
                place.start(&element)?;
                place.end(element.local_name().as_ref());
            }
            Event::End(element) => place.end(element.local_name().as_ref()),
            Event::Text(text) => place.text(&text.xml10_content()),
            Event::CData(text) => place.text(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character =
                    reference.resolve_char_ref().map_err(|error| wrong(&error, reader.buffer_position()))?;
                match (character, quick_xml::escape::resolve_predefined_entity(&reference)) {
                    (Some(character), _) => place.text(character.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => place.text(text),
                    (None, None) => {
                        return Err(format!("expected one of the five entities of XML, got &{};", &*reference));
                    }
                }
            }
            Event::Eof if place.depth > 0 => {
                return Err("expected the end of all elements, got the end of the file".to_owned());
            }
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        if place.layout.len() > MOST_TEXT_BYTES {
            return Err(too_long());
        }
    }
}

impl Place<'_> {
    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("expected elements nested at most {DEEPEST} deep, got more"));
        }
        let local = element.local_name();
        let name = local.as_ref();
        if self.unseen_at.is_some() {
            return Ok(());
        }
        match name {
            _ if UNSEEN.contains(&name) => self.unseen_at = Some(self.depth),
            "t" => self.texts += 1,
            "tab" if !is_definition(element) => self.layout.verbatim("\t"),
            // Within a table a line is a part of a cell.
            "br" | "cr" if self.tables > 0 => self.layout.space(),
            "br" | "cr" => self.layout.line(),
            "noBreakHyphen" => self.layout.verbatim("\u{2011}"),
            // A paragraph of a list has the list's number among its properties.
            "numPr" => self.layout.item(),
            "tbl" => {
                self.layout.paragraph();
                self.tables += 1;
            }
            "tr" => self.layout.row(),
            "tc" => self.layout.cell(),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) {
        let seen = self.unseen_at.is_none();
        match name {
            _ if !seen => {}
            "t" => self.texts = self.texts.saturating_sub(1),
            // Within a table a paragraph is a part of a cell.
            "p" if self.tables > 0 => self.layout.space(),
            "p" => self.layout.line(),
            "tr" => {
                self.layout.end_row();
                self.layout.line();
            }
            "tbl" => {
                self.tables = self.tables.saturating_sub(1);
                self.layout.paragraph();
            }
            _ => {}
        }
        if self.unseen_at == Some(self.depth) {
            self.unseen_at = None;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn text(&mut self, text: &str) {
        if self.texts > 0 && self.unseen_at.is_none() {
            self.layout.verbatim(text);
        }
    }
}

/// Where tabulators stop is written with the same word as a tabulator, and says which kind it is.
fn is_definition(element: &BytesStart<'_>) -> bool {
    element.attributes().flatten().any(|attribute| attribute.key.local_name().as_ref() == "val")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Random, archive, docx};
    use super::*;

    #[test]
    fn paragraphs_lists_and_tables_are_the_text() {
        let body = "<w:p><w:r><w:t>One &amp; </w:t></w:r><w:r><w:t xml:space='preserve'>two&#33;</w:t><w:tab/><w:t>x</w:t></w:r></w:p>\
                    <w:p><w:pPr><w:numPr><w:numId w:val='1'/></w:numPr><w:tabs><w:tab w:val='left'/></w:tabs></w:pPr><w:r><w:t>item</w:t></w:r></w:p>\
                    <w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc>\
                    <w:tc><w:p><w:r><w:t>c</w:t></w:r></w:p></w:tc></w:tr><w:tr><w:tc><w:p/></w:tc><w:tc><w:p><w:r><w:t>d</w:t></w:r></w:p></w:tc></w:tr></w:tbl>\
                    <w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:t>Last</w:t></w:r></w:p>";
        let text = parse(&docx(body)).unwrap();
        assert_eq!(text.text, "Header\n\nOne & two!\tx\n- item\n\na b | c\n| d\n\nLast");
        assert_eq!(text.warnings, Vec::<String>::new());
    }

    #[test]
    fn what_is_no_document_says_so() {
        let error = parse(b"no archive").unwrap_err();
        assert!(error.starts_with("expected a zip archive, got none: "), "{error}");
        let error = parse(&archive(&[("other.xml", b"<a/>")])).unwrap_err();
        assert!(
            error.starts_with("expected a docx document, got an archive without word/document.xml\nhint: "),
            "{error}"
        );
    }

    #[test]
    fn xml_that_is_broken_nested_without_end_or_has_entities_of_its_own_is_refused() {
        let refused = |body: &str| parse(&docx(body)).unwrap_err();
        assert!(refused("<w:p></w:q>").starts_with("word/document.xml: expected sound XML, got an error at byte "));
        assert_eq!(
            refused(&"<w:p>".repeat(100_000)),
            "word/document.xml: expected elements nested at most 2000 deep, got more"
        );
        assert_eq!(
            refused("<w:p><w:t>&bomb;</w:t></w:p>"),
            "word/document.xml: expected one of the five entities of XML, got &bomb;"
        );
    }

    #[test]
    fn damaged_xml_ends_in_a_text_or_an_error_of_its_part() {
        let body = "<w:p><w:r><w:t>One &amp; two&#33;</w:t><w:tab/></w:r></w:p><w:tbl><w:tr><w:tc/></w:tr></w:tbl>";
        let mut random = Random(5);
        let read = (0..500).filter(|_| {
            let damaged = random.damage(body.as_bytes());
            let outcome = parse(&docx(&String::from_utf8_lossy(&damaged)));
            outcome.map_err(|reason| assert!(reason.starts_with("word/document.xml: "), "{reason}")).is_ok()
        });
        let count = read.count();
        assert!(count > 20 && count < 480, "{count} of 500 were read");
    }
}
