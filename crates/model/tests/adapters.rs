//! The logits of PEFT for adapters of both containers over bases of both, batches that mix adapters, and what loading
//! refuses.
//!
//! `tools/reference/golden_adapters.py` made the adapters under `testdata-adapters/`, a folder per case; the bases are those
//! of `goldens.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::{AdapterCheckpoint, Bytes, Checkpoint, Gguf, GgufWriter, PeftDir, Tensor, TensorPlan, Value};
use kernels::{Isa, KvArena, KvElement, PAGE_LEN, Runtime};
use model::{
    Adapter, AdapterId, Adapters, Batch, LoadOptions, LogitRows, Model, ModelError, RopeRegime, Segment, Workspace,
};
use serde_json::{Map, json};

/// The largest absolute difference of a logit, with keys and values cached in f32; as in `goldens.rs`.
const BOUND: f32 = 1e-3;

struct Case {
    name: String,
    folder: PathBuf,
    base: PathBuf,
    ids: Vec<u32>,
    /// `[T, V]`
    logits: Vec<f32>,
}

fn cases() -> Vec<Case> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata-adapters");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(testdata).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert_eq!(folders.len(), 5, "a golden is missing");
    folders.into_iter().map(case).collect()
}

fn case(folder: PathBuf) -> Case {
    let base = std::fs::read_to_string(folder.join("base.txt")).unwrap();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(base.trim());
    let texts: Vec<Vec<u32>> = serde_json::from_slice(&std::fs::read(base.join("texts.json")).unwrap()).unwrap();
    let bytes = std::fs::read(folder.join("logits.f32")).unwrap();
    let logits = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    Case { name, base, ids: texts.into_iter().next().unwrap(), folder, logits }
}

