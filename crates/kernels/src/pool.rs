//! The pool of threads: one caller and its persistent workers share out numbered pieces of work.
//!
//! ```text
//! caller: job = task;  done = 0;  left = count       // in this order: pieces can be taken from here on, also by a worker
//!         generation += 1                            //   that is late from the call before
//! all:    while (n = left--) > 0: task(count - n)    // who has taken a piece may read the job
//!         done += pieces that this thread did        // once, when it finds no other; of a piece that panics, also all
//!                                                    //   that nobody has taken: they are dropped
//! caller: wait until done = count                    // nobody reads the job any more
//! ```
//!
//! Nobody waits for a thread that does nothing: a worker that is not running, because other programs have its processor,
//! finds no piece left when it comes. (Only one that lost its processor while it falls asleep is waited for: it has the
//! lock.) What many threads write or watch has cache lines of its own: with sixteen threads, lines that travel are much of
//! what a small op costs.
//!
//! A worker that waits spins briefly, because the next op of a decoder follows within microseconds, then sleeps, because
//! a spinning thread takes time from whoever shares the processor. A panic in a piece of work ends that call in its
//! caller and nothing else. It knows no op. Next: `disjoint.rs`, how pieces of work write one buffer.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::KernelError;

/// How often a waiting thread looks before it sleeps: about twenty microseconds.
const SPINS: usize = 500;

/// The work of one call: `task(index)` for every index below `count`.
#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    count: usize,
}

/// Alone on its cache lines; processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Alone<T>(T);

impl<T> Deref for Alone<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

