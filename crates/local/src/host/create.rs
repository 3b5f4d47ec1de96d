//! A model made of another one, or of files: its weights are shared or taken in, what it says and how it generates is
//! chosen anew.
//!
//! What the base has stays unless the request has it too: parameters one by one, system text, template, messages and
//! adapter as wholes; licences are added. Read next: `hub`'s `create.rs`, which keeps the result.

use super::target::{Reached, opening_message};
use super::{LocalHost, Told, blob_digest, refusal, request_refusal};
use crate::generation::check_parameters;
use crate::loading::glance;
use crate::quantize::{QuantizeProgress, quantize};
use crate::quantize_mix::{Mix, mix_names};
use chat::{ChatError, CreateRequest, PullProgress};
use hub::{CreatedFrom, FileRole, Manifest, ModelRef, NewModel, Settings, Sha256};
use std::path::{Path, PathBuf};
use tokenizer::ChatTemplate;

/// The most of each that a request may have.
const MOST_FILES: usize = 256;
const MOST_TEXT_BYTES: usize = 1 << 20;

/// The name of a model's only GGUF file in the store.
const GGUF_NAME: &str = "model.gguf";

fn invalid(text: String) -> ChatError {
    ChatError::InvalidRequest(text)
}

impl LocalHost {
    /// Makes a model; one of that name is replaced when the new one is complete.
    pub(super) fn make(&self, request: &CreateRequest, progress: &dyn PullProgress) -> Result<Manifest, ChatError> {
        // All that can be wrong with the request is found before any work.
        self.hub.check_own_name(&request.name).map_err(request_refusal)?;
        check_texts(request)?;
        check_parameters(&serde_json::Value::Object(request.parameters.clone()))?;
        let mix = request.quantize.as_deref().map(named_mix).transpose()?;
        let told = Told(progress);
        let base = self.base(request, progress)?;
        let mut new = self.hub.create(&request.name, &told).map_err(request_refusal)?;
        match (&base, mix) {
            (Some(Base { reference: ModelRef::Path(path), .. }), None) => {
                new.copy_model(path).map_err(request_refusal)?;
            }
            (Some(base), _) => share(&mut new, base, request.adapters.is_empty())?,
            (None, _) => add_files(&mut new, request)?,
        }
        add_adapter(&mut new, request, &self.reached)?;
        if let Some(mix) = mix {
            let path = match &base {
                Some(Base { reference: ModelRef::Path(path), .. }) => path.clone(),
                _ => new.locate().map_err(refusal)?,
            };
            self.quantized(&mut new, &path, mix, progress)?;
        }
        let located = new.locate().map_err(refusal)?;
        // What is no model gets no name.
        glance(&located).map_err(|error| invalid(format!("{}: {error}", request.name)))?;
        let from = created_from(request, base.as_ref(), mix);
        let manifest = new.finish(from).map_err(request_refusal)?;
        // Whoever asks next gets the new one; who is being answered is answered to the end.
        self.residents.unload(&manifest.name);
        Ok(manifest)
    }

    /// The model to start from, fetched where needed.
    fn base(&self, request: &CreateRequest, progress: &dyn PullProgress) -> Result<Option<Base>, ChatError> {
        let from = match (&request.from, request.files.is_empty()) {
            (Some(from), true) => from,
            (None, false) => return Ok(None),
            (Some(_), false) => return Err(invalid("from and files: expected one of them, got both".to_owned())),
            (None, true) => {
                let hint = "name a model in from, or files that were put into the store before";
                return Err(invalid(format!("from: expected a model to start from, got none\nhint: {hint}")));
            }
        };
        let target = self.target(from)?;
        if target.adapter.is_some() {
            let hint = "name the model in from, and the adapter in adapters";
            return Err(invalid(format!("from: expected a model, got one with an adapter: {from}\nhint: {hint}")));
        }
        let source = self.reached_source(&target.model, progress)?;
        if hub::is_adapter(&source.path) {
            let hint = "name it in adapters, and in from the model that it is for";
            return Err(invalid(format!("from: expected a model, got an adapter: {from}\nhint: {hint}")));
        }
        let manifest = self.hub.manifest(&target.model).map_err(refusal)?;
        Ok(Some(Base { reference: target.model, manifest }))
    }

