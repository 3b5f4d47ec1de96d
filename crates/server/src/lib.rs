//! HTTP: the APIs that programs already speak, over whoever keeps models.
//!
//! A dialect is a folder of `api/`, an endpoint is a file in it; both are a line in a table. No type of a dialect leaves
//! its folder: everything inward speaks the vocabulary of `chat` and `tasks`. This crate knows no engine, no model file
//! and no store: it holds a `chat::ModelHost` and asks it.
//!
//! ```text
//! connection -> admit (id, key, limits, deadline) -> endpoint -> App::model -> Answering -> JSON | event stream
//! ```
//!
//! Read next: `app`, `admit`, `answering`, then one endpoint.
#![forbid(unsafe_code)]

mod admit;
mod answering;
mod apart;
mod api;
mod app;
mod body;
mod cors;
mod evaluations;
mod failure;
mod files;
#[cfg(test)]
mod http_tests;
mod kept;
mod listen;
mod metrics;
mod openapi;
mod options;
mod pages;
mod served;
mod shapes;
mod stream;
#[cfg(test)]
mod testing;

pub mod keys;
pub mod log;

pub use files::FilesOptions;
pub use listen::{Preloading, Server, StartError};
pub use options::{Access, ServerOptions, TlsFiles};
pub use served::ServedTask;
