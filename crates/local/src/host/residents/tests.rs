//! Residents with models that answer when a test says so, and a clock that a test turns.

use super::*;
use chat::{Activity, ChatFuture, ChatRequest, ChatStream, ModelInfo};
use futures::executor::block_on;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

const NEW: Version = [None, None];

/// A model that only says what it does.
struct Fake {
    info: ModelInfo,
    running: Arc<AtomicUsize>,
}

impl ChatModel for Fake {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn activity(&self) -> Activity {
        Activity { running: self.running.load(Ordering::SeqCst), ..Activity::default() }
    }

    fn chat(&self, _: ChatRequest) -> ChatFuture<'_, ChatStream> {
        Box::pin(std::future::ready(Err(ChatError::Internal("no test asks it".to_owned()))))
    }
}

/// Residents in a world of its own.
struct World {
    residents: Arc<Residents>,
    seconds: Arc<AtomicU64>,
    /// Names in the order of their loads.
    loads: Arc<Mutex<Vec<String>>>,
}

fn world(limit: u64) -> World {
    let options = HostOptions { keep_alive: KeepAlive::For(Duration::from_secs(60)), ..HostOptions::default() };
    let (seconds, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let clock: Clock = {
        let seconds = Arc::clone(&seconds);
        Box::new(move || start + Duration::from_secs(seconds.load(Ordering::SeqCst)))
    };
    let residents = Arc::new(Residents::new(options, Box::new(move || Some(limit)), clock));
    World { residents, seconds, loads: Arc::default() }
}

fn loaded(name: &str, memory: u64, running: &Arc<AtomicUsize>, is_taken: &Arc<AtomicBool>) -> Loaded {
    let info = ModelInfo {
        name: name.to_owned(),
        family: "fake".to_owned(),
        parameters: 1,
        weight_bytes: memory,
        quantization: "f32".to_owned(),
        context: 1,
        maximum_context: 1,
        vocabulary: 1,
        capabilities: chat::Capabilities::default(),
    };
    let summary = ModelSummary {
        name: name.to_owned(),
        family: String::new(),
        bytes: memory,
        digest: None,
        parameters: None,
        quantization: None,
        modified: None,
        base: None,
        loaded: true,
    };
    let taken = Arc::clone(is_taken);
    Loaded {
        shared: Shared { model: Arc::new(Fake { info, running: Arc::clone(running) }), local: None },
        memory,
        is_taken: Box::new(move || taken.load(Ordering::SeqCst)),
        base: None,
        summary,
    }
}

/// What a model does, and whether its memory is back.
#[derive(Default, Clone)]
struct Hands {
    running: Arc<AtomicUsize>,
    is_taken: Arc<AtomicBool>,
}

impl World {
    fn load(&self, name: &str, memory: u64, keep: Option<KeepAlive>, hands: &Hands) -> Result<Shared, ChatError> {
        self.ask(name, keep, &mut |turn| {
            turn.admit(memory, None, &|| Ok(()))?;
            self.loads.lock().unwrap().push(name.to_owned());
            Ok(loaded(name, memory, &hands.running, &hands.is_taken))
        })
    }

    /// Asks on this thread, for as long as somebody waits for it.
    fn ask(&self, name: &str, keep: Option<KeepAlive>, make: &mut Make<'_>) -> Result<Shared, ChatError> {
        block_on(self.residents.load(Ask { name, version: &|| NEW, keep, is_cancelled: &|| false }, make))
    }

    fn idle(&self, name: &str, memory: u64) -> Hands {
        let hands = Hands::default();
        self.load(name, memory, None, &hands).map(drop).unwrap();
        hands
    }

    fn names(&self) -> Vec<String> {
        self.residents.running().into_iter().map(|model| model.summary.name).collect()
    }

    fn at(&self, seconds: u64) {
        self.seconds.store(seconds, Ordering::SeqCst);
    }
}

/// The version of files that were written so long after the epoch.
fn written_at(seconds: u64) -> Version {
    [Some(FileState::written(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))), None]
}

