//! The encoder's thread: texts of all who ask, in batches of bounded size, one batch after the other.
//!
//! ```text
//! loop:  take what was asked (waiting for it only while there is nothing to compute)
//!        leave what nobody waits for any more
//!        a batch: a text of each in turn, as many as fit; forward; answer those that are complete
//! ```
//!
//! A large request so shares every batch with small ones. A panic in a batch ends the requests in it alone. The thread ends
//! when its model was dropped and all is answered. Read next: `encoder_model`, who asks.

use crate::memory::STEP_TOKENS;
use crate::worker::panic_text;
use chat::{Activity, ChatError};
use futures::channel::oneshot;
use kernels::Runtime;
use model::{Encoder, EncoderBatch, EncoderWorkspace};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};

/// A text as the encoder reads it.
pub(crate) struct EncoderText {
    /// Token ids, at least one.
    pub(crate) tokens: Vec<u32>,
    /// The kind of each.
    pub(crate) token_types: Vec<u32>,
}

/// What a job ends in: the numbers of each text.
type Answer = Result<Vec<Vec<f32>>, ChatError>;

/// Texts of one request.
pub(crate) struct Job {
    texts: Vec<EncoderText>,
    /// How many of them are taken into a batch.
    taken: usize,
    done: Vec<Vec<f32>>,
    reply: oneshot::Sender<Answer>,
}

impl Job {
    pub(crate) fn new(texts: Vec<EncoderText>, reply: oneshot::Sender<Answer>) -> Job {
        Job { done: Vec::with_capacity(texts.len()), texts, taken: 0, reply }
    }
}

/// What the encoder is doing and has done.
#[derive(Default)]
pub(crate) struct Counters {
    /// Requests that were handed to the thread and not yet answered.
    open: AtomicUsize,
    running: AtomicUsize,
    steps: AtomicU64,
    tokens: AtomicU64,
}

impl Counters {
    pub(crate) fn asked(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn activity(&self) -> Activity {
        let running = self.running.load(Ordering::Relaxed);
        Activity {
            running,
            waiting: self.open.load(Ordering::Relaxed).saturating_sub(running),
            steps: self.steps.load(Ordering::Relaxed),
            prompt_tokens: self.tokens.load(Ordering::Relaxed),
            ..Activity::default()
        }
    }
}

/// What runs a batch: an encoder, or a scripted one in tests. Rows of equal length come back, one for each text.
pub(crate) type Forward = Box<dyn FnMut(&EncoderBatch) -> Vec<Vec<f32>> + Send>;

/// Starts the thread of an encoder; it ends when the sender is dropped.
pub(crate) fn start(
    encoder: Encoder,
    runtime: Arc<Runtime>,
    counters: Arc<Counters>,
) -> Result<Sender<Job>, ChatError> {
    let mut workspace = EncoderWorkspace::default();
    let forward = move |batch: &EncoderBatch| {
        // After a panic the buffers are whole all the same: each pass writes all that it reads.
        let rows = encoder.forward(&runtime, batch, &mut workspace);
        rows.chunks_exact(encoder.spec().outcome_len()).map(<[f32]>::to_vec).collect()
    };
    start_with(Box::new(forward), counters)
}

fn start_with(forward: Forward, counters: Arc<Counters>) -> Result<Sender<Job>, ChatError> {
    let (jobs, received) = std::sync::mpsc::channel();
    let worker = Worker { forward, received, queue: VecDeque::new(), counters };
    match std::thread::Builder::new().name("encoder".to_owned()).spawn(move || worker.run()) {
        Ok(_) => Ok(jobs),
        Err(error) => Err(ChatError::Unavailable(format!("cannot start the encoder's thread: {error}"))),
    }
}

struct Worker {
    forward: Forward,
    received: Receiver<Job>,
    queue: VecDeque<Job>,
    counters: Arc<Counters>,
}

impl Worker {
    fn run(mut self) {
        while self.take_jobs() {
            let before = self.queue.len();
            self.queue.retain(|job| !job.reply.is_canceled());
            self.closed(before - self.queue.len());
            let (batch, takers) = self.gather();
            if !takers.is_empty() {
                self.step(&batch, &takers);
            }
            self.answer();
        }
    }

