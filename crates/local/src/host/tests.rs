//! A host over a store of tiny models: loads, unloads, names, and models made of others.

use super::*;
use crate::tiny::{TEMPLATE, Tiny};
use chat::{ChatEvent, ChatRequest, GenerationOptions, Message, Role};
use futures::stream;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64 as Seconds;
use std::time::Duration;
use tempfile::TempDir;

struct Quiet;

impl PullProgress for Quiet {
    fn start(&self, _: &str, _: Option<u64>, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
    fn finish(&self) {}
}

struct Place {
    folder: TempDir,
    host: LocalHost,
    seconds: Arc<Seconds>,
}

/// A host with the tiny model under the name `tiny`.
fn place(memory: Option<u64>) -> Place {
    let folder = TempDir::new().unwrap();
    let path = Tiny::default().write(folder.path());
    let options = hub::HubOptions { search_path: Default::default(), ..hub::HubOptions::from_env() };
    let hub = Hub::open(hub::Home::at(folder.path().join("home")), options).unwrap();
    hub.import(&path, "tiny", false, &hub::Silent).unwrap();
    let (seconds, start) = (Arc::new(Seconds::new(0)), Instant::now());
    let clock: Clock = {
        let seconds = Arc::clone(&seconds);
        Box::new(move || start + Duration::from_secs(seconds.load(Ordering::SeqCst)))
    };
    let options = LoadOptions { threads: Some(1), memory, ..LoadOptions::default() };
    let host = LocalHost::with_clock(hub, options, HostOptions::default(), clock).unwrap();
    Place { folder, host, seconds }
}

impl Place {
    /// From now on names reach the store and what is named here.
    fn reach_only(&mut self, named: &[&str]) {
        let named = named.iter().map(|name| (*name).to_owned()).collect();
        self.host.reached = Reached::of(&self.host.hub, &Reach::Store { named });
    }

    fn load(&self, name: &str) -> Result<Arc<dyn ChatModel>, ChatError> {
        block_on(self.host.load(name, None, &Quiet))
    }

    /// The model of a name, if it is in memory; asking keeps it there.
    fn loaded(&self, name: &str) -> Option<Arc<dyn ChatModel>> {
        let target = self.host.target(name).ok()?;
        Some(self.host.residents.get(&target.name, target.version(&self.host.hub), None)?.model)
    }

    fn create(&self, request: CreateRequest) -> Result<(), ChatError> {
        block_on(self.host.create(request, &Quiet))
    }

    fn show(&self, name: &str) -> ModelDetails {
        block_on(self.host.show(name)).unwrap()
    }

    fn put(&self, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", Sha256::of(bytes));
        let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(piece.to_vec())).collect();
        block_on(self.host.put_blob(&digest, stream::iter(pieces).boxed())).unwrap();
        digest
    }

    fn running(&self) -> Vec<String> {
        self.host.running().into_iter().map(|model| model.summary.name).collect()
    }

    fn list(&self) -> Vec<ModelSummary> {
        block_on(self.host.list()).unwrap()
    }
}

fn made_from(from: &str, name: &str) -> CreateRequest {
    CreateRequest { name: name.to_owned(), from: Some(from.to_owned()), ..CreateRequest::default() }
}

fn refused<T>(outcome: Result<T, ChatError>) -> String {
    outcome.map(drop).unwrap_err().to_string()
}

/// A GGUF file of an adapter that changes nothing.
fn adapter(folder: &Path) -> PathBuf {
    let mut metadata = formats::Metadata::new();
    for (key, value) in [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")] {
        metadata.insert(key, value);
    }
    let path = folder.join("lora.gguf");
    let element = formats::ElementType::from_name("F32").unwrap();
    let plan = |half: &str, shape| {
        let name = format!("blk.0.attn_q.weight.lora_{half}");
        formats::TensorPlan { name, shape, element }
    };
    let plans = [plan("a", vec![1, 64]), plan("b", vec![64, 1])];
    let mut writer =
        formats::GgufWriter::create(std::fs::File::create(&path).unwrap(), "x", &metadata, &plans).unwrap();
    writer.write(&[0; 256]).unwrap();
    writer.write(&[0; 256]).unwrap();
    writer.finish().unwrap();
    path
}