/// Waits for something that another thread does.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_longest_unused_goes_for_what_needs_its_room() {
    let world = world(100);
    for (second, name) in [(1, "a"), (2, "b"), (3, "c")] {
        world.at(second);
        world.idle(name, 30);
    }
    world.at(4);
    assert!(world.residents.get("a", NEW, None).is_some(), "asked for once more");
    world.idle("d", 30);
    assert_eq!(world.names(), ["a", "c", "d"]);
    world.idle("e", 70);
    assert_eq!(world.names(), ["d", "e"], "as many as are needed");
    let refused = world.load("huge", 101, None, &Hands::default()).err().unwrap();
    assert!(matches!(refused, ChatError::Unloadable(_)), "{refused}");
    assert!(refused.to_string().starts_with("huge needs 101 B of memory; of 100 B"), "{refused}");
    assert_eq!(world.names(), ["d", "e"], "nobody goes for what never fits");
}

#[test]
fn time_counts_from_the_last_answer_and_each_request_sets_it_anew() {
    let world = world(100);
    let hands = world.idle("a", 10);
    let forever = Hands::default();
    world.load("b", 10, Some(KeepAlive::Forever), &forever).map(drop).unwrap();
    hands.running.store(1, Ordering::SeqCst);
    world.at(500);
    world.residents.unload_expired();
    assert_eq!(world.names(), ["a", "b"], "it answers");
    hands.running.store(0, Ordering::SeqCst);
    world.at(559);
    world.residents.unload_expired();
    assert_eq!(world.names(), ["a", "b"], "60 seconds after its end are not over");
    let expires = world.residents.running()[0].expires.unwrap();
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
    assert!(left <= Duration::from_secs(1), "{left:?}");
    assert_eq!(world.residents.running()[1].expires, None);
    world.at(560);
    world.residents.unload_expired();
    assert_eq!(world.names(), ["b"]);
    assert!(world.residents.get("b", NEW, Some(KeepAlive::For(Duration::ZERO))).is_some());
    world.residents.unload_expired();
    assert_eq!(world.names(), Vec::<String>::new());
}

#[test]
fn a_model_that_somebody_holds_is_in_use() {
    let world = world(100);
    let held = world.load("a", 60, Some(KeepAlive::For(Duration::ZERO)), &Hands::default()).unwrap();
    world.residents.unload_expired();
    assert_eq!(world.names(), ["a"]);
    drop(held);
    world.residents.unload_expired();
    assert_eq!(world.names(), Vec::<String>::new());
}

#[test]
fn memory_of_what_was_unloaded_counts_until_its_last_answer_has_ended() {
    let world = world(100);
    let hands = world.idle("a", 60);
    hands.is_taken.store(true, Ordering::SeqCst);
    assert!(world.residents.unload("a") && !world.residents.unload("a"));
    thread::scope(|scope| {
        let loading = scope.spawn(|| world.load("b", 60, None, &Hands::default()).map(drop));
        thread::sleep(Duration::from_millis(60));
        assert!(!loading.is_finished() && world.loads.lock().unwrap().as_slice() == ["a"]);
        hands.is_taken.store(false, Ordering::SeqCst);
        loading.join().unwrap().unwrap();
    });
    assert_eq!(world.names(), ["b"]);
}

#[test]
fn nobody_else_goes_while_the_memory_of_an_idle_one_is_on_its_way_back() {
    let world = world(100);
    let first = world.idle("first", 40);
    world.at(1);
    world.idle("second", 40);
    // Its thread takes a moment to end.
    first.is_taken.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let loading = scope.spawn(|| world.load("third", 40, None, &Hands::default()).map(drop));
        until("the first goes", || world.names() == ["second"]);
        thread::sleep(Duration::from_millis(60));
        assert_eq!(world.names(), ["second"]);
        first.is_taken.store(false, Ordering::SeqCst);
        loading.join().unwrap().unwrap();
    });
    assert_eq!(world.names(), ["second", "third"]);
}

