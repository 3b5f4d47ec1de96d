//! A thread that ends with whoever began it: nothing of a job goes on once its run was dropped.

use crate::TaskError;
use chat::ChatError;
use futures::channel::oneshot;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

/// A thread, and as a future what it says when it ends. Dropping it waits for its end: whoever holds one drops before
/// it what makes the thread end, a channel or a flag.
#[derive(Debug)]
pub(super) struct Thread<T> {
    ended: oneshot::Receiver<T>,
    handle: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Thread<T> {
    pub(super) fn spawn(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<Thread<T>, TaskError> {
        let (sender, ended) = oneshot::channel();
        let run = move || {
            // Whoever no longer listens was dropped, and wants to know nothing.
            let _ = sender.send(work());
        };
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        let handle = spawned.map_err(|error| TaskError::Storage(format!("no thread for a batch job: {error}")))?;
        Ok(Thread { ended, handle: Some(handle) })
    }
}

impl<T> Future for Thread<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.ended).poll(context).map_err(|_| internal("a thread of a batch job panicked"))
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            // A panic was told by the future already.
            let _ = handle.join();
        }
    }
}

/// A fault in this program.
pub(super) fn internal(what: &str) -> TaskError {
    TaskError::Model(ChatError::Internal(what.to_owned()))
}
