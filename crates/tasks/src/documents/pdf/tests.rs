//! PDF files made by the tests themselves, whole and damaged, as text with pages.

use super::super::samples::{Random, pdf, pdf_of_objects};
use super::*;

fn text(pages: &[&str]) -> Text {
    parse(&pdf(pages)).unwrap()
}

#[test]
fn gaps_are_spaces_lines_and_paragraphs() {
    let page = "BT /F1 12 Tf 72 700 Td (Hello) Tj 40 0 Td (world) Tj -40 -14 Td (next line) Tj 0 -40 Td (far) Tj ET\n\
                BT /F1 12 Tf 1 0 0 1 72 600 Tm [(k)-20(er)20(n)-400(ed)] TJ 200 0 Td (column) Tj ET";
    assert_eq!(text(&[page]).text, "Hello world\nnext line\n\nfar\n\nkern ed\tcolumn\n");
}

#[test]
fn pages_begin_where_their_text_does() {
    let read = text(&["BT /F1 12 Tf 72 700 Td (One) Tj ET", "BT /F1 12 Tf 72 700 Td (Two) Tj ET"]);
    assert_eq!((read.text.as_str(), read.pages, read.warnings), ("One\nTwo\n", vec![0, 4], Vec::new()));
}

#[test]
fn text_that_turns_is_on_lines_of_its_own() {
    let page = "BT /F1 12 Tf 0 1 -1 0 100 100 Tm (up the page) Tj ET BT /F1 12 Tf 1 0 0 1 200 200 Tm (flat) Tj ET";
    assert_eq!(text(&[page]).text, "up the page\n\nflat\n");
}

#[test]
fn invisible_text_over_a_scan_is_text_and_stroked_text_comes_once() {
    assert_eq!(text(&["BT 3 Tr /F1 12 Tf 72 700 Td (layer) Tj ET"]).text, "layer\n");
    assert_eq!(text(&["BT 2 Tr /F1 12 Tf 72 700 Td (once) Tj ET"]).text, "once\n");
}

#[test]
fn a_scan_is_told_and_so_are_single_pages_without_text() {
    let drawn = "0 0 100 100 re f";
    let error = parse(&pdf(&[drawn, drawn, drawn])).unwrap_err();
    assert_eq!(error, "3 of 3 pages have no text: a scan?\nhint: run OCR first, such as ocrmypdf");
    let written = "BT /F1 12 Tf 72 700 Td (One) Tj ET";
    let read = text(&[drawn, written, drawn, drawn]);
    assert_eq!(read.warnings, ["3 of 4 pages have no text, scanned or empty: 1, 3-4"]);
    assert_eq!(read.pages, [0, 1, 5, 6]);
}

#[test]
fn pages_and_forms_that_hold_themselves_come_to_an_end() {
    let catalog = "<< /Type /Catalog /Pages 2 0 R >>";
    let own_child = ["<< /Type /Pages /Kids [2 0 R] /Count 1 >>"];
    let error = parse(&pdf_of_objects(&[catalog, own_child[0]])).unwrap_err();
    assert!(error.starts_with("expected a PDF document"), "{error}");
    let form = "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 5 0 R >> >> /Length 5 >>\nstream\n/X Do\nendstream";
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R /Resources << /XObject << /X 5 0 R >> >> >>";
    let content = "<< /Length 5 >>\nstream\n/X Do\nendstream";
    let pages = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>";
    let error = parse(&pdf_of_objects(&[catalog, pages, page, content, form])).unwrap_err();
    assert_eq!(error, "1 of 1 page has no text: a scan?\nhint: run OCR first, such as ocrmypdf");
}

#[test]
fn damaged_files_come_to_an_end() {
    let whole = pdf(&["BT /F1 12 Tf 72 700 Td (One) Tj ET", "BT /F1 12 Tf 72 700 Td (Two) Tj ET"]);
    let mut random = Random(11);
    let read = (0..300).filter(|_| parse(&random.damage(&whole)).is_ok()).count();
    assert!(read > 0 && read < 300, "{read} of 300 were read");
}

#[test]
fn numbers_are_told_as_ranges() {
    assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3, 7, 9-10");
}
