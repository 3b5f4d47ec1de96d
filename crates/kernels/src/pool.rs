//! The pool of threads: one caller and its persistent workers share out numbered pieces of work.
//!
//! Nobody waits for a thread that does nothing: a worker enters a call through its gate, the caller closes the gate when all
//! pieces are taken, and waits for those who are inside. A worker that is not running, because other programs have its
//! processor, comes too late for that call and costs nothing.
//!
//! A worker that waits spins briefly, because the next op of a decoder follows within microseconds, then sleeps, because
//! a spinning thread takes time from whoever shares the processor. A panic in a piece of work ends that call in its
//! caller and nothing else. It knows no op. Next: `disjoint.rs`, how pieces of work write one buffer.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::KernelError;

/// The bit of the gate that keeps workers out.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// How often a waiting thread looks before it sleeps: about twenty microseconds.
const SPINS: usize = 500;

/// The work of one call: `task(index)` for every index below `count`.
#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    count: usize,
}

struct Shared {
    /// Written by the caller alone, while the gate is closed and no worker is inside.
    job: UnsafeCell<Option<Job>>,
    /// Grows by one with each job; workers wait for it to change.
    generation: AtomicUsize,
    /// The next index to take.
    next: AtomicUsize,
    /// Workers inside, and [`CLOSED`].
    gate: AtomicUsize,
    /// Workers asleep in `wake`.
    sleeping: AtomicUsize,
    stopping: AtomicBool,
    /// The payload of the first panic of this generation.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    lock: Mutex<()>,
    wake: Condvar,
    done: Condvar,
}

// SAFETY: the only field that is not shareable by itself is `job`. The caller writes it when the gate is closed with nobody
// inside (read with Acquire) and publishes it by opening the gate (Release); workers only read it inside, which they enter
// with Acquire and leave with Release. What `task` points at is `Sync`, and outlives the time that anybody is inside.
unsafe impl Sync for Shared {}
// SAFETY: as above; no field belongs to a thread.
unsafe impl Send for Shared {}

/// Persistent worker threads. Concurrent callers take turns.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    turn: Mutex<()>,
}

