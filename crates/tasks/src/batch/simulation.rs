//! Jobs that are disturbed in every way at seeded moments until they are done, beside the same job left alone.

use super::scenes::*;
use super::*;
use ledger::JobState;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

/// Numbers that look random (xorshift), the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Some rows fail for good, some at first; which ones is a matter of the seed.
fn work(seed: u64) -> Arc<ScriptedWork> {
    let mut work = ScriptedWork::new(move |number, before| match (number * 31 + seed) % 97 {
        0 if before == 0 => Err(overloaded()),
        1..6 => Err(TaskError::Output(format!("row {number} is beyond me"))),
        _ => Ok(answer(number)),
    });
    work.concurrency = 1 + (seed % 9) as usize;
    work.polls = |number| (number * 7 % 11) as usize;
    Arc::new(work)
}

/// Disturbs a run: it is dropped after so many polls, or its ledger fails at a row or at the last mark, or it is
/// interrupted.
fn disturb(scene: &Scene, numbers: &mut Numbers, work: &Arc<ScriptedWork>, rows: u64) {
    let polls = numbers.below(1 + 12 * rows / work.concurrency as u64);
    let number = 1 + numbers.below(rows);
    match numbers.below(4) {
        0 => scene.sql(&format!(
            "CREATE TRIGGER disturbance BEFORE INSERT ON job_rows WHEN NEW.number = {number} \
             BEGIN SELECT RAISE(ABORT, 'the disk went'); END"
        )),
        1 => scene.sql(
            "CREATE TRIGGER disturbance BEFORE UPDATE OF state ON jobs WHEN NEW.state = 'done' \
             BEGIN SELECT RAISE(ABORT, 'the power went'); END",
        ),
        2 => scene.interrupt.store(numbers.below(2) == 0, Ordering::SeqCst),
        _ => {}
    }
    let mut run = pin!(run(&scene.ledger, scene.job, scene.batch(work, source(rows))));
    let mut polled = 0;
    futures::executor::block_on(std::future::poll_fn(|context| {
        polled += 1;
        if polled > polls {
            return Poll::Ready(());
        }
        run.as_mut().poll(context).map(|_| ())
    }));
}

#[test]
fn a_disturbed_job_comes_to_the_result_of_one_left_alone() {
    let mut unfinished = 0;
    for seed in 1..=12 {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ seed);
        let rows = 1 + numbers.below(250);
        let alone = scene();
        alone.run(alone.batch(&work(seed), source(rows))).unwrap();

        let disturbed = scene();
        for _ in 0..8 {
            let settled: BTreeSet<u64> =
                disturbed.ledger.settled(disturbed.job, 0, 1000).unwrap().into_iter().collect();
            let work = work(seed);
            disturb(&disturbed, &mut numbers, &work, rows);
            let again: Vec<u64> = work.asked().into_iter().filter(|number| settled.contains(number)).collect();
            assert_eq!(again, [0_u64; 0], "seed {seed}: rows that were settled were asked again");
            unfinished += usize::from(disturbed.ledger.job(disturbed.job).unwrap().state != JobState::Done);
            disturbed.interrupt.store(false, Ordering::SeqCst);
            disturbed.sql("DROP TRIGGER IF EXISTS disturbance");
        }
        disturbed.run(disturbed.batch(&work(seed), source(rows))).unwrap();
        assert_eq!(lasting(disturbed.output()), lasting(alone.output()), "seed {seed}");
        let (one, other) = (alone.ledger.job(alone.job).unwrap(), disturbed.ledger.job(disturbed.job).unwrap());
        assert_eq!((one.done, one.failed, one.total, one.state), (other.done, other.failed, other.total, other.state));
        assert_eq!(one.effort.prompt_tokens, other.effort.prompt_tokens, "seed {seed}: each row counts once");
        assert_eq!(one.done + one.failed, rows);
    }
    assert!(unfinished > 40, "only {unfinished} of 96 runs were ended before their job was done");
}
