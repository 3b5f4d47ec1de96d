//! The engine's thread: commands in, events out to whoever listens, one step after the other.
//!
//! ```text
//! loop:  take commands (waiting for one only while there is nothing to compute)
//!        cancel the sequences whose listener has gone
//!        begin (within what the pace allows) -> forward -> finish; hand the events to the listeners
//!        tell what the model is doing
//! ```
//!
//! A panic inside a step ends the sequences of that step with an internal error; the engine's state is rebuilt and all
//! others go on. A panic in a listener ends its request alone. The thread ends when its model was dropped and the last
//! answer has ended. Read next: `answer` and `scoring`, the listeners.

use chat::{Activity, ChatError, TokenLogprob};
use engine::{Counts, Engine, EngineEvent, FinishReason, Refused, SequenceId, SequenceRequest, Status};
use futures::channel::oneshot;
use kernels::{KvArena, Runtime};
use model::{Adapter, AdapterId, Adapters, Batch, Model, Workspace};
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::memory::{STEP_LOGIT_ROWS, STEP_TOKENS};
use crate::pace::Pace;
use crate::requests::Counted;

/// What runs a batch: the model with its memory, or a scripted one in tests.
pub(crate) trait Decoder: Send {
    /// The logits of the batch's rows, `[rows, V]`.
    fn forward(&mut self, batch: &Batch) -> &[f32];
    /// Gives an adapter its id, or forgets the one of this id.
    fn adapt(&mut self, id: AdapterId, adapter: Option<Arc<Adapter>>);
    /// Makes buffers anew after a pass that did not end.
    fn reset(&mut self);
}

/// A loaded model with its KV memory.
pub(crate) struct ModelDecoder {
    pub(crate) model: Arc<Model>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) arena: KvArena,
    pub(crate) workspace: Workspace,
    pub(crate) adapters: Adapters,
    /// The last field, dropped after all that takes memory: who holds it weakly sees when that is free.
    #[expect(dead_code, reason = "only its being there is looked at")]
    pub(crate) alive: Arc<()>,
}

impl Decoder for ModelDecoder {
    fn forward(&mut self, batch: &Batch) -> &[f32] {
        self.model.forward_adapted(&self.runtime, batch, &self.adapters, &mut self.arena, &mut self.workspace)
    }

    fn adapt(&mut self, id: AdapterId, adapter: Option<Arc<Adapter>>) {
        match adapter {
            Some(adapter) => self.adapters.insert(id, adapter),
            None => self.adapters.remove(id),
        }
    }

    fn reset(&mut self) {
        self.workspace = Workspace::default();
    }
}

/// Whether a listener wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    /// The answer is complete (a stop string came); the sequence is to be cancelled.
    Stop,
}

/// Whoever asked for a sequence. Called on the engine's thread, so nothing here may wait.
pub(crate) trait Listener: Send {
    /// It left the queue at this time.
    fn started(&mut self, at: Instant);
    /// A token was generated.
    fn token(&mut self, token: u32, logprob: Option<f32>, top: &[engine::TokenLogprob]) -> Next;
    /// So many tokens are read, of so many that are to be read before one is generated.
    fn reading(&mut self, read: usize, total: usize);
    /// A piece of the prompt was scored: its tokens, and the most likely ones in the place of each.
    fn scored(&mut self, logprobs: &[engine::TokenLogprob], top: &[Vec<engine::TokenLogprob>]);
    /// It has ended; nothing follows. After [`Next::Stop`] this comes too, as [`FinishReason::Cancelled`] or with the reason
    /// for which it had ended in that very step.
    fn finished(&mut self, end: Result<FinishReason, ChatError>, counts: Counts);
    /// Whether nobody waits for it any more.
    fn is_gone(&self) -> bool;
}

/// Work that needs the decoder for itself; given `None` when sequences are under way.
pub(crate) type Exclusive = Box<dyn FnOnce(Option<&mut dyn Decoder>) + Send>;

