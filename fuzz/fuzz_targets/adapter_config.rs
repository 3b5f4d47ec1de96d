//! Any bytes as the configuration of an adapter whose tensors are sound: it fits its base, or says why not.
//!
//! Seeds: `crates/model/testdata-adapters/*/adapter_config.json`.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use formats::{AdapterCheckpoint, Bytes, Checkpoint, PeftDir};
use model::{Adapter, DecoderSpec, LoadOptions, Model};

/// The tensors of an adapter, and the description of its base.
static SOUND: LazyLock<(Bytes, DecoderSpec)> = LazyLock::new(|| {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/model");
    let weights = std::fs::read(crates.join("testdata-adapters/llama-patterns/adapter_model.safetensors"));
    let base = Checkpoint::open(&crates.join("testdata/llama-gqa-untied/model.gguf")).expect("a sound base");
    let model = Model::load(&base, &LoadOptions::default()).expect("a sound base");
    (Bytes::from_vec(weights.expect("a sound adapter")), model.spec().clone())
});

libfuzzer_sys::fuzz_target!(|config: &[u8]| {
    let (weights, spec) = &*SOUND;
    let Ok(folder) = PeftDir::parse(config, weights) else { return };
    if let Err(error) = Adapter::load(&AdapterCheckpoint::Peft(folder), spec) {
        assert!(error.to_string().contains("hint: "));
    }
});