#[test]
fn what_answers_is_not_ended_but_runs_dry_and_who_asks_for_it_queues_behind() {
    let world = world(100);
    let hands = world.idle("busy", 60);
    hands.running.store(1, Ordering::SeqCst);
    thread::scope(|scope| {
        let other = scope.spawn(|| world.load("other", 60, None, &Hands::default()).map(drop));
        // While it waits, the busy one takes nobody new: with a request always under way, the other would starve.
        until("runs dry", || world.residents.get("busy", NEW, None).is_none());
        let again = scope.spawn(|| world.load("busy", 60, None, &Hands::default()).map(drop));
        thread::sleep(Duration::from_millis(60));
        assert!(!other.is_finished() && !again.is_finished());
        assert_eq!(world.names(), ["busy"], "listing does not wait");
        hands.running.store(0, Ordering::SeqCst);
        other.join().unwrap().unwrap();
        again.join().unwrap().unwrap();
    });
    assert_eq!(world.loads.lock().unwrap().as_slice(), ["busy", "other", "busy"]);
}

#[test]
fn a_wait_that_is_too_long_is_an_overload_and_the_busy_ones_stay() {
    let world = world(100);
    let hands = world.idle("busy", 60);
    hands.running.store(1, Ordering::SeqCst);
    thread::scope(|scope| {
        let other = scope.spawn(|| world.load("other", 60, None, &Hands::default()).map(drop));
        until("runs dry", || world.residents.get("busy", NEW, None).is_none());
        world.at(300);
        let refused = other.join().unwrap().unwrap_err();
        assert!(matches!(refused, ChatError::Overloaded(_)), "{refused}");
        let expected = "other needs 60 B of memory; of 100 B that all models may take, 60 B are taken by models in use: busy\n\
             hint: ask again later, stop a model, or allow more memory";
        assert_eq!(refused.to_string(), expected);
    });
    assert!(world.residents.get("busy", NEW, None).is_some(), "it takes requests again");
}

#[test]
fn two_who_ask_for_one_model_share_its_load_or_its_error() {
    let world = world(100);
    for fails in [true, false] {
        let begun = AtomicUsize::new(0);
        let go_on = AtomicBool::new(false);
        let ask = || {
            world.ask("a", None, &mut |turn| {
                begun.fetch_add(1, Ordering::SeqCst);
                until("told to go on", || go_on.load(Ordering::SeqCst));
                turn.admit(10, None, &|| Ok(()))?;
                if fails {
                    return Err(ChatError::Unloadable("damaged".to_owned()));
                }
                let hands = Hands::default();
                Ok(loaded("a", 10, &hands.running, &hands.is_taken))
            })
        };
        thread::scope(|scope| {
            let all: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
            until("one begins", || begun.load(Ordering::SeqCst) == 1);
            thread::sleep(Duration::from_millis(30));
            assert!(world.residents.get("a", NEW, None).is_none(), "at once, while it loads");
            assert!(world.residents.running().is_empty());
            go_on.store(true, Ordering::SeqCst);
            let outcomes: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
            let errors = outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(|e| e.to_string() == "damaged"));
            assert_eq!((errors.count(), begun.load(Ordering::SeqCst)), (if fails { 3 } else { 0 }, 1));
        });
    }
}

#[test]
fn loads_are_one_at_a_time_in_the_order_of_arrival() {
    let world = world(1000);
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let queued = world.residents.state().next_ticket;
            scope.spawn(|| {
                let hands = Hands::default();
                let outcome = world.ask(name, None, &mut |_| {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    world.loads.lock().unwrap().push(name.to_owned());
                    thread::sleep(Duration::from_millis(15));
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(loaded(name, 1, &hands.running, &hands.is_taken))
                });
                outcome.map(drop).unwrap();
            });
            until("it queues", || world.residents.state().next_ticket > queued);
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_eq!(world.loads.lock().unwrap().as_slice(), ["a", "b", "c", "d"]);
}