fn named(name: &str) -> Case {
    case(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata-adapters").join(name))
}

fn load(path: &Path) -> Model {
    Model::load(&Checkpoint::open(path).unwrap(), &LoadOptions::default()).unwrap()
}

/// The base from both containers.
fn bases(case: &Case) -> [(&'static str, Model); 2] {
    [("safetensors", load(&case.base)), ("gguf", load(&case.base.join("model.gguf")))]
}

/// The adapter from each container that there is.
fn adapters(case: &Case, model: &Model) -> Vec<(&'static str, Adapter)> {
    let open = |path: &Path| Adapter::load(&AdapterCheckpoint::open(path).unwrap(), model.spec()).unwrap();
    let mut all = vec![("safetensors", open(&case.folder))];
    let gguf = case.folder.join("adapter.gguf");
    if gguf.exists() {
        all.push(("gguf", open(&gguf)));
    }
    all
}

fn segment(position: usize, len: usize, pages: &[u32], adapter: Option<AdapterId>) -> Segment {
    let pages = pages.to_vec();
    Segment { position, len, pages, regime: RopeRegime::Short, logits: LogitRows::All, adapter }
}

/// The logits of a text that is run in pieces of `piece` tokens.
fn run(model: &Model, runtime: &Runtime, adapters: &Adapters, id: Option<u32>, ids: &[u32], piece: usize) -> Vec<f32> {
    let pages: Vec<u32> = (0..ids.len().div_ceil(PAGE_LEN) as u32).rev().collect();
    let mut arena = KvArena::new(model.kv_shape(pages.len(), KvElement::F32)).unwrap();
    let mut workspace = Workspace::default();
    let mut logits = Vec::new();
    for (index, tokens) in ids.chunks(piece).enumerate() {
        let segments = vec![segment(index * piece, tokens.len(), &pages, id.map(AdapterId))];
        let batch = Batch { tokens: tokens.to_vec(), segments, ..Batch::default() };
        logits.extend_from_slice(model.forward_adapted(runtime, &batch, adapters, &mut arena, &mut workspace));
    }
    logits
}

fn table(adapters: impl IntoIterator<Item = Adapter>) -> Adapters {
    let mut table = Adapters::default();
    for (id, adapter) in (0..).zip(adapters) {
        table.insert(AdapterId(id), Arc::new(adapter));
    }
    table
}

fn difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(l, r)| (l - r).abs()).fold(0.0, |most, each| {
        // A maximum passes over what is no number.
        assert!(each.is_finite(), "a logit is no number");
        most.max(each)
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_adapter_gives_the_logits_of_peft_from_every_pair_of_containers_on_every_isa() {
    let mut from_gguf = 0;
    for case in &cases() {
        for (base, model) in &bases(case) {
            for (container, adapter) in adapters(case, model) {
                from_gguf += usize::from(container == "gguf");
                let table = table([adapter]);
                for isa in Isa::available() {
                    let runtime = Runtime::new(isa, 2).unwrap();
                    let most = difference(&run(model, &runtime, &table, Some(0), &case.ids, 64), &case.logits);
                    let name = &case.name;
                    println!("{name} from {container} over {base} on {isa:?}: largest difference {most:.2e}");
                    assert!(most <= BOUND, "{name} from {container} over {base} on {isa:?}: {most}");
                    let plain = run(model, &runtime, &table, None, &case.ids, 64);
                    assert!(difference(&plain, &case.logits) > 1.0, "{name}: the adapter is nothing");
                }
            }
        }
    }
    assert_eq!(from_gguf, 6, "three adapters over two containers of their bases");
}

#[test]
fn pieces_tokens_and_threads_change_no_bit() {
    for case in &cases() {
        let model = load(&case.base.join("model.gguf"));
        let table = table(adapters(case, &model).into_iter().map(|(_, adapter)| adapter));
        for isa in Isa::available() {
            let runtimes = [Runtime::new(isa, 1).unwrap(), Runtime::new(isa, 3).unwrap()];
            let whole = bits(&run(&model, &runtimes[0], &table, Some(0), &case.ids, 64));
            for (piece, runtime) in [1, 7, 64].into_iter().flat_map(|piece| runtimes.iter().map(move |r| (piece, r))) {
                let cut = bits(&run(&model, runtime, &table, Some(0), &case.ids, piece));
                assert!(cut == whole, "{} on {isa:?}, {} threads, pieces of {piece}", case.name, runtime.threads());
            }
        }
    }
}

/// Sequences with two adapters and with none share batches, in several orders: those of one adapter side by side, and
/// apart.
#[test]
fn a_batch_of_many_adapters_equals_its_parts() {
    let (plain, patterns) = (named("llama-plain"), named("llama-patterns"));
    assert_eq!(plain.base, patterns.base);
    let model = load(&plain.base);
    let both = [&plain, &patterns].map(|case| adapters(case, &model).remove(0).1);
    let table = table(both);
    let ids = &plain.ids[..20];
    let orders: [&[Option<u32>]; 4] = [
        &[Some(0), Some(1), None],
        &[None, Some(1), Some(1), Some(0), None],
        &[Some(1), Some(0), Some(1), None, Some(0), Some(1)],
        &[None, Some(0)],
    ];
    for isa in Isa::available() {
        let runtime = Runtime::new(isa, 2).unwrap();
        let alone = |id| bits(&run(&model, &runtime, &table, id, ids, 20));
        let alone = [alone(Some(0)), alone(Some(1)), alone(None)];
        assert!(alone[0] != alone[1] && alone[1] != alone[2]);
        // Without a table the base gives what it gives beside adapters.
        assert!(bits(&run(&model, &runtime, &Adapters::default(), None, ids, 20)) == alone[2]);
        for order in orders {
            let mut arena = KvArena::new(model.kv_shape(order.len(), KvElement::F32)).unwrap();
            let mut workspace = Workspace::default();
            let mut got = vec![Vec::new(); order.len()];
            // The sequences stand at different places, one row each or many.
            for (from, to) in [(0, 13), (13, 14), (14, 20)] {
                let segments =
                    (0_u32..).zip(order).map(|(page, id)| segment(from, to - from, &[page], id.map(AdapterId)));
                let batch = Batch {
                    tokens: ids[from..to].repeat(order.len()),
                    segments: segments.collect(),
                    ..Batch::default()
                };
                let logits = model.forward_adapted(&runtime, &batch, &table, &mut arena, &mut workspace);
                for (got, logits) in got.iter_mut().zip(logits.chunks_exact((to - from) * model.spec().vocabulary)) {
                    got.extend(bits(logits));
                }
            }
            for (got, id) in got.iter().zip(order) {
                assert!(got == &alone[id.map_or(2, |id| id as usize)], "adapter {id:?} in {order:?} on {isa:?}");
            }
        }
    }
}

#[test]
fn an_adapter_knows_its_size() {
    let case = named("llama-patterns");
    let (_, adapter) = adapters(&case, &load(&case.base)).remove(0);
    assert_eq!(adapter.largest_rank(), 6);
    let weights = PeftDir::open(&case.folder).unwrap();
    assert_eq!(adapter.bytes(), weights.tensors.iter().map(|tensor| tensor.data.len() as u64).sum::<u64>());
}

/// An adapter as PEFT saves it, in memory, to be altered.
#[derive(Clone)]
struct Peft {
    config: Map<String, serde_json::Value>,
    tensors: Vec<Tensor>,
}

impl Peft {
    fn open(case: &Case) -> Peft {
        let folder = PeftDir::open(&case.folder).unwrap();
        Peft { config: folder.config.as_object().unwrap().clone(), tensors: folder.tensors.iter().cloned().collect() }
    }

    /// The file of its tensors: the header's length, the header, the data.
    fn weights(&self) -> Vec<u8> {
        let mut header = Map::new();
        let mut data = Vec::new();
        for tensor in &self.tensors {
            let offsets = [data.len(), data.len() + tensor.data.len()];
            data.extend_from_slice(&tensor.data);
            let entry = json!({"dtype": tensor.element.name, "shape": tensor.shape, "data_offsets": offsets});
            header.insert(tensor.name.clone(), entry);
        }
        let header = serde_json::to_vec(&header).unwrap();
        [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
    }

    fn load(&self, model: &Model) -> Result<Adapter, ModelError> {
        let config = serde_json::to_vec(&self.config).unwrap();
        let folder = PeftDir::parse(&config, &Bytes::from_vec(self.weights()))?;
        Adapter::load(&AdapterCheckpoint::Peft(folder), model.spec())
    }
}

fn refusal(outcome: Result<Adapter, ModelError>) -> String {
    outcome.expect_err("should have been refused").to_string()
}

#[test]
fn settings_that_are_not_built_are_refused_by_name() {
    let case = named("llama-plain");
    let model = load(&case.base);
    let sound = Peft::open(&case);
    assert!(sound.load(&model).is_ok());
    let refused = [
        ("peft_type", json!("IA3"), "peft_type: expected \"LORA\", got \"IA3\""),
        ("peft_type", json!(null), "peft_type: expected \"LORA\", got nothing"),
        ("use_dora", json!(true), "use_dora: expected it to be off, got true"),
        ("modules_to_save", json!(["lm_head"]), "modules_to_save: expected it to be off, got a list of 1"),
        ("lora_bias", json!(true), "lora_bias: expected it to be off, got true"),
        ("fan_in_fan_out", json!(true), "fan_in_fan_out: expected it to be off, got true"),
        ("invented_later", json!({"a": 1}), "invented_later: expected it to be off, got an object of 1"),
        ("bias", json!("lora_only"), "bias: expected \"none\", got \"lora_only\""),
        ("bias", json!(3), "bias: expected \"none\", got 3"),
        ("init_lora_weights", json!("pissa_niter_4"), "init_lora_weights: expected true, false or one of gaussian"),
        ("use_rslora", json!("yes"), "use_rslora: expected a truth value, got \"yes\""),
        ("r", json!(0), "r: expected a rank of 1 to 8192, got 0"),
        ("r", json!(1e18), "r: expected a rank of 1 to 8192, got 1e+18"),
        ("r", json!(1_u64 << 60), "r: expected a rank of 1 to 8192, got 1152921504606846976"),
        ("lora_alpha", json!("NaN"), "lora_alpha: expected a finite number, got \"NaN\""),
        ("lora_alpha", json!(1e300), "lora_alpha: expected a finite number, got 1e+300"),
        ("rank_pattern", json!([1]), "rank_pattern: expected an object of at most 8192 modules, got a list of 1"),
        ("rank_pattern", json!({"q_proj": -1}), "rank_pattern: q_proj: expected a rank of 1 to 8192, got -1"),
        ("alpha_pattern", json!({"(": 1}), "alpha_pattern: expected a regular expression, got ("),
        ("alpha_pattern", json!({"((a{999}){999}){999}": 1}), "alpha_pattern: expected a regular expression"),
        ("target_modules", json!([1]), "target_modules: expected names of modules, got other values"),
        ("target_modules", json!(1), "target_modules: expected a pattern or a list"),
        (
            "target_modules",
            json!(["q_proj"]),
            "target_modules: expected it to name model.layers.0.mlp.down_proj, for which there are tensors, got others",
        ),
    ];
    for (key, value, expected) in refused {
        let mut altered = sound.clone();
        altered.config.insert(key.to_owned(), value);
        let text = refusal(altered.load(&model));
        assert!(text.starts_with("adapter_config.json: ") && text.contains(expected), "{text}");
        assert!(text.contains("\nhint: "), "{text}");
    }
    // What is off, or says nothing about the computation, is no matter.
    let mut harmless = sound.clone();
    for (key, value) in [("invented_later", json!(false)), ("lora_dropout", json!(0.1)), ("r", json!(4))] {
        harmless.config.insert(key.to_owned(), value);
    }
    assert!(harmless.load(&model).is_ok());
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let case = named("llama-plain");
    let model = load(&case.base);
    let sound = Peft::open(&case);
    let q = |half: &str| format!("base_model.model.model.layers.1.self_attn.q_proj.lora_{half}.weight");
    let check = |alter: &dyn Fn(&mut Peft), expected: &str| {
        let mut altered = sound.clone();
        alter(&mut altered);
        let text = refusal(altered.load(&model));
        assert!(text.contains(expected) && text.contains("\nhint: "), "{text}");
    };
    let find = |peft: &mut Peft, name: &str| peft.tensors.iter().position(|tensor| tensor.name == name).unwrap();
    let rename = |peft: &mut Peft, to: &str| {
        let position = find(peft, &q("B"));
        peft.tensors[position].name = to.to_owned();
    };
    check(&|peft| drop(peft.config.insert("r".to_owned(), json!(5))), "expected shape [5, 48], got [4, 48]");
    check(
        &|peft| {
            let position = find(peft, &q("B"));
            peft.tensors[position].shape = vec![16, 8];
        },
        &format!("tensor {}: expected shape [32, 4], got [16, 8]\nhint: the adapter was made for another base", q("B")),
    );
    check(
        &|peft| {
            let position = find(peft, &q("B"));
            peft.tensors.remove(position);
        },
        &format!("tensor {}: expected it beside its other half, got nothing", q("B")),
    );
    check(
        &|peft| peft.tensors.retain(|tensor| !tensor.name.contains("layers.1.self_attn.q_proj")),
        &format!("tensor {}: expected it, as target_modules names this module, got nothing", q("A")),
    );
    check(&|peft| peft.tensors.clear(), "as target_modules names this module, got nothing");
    check(
        &|peft| rename(peft, "base_model.model.lm_head.lora_B.weight"),
        "hint: adapters of the embedding table and of",
    );
    check(&|peft| rename(peft, "base_model.model.model.embed_tokens.lora_embedding_B"), "adapters of the embedding");
    check(&|peft| rename(peft, &q("C")), &format!("projections of the base's layers alone, got {}", q("C")));
    check(&|peft| rename(peft, "base_model.model.model.layers.2.self_attn.q_proj.lora_B.weight"), "layers.2.self_attn");
    check(
        &|peft| {
            let position = find(peft, &q("A"));
            peft.tensors[position].element = formats::ElementType::from_name("I32").unwrap();
        },
        "expected element type f32, f16 or bf16, got i32",
    );
    // An adapter of another family, and of a larger model of the same.
    let other = load(&named("phi3-fused").base);
    assert!(refusal(sound.load(&other)).contains("made for another base model"));
    let wide = load(&named("llama-wide-heads").base);
    assert!(refusal(sound.load(&wide)).contains("expected shape"), "heads are wider there");
}

/// The file with other entries.
fn altered(gguf: &Gguf, alter: impl Fn(&mut Gguf)) -> Vec<u8> {
    let mut gguf = gguf.clone();
    alter(&mut gguf);
    let plan = |t: &Tensor| TensorPlan { name: t.name.clone(), shape: t.shape.clone(), element: t.element };
    let plans: Vec<_> = gguf.tensors.iter().map(plan).collect();
    let mut writer = GgufWriter::create(Vec::new(), "altered.gguf", &gguf.metadata, &plans).unwrap();
    gguf.tensors.iter().for_each(|tensor| writer.write(&tensor.data).unwrap());
    writer.finish().unwrap()
}

fn load_gguf(bytes: Vec<u8>, model: &Model) -> Result<Adapter, ModelError> {
    Adapter::load(&AdapterCheckpoint::Gguf(Gguf::parse(Bytes::from_vec(bytes))?), model.spec())
}

#[test]
fn gguf_files_that_do_not_fit_are_refused_by_name() {
    let case = named("llama-plain");
    let model = load(&case.base);
    let sound = Gguf::open(&case.folder.join("adapter.gguf")).unwrap();
    let check = |key: &str, value: Value, expected: &str| {
        let text = refusal(load_gguf(altered(&sound, |file| file.metadata.insert(key, value.clone())), &model));
        assert!(text.contains(expected) && text.contains("\nhint: "), "{text}");
    };
    check("general.type", Value::from("model"), "general.type: expected \"adapter\", got \"model\"");
    check("adapter.type", Value::from("control_vector"), "adapter.type: expected \"lora\", got \"control_vector\"");
    check("general.architecture", Value::from("qwen2"), "expected \"llama\", as of the base, got \"qwen2\"");
    check("adapter.lora.alpha", Value::F32(f32::NAN), "expected a scale that is a finite number, got NaN");
    check("adapter.lora.alpha", Value::from("8"), "adapter.lora.alpha");
    check("adapter.alora.invocation_tokens", Value::U32(1), "expected an adapter without this entry");
    let model_file = Gguf::open(&case.base.join("model.gguf")).unwrap();
    let text = refusal(Adapter::load(&AdapterCheckpoint::Gguf(model_file), model.spec()));
    assert!(
        text.contains("general.type: expected \"adapter\", got \"model\"\nhint: the file holds a whole model"),
        "{text}"
    );
    let other = load(&named("llama-wide-heads").base);
    let text = refusal(Adapter::load(&AdapterCheckpoint::Gguf(sound.clone()), other.spec()));
    assert!(text.contains("tensor blk.0.attn_k.weight.lora_b: expected shape [32, 4], got [16, 4]"), "{text}");
}

/// An alpha that is absent, or 0, is a factor of 1.
#[test]
fn an_alpha_that_is_not_said_is_the_rank() {
    let case = named("llama-plain");
    let model = load(&case.base);
    let sound = Gguf::open(&case.folder.join("adapter.gguf")).unwrap();
    let runtime = Runtime::new(Isa::detect(), 1).unwrap();
    let logits = |alter: &dyn Fn(&mut Gguf)| {
        let adapter = load_gguf(altered(&sound, alter), &model).unwrap();
        bits(&run(&model, &runtime, &table([adapter]), Some(0), &case.ids, 64))
    };
    let key = "adapter.lora.alpha";
    let rank = logits(&|file| file.metadata.insert(key, 4.0_f32));
    assert!(logits(&|file| file.metadata.insert(key, 0.0_f32)) == rank);
    assert!(logits(&|file| drop(file.metadata.remove(key))) == rank);
    assert!(logits(&|_| {}) != rank, "6 is said");
}

/// Numbers without pattern, the same in every run (splitmix64, by Sebastiano Vigna, public domain).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    /// The bytes with one to three of the first `most` changed, cut, doubled or taken out.
    fn broken(&mut self, sound: &[u8], most: usize) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().min(most));
            let span = at..(at + 1 + self.below(12)).min(bytes.len());
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = b"0123456789\"{}[],:e-."[self.below(20)],
                2 => drop(bytes.drain(span)),
                3 => drop(bytes.splice(at..at, sound[..self.below(12)].iter().copied())),
                _ => bytes.truncate(if self.below(4) == 0 { at } else { bytes.len() }),
            }
        }
        bytes
    }
}

