//! Fetches one file: in ranges, over several connections, going on where an earlier try stopped, and checked.
//!
//! The first request asks for a small range. A server that honours it is asked for the rest in pieces, several at a
//! time where the file is large; one that does not sends the whole over that one connection. What arrives is noted by
//! `partial.rs`, so that a cut connection or a killed process costs little. The digest is computed over the complete
//! file, because pieces arrive out of order and some of them in an earlier process.
//! This file knows addresses, lengths and digests, nothing of models. Read next: `sources.rs`.

use crate::digest::Checksum;
use crate::http::{Http, Request, Retry, Trouble, reason};
use crate::lock::Lock;
use crate::partial::{self, Partial};
use crate::space::{self, FreeSpace};
use crate::{HubError, Progress};
use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderValue};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a file is cut.
#[derive(Debug, Clone, Copy)]
pub struct Pieces {
    /// Bytes of the first request, which finds out whether ranges are honoured.
    pub first: u64,
    /// Bytes of each further request, at least.
    pub least: u64,
    /// Bytes of each further request, at most.
    pub most: u64,
    /// Connections at once.
    pub connections: usize,
}

impl Default for Pieces {
    fn default() -> Pieces {
        Pieces { first: 1 << 20, least: 8 << 20, most: 64 << 20, connections: 4 }
    }
}

/// What is needed to download anything.
pub(crate) struct Downloader<'a> {
    pub(crate) http: &'a Http,
    pub(crate) folder: PathBuf,
    pub(crate) free_space: &'a FreeSpace,
    pub(crate) pieces: Pieces,
    pub(crate) progress: &'a dyn Progress,
}

/// One file to fetch.
pub(crate) struct Download {
    /// What the user is told is being fetched.
    pub(crate) what: String,
    pub(crate) request: Request,
    /// The length, where known before.
    pub(crate) bytes: Option<u64>,
    /// The digest, where known before.
    pub(crate) checksum: Option<Checksum>,
    /// Bytes that must stay free besides, for what is made of the file.
    pub(crate) reserve: u64,
}

impl Download {
    /// The name of the partial file. Bytes of a known digest may come from any source, so they share one.
    fn stem(&self) -> String {
        match &self.checksum {
            Some(checksum) => checksum.file_stem(),
            None => format!("url-{}", crate::digest::Sha256::of(self.request.url.as_str().as_bytes())),
        }
    }
}

/// A complete, checked file, still in the folder of partial files. Nobody else touches it while this is held.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) path: PathBuf,
    _lock: Lock,
}

impl Downloader<'_> {
    /// Fetches a file, or finds that it is there already.
    pub(crate) fn fetch(&self, download: &Download) -> Result<Fetched, HubError> {
        let stem = download.stem();
        let lock = Lock::acquire(&self.folder.join(format!("{stem}.lock")), || {
            self.progress.message(&format!("{}: another pull is fetching it; waiting for that", download.what));
        })?;
        let mut partial = Partial::open(&self.folder, &stem)?;
        if partial.total().is_some() && download.bytes.is_some() && partial.total() != download.bytes {
            partial.restart()?;
        }
        if !partial.is_complete() {
            if download.checksum.is_none() && partial.validator().is_none() && partial.done_bytes() > 0 {
                // Nothing tells whether the file is still the one that was begun.
                self.progress
                    .message(&format!("{}: nothing tells whether it has changed; starting over", download.what));
                partial.restart()?;
            }
            let transfer = Transfer {
                downloader: self,
                download,
                most_done: AtomicU64::new(partial.done_bytes()),
                partial: Mutex::new(partial),
                stop: AtomicBool::new(false),
                in_one_go: AtomicBool::new(false),
            };
            let result = transfer.run();
            partial = transfer.partial.into_inner().unwrap_or_else(PoisonError::into_inner);
            // What has arrived is kept whether the transfer went well or not.
            let saved = partial.save();
            result.and(saved)?;
        } else {
            self.progress.start(&download.what, partial.total(), partial.done_bytes());
        }
        self.check(download, &partial)?;
        self.progress.finish();
        Ok(Fetched { path: partial.path().to_path_buf(), _lock: lock })
    }

    fn check(&self, download: &Download, partial: &Partial) -> Result<(), HubError> {
        let got_bytes = partial.done_bytes();
        if !partial.is_complete() {
            let total = partial.total().map_or("an unknown number of".to_string(), |total| total.to_string());
            return Err(HubError::Refused {
                what: download.what.clone(),
                reason: format!("expected {total} bytes, got {got_bytes} of them"),
                hint: "pull again; what has arrived is kept".to_string(),
            });
        }
        if let Some(expected) = download.bytes.filter(|expected| *expected != got_bytes) {
            partial::discard(partial.path());
            return Err(HubError::WrongLength { what: download.what.clone(), expected, got: got_bytes });
        }
        let Some(expected) = download.checksum else { return Ok(()) };
        let got = expected.same_kind_of_file(partial.path()).map_err(HubError::io("read", partial.path()))?;
        if got != expected {
            partial::discard(partial.path());
            return Err(HubError::hash_mismatch(download.what.clone(), expected, got));
        }
        Ok(())
    }
}

