//! What whoever starts the server may choose: where it listens, and a named bound for everything that a client can make grow.
//!
//! Read next: `listen`, which uses them.

use crate::files::FilesOptions;
use crate::keys::KeysFile;
use crate::served::ServedTask;
use chat::KeepAlive;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Certificate and key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those between it and the root after it.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Everybody,
    /// Those who have a key of this file. Without the file that is nobody.
    Keys(KeysFile),
    /// Everybody until the file is there; from then on, for as long as the server runs, those who have a key of it.
    EverybodyUntilKeys(KeysFile),
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen.
    pub address: SocketAddr,
    /// Who may ask.
    pub access: Access,
    /// Serve everybody even where others than this machine can reach the address.
    pub insecure: bool,
    /// Origins whose pages may read answers (`*`: all).
    pub cors_origins: Vec<String>,
    /// TLS; none: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// How long models stay in memory where a request does not say.
    pub keep_alive: KeepAlive,
    /// Connections at once.
    pub max_connections: usize,
    /// How long the headers of a request may take.
    pub header_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// Bytes of a request's body, uploads of model files left aside.
    pub max_body_bytes: usize,
    /// Tokens of a prompt; none: what the context holds.
    pub max_prompt_tokens: Option<usize>,
    /// Requests under way at once; more are refused.
    pub max_requests: usize,
    /// How long a request may take from its headers to the end of its answer.
    pub request_timeout: Duration,
    /// How long answers under way may go on after the server was told to end.
    pub drain: Duration,
    /// Whether prompts and answers are logged.
    pub log_prompts: bool,
    /// Where files of clients are kept, for batches; none: nowhere, and there are no batches.
    pub files: Option<FilesOptions>,
    /// Tasks that can be asked by name.
    pub tasks: Vec<ServedTask>,
    /// The ledger that keeps evaluations, where they are shown; it need not be there yet.
    pub ledger: Option<PathBuf>,
}

impl ServerOptions {
    /// The defaults, for this address.
    pub fn at(address: SocketAddr) -> ServerOptions {
        ServerOptions {
            address,
            access: Access::Everybody,
            insecure: false,
            cors_origins: Vec::new(),
            tls: None,
            keep_alive: KeepAlive::For(Duration::from_secs(300)),
            max_connections: 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            max_body_bytes: 16 << 20,
            max_prompt_tokens: None,
            max_requests: 512,
            request_timeout: Duration::from_secs(600),
            drain: Duration::from_secs(30),
            log_prompts: false,
            files: None,
            tasks: Vec::new(),
            ledger: None,
        }
    }
}