#[test]
fn who_leaves_the_queue_or_panics_blocks_nobody() {
    let world = world(100);
    let (gone, go_on) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            world.ask("a", None, &mut |_| {
                until("told to go on", || go_on.load(Ordering::SeqCst));
                panic!("inside of a load");
            })
        });
        until("it loads", || world.residents.state().next_ticket == 1);
        let leaver = scope.spawn(|| {
            let is_gone = || gone.load(Ordering::SeqCst);
            let ask = Ask { name: "b", version: &|| NEW, keep: None, is_cancelled: &is_gone };
            block_on(world.residents.load(ask, &mut |_| Err(ChatError::Internal("not reached".to_owned()))))
        });
        until("it queues", || world.residents.state().next_ticket == 2);
        // This one waits for the leaver's load, and takes it over.
        let heir = scope.spawn(|| world.load("b", 10, None, &Hands::default()).map(drop));
        thread::sleep(Duration::from_millis(30));
        gone.store(true, Ordering::SeqCst);
        let refused = leaver.join().unwrap().err().unwrap().to_string();
        assert_eq!(refused, "b: whoever asked for it has gone before it was loaded");
        go_on.store(true, Ordering::SeqCst);
        assert!(first.join().is_err());
        heir.join().unwrap().unwrap();
    });
    assert_eq!(world.names(), ["b"]);
    let state = world.residents.state();
    assert!(state.queue.is_empty() && state.loading.is_empty());
}

#[test]
fn other_files_under_a_name_are_loaded_anew() {
    let world = world(100);
    world.idle("a", 10);
    let later = [Some(FileState::written(SystemTime::now())), None];
    assert!(world.residents.get("a", later, None).is_none() && world.residents.peek("a", later).is_none());
    let hands = Hands::default();
    let ask = Ask { name: "a", version: &|| later, keep: None, is_cancelled: &|| false };
    let made = block_on(world.residents.load(ask, &mut |_| Ok(loaded("a", 20, &hands.running, &hands.is_taken))));
    assert!(made.is_ok() && world.residents.get("a", later, None).is_some());
    assert_eq!(world.residents.running()[0].memory_bytes, 20);
}

#[test]
fn a_base_stays_while_an_adapter_uses_it_and_takes_it_along() {
    let world = world(100);
    world.idle("base", 50);
    let adapted = |needed: u64| {
        let hands = Hands::default();
        let made = world.ask("base+x", None, &mut |turn| {
            turn.admit(needed, Some("base"), &|| Ok(()))?;
            Ok(Loaded { base: Some("base".to_owned()), ..loaded("base+x", needed, &hands.running, &hands.is_taken) })
        });
        made.map(drop)
    };
    adapted(10).unwrap();
    world.at(59);
    assert!(world.residents.get("base+x", NEW, None).is_some());
    world.at(61);
    world.residents.unload_expired();
    assert_eq!(world.names(), ["base", "base+x"]);
    world.idle("other", 90);
    assert_eq!(world.names(), ["other"], "both go, the adapter first");
    world.residents.unload("other");
    world.idle("base", 50);
    adapted(10).unwrap();
    assert!(world.residents.unload("base"));
    assert_eq!(world.names(), Vec::<String>::new());
    world.idle("base", 50);
    let refused = adapted(60).unwrap_err();
    assert!(matches!(refused, ChatError::Overloaded(_)), "its base is no room for it: {refused}");
    assert_eq!(world.names(), ["base"]);
}

#[test]
fn what_the_system_says_of_a_model_alone_is_the_error_where_nobody_can_go() {
    let world = world(100);
    world.idle("a", 10);
    let hands = Hands::default();
    let refused = world.ask("b", None, &mut |turn| {
        turn.admit(50, None, &|| Err(ChatError::Unloadable("b needs more than is free".to_owned())))?;
        Ok(loaded("b", 50, &hands.running, &hands.is_taken))
    });
    assert_eq!(refused.err().unwrap().to_string(), "b needs more than is free");
    assert_eq!(world.names(), Vec::<String>::new(), "what could go was unloaded first");
}

