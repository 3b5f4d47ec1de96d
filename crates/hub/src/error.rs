//! What can go wrong between a model's name and its bytes, by what a caller may do about it.
//!
//! Texts are complete for a user: what was expected, what was got, and a hint. Addresses are shown without query and
//! credentials, because those may be secrets.

use crate::digest::Checksum;
use crate::sources::has_prefix;
use std::path::{Path, PathBuf};

/// An error of the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Nothing is called that.
    #[error(
        "no model {text:?}{}\nhint: `bantam list --available` shows the catalog; hf:owner/repo and ollama:name[:tag] name others",
        nearest_text(nearest)
    )]
    UnknownModel {
        /// What was asked for.
        text: String,
        /// Names that are near, the nearest first.
        nearest: Vec<String>,
    },
    /// The catalog has the model, but this program cannot run it yet.
    #[error("{model} is not supported yet: {reason}\nhint: `bantam list --available` shows the models that run")]
    UnsupportedModel {
        /// The catalog's name.
        model: String,
        /// The catalog's reason.
        reason: String,
    },
    /// A name or reference that cannot be one.
    #[error("{text:?}: expected {expected}\nhint: names are made of letters, digits and . _ - + : / @")]
    BadName {
        /// What was given.
        text: String,
        /// What it should look like.
        expected: String,
    },
    /// A catalog file is wrong; mend it.
    #[error(
        "{file}{}: {reason}\nhint: mend the file; the shape of a catalog is described in crates/hub/README.md",
        line_text(*line)
    )]
    Catalog {
        /// The file.
        file: String,
        /// The line, where known.
        line: Option<usize>,
        /// What is wrong with it.
        reason: String,
    },
    /// A server cannot be reached at all.
    #[error(
        "cannot reach {host} (no network, or none that leads there): {reason}\nhint: connect, or set HTTPS_PROXY where a proxy is needed; models in the store run without a network"
    )]
    Offline {
        /// The server.
        host: String,
        /// What was tried and how it failed.
        reason: String,
    },
    /// A server's certificate is signed by nobody that this machine trusts.
    #[error(
        "{host}: its certificate is not trusted: {reason}\nhint: a proxy that reads what passes signs with its own authority: add that one to the system's certificates, or name its file in SSL_CERT_FILE"
    )]
    Distrusted {
        /// The server.
        host: String,
        /// Why not.
        reason: String,
    },
    /// The server wants a consent or a token first.
    #[error(
        "{what} is gated ({status})\nhint: visit {page} and accept its terms, then set HF_TOKEN to a token of your account"
    )]
    Gated {
        /// The repository.
        what: String,
        /// The server's answer.
        status: u16,
        /// The page to visit.
        page: String,
    },
    /// The server refuses us, and has no page to visit.
    #[error("{what}: the server refuses access ({status})\nhint: the name may be wrong or private")]
    Denied {
        /// The address.
        what: String,
        /// The server's answer.
        status: u16,
    },
    /// The source is there, the thing is not.
    #[error("{what}: not found\nhint: {hint}")]
    NotFound {
        /// The repository, file, package or address.
        what: String,
        /// What to check.
        hint: String,
    },
    /// Several files answer to the name.
    #[error("{what} could be any of: {}\nhint: name one of them after a colon", choices.join(", "))]
    Ambiguous {
        /// What was asked for.
        what: String,
        /// The files.
        choices: Vec<String>,
    },
    /// A server or a client program answered what it should not.
    #[error("{what}: {reason}\nhint: {hint}")]
    Refused {
        /// The address or program.
        what: String,
        /// Expected and got.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The source needs a program that is not here.
    #[error(
        "skipped: {program} is not installed, which {source_name} needs\nhint: install it, or rely on another source"
    )]
    ClientAbsent {
        /// The source.
        source_name: String,
        /// The program.
        program: String,
    },
    /// The bytes are others than those expected. They were thrown away.
    #[error(
        "{what}: expected {expected}, got {got}\nhint: nothing was kept; the source has another file, or something on the way changes it"
    )]
    HashMismatch {
        /// The file.
        what: String,
        /// What the catalog or the source promised.
        expected: String,
        /// What came.
        got: String,
    },
    /// More or fewer bytes than promised.
    #[error(
        "{what}: expected {expected} bytes, got {got}\nhint: the source has another file, or lies about its length"
    )]
    WrongLength {
        /// The file.
        what: String,
        /// What the catalog or the source promised.
        expected: u64,
        /// What the server says or sent.
        got: u64,
    },
    /// The disk cannot take it.
    #[error("{}: disk full: needs {needed} bytes, free {free}\nhint: free some space (`bantam rm`), or set BANTAM_HOME to a larger disk", path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// Bytes still to be written.
        needed: u64,
        /// Bytes that may be written.
        free: u64,
    },
    /// No source had the model; each one's failure is here.
    #[error("no source could give {model}:{}\nhint: {}", failures_text(failures), failures_hint(failures))]
    NoSource {
        /// The model.
        model: String,
        /// Each source with its failure, in the order tried.
        failures: Vec<(String, HubError)>,
    },
    /// The store has no such model.
    #[error(
        "{name:?} is not in the store{}\nhint: `bantam list` shows what is; `bantam pull` fetches",
        nearest_text(nearest)
    )]
    NotInStore {
        /// The name.
        name: String,
        /// Names that are near.
        nearest: Vec<String>,
    },
    /// A name that is already taken.
    #[error("{name:?} is already in the store\nhint: remove it with `bantam rm {name}`, or take another name")]
    Taken {
        /// The name.
        name: String,
    },
    /// A name that stands for other bytes.
    #[error("{name:?} cannot be the name of this model: {reason}\nhint: take another name")]
    Reserved {
        /// The name.
        name: String,
        /// What it stands for.
        reason: String,
    },
    /// A manifest in the store is damaged.
    #[error("{}: {reason}\nhint: pull or import the model again", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What arrived is no model. It was thrown away.
    #[error("{what}: {reason}\nhint: nothing was kept; the source has something else under this name")]
    NotAModel {
        /// The file.
        what: String,
        /// Expected and got.
        reason: String,
    },
    /// A file of this machine is no model, or a damaged one.
    #[error(transparent)]
    Format(#[from] formats::FormatError),
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}\nhint: check the path, its rights and the disk", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's own account.
        source: std::io::Error,
    },
}

