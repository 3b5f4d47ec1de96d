//! The vectors and scores of transformers, for every family of encoders, from both containers, on every instruction set.
//!
//! `tools/reference/encoders.py` made the checkpoints and what is expected under `testdata_encoders/`, a folder per case.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::{Path, PathBuf};

use formats::Checkpoint;
use kernels::{Isa, Runtime};
use model::{Encoder, EncoderBatch, EncoderWorkspace, Outcome, Pooling, is_encoder};

/// The largest absolute difference of a component of a unit vector, and of a score.
const BOUND: f32 = 5e-6;
const SCORE_BOUND: f32 = 5e-5;

#[derive(Clone)]
struct Text {
    ids: Vec<u32>,
    types: Vec<u32>,
}

struct Case {
    name: String,
    folder: PathBuf,
    texts: Vec<Text>,
    /// `[texts, outcome_len]`
    expected: Vec<f32>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata_encoders").join(name)
}

fn cases() -> Vec<Case> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert_eq!(folders.len(), 5, "a golden is missing");
    folders.into_iter().map(case).collect()
}

fn case(folder: PathBuf) -> Case {
    let texts: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(folder.join("texts.json")).unwrap()).unwrap();
    let numbers =
        |value: &serde_json::Value| value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let texts = texts.iter().map(|text| Text { ids: numbers(&text["ids"]), types: numbers(&text["types"]) }).collect();
    let bytes = std::fs::read(folder.join("expected.f32")).unwrap();
    let expected = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    Case { name: folder.file_name().unwrap().to_string_lossy().into_owned(), folder, texts, expected }
}

fn load(path: &Path) -> Encoder {
    Encoder::load(&Checkpoint::open(path).unwrap()).unwrap()
}

fn batch(texts: &[Text]) -> EncoderBatch {
    let mut batch = EncoderBatch::default();
    texts.iter().for_each(|text| batch.push(&text.ids, &text.types));
    batch
}

fn run(encoder: &Encoder, runtime: &Runtime, texts: &[Text]) -> Vec<f32> {
    encoder.forward(runtime, &batch(texts), &mut EncoderWorkspace::default()).to_vec()
}

