//! Bytes to text, whatever encoding they are in: marks at the beginning, then UTF-8, then UTF-16, then a guess.
//!
//! A guess is told, never made in silence, and bytes that are no text in any encoding are refused. It knows nothing
//! of files and formats. Read next: `documents.rs` and `table/source.rs`, which name the file.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::io::Read;

/// So much of a text decides whether it is UTF-16 without a mark, or no text at all.
const SAMPLE_BYTES: usize = 64 << 10;

/// Of so many characters one may be a control character that texts have no use for; more of them are no text.
const CHARACTERS_PER_CONTROL: usize = 200;

/// How bytes become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detected {
    /// The encoding.
    encoding: &'static Encoding,
    /// Bytes of the mark that names the encoding, which is no part of the text.
    mark_bytes: usize,
    /// Whether bytes were compared with what is usual, rather than known to be in the encoding.
    guessed: bool,
}

impl Detected {
    /// Finds the encoding of all that a reader has. The reader is asked for once more, from its beginning, where the
    /// text is not UTF-8; so a text may be longer than the memory.
    ///
    /// # Errors
    /// The outer is the reader's; the inner says why the bytes are no text.
    pub fn of<R: Read>(open: impl Fn() -> std::io::Result<R>) -> std::io::Result<Result<Detected, String>> {
        let mut sample = Vec::new();
        open()?.take(SAMPLE_BYTES as u64).read_to_end(&mut sample)?;
        if let Some((encoding, mark_bytes)) = Encoding::for_bom(&sample) {
            return Ok(Ok(Detected { encoding, mark_bytes, guessed: false }));
        }
        if let Some(encoding) = utf_16_without_mark(&sample) {
            return Ok(Ok(Detected { encoding, mark_bytes: 0, guessed: true }));
        }
        if sample.contains(&0) {
            return Ok(Err("expected text, got bytes with zeros in them".to_owned()));
        }
        let encoding = if is_utf_8(open()?)? { UTF_8 } else { guess(open()?)? };
        let (text, _) = encoding.decode_without_bom_handling(&sample);
        let controls = text.chars().filter(|&character| is_no_part_of_texts(character)).count();
        if controls * CHARACTERS_PER_CONTROL > text.chars().count() {
            let reason =
                format!("expected text, got {controls} control characters in the first {} bytes", sample.len());
            return Ok(Err(reason));
        }
        Ok(Ok(Detected { encoding, mark_bytes: 0, guessed: encoding != UTF_8 }))
    }

    /// What whoever reads the text should know of its encoding: nothing where it is UTF-8.
    pub fn warning(&self) -> Option<String> {
        let name = self.encoding.name();
        let warning = match self.guessed {
            _ if self.encoding == UTF_8 => return None,
            true => format!("not UTF-8: read as {name}, which is a guess"),
            false => format!("not UTF-8: read as {name}, as the mark at its beginning says"),
        };
        Some(warning)
    }

    /// The text of the bytes of a reader that stands at the beginning, as UTF-8 and without a mark.
    pub fn reader<R: Read>(&self, reader: R) -> TextReader<R> {
        TextReader {
            reader,
            decoder: self.encoding.new_decoder_without_bom_handling(),
            skip: self.mark_bytes,
            bytes: Vec::new(),
            text: Vec::new(),
            taken: 0,
            ended: false,
        }
    }
}

/// The text of bytes, and a warning where they are not UTF-8.
///
/// # Errors
/// Why the bytes are no text.
pub fn decode(bytes: &[u8]) -> Result<(String, Option<String>), String> {
    let detected = Detected::of(|| Ok(bytes)).map_err(|error| error.to_string())??;
    let text = decode_as(&bytes[detected.mark_bytes..], detected.encoding)?;
    Ok((text, detected.warning()))
}

