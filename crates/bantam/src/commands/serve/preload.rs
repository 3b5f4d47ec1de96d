//! Models that are in memory before anybody asks: fetched, loaded, and asked once.

use crate::progress::{Progress, Unit};
use crate::terminal::Terminal;
use chat::{KeepAlive, ModelHost, PullProgress};
use futures::executor::block_on;
use local::LocalHost;
use server::Preloading;
use server::log::Logged;
use std::time::Instant;

/// Makes these models ready, one after the other; they stay until they are stopped, or until others need their memory.
///
/// # Errors
/// The first that cannot be fetched, loaded or asked.
pub fn preload(
    host: &LocalHost,
    models: &[String],
    preloading: &Preloading,
    as_log: bool,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let shown = Progress::new(terminal, Unit::Bytes);
    let progress: &dyn PullProgress = if as_log { &Logged } else { &shown };
    for name in models {
        let begin = Instant::now();
        host.source(name, progress)?;
        let model = block_on(host.load(name, Some(KeepAlive::Forever), progress))?;
        block_on(preloading.ask(model.as_ref()))?;
        tracing::info!(model = name, milliseconds = begin.elapsed().as_millis() as u64, "ready");
    }
    Ok(())
}
