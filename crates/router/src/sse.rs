//! Server-sent events as bytes come: lines first, then events, both bounded.
//!
//! Only `data` counts: what kind an event is stands in its JSON too, in every protocol here. Source: the HTML standard,
//! section 9.2.6 "Interpreting an event stream". A line that the connection was cut in is none.

use crate::failure::Trouble;

/// Bytes that a line may have; the longest pieces of known providers have some kilobytes.
pub(crate) const LONGEST_LINE: usize = 1 << 20;

/// Reads events.
#[derive(Default)]
pub(crate) struct Events {
    /// Bytes that came, from the beginning of the first line that was not read.
    buffer: Vec<u8>,
    /// How far of them was read.
    read: usize,
    /// The data of the event under way.
    data: Option<String>,
}

impl Events {
    /// Takes the bytes that came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next whole event; none where more bytes are needed.
    ///
    /// # Errors
    /// A line or an event that is too long, or that is no UTF-8.
    pub(crate) fn next(&mut self) -> Result<Option<String>, Trouble> {
        loop {
            let rest = &self.buffer[self.read..];
            let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
                return if rest.len() > LONGEST_LINE { Err(too_long()) } else { Ok(None) };
            };
            let line = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
            if line.len() > LONGEST_LINE {
                return Err(too_long());
            }
            let line = std::str::from_utf8(line)
                .map_err(|_| Trouble::passing("expected events as UTF-8 text, got other bytes"))?;
            let data = line.strip_prefix('\u{feff}').unwrap_or(line).strip_prefix("data:");
            let (is_end, data) = (line.is_empty(), data.map(|data| data.strip_prefix(' ').unwrap_or(data).to_owned()));
            self.read += length + 1;
            match (data, &mut self.data) {
                (Some(data), None) => self.data = Some(data),
                (Some(data), Some(whole)) if whole.len() + data.len() < LONGEST_LINE => {
                    whole.push('\n');
                    whole.push_str(&data);
                }
                (Some(_), Some(_)) => return Err(too_long()),
                (None, _) => {}
            }
            if is_end && self.data.is_some() {
                return Ok(self.data.take());
            }
        }
    }
}

fn too_long() -> Trouble {
    Trouble::passing(format!("expected events of at most {LONGEST_LINE} bytes, got a longer one"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(chunks: &[&[u8]]) -> Vec<String> {
        let (mut events, mut found) = (Events::default(), Vec::new());
        for chunk in chunks {
            events.push(chunk);
            while let Ok(Some(event)) = events.next() {
                found.push(event);
            }
        }
        found
    }

    #[test]
    fn events_are_read_as_the_standard_has_them() {
        let text = "\u{feff}data: a\n\n: comment\nevent: x\r\ndata:b\r\ndata:  c\r\n\r\nid: 1\n\ndata\n\ndata: cut";
        assert_eq!(all(&[text.as_bytes()]), ["a", "b\n c"]);
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_memory_is_full() {
        let mut events = Events::default();
        events.push(&vec![b'x'; LONGEST_LINE + 1]);
        let Trouble::Passing { why, .. } = events.next().unwrap_err() else { panic!() };
        assert_eq!(why, "expected events of at most 1048576 bytes, got a longer one");
        let mut events = Events::default();
        events.push(b"data: \xff\n\n");
        assert!(format!("{:?}", events.next().unwrap_err()).contains("expected events as UTF-8 text"));
    }

    proptest! {
        /// Wherever bytes are cut, in the middle of characters too, the events are the same.
        #[test]
        fn cuts_change_nothing(texts in prop::collection::vec("[a🙂ü]{0,9}", 1..6), cut in 1usize..7) {
            let whole: String = texts.iter().map(|text| format!("data: {text}\n\n")).collect();
            let chunks: Vec<&[u8]> = whole.as_bytes().chunks(cut).collect();
            prop_assert_eq!(all(&chunks), texts);
        }
    }
}
