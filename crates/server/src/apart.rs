//! Work that blocks whoever polls it, done apart from the threads that serve connections.
//!
//! ```text
//! poll on a thread that may be blocked -> ready:    that is the outcome
//!                                      -> pending:  no thread is held until it is woken; then once more
//! ```
//!
//! So who waits for something that comes by itself (a load that another request began, the next piece of a body) costs no
//! thread. Knows nothing of what the work is.

use futures::task::{ArcWake, waker};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// Told when the work can go on.
#[derive(Default)]
struct Bell(Notify);

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Bell>) {
        // Kept where nobody waits yet: it may ring while the work is polled.
        bell.0.notify_one();
    }
}

/// A poll on a thread that may be blocked. Dropped while it is still in the queue for one, it does not begin.
struct Polling<T>(JoinHandle<T>);

impl<T> Drop for Polling<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The outcome of work that may block. Where nobody waits for it any more, the poll under way is finished, and no other
/// begins.
///
/// # Errors
/// The work panicked.
pub(crate) async fn apart<T: Send + 'static>(
    mut work: Pin<Box<dyn Future<Output = T> + Send>>,
) -> Result<T, JoinError> {
    let bell = Arc::<Bell>::default();
    loop {
        let waker = waker(Arc::clone(&bell));
        let mut polling = Polling(spawn_blocking(move || {
            let outcome = work.as_mut().poll(&mut Context::from_waker(&waker));
            (outcome, work)
        }));
        match (&mut polling.0).await? {
            (Poll::Ready(outcome), _) => return Ok(outcome),
            (Poll::Pending, rest) => work = rest,
        }
        bell.0.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::oneshot;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    /// One thread for all that blocks: whoever held it while waiting would wait for ever.
    #[test]
    fn who_waits_holds_no_thread() {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).max_blocking_threads(1).enable_all().build().unwrap();
        let (go, gone) = std::iter::repeat_with(oneshot::channel::<u64>).take(50).unzip::<_, _, Vec<_>, Vec<_>>();
        let waits = gone.into_iter().map(|gone| apart(Box::pin(async move { gone.await.unwrap() })));
        let sends = apart(Box::pin(async move {
            std::thread::sleep(Duration::from_millis(5));
            (0..).zip(go).for_each(|(number, go)| go.send(number).unwrap());
        }));
        let (sum, sent) = runtime.block_on(async {
            let waiting = tokio::spawn(join_all(waits));
            tokio::time::sleep(Duration::from_millis(20)).await;
            let sent = sends.await;
            (waiting.await.unwrap().into_iter().map(Result::unwrap).sum::<u64>(), sent)
        });
        assert_eq!((sum, sent.is_ok()), (49 * 50 / 2, true));
    }

    #[test]
    fn a_poll_that_nobody_waits_for_any_more_does_not_begin() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(1).build().unwrap();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            let blocking = spawn_blocking(move || gone.recv());
            let begun = Arc::new(AtomicBool::new(false));
            let begins = Arc::clone(&begun);
            let mut dropped = Box::pin(apart(Box::pin(async move { begins.store(true, Ordering::SeqCst) })));
            assert!(futures::poll!(&mut dropped).is_pending());
            drop(dropped);
            go.send(()).unwrap();
            blocking.await.unwrap().unwrap();
            // Behind it in the queue.
            spawn_blocking(|| ()).await.unwrap();
            assert!(!begun.load(Ordering::SeqCst));
        });
    }

    #[tokio::test]
    async fn what_is_woken_while_it_is_polled_goes_on() {
        let mut left = 3;
        let work = std::future::poll_fn(move |context| {
            context.waker().wake_by_ref();
            left -= 1;
            if left == 0 { Poll::Ready("done") } else { Poll::Pending }
        });
        assert_eq!(apart(Box::pin(work)).await.unwrap(), "done");
        let failed = apart::<()>(Box::pin(async { panic!("inside of the work") })).await;
        assert!(failed.unwrap_err().is_panic());
    }
}