#[derive(Default)]
struct News {
    /// Grows by one with each job, and at the end; workers wait for it to change.
    generation: AtomicUsize,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Progress {
    /// Pieces that are done, or dropped.
    done: AtomicUsize,
    /// Whether the caller sleeps in `finished`, or is about to.
    caller_sleeps: AtomicBool,
}

struct Shared {
    /// Written by the caller alone, while no piece is left and all are done; read by who has taken a piece.
    job: Alone<UnsafeCell<Option<Job>>>,
    /// What workers watch.
    news: Alone<News>,
    /// Pieces that nobody has taken, less those who came in vain.
    left: Alone<AtomicIsize>,
    progress: Alone<Progress>,
    /// Workers that sleep in `wake`, or are about to.
    sleeping: Alone<AtomicUsize>,
    /// The payload of the first panic of this generation.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    lock: Mutex<()>,
    wake: Condvar,
    finished: Condvar,
}

// SAFETY: the only field that is not shareable by itself is `job`. A caller writes it when every piece of the job before is in
// `done`: read with Acquire, and added with Release by whoever took pieces or dropped them, after its last look at the job;
// all such additions are read-modify-writes, so reading the last synchronizes with each. Callers follow each other through
// `turn`. It is published by `left` (Release); others read it only after they took a piece from there (Acquire, of a chain of
// read-modify-writes that begins with that store) and before they add the piece to `done`. What `task` points at is `Sync`, and
// outlives the time until all pieces are done.
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
            job: Alone::default(),
            news: Alone::default(),
            left: Alone::default(),
            progress: Alone::default(),
            sleeping: Alone::default(),
            panic: Mutex::new(None),
            lock: Mutex::new(()),
            wake: Condvar::new(),
            finished: Condvar::new(),
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
    /// the pool. A panic in a task is raised here after those that had begun have ended, and no other is begun; the pool
    /// stays usable.
    pub(crate) fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        if count <= 1 || self.workers.is_empty() {
            (0..count).for_each(task);
            return;
        }
        let pieces = isize::try_from(count).expect("pieces write elements, of which there are fewer; this is a bug");
        let turn = hold(&self.turn);
        let shared = &*self.shared;
        let task: *const (dyn Fn(usize) + Sync + '_) = task;
        // SAFETY: only the lifetime changes; the pointer is used for pieces that were taken and are not in `done`, and this
        // function neither returns nor unwinds before all are: `take_pieces` does not unwind.
        let task = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(task)
        };
        // SAFETY: all pieces of the call before are done, so nobody has one for which to read `job`, and `turn` keeps other
        // callers away.
        unsafe { *shared.job.get() = Some(Job { task, count }) };
        shared.progress.done.store(0, Ordering::Relaxed);
        // Publishes both, and comes last: a worker may take a piece at once.
        shared.left.store(pieces, Ordering::Release);
        shared.news.generation.fetch_add(1, Ordering::SeqCst);
        shared.wake_sleepers();
        shared.take_pieces();
        shared.wait_until_done(count);
        let panic = hold(&shared.panic).take();
        if let Some(payload) = panic {
            drop(turn);
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.news.stopping.store(true, Ordering::SeqCst);
        self.shared.news.generation.fetch_add(1, Ordering::SeqCst);
        self.shared.wake_sleepers();
        for worker in self.workers.drain(..) {
            // A worker catches every panic of its work, so there is nothing to learn here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Does pieces until none is left. Never unwinds.
    fn take_pieces(&self) {
        // Who comes late looks first: to take in vain would keep the line from those who take.
        if self.left.load(Ordering::Relaxed) <= 0 {
            return;
        }
        let (mut mine, mut of) = (0, 0);
        loop {
            let before = self.left.fetch_sub(1, Ordering::AcqRel);
            if before <= 0 {
                break;
            }
            // SAFETY: a piece is taken, with Acquire from what was published after the job, and not yet in `done`: until it
            // is, nobody writes the job, and it is the one that the piece is of.
            let job = unsafe { *self.job.get() };
            let Job { task, count } = job.expect("pieces are of a job; this is a bug");
            // SAFETY: `Pool::run` stays until all pieces are done, and so does the task that it was given.
            let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*task)(count - before.unsigned_abs()) }));
            (mine, of) = (mine + 1, count);
            if let Err(payload) = result {
                mine += self.left.swap(0, Ordering::AcqRel).max(0).unsigned_abs();
                let mut first = hold(&self.panic);
                match *first {
                    None => *first = Some(payload),
                    // To drop it could panic again.
                    Some(_) => std::mem::forget(payload),
                }
            }
        }
        if mine > 0 && self.progress.done.fetch_add(mine, Ordering::SeqCst) + mine == of {
            self.tell_caller();
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

    /// Wakes the caller if it sleeps; as with [`Shared::wake_sleepers`], a caller says so before its last look.
    fn tell_caller(&self) {
        if self.progress.caller_sleeps.load(Ordering::SeqCst) {
            drop(hold(&self.lock));
            self.finished.notify_one();
        }
    }

    /// Waits until the generation is no longer `seen`; returns the new one.
    fn wait_for_job(&self, seen: usize) -> usize {
        for _ in 0..SPINS {
            let generation = self.news.generation.load(Ordering::Acquire);
            if generation != seen {
                return generation;
            }
            std::hint::spin_loop();
        }
        let mut guard = hold(&self.lock);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let generation = loop {
            let generation = self.news.generation.load(Ordering::SeqCst);
            if generation != seen {
                break generation;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        generation
    }

    /// Waits until all pieces are done.
    fn wait_until_done(&self, count: usize) {
        for _ in 0..SPINS {
            if self.progress.done.load(Ordering::Acquire) == count {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = hold(&self.lock);
        self.progress.caller_sleeps.store(true, Ordering::SeqCst);
        while self.progress.done.load(Ordering::SeqCst) != count {
            guard = self.finished.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.progress.caller_sleeps.store(false, Ordering::SeqCst);
    }
}

/// The life of a worker.
fn work(shared: &Shared) {
    let mut seen = 0;
    loop {
        seen = shared.wait_for_job(seen);
        if shared.news.stopping.load(Ordering::SeqCst) {
            return;
        }
        shared.take_pieces();
    }
}

/// Locks a mutex whose data is whole at every moment, whoever panicked.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::time::{Duration, Instant};

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
        let pool = Pool::new(4).unwrap();
        let done: [AtomicUsize; 5] = Default::default();
        for round in 1..=2_000 {
            pool.run(5, &|index| {
                done[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == round), "{done:?} in round {round}");
        }
    }

    #[test]
    fn every_thread_takes_part_also_after_a_sleep() {
        let pool = Pool::new(3).unwrap();
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(5));
            let arrived = AtomicUsize::new(0);
            let began = Instant::now();
            pool.run(3, &|_| {
                arrived.fetch_add(1, Ordering::Relaxed);
                while arrived.load(Ordering::Relaxed) < 3 {
                    assert!(began.elapsed() < Duration::from_secs(60), "a worker was not woken");
                    std::thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_caller_that_panics_waits_for_the_pieces_of_others() {
        let pool = Pool::new(3).unwrap();
        let caller = std::thread::current().id();
        for _ in 0..3 {
            let (meeting, ended) = (Barrier::new(3), AtomicUsize::new(0));
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(10, &|_| {
                    meeting.wait();
                    if std::thread::current().id() != caller {
                        // Until the caller sleeps.
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                    resume_unwind(Box::new("all panic"));
                });
            }));
            assert!(result.is_err());
            assert_eq!(ended.into_inner(), 3, "one piece each, and the others dropped");
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
                            total.fetch_add(index + 1, Ordering::Relaxed);
                        });
                        assert_eq!(total.into_inner(), 45);
                    }
                });
            }
        });
    }
}