/// The text of bytes whose encoding somebody names by a label of the web, such as `latin1`; none where no encoding
/// has the label.
///
/// # Errors
/// The bytes are not in that encoding.
pub fn decode_labelled(bytes: &[u8], label: &[u8]) -> Option<Result<(String, Option<String>), String>> {
    let encoding = Encoding::for_label(label)?;
    let warning = (encoding != UTF_8).then(|| format!("not UTF-8: read as {}, as it says of itself", encoding.name()));
    Some(decode_as(bytes, encoding).map(|text| (text, warning)))
}

fn decode_as(bytes: &[u8], encoding: &'static Encoding) -> Result<String, String> {
    match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => Ok(text.into_owned()),
        None => Err(malformed(encoding.name())),
    }
}

fn malformed(name: &str) -> String {
    format!("expected text in {name}, got bytes that this encoding does not have\nhint: convert the file to UTF-8")
}

fn is_no_part_of_texts(character: char) -> bool {
    // Form feeds part pages, escapes colour what terminals wrote.
    character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}' | '\u{85}')
}

/// Text of the languages that have spaces and line ends: half of its bytes, or nearly so, are zeros on one side alone.
fn utf_16_without_mark(sample: &[u8]) -> Option<&'static Encoding> {
    let pairs = sample.len() / 2;
    let zeros_at = |offset: usize| sample.iter().skip(offset).step_by(2).filter(|&&byte| byte == 0).count();
    let (first, second) = (zeros_at(0), zeros_at(1));
    let encoding = match () {
        () if pairs >= 4 && second * 10 > pairs * 4 && first == 0 => UTF_16LE,
        () if pairs >= 4 && first * 10 > pairs * 4 && second == 0 => UTF_16BE,
        () => return None,
    };
    Some(encoding)
}

/// Whether all of it is UTF-8.
fn is_utf_8(mut reader: impl Read) -> std::io::Result<bool> {
    let mut buffer = vec![0; SAMPLE_BYTES];
    let mut kept = 0;
    loop {
        let read = reader.read(&mut buffer[kept..])?;
        let filled = kept + read;
        match std::str::from_utf8(&buffer[..filled]) {
            Ok(_) if read == 0 => return Ok(true),
            Ok(_) => kept = 0,
            // A character that the end of the buffer cuts: its rest may come.
            Err(error) if error.error_len().is_none() && read > 0 => {
                buffer.copy_within(error.valid_up_to()..filled, 0);
                kept = filled - error.valid_up_to();
            }
            Err(_) => return Ok(false),
        }
    }
}

fn guess(mut reader: impl Read) -> std::io::Result<&'static Encoding> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    let mut buffer = vec![0; SAMPLE_BYTES];
    loop {
        let read = reader.read(&mut buffer)?;
        detector.feed(&buffer[..read], read == 0);
        if read == 0 {
            return Ok(detector.guess(None, Utf8Detection::Deny));
        }
    }
}

