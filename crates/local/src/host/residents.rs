//! The models in memory: which there are, who goes when another one needs the room, who loads next.
//!
//! ```text
//! ask for a model:  it is here                  -> shared at once
//!                   somebody loads it already   -> await the same outcome, which takes no thread
//!                   else                        -> a place in the queue of loads, and a thread; one loads at a time
//! the load at the front, once it knows what it needs:
//!   while it does not fit:  unload what nobody uses, the longest unused first
//!                           else let models that answer run dry: they finish, and who asks for them queues behind us
//! ```
//!
//! A model that answers is never ended for another one. What was unloaded counts as taken until the last answer from it
//! has ended. The lock here is held for moments only, never while a model loads.
//! This file does not know how a model is loaded, nor where it came from. Read next: `host.rs`.

use crate::file_state::FileState;
use crate::local_model::LocalModel;
use crate::memory::human_bytes;
use chat::{ChatError, ChatModel, KeepAlive, ModelSummary, RunningModel};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often a waiting load looks again. An answer that ends tells nobody here.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a host keeps models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOptions {
    /// How long a model stays after its last answer where the request leaves it open; default: five minutes.
    pub keep_alive: KeepAlive,
    /// Models that stay for ever where the request leaves it open; default: none. They too give way to others that need
    /// their memory.
    pub kept: Vec<String>,
    /// How long a load may wait for models that answer to give their memory back; default: five minutes.
    pub longest_wait: Duration,
    /// What a name may reach; default: everything.
    pub reach: Reach,
}

/// What a name may reach beside the models in the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// Every file of this machine, and whatever can be fetched: a name is fetched when it is first asked for.
    #[default]
    Everything,
    /// What is named here, by these very names, and the files that are part of them: of `base+adapter` the base alone too,
    /// which is in memory for it, and the adapter with another base. Of any other file not even whether it is there is
    /// told. Nothing is fetched but by a pull. For names that come from others.
    Store {
        /// Models that may be asked for beside those in the store: names, paths, or either with an adapter.
        named: Vec<String>,
    },
}

impl Default for HostOptions {
    fn default() -> HostOptions {
        let five_minutes = Duration::from_secs(300);
        HostOptions {
            keep_alive: KeepAlive::For(five_minutes),
            kept: Vec::new(),
            longest_wait: five_minutes,
            reach: Reach::Everything,
        }
    }
}

/// Tells the time.
pub(crate) type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

/// Bytes of memory that all models together may take, as known now; none where nobody knows.
pub(crate) type MemoryLimit = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// Which state of its files a model is loaded from, and of those of its adapter.
pub(crate) type Version = [Option<FileState>; 2];

/// A model in memory, as whoever asked for it gets it.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) model: Arc<dyn ChatModel>,
    /// The same one, where it can do all that a model of this machine can.
    pub(crate) local: Option<Arc<LocalModel>>,
}

impl Shared {
    /// Whether somebody beside the host holds it.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.model) > 1 + usize::from(self.local.is_some())
    }
}

/// What a load ends in.
pub(crate) struct Loaded {
    pub(crate) shared: Shared,
    /// Bytes that it takes, without those of its base.
    pub(crate) memory: u64,
    /// Whether its memory is taken still, by answers that go on after everybody let go of it.
    pub(crate) is_taken: Box<dyn Fn() -> bool + Send + Sync>,
    /// The resident whose weights it uses: that one stays as long as this one does.
    pub(crate) base: Option<String>,
    /// As in the list.
    pub(crate) summary: ModelSummary,
}

struct Resident {
    loaded: Loaded,
    /// Which version of the model's files it was loaded from.
    version: Version,
    keep: KeepAlive,
    /// When it was asked for, or seen answering, last.
    used: Instant,
    /// Nobody new gets it: a load waits for its memory.
    is_running_dry: bool,
}