impl Pool {
    /// A pool in which `threads` threads work: the caller and `threads - 1` workers.
    pub(crate) fn new(threads: usize) -> Result<Pool, KernelError> {
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(None),
            generation: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            gate: AtomicUsize::new(CLOSED),
            sleeping: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            panic: Mutex::new(None),
            lock: Mutex::new(()),
            wake: Condvar::new(),
            done: Condvar::new(),
        });
        // The pool owns what it has started already, so an error on the way stops those.
        let mut pool = Pool { shared, workers: Vec::new(), turn: Mutex::new(()) };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let builder = std::thread::Builder::new().name(format!("kernels-{index}"));
            pool.workers.push(builder.spawn(move || work(&shared)).map_err(KernelError::Thread)?);
        }
        Ok(pool)
    }

    /// Threads that work, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(index)` once for every index below `count`, on all threads, and returns when all are done.
    ///
    /// Which thread takes which index is not fixed, so nothing computed may depend on it. A task must not call back into
    /// the pool. A panic in a task is raised here, after the others are done; the pool stays usable.
    pub(crate) fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        if count <= 1 || self.workers.is_empty() {
            (0..count).for_each(task);
            return;
        }
        let _turn = hold(&self.turn);
        let shared = &*self.shared;
        let task: *const (dyn Fn(usize) + Sync + '_) = task;
        // SAFETY: only the lifetime changes; workers use the pointer inside the gate, and this function always waits below
        // until all have left: the caller's own share is run under `catch_unwind`.
        let task = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(task)
        };
        let job = Job { task, count };
        // SAFETY: the gate is closed and nobody is inside since the previous call, so no worker reads `job` now, and `turn`
        // keeps other callers away.
        unsafe { *shared.job.get() = Some(job) };
        shared.next.store(0, Ordering::Relaxed);
        shared.gate.store(0, Ordering::Release);
        shared.generation.fetch_add(1, Ordering::SeqCst);
        shared.wake_sleepers();
        shared.take_pieces(job);
        shared.wait_for_workers();
        let panic = hold(&shared.panic).take();
        if let Some(payload) = panic {
            drop(_turn);
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        self.shared.wake_sleepers();
        for worker in self.workers.drain(..) {
            // A worker catches every panic of its work, so there is nothing to learn here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Runs pieces of the job until none is left. Never unwinds.
    fn take_pieces(&self, job: Job) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let index = self.next.fetch_add(1, Ordering::Relaxed);
                if index >= job.count {
                    break;
                }
                // SAFETY: the caller of `Pool::run` keeps the task alive until every worker has left.
                unsafe { (*job.task)(index) };
            }
        }));
        if let Err(payload) = result {
            // The pieces that are left would be thrown away with the call.
            self.next.store(job.count, Ordering::Relaxed);
            hold(&self.panic).get_or_insert(payload);
        }
    }

    /// Wakes the workers that sleep. The change they wait for was made before, with SeqCst: a worker either counts itself
    /// asleep before this reads the count, or sees the change before it sleeps.
    fn wake_sleepers(&self) {
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(hold(&self.lock));
            self.wake.notify_all();
        }
    }

    /// Waits until the generation is no longer `seen`; returns the new one.
    fn wait_for_job(&self, seen: usize) -> usize {
        for _ in 0..SPINS {
            let generation = self.generation.load(Ordering::Acquire);
            if generation != seen {
                return generation;
            }
            std::hint::spin_loop();
        }
        let mut guard = hold(&self.lock);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let generation = loop {
            let generation = self.generation.load(Ordering::SeqCst);
            if generation != seen {
                break generation;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        generation
    }

    /// Closes the gate and waits until nobody is inside.
    fn wait_for_workers(&self) {
        self.gate.fetch_or(CLOSED, Ordering::AcqRel);
        for _ in 0..SPINS {
            if self.gate.load(Ordering::Acquire) == CLOSED {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = hold(&self.lock);
        while self.gate.load(Ordering::Acquire) != CLOSED {
            guard = self.done.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Enters unless the gate is closed.
    fn enter(&self) -> bool {
        let enter = |gate: usize| (gate & CLOSED == 0).then_some(gate + 1);
        self.gate.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_ok()
    }

    /// Leaves; the last tells a caller that waits.
    fn leave(&self) {
        if self.gate.fetch_sub(1, Ordering::AcqRel) == CLOSED + 1 {
            drop(hold(&self.lock));
            self.done.notify_one();
        }
    }
}

/// The life of a worker.
fn work(shared: &Shared) {
    let mut seen = 0;
    loop {
        seen = shared.wait_for_job(seen);
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        if !shared.enter() {
            continue;
        }
        // SAFETY: inside the gate, where the caller does not write the job.
        if let Some(job) = unsafe { *shared.job.get() } {
            shared.take_pieces(job);
        }
        shared.leave();
    }
}

/// Locks a mutex whose data is whole at every moment, whoever panicked.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_done_once() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads).unwrap();
            for count in [0, 1, 2, 7, 100] {
                let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                pool.run(count, &|index| {
                    done[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn many_small_jobs_are_done_whole() {
        let pool = Pool::new(3).unwrap();
        let total = AtomicUsize::new(0);
        for round in 1..=2_000 {
            pool.run(5, &|_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(total.load(Ordering::Relaxed), 5 * round);
        }
    }

    #[test]
    fn sleeping_workers_are_woken() {
        let pool = Pool::new(2).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let total = AtomicUsize::new(0);
            pool.run(64, &|index| {
                total.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(total.into_inner(), 64 * 63 / 2);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3).unwrap();
        let payload =
            catch_unwind(AssertUnwindSafe(|| pool.run(10, &|index| assert!(index != 4, "index four")))).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"index four"));
        let total = AtomicUsize::new(0);
        pool.run(10, &|_| {
            total.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(total.into_inner(), 10);
    }

    #[test]
    fn concurrent_callers_take_turns() {
        let pool = Pool::new(2).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let total = AtomicUsize::new(0);
                        pool.run(9, &|index| {
                            total.fetch_add(index, Ordering::Relaxed);
                        });
                        assert_eq!(total.into_inner(), 36);
                    }
                });
            }
        });
    }
}