/// A download under way.
struct Transfer<'a> {
    downloader: &'a Downloader<'a>,
    download: &'a Download,
    partial: Mutex<Partial>,
    /// Set when one connection fails for good, so that the others stop.
    stop: AtomicBool,
    /// Set once the file was found to differ between requests: answers to several would not fit together.
    in_one_go: AtomicBool,
    /// The most bytes that were here at any time.
    most_done: AtomicU64,
}

/// What the first request found out.
enum Found {
    /// The file is complete.
    Complete,
    /// Ranges are honoured; the whole is that long.
    Ranges(u64),
}

impl Transfer<'_> {
    fn run(&self) -> Result<(), HubError> {
        let mut retry = self.retry();
        {
            let partial = self.partial();
            let total = partial.total().or(self.download.bytes);
            let done = partial.done_bytes();
            self.downloader.progress.start(&self.download.what, total, done);
            if let Some(total) = total {
                self.check_space(total.saturating_sub(done))?;
            }
        }
        loop {
            let result = match self.first(&mut retry) {
                Ok(Found::Ranges(total)) => self.rest(total),
                first => first.map(|_| ()),
            };
            let trouble = match result {
                Ok(()) if self.partial().is_complete() => return Ok(()),
                Ok(()) => Trouble::Passing { reason: "parts of the file did not come".to_string(), pause: None },
                Err(trouble) => trouble,
            };
            // Here no connection is open, so that nothing of the old version can arrive after the new beginning.
            if matches!(trouble, Trouble::Changed) {
                self.in_one_go.store(true, Ordering::Relaxed);
                self.restart("the file has changed at its source")?;
            }
            // Where the server stopped honouring ranges, the next try takes what it gives.
            retry.after(trouble)?;
        }
    }

    /// Asks for the first missing piece, and learns what the server can do.
    fn first(&self, retry: &mut Retry) -> Result<Found, Trouble> {
        let (start, end) = self.partial().first_missing();
        let in_one_go = self.in_one_go.load(Ordering::Relaxed);
        let longest = if in_one_go { u64::MAX } else { self.downloader.pieces.first };
        let piece_end = start.saturating_add(longest);
        let end = end.map_or(piece_end, |end| end.min(piece_end));
        let headers = if in_one_go && start == 0 { HeaderMap::new() } else { self.range_headers(start, end) };
        let response = self.downloader.http.open(&self.download.request, &headers)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let (total, end) = self.accept_range(&response, start, end)?;
                self.receive(response, start, Some(end), retry)?;
                Ok(if self.partial().is_complete() { Found::Complete } else { Found::Ranges(total) })
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                if start == 0 && content_range(response.headers()).is_some_and(|(_, total)| total == 0) {
                    self.accept_total(Some(0), None)?;
                    return Ok(Found::Complete);
                }
                // The file is shorter than what is here: it is another file now.
                Err(Trouble::Changed)
            }
            _ => self.whole(response, retry),
        }
    }

    /// Takes the whole file over one connection, from its beginning.
    fn whole(&self, response: Response, retry: &mut Retry) -> Result<Found, Trouble> {
        if self.partial().done_bytes() > 0 {
            self.restart("the server sends only whole files")?;
        }
        let total = response.headers().get(header::CONTENT_LENGTH).and_then(number);
        self.accept_total(total, validator(response.headers()))?;
        let end = self.receive(response, 0, total.or(self.download.bytes), retry)?;
        self.partial().describe(Some(end), None);
        Ok(Found::Complete)
    }

    /// Fetches all that is missing in pieces, several at a time.
    fn rest(&self, total: u64) -> Result<(), Trouble> {
        let pieces = self.downloader.pieces;
        let missing = self.partial().missing(total);
        let left: u64 = missing.iter().map(|(start, end)| end - start).sum();
        let share = left / (pieces.connections.max(1) as u64 * 2);
        let size = share.clamp(pieces.least.max(1), pieces.most.max(pieces.least).max(1));
        let mut queue = VecDeque::new();
        for (start, end) in missing {
            let mut at = start;
            while at < end {
                let next = at.saturating_add(size).min(end);
                queue.push_back((at, next));
                at = next;
            }
        }
        let workers = pieces.connections.clamp(1, queue.len().max(1));
        let queue = Mutex::new(queue);
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    if let Err(trouble) = self.work(&queue) {
                        self.stop.store(true, Ordering::Relaxed);
                        // The first failure is the telling one; the others only stopped.
                        hold(&failure).get_or_insert(trouble);
                    }
                });
            }
        });
        self.stop.store(false, Ordering::Relaxed);
        hold(&failure).take().map_or(Ok(()), Err)
    }

    /// One connection: takes pieces until none is left.
    fn work(&self, queue: &Mutex<VecDeque<(u64, u64)>>) -> Result<(), Trouble> {
        while !self.stop.load(Ordering::Relaxed) {
            let Some((mut start, end)) = hold(queue).pop_front() else { return Ok(()) };
            // A connection was open a moment ago: one that is lost now is worth more than a knock.
            let mut retry = self.retry().of_reached();
            while start < end && !self.stop.load(Ordering::Relaxed) {
                match self.piece(start, end, &mut retry) {
                    Ok(()) => break,
                    Err(Trouble::Changed) => return Err(Trouble::Changed),
                    Err(trouble @ Trouble::Passing { pause: None, .. }) if self.lost_ranges(&trouble) => {
                        return Err(trouble);
                    }
                    // Another connection failed for good; this one only stopped.
                    Err(_) if self.stop.load(Ordering::Relaxed) => return Ok(()),
                    Err(trouble) => retry.after(trouble)?,
                }
                start = self
                    .partial()
                    .missing(end)
                    .into_iter()
                    .find(|gap| gap.1 > start)
                    .map_or(end, |gap| gap.0.max(start));
            }
        }
        Ok(())
    }

    fn piece(&self, start: u64, end: u64, retry: &mut Retry) -> Result<(), Trouble> {
        let response = self.downloader.http.open(&self.download.request, &self.range_headers(start, end))?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(Trouble::Passing { reason: NO_RANGES.to_string(), pause: None });
        }
        let (_, got_end) = self.accept_range(&response, start, end)?;
        self.receive(response, start, Some(got_end), retry)?;
        if got_end < end {
            return Err(Trouble::Passing { reason: "the server sent a shorter range".to_string(), pause: None });
        }
        Ok(())
    }

    /// Bytes that the download has more than it ever had before. What comes again, after the file was begun anew, is none:
    /// a server that breaks off every time must not keep us for ever.
    fn growth(&self) -> u64 {
        let done = self.partial().done_bytes();
        done.saturating_sub(self.most_done.fetch_max(done, Ordering::Relaxed))
    }

    fn lost_ranges(&self, trouble: &Trouble) -> bool {
        matches!(trouble, Trouble::Passing { reason, .. } if reason == NO_RANGES)
    }

    /// Copies a body to its place in the file; returns where it ended. With an `end`, no byte beyond it is taken and a
    /// body that ends before it is a cut connection.
    fn receive(&self, mut response: Response, start: u64, end: Option<u64>, retry: &mut Retry) -> Result<u64, Trouble> {
        let path = self.partial().path().to_path_buf();
        let mut file = self.partial().writer()?;
        file.seek(SeekFrom::Start(start)).map_err(HubError::io("write", &path))?;
        let mut buffer = vec![0; 1 << 17];
        let mut at = start;
        while end.is_none_or(|end| at < end) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Trouble::Passing { reason: "stopped".to_string(), pause: None });
            }
            let wanted = end.map_or(buffer.len() as u64, |end| (end - at).min(buffer.len() as u64));
            let window = &mut buffer[..usize::try_from(wanted).unwrap_or(1 << 17)];
            let count = match response.read(window) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Trouble::Passing { reason: reason(&error), pause: None }),
            };
            if count == 0 {
                break;
            }
            self.write(&mut file, &path, &window[..count])?;
            self.partial().arrived(at, at + count as u64)?;
            at += count as u64;
            self.downloader.progress.advance(count as u64);
            retry.progressed(self.growth());
        }
        match end {
            Some(end) if at < end => {
                let reason = format!("the connection ended {} bytes too early", end - at);
                Err(Trouble::Passing { reason, pause: None })
            }
            _ => Ok(at),
        }
    }

    fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> Result<(), HubError> {
        file.write_all(bytes).map_err(|error| {
            if error.kind() == std::io::ErrorKind::StorageFull {
                let free = (self.downloader.free_space)(&self.downloader.folder).unwrap_or(0);
                let partial = self.partial();
                let needed = partial.total().map_or(bytes.len() as u64, |total| total - partial.done_bytes());
                return HubError::DiskFull { path: self.downloader.folder.clone(), needed, free };
            }
            HubError::io("write", path)(error)
        })
    }

    /// Checks a 206 answer against what was asked and what is known; returns the total and where this range ends.
    fn accept_range(&self, response: &Response, start: u64, end: u64) -> Result<(u64, u64), Trouble> {
        let wrong = |reason: String| HubError::Refused {
            what: self.download.what.clone(),
            reason,
            hint: "the server is not what it should be; use another source".to_string(),
        };
        let got = content_range(response.headers());
        let Some((Some((got_start, got_last)), total)) = got else {
            return Err(wrong("expected a Content-Range with a total, got none".to_string()).into());
        };
        if got_start != start || got_last < start || got_last >= total {
            return Err(wrong(format!("asked for bytes from {start}, got {got_start}-{got_last}/{total}")).into());
        }
        self.accept_total(Some(total), validator(response.headers()))?;
        Ok((total, end.min(got_last + 1)))
    }

    /// Compares a total with what is known, and makes sure that the disk can take it.
    fn accept_total(&self, total: Option<u64>, validator: Option<String>) -> Result<(), Trouble> {
        if let (Some(expected), Some(got)) = (self.download.bytes, total)
            && expected != got
        {
            return Err(HubError::WrongLength { what: self.download.what.clone(), expected, got }.into());
        }
        let (known, known_validator, done) = {
            let partial = self.partial();
            (partial.total(), partial.validator().map(str::to_string), partial.done_bytes())
        };
        let changed = known.is_some() && total.is_some() && known != total;
        // Where the digest is known, bytes of other versions or servers are welcome: they are the same or found out.
        let other_version =
            self.download.checksum.is_none() && known_validator.is_some() && known_validator != validator;
        if done > 0 && (changed || other_version) {
            return Err(Trouble::Changed);
        }
        if known.is_none() || changed || other_version {
            self.partial().describe(total, validator);
            if let Some(total) = total {
                self.check_space(total.saturating_sub(done))?;
                self.downloader.progress.start(&self.download.what, Some(total), done);
            }
        }
        Ok(())
    }

    fn check_space(&self, missing: u64) -> Result<(), HubError> {
        let needed = missing.saturating_add(self.download.reserve);
        space::check(self.downloader.free_space, &self.downloader.folder, needed)
    }

    fn restart(&self, why: &str) -> Result<(), HubError> {
        self.downloader.progress.message(&format!("{}: {why}; starting over", self.download.what));
        self.partial().restart()?;
        self.downloader.progress.start(&self.download.what, self.download.bytes, 0);
        Ok(())
    }

    fn range_headers(&self, start: u64, end: u64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let range = format!("bytes={start}-{}", end.saturating_sub(1).max(start));
        headers.insert(header::RANGE, HeaderValue::from_str(&range).expect("digits are a header; this is a bug"));
        headers
    }

    fn retry(&self) -> Retry {
        Retry::new(self.downloader.http.policy, self.download.request.shown())
    }

    fn partial(&self) -> MutexGuard<'_, Partial> {
        hold(&self.partial)
    }
}

const NO_RANGES: &str = "the server stopped sending ranges";

/// A lock whose holder panicked still guards sound data here: every change is a single call.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.trim().parse().ok()
}

/// `bytes first-last/total` or `bytes */total` (RFC 9110, section 14.4).
fn content_range(headers: &HeaderMap) -> Option<(Option<(u64, u64)>, u64)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let total = total.parse().ok()?;
    if range == "*" {
        return Some((None, total));
    }
    let (first, last) = range.split_once('-')?;
    Some((Some((first.parse().ok()?, last.parse().ok()?)), total))
}

/// What the server calls this version of a file. Weak tags do not promise equal bytes.
fn validator(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| !tag.starts_with("W/"));
    let tag = tag.or_else(|| headers.get(header::LAST_MODIFIED)?.to_str().ok());
    tag.map(str::to_string)
}