/// Each row of `[texts, D]` with length 1; scores as they are.
fn unit(encoder: &Encoder, values: &[f32]) -> Vec<f32> {
    if let Outcome::Score { .. } = encoder.spec().outcome {
        return values.to_vec();
    }
    let rows = values.chunks_exact(encoder.spec().width);
    rows.flat_map(|row| {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter().map(move |x| x / length)
    })
    .collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_family_gives_what_transformers_gives_from_both_containers_on_every_isa() {
    for case in &cases() {
        let (from_folder, from_gguf) = (load(&case.folder), load(&case.folder.join("model.gguf")));
        for (container, encoder) in [("safetensors", &from_folder), ("gguf", &from_gguf)] {
            // A GGUF file does not say which form of GELU its model was trained with.
            let slack = if container == "gguf" && case.name == "bert-cls" { 100.0 } else { 1.0 };
            let is_score = matches!(encoder.spec().outcome, Outcome::Score { .. });
            let bound = slack * if is_score { SCORE_BOUND } else { BOUND };
            for isa in Isa::available() {
                let values = unit(encoder, &run(encoder, &Runtime::new(isa, 2).unwrap(), &case.texts));
                assert_eq!(values.len(), case.expected.len());
                let differences = values.iter().zip(&case.expected).map(|(l, r)| (l - r).abs());
                let most = differences.fold(0.0f32, |most, each| if each.is_nan() { f32::NAN } else { most.max(each) });
                println!("{} from {container} on {isa:?}: largest difference {most:.2e}", case.name);
                assert!(most <= bound, "{} from {container} on {isa:?}: {most}", case.name);
            }
        }
    }
}

#[test]
fn a_text_depends_neither_on_those_beside_it_nor_on_threads() {
    for case in &cases() {
        let encoder = load(&case.folder);
        let runtime = Runtime::new(Isa::detect(), 3).unwrap();
        let alone = Runtime::new(Isa::detect(), 1).unwrap();
        let mut texts = case.texts.clone();
        let mut workspace = EncoderWorkspace::default();
        for _ in 0..2 {
            texts.reverse();
            let together = encoder.forward(&runtime, &batch(&texts), &mut workspace).to_vec();
            let width = encoder.spec().outcome_len();
            for (text, vector) in texts.iter().zip(together.chunks_exact(width)) {
                assert_eq!(bits(&run(&encoder, &alone, std::slice::from_ref(text))), bits(vector), "{}", case.name);
            }
        }
    }
}

#[test]
fn both_containers_describe_one_model() {
    for case in &cases() {
        let mut from_folder = load(&case.folder).spec().clone();
        let from_gguf = load(&case.folder.join("model.gguf")).spec().clone();
        // See above.
        from_folder.network = from_gguf.network;
        assert_eq!(from_folder, from_gguf, "{}", case.name);
        assert!(is_encoder(&Checkpoint::open(&case.folder).unwrap()));
    }
    let decoder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    for folder in std::fs::read_dir(decoder).unwrap() {
        assert!(!is_encoder(&Checkpoint::open(&folder.unwrap().path()).unwrap()));
    }
}

/// A copy of a golden's folder in which a file was changed.
fn changed(name: &str, file: &str, change: impl FnOnce(String) -> String) -> Result<Encoder, String> {
    let copy = tempfile::tempdir().unwrap();
    let from = folder(name);
    for path in ["config.json", "modules.json", "model.safetensors", "1_Pooling/config.json"] {
        let target = copy.path().join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        if from.join(path).exists() {
            std::fs::copy(from.join(path), target).unwrap();
        }
    }
    let path = copy.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let changed = change(text.clone());
    assert_ne!(text, changed, "nothing was changed");
    std::fs::write(&path, changed).unwrap();
    let checkpoint = Checkpoint::open(copy.path()).map_err(|error| error.to_string())?;
    Encoder::load(&checkpoint).map_err(|error| error.to_string())
}

fn refused(name: &str, file: &str, from: &str, to: &str) -> String {
    changed(name, file, |text| text.replace(from, to)).unwrap_err()
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (name, file, from, to, named) in [
        ("bert-mean", "config.json", "\"gelu\"", "\"relu\"", "hidden_act: expected gelu"),
        ("bert-mean", "config.json", "\"BertModel\"", "\"MambaModel\"", "expected one of BertModel"),
        (
            "bert-mean",
            "config.json",
            "\"num_attention_heads\": 4",
            "\"num_attention_heads\": 5",
            "heads: expected a divisor",
        ),
        ("bert-mean", "config.json", "\"hidden_size\": 32", "\"hidden_size\": 64", "shape [40, 64], got [40, 32]"),
        (
            "bert-mean",
            "config.json",
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 3",
            "encoder.layer.2.attention",
        ),
        ("bert-mean", "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "do not belong"),
        ("bert-mean", "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0", "layers: expected 1 to"),
        (
            "bert-mean",
            "modules.json",
            "models.Normalize",
            "models.Dense",
            "modules.json: expected Transformer, Pooling or Normalize, got Dense",
        ),
        (
            "bert-mean",
            "1_Pooling/config.json",
            "max_tokens\": false",
            "max_tokens\": true",
            "pooling_mode: expected mean or cls, got mean and max",
        ),
        ("bert-score", "config.json", "\"0\": \"LABEL_0\"", "\"0\": \"A\", \"1\": \"B\"", "num_labels: expected 1"),
        ("nomic-bert", "config.json", "\"prenorm\": false", "\"prenorm\": true", "prenorm: expected false"),
        ("nomic-bert", "config.json", "\"swiglu\"", "\"geglu\"", "activation_function: expected swiglu, got geglu"),
        ("nomic-bert", "config.json", "\"n_head\": 4", "\"n_head\": 0", "heads: expected 1 to"),
    ] {
        let error = refused(name, file, from, to);
        assert!(error.contains(named), "{name}, {to}: {error}");
    }
}

#[test]
fn what_sentence_transformers_keeps_is_heeded() {
    let pooling = |text: &str| {
        let encoder = changed("bert-mean", "1_Pooling/config.json", |_| text.to_owned()).unwrap();
        encoder.spec().outcome
    };
    assert_eq!(pooling("{\"pooling_mode\": \"cls\"}"), Outcome::Vector(Pooling::Cls));
    assert_eq!(pooling("{\"pooling_mode\": [\"mean\"]}"), Outcome::Vector(Pooling::Mean));
    assert_eq!(pooling("{\"pooling_mode_mean_sqrt_len_tokens\": true}"), Outcome::Vector(Pooling::Mean));
    let limited = changed("bert-mean", "sentence_bert_config.json", |_| "{\"max_seq_length\": 16}".to_owned());
    assert_eq!(limited.unwrap().spec().context, 16);
    let wrong = changed("bert-mean", "sentence_bert_config.json", |_| "{\"max_seq_length\": -1}".to_owned());
    assert!(wrong.unwrap_err().starts_with("sentence_bert_config.json: max_seq_length: expected a count"));
    let flat = changed("bert-mean", "1_Pooling.config.json", |_| "{\"pooling_mode\": \"cls\"}".to_owned()).unwrap();
    assert_eq!(flat.spec().outcome, Outcome::Vector(Pooling::Mean), "the folder's file comes first");
}

/// Files that were changed at random end in an error or in an encoder that runs, never in a panic.
#[test]
fn mutated_files_end_in_an_error_or_run() {
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let runtime = Runtime::new(Isa::detect(), 1).unwrap();
    let mut ran = 0;
    for name in ["bert-mean", "bert-score", "nomic-bert", "nomic-bert-native"] {
        for _ in 0..60 {
            let mutated = changed(name, "config.json", |text| {
                let mut bytes = text.clone().into_bytes();
                loop {
                    for _ in 0..1 + random(3) {
                        let at = random(bytes.len());
                        bytes[at] = b"0123456789\"\\{}[],-. truefalsenull"[random(33)];
                    }
                    if bytes != text.as_bytes() {
                        return String::from_utf8(bytes).unwrap();
                    }
                }
            });
            if let Ok(encoder) = mutated {
                let text = Text { ids: vec![1], types: vec![0] };
                run(&encoder, &runtime, &[text]);
                ran += 1;
            }
        }
        let gguf = std::fs::read(folder(name).join("model.gguf")).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for _ in 0..150 {
            let mut bytes = gguf.clone();
            for _ in 0..1 + random(3) {
                let at = random(3000);
                bytes[at] = random(256) as u8;
            }
            let path = copy.path().join("model.gguf");
            std::fs::write(&path, bytes).unwrap();
            if let Ok(encoder) = Checkpoint::open(&path).map_err(|_| ()).and_then(|c| Encoder::load(&c).map_err(|_| ()))
            {
                let text = Text { ids: vec![1], types: vec![0] };
                run(&encoder, &runtime, &[text]);
                ran += 1;
            }
        }
    }
    assert!(ran > 0, "no mutation was harmless: the test mutates too much to reach the inside");
}
