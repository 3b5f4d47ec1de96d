//! Models of an Ollama registry: a manifest that names blobs by their SHA-256.
//!
//! The registry speaks the distribution protocol of container images (github.com/distribution/distribution, manifest v2
//! schema 2) with media types of its own. Small layers (template, parameters, system prompt, licence) are kept in our
//! manifest as they were sent; weights are fetched like any file.

use super::{Context, Fetch, Offer, OfferedFile, Prefix, Source, address, keys};
use crate::HubError;
use crate::digest::{Checksum, Sha256};
use crate::http::Request;
use crate::manifest::{FileRole, Settings};
use crate::model_ref::{ModelRef, valid_segment};
use serde::Deserialize;
use std::sync::Arc;

pub(crate) const PUBLIC: &str = "https://registry.ollama.ai";
const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LAYER_TYPE: &str = "application/vnd.ollama.image.";
/// More than any honest manifest or setting; limits on what is read into memory.
pub(crate) const LONGEST_MANIFEST: u64 = 4 << 20;
pub(crate) const LONGEST_TEXT: u64 = 1 << 20;

pub(super) const PREFIX: Prefix = Prefix { prefix: "ollama", form: "ollama:name[:tag]", parse: parse_ref };

fn parse_ref(rest: &str) -> Option<ModelRef> {
    let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
    (valid_model(name) && valid_segment(tag)).then(|| ModelRef::Ollama { name: name.to_string(), tag: tag.to_string() })
}

fn valid_model(name: &str) -> bool {
    name.split('/').count() <= 2 && name.split('/').all(valid_segment)
}

/// A model and tag.
#[derive(Debug)]
pub(crate) struct Ollama {
    name: String,
    tag: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    name: String,
    tag: String,
}

pub(super) fn parse(table: toml::Table) -> Result<Arc<dyn Source>, String> {
    let Keys { name, tag } = keys(table)?;
    if !valid_model(&name) || !valid_segment(&tag) {
        return Err(format!("expected a model's name and tag, got {name:?} and {tag:?}"));
    }
    Ok(Arc::new(Ollama { name, tag }))
}

impl Ollama {
    /// The source of a reference that no catalog has.
    pub(crate) fn uncatalogued(name: &str, tag: &str) -> Ollama {
        Ollama { name: name.to_string(), tag: tag.to_string() }
    }

    fn request(&self, context: &Context<'_>, path: &str) -> Result<Request, HubError> {
        // Models without an account before them belong to `library`.
        let name = if self.name.contains('/') { self.name.clone() } else { format!("library/{}", self.name) };
        Request::new(&address(&context.servers.ollama, &format!("v2/{name}/{path}")))
    }

    fn blob(&self, context: &Context<'_>, digest: &Sha256) -> Result<Request, HubError> {
        self.request(context, &format!("blobs/sha256:{digest}"))
    }

    /// A small layer's text, its digest checked.
    fn text(&self, context: &Context<'_>, layer: &Layer) -> Result<String, HubError> {
        let sha256 = self.digest(layer)?;
        let (text, _) = context.http.text(&self.blob(context, &sha256)?, LONGEST_TEXT)?;
        let got = Sha256::of(text.as_bytes());
        if got != sha256 {
            let what = format!("{}: {}", self.describe(), layer.media_type);
            return Err(HubError::hash_mismatch(what, Checksum::Sha256(sha256), Checksum::Sha256(got)));
        }
        Ok(text)
    }

    fn digest(&self, layer: &Layer) -> Result<Sha256, HubError> {
        layer.sha256().map_err(|reason| self.wrong(reason))
    }

    fn wrong(&self, reason: String) -> HubError {
        let hint = "BANTAM_OLLAMA_REGISTRY should be the base address of an Ollama registry".to_string();
        HubError::Refused { what: self.describe(), reason, hint }
    }
}

impl Source for Ollama {
    fn describe(&self) -> String {
        format!("ollama {}:{}", self.name, self.tag)
    }

