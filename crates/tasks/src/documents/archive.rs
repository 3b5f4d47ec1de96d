//! Zip archives, whose declared sizes nobody has to believe.
//!
//! docx and xlsx files are zip archives of XML. A few kilobytes can hold gigabytes: what comes out
//! of an archive is counted while it is unpacked, and stops at a bound. It knows nothing of what is in the files.

use std::io::{Read, Seek, Write};
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

/// More files than any honest document is made of.
const MOST_FILES: usize = 20_000;

/// An archive of documents.
pub struct Archive<R> {
    zip: ZipArchive<R>,
    /// All of it may unpack to so many bytes, of which so many are left.
    most_bytes: u64,
    left: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the list of files of an archive that may unpack to so many bytes.
    ///
    /// # Errors
    /// It is no zip archive, or has too many files.
    pub fn open(reader: R, most_bytes: u64) -> Result<Archive<R>, String> {
        let zip = ZipArchive::new(reader).map_err(|error| {
            let hint = "a file of an older format under a new name has to be saved anew by the program that made it";
            format!("expected a zip archive, got none: {error}\nhint: {hint}")
        })?;
        if zip.len() > MOST_FILES {
            return Err(format!("expected an archive of at most {MOST_FILES} files, got {}", zip.len()));
        }
        Ok(Archive { zip, most_bytes, left: most_bytes })
    }

    /// The names of all files, in the order of the archive. Names in no encoding that is known are no names that a
    /// reader asks for.
    pub fn names(&self) -> Vec<String> {
        self.zip.file_names().flatten().map(|name| name.into_owned()).collect()
    }

    /// Unpacks a file; none where the archive has no file of that name.
    ///
    /// # Errors
    /// The file is damaged, protected, or takes more than is left of what the whole archive may take.
    pub fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let file = match self.zip.by_name(name) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(cannot(name, &error)),
        };
        let mut bytes = Vec::new();
        copy(file, self.most_bytes, &mut self.left, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Unpacks all files and keeps nothing, to know that it takes no more than it may. For readers that unpack
    /// without a bound.
    ///
    /// # Errors
    /// As [`Archive::read`].
    pub fn check_sizes(&mut self) -> Result<(), String> {
        for index in 0..self.zip.len() {
            let file = self.zip.by_index(index).map_err(|error| cannot(&format!("file {index}"), &error))?;
            copy(file, self.most_bytes, &mut self.left, &mut std::io::sink())?;
        }
        Ok(())
    }
}

fn copy<R: Read>(file: ZipFile<'_, R>, most_bytes: u64, left: &mut u64, into: &mut impl Write) -> Result<(), String> {
    let name = String::from_utf8_lossy(file.name_raw()).into_owned();
    let copied = std::io::copy(&mut file.take(*left + 1), into).map_err(|error| cannot(&name, &error))?;
    *left = left
        .checked_sub(copied)
        .ok_or_else(|| format!("expected an archive that unpacks to at most {most_bytes} bytes, got more in {name}"))?;
    Ok(())
}

fn cannot(name: &str, error: &dyn std::fmt::Display) -> String {
    format!("{name} in the archive cannot be unpacked: {error}")
}
