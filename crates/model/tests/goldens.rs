//! The logits of transformers, for every family, from both containers, on every instruction set.
//!
//! `tools/reference/golden_models.py` made the checkpoints and the logits under `testdata/`, a folder per case. Every
//! path must be within [`BOUND`] of them; paths that differ only in how the work is cut must agree bit for bit.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::{Path, PathBuf};

use formats::Checkpoint;
use kernels::{Isa, KvArena, KvElement, PAGE_LEN, Runtime};
use model::{Batch, LoadOptions, LogitRows, Model, RopeRegime, Segment, Workspace};

/// The largest absolute difference of a logit, with keys and values cached in f32.
const BOUND: f32 = 1e-3;
/// The same with a cache in f16, whose 11 bits round each key and value by up to 1 in 2048.
const BOUND_F16_CACHE: f32 = 3e-2;
/// The same with a cache in integers of sixteen bits.
const BOUND_I16_CACHE: f32 = 1e-2;
/// The same with a cache in bytes, whose 127 steps a side round by up to 1 in 254 of the largest of 32.
const BOUND_Q8_0_CACHE: f32 = 3e-1;

/// One text of a case.
struct Golden {
    ids: Vec<u32>,
    /// `[T, V]`
    logits: Vec<f32>,
}

struct Case {
    name: String,
    folder: PathBuf,
    texts: Vec<Golden>,
}

fn cases() -> Vec<Case> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(testdata).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert_eq!(folders.len(), 10, "a golden is missing");
    folders.into_iter().map(case).collect()
}

fn case(folder: PathBuf) -> Case {
    let ids: Vec<Vec<u32>> = serde_json::from_slice(&std::fs::read(folder.join("texts.json")).unwrap()).unwrap();
    let text = |(index, ids): (usize, Vec<u32>)| {
        let bytes = std::fs::read(folder.join(format!("logits-{index}.f32"))).unwrap();
        let logits = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        Golden { ids, logits }
    };
    let texts = ids.into_iter().enumerate().map(text).collect();
    Case { name: folder.file_name().unwrap().to_string_lossy().into_owned(), folder, texts }
}

fn load(path: &Path) -> Model {
    Model::load(&Checkpoint::open(path).unwrap(), &LoadOptions::default()).unwrap()
}