impl Resident {
    fn is_in_use(&self) -> bool {
        let activity = self.loaded.shared.model.activity();
        activity.running + activity.waiting > 0 || self.loaded.shared.is_held()
    }
}

/// Unloaded, but its memory is not back yet.
struct Leaving {
    name: String,
    memory: u64,
    /// Nobody used it: its memory comes back in a moment.
    was_idle: bool,
    is_taken: Box<dyn Fn() -> bool + Send + Sync>,
}

/// What a load came to, of these files.
#[derive(Clone)]
struct Told {
    version: Version,
    result: Result<Shared, ChatError>,
}

/// What a load under way comes to, for all who wait for it. Cancelled: it was given up before it began.
type Outcome = future::Shared<oneshot::Receiver<Told>>;

#[derive(Default)]
struct State {
    residents: BTreeMap<String, Resident>,
    leaving: Vec<Leaving>,
    loading: BTreeMap<String, Outcome>,
    /// Loads in the order in which they came; the first one loads.
    queue: VecDeque<u64>,
    next_ticket: u64,
}

impl State {
    fn taken(&mut self) -> u64 {
        self.leaving.retain(|left| (left.is_taken)());
        let residents = self.residents.values().map(|resident| resident.loaded.memory);
        residents.chain(self.leaving.iter().map(|left| left.memory)).fold(0, u64::saturating_add)
    }

    fn has_dependents(&self, name: &str) -> bool {
        self.residents.values().any(|resident| resident.loaded.base.as_deref() == Some(name))
    }

    /// Forgets a resident, with those that use its weights; true if it was there.
    fn retire(&mut self, name: &str) -> bool {
        let uses = |resident: &Resident| resident.loaded.base.as_deref() == Some(name);
        let dependents: Vec<String> =
            self.residents.iter().filter(|(_, resident)| uses(resident)).map(|(name, _)| name.clone()).collect();
        for dependent in dependents {
            self.retire(&dependent);
        }
        let Some(resident) = self.residents.remove(name) else { return false };
        let was_idle = !resident.is_in_use();
        let Loaded { memory, is_taken, .. } = resident.loaded;
        self.leaving.push(Leaving { name: name.to_owned(), memory, was_idle, is_taken });
        true
    }

    /// Residents that may go, the longest unused first; `pinned` may not.
    fn by_age(&self, pinned: Option<&str>) -> Vec<String> {
        let mut names: Vec<&String> = self.residents.keys().filter(|name| Some(name.as_str()) != pinned).collect();
        // One that others use goes after them.
        names.sort_by_key(|name| (self.residents[*name].used, self.has_dependents(name)));
        names.into_iter().cloned().collect()
    }

    fn touch(&mut self, name: &str, keep: Option<KeepAlive>, now: Instant) -> Option<Shared> {
        let resident = self.residents.get_mut(name)?;
        resident.used = now;
        resident.keep = keep.unwrap_or(resident.keep);
        let (shared, base) = (resident.loaded.shared.clone(), resident.loaded.base.clone());
        if let Some(base) = base.and_then(|base| self.residents.get_mut(&base)) {
            base.used = now;
        }
        Some(shared)
    }

    /// One that may be handed out: of this version, and not running dry.
    fn find(&mut self, name: &str, version: Version, keep: Option<KeepAlive>, now: Instant) -> Option<Shared> {
        let resident = self.residents.get(name)?;
        if resident.version != version || resident.is_running_dry {
            return None;
        }
        self.touch(name, keep, now)
    }

    fn let_all_run(&mut self) {
        self.residents.values_mut().for_each(|resident| resident.is_running_dry = false);
    }
}

/// The models in memory.
pub(crate) struct Residents {
    state: Mutex<State>,
    changed: Condvar,
    options: HostOptions,
    limit: MemoryLimit,
    clock: Clock,
}

/// Whoever asked, at the door.
enum Entered {
    Found(Shared),
    /// Somebody loads it; and the files as they are now, which need not be those that are loaded.
    Together(Outcome, Version),
    First(oneshot::Sender<Told>, u64),
}

