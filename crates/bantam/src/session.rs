//! What every command shares: the terminal, Ctrl-C, the hub and a way to load a model.
//!
//! Knows no command. Everything is opened when first asked for, so that `completions` touches no disk.

use crate::failure::UsedWrongly;
use crate::generation::LoadArgs;
use crate::interrupt::Interrupts;
use crate::progress::{Progress, Unit};
use crate::terminal::Terminal;
use hub::{Home, Hub, HubOptions};
use kernels::Isa;
use local::{LoadOptions, LocalHost, LocalModel, YARN_FACTORS};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What every command shares.
pub struct Session {
    /// Where to write.
    pub terminal: Terminal,
    /// Ctrl-C.
    pub interrupts: Interrupts,
}

/// A model that is ready to answer.
pub struct Loaded {
    /// The model.
    pub model: Arc<LocalModel>,
    /// How long it took to get ready, downloads left out.
    pub load_time: Duration,
}

impl Session {
    /// Takes over Ctrl-C.
    ///
    /// # Errors
    /// The system refuses a signal handler.
    pub fn new(terminal: Terminal) -> anyhow::Result<Session> {
        Ok(Session { terminal, interrupts: Interrupts::install()? })
    }

    /// The hub over the user's store.
    ///
    /// # Errors
    /// No data directory, or a catalog file with a mistake.
    pub fn hub(&self) -> anyhow::Result<Hub> {
        Ok(Hub::open(Home::from_env()?, HubOptions::from_env())?)
    }

    /// A host over the hub; every model is loaded with these options.
    ///
    /// # Errors
    /// As [`Session::hub`], or no threads to be had.
    pub fn host(&self, options: LoadOptions) -> anyhow::Result<LocalHost> {
        Ok(LocalHost::new(self.hub()?, options)?)
    }

    /// Downloads shown on standard error.
    pub fn download_progress(&self) -> Progress {
        Progress::new(self.terminal, Unit::Bytes)
    }

    /// Fetches a model where needed, and loads it.
    ///
    /// # Errors
    /// Whatever stands between a name and a model; the text is complete for a user.
    pub fn load(&self, model: &str, options: LoadOptions) -> anyhow::Result<Loaded> {
        let host = self.host(options)?;
        let progress = self.download_progress();
        host.source(model, &progress)?;
        let started = Instant::now();
        let model = host.load_local(model, &progress)?;
        Ok(Loaded { model, load_time: started.elapsed() })
    }
}

/// The options of the command line, and the instruction set of `BANTAM_ISA`.
///
/// # Errors
/// A value that nothing can be loaded with: used wrongly.
pub fn load_options(load: &LoadArgs) -> anyhow::Result<LoadOptions> {
    for (flag, value) in [("--context", load.context), ("--threads", load.threads)] {
        if value == Some(0) {
            return Err(UsedWrongly(format!("{flag}: expected 1 or more, got 0")).into());
        }
    }
    if let Some(factor) = load.yarn.filter(|factor| !YARN_FACTORS.contains(factor)) {
        let (least, most) = (YARN_FACTORS.start(), YARN_FACTORS.end());
        return Err(UsedWrongly(format!("--yarn: expected a factor from {least} to {most}, got {factor}")).into());
    }
    let isa = match std::env::var("BANTAM_ISA") {
        Ok(name) if !name.is_empty() => {
            Some(Isa::from_name(&name).map_err(|error| UsedWrongly(format!("BANTAM_ISA: {error}")))?)
        }
        _ => None,
    };
    let LoadArgs { context, threads, yarn, kv_type } = *load;
    let default = LoadOptions::default();
    Ok(LoadOptions { context, threads, yarn, isa, kv_element: kv_type.unwrap_or(default.kv_element), ..default })
}
