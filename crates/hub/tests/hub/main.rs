//! The hub against real servers, real client programs' protocols and real file systems, through its public API.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail like tests")]

mod create;
mod downloads;
mod huggingface;
mod import;
mod names;
mod network;
mod ollama;
#[cfg(unix)]
mod packages;
mod server;
mod store;

use hub::{Home, Hub, HubOptions, Pieces, Progress, RetryPolicy, Servers, Sha256};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A sound GGUF file of exactly `bytes` bytes whose content depends on `seed`.
pub(crate) fn gguf(bytes: usize, seed: u64) -> Vec<u8> {
    let text = |text: &str| [(text.len() as u64).to_le_bytes().as_slice(), text.as_bytes()].concat();
    let mut file = b"GGUF".to_vec();
    file.extend(3u32.to_le_bytes());
    file.extend(1u64.to_le_bytes());
    file.extend(1u64.to_le_bytes());
    file.extend(text("general.architecture"));
    file.extend(8u32.to_le_bytes());
    file.extend(text("llama"));
    file.extend(text("weight"));
    file.extend(1u32.to_le_bytes());
    let data = 128;
    file.extend(((bytes - data) as u64 / 4).to_le_bytes());
    file.extend(0u32.to_le_bytes());
    file.extend(0u64.to_le_bytes());
    assert!(file.len() <= data && bytes.is_multiple_of(4));
    file.resize(data, 0);
    let mut state = 2 * seed + 1;
    while file.len() < bytes {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        file.push((state >> 56) as u8);
    }
    file
}

/// Options that touch nothing outside the test: no servers, no programs, no proxies, no long pauses.
pub(crate) fn options() -> HubOptions {
    let nowhere = "http://127.0.0.1:9".to_string();
    HubOptions {
        servers: Servers { huggingface: nowhere.clone(), ollama: nowhere, huggingface_token: None },
        search_path: Default::default(),
        retry: RetryPolicy {
            attempts: 3,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(4),
            stall: Duration::from_secs(10),
        },
        pieces: Pieces { first: 1000, least: 3000, most: 5000, connections: 3 },
        proxies: false,
        free_space: Arc::new(|_: &Path| Ok(1 << 40)),
    }
}

/// What a pull told.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<String>>);

impl Told {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    fn push(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

impl Progress for Told {
    fn start(&self, what: &str, total: Option<u64>, done: u64) {
        self.push(format!("start {what} {total:?} {done}"));
    }

    fn advance(&self, _: u64) {}

    fn message(&self, text: &str) {
        self.push(text.to_string());
    }

    fn finish(&self) {
        self.push("finish".to_string());
    }
}

/// A data directory of its own.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn home(&self) -> Home {
        Home::at(self.folder.path().join("home"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Adds a catalog row `mine:1b` with the given pinned keys and sources.
    pub(crate) fn catalog(&self, pinned: &str, sources: &[String]) -> &Place {
        let mut text = format!(
            "[[model]]\nname = \"mine:1b\"\nfamily = \"llama\"\nparameters = 1\ncontext = 1\nlicence = \"mit\"\n\
             quantization = \"f32\"\n{pinned}\n"
        );
        for source in sources {
            text.push_str(&format!("[[model.source]]\n{source}\n"));
        }
        std::fs::create_dir_all(self.home().catalogs()).unwrap();
        std::fs::write(self.home().catalogs().join("mine.toml"), text).unwrap();
        self
    }

    pub(crate) fn hub(&self) -> Hub {
        self.hub_with(options())
    }

    pub(crate) fn hub_with(&self, options: HubOptions) -> Hub {
        Hub::open(self.home(), options).unwrap()
    }

    /// Names of the files in a folder of the data directory.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.home().root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
        names.sort();
        names
    }
}

pub(crate) fn pinned(bytes: &[u8]) -> String {
    format!("sha256 = \"{}\"\nbytes = {}", Sha256::of(bytes), bytes.len())
}

pub(crate) fn url_source(url: &str) -> String {
    format!("kind = \"url\"\nurl = \"{url}\"")
}

/// Pulls a name; an error's text is what is looked at most.
pub(crate) fn pull(hub: &Hub, name: &str, told: &Told) -> Result<hub::Manifest, String> {
    let reference = hub.resolve(name).map_err(|error| error.to_string())?;
    hub.pull(&reference, told).map_err(|error| error.to_string())
}

/// The bytes of a model of one file, as a reader would see them.
pub(crate) fn content(hub: &Hub, name: &str) -> Vec<u8> {
    std::fs::read(hub.locate(&hub.resolve(name).unwrap()).unwrap()).unwrap()
}