    fn offer(&self, context: &Context<'_>) -> Result<Offer, HubError> {
        let mut request = self.request(context, &format!("manifests/{}", self.tag))?;
        request.accept = Some(MANIFEST_TYPE);
        let (text, _) = context.http.text(&request, LONGEST_MANIFEST)?;
        let manifest: ImageManifest = serde_json::from_str(&text)
            .map_err(|error| self.wrong(format!("expected a manifest with layers, got {error}")))?;
        let mut files = Vec::new();
        let mut settings = Settings::default();
        for layer in &manifest.layers {
            match layer.kind() {
                "model" => files.push(self.file(context, layer, FileRole::Model, &files)?),
                "adapter" => files.push(self.file(context, layer, FileRole::Adapter, &files)?),
                kind if is_setting(kind) => {
                    let text = self.text(context, layer)?;
                    keep(&mut settings, kind, text).map_err(|reason| self.wrong(reason))?;
                }
                other => context.progress.message(&format!("{}: {}", self.describe(), left_out(other))),
            }
        }
        if let Some(part) = not_applied(&settings) {
            context.progress.message(&format!("{}: kept, but not applied: its {part}", self.describe()));
        }
        if !files.iter().any(|file| file.role == FileRole::Model) {
            return Err(self.wrong("expected a layer of weights, got none".to_string()));
        }
        // The one to open stands first.
        files.sort_by_key(|file| file.role != FileRole::Model);
        let license = license_line(&settings);
        Ok(Offer { files, origin: self.describe(), license, page: None, settings: Some(settings) })
    }
}

impl Ollama {
    fn file(
        &self,
        context: &Context<'_>,
        layer: &Layer,
        role: FileRole,
        before: &[OfferedFile],
    ) -> Result<OfferedFile, HubError> {
        let sha256 = self.digest(layer)?;
        let stem = if role == FileRole::Model { "model" } else { "adapter" };
        let index = before.iter().filter(|file| file.role == role).count();
        let file_name = if index == 0 { format!("{stem}.gguf") } else { format!("{stem}-{index}.gguf") };
        let fetch = Fetch::Address(self.blob(context, &sha256)?);
        Ok(OfferedFile { role, file_name, bytes: Some(layer.size), sha256: Some(sha256), fetch })
    }
}

/// A model's manifest, as registries send it and the program of the same name keeps it.
#[derive(Deserialize)]
pub(crate) struct ImageManifest {
    pub(crate) layers: Vec<Layer>,
}

/// One blob of a model.
#[derive(Deserialize)]
pub(crate) struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
}

impl Layer {
    /// What it holds: `model`, `template` and so on.
    pub(crate) fn kind(&self) -> &str {
        self.media_type.strip_prefix(LAYER_TYPE).unwrap_or(&self.media_type)
    }

    /// Its digest, or what is wrong with that.
    pub(crate) fn sha256(&self) -> Result<Sha256, String> {
        let parsed = self.digest.strip_prefix("sha256:").and_then(|digits| digits.parse().ok());
        parsed.ok_or_else(|| format!("expected a digest sha256:…, got {:?}", self.digest))
    }
}

/// Whether layers of a kind are small texts, which our manifest keeps as they are.
pub(crate) fn is_setting(kind: &str) -> bool {
    ["template", "system", "params", "license"].contains(&kind)
}

/// Keeps the text of such a layer, or says what is wrong with it.
pub(crate) fn keep(settings: &mut Settings, kind: &str, text: String) -> Result<(), String> {
    match kind {
        "template" => settings.template = Some(text),
        "system" => settings.system = Some(text),
        "params" => {
            let params = serde_json::from_str(&text);
            settings.params = Some(params.map_err(|error| format!("expected parameters in JSON, got {error}"))?);
        }
        // Several licences may apply to one model.
        _ => settings.licenses.push(text),
    }
    Ok(())
}

/// What is kept and has no effect: told, so that nobody takes the model for what it is elsewhere.
pub(crate) fn not_applied(settings: &Settings) -> Option<&'static str> {
    settings.template.as_ref().map(|_| "template (it is not Jinja; the file's own is used)")
}

/// What is told of a layer that is not kept.
pub(crate) fn left_out(kind: &str) -> String {
    format!("left out its layer {kind:?}")
}

/// The first line of the licence.
pub(crate) fn license_line(settings: &Settings) -> Option<String> {
    let mut lines = settings.licenses.iter().flat_map(|text| text.lines());
    let line = lines.find(|line| !line.trim().is_empty());
    line.map(|line| line.trim().to_string())
}