/// Somebody who asks for a model.
pub(crate) struct Ask<'a> {
    pub(crate) name: &'a str,
    /// Which state its files have, each time that it is looked up.
    pub(crate) version: &'a (dyn Fn() -> Version + Sync),
    pub(crate) keep: Option<KeepAlive>,
    /// Whether whoever asks has gone.
    pub(crate) is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

/// Loads a model that is not there, of the version that is given; it asks its [`Turn`] for the memory.
pub(crate) type Make<'a> = dyn FnMut(&Turn<'_>) -> Result<Loaded, ChatError> + Send + 'a;

impl Residents {
    pub(crate) fn new(options: HostOptions, limit: MemoryLimit, clock: Clock) -> Residents {
        Residents { state: Mutex::default(), changed: Condvar::new(), options, limit, clock }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole, whatever happens to who made it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something changed, or for a moment.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0
    }

    /// A model that is here, of this version of its files; asking for it keeps it.
    pub(crate) fn get(&self, name: &str, version: Version, keep: Option<KeepAlive>) -> Option<Shared> {
        let now = (self.clock)();
        self.state().find(name, version, keep, now)
    }

    /// The same without keeping it for longer.
    pub(crate) fn peek(&self, name: &str, version: Version) -> Option<Shared> {
        let state = self.state();
        let resident = state.residents.get(name).filter(|resident| resident.version == version)?;
        Some(resident.loaded.shared.clone())
    }