    /// Puts the weights in another mix into the place of those that are there.
    fn quantized(
        &self,
        new: &mut NewModel<'_>,
        path: &Path,
        mix: &Mix,
        progress: &dyn PullProgress,
    ) -> Result<(), ChatError> {
        let file = new.scratch().join("quantized.gguf");
        let mut seen = None;
        let mut watch = |step: QuantizeProgress<'_>| {
            let QuantizeProgress::Writing { done, total, .. } = step else { return };
            match seen.replace(done) {
                None => progress.start(&format!("quantizing to {}", mix.name), Some(total), done),
                Some(before) => progress.advance(done.saturating_sub(before)),
            }
        };
        let report = quantize(path, &file, mix, None, self.runtime.threads(), &mut watch)
            .map_err(|error| invalid(format!("quantize: {error}")))?;
        progress.finish();
        if report.requantized {
            progress.message("the weights were quantized already: errors of two roundings add up");
        }
        new.move_in_model(&file, GGUF_NAME).map_err(refusal)
    }
}

/// What a model is made from.
struct Base {
    reference: ModelRef,
    /// None for a path.
    manifest: Option<Manifest>,
}

impl Base {
    /// How the manifest names it.
    fn name(&self) -> String {
        match &self.reference {
            ModelRef::Path(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
            named => named.store_name(),
        }
    }
}

fn share(new: &mut NewModel<'_>, base: &Base, with_adapter: bool) -> Result<(), ChatError> {
    let files = base.manifest.iter().flat_map(|manifest| &manifest.files);
    for file in files.filter(|file| with_adapter || file.role != FileRole::Adapter) {
        new.share(file).map_err(request_refusal)?;
    }
    Ok(())
}

/// Takes files of weights that were uploaded: one GGUF file under any name, or the files of a folder of safetensors.
fn add_files(new: &mut NewModel<'_>, request: &CreateRequest) -> Result<(), ChatError> {
    let files = digests("files", &request.files)?;
    if let [(name, digest)] = files.as_slice() {
        let role = if name.ends_with(".safetensors") { FileRole::Model } else { FileRole::of_name(name) };
        let is_weights = !matches!(role, FileRole::Config | FileRole::Tokenizer | FileRole::Template);
        let file_name = if is_weights { GGUF_NAME } else { name.as_str() };
        return new.add_blob(digest, file_name, FileRole::Model).map_err(request_refusal);
    }
    for (name, digest) in &files {
        // Clients name files by their paths; a reader of the format knows no folders.
        let file_name = name.rsplit('/').next().unwrap_or(name);
        new.add_blob(digest, file_name, FileRole::of_name(file_name)).map_err(request_refusal)?;
    }
    Ok(())
}

fn add_adapter(new: &mut NewModel<'_>, request: &CreateRequest, reached: &Reached) -> Result<(), ChatError> {
    let is_digest = |text: &str| text.starts_with("sha256:");
    let paths: Vec<&String> = request.adapters.values().filter(|place| !is_digest(place)).collect();
    match paths.as_slice() {
        [] if request.adapters.is_empty() => Ok(()),
        [] => new.add_adapter(&digests("adapters", &request.adapters)?).map_err(request_refusal),
        [only] if request.adapters.len() == 1 => {
            let path = PathBuf::from(only);
            if !reached.holds(&path) || !path.exists() {
                let hint = "give a path, or sha256:.. of bytes that were put into the store before";
                return Err(invalid(format!("adapters: {only}: there is no such file\nhint: {hint}")));
            }
            new.copy_adapter(&path).map_err(request_refusal)
        }
        _ => Err(invalid("adapters: expected the files of one adapter, got several adapters".to_owned())),
    }
}

/// Names with the digests of their bytes.
fn digests(
    field: &str,
    files: &std::collections::BTreeMap<String, String>,
) -> Result<Vec<(String, Sha256)>, ChatError> {
    let digest = |(name, digest): (&String, &String)| match blob_digest(digest) {
        Ok(digest) => Ok((name.clone(), digest)),
        Err(error) => Err(invalid(format!("{field}: {name}: {error}"))),
    };
    files.iter().map(digest).collect()
}

fn created_from(request: &CreateRequest, base: Option<&Base>, mix: Option<&Mix>) -> CreatedFrom {
    let before = base.and_then(|base| base.manifest.as_ref());
    let mut settings = before.and_then(|manifest| manifest.settings.clone()).unwrap_or_default();
    merge(&mut settings, request);
    let name = base.map(Base::name);
    let of = name.as_ref().map_or("uploaded files".to_owned(), |name| match before {
        Some(manifest) => match manifest.digest() {
            Some(digest) => format!("{name} (sha256 {digest})"),
            None => name.clone(),
        },
        None => format!("file {name}"),
    });
    let source = match mix {
        Some(mix) => format!("quantized to {} from {of}", mix.name),
        None => format!("made from {of}"),
    };
    let first_line = |text: &String| text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    let license =
        before.and_then(|manifest| manifest.license.clone()).or_else(|| request.licenses.iter().find_map(first_line));
    CreatedFrom { base: name, source, license, settings }
}

fn merge(settings: &mut Settings, request: &CreateRequest) {
    if request.template.is_some() {
        settings.chat_template.clone_from(&request.template);
    }
    if request.system.is_some() {
        // An empty text takes that of the base away.
        settings.system = request.system.clone().filter(|system| !system.is_empty());
    }
    if !request.messages.is_empty() {
        settings.messages = request.messages.iter().filter_map(opening_message).collect();
    }
    if !request.parameters.is_empty() {
        let mut params = settings.params.as_ref().and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
        params.extend(request.parameters.clone());
        settings.params = Some(serde_json::Value::Object(params));
    }
    for license in &request.licenses {
        if !settings.licenses.contains(license) {
            settings.licenses.push(license.clone());
        }
    }
}

fn named_mix(name: &str) -> Result<&'static Mix, ChatError> {
    // Others write the same names in capitals.
    Mix::from_name(&name.to_lowercase()).ok_or_else(|| {
        let known: Vec<&str> = mix_names().collect();
        invalid(format!("quantize: expected one of {}, got {name:?}", known.join(", ")))
    })
}

