//! pdf: the text layer, page by page.
//!
//! A page draws glyphs at places; words, lines and paragraphs are what the gaps between them say. Glyphs are taken in
//! the order in which they are drawn, which keeps columns apart where the program that made the file did. It reads no
//! pictures of text: a scan is told. Read next: `pdf/lines.rs`, from glyphs to lines.

mod lines;

use super::{MOST_TEXT_BYTES, Text, too_long};
use hayro_interpret::font::{Glyph as FontGlyph, GlyphRun};
use hayro_interpret::hayro_cmap::{BfString, WritingMode};
use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect, Vec2};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, InterpreterWarning, SoftMask, interpret_page,
};
use lines::{Glyph, Lines};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// More pages than any honest document has.
const MOST_PAGES: usize = 100_000;

/// Fonts state the widths of their glyphs in thousandths of their size (ISO 32000-1, 9.2.4).
const UNITS_PER_SIZE: f64 = 1000.0;

/// Text beside the page is text.
const EVERYWHERE: Rect = Rect::new(-1e6, -1e6, 1e6, 1e6);

/// Reads the text of all pages.
pub fn parse(bytes: &[u8]) -> Result<Text, String> {
    let pdf = Pdf::new(bytes.to_vec()).map_err(refusal)?;
    let pages = pdf.pages();
    match pages.len() {
        0 => return Err("expected a PDF document with pages, got none".to_owned()),
        count if count > MOST_PAGES => return Err(format!("expected at most {MOST_PAGES} pages, got {count}")),
        _ => {}
    }
    let missing_font = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&missing_font);
    let warning_sink = Arc::new(move |warning| {
        if matches!(warning, InterpreterWarning::UnsupportedFont) {
            seen.store(true, Ordering::Relaxed);
        }
    });
    let settings = InterpreterSettings { warning_sink, ..InterpreterSettings::default() };
    let cache = InterpreterCache::new();
    let mut text = Text::default();
    let (mut empty, mut unknown, mut fontless) = (Vec::new(), Vec::new(), Vec::new());
    for (index, page) in pages.iter().enumerate() {
        // Where the page lies on a screen is of no matter: gaps are measured along the lines of text.
        let mut context = Context::new(Affine::IDENTITY, EVERYWHERE, &cache, pdf.xref(), settings.clone());
        let mut extractor = Extractor::default();
        interpret_page(page, &mut context, &mut extractor);
        let number = index + 1;
        if extractor.lines.is_too_long() {
            return Err(too_long());
        }
        unknown.extend((extractor.unknown > 0).then_some(number));
        fontless.extend(missing_font.swap(false, Ordering::Relaxed).then_some(number));
        let page_text = extractor.lines.finish();
        empty.extend(page_text.trim().is_empty().then_some(number));
        text.pages.push(text.text.len());
        text.text.push_str(&page_text);
        text.text.push('\n');
        if text.text.len() > MOST_TEXT_BYTES {
            return Err(too_long());
        }
    }
    let count = pages.len();
    if empty.len() == count {
        let pages = if count == 1 { "page has" } else { "pages have" };
        return Err(format!("{count} of {count} {pages} no text: a scan?\nhint: run OCR first, such as ocrmypdf"));
    }
    let mut tell = |pages: &[usize], what: &str| {
        if !pages.is_empty() {
            text.warnings.push(format!("{} of {count} pages {what}: {}", pages.len(), ranges(pages)));
        }
    };
    tell(&empty, "have no text, scanned or empty");
    tell(&unknown, "have characters that nothing tells the meaning of, given as \u{fffd}");
    tell(&fontless, "have text in fonts that cannot be read, which is left out");
    Ok(text)
}

fn refusal(error: LoadPdfError) -> String {
    match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            "expected a PDF document that opens without a password, got one that needs it\n\
             hint: save it without a password first"
        }
        LoadPdfError::Decryption(_) => "expected a PDF document, got one with an encryption that is not known",
        LoadPdfError::Invalid => "expected a PDF document, got none, or one too damaged to be read",
    }
    .to_owned()
}

/// Numbers as `1-3, 7`.
fn ranges(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown =
        ranges.iter().map(|&(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    shown.collect::<Vec<_>>().join(", ")
}

/// Takes glyphs, and lets lines and pictures be.
#[derive(Default)]
struct Extractor {
    lines: Lines,
    /// Glyphs whose character is not known.
    unknown: usize,
    last_drawn: Option<(Point, u32)>,
}

impl Device<'_> for Extractor {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, mode: &DrawMode) {
        // Text that is filled and stroked comes twice.
        let stroked = matches!(mode, DrawMode::Stroke(_));
        let first =
            run.glyphs().first().map(|glyph| (props.transform * glyph.transform() * Point::ZERO, glyph.char_code()));
        if stroked && first.is_some() && first == self.last_drawn {
            return;
        }
        self.last_drawn = first;
        for glyph in run.glyphs() {
            let transform: Affine = props.transform * glyph.transform();
            let [a, b, c, d, _, _] = transform.as_coeffs();
            let advance = match &**glyph {
                FontGlyph::Outline(outline) => outline.advance_width(),
                FontGlyph::Type3(drawn) => drawn.advance_width(),
            };
            let advance = advance.map_or(0.5, |units| f64::from(units) / UNITS_PER_SIZE);
            let text = glyph.as_unicode().map(|text| match text {
                BfString::Char(character) => character.to_string(),
                BfString::String(text) => text,
            });
            self.unknown += usize::from(text.is_none());
            let (right, up) = (Vec2::new(a, b) * UNITS_PER_SIZE, Vec2::new(c, d) * UNITS_PER_SIZE);
            // Lines that run down the page have a glyph in each square.
            let (along, up, advance) = match run.writing_mode() {
                WritingMode::Horizontal => (right, up, advance),
                WritingMode::Vertical => (-up, right, 1.0),
            };
            let text = text.as_deref().unwrap_or("\u{fffd}");
            self.lines.add(&Glyph { origin: transform * Point::ZERO, along, up, advance, text });
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'_>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'_>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'_, '_>, _: ImageDrawProps<'_>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

#[cfg(test)]
mod tests;
