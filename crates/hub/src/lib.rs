//! Finds models by name, fetches them from whichever source answers, checks them, and keeps them.
//!
//! A name becomes a [`ModelRef`]; the catalog, a hub or a registry gives it sources; one of them gives bytes; bytes that
//! match their digest become blobs of the store; a manifest gives them a name. This crate does not know what is in a
//! model beyond what `formats` needs to recognise one, and draws nothing: it tells a [`Progress`].
//!
//! Read next: `hub.rs`, then `model_ref.rs`, `catalog.rs`, `sources.rs`, `download.rs` and `store.rs`.

#![forbid(unsafe_code)]

mod hub;
mod pull;

mod model_ref;
mod nearest;

mod catalog;

mod sources;

mod archive;
mod download;
mod http;
mod partial;
mod space;

mod adapter;
mod create;
mod upload;

mod digest;
mod home;
mod import;
mod lock;
mod manifest;
mod store;
mod sweep;

mod error;
mod prepared;
mod progress;

pub use adapter::is_adapter;
pub use catalog::{Catalog, CatalogModel, Shape};
pub use create::{CreatedFrom, NewModel};
pub use digest::{Checksum, NotSha256, Sha256};
pub use download::Pieces;
pub use error::HubError;
pub use home::Home;
pub use http::{RetryPolicy, use_our_tls};
pub use hub::{Hub, HubOptions};
pub use import::{Found, FoundModels, OTHER_STORES, OtherStore, Skipped, bytes_at, model_files};
pub use manifest::{DigestOrigin, FileRole, Manifest, ManifestFile, OpeningMessage, Settings, UnknownFields};
pub use model_ref::{Lookup, ModelRef};
pub use progress::{Progress, Silent};
pub use sources::Servers;
pub use space::FreeSpace;
pub use store::{Listing, Removed, Store, Unreadable};
pub use upload::Upload;