#[test]
fn a_model_is_loaded_once_shared_listed_and_unloaded() {
    let place = place(None);
    assert!(place.loaded("tiny").is_none() && place.loaded("nothing").is_none());
    let model = place.load("tiny").unwrap();
    assert!(Arc::ptr_eq(&model, &place.load("tiny").unwrap()));
    assert!(Arc::ptr_eq(&model, &place.loaded("tiny").unwrap()));
    let running = place.host.running();
    let [one] = running.as_slice() else { panic!("{} are running", running.len()) };
    assert_eq!((one.summary.quantization.as_deref(), one.summary.family.as_str()), (Some("f32"), "llama"));
    assert!(one.memory_bytes > one.summary.bytes && one.expires.is_some());
    let listed = place.list();
    assert_eq!((listed[0].loaded, listed[0].quantization.as_deref()), (true, Some("f32")));
    assert!(listed[0].modified.is_some() && listed[0].parameters.is_some_and(|count| count > 1000));
    assert!(block_on(place.host.unload("tiny")).unwrap() && !block_on(place.host.unload("tiny")).unwrap());
    assert!(!place.list()[0].loaded && place.running().is_empty());
    assert!(refused(place.load("nothing")).starts_with("no model \"nothing\""));
}

#[test]
fn the_least_recently_used_goes_and_an_answer_keeps_its_memory_to_its_end() {
    let needed = {
        let place = place(None);
        place.load("tiny").unwrap();
        place.host.running()[0].memory_bytes
    };
    let place = place(Some(2 * needed + needed / 2));
    block_on(place.host.copy("tiny", "second")).unwrap();
    block_on(place.host.copy("tiny", "third")).unwrap();
    place.load("tiny").unwrap();
    place.seconds.store(1, Ordering::SeqCst);
    place.load("second").unwrap();
    place.seconds.store(2, Ordering::SeqCst);
    assert!(place.loaded("tiny").is_some());
    place.load("third").unwrap();
    assert_eq!(place.running(), ["third", "tiny"]);
    place.seconds.store(1000, Ordering::SeqCst);
    place.host.unload_expired();
    assert_eq!(place.running(), Vec::<String>::new());
    let small = Place {
        host: LocalHost::new(place.host.hub, LoadOptions { memory: Some(needed - 1), ..LoadOptions::default() })
            .unwrap(),
        ..place
    };
    let error = refused(small.load("tiny"));
    assert!(error.starts_with("tiny needs ") && error.contains("--memory allows "), "{error}");
}