    /// False when nothing can come any more and nothing is left to do.
    fn take_jobs(&mut self) -> bool {
        if self.queue.is_empty() {
            match self.received.recv() {
                Ok(job) => self.queue.push_back(job),
                Err(_) => return false,
            }
        }
        self.queue.extend(self.received.try_iter());
        true
    }

    /// A text of each job in turn, as long as they fit, and whose each is, as places in the queue. One that is longer than a
    /// batch is a batch of its own.
    fn gather(&mut self) -> (EncoderBatch, Vec<usize>) {
        // Another begins each time, so that nobody's long texts always come first.
        self.queue.rotate_left(1.min(self.queue.len()));
        let (mut batch, mut takers) = (EncoderBatch::default(), Vec::new());
        let mut is_full = false;
        while !is_full {
            let before = takers.len();
            for (place, job) in self.queue.iter_mut().enumerate() {
                let Some(text) = job.texts.get(job.taken) else { continue };
                if !takers.is_empty() && batch.tokens.len() + text.tokens.len() > STEP_TOKENS {
                    is_full = true;
                    break;
                }
                batch.push(&text.tokens, &text.token_types);
                takers.push(place);
                job.taken += 1;
            }
            is_full |= takers.len() == before;
        }
        (batch, takers)
    }

    fn step(&mut self, batch: &EncoderBatch, takers: &[usize]) {
        let begun = self.queue.iter().filter(|job| job.taken > 0).count();
        self.counters.running.store(begun, Ordering::Relaxed);
        match catch_unwind(AssertUnwindSafe(|| (self.forward)(batch))) {
            Ok(rows) => {
                for (&place, row) in takers.iter().zip(rows) {
                    // Texts of a job are taken in order, and rows come in the order of the texts.
                    self.queue[place].done.push(row);
                }
                self.counters.steps.fetch_add(1, Ordering::Relaxed);
                self.counters.tokens.fetch_add(batch.tokens.len() as u64, Ordering::Relaxed);
            }
            Err(panic) => {
                let error = ChatError::Internal(panic_text(panic.as_ref()));
                let mut ended: Vec<usize> = takers.to_vec();
                ended.sort_unstable();
                ended.dedup();
                for place in ended.into_iter().rev() {
                    if let Some(job) = self.queue.remove(place) {
                        let _ = job.reply.send(Err(error.clone()));
                        self.closed(1);
                    }
                }
            }
        }
    }

    /// Answers the jobs whose texts are all done.
    fn answer(&mut self) {
        let (complete, open): (VecDeque<Job>, VecDeque<Job>) =
            std::mem::take(&mut self.queue).into_iter().partition(|job| job.done.len() == job.texts.len());
        self.queue = open;
        self.closed(complete.len());
        for job in complete {
            // Whoever has gone meanwhile needs no answer.
            let _ = job.reply.send(Ok(job.done));
        }
    }