fn containers(case: &Case) -> [(&'static str, Model); 2] {
    [("safetensors", load(&case.folder)), ("gguf", load(&case.folder.join("model.gguf")))]
}

fn regime(model: &Model, len: usize) -> RopeRegime {
    if model.spec().long_rope_after().is_some_and(|most| len > most) { RopeRegime::Long } else { RopeRegime::Short }
}

/// The logits of a text that is run in pieces of these lengths, the last one taking the rest, on pages out of order.
fn run(model: &Model, runtime: &Runtime, ids: &[u32], pieces: &[usize], element: KvElement) -> Vec<f32> {
    let pages_total = ids.len().div_ceil(PAGE_LEN) + 2;
    let pages: Vec<u32> = (0..pages_total as u32).rev().collect();
    let mut arena = KvArena::new(model.kv_shape(pages_total, element)).unwrap();
    let mut workspace = Workspace::default();
    let mut logits = Vec::new();
    let mut position = 0;
    for piece in pieces.iter().copied().chain([usize::MAX]) {
        let len = piece.min(ids.len() - position);
        if len == 0 {
            break;
        }
        let segment = Segment {
            position,
            len,
            pages: pages.clone(),
            regime: regime(model, ids.len()),
            logits: LogitRows::All,
            adapter: None,
        };
        let batch =
            Batch { tokens: ids[position..position + len].to_vec(), segments: vec![segment], ..Batch::default() };
        logits.extend_from_slice(model.forward(runtime, &batch, &mut arena, &mut workspace));
        position += len;
    }
    logits
}

fn difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let differences = left.iter().zip(right).map(|(l, r)| (l - r).abs());
    differences.fold(0.0, |most, each| {
        // A maximum passes over what is no number.
        assert!(each.is_finite(), "a logit is no number");
        most.max(each)
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_family_gives_the_logits_of_transformers_from_both_containers_on_every_isa() {
    for case in &cases() {
        for (container, model) in &containers(case) {
            for isa in Isa::available() {
                let runtime = Runtime::new(isa, 2).unwrap();
                let mut most = 0.0f32;
                for golden in &case.texts {
                    let logits = run(model, &runtime, &golden.ids, &[], KvElement::F32);
                    most = most.max(difference(&logits, &golden.logits));
                }
                println!("{} from {container} on {isa:?}: largest difference {most:.2e}", case.name);
                assert!(most <= BOUND, "{} from {container} on {isa:?}: {most}", case.name);
            }
        }
    }
}

#[test]
fn pieces_tokens_and_threads_change_no_bit() {
    let ones = [1; 64];
    let pieces: [&[usize]; 4] = [&[], &[7, 1, 25, 3], &[32, 1], &ones];
    for case in &cases() {
        let model = load(&case.folder.join("model.gguf"));
        for isa in Isa::available() {
            let runtimes = [Runtime::new(isa, 1).unwrap(), Runtime::new(isa, 2).unwrap()];
            let elements = [KvElement::F32, KvElement::F16, KvElement::Q8_0, KvElement::I16];
            for (golden, element) in case.texts.iter().flat_map(|g| elements.map(|element| (g, element))) {
                let whole = bits(&run(&model, &runtimes[0], &golden.ids, &[], element));
                for (pieces, runtime) in pieces.iter().flat_map(|p| runtimes.iter().map(move |r| (p, r))) {
                    let cut = bits(&run(&model, runtime, &golden.ids, pieces, element));
                    let threads = runtime.threads();
                    assert!(cut == whole, "{} on {isa:?}, {threads} threads, pieces {pieces:?}", case.name);
                }
            }
        }
    }
}

#[test]
fn a_cache_in_fewer_bits_stays_within_its_bound() {
    for case in &cases() {
        let model = load(&case.folder.join("model.gguf"));
        let runtime = Runtime::new(Isa::detect(), 2).unwrap();
        let bounds =
            [(KvElement::F16, BOUND_F16_CACHE), (KvElement::I16, BOUND_I16_CACHE), (KvElement::Q8_0, BOUND_Q8_0_CACHE)];
        for (golden, (element, bound)) in case.texts.iter().flat_map(|g| bounds.map(|bound| (g, bound))) {
            let logits = run(&model, &runtime, &golden.ids, &[], element);
            let most = difference(&logits, &golden.logits);
            println!("{} with a cache in {}: largest difference {most:.2e}", case.name, element.name());
            assert!(most <= bound, "{}: {most}", case.name);
        }
    }
}

/// Sequences of both rotary regimes share batches: one decodes while the other is still read in, with different logits
/// asked of each.
#[test]
fn a_batch_equals_its_parts() {
    for case in &cases() {
        let model = load(&case.folder.join("model.gguf"));
        let runtime = Runtime::new(Isa::detect(), 2).unwrap();
        let first = &case.texts[0].ids;
        let second = &case.texts.last().unwrap().ids[..20];
        let alone = [first, second].map(|ids| run(&model, &runtime, ids, &[], KvElement::F32));
        let vocabulary = model.spec().vocabulary;

        let mut arena = KvArena::new(model.kv_shape(4, KvElement::F32)).unwrap();
        let mut workspace = Workspace::default();
        let segment = |ids: &[u32], position, len, pages: &[u32], logits| Segment {
            position,
            len,
            pages: pages.to_vec(),
            regime: regime(&model, ids.len()),
            logits,
            adapter: None,
        };
        let rest = first.len() - 30;
        for (step, (from, len)) in [(0, 30), (30, rest)].into_iter().enumerate() {
            let (start, end) = if step == 0 { (0, 19) } else { (19, 20) };
            let segments = vec![
                segment(first, from, len, &[2, 0], LogitRows::Last),
                segment(second, start, end - start, &[3], if step == 0 { LogitRows::None } else { LogitRows::All }),
            ];
            let tokens = [&first[from..from + len], &second[start..end]].concat();
            let logits =
                model.forward(&runtime, &Batch { tokens, segments, ..Batch::default() }, &mut arena, &mut workspace);
            let last = (from + len - 1) * vocabulary;
            assert!(bits(&logits[..vocabulary]) == bits(&alone[0][last..last + vocabulary]), "{}", case.name);
            if step == 1 {
                assert!(bits(&logits[vocabulary..]) == bits(&alone[1][19 * vocabulary..]), "{}", case.name);
            }
        }
    }
}