#[test]
fn the_stream_of_an_unloaded_model_goes_on_and_its_memory_is_counted() {
    let place = place(None);
    let model = place.host.load_local("tiny", &Quiet).unwrap();
    let is_taken = model.is_taken();
    let options = GenerationOptions { max_tokens: Some(40), temperature: Some(0.0), ..GenerationOptions::default() };
    let request = ChatRequest { messages: vec![Message::new(Role::User, "ab")], options, ..ChatRequest::default() };
    let stream = block_on(model.chat(request)).unwrap();
    drop(model);
    assert!(block_on(place.host.unload("tiny")).unwrap());
    let events: Vec<_> = block_on(stream.collect::<Vec<_>>());
    assert!(matches!(events.last(), Some(Ok(ChatEvent::Finished { .. }))));
    let end = Instant::now() + Duration::from_secs(20);
    while is_taken() {
        assert!(Instant::now() < end, "the thread ends with its last answer");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_made_model_shares_its_weights_and_speaks_as_it_was_told() {
    let place = place(None);
    let request = CreateRequest {
        system: Some("be brief".to_owned()),
        messages: vec![Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")],
        parameters: json!({"temperature": 0, "stop": ["x"], "num_ctx": 64}).as_object().unwrap().clone(),
        licenses: vec!["MIT\nwhole text".to_owned()],
        ..made_from("tiny", "mine")
    };
    place.create(request.clone()).unwrap();
    assert_eq!(std::fs::read_dir(place.host.hub.store().home().root().join("blobs")).unwrap().count(), 1);
    let details = place.show("mine");
    assert_eq!((details.system.as_deref(), details.summary.base.as_deref()), (Some("be brief"), Some("tiny")));
    assert_eq!(details.parameters, request.parameters);
    assert_eq!((details.template.as_str(), details.licenses), (TEMPLATE, request.licenses.clone()));
    assert_eq!(
        (details.maximum_context, details.width, details.metadata["llama.block_count"].clone()),
        (256, 64, json!(8))
    );
    assert_eq!(details.metadata["tokenizer.ggml.tokens"], json!(null), "long lists are left out");
    assert_eq!(details.tensors[0], ("token_embd.weight".to_owned(), vec![267, 64], "F32".to_owned()));
    let model = place.host.load_local("mine", &Quiet).unwrap();
    assert_eq!((model.info().context, model.recommended().temperature), (64, Some(0.0)));
    let ask = ChatRequest { messages: vec![Message::new(Role::User, "hi")], ..ChatRequest::default() };
    let expected = "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n\
                    <|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(model.render(&ask).unwrap().0, expected);
    drop(model);
    // Made once more from itself: what is not chosen anew stays, and whoever asks gets the new one.
    let template = "{% for m in messages %}[{{ m.content }}]{% endfor %}".to_owned();
    place
        .create(CreateRequest {
            system: Some(String::new()),
            template: Some(template.clone()),
            parameters: json!({"temperature": 1}).as_object().unwrap().clone(),
            ..made_from("mine", "mine")
        })
        .unwrap();
    assert!(place.loaded("mine").is_none());
    let details = place.show("mine");
    assert_eq!((details.system, details.parameters["stop"].clone(), details.template), (None, json!(["x"]), template));
    let (rendered, _) = place.host.load_local("mine", &Quiet).unwrap().render(&ask).unwrap();
    assert_eq!(rendered, "[a][b][hi]");
    block_on(place.host.delete("tiny")).unwrap();
    assert!(place.load("mine").is_ok(), "its bytes are its own too");
}

#[test]
fn a_wrong_request_is_refused_by_the_name_of_what_is_wrong_and_leaves_nothing() {
    let place = place(None);
    let tiny = || made_from("tiny", "mine");
    let parameters = |value: serde_json::Value| value.as_object().unwrap().clone();
    let lora = adapter(place.folder.path()).display().to_string();
    let one = |name: &str, place: &str| BTreeMap::from([(name.to_owned(), place.to_owned())]);
    let absent = format!("sha256:{}", Sha256::of(b"absent"));
    let wrong = place.put(b"no model at all");
    let requests = [
        (CreateRequest { name: String::new(), ..tiny() }, "\"\": expected a name"),
        (CreateRequest { name: "smollm2:135m".to_owned(), ..tiny() }, "cannot be the name of this model"),
        (CreateRequest { from: None, ..tiny() }, "from: expected a model to start from, got none"),
        (made_from("nothing", "mine"), "no model \"nothing\""),
        (made_from(&lora, "mine"), "from: expected a model, got an adapter"),
        (CreateRequest { files: one("m", &wrong), ..tiny() }, "from and files: expected one of them, got both"),
        (
            CreateRequest { parameters: parameters(json!({"heat": 1})), ..tiny() },
            "parameters that have no effect here: heat\nhint: ",
        ),
        (CreateRequest { parameters: parameters(json!({"top_p": 2})), ..tiny() }, "top_p (expected a number above 0"),
        (CreateRequest { template: Some("{{ .Prompt }}".to_owned()), ..tiny() }, "Go's template language"),
        (CreateRequest { quantize: Some("q9".to_owned()), ..tiny() }, "quantize: expected one of "),
        (CreateRequest { messages: vec![Message::new(Role::Tool, "x")], ..tiny() }, "messages: expected a text of"),
        (CreateRequest { system: Some("x".repeat(2 << 20)), ..tiny() }, "system: expected at most 1048576 bytes"),
        (CreateRequest { adapters: one("a", "/no/such"), ..tiny() }, "adapters: /no/such: there is no such file"),
        (CreateRequest { adapters: one("a", &wrong), ..tiny() }, "a: expected an adapter, got something else"),
        (CreateRequest { adapters: one("a", "sha256:12"), ..tiny() }, "adapters: a: digest: expected a SHA-256"),
        (
            CreateRequest { from: None, files: one("m.gguf", &absent), ..tiny() },
            "hint: put its bytes into the store first",
        ),
        (CreateRequest { from: None, files: one("m.gguf", &wrong), ..tiny() }, "mine: "),
    ];
    for (request, expected) in requests {
        let error = refused(place.create(request));
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert_eq!(place.list().len(), 1);
    assert!(
        !place
            .host
            .hub
            .store()
            .home()
            .root()
            .join("partial")
            .read_dir()
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with("create-") })
    );
}

#[test]
fn uploaded_files_become_a_model_and_quantized_ones_too() {
    let place = place(None);
    let bytes = std::fs::read(Tiny { context: 128, ..Tiny::default() }.write(place.folder.path())).unwrap();
    let digest = format!("sha256:{}", Sha256::of(&bytes));
    assert!(!block_on(place.host.has_blob(&digest)).unwrap());
    assert_eq!(place.put(&bytes), digest);
    assert!(block_on(place.host.has_blob(&digest)).unwrap());
    assert!(refused(block_on(place.host.has_blob("sha256:x"))).starts_with("digest: expected a SHA-256"));
    let broken = stream::iter([Ok(b"x".to_vec()), Err(std::io::Error::other("line cut"))]).boxed();
    assert!(refused(block_on(place.host.put_blob(&digest, broken))).contains("its bytes broke off: line cut"));
    let other = stream::iter([Ok(b"other".to_vec())]).boxed();
    assert!(refused(block_on(place.host.put_blob(&digest, other))).contains("expected sha256 "));
    let files = BTreeMap::from([("My model.bin".to_owned(), digest)]);
    let request = CreateRequest { name: "up".to_owned(), files, ..CreateRequest::default() };
    place.create(request.clone()).unwrap();
    assert_eq!(place.show("up").maximum_context, 128);
    place.create(CreateRequest { name: "small".to_owned(), quantize: Some("Q8_0".to_owned()), ..request }).unwrap();
    let from_path = made_from(place.folder.path().join("tiny.gguf").to_str().unwrap(), "copied");
    place.create(CreateRequest { quantize: Some("q4_0".to_owned()), ..from_path }).unwrap();
    let listed = place.list();
    let of = |name: &str| listed.iter().find(|model| model.name == name).unwrap();
    assert_eq!(
        (of("small").quantization.as_deref(), of("copied").quantization.as_deref()),
        (Some("q8_0"), Some("q4_0"))
    );
    assert!(of("small").bytes < of("up").bytes && of("up").base.is_none() && of("copied").base.is_some());
    assert!(place.load("small").is_ok());
}

#[test]
fn names_with_adapters_are_taken_apart() {
    let place = place(None);
    let lora = adapter(place.folder.path());
    place.host.hub.import(&lora, "lora", false, &hub::Silent).unwrap();
    for name in ["tiny+lora", &format!("tiny+{}", lora.display())] {
        assert_eq!(place.load(name).unwrap().info().name, name);
        assert_eq!(place.running(), ["tiny", name], "its base is loaded, and shared");
        block_on(place.host.unload(name)).unwrap();
    }
    assert!(refused(place.load("tiny+tiny")).starts_with("tiny is no adapter, expected one after the +"));
    assert!(refused(place.load("tiny+nothing")).starts_with("no adapter \"nothing\"\nhint: `bantam list`"));
    assert!(refused(place.load("nothing+lora")).starts_with("no model \"nothing+lora\""));
    assert!(
        refused(place.load("lora"))
            .starts_with("lora is an adapter, which runs only with a model\nhint: ask for MODEL+lora")
    );
    let shown = place.show("tiny+lora");
    assert_eq!((shown.summary.name.as_str(), shown.summary.base.as_deref()), ("tiny+lora", Some("tiny")));
    assert_eq!(place.show("lora").metadata["general.type"], json!("adapter"));
    place
        .create(CreateRequest {
            adapters: BTreeMap::from([("x".to_owned(), lora.display().to_string())]),
            ..made_from("tiny", "both")
        })
        .unwrap();
    assert!(place.load("both").is_ok(), "with what it was made with");
    assert_eq!(place.show("both").maximum_context, 256);
    block_on(place.host.copy("tiny", "a+b")).unwrap();
    assert!(place.load("a+b").is_ok(), "a name that has a + of its own");
}

#[test]
fn an_idle_adapter_expires_while_its_base_answers() {
    let place = place(None);
    let name = format!("tiny+{}", adapter(place.folder.path()).display());
    place.load(&name).unwrap();
    let base = place.host.load_local("tiny", &Quiet).unwrap();
    let options = GenerationOptions { max_tokens: Some(200), temperature: Some(0.0), ..GenerationOptions::default() };
    let request = ChatRequest { messages: vec![Message::new(Role::User, "ab")], options, ..ChatRequest::default() };
    let mut stream = block_on(base.chat(request)).unwrap();
    // The second event comes of a step.
    block_on(async { (stream.next().await, stream.next().await) });
    place.seconds.store(1000, Ordering::SeqCst);
    place.host.unload_expired();
    assert_eq!(place.running(), ["tiny"]);
}

#[test]
fn a_folder_whose_files_are_overwritten_is_another_version() {
    let place = place(None);
    let folder = place.folder.path().join("lora");
    std::fs::create_dir(&folder).unwrap();
    let weights = folder.join("adapter_model.safetensors");
    std::fs::write(&weights, "old").unwrap();
    let reference = ModelRef::Path(folder);
    let target = Target { name: "x".to_owned(), model: reference.clone(), adapter: Some(reference) };
    let before = target.version(&place.host.hub);
    std::fs::write(&weights, "newer").unwrap();
    let after = target.version(&place.host.hub);
    assert!(before[0] != after[0] && before[1] != after[1], "{after:?}");
}

#[test]
fn names_from_others_reach_the_store_and_named_files_alone() {
    let mut place = place(None);
    let (named, other) = (Tiny::default().write(place.folder.path()), adapter(place.folder.path()));
    let named = named.display().to_string();
    place.reach_only(&[&named]);
    assert!(place.load("tiny").is_ok() && place.load(&named).is_ok());
    let absent = place.folder.path().join("absent.gguf");
    // A folder with a model, which is known by what is in it.
    let folder = place.folder.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    for path in [&other, &absent, &folder] {
        for name in [path.display().to_string(), format!("tiny+{}", path.display())] {
            let refusals = [
                refused(place.load(&name)),
                refused(block_on(place.host.show(&name))),
                refused(block_on(place.host.tokenize(&name, "a"))),
                refused(place.create(made_from(&name, "mine"))),
                refused(block_on(place.host.unload(&name))),
            ];
            for refusal in refusals {
                let hint = "only files that the server was started with can be asked for";
                assert_eq!(refusal, format!("no model {name:?} in the store\nhint: {hint}"));
            }
        }
    }
    let refusal = refused(place.load("smollm2:135m"));
    assert_eq!(refusal, "smollm2:135m is not in the store\nhint: pull it first: bantam pull smollm2:135m");
}

#[test]
fn what_is_kept_stays_also_when_it_comes_back() {
    let mut place = place(None);
    let named = Tiny::default().write(place.folder.path()).display().to_string();
    place.host.kept = targets(&place.host.hub, std::slice::from_ref(&named)).map(|target| target.name).collect();
    for round in 1..=2 {
        place.load(&named).unwrap();
        place.load("tiny").unwrap();
        place.seconds.fetch_add(1000, Ordering::SeqCst);
        place.host.unload_expired();
        assert!(place.loaded(&named).is_some() && place.loaded("tiny").is_none(), "{round}");
        assert!(block_on(place.host.unload(&named)).unwrap());
        assert!(place.loaded(&named).is_none());
    }
}

#[test]
fn what_was_named_with_an_adapter_is_served_by_that_name_and_its_base_too() {
    let mut place = place(None);
    let lora = adapter(place.folder.path()).display().to_string();
    let base = Tiny::default().write(place.folder.path()).display().to_string();
    let names = [format!("tiny+{lora}"), format!("{base}+{lora}")];
    place.reach_only(&[&names[0], &names[1]]);
    for name in [&names[0], &names[1], &base] {
        assert_eq!(place.load(name).unwrap().info().name, *name);
    }
    assert!(refused(place.load(&format!("{base}+{base}"))).contains("is no adapter"));
    assert!(refused(place.load(&format!("{base}+/no/such"))).starts_with("no model "));
}

/// A name that is a path only because something is there: whether it is must not show.
#[test]
fn a_relative_name_is_refused_the_same_whether_something_is_there_or_not() {
    let mut place = place(None);
    place.reach_only(&[]);
    for name in ["src/host", "src/absent"] {
        let unknown = refused(place.load(name)).replace(name, "NAME");
        assert_eq!(unknown, refused(place.load("no/such")).replace("no/such", "NAME"));
    }
}

#[test]
fn text_and_ids_turn_into_each_other_without_a_load() {
    let place = place(None);
    let ids = block_on(place.host.tokenize("tiny", "ab yes")).unwrap();
    assert_eq!(block_on(place.host.detokenize("tiny", &ids)).unwrap(), "ab yes");
    assert!(place.running().is_empty());
    let error = refused(block_on(place.host.detokenize("tiny", &[267])));
    assert_eq!(error, "token id 267 is outside the vocabulary of tiny: expected ids below 267");
    place.load("tiny").unwrap();
    assert_eq!(block_on(place.host.tokenize("tiny", "ab yes")).unwrap(), ids);
}

#[test]
fn deleting_and_copying_follow_the_store() {
    let place = place(None);
    place.load("tiny").unwrap();
    block_on(place.host.copy("tiny", "other")).unwrap();
    assert!(refused(block_on(place.host.copy("tiny", "other"))).contains("already in the store"));
    block_on(place.host.delete("tiny")).unwrap();
    assert!(place.running().is_empty() && place.list().len() == 1);
    assert!(refused(block_on(place.host.delete("tiny"))).contains("\"tiny\" is not in the store"));
    assert!(place.load("other").is_ok());
}
