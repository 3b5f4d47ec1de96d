//! What loading takes and what it refuses: forms of configuration, options, damaged and hostile files.
//!
//! The checkpoints are those of `goldens.rs`, altered here.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::{Path, PathBuf};

use formats::{Bytes, Checkpoint, ElementType, Gguf, GgufWriter, SafetensorsDir, TensorPlan, Value};
use kernels::{Isa, KvArena, KvElement, Runtime};
use model::{
    Batch, DecoderSpec, LoadOptions, LogitRows, Model, ModelError, RopeRegime, RopeScaling, Segment, Workspace,
};
use proptest::prelude::*;
use serde_json::{Map, json};

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(case)
}

fn gguf(case: &str) -> Gguf {
    Gguf::open(&folder(case).join("model.gguf")).unwrap()
}

fn safetensors(case: &str) -> SafetensorsDir {
    SafetensorsDir::open(&folder(case)).unwrap()
}

fn load_gguf(gguf: &Gguf) -> Result<Model, ModelError> {
    Model::load(&Checkpoint::Gguf(gguf.clone()), &LoadOptions::default())
}

fn load_hf(folder: &SafetensorsDir) -> Result<Model, ModelError> {
    Model::load(&Checkpoint::Safetensors(folder.clone()), &LoadOptions::default())
}

fn refusal(result: Result<Model, ModelError>) -> String {
    result.expect_err("should have been refused").to_string()
}

fn config(folder: &mut SafetensorsDir) -> &mut Map<String, serde_json::Value> {
    folder.config.as_object_mut().unwrap()
}

/// The file with its tensors altered.
fn with_tensors(gguf: &Gguf, alter: impl Fn(&mut Vec<(TensorPlan, Vec<u8>)>)) -> Gguf {
    let plan = |t: &formats::Tensor| TensorPlan { name: t.name.clone(), shape: t.shape.clone(), element: t.element };
    let mut tensors: Vec<_> = gguf.tensors.iter().map(|tensor| (plan(tensor), tensor.data.to_vec())).collect();
    alter(&mut tensors);
    let (plans, data): (Vec<_>, Vec<_>) = tensors.into_iter().unzip();
    let mut writer = GgufWriter::create(Vec::new(), "altered.gguf", &gguf.metadata, &plans).unwrap();
    data.iter().for_each(|bytes| writer.write(bytes).unwrap());
    Gguf::parse(Bytes::from_vec(writer.finish().unwrap())).unwrap()
}

/// The logits of a case's first text in one pass.
fn logits(model: &Model, case: &str, regime: RopeRegime) -> Vec<f32> {
    let texts: Vec<Vec<u32>> =
        serde_json::from_slice(&std::fs::read(folder(case).join("texts.json")).unwrap()).unwrap();
    let runtime = Runtime::new(Isa::detect(), 1).unwrap();
    let mut arena = KvArena::new(model.kv_shape(2, KvElement::F32)).unwrap();
    let segment =
        Segment { position: 0, len: texts[0].len(), pages: vec![0, 1], regime, logits: LogitRows::All, adapter: None };
    let batch = Batch { tokens: texts[0].clone(), segments: vec![segment], ..Batch::default() };
    model.forward(&runtime, &batch, &mut arena, &mut Workspace::default()).to_vec()
}

fn difference(left: &[f32], right: &[f32]) -> f32 {
    assert!(left.iter().chain(right).all(|logit| logit.is_finite()), "a maximum passes over what is no number");
    left.iter().zip(right).map(|(l, r)| (l - r).abs()).fold(0.0, f32::max)
}

