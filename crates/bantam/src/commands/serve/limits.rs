//! The named bound for everything that a client can make grow, a flag each.
//!
//! The defaults are those of `server` and `local`; the help shows them.

use chat::KeepAlive;
use local::LoadOptions;
use server::{FilesOptions, ServerOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Bounds of requests, connections and memory.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Requests under way at once, those that wait for a model included; more are answered 429 with Retry-After
    #[arg(long, value_name = "N", default_value_t = defaults().max_requests, value_parser = at_least_one())]
    pub max_requests: usize,
    /// Requests that wait in each model while others are answered; more are answered 429 with Retry-After
    #[arg(long, value_name = "N", default_value_t = QUEUE)]
    max_queue: usize,
    /// Open connections; more are closed at once
    #[arg(long, value_name = "N", default_value_t = defaults().max_connections, value_parser = at_least_one())]
    pub max_connections: usize,
    /// Size of a request's body, files of models left aside
    #[arg(long, value_name = "SIZE", default_value = MAX_BODY, value_parser = size)]
    pub max_body_bytes: u64,
    /// Size of a file that is uploaded for a batch
    #[arg(long, value_name = "SIZE", default_value = MAX_FILE, value_parser = size)]
    max_file_bytes: u64,
    /// Size of all files together, beyond which no upload is taken
    #[arg(long, value_name = "SIZE", default_value = MAX_FILES, value_parser = size)]
    max_files_bytes: u64,
    /// Tokens of a prompt; the default is what the context holds
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub max_prompt_tokens: Option<usize>,
    /// Seconds that the headers of a request may take, and the handshake of TLS
    #[arg(long, value_name = "SECONDS", default_value_t = defaults().header_timeout.as_secs(), value_parser = seconds())]
    pub header_timeout: u64,
    /// Seconds that the body of a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = defaults().body_timeout.as_secs(), value_parser = seconds())]
    pub body_timeout: u64,
    /// Seconds from a request's headers to the end of its answer; a request's x-request-timeout may ask for less
    #[arg(long, value_name = "SECONDS", default_value_t = defaults().request_timeout.as_secs(), value_parser = seconds())]
    pub request_timeout: u64,
    /// Seconds that answers under way may go on after the server was told to end
    #[arg(long, value_name = "SECONDS", default_value_t = defaults().drain.as_secs())]
    pub drain_seconds: u64,
    /// How long a model that nobody asks stays in memory (5m, 1h, 90 for seconds, 0, -1 for ever); requests may say
    /// otherwise, and models named on the command line stay
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = keep_alive, allow_negative_numbers = true)]
    keep_alive: KeepAlive,
    /// Memory that all models together may take (8GB, 512MB); the default is what is free
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Memory for keys and values in each model, taken when it is loaded; the default is what --sequences need
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "sequences")]
    kv_memory: Option<u64>,
    /// Sequences of the full context that have a place in memory at once, in each model; shorter ones share it
    #[arg(long, value_name = "N", default_value_t = SEQUENCES, value_parser = at_least_one())]
    sequences: usize,
}

/// Sequences of the full context where nobody says: most requests are far shorter, so that many more run at once.
const SEQUENCES: usize = 4;

/// The server's own bound of a body, as the help shows it.
const MAX_BODY: &str = "16MiB";

/// The server's own bounds of files, as the help shows them.
const MAX_FILE: &str = "200MiB";
const MAX_FILES: &str = "10GiB";

/// Requests that wait where nobody says: more than a small model answers within the patience of who asked.
const QUEUE: usize = 256;

impl LimitArgs {
    /// How long models stay where a request leaves it open.
    pub fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// These bounds in place of the defaults.
    pub fn bound(&self, options: ServerOptions) -> ServerOptions {
        ServerOptions {
            keep_alive: self.keep_alive,
            max_connections: self.max_connections,
            header_timeout: Duration::from_secs(self.header_timeout),
            body_timeout: Duration::from_secs(self.body_timeout),
            max_body_bytes: usize::try_from(self.max_body_bytes).unwrap_or(usize::MAX),
            max_prompt_tokens: self.max_prompt_tokens,
            max_requests: self.max_requests,
            request_timeout: Duration::from_secs(self.request_timeout),
            drain: Duration::from_secs(self.drain_seconds),
            ..options
        }
    }