/// Refuses texts that are too long, messages that nobody can say, and templates that cannot be read.
fn check_texts(request: &CreateRequest) -> Result<(), ChatError> {
    for (field, count) in [("files", request.files.len()), ("adapters", request.adapters.len())] {
        if count > MOST_FILES {
            return Err(invalid(format!("{field}: expected at most {MOST_FILES}, got {count}")));
        }
    }
    let texts = [("template", request.template.as_ref()), ("system", request.system.as_ref())].into_iter();
    let texts = texts.filter_map(|(field, text)| Some((field, text?)));
    let messages = request.messages.iter().map(|message| ("messages", &message.content));
    let mut total = 0;
    for (field, text) in texts.chain(request.licenses.iter().map(|text| ("license", text))).chain(messages) {
        total += text.len();
        if total > MOST_TEXT_BYTES {
            return Err(invalid(format!(
                "{field}: expected at most {MOST_TEXT_BYTES} bytes of template, system text, licences and messages \
                 together, got more"
            )));
        }
    }
    for message in &request.messages {
        if opening_message(message).is_none() || !message.tool_calls.is_empty() || message.content.is_empty() {
            let expected = "a text of system, user or assistant";
            return Err(invalid(format!("messages: expected {expected}, got another role, a call or no text")));
        }
    }
    request.template.as_deref().map_or(Ok(()), check_template)
}

/// Refuses a template that is not Jinja.
///
/// # Errors
/// [`ChatError::InvalidRequest`], with a hint where it is written in Go's language.
pub fn check_template(template: &str) -> Result<(), ChatError> {
    let Err(error) = ChatTemplate::new(template, "", "") else { return Ok(()) };
    let error = error.to_string();
    let error = error.split("\nhint:").next().unwrap_or_default();
    let hint = if is_go(template) {
        "it is in Go's template language, and templates are Jinja here; leave it out, and the template of the weights' own \
         file is used"
    } else {
        "templates are Jinja, as in tokenizer_config.json"
    };
    Err(invalid(format!("template: {error}\nhint: {hint}")))
}

/// Whether a text has what only Go's templates have: fields with a dot before them, and `end`.
fn is_go(template: &str) -> bool {
    let inner = template.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    inner.map(|action| action.trim_matches(['-', ' ', '\t', '\n'])).any(|action| {
        action == "end"
            || action == "else"
            || action.split_whitespace().any(|word| word.trim_start_matches('(').starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_another_language_are_told_apart() {
        assert!(check_template("{% for m in messages %}{{ m.content }}{% endfor %}").is_ok());
        for go in
            ["{{ .Prompt }}", "{{- if .System }}{{ .System }}{{ end }}", "{{ range $i, $_ := .Messages }}x{{- end }}"]
        {
            let error = check_template(go).unwrap_err().to_string();
            assert!(error.starts_with("template: ") && error.contains("Go's template language"), "{go}: {error}");
        }
        let error = check_template("{% for m in messages %}").unwrap_err().to_string();
        assert!(error.contains("hint: templates are Jinja, as"), "{error}");
    }
}