/// What a golden includes, it must also notice: each feature, altered, moves logits by far more than the bound.
#[test]
fn goldens_notice_every_feature() {
    let alterations: [(&str, &str, Value); 11] = [
        ("mistral-window", "llama.attention.sliding_window", Value::U32(13)),
        ("phi3-window", "phi3.attention.sliding_window", Value::U32(12)),
        ("phi3-longrope", "phi3.rope.scaling.attn_factor", Value::F32(1.0)),
        ("gemma2", "gemma2.attention.sliding_window", Value::U32(11)),
        ("gemma2", "gemma2.attn_logit_softcapping", Value::F32(3.3)),
        ("gemma2", "gemma2.final_logit_softcapping", Value::F32(4.1)),
        ("gemma3", "gemma3.attention.sliding_window", Value::U32(10)),
        ("gemma3", "gemma3.rope.freq_base_swa", Value::F32(11_000.0)),
        ("gemma3", "gemma3.rope.scaling.factor", Value::F32(7.0)),
        ("qwen2-untied-yarn", "qwen2.rope.scaling.factor", Value::F32(3.5)),
        ("qwen2-untied-yarn", "qwen2.rope.scaling.original_context_length", Value::U32(256)),
    ];
    for (case, key, value) in alterations {
        let mut file = gguf(case);
        let regime = if case == "phi3-longrope" { RopeRegime::Long } else { RopeRegime::Short };
        let right = logits(&load_gguf(&file).unwrap(), case, regime);
        file.metadata.insert(key, value);
        let moved = difference(&right, &logits(&load_gguf(&file).unwrap(), case, regime));
        println!("{case}: {key} altered moves logits by {moved:.2e}");
        assert!(moved > 5e-3, "{case}: {key} moves logits by {moved} alone");
    }
    let model = load_gguf(&gguf("phi3-longrope")).unwrap();
    let [short, long] = [RopeRegime::Short, RopeRegime::Long].map(|regime| logits(&model, "phi3-longrope", regime));
    assert!(difference(&short, &long) > 5e-3);
}

#[test]
fn both_containers_describe_the_same_model() {
    for case in std::fs::read_dir(folder("")).unwrap() {
        let case = case.unwrap().file_name().into_string().unwrap();
        let (from_gguf, from_hf) = (load_gguf(&gguf(&case)).unwrap(), load_hf(&safetensors(&case)).unwrap());
        let mut expected = from_hf.spec().clone();
        let got = from_gguf.spec();
        // What differs by the conventions of the containers alone.
        expected.rope_pairing = got.rope_pairing;
        expected.norm_shift = got.norm_shift;
        if case.contains("llama3") {
            let divisors = |spec: &DecoderSpec| spec.ropes[0].table(RopeRegime::Short).inverse_frequency;
            assert!(difference(&divisors(&expected), &divisors(got)) < 1e-7);
            expected.ropes = got.ropes.clone();
        }
        if let RopeScaling::LongRope { magnitude, .. } = &mut expected.ropes[0].scaling {
            *magnitude = (*magnitude * 1e5).round() / 1e5;
        }
        let mut got = got.clone();
        if let RopeScaling::LongRope { magnitude, .. } = &mut got.ropes[0].scaling {
            *magnitude = (*magnitude * 1e5).round() / 1e5;
        }
        assert_eq!(got, expected, "{case}");
        let weights = gguf(&case).tensors.iter().filter(|t| !t.name.starts_with("rope_")).map(|t| t.data.len()).sum();
        assert_eq!(usize::try_from(from_gguf.weight_bytes()), Ok::<usize, _>(weights), "{case}");
        assert!(from_gguf.unused_tensors().is_empty(), "{case}");
    }
}

type AlterConfig = fn(&mut Map<String, serde_json::Value>);

#[test]
fn older_configurations_describe_the_same_model() {
    let alterations: [(&str, AlterConfig); 4] = [
        ("gemma3", |config| {
            config.remove("layer_types");
            config.insert("sliding_window_pattern".to_owned(), json!(6));
            config.insert("rope_theta".to_owned(), json!(1e6));
            config.insert("rope_local_base_freq".to_owned(), json!(1e4));
            config.insert("rope_scaling".to_owned(), json!({"rope_type": "linear", "factor": 8.0}));
        }),
        ("llama-tied-llama3-rope", |config| {
            let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32});
            config.insert("rope_scaling".to_owned(), scaling);
            config.insert("rope_theta".to_owned(), json!(500.0));
        }),
        ("phi3-longrope", |config| {
            let parameters = config["rope_parameters"].clone();
            let lists = (parameters["short_factor"].clone(), parameters["long_factor"].clone());
            let scaling = json!({"type": "su", "short_factor": lists.0, "long_factor": lists.1});
            config.insert("rope_scaling".to_owned(), scaling);
        }),
        ("qwen2-untied-yarn", |config| {
            let scaling = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32});
            config.insert("rope_scaling".to_owned(), scaling);
        }),
    ];
    for (case, alter) in alterations {
        let mut folder = safetensors(case);
        let expected = load_hf(&folder).unwrap();
        alter(config(&mut folder));
        config(&mut folder).remove("rope_parameters");
        assert_eq!(load_hf(&folder).unwrap().spec(), expected.spec(), "{case}");
    }
}

