//! The requests of one view on a model, counted as long as the engine's thread has them.
//!
//! The thread tells what it does for all views together; whether a view is in use is told here. Read next: `adapters`.

use chat::Activity;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many wait, and how many are computed.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: AtomicUsize,
    running: AtomicUsize,
}

impl Requests {
    /// What the view does. Pages and what was counted since the load are those of the model beneath, which tells them.
    pub(crate) fn activity(&self) -> Activity {
        Activity {
            running: self.running.load(Ordering::Acquire),
            waiting: self.waiting.load(Ordering::Acquire),
            ..Activity::default()
        }
    }
}

/// One request, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    requests: Arc<Requests>,
    is_running: bool,
}

impl Counted {
    /// One more that waits.
    pub(crate) fn new(requests: &Arc<Requests>) -> Counted {
        requests.waiting.fetch_add(1, Ordering::AcqRel);
        Counted { requests: Arc::clone(requests), is_running: false }
    }

    /// It is computed from now on.
    pub(crate) fn run(&mut self) {
        if !self.is_running {
            // In this order somebody who looks in between sees it twice rather than not at all.
            self.requests.running.fetch_add(1, Ordering::AcqRel);
            self.requests.waiting.fetch_sub(1, Ordering::AcqRel);
            self.is_running = true;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = if self.is_running { &self.requests.running } else { &self.requests.waiting };
        count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_then_runs_then_is_gone() {
        let requests = Arc::<Requests>::default();
        let counts = || (requests.activity().waiting, requests.activity().running);
        let (mut first, second) = (Counted::new(&requests), Counted::new(&requests));
        first.run();
        first.run();
        assert_eq!(counts(), (1, 1));
        drop(second);
        assert_eq!(counts(), (0, 1));
        drop(first);
        assert_eq!(counts(), (0, 0));
    }
}