/// What the thread can be told.
pub(crate) enum Command {
    /// Run a sequence.
    Run {
        request: Box<SequenceRequest>,
        listener: Box<dyn Listener>,
        /// Whether it was taken.
        admitted: oneshot::Sender<Result<(), Refused>>,
        /// Counts it among the requests of its view, if it came through one.
        counted: Option<Counted>,
    },
    /// Lend the decoder.
    Lend(Exclusive),
    /// From now on sequences may name this adapter.
    Adapt(AdapterId, Arc<Adapter>),
    /// No sequence that comes after this will name it; forget it once those that do have ended.
    Retire(AdapterId),
}

struct Listening {
    listener: Box<dyn Listener>,
    is_started: bool,
    /// It wants no more tokens.
    is_stopped: bool,
    adapter: Option<AdapterId>,
    counted: Option<Counted>,
}

/// The state of the thread.
pub(crate) struct Worker {
    engine: Engine,
    decoder: Box<dyn Decoder>,
    commands: Receiver<Command>,
    listening: BTreeMap<SequenceId, Listening>,
    events: Vec<EngineEvent>,
    pace: Pace,
    /// Steps and tokens so far; the rest of it is the engine's to know.
    done: Activity,
    /// What others are told.
    activity: SharedActivity,
    /// Adapters to be forgotten.
    retired: Vec<AdapterId>,
}

/// What the model is doing, for whoever asks from another thread; written once a step.
pub(crate) type SharedActivity = Arc<Mutex<Activity>>;

impl Worker {
    pub(crate) fn new(
        engine: Engine,
        decoder: Box<dyn Decoder>,
        commands: Receiver<Command>,
        activity: SharedActivity,
    ) -> Worker {
        let mut worker = Worker {
            engine,
            decoder,
            commands,
            listening: BTreeMap::new(),
            events: Vec::new(),
            pace: Pace::new(STEP_TOKENS, STEP_LOGIT_ROWS),
            done: Activity::default(),
            activity,
            retired: Vec::new(),
        };
        worker.tell_activity();
        worker
    }

    /// Runs until the model was dropped and everything has ended.
    pub(crate) fn run(mut self) {
        while self.take_commands() {
            self.cancel_the_gone();
            self.step();
            self.hand_out();
            self.tell_activity();
            self.forget_retired();
        }
    }

    fn tell_activity(&mut self) {
        let config = self.engine.config();
        let Status { running, waiting, free_pages, cached_pages, prefix_queries, prefix_hits, preemptions } =
            self.engine.status();
        self.done = Activity {
            running,
            waiting,
            pages: config.pages,
            free_pages,
            cached_pages,
            page_len: config.page_len,
            prefix_queries,
            prefix_hits,
            preemptions,
            ..self.done
        };
        // Nobody panics while holding it, and numbers cannot be left half written.
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = self.done;
    }

    /// Forgets the retired adapters that no sequence uses any more.
    fn forget_retired(&mut self) {
        let (listening, decoder) = (&self.listening, &mut self.decoder);
        self.retired.retain(|&id| {
            let is_used = listening.values().any(|one| one.adapter == Some(id));
            if !is_used {
                decoder.adapt(id, None);
            }
            is_used
        });
    }