/// Bytes of some encoding, read as UTF-8. What the encoding does not have is an error of the kind `InvalidData`.
#[derive(Debug)]
pub struct TextReader<R> {
    reader: R,
    decoder: Decoder,
    /// Bytes of the mark that are still to come.
    skip: usize,
    /// What came of the reader and is not decoded yet.
    bytes: Vec<u8>,
    /// Decoded, and of that so much handed out.
    text: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl<R: Read> TextReader<R> {
    fn fill(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let read = self.reader.read(&mut buffer)?;
        let last = read == 0;
        let skipped = self.skip.min(read);
        self.skip -= skipped;
        self.bytes.extend_from_slice(&buffer[skipped..read]);
        let room =
            self.decoder.max_utf8_buffer_length(self.bytes.len()).unwrap_or(self.bytes.len().saturating_mul(3) + 16);
        self.text.resize(room, 0);
        self.taken = 0;
        let (result, decoded, written) =
            self.decoder.decode_to_utf8_without_replacement(&self.bytes, &mut self.text, last);
        self.bytes.drain(..decoded);
        self.text.truncate(written);
        match result {
            DecoderResult::Malformed(..) => {
                let name = self.decoder.encoding().name();
                Err(std::io::Error::new(std::io::ErrorKind::InvalidData, malformed(name)))
            }
            DecoderResult::InputEmpty => {
                self.ended = last;
                Ok(())
            }
            DecoderResult::OutputFull => Ok(()),
        }
    }
}

impl<R: Read> Read for TextReader<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.taken == self.text.len() && !self.ended && !into.is_empty() {
            self.fill()?;
        }
        let count = into.len().min(self.text.len() - self.taken);
        into[..count].copy_from_slice(&self.text[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf_16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    /// What a stream and a slice make of the same bytes is the same.
    fn check(bytes: &[u8], text: &str, warning: Option<&str>) {
        let (got, told) = decode(bytes).unwrap();
        assert_eq!((got.as_str(), told.as_deref()), (text, warning));
        let detected = Detected::of(|| Ok(bytes)).unwrap().unwrap();
        let mut streamed = String::new();
        detected.reader(bytes).read_to_string(&mut streamed).unwrap();
        assert_eq!(streamed, text);
    }

    #[test]
    fn utf_8_is_read_as_it_is_and_its_mark_is_no_part_of_it() {
        check("Grüße, 世界".as_bytes(), "Grüße, 世界", None);
        check(b"\xef\xbb\xbfa,b", "a,b", None);
        check(b"", "", None);
        let long = "ü".repeat(SAMPLE_BYTES);
        check(format!("x{long}").as_bytes(), &format!("x{long}"), None);
    }

    #[test]
    fn utf_16_is_known_by_its_mark_or_by_its_zeros() {
        let marked = "not UTF-8: read as UTF-16LE, as the mark at its beginning says";
        check(&utf_16("\u{feff}Grüße", u16::to_le_bytes), "Grüße", Some(marked));
        let guessed = "not UTF-8: read as UTF-16BE, which is a guess";
        check(&utf_16("a plain text", u16::to_be_bytes), "a plain text", Some(guessed));
    }

    #[test]
    fn an_old_encoding_is_guessed_and_told() {
        let warning = "not UTF-8: read as windows-1252, which is a guess";
        check(
            b"Die Stra\xdfe f\xfchrt \xfcber die gr\xfcne Br\xfccke.",
            "Die Straße führt über die grüne Brücke.",
            Some(warning),
        );
        let text = "こんにちは、世界。これは日本語の文章です。";
        let (bytes, _, _) = encoding_rs::SHIFT_JIS.encode(text);
        check(&bytes, text, Some("not UTF-8: read as Shift_JIS, which is a guess"));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(decode(b"ab\0cd").unwrap_err(), "expected text, got bytes with zeros in them");
        let noise: Vec<u8> = (1..=255).cycle().take(5000).collect();
        let error = decode(&noise).unwrap_err();
        assert_eq!(error, "expected text, got 639 control characters in the first 5000 bytes");
        let error = decode(b"\xff\xfea\0b").unwrap_err();
        assert!(
            error.starts_with("expected text in UTF-16LE, got bytes that this encoding does not have\nhint:"),
            "{error}"
        );
    }

    #[test]
    fn a_stream_tells_of_bytes_that_its_encoding_does_not_have() {
        let bytes = b"\xff\xfe\x00\xd8a\0";
        let detected = Detected::of(|| Ok(&bytes[..])).unwrap().unwrap();
        let error = detected.reader(&bytes[..]).read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_label_of_the_web_names_an_encoding() {
        let (text, warning) = decode_labelled(b"caf\xe9", b"latin1").unwrap().unwrap();
        assert_eq!(
            (text.as_str(), warning.unwrap().as_str()),
            ("café", "not UTF-8: read as windows-1252, as it says of itself")
        );
        assert!(decode_labelled(b"", b"no such").is_none());
    }
}
