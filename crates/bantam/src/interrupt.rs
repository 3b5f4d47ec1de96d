//! Ctrl-C: stops the answer that is being made; without one, ends the program.
//!
//! Knows only whether somebody listens. The line editor sees its own Ctrl-C; this is for the time between.

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Receives the program's interrupts while somebody listens.
#[derive(Debug, Clone, Default)]
pub struct Interrupts {
    listener: Arc<Mutex<Option<UnboundedSender<()>>>>,
    folders: Arc<Mutex<Vec<PathBuf>>>,
}

impl Interrupts {
    /// Takes over Ctrl-C for this process.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn install() -> anyhow::Result<Interrupts> {
        let interrupts = Interrupts::default();
        let handler = interrupts.clone();
        ctrlc::set_handler(move || {
            if !handler.interrupt() {
                // Whoever pulls or loads keeps its state on disk consistent at every moment; no destructor runs.
                handler.clean_up();
                std::process::exit(130);
            }
        })?;
        Ok(interrupts)
    }

    /// A folder to remove when an interrupt ends the program.
    pub fn remove_at_end(&self, folder: &Path) {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_owned());
    }

    /// The folder is somebody else's care again.
    pub fn forget_folder(&self, folder: &Path) {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| known != folder);
    }

    /// Removes the folders that were to be removed.
    pub fn clean_up(&self) {
        for folder in self.folders.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // The process ends: nobody could be told, and what is left is swept by who needs such a folder next.
            drop(std::fs::remove_dir_all(folder));
        }
    }

    /// Tells the listener; false if nobody listens.
    pub fn interrupt(&self) -> bool {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.as_ref().is_some_and(|sender| sender.unbounded_send(()).is_ok())
    }

    /// Interrupts come here until the listener is dropped; then Ctrl-C ends the program again.
    pub fn listen(&self) -> Listener {
        let (sender, receiver) = unbounded();
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Listener { receiver }
    }
}

/// Hears interrupts. A chat holds one for as long as it lasts, so that no Ctrl-C ends the program and loses what was
/// said.
#[derive(Debug)]
pub struct Listener {
    receiver: UnboundedReceiver<()>,
}

impl Listener {
    /// Waits for the next interrupt.
    pub async fn next(&mut self) {
        // The sender outlives this listener, or another listener took its place: either way nothing is to be heard.
        if self.receiver.next().await.is_none() {
            futures::future::pending::<()>().await;
        }
    }

    /// Forgets interrupts that nobody waited for; true if there were any.
    pub fn forget(&mut self) -> bool {
        let mut any = false;
        while self.receiver.try_recv().is_ok() {
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_listener_hears_and_a_dropped_one_does_not() {
        let interrupts = Interrupts::default();
        let first = interrupts.listen();
        drop(first);
        assert!(!interrupts.interrupt(), "nobody listens");
        let mut second = interrupts.listen();
        assert!(interrupts.interrupt());
        futures::executor::block_on(second.next());
        assert!(interrupts.interrupt() && interrupts.interrupt());
        assert!(second.forget() && !second.forget());
    }
}