#[test]
fn who_waits_for_the_load_of_another_holds_no_thread() {
    let world = world(100);
    let go_on = AtomicBool::new(false);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            world.ask("a", None, &mut |turn| {
                until("told to go on", || go_on.load(Ordering::SeqCst));
                turn.admit(10, None, &|| Ok(()))?;
                let hands = Hands::default();
                Ok(loaded("a", 10, &hands.running, &hands.is_taken))
            })
        });
        until("it loads", || world.residents.state().next_ticket == 1);
        // All on this one thread, some of whom leave.
        let ask = || Ask { name: "a", version: &|| NEW, keep: Some(KeepAlive::Forever), is_cancelled: &|| false };
        let not_me = |_: &Turn<'_>| Err(ChatError::Internal("one load is enough".to_owned()));
        let mut makes = [not_me; 500];
        let mut waiting: Vec<_> = makes.iter_mut().map(|make| Box::pin(world.residents.load(ask(), make))).collect();
        block_on(async {
            for one in &mut waiting {
                assert!(futures::poll!(one).is_pending());
            }
            waiting.truncate(400);
            go_on.store(true, Ordering::SeqCst);
            for one in waiting {
                one.await.map(drop).unwrap();
            }
        });
        first.join().unwrap().map(drop).unwrap();
    });
    assert_eq!(world.residents.state().next_ticket, 1, "nobody else loaded it");
    assert_eq!(world.residents.running()[0].expires, None, "and each said how long it is to stay");
}

#[test]
fn what_takes_the_place_of_a_resident_leaves_that_ones_memory_counted() {
    let world = world(100);
    let hands = world.idle("base", 60);
    hands.is_taken.store(true, Ordering::SeqCst);
    let made = world.ask("base+x", None, &mut |turn| {
        let hands = Hands::default();
        turn.put("base", loaded("base", 30, &hands.running, &hands.is_taken), NEW, None);
        Ok(Loaded { base: Some("base".to_owned()), ..loaded("base+x", 1, &hands.running, &hands.is_taken) })
    });
    made.map(drop).unwrap();
    assert_eq!(world.residents.state().taken(), 91, "the old one answers still");
    hands.is_taken.store(false, Ordering::SeqCst);
    assert_eq!(world.residents.state().taken(), 31);
}

#[test]
fn what_is_replaced_while_its_load_waits_is_loaded_in_its_last_version() {
    let world = world(100);
    let (go_on, second) = (AtomicBool::new(false), AtomicU64::new(1));
    let version = || written_at(second.load(Ordering::SeqCst));
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            world.ask("a", None, &mut |_| {
                until("told to go on", || go_on.load(Ordering::SeqCst));
                Err(ChatError::Unloadable("damaged".to_owned()))
            })
        });
        until("it loads", || world.residents.state().next_ticket == 1);
        let waiting = scope.spawn(|| {
            let ask = Ask { name: "b", version: &version, keep: None, is_cancelled: &|| false };
            let hands = Hands::default();
            block_on(world.residents.load(ask, &mut |_| Ok(loaded("b", 1, &hands.running, &hands.is_taken))))
        });
        until("it queues", || world.residents.state().next_ticket == 2);
        second.store(2, Ordering::SeqCst);
        go_on.store(true, Ordering::SeqCst);
        assert!(first.join().unwrap().is_err() && waiting.join().unwrap().is_ok());
    });
    assert!(world.residents.peek("b", version()).is_some());
}

/// Who comes while the old files are loaded gets the new ones, and not the error of the old ones either.
#[test]
fn who_joins_a_load_of_files_that_were_replaced_since_gets_the_new_ones() {
    for fails in [false, true] {
        let world = world(100);
        let (begun, go_on, second) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(1));
        let version = || written_at(second.load(Ordering::SeqCst));
        let ask = |memory: u64, fails: bool| {
            let ask = Ask { name: "a", version: &version, keep: None, is_cancelled: &|| false };
            let hands = Hands::default();
            block_on(world.residents.load(ask, &mut |_| {
                begun.store(true, Ordering::SeqCst);
                until("told to go on", || go_on.load(Ordering::SeqCst));
                match fails {
                    true => Err(ChatError::Unloadable("damaged".to_owned())),
                    false => Ok(loaded("a", memory, &hands.running, &hands.is_taken)),
                }
            }))
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| ask(1, fails));
            until("the old files are loaded", || begun.load(Ordering::SeqCst));
            second.store(2, Ordering::SeqCst);
            let joining = scope.spawn(|| ask(2, false));
            thread::sleep(Duration::from_millis(30));
            go_on.store(true, Ordering::SeqCst);
            assert_eq!(first.join().unwrap().is_err(), fails);
            assert_eq!(joining.join().unwrap().unwrap().model.info().weight_bytes, 2);
        });
        assert!(world.residents.peek("a", version()).is_some());
    }
}