/// Sound adapters, broken at random from fixed seeds: each is refused in words, or computes.
#[test]
fn broken_adapters_are_refused_or_compute() {
    let case = named("llama-patterns");
    let model = load(&case.base);
    let sound = Peft::open(&case);
    let (config, weights) = (serde_json::to_vec(&sound.config).unwrap(), sound.weights());
    let gguf = std::fs::read(named("llama-plain").folder.join("adapter.gguf")).unwrap();
    let runtime = Runtime::new(Isa::detect(), 1).unwrap();
    let mut random = Seeded(7);
    let (mut taken, mut refused) = ([0; 3], [0; 3]);
    for round in 0..6000 {
        let way = round % 3;
        let outcome = match way {
            0 => PeftDir::parse(&random.broken(&config, usize::MAX), &Bytes::from_vec(weights.clone()))
                .map_err(ModelError::from)
                .and_then(|folder| Adapter::load(&AdapterCheckpoint::Peft(folder), model.spec())),
            1 => PeftDir::parse(&config, &Bytes::from_vec(random.broken(&weights, 4000)))
                .map_err(ModelError::from)
                .and_then(|folder| Adapter::load(&AdapterCheckpoint::Peft(folder), model.spec())),
            _ => load_gguf(random.broken(&gguf, 4000), &model),
        };
        match outcome {
            Ok(adapter) => {
                taken[way] += 1;
                let logits = run(&model, &runtime, &table([adapter]), Some(0), &case.ids[..2], 2);
                assert_eq!(logits.len(), 2 * model.spec().vocabulary);
            }
            Err(error) => {
                refused[way] += 1;
                let text = error.to_string();
                assert!(text.contains("\nhint: ") && text.len() < 4096, "{text}");
            }
        }
    }
    let enough = taken.iter().all(|count| *count > 10) && refused.iter().all(|count| *count > 300);
    assert!(enough, "both outcomes are exercised: {taken:?} taken, {refused:?} refused");
}
