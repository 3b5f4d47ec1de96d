//! What a host tells of models without loading them.
//!
//! Read next: `loading.rs`, whose description of a model this extends.

use super::target::Target;
use super::{LocalHost, refusal};
use crate::encoder_model::{describe_encoder, is_encoder};
use crate::loading::{Parts, glance};
use crate::options::LoadOptions;
use chat::{Capabilities, ChatError, ModelDetails, ModelSummary};
use formats::{Checkpoint, Gguf, Value};
use hub::{Manifest, ModelRef};
use serde_json::{Map, json};
use std::path::Path;

/// Longer lists of metadata are left out: vocabularies, merges.
const LONGEST_LIST: usize = 64;

impl LocalHost {
    /// The models in the store, by name.
    pub(super) fn summaries(&self) -> Result<Vec<ModelSummary>, ChatError> {
        // One that cannot be read has no size or digest to tell; asking for it by name tells what is wrong with it.
        let manifests = self.hub.store().list().map_err(refusal)?.models;
        Ok(manifests.iter().map(|manifest| self.stored_summary(manifest)).collect())
    }

    fn stored_summary(&self, manifest: &Manifest) -> ModelSummary {
        let digest = manifest.digest();
        let row = digest.and_then(|digest| self.hub.catalog().entries().iter().find(|row| row.sha256 == Some(digest)));
        let known = match row {
            Some(row) => Some((row.parameters, row.quantization.clone())),
            None => self.glance(manifest),
        };
        let (parameters, quantization) = known.unzip();
        ModelSummary {
            name: manifest.name.clone(),
            family: manifest.family.clone(),
            bytes: manifest.bytes(),
            digest: digest.map(|digest| digest.to_string()),
            parameters,
            quantization,
            modified: self.hub.store().modified(&manifest.name),
            base: manifest.base.clone(),
            loaded: self.residents.has(&manifest.name),
        }
    }

    /// Number of weights and how they are stored, from the headers of the files; looked up once for the same bytes.
    fn glance(&self, manifest: &Manifest) -> Option<(u64, String)> {
        let digest = manifest.digest()?;
        if let Some(known) = self.glances().get(&digest) {
            return known.clone();
        }
        let path = self.hub.store().locate(manifest).ok()?;
        let seen = glance(&path).ok();
        self.glances().insert(digest, seen.clone());
        seen
    }

    /// What is known of a model in the store, or at a path, before anything of it is opened.
    pub(super) fn summary_of(&self, reference: &ModelRef) -> Result<ModelSummary, ChatError> {
        if let Some(manifest) = self.hub.manifest(reference).map_err(refusal)? {
            return Ok(self.stored_summary(&manifest));
        }
        let path = self.hub.locate(reference).map_err(refusal)?;
        let name = reference.store_name();
        let seen = glance(&path).ok();
        let (parameters, quantization) = seen.unzip();
        Ok(ModelSummary {
            loaded: self.residents.has(&name),
            family: String::new(),
            bytes: hub::bytes_at(&path).map_err(refusal)?,
            digest: None,
            parameters,
            quantization,
            modified: std::fs::metadata(&path).and_then(|data| data.modified()).ok(),
            base: None,
            name,
        })
    }

    /// All that is known of a model. It must be in the store, or be a path; with an adapter it is what its base is.
    pub(super) fn details(&self, name: &str) -> Result<ModelDetails, ChatError> {
        let target = self.target(name)?;
        let summary = self.summary_of(&target.model)?;
        let manifest = self.hub.manifest(&target.model).map_err(refusal)?;
        let mut details = match &manifest {
            Some(manifest) if manifest.is_adapter() => adapter_details(summary, &self.located(&target.model)?)?,
            _ => self.model_details(&target, summary)?,
        };
        if let Some(adapter) = &target.adapter {
            super::target::adapter_path(&self.hub, adapter)?;
            let loaded = self.residents.has(&target.name);
            let base = Some(target.model.store_name());
            details.summary = ModelSummary { name: target.name, base, loaded, ..details.summary };
        }
        let Some(manifest) = manifest else { return Ok(details) };
        details.parameters = manifest.parameters().and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
        let settings = manifest.settings.unwrap_or_default();
        details.system = settings.system;
        details.licenses = settings.licenses;
        if details.licenses.is_empty() {
            details.licenses.extend(manifest.license);
        }
        Ok(details)
    }