    /// Where files of clients are kept, within these bounds.
    pub fn files(&self, folder: PathBuf) -> FilesOptions {
        let (max_file_bytes, max_bytes) = (self.max_file_bytes, self.max_files_bytes);
        FilesOptions { max_file_bytes, max_bytes, ..FilesOptions::in_folder(folder) }
    }

    /// Those of them that concern the memory of models.
    pub fn load_options(&self, options: LoadOptions) -> LoadOptions {
        let LimitArgs { memory, kv_memory, sequences, max_queue, .. } = *self;
        LoadOptions { memory, kv_memory, sequences, max_waiting: Some(max_queue), ..options }
    }
}

fn defaults() -> ServerOptions {
    ServerOptions::at(SocketAddr::from(([127, 0, 0, 1], crate::address::PORT)))
}

fn at_least_one() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser;
    clap::value_parser!(u64).range(1..).try_map(usize::try_from)
}

/// Up to a year.
fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=31_536_000)
}

/// A size in bytes, or in a larger unit.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("k", 1_000),
        ("m", 1_000_000),
        ("g", 1_000_000_000),
        ("b", 1),
    ];
    let lower = text.trim().to_ascii_lowercase();
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((lower.strip_suffix(unit)?, *bytes)));
    let (number, unit) = unit.unwrap_or((&lower, 1));
    let wrong = || format!("expected a size above 0, as 8GB, 512MiB or a number of bytes, got {text:?}");
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let bytes = number * unit as f64;
    // Beyond 2^53 not every number of bytes can be told from the next; no machine has as many.
    if !(1.0..=9_007_199_254_740_992.0).contains(&bytes) {
        return Err(wrong());
    }
    Ok(bytes as u64)
}

/// A time: a number of seconds, or with a unit; below 0 is for ever.
fn keep_alive(text: &str) -> Result<KeepAlive, String> {
    const UNITS: &[(&str, f64)] = &[("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];
    let wrong = || format!("expected a time, as 5m, 1h, 90 or -1, got {text:?}");
    let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, unit) = unit.unwrap_or((text, 1.0));
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit;
    if seconds < 0.0 {
        return Ok(KeepAlive::Forever);
    }
    Duration::try_from_secs_f64(seconds).map(KeepAlive::For).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("8GB", 8_000_000_000),
            ("1.5g", 1_500_000_000),
            ("512 MiB", 512 << 20),
            ("16mib", 16 << 20),
            ("1000", 1000),
            ("10kb", 10_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "0", "-1GB", "GB", "1TB!", "nan", "inf", "1e300"] {
            assert!(size(wrong).unwrap_err().ends_with(&format!("got {wrong:?}")), "{wrong}");
        }
        let files = FilesOptions::in_folder(PathBuf::new());
        let bounds = (Ok(files.max_file_bytes), Ok(files.max_bytes));
        assert_eq!((size(MAX_FILE), size(MAX_FILES)), bounds, "the help's defaults are the server's");
        assert_eq!(size(MAX_BODY), Ok(defaults().max_body_bytes as u64), "the help's default is the server's");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let seconds = |seconds| Ok(KeepAlive::For(Duration::from_secs(seconds)));
        assert_eq!(keep_alive("5m"), seconds(300));
        assert_eq!(keep_alive("90"), seconds(90));
        assert_eq!(keep_alive("0"), seconds(0));
        assert_eq!(keep_alive("1.5h"), seconds(5400));
        assert_eq!(keep_alive("-1"), Ok(KeepAlive::Forever));
        assert_eq!(keep_alive("-1m"), Ok(KeepAlive::Forever));
        for wrong in ["", "m", "5 minutes", "nan", "inf", "1e30d"] {
            assert!(keep_alive(wrong).unwrap_err().ends_with(&format!("got {wrong:?}")), "{wrong}");
        }
        assert_eq!(keep_alive("5m").unwrap(), defaults().keep_alive, "the help's default is the server's");
    }
}