/// Gemma 3 of 4B and up come with a vision encoder: the language model is a part of the configuration and of the tensors.
#[test]
fn the_text_part_of_a_multimodal_checkpoint_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let source = folder("gemma3");
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let header_len = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: Map<String, serde_json::Value> = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
    let data = &bytes[8 + header_len..];
    let mut renamed: Map<String, serde_json::Value> =
        header.into_iter().map(|(name, entry)| (format!("language_model.{name}"), entry)).collect();
    renamed.remove("language_model.__metadata__");
    let end = data.len();
    renamed.insert(
        "vision_tower.embeddings.weight".to_owned(),
        json!({"dtype": "F32", "shape": [2], "data_offsets": [end, end + 8]}),
    );
    let header = serde_json::to_vec(&renamed).unwrap();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, data, &[0; 8]].concat();
    std::fs::write(scratch.path().join("model.safetensors"), file).unwrap();
    let text = safetensors("gemma3").config;
    let config = json!({"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text, "vision_config": {}});
    std::fs::write(scratch.path().join("config.json"), config.to_string()).unwrap();

    let model = load_hf(&SafetensorsDir::open(scratch.path()).unwrap()).unwrap();
    let plain = load_hf(&safetensors("gemma3")).unwrap();
    assert_eq!(model.spec(), plain.spec());
    assert_eq!(model.unused_tensors(), ["vision_tower.embeddings.weight"]);
    let both = [&model, &plain].map(|model| logits(model, "gemma3", RopeRegime::Short));
    assert_eq!(both[0], both[1]);
}

#[test]
fn yarn_is_switched_on_by_request_where_its_authors_offer_it() {
    let yarn = LoadOptions { yarn: Some(4.0) };
    let mut folder = safetensors("qwen2-untied-yarn");
    let expected = load_hf(&folder).unwrap();
    assert_eq!(expected.spec().context, 128);
    config(&mut folder).insert("rope_parameters".to_owned(), json!({"rope_type": "default", "rope_theta": 10000.0}));
    assert_eq!(load_hf(&folder).unwrap().spec().context, 32);
    let asked = Model::load(&Checkpoint::Safetensors(folder), &yarn).unwrap();
    assert_eq!(asked.spec(), expected.spec());

    let refused = Model::load(&Checkpoint::Gguf(gguf("llama-gqa-untied")), &yarn);
    assert!(refusal(refused).starts_with(
        "yarn: expected a model of qwen2 or qwen3 with plain rotary embeddings, got llama\nhint: leave YaRN out"
    ));
    let absurd = Model::load(&Checkpoint::Gguf(gguf("qwen3")), &LoadOptions { yarn: Some(f32::NAN) });
    assert!(refusal(absurd).starts_with("yarn: expected a factor of 1 to 64, got NaN"));
}

#[test]
fn a_file_without_its_key_for_the_window_of_phi3_4k_has_it_all_the_same() {
    let mut file = gguf("phi3-window");
    file.metadata.remove("phi3.attention.sliding_window");
    assert_eq!(load_gguf(&file).unwrap().spec().layers[1].window, None);
    file.metadata.insert("phi3.context_length", Value::U32(4096));
    assert_eq!(load_gguf(&file).unwrap().spec().layers[1].window, Some(2047));
    file.metadata.insert("phi3.attention.sliding_window", Value::U32(0));
    assert_eq!(load_gguf(&file).unwrap().spec().layers[1].window, None);
}

#[test]
fn every_missing_tensor_is_named() {
    let lacks = ["blk.0.attn_k.weight", "blk.1.ffn_norm.weight", "output_norm.weight"];
    let file = with_tensors(&gguf("llama-gqa-untied"), |tensors| {
        tensors.retain(|(plan, _)| !lacks.contains(&plan.name.as_str()));
    });
    assert_eq!(
        refusal(load_gguf(&file)),
        "3 of the model's tensors are missing: output_norm.weight, blk.0.attn_k.weight, blk.1.ffn_norm.weight\n\
         hint: the file is cut short or a shard of it is absent"
    );
    let tied = with_tensors(&gguf("llama-gqa-untied"), |tensors| {
        tensors.retain(|(plan, _)| plan.name != "output.weight");
    });
    assert!(load_gguf(&tied).unwrap().spec().tied_head);
}

#[test]
fn a_misshapen_tensor_is_refused_with_both_shapes() {
    let file = with_tensors(&gguf("qwen2-tied"), |tensors| {
        let (plan, _) = tensors.iter_mut().find(|(plan, _)| plan.name == "blk.1.attn_v.weight").unwrap();
        plan.shape = vec![32, 16];
    });
    let message = refusal(load_gguf(&file));
    assert!(message.starts_with("tensor blk.1.attn_v.weight: expected shape [16, 32], got [32, 16]"), "{message}");
}

#[test]
fn types_that_cannot_be_computed_with_are_refused() {
    let file = with_tensors(&gguf("qwen3"), |tensors| {
        let (plan, data) = tensors.iter_mut().find(|(plan, _)| plan.name == "blk.0.attn_q.weight").unwrap();
        plan.element = ElementType::from_name("I8").unwrap();
        data.truncate(data.len() / 2);
    });
    let message = refusal(load_gguf(&file));
    assert!(message.starts_with("tensor blk.0.attn_q.weight: expected element type f32, f16, bf16"), "{message}");
    assert!(message.contains("got i8"), "{message}");
    let file = with_tensors(&gguf("qwen3"), |tensors| {
        let (plan, data) = tensors.iter_mut().find(|(plan, _)| plan.name == "blk.0.attn_norm.weight").unwrap();
        plan.element = ElementType::from_name("Q8_0").unwrap();
        data.truncate(34);
    });
    let message = refusal(load_gguf(&file));
    assert!(message.starts_with("tensor blk.0.attn_norm.weight: expected element type f32, f16 or bf16, got q8_0"));
}

#[test]
fn a_tensor_that_would_be_passed_over_is_refused() {
    let file = with_tensors(&gguf("llama-gqa-untied"), |tensors| {
        let element = ElementType::from_name("F32").unwrap();
        let plan = TensorPlan { name: "blk.0.attn_output.bias".to_owned(), shape: vec![32], element };
        tensors.push((plan, vec![0; 128]));
    });
    let message = refusal(load_gguf(&file));
    assert!(
        message.starts_with("1 tensors do not belong to the llama family as it is built here: blk.0.attn_output.bias"),
        "{message}"
    );
}

#[test]
fn an_unknown_family_is_refused_with_those_that_are_known() {
    let mut file = gguf("llama-gqa-untied");
    file.metadata.insert("general.architecture", "mamba");
    let message = refusal(load_gguf(&file));
    assert!(message.starts_with("unknown model family: expected one of llama, phi3, gemma2"), "{message}");
    let mut folder = safetensors("llama-gqa-untied");
    config(&mut folder).insert("architectures".to_owned(), json!(["MambaForCausalLM"]));
    assert!(refusal(load_hf(&folder)).contains("Qwen3ForCausalLM, got \"MambaForCausalLM\""));
}

#[test]
fn absurd_numbers_are_refused_by_name() {
    let absurd = [
        ("llama.attention.head_count", Value::U32(0)),
        ("llama.attention.head_count_kv", Value::U32(3)),
        ("llama.attention.head_count_kv", Value::U32(0)),
        ("llama.block_count", Value::U32(u32::MAX)),
        ("llama.embedding_length", Value::U64(u64::MAX)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN)),
        ("llama.rope.freq_base", Value::F32(-1.0)),
        ("llama.rope.dimension_count", Value::U32(7)),
        ("llama.context_length", Value::U32(0)),
        ("llama.expert_count", Value::U32(8)),
        ("llama.feed_forward_length", Value::String("large".to_owned())),
    ];
    for (key, value) in absurd {
        let mut file = gguf("llama-gqa-untied");
        file.metadata.insert(key, value.clone());
        let message = refusal(load_gguf(&file));
        assert!(message.contains("expected") && message.contains("got"), "{key} = {value:?}: {message}");
    }
}