    fn model_details(&self, target: &Target, summary: ModelSummary) -> Result<ModelDetails, ChatError> {
        let source = self.stored_source(&target.model)?;
        // Whether a context can be had is told by a load.
        let options = LoadOptions { context: None, ..self.options.clone() };
        let checkpoint = open(&source.path)?;
        let (info, width, template) = if is_encoder(&source.path)? {
            let described = describe_encoder(&source, &options)?;
            (described.info, described.spec.width, String::new())
        } else {
            let parts = Parts::open(&source, &options)?;
            (parts.info, parts.model.spec().width, parts.template.source().to_owned())
        };
        Ok(ModelDetails {
            summary: ModelSummary {
                family: info.family,
                parameters: Some(info.parameters),
                quantization: Some(info.quantization),
                ..summary
            },
            capabilities: info.capabilities,
            maximum_context: info.maximum_context,
            width,
            template,
            system: None,
            licenses: Vec::new(),
            parameters: Map::new(),
            metadata: metadata(&checkpoint),
            tensors: tensors(checkpoint.tensors()),
        })
    }
}

fn open(path: &Path) -> Result<Checkpoint, ChatError> {
    Checkpoint::open(path).map_err(|error| ChatError::Unloadable(error.to_string()))
}

/// An adapter has tensors and metadata, and can do nothing alone.
fn adapter_details(summary: ModelSummary, path: &Path) -> Result<ModelDetails, ChatError> {
    let unreadable = |error: formats::FormatError| ChatError::Unloadable(error.to_string());
    let (metadata, tensors) = if path.is_dir() {
        let text = std::fs::read(path.join("adapter_config.json")).unwrap_or_default();
        let weights = formats::Mapping::open(&path.join("adapter_model.safetensors")).map_err(unreadable)?;
        let weights = formats::parse_weights(&formats::Bytes::from_mapping(weights)).map_err(unreadable)?;
        (serde_json::from_slice(&text).unwrap_or_default(), tensors(&weights))
    } else {
        let gguf = Gguf::open(path).map_err(unreadable)?;
        (gguf_metadata(&gguf), tensors(&gguf.tensors))
    };
    Ok(ModelDetails {
        summary,
        capabilities: Capabilities::default(),
        maximum_context: 0,
        width: 0,
        template: String::new(),
        system: None,
        licenses: Vec::new(),
        parameters: Map::new(),
        metadata,
        tensors,
    })
}

fn tensors(tensors: &formats::Tensors) -> Vec<(String, Vec<usize>, String)> {
    tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone(), tensor.element.name.to_owned())).collect()
}

fn metadata(checkpoint: &Checkpoint) -> Map<String, serde_json::Value> {
    match checkpoint {
        Checkpoint::Gguf(gguf) => gguf_metadata(gguf),
        Checkpoint::Safetensors(folder) => folder.config.as_object().cloned().unwrap_or_default(),
    }
}

fn gguf_metadata(gguf: &Gguf) -> Map<String, serde_json::Value> {
    gguf.metadata.iter().map(|(key, value)| (key.to_owned(), as_json(value))).collect()
}

/// A value as JSON; null for what JSON cannot say (no number) and for long lists.
fn as_json(value: &Value) -> serde_json::Value {
    match value {
        Value::U8(number) => json!(number),
        Value::I8(number) => json!(number),
        Value::U16(number) => json!(number),
        Value::I16(number) => json!(number),
        Value::U32(number) => json!(number),
        Value::I32(number) => json!(number),
        Value::U64(number) => json!(number),
        Value::I64(number) => json!(number),
        Value::F32(number) => json!(number),
        Value::F64(number) => json!(number),
        Value::Bool(is) => json!(is),
        Value::String(text) => json!(text),
        Value::Array(array) if array.len() > LONGEST_LIST => serde_json::Value::Null,
        Value::Array(array) => list(array),
    }
}

fn list(array: &formats::Array) -> serde_json::Value {
    if let Some(texts) = array.strings() {
        return texts.map(|text| json!(text)).collect();
    }
    if let Some(integers) = array.integers() {
        return integers.map(|integer| json!(i64::try_from(integer).ok())).collect();
    }
    if let Some(bools) = array.bools() {
        return bools.map(|is| json!(is)).collect();
    }
    if let Some(numbers) = array.f32s() {
        return numbers.map(|number| json!(number)).collect();
    }
    if let Some(numbers) = array.f64s() {
        return numbers.map(|number| json!(number)).collect();
    }
    let nested = array.arrays().map(|arrays| arrays.map(|array| as_json(&Value::Array(array))).collect());
    nested.unwrap_or(serde_json::Value::Null)
}