    /// False when no command can come any more and nothing is left to do.
    fn take_commands(&mut self) -> bool {
        if self.engine.is_idle() {
            match self.commands.recv() {
                Ok(command) => self.obey(command),
                Err(_) => return false,
            }
        }
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Run { request, listener, admitted, counted } => {
                let adapter = request.adapter;
                let outcome = self.engine.submit(*request);
                let answer = match outcome {
                    Ok(id) => {
                        let (is_started, is_stopped) = (false, false);
                        let one = Listening { listener, is_started, is_stopped, adapter, counted };
                        self.listening.insert(id, one);
                        Ok(())
                    }
                    Err(refused) => Err(refused),
                };
                // Whoever no longer waits for the answer has dropped its stream too, which the next step notices.
                let _ = admitted.send(answer);
            }
            Command::Adapt(id, adapter) => self.decoder.adapt(id, Some(adapter)),
            Command::Retire(id) => self.retired.push(id),
            Command::Lend(work) => {
                let decoder = &mut self.decoder;
                let is_idle = self.engine.is_idle();
                if is_idle {
                    // The work may write any page.
                    self.engine.forget_prefixes();
                }
                let outcome = catch_unwind(AssertUnwindSafe(|| match is_idle {
                    true => work(Some(decoder.as_mut())),
                    false => work(None),
                }));
                if outcome.is_err() {
                    self.decoder.reset();
                }
            }
        }
    }

    fn cancel_the_gone(&mut self) {
        let gone: Vec<SequenceId> =
            self.listening.iter().filter(|(_, one)| one.listener.is_gone()).map(|(&id, _)| id).collect();
        for id in gone {
            self.listening.remove(&id);
            self.engine.cancel(id, &mut self.events);
        }
    }

    fn step(&mut self) {
        let at = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let budget = self.pace.budget(self.engine.demand());
            if let Some(batch) = self.engine.begin(budget) {
                let logits = self.decoder.forward(&batch);
                self.engine.finish(logits, &mut self.events);
                let seconds = at.elapsed().as_secs_f32();
                self.engine.tell_cost(seconds);
                self.pace.tell(self.engine.step_shape(), seconds);
                self.done.steps += 1;
                self.done.prompt_tokens += self.engine.step_shape().prompt_tokens as u64;
                self.done.generated_tokens += self.events.iter().filter(|event| is_generated(event)).count() as u64;
            }
        }));
        for (&id, one) in self.listening.iter_mut().filter(|(_, one)| !one.is_started) {
            if self.engine.is_running(id) || self.events.iter().any(|event| event.id() == id) {
                one.is_started = true;
                one.counted.iter_mut().for_each(Counted::run);
                one.listener.started(at);
            }
        }
        if let Err(panic) = outcome {
            self.recover(panic.as_ref());
        }
    }

    /// Ends the sequences of the step that failed and makes the rest ready to go on.
    fn recover(&mut self, panic: &(dyn Any + Send)) {
        let mut ended = Vec::new();
        self.decoder.reset();
        self.engine.rebuild(&mut ended);
        for event in ended {
            let EngineEvent::Finished { id, reason, counts } = event else { continue };
            let Some(mut one) = self.listening.remove(&id) else { continue };
            let end = match reason {
                FinishReason::Abandoned => Err(ChatError::Internal(panic_text(panic))),
                reason => Ok(reason),
            };
            let _ = catch_unwind(AssertUnwindSafe(|| one.listener.finished(end, counts)));
        }
    }

    fn hand_out(&mut self) {
        let mut events = VecDeque::from(std::mem::take(&mut self.events));
        while let Some(event) = events.pop_front() {
            let id = event.id();
            let Some(one) = self.listening.get_mut(&id) else { continue };
            let is_end = matches!(event, EngineEvent::Finished { .. });
            if one.is_stopped && !is_end {
                continue;
            }
            let next = catch_unwind(AssertUnwindSafe(|| tell(one.listener.as_mut(), event)));
            if let Err(panic) = &next {
                let error = ChatError::Internal(panic_text(panic.as_ref()));
                let _ = catch_unwind(AssertUnwindSafe(|| one.listener.finished(Err(error), Counts::default())));
            }
            if is_end || next.is_err() {
                self.listening.remove(&id);
            } else if matches!(next, Ok(Next::Stop)) {
                one.is_stopped = true;
            }
            if !is_end && !matches!(next, Ok(Next::GoOn)) {
                // Its end is among the events already, or comes now.
                let mut ends = Vec::new();
                self.engine.cancel(id, &mut ends);
                events.extend(ends);
            }
        }
    }
}

fn tell(listener: &mut dyn Listener, event: EngineEvent) -> Next {
    match event {
        EngineEvent::Token { token, logprob, top, .. } => listener.token(token, logprob, &top),
        EngineEvent::Reading { read, total, .. } => {
            listener.reading(read, total);
            Next::GoOn
        }
        EngineEvent::PromptLogprobs { logprobs, top, .. } => {
            listener.scored(&logprobs, &top);
            Next::GoOn
        }
        EngineEvent::Finished { reason, counts, .. } => {
            listener.finished(Ok(reason), counts);
            Next::GoOn
        }
    }
}