    fn closed(&self, count: usize) {
        self.counters.open.fetch_sub(count, Ordering::Relaxed);
        let begun = self.queue.iter().filter(|job| job.taken > 0).count();
        self.counters.running.store(begun, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use std::sync::Mutex;
    use std::sync::mpsc;

    /// A text of `len` tokens that all are `id`.
    fn text(id: u32, len: usize) -> EncoderText {
        EncoderText { tokens: vec![id; len], token_types: vec![0; len] }
    }

    /// The batches that were run, each as the first tokens of its texts.
    type Batches = Arc<Mutex<Vec<Vec<u32>>>>;

    /// What a text becomes here: its first token and its length. Batches wait for `go`; each is noted as its first tokens.
    fn scripted() -> (Sender<Job>, Arc<Counters>, Sender<()>, Batches) {
        let (go, wait) = mpsc::channel::<()>();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let forward = move |batch: &EncoderBatch| {
            let _ = wait.recv();
            let mut start = 0;
            let mut rows = Vec::new();
            for &len in &batch.lens {
                rows.push(vec![batch.tokens[start] as f32, len as f32]);
                start += len;
            }
            noted.lock().unwrap().push(rows.iter().map(|row| row[0] as u32).collect());
            assert!(!batch.tokens.contains(&666), "a text that breaks the pass");
            rows
        };
        let counters = Arc::new(Counters::default());
        (start_with(Box::new(forward), Arc::clone(&counters)).unwrap(), counters, go, seen)
    }

    fn ask(jobs: &Sender<Job>, counters: &Counters, texts: Vec<EncoderText>) -> oneshot::Receiver<Answer> {
        let (reply, outcome) = oneshot::channel();
        counters.asked();
        jobs.send(Job::new(texts, reply)).unwrap();
        outcome
    }

    /// Waits until the first batch is under way.
    fn await_begun(counters: &Counters) {
        while counters.activity().running == 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn rows_come_in_the_order_of_texts_and_batches_are_bounded_and_shared() {
        let (jobs, counters, go, seen) = scripted();
        let first = ask(&jobs, &counters, vec![text(1, 1)]);
        await_begun(&counters);
        // While that one waits, a large and a small request come.
        let large = ask(&jobs, &counters, (0..20).map(|index| text(100 + index, 100)).collect());
        let small = ask(&jobs, &counters, vec![text(7, 9), text(8, 600)]);
        (0..40).for_each(|_| go.send(()).unwrap());
        assert_eq!(block_on(first).unwrap().unwrap(), [[1.0, 1.0]]);
        assert_eq!(block_on(small).unwrap().unwrap(), [[7.0, 9.0], [8.0, 600.0]]);
        let rows = block_on(large).unwrap().unwrap();
        assert!(rows.iter().enumerate().all(|(index, row)| row == &[100.0 + index as f32, 100.0]));
        let seen = seen.lock().unwrap();
        for batch in seen.iter().skip(1) {
            let tokens: usize = batch
                .iter()
                .map(|id| {
                    if *id >= 100 {
                        100
                    } else if *id == 8 {
                        600
                    } else {
                        9
                    }
                })
                .sum();
            assert!(tokens <= STEP_TOKENS || batch.len() == 1, "{batch:?}");
        }
        let with_small = seen.iter().position(|batch| batch.contains(&7)).unwrap();
        assert!(with_small <= 2, "the small request waited for the large one: {seen:?}");
        drop(seen);
        let activity = counters.activity();
        assert_eq!((activity.running, activity.waiting, activity.prompt_tokens), (0, 0, 2610));
    }

    #[test]
    fn what_nobody_waits_for_is_not_computed() {
        let (jobs, counters, go, seen) = scripted();
        let first = ask(&jobs, &counters, vec![text(1, 500), text(2, 500)]);
        await_begun(&counters);
        let dropped = ask(&jobs, &counters, vec![text(3, 500)]);
        drop(dropped);
        (0..10).for_each(|_| go.send(()).unwrap());
        assert!(block_on(first).unwrap().is_ok());
        assert!(block_on(ask(&jobs, &counters, vec![text(4, 1)])).unwrap().is_ok());
        let seen: Vec<u32> = seen.lock().unwrap().concat();
        assert!(!seen.contains(&3), "{seen:?}");
        assert_eq!(counters.activity().waiting, 0);
    }

    #[test]
    fn a_panic_ends_the_requests_of_its_batch_alone() {
        let (jobs, counters, go, _) = scripted();
        let first = ask(&jobs, &counters, vec![text(1, 1)]);
        await_begun(&counters);
        let broken = ask(&jobs, &counters, vec![text(666, 400)]);
        let beside = ask(&jobs, &counters, vec![text(5, 400)]);
        (0..10).for_each(|_| go.send(()).unwrap());
        assert!(block_on(first).unwrap().is_ok() && block_on(beside).unwrap().is_ok());
        let error = block_on(broken).unwrap().unwrap_err();
        assert!(matches!(&error, ChatError::Internal(text) if text.contains("breaks the pass")), "{error}");
        assert_eq!(counters.activity().waiting, 0);
    }
}