#[test]
fn figures_for_foresight() {
    let model = load_gguf(&gguf("mistral-window")).unwrap();
    assert_eq!(model.kv_bytes_per_position(KvElement::F16), 2 * 2 * 2 * 8 * 2);
    let spec = model.spec();
    let weights = 2 * (32 * 32 * 2 + 16 * 32 * 2 + 3 * 48 * 32 + 32 + 32) + 96 * 32;
    assert_eq!(spec.flops_per_token(0), 2 * weights + 2 * 4 * 32);
    assert_eq!(spec.flops_per_token(1000), 2 * weights + 2 * 4 * 32 * 12, "a window bounds what is seen");
    let cost = model.pass_cost(KvElement::F16);
    let norms = 2 * (32 + 32);
    assert_eq!((cost.layer_weights, cost.head_weights), (weights - norms - 96 * 32, 96 * 32));
    let tables = model.weight_bytes() - cost.layer_bytes;
    assert_eq!(tables, 2 * cost.head_bytes, "the embedding table is no part of a pass, nor the head of its layers");
    assert_eq!(cost.kv_bytes_at(0), model.kv_bytes_per_position(KvElement::F16));
    assert_eq!(cost.kv_bytes_at(1000), 12 * cost.kv_bytes_at(0), "the window again");
}