    /// Whether a model is here.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.state().residents.contains_key(name)
    }

    /// All that are here, by name.
    pub(crate) fn running(&self) -> Vec<RunningModel> {
        let (now, today) = ((self.clock)(), SystemTime::now());
        let state = self.state();
        let running = |resident: &Resident| {
            let since = if resident.is_in_use() { now } else { resident.used };
            let expires = match resident.keep {
                KeepAlive::For(keep) => since.checked_add(keep).map(|end| end.saturating_duration_since(now)),
                KeepAlive::Forever => None,
            };
            RunningModel {
                summary: ModelSummary { loaded: true, ..resident.loaded.summary.clone() },
                memory_bytes: resident.loaded.memory,
                shares: resident.loaded.base.clone(),
                expires: expires.and_then(|left| today.checked_add(left)),
                model: Arc::clone(&resident.loaded.shared.model),
            }
        };
        state.residents.values().map(running).collect()
    }

    /// Forgets a model, and those that use its weights; true if it was here.
    pub(crate) fn unload(&self, name: &str) -> bool {
        let was_here = self.state().retire(name);
        self.changed.notify_all();
        was_here
    }

    /// Forgets what nobody has used for as long as it was to be kept.
    pub(crate) fn unload_expired(&self) {
        let now = (self.clock)();
        let mut state = self.state();
        for name in state.by_age(None) {
            let depended_on = state.has_dependents(&name);
            let Some(resident) = state.residents.get_mut(&name) else { continue };
            if resident.is_in_use() {
                resident.used = now;
            } else if let KeepAlive::For(keep) = resident.keep
                && !depended_on
                && now.saturating_duration_since(resident.used) >= keep
            {
                state.retire(&name);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// A model: the one that is here, or what `make` loads when this load's turn has come. Of those who ask for the same
    /// one meanwhile, one loads and all get what it got. That one blocks the thread that polls it; the others only await its
    /// outcome, and may be dropped meanwhile.
    ///
    /// # Errors
    /// What `make` says; the wait was given up.
    pub(crate) async fn load(&self, ask: Ask<'_>, make: &mut Make<'_>) -> Result<Shared, ChatError> {
        loop {
            match self.enter(&ask) {
                Entered::Found(shared) => return Ok(shared),
                Entered::Together(..) if (ask.is_cancelled)() => return Err(given_up(ask.name)),
                Entered::Together(outcome, version) => match outcome.await {
                    Ok(told) if told.version == version => {
                        let shared = told.result?;
                        self.state().touch(ask.name, ask.keep, (self.clock)());
                        return Ok(shared);
                    }
                    // Of other files than we saw, or whoever was to load it has gone: once more.
                    Ok(_) | Err(_) => {}
                },
                Entered::First(tell, ticket) => {
                    let turn = Turn { residents: self, ask: &ask, ticket };
                    let taken = turn.take(make);
                    // Out of the queue before anybody is woken, who would find this load in it; in a panic too.
                    drop(turn);
                    let told = taken?;
                    // Where whoever asked has gone, nothing is told, and the next of those who wait takes over.
                    if told.result.is_ok() || !(ask.is_cancelled)() {
                        let _ = tell.send(told.clone());
                    }
                    return told.result;
                }
            }
        }
    }

    fn enter(&self, ask: &Ask<'_>) -> Entered {
        // It looks at files: not under the lock.
        let (version, now) = ((ask.version)(), (self.clock)());
        let mut state = self.state();
        if let Some(shared) = state.find(ask.name, version, ask.keep, now) {
            return Entered::Found(shared);
        }
        if let Some(outcome) = state.loading.get(ask.name) {
            return Entered::Together(outcome.clone(), version);
        }
        let ((tell, outcome), ticket) = (oneshot::channel(), state.next_ticket);
        state.next_ticket += 1;
        state.queue.push_back(ticket);
        state.loading.insert(ask.name.to_owned(), outcome.shared());
        Entered::First(tell, ticket)
    }
}

/// A place in the queue of loads; at its front, the right to load.
pub(crate) struct Turn<'a> {
    residents: &'a Residents,
    ask: &'a Ask<'a>,
    ticket: u64,
}

impl Turn<'_> {
    fn wait_for_front(&self) -> Result<(), ChatError> {
        let mut state = self.residents.state();
        while state.queue.front() != Some(&self.ticket) {
            if (self.ask.is_cancelled)() {
                return Err(given_up(self.ask.name));
            }
            state = self.residents.wait(state);
        }
        Ok(())
    }

    /// Waits for the front of the queue, and loads; an error where it was left before.
    fn take(&self, make: &mut Make<'_>) -> Result<Told, ChatError> {
        self.wait_for_front()?;
        // As it is now: the wait may have been long. What is written from here on is another version.
        let version = (self.ask.version)();
        Ok(Told { version, result: self.make(version, make) })
    }

    fn make(&self, version: Version, make: &mut Make<'_>) -> Result<Shared, ChatError> {
        let Ask { name, keep, .. } = *self.ask;
        let mut state = self.residents.state();
        // It may have been running dry, and was spared.
        if let Some(shared) = state.find(name, version, keep, (self.residents.clock)()) {
            return Ok(shared);
        }
        // One of other files than those that are there now.
        state.retire(name);
        drop(state);
        let loaded = make(self)?;
        let shared = loaded.shared.clone();
        self.put(name, loaded, version, keep);
        Ok(shared)
    }

    /// Forgets a resident of other files than those that are there now, so that its memory may come back.
    pub(crate) fn retire(&self, name: &str) {
        self.residents.unload(name);
    }

    /// Makes a model resident: the one that is loaded, or the base that it needs.
    pub(crate) fn put(&self, name: &str, loaded: Loaded, version: Version, keep: Option<KeepAlive>) {
        let residents = self.residents;
        let resident = Resident {
            loaded,
            version,
            keep: keep.unwrap_or(residents.options.keep_alive),
            used: (residents.clock)(),
            is_running_dry: false,
        };
        let mut state = residents.state();
        // What it takes the place of, if anything, takes memory until its last answer has ended.
        state.retire(name);
        state.residents.insert(name.to_owned(), resident);
        drop(state);
        residents.changed.notify_all();
    }

    /// Makes room for `needed` bytes. `check` is what the system says of them alone, and the error for a model that is too
    /// large whatever else is unloaded; `pinned` is a resident that must not go for them.
    ///
    /// # Errors
    /// [`ChatError::Unloadable`] for what never fits, [`ChatError::Overloaded`] where models that answer did not end in
    /// time, naming them and all numbers.
    pub(crate) fn admit(
        &self,
        needed: u64,
        pinned: Option<&str>,
        check: &dyn Fn() -> Result<(), ChatError>,
    ) -> Result<(), ChatError> {
        let residents = self.residents;
        let limit = (residents.limit)().unwrap_or(u64::MAX);
        if needed > limit {
            check()?;
            return Err(ChatError::Unloadable(self.shortage(needed, limit, 0, &[])));
        }
        let deadline = (residents.clock)().checked_add(residents.options.longest_wait);
        let mut state = residents.state();
        loop {
            let taken = state.taken();
            let refusal = match check() {
                Ok(()) if taken.saturating_add(needed) <= limit => break,
                Ok(()) => ChatError::Overloaded(String::new()),
                Err(refusal) => refusal,
            };
            let missing = taken.saturating_add(needed).saturating_sub(limit);
            let soon: u64 = state.leaving.iter().filter(|left| left.was_idle).map(|left| left.memory).sum();
            let is_coming = soon > 0 && soon >= missing;
            let ages = state.by_age(pinned);
            let is_free = |name: &&String| !state.has_dependents(name) && !state.residents[*name].is_in_use();
            if let Some(name) = ages.iter().find(is_free).cloned().filter(|_| !is_coming) {
                state.retire(&name);
                continue;
            }
            let leaving = state.leaving.iter().map(|left| left.name.clone());
            let busy: Vec<String> = ages.iter().cloned().chain(leaving).collect();
            let is_late = deadline.is_some_and(|deadline| (residents.clock)() >= deadline);
            if busy.is_empty() || is_late {
                state.let_all_run();
                return Err(match refusal {
                    refusal if busy.is_empty() && matches!(refusal, ChatError::Unloadable(_)) => refusal,
                    _ => ChatError::Overloaded(self.shortage(needed, limit, taken, &busy)),
                });
            }
            if (self.ask.is_cancelled)() {
                state.let_all_run();
                return Err(given_up(self.ask.name));
            }
            if !is_coming {
                run_dry(&mut state, &ages, missing);
            }
            state = residents.wait(state);
        }
        state.let_all_run();
        Ok(())
    }

    fn shortage(&self, needed: u64, limit: u64, taken: u64, busy: &[String]) -> String {
        let by = if busy.is_empty() { String::new() } else { format!(" by models in use: {}", busy.join(", ")) };
        format!(
            "{} needs {} of memory; of {} that all models may take, {} are taken{by}\n\
             hint: ask again later, stop a model, or allow more memory",
            self.ask.name,
            human_bytes(needed),
            human_bytes(limit),
            human_bytes(taken),
        )
    }
}

/// Lets models in use run dry, the longest unused first, until they have `missing` bytes together: at least one.
fn run_dry(state: &mut State, ages: &[String], missing: u64) {
    let mut coming: u64 = state.leaving.iter().map(|left| left.memory).sum();
    for name in ages {
        if coming > 0 && coming >= missing {
            return;
        }
        if let Some(resident) = state.residents.get_mut(name) {
            resident.is_running_dry = true;
            coming = coming.saturating_add(resident.loaded.memory);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.residents.state();
        state.queue.retain(|ticket| *ticket != self.ticket);
        state.loading.remove(self.ask.name);
        state.let_all_run();
        drop(state);
        self.residents.changed.notify_all();
    }
}

fn given_up(name: &str) -> ChatError {
    ChatError::Unavailable(format!("{name}: whoever asked for it has gone before it was loaded"))
}

#[cfg(test)]
mod tests;
