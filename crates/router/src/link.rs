//! The connections to providers, and the one thread that serves them.
//!
//! Whoever asks a model may have no runtime of tokio (the command line has none), so the network has its own. It lives
//! as long as the last model that uses it.

use crate::Policy;
use chat::ChatError;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Connections that several models share. Copies are cheap.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    runtime: Option<Runtime>,
    policy: Policy,
}

impl Link {
    /// Opens nothing yet. Proxies are taken from the environment, certificates from the system.
    ///
    /// # Errors
    /// The system has no certificate store that can be read, or no thread is to be had.
    pub fn new(policy: Policy) -> Result<Link, ChatError> {
        Link::over(policy, reqwest::Client::builder())
    }

    /// The same without proxies, for endpoints of this machine.
    ///
    /// # Errors
    /// As [`Link::new`].
    pub fn direct(policy: Policy) -> Result<Link, ChatError> {
        Link::over(policy, reqwest::Client::builder().no_proxy())
    }

    fn over(policy: Policy, builder: reqwest::ClientBuilder) -> Result<Link, ChatError> {
        // Whoever installed a provider of TLS first keeps it; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unusable = |what: &str, why: String| {
            ChatError::Unavailable(format!(
                "{what} cannot be made: {why}\nhint: check the system's certificate store and the proxy variables"
            ))
        };
        let client = builder
            .user_agent(concat!("bantam/", env!("CARGO_PKG_VERSION")))
            // A key goes to the address that it is meant for and to no other.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(policy.connect)
            .build()
            .map_err(|error| unusable("the HTTP client", error.without_url().to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("providers")
            .enable_all()
            .build()
            .map_err(|error| unusable("the thread of the network", error.to_string()))?;
        Ok(Link(Arc::new(Inner { client, runtime: Some(runtime), policy })))
    }

    /// How often, how soon and how long its models try.
    pub fn policy(&self) -> Policy {
        self.0.policy
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.0.client
    }

    /// Runs a task on the network's thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
        let runtime = self.0.runtime.as_ref().expect("it is taken by drop alone; this is a bug");
        runtime.spawn(task).abort_handle()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The last user may be a task of another runtime, or of this one, where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