fn value() -> impl Strategy<Value = Value> {
    let edges = prop_oneof![Just(0), Just(1), Just(2), Just(3), Just(7), Just(1 << 20), Just(u64::MAX), any::<u64>()];
    let numbers = prop_oneof![
        Just(0.0),
        Just(-1.0),
        Just(f32::NAN),
        Just(f32::INFINITY),
        Just(f32::MIN_POSITIVE),
        Just(f32::MAX),
        any::<f32>(),
    ];
    prop_oneof![
        edges.clone().prop_map(Value::U64),
        edges.prop_map(|number| Value::U32(number as u32)),
        any::<i64>().prop_map(Value::I64),
        numbers.prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![Just("yarn"), Just("linear"), Just("longrope"), Just("x")].prop_map(Value::from),
        prop::collection::vec(any::<u32>(), 0..9).prop_map(|list| Value::Array(formats::Array::from_u32s(&list))),
    ]
}

const CASES: [&str; 4] = ["gemma3", "phi3-longrope", "qwen2-untied-yarn", "mistral-window"];

/// Keys that some family reads and the file may lack.
const OPTIONAL: [&str; 8] = [
    "attention.key_length",
    "attention.sliding_window_pattern",
    "attention.scale",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.dimension_count",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the metadata says, loading answers; and what it lets in can be run.
    #[test]
    fn altered_metadata_never_panics(
        case in 0..CASES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..4),
    ) {
        let mut file = gguf(CASES[case]);
        let architecture = file.metadata.str("general.architecture").unwrap().unwrap().to_owned();
        let mut keys: Vec<String> = file.metadata.iter().map(|(key, _)| key.to_owned()).collect();
        keys.extend(OPTIONAL.iter().map(|key| format!("{architecture}.{key}")));
        for (key, value) in changes {
            file.metadata.insert(key.get(&keys).clone(), value);
        }
        if let Ok(model) = load_gguf(&file) {
            logits(&model, CASES[case], RopeRegime::Long);
        }
    }

    /// The same for `config.json`.
    #[test]
    fn altered_configurations_never_panic(
        case in 0..CASES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..4),
        nested in any::<bool>(),
    ) {
        let mut folder = safetensors(CASES[case]);
        for (key, value) in changes {
            let value = match value {
                Value::U64(number) => json!(number),
                Value::I64(number) => json!(number),
                Value::F32(number) => json!(number),
                Value::Bool(truth) => json!(truth),
                Value::String(text) => json!(text),
                _ => json!(null),
            };
            let object = match folder.config.get_mut("rope_parameters").and_then(|rope| rope.as_object_mut()) {
                Some(rope) if nested => rope,
                _ => config(&mut folder),
            };
            let names: Vec<String> = object.keys().cloned().collect();
            object.insert(key.get(&names).clone(), value);
        }
        if let Ok(model) = load_hf(&folder) {
            logits(&model, CASES[case], RopeRegime::Long);
        }
    }
}
