//! From glyphs to lines: what the gaps between glyphs say.

use super::super::MOST_TEXT_BYTES;
use hayro_interpret::kurbo::{Point, Vec2};

/// All measures are in sizes of the font. A gap so wide is a space between words; kerning is narrower, and spaces are
/// a quarter.
const WORD_GAP: f64 = 0.15;
/// A gap so wide parts columns: justified lines have none.
const COLUMN_GAP: f64 = 2.0;
/// So far off the line still belongs to it: raised and lowered figures.
const OFF_LINE: f64 = 0.5;
/// Going back by more begins a line anew.
const BACKWARDS: f64 = 0.7;
/// Lines so far apart are paragraphs.
const PARAGRAPH_GAP: f64 = 1.9;

/// A glyph where it was drawn.
#[derive(Debug)]
pub struct Glyph<'a> {
    /// Where its line of text passes.
    pub origin: Point,
    /// The way the line runs, as long as the font is wide.
    pub along: Vec2,
    /// The way up, as long as the font is high.
    pub up: Vec2,
    /// How far the next glyph is from this, in widths of the font.
    pub advance: f64,
    /// Its characters.
    pub text: &'a str,
}

/// The last glyph.
#[derive(Debug)]
struct Pen {
    /// Where it ended.
    end: Point,
    /// The way its line runs, of length 1.
    direction: Vec2,
    size: f64,
}

/// The text of a page.
#[derive(Debug, Default)]
pub struct Lines {
    text: String,
    pen: Option<Pen>,
}

impl Lines {
    /// Adds the next glyph.
    pub fn add(&mut self, glyph: &Glyph<'_>) {
        if self.is_too_long() {
            return;
        }
        let size = glyph.up.hypot();
        let width = glyph.along.hypot();
        let sound = [size, width, glyph.origin.x, glyph.origin.y].iter().all(|measure| measure.is_finite());
        if !sound || size <= 0.0 || width <= 0.0 {
            // A glyph without a size is at no place, but it is text.
            return self.push(glyph.text);
        }
        let direction = glyph.along / width;
        if let Some(pen) = &self.pen {
            let gap = gap(pen, glyph.origin, direction, size);
            self.part(gap);
        }
        self.push(glyph.text);
        let advance = if glyph.advance.is_finite() { glyph.advance } else { 0.0 };
        self.pen = Some(Pen { end: glyph.origin + glyph.along * advance, direction, size });
    }

    /// Whether it is longer than any honest text; then nothing more is added.
    pub fn is_too_long(&self) -> bool {
        self.text.len() > MOST_TEXT_BYTES
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text.trim_matches([' ', '\n', '\t']).to_owned()
    }

    fn part(&mut self, gap: &str) {
        match gap {
            "" => {}
            " " | "\t" if self.text.ends_with([' ', '\t', '\n']) => {}
            " " | "\t" => self.text.push_str(gap),
            lines => {
                self.text.truncate(self.text.trim_end_matches([' ', '\t']).len());
                self.text.push_str(lines);
            }
        }
    }

    fn push(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\u{fb00}' => self.text.push_str("ff"),
                '\u{fb01}' => self.text.push_str("fi"),
                '\u{fb02}' => self.text.push_str("fl"),
                '\u{fb03}' => self.text.push_str("ffi"),
                '\u{fb04}' => self.text.push_str("ffl"),
                '\u{fb05}' | '\u{fb06}' => self.text.push_str("st"),
                // Drawn as a hyphen.
                '\u{ad}' => self.text.push('-'),
                ' ' | '\t' if self.text.is_empty() || self.text.ends_with([' ', '\n', '\t']) => {}
                other if other.is_control() => self.part(" "),
                other => self.text.push(other),
            }
        }
    }
}

/// What stands between the last glyph and one that begins at a place.
fn gap(pen: &Pen, origin: Point, direction: Vec2, size: f64) -> &'static str {
    let moved = origin - pen.end;
    let forward = moved.dot(pen.direction) / size.max(pen.size);
    // Positive is up, where lines run to the right.
    let upward = pen.direction.cross(moved) / size.max(pen.size);
    let turned = pen.direction.dot(direction) < 0.9;
    match () {
        () if turned || upward < -PARAGRAPH_GAP => "\n\n",
        () if upward.abs() > OFF_LINE || forward < -BACKWARDS => "\n",
        () if forward > COLUMN_GAP => "\t",
        () if forward > WORD_GAP => " ",
        () => "",
    }
}
