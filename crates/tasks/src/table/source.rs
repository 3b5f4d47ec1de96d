//! A file of text as a stream of UTF-8, with a bound on what one row may take.

use super::{LONGEST_ROW_BYTES, data, unreadable};
use crate::TaskError;
use crate::encoding::{Detected, TextReader};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// A file of text: what it is encoded in is known, so that it can be opened again and again.
pub struct Source<'a> {
    path: &'a Path,
    detected: Detected,
}

impl<'a> Source<'a> {
    /// Reads the file once, to know its encoding.
    pub fn open(path: &'a Path) -> Result<Source<'a>, TaskError> {
        let length = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
        if length == 0 {
            return Err(data(path, super::EMPTY));
        }
        let detected = Detected::of(|| File::open(path)).map_err(|error| unreadable(path, &error))?;
        let detected = detected.map_err(|reason| data(path, &reason))?;
        Ok(Source { path, detected })
    }

    /// The text from its beginning.
    pub fn text(&self) -> Result<BoundedReader<TextReader<File>>, TaskError> {
        let file = File::open(self.path).map_err(|error| unreadable(self.path, &error))?;
        Ok(BoundedReader { reader: self.detected.reader(file), left: LONGEST_ROW_BYTES })
    }

    /// The same, to be read line by line.
    pub fn lines(&self) -> Result<BufReader<TextReader<File>>, TaskError> {
        let file = File::open(self.path).map_err(|error| unreadable(self.path, &error))?;
        Ok(BufReader::new(self.detected.reader(file)))
    }

    /// What to tell of the encoding.
    pub fn warnings(&self) -> Vec<String> {
        self.detected.warning().into_iter().collect()
    }
}

/// Fails once more was read than a row may have, since it was told of the last row.
#[derive(Debug)]
pub struct BoundedReader<R> {
    reader: R,
    left: u64,
}

impl<R> BoundedReader<R> {
    /// Of any bytes, for tests and fuzzers.
    pub fn new(reader: R) -> BoundedReader<R> {
        BoundedReader { reader, left: LONGEST_ROW_BYTES }
    }

    /// A row ended.
    pub fn begin_row(&mut self) {
        self.left = LONGEST_ROW_BYTES;
    }
}

impl<R: Read> Read for BoundedReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            let reason = format!("expected rows of at most {LONGEST_ROW_BYTES} bytes, got a longer one");
            let hint = "a quote that nobody closes makes one row of all that follows";
            io::Error::new(io::ErrorKind::InvalidData, format!("{reason}\nhint: {hint}"))
        })?;
        Ok(read)
    }
}