/// Whether a token was generated, the one that ends an answer among them.
fn is_generated(event: &EngineEvent) -> bool {
    matches!(event, EngineEvent::Token { .. } | EngineEvent::Finished { reason: FinishReason::Stop(_), .. })
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a step failed".to_owned())
}

/// A token with its text, for people.
pub(crate) fn with_text(tokenizer: &tokenizer::Tokenizer, one: engine::TokenLogprob) -> TokenLogprob {
    TokenLogprob {
        id: one.token,
        text: tokenizer.token_text(one.token),
        bytes: tokenizer.token_bytes(one.token).into_owned(),
        logprob: one.logprob,
        top: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{EngineConfig, PromptScores, Sampling};
    use std::sync::Mutex;

    const VOCABULARY: usize = 8;
    /// A pass that reads this token fails.
    const POISON: u32 = 7;

    fn one_thread() -> Arc<Runtime> {
        Arc::new(Runtime::new(kernels::Isa::Scalar, 1).unwrap())
    }

    /// Says the token after the last one, and fails where it reads poison, or rows of an adapter that it was to forget.
    #[derive(Default)]
    struct Scripted {
        logits: Vec<f32>,
        forgotten: Arc<Mutex<Vec<AdapterId>>>,
    }

    impl Decoder for Scripted {
        fn forward(&mut self, batch: &Batch) -> &[f32] {
            assert!(!batch.tokens.contains(&POISON), "poison was read");
            let forgotten = self.forgotten.lock().unwrap();
            for id in batch.segments.iter().filter_map(|segment| segment.adapter) {
                assert!(!forgotten.contains(&id), "a forgotten adapter");
            }
            self.logits.clear();
            let mut end = 0;
            for segment in &batch.segments {
                end += segment.len;
                for token in &batch.tokens[end - segment.logit_rows()..end] {
                    let next = (token + 1) % (POISON - 1);
                    self.logits.extend((0..VOCABULARY as u32).map(|token| if token == next { 1.0 } else { 0.0 }));
                }
            }
            &self.logits
        }

        fn adapt(&mut self, id: AdapterId, adapter: Option<Arc<Adapter>>) {
            assert!(adapter.is_none(), "none is given");
            self.forgotten.lock().unwrap().push(id);
        }

        fn reset(&mut self) {
            self.logits.clear();
        }
    }

    /// The tokens and the ends that a listener was told.
    type Said = (Vec<u32>, Vec<Result<FinishReason, String>>);
    type Heard = Arc<Mutex<Said>>;

    struct Ear {
        heard: Heard,
        /// Panics when it hears this token.
        hates: Option<u32>,
    }

    impl Listener for Ear {
        fn started(&mut self, _: Instant) {}
        fn token(&mut self, token: u32, _: Option<f32>, _: &[engine::TokenLogprob]) -> Next {
            assert_ne!(Some(token), self.hates, "a hated token");
            self.heard.lock().unwrap().0.push(token);
            Next::GoOn
        }
        fn reading(&mut self, _: usize, _: usize) {}
        fn scored(&mut self, _: &[engine::TokenLogprob], _: &[Vec<engine::TokenLogprob>]) {}
        fn finished(&mut self, end: Result<FinishReason, ChatError>, _: Counts) {
            self.heard.lock().unwrap().1.push(end.map_err(|error| error.to_string()));
        }
        fn is_gone(&self) -> bool {
            false
        }
    }

    /// Runs these prompts, each with the token that its listener hates, until all have ended and the thread with them.
    fn run(max_sequences: usize, prompts: &[(&[u32], Option<u32>)]) -> Vec<Said> {
        let config = EngineConfig {
            pages: 16,
            page_len: 4,
            context: 16,
            vocabulary: VOCABULARY,
            max_sequences,
            max_waiting: None,
            logit_rows: 8,
            long_rope_after: None,
            speculate: true,
        };
        let (commands, received) = std::sync::mpsc::channel();
        let mut all = Vec::new();
        for &(prompt, hates) in prompts {
            let heard = Heard::default();
            let request = SequenceRequest {
                prompt: prompt.to_vec(),
                max_tokens: Some(4),
                sampling: Sampling::default(),
                stop_ids: vec![],
                top_logprobs: None,
                prompt_scores: PromptScores::None,
                constraint: None,
                walk: None,
                adapter: None,
            };
            let listener = Box::new(Ear { heard: Arc::clone(&heard), hates });
            let (admitted, _) = oneshot::channel();
            commands.send(Command::Run { request: Box::new(request), listener, admitted, counted: None }).unwrap();
            all.push(heard);
        }
        drop(commands);
        let activity = SharedActivity::default();
        Worker::new(Engine::new(config, one_thread()), Box::new(Scripted::default()), received, Arc::clone(&activity))
            .run();
        let Activity { running, waiting, pages, free_pages, cached_pages, .. } = *activity.lock().unwrap();
        assert_eq!((running, waiting, free_pages + cached_pages), (0, 0, pages), "all have ended");
        all.into_iter().map(|heard| heard.lock().unwrap().clone()).collect()
    }

    /// One adapter is retired while a sequence uses it, which ends as it would have, one while none does.
    #[test]
    fn a_retired_adapter_is_forgotten_after_its_last_sequence() {
        let config = EngineConfig {
            pages: 16,
            page_len: 4,
            context: 16,
            vocabulary: VOCABULARY,
            max_sequences: 1,
            max_waiting: None,
            logit_rows: 8,
            long_rope_after: None,
            speculate: true,
        };
        let (commands, received) = std::sync::mpsc::channel();
        let used = AdapterId(3);
        let heard: Vec<Heard> = [0, 1].map(|_| Heard::default()).into();
        for heard in &heard {
            let request = SequenceRequest {
                prompt: vec![0],
                max_tokens: Some(4),
                sampling: Sampling::default(),
                stop_ids: vec![],
                top_logprobs: None,
                prompt_scores: PromptScores::None,
                constraint: None,
                walk: None,
                adapter: Some(used),
            };
            let listener = Box::new(Ear { heard: Arc::clone(heard), hates: None });
            let (admitted, _) = oneshot::channel();
            commands.send(Command::Run { request: Box::new(request), listener, admitted, counted: None }).unwrap();
        }
        commands.send(Command::Retire(used)).unwrap();
        commands.send(Command::Retire(AdapterId(4))).unwrap();
        drop(commands);
        let decoder = Scripted::default();
        let forgotten = Arc::clone(&decoder.forgotten);
        Worker::new(Engine::new(config, one_thread()), Box::new(decoder), received, SharedActivity::default()).run();
        for heard in heard {
            assert_eq!(*heard.lock().unwrap(), (vec![1, 2, 3, 4], vec![Ok(FinishReason::Length)]));
        }
        assert_eq!(*forgotten.lock().unwrap(), [AdapterId(4), used]);
    }

    #[test]
    fn a_failed_step_ends_its_own_sequences_and_no_other() {
        let heard = run(1, &[(&[0], None), (&[1, POISON], None), (&[2], None)]);
        assert_eq!(heard[0], (vec![1, 2, 3, 4], vec![Ok(FinishReason::Length)]));
        assert_eq!(heard[1], (vec![], vec![Err("internal error: poison was read".to_owned())]));
        assert_eq!(heard[2], (vec![3, 4, 5, 0], vec![Ok(FinishReason::Length)]));
    }

    #[test]
    fn a_listener_that_fails_ends_its_own_request_alone() {
        let heard = run(4, &[(&[0], Some(2)), (&[1], None)]);
        assert_eq!(heard[0].0, [1]);
        assert!(heard[0].1[0].as_ref().is_err_and(|error| error.contains("a hated token")), "{heard:?}");
        assert_eq!(heard[1], (vec![2, 3, 4, 5], vec![Ok(FinishReason::Length)]));
    }
}