impl HubError {
    /// For `map_err`: what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HubError {
        let path = path.to_path_buf();
        move |source| HubError::Io { action, path, source }
    }

    /// Bytes of another digest than promised.
    pub(crate) fn hash_mismatch(what: impl Into<String>, expected: Checksum, got: Checksum) -> HubError {
        HubError::HashMismatch { what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }

    /// Whether the failure says that a server could not be reached at all.
    pub fn is_offline(&self) -> bool {
        match self {
            HubError::Offline { .. } => true,
            HubError::NoSource { failures, .. } => failures.iter().any(|(_, failure)| failure.is_offline()),
            _ => false,
        }
    }

    /// Whether another source cannot do better: the fault is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, HubError::DiskFull { .. } | HubError::Io { .. } | HubError::Manifest { .. })
    }
}

fn nearest_text(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        [elsewhere] if has_prefix(elsewhere) => format!("; perhaps {elsewhere} is meant"),
        _ => format!("; the nearest names are {}", nearest.join(", ")),
    }
}

fn line_text(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

fn failures_text(failures: &[(String, HubError)]) -> String {
    let mut text = String::new();
    for (source, failure) in failures {
        text.push_str(&format!("\n  {source}: {}", failure.to_string().replace('\n', "\n    ")));
    }
    text
}

fn failures_hint(failures: &[(String, HubError)]) -> &'static str {
    if failures.is_empty() {
        "the catalog names no source for it; add one in catalog.d"
    } else if failures.iter().any(|(_, failure)| failure.is_offline()) {
        "connect to the network and pull again; what has arrived is kept"
    } else {
        "pull again later, or add a source in catalog.d; what has arrived is kept"
    }
}
