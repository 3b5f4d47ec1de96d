//! What every op is given: an instruction set and the threads to use.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::isa::Kernel;
use crate::pool::Pool;
use crate::{Isa, KernelError};

/// An instruction set and a pool of persistent threads. One per process is enough: it may be shared, and concurrent
/// users take turns op by op.
pub struct Runtime {
    isa: Isa,
    pool: Pool,
}

impl Runtime {
    /// A runtime on which `threads` threads work, the calling thread included (0 counts as 1).
    ///
    /// # Errors
    /// [`KernelError::Thread`] when the system refuses a thread.
    pub fn new(isa: Isa, threads: usize) -> Result<Runtime, KernelError> {
        Ok(Runtime { isa, pool: Pool::new(threads)? })
    }

    /// The instruction set that ops use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads that work on an op, the calling thread included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Calls `task(index)` for every index below `count`, on all threads; see [`Pool::run`].
    pub(crate) fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        self.pool.run(count, task);
    }

    /// The same on threads that end with it, as many: ops of others go on meanwhile, where [`Runtime::run`] would keep them
    /// waiting until the last index. For work of seconds.
    pub(crate) fn run_beside(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let take_all = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    break;
                }
                task(index);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads().min(count) {
                // Whoever is refused is not needed: this thread alone is enough.
                let _ = std::thread::Builder::new().name("kernels-beside".to_owned()).spawn_scoped(scope, take_all);
            }
            take_all();
        });
    }

    /// [`Runtime::run`] if `work` multiply-adds in all are worth waking the other threads, else on this thread alone.
    pub(crate) fn run_if_worth(&self, work: usize, count: usize, task: &(dyn Fn(usize) + Sync)) {
        const WORTH_SHARING: usize = 32 * 1024;
        if work < WORTH_SHARING { (0..count).for_each(task) } else { self.run(count, task) }
    }

    /// Runs a kernel on the calling thread with the instruction set of this runtime.
    #[inline]
    pub(crate) fn vectorize<K: Kernel>(&self, kernel: K) -> K::Output {
        self.isa.run(kernel)
    }

    /// How many of `rows` rows of `row_len` elements make a piece of work worth a hand-over between threads.
    pub(crate) fn rows_per_task(&self, rows: usize, row_len: usize) -> usize {
        const ELEMENTS_PER_TASK: usize = 16 * 1024;
        let worthwhile = ELEMENTS_PER_TASK.div_ceil(row_len.max(1));
        worthwhile.max(rows.div_ceil(4 * self.threads())).max(1)
    }
}
