//! From a path to the parts of a model: weights, tokenizer, template, what the file recommends.
//!
//! Nothing here takes memory for weights: they are mapped. Read next: `local_model`, which puts the parts to work.

use crate::forecast::{Forecast, ModelShape};
use crate::generation::{Parameters, or_else, recommended_by_config, recommended_by_gguf, usable};
use crate::insert::InsertTokens;
use crate::memory::human_bytes;
use crate::opening::Opening;
use crate::options::{LoadOptions, is_context_of};
use crate::quantize_mix::file_type_name;
use crate::thought::CLOSE;
use crate::tools::Format;
use chat::{Capabilities, ChatError, GenerationOptions, ModelInfo};
use formats::{Checkpoint, Gguf, SafetensorsDir, Tensors};
use kernels::PAGE_LEN;
use model::Model;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use tokenizer::{ChatTemplate, Tokenizer, TokenizerError};

/// Which model to load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelSource {
    /// The name to know it by.
    pub name: String,
    /// A GGUF file or a folder of safetensors.
    pub path: PathBuf,
    /// Generation parameters that came with it in the store (the parameter layer of an Ollama model).
    pub parameters: Option<Value>,
    /// Where its prepared weights are kept, if they are; see [`crate::LocalHost::prepare`].
    pub prepared: Option<PathBuf>,
    /// A chat template, Jinja, that goes before that of its files.
    pub template: Option<String>,
    /// What stands before every conversation with it.
    pub opening: Opening,
}

/// A model's chat template, or why there is none.
#[derive(Debug)]
pub(crate) enum Template {
    /// The file has none.
    Missing,
    /// The one that there is cannot be used, for this reason.
    Broken(String),
    /// The template.
    Ready(Box<ChatTemplate>),
}

impl Template {
    pub(crate) fn source(&self) -> &str {
        match self {
            Template::Ready(template) => template.source(),
            Template::Missing | Template::Broken(_) => "",
        }
    }

    /// The format in which it teaches calls of tools; none if it takes none, or in a format that is not known here.
    pub(crate) fn tool_format(&self) -> Option<&'static Format> {
        Format::of(self.source())
    }

    /// Whether it takes tools at all.
    pub(crate) fn takes_tools(&self) -> bool {
        self.source().contains("tools")
    }

    /// Whether the template can be told to think or not.
    pub(crate) fn has_thinking_switch(&self) -> bool {
        self.source().contains("enable_thinking")
    }

    /// Whether answers may open with a thought.
    pub(crate) fn thinks(&self) -> bool {
        self.has_thinking_switch() || self.source().contains(CLOSE)
    }
}

/// The parts of a loaded model.
pub(crate) struct Parts {
    pub(crate) model: Model,
    /// The tokenizer; where the files have none, the refusal of who needs it. One that is there and cannot be used is an
    /// error of opening.
    pub(crate) tokenizer: Result<Tokenizer, ChatError>,
    pub(crate) template: Template,
    /// The tokens to fill in the middle with, where the model has them.
    pub(crate) insert: Option<InsertTokens>,
    pub(crate) recommended: GenerationOptions,
    /// What of it was left out, for people.
    pub(crate) notes: Vec<String>,
    pub(crate) info: ModelInfo,
}

/// An error of a load, with the model's name.
pub(crate) fn unloadable(name: &str) -> impl Fn(&dyn Display) -> ChatError + '_ {
    move |error| ChatError::Unloadable(format!("cannot load {name}: {error}"))
}

impl Parts {
    /// Opens and checks everything that a model consists of.
    pub(crate) fn open(source: &ModelSource, options: &LoadOptions) -> Result<Parts, ChatError> {
        let refuse = unloadable(&source.name);
        let checkpoint = Checkpoint::open(&source.path).map_err(|error| refuse(&error))?;
        let model =
            Model::load(&checkpoint, &model::LoadOptions { yarn: options.yarn }).map_err(|error| refuse(&error))?;
        let tokenizer = match tokenizer_of(&checkpoint) {
            Ok(tokenizer) => Ok(tokenizer),
            Err(NoTokenizer::Absent(reason)) => Err(refuse(&reason)),
            Err(NoTokenizer::Unusable(reason)) => return Err(refuse(&reason)),
        };
        let template = match &tokenizer {
            Ok(tokenizer) => template_of(&checkpoint, source.template.as_deref(), tokenizer),
            // What a template writes could not be read.
            Err(_) => Template::Missing,
        };
        let metadata = match &checkpoint {
            Checkpoint::Gguf(gguf) => Some(&gguf.metadata),
            Checkpoint::Safetensors(_) => None,
        };
        let insert = match &tokenizer {
            Ok(tokenizer) => InsertTokens::of(tokenizer, metadata).map_err(|error| refuse(&error))?,
            Err(_) => None,
        };
        let recommended = match &checkpoint {
            Checkpoint::Gguf(gguf) => recommended_by_gguf(gguf).map_err(|error| refuse(&error))?,
            Checkpoint::Safetensors(folder) => {
                folder.generation_config.as_ref().map(recommended_by_config).unwrap_or_default()
            }
        };
        let (recommended, mut notes) = usable(recommended);
        let parameters = source.parameters.as_ref().map(Parameters::of).unwrap_or_default();
        let recommended = or_else(parameters.options, &recommended);
        let spec = model.spec();
        // The caller's choice, then that of the parameters as far as the model was made for it, then ours.
        let stated = parameters.context.filter(|_| options.context.is_none());
        let context = stated.map_or_else(|| options.context_for(spec.context), |context| context.min(spec.context));
        if !is_context_of(context, spec.context) {
            return Err(ChatError::InvalidRequest(format!(
                "context {context} is outside what {} was made for: expected 1 to {}\n\
                 hint: choose a smaller context, or a model made for a longer one",
                source.name, spec.context
            )));
        }
        let context = held_context(&source.name, context, &model, options, &mut notes)?;
        let info = ModelInfo {
            name: source.name.clone(),
            family: spec.family.to_owned(),
            parameters: parameter_count(checkpoint.tensors()),
            weight_bytes: model.weight_bytes(),
            quantization: quantization_of(&checkpoint),
            context,
            maximum_context: spec.context,
            vocabulary: spec.vocabulary,
            capabilities: Capabilities {
                template: matches!(template, Template::Ready(_)),
                complete: tokenizer.is_ok(),
                score: tokenizer.is_ok(),
                think: template.thinks(),
                tools: template.tool_format().is_some(),
                insert: insert.is_some(),
                embed: false,
                relevance: false,
                choose: true,
            },
        };
        Ok(Parts { model, tokenizer, template, insert, recommended, notes, info })
    }
}

/// The context that the memory for keys and values holds: all of `context`, or, where nobody asked for so much, what there is
/// room for, with a note.
fn held_context(
    name: &str,
    context: usize,
    model: &Model,
    options: &LoadOptions,
    notes: &mut Vec<String>,
) -> Result<usize, ChatError> {
    let page_bytes = model.kv_bytes_per_position(options.kv_element).saturating_mul(PAGE_LEN as u64);
    let held = options.kv_pages(context, page_bytes).saturating_mul(PAGE_LEN);
    if context <= held {
        return Ok(context);
    }
    let bytes = human_bytes(options.kv_memory.unwrap_or(0));
    if held == 0 {
        return Err(ChatError::InvalidRequest(format!(
            "{bytes} for keys and values hold no page of {name}, which takes {}\nhint: give it more (--kv-memory)",
            human_bytes(page_bytes)
        )));
    }
    if options.context.is_some() {
        return Err(ChatError::InvalidRequest(format!(
            "context {context} does not fit: {bytes} for keys and values hold {held} positions of {name}\n\
             hint: choose a context of {held} or less, or give it more (--kv-memory)"
        )));
    }
    notes.push(format!("context {held} instead of {context}: {bytes} for keys and values hold no more (--kv-memory)"));
    Ok(held)
}

/// What can be known of a model from its files alone.
#[derive(Debug, Clone)]
pub struct Description {
    /// What is known of every model.
    pub info: ModelInfo,
    /// What its decoder is made of.
    pub spec: model::DecoderSpec,
    /// Whether there is a tokenizer; without one it can be kept and quantized, not run.
    pub has_tokenizer: bool,
}

impl Description {
    /// What to expect of loading it with these options, with the context that it would get; `bandwidth` as in
    /// [`Forecast::of`].
    pub fn forecast(&self, options: &LoadOptions, bandwidth: Option<f64>) -> Forecast {
        let context = options.context.unwrap_or(self.info.context);
        let options = LoadOptions { context: Some(context), ..options.clone() };
        Forecast::of(&ModelShape::from(&self.spec), self.info.weight_bytes, &options, bandwidth)
    }

    /// Refuses what loading with these options would refuse for its memory, without loading; `advice` is what to choose
    /// instead, beside smaller weights.
    ///
    /// # Errors
    /// [`ChatError::Unloadable`] with what it needs and what is free.
    pub fn check_memory(&self, options: &LoadOptions, advice: &str) -> Result<(), ChatError> {
        self.forecast(options, None).memory.check(&self.info.name, options, advice)
    }
}

/// What can be known of a model from its files alone, without taking memory for it: the answer to `show`.
///
/// # Errors
/// As loading, but for memory and a tokenizer that is not there.
pub fn describe(source: &ModelSource, options: &LoadOptions) -> Result<Description, ChatError> {
    let parts = Parts::open(source, options)?;
    let spec = parts.model.spec().clone();
    Ok(Description { info: parts.info, spec, has_tokenizer: parts.tokenizer.is_ok() })
}

/// Number of weights and how they are stored, from the headers of a model's files.
///
/// # Errors
/// Files that are no model.
pub(crate) fn glance(path: &Path) -> Result<(u64, String), ChatError> {
    let checkpoint = Checkpoint::open(path).map_err(|error| ChatError::Unloadable(error.to_string()))?;
    Ok((parameter_count(checkpoint.tensors()), quantization_of(&checkpoint)))
}

/// The tokenizer of a model's file alone, for who needs no weights.
///
/// # Errors
/// When the file cannot be read or has no usable tokenizer.
pub fn open_tokenizer(path: &Path) -> Result<Tokenizer, ChatError> {
    let name = path.display().to_string();
    let refuse = unloadable(&name);
    let checkpoint = Checkpoint::open(path).map_err(|error| refuse(&error))?;
    tokenizer_of(&checkpoint).map_err(|(NoTokenizer::Absent(reason) | NoTokenizer::Unusable(reason))| refuse(&reason))
}

/// Why there is no tokenizer to work with, in words.
pub(crate) enum NoTokenizer {
    /// The files hold none.
    Absent(String),
    /// The one that they hold cannot be used.
    Unusable(String),
}

impl From<TokenizerError> for NoTokenizer {
    fn from(error: TokenizerError) -> NoTokenizer {
        match error {
            TokenizerError::Absent => NoTokenizer::Absent(error.to_string()),
            other => NoTokenizer::Unusable(other.to_string()),
        }
    }
}

/// The tokenizer, with every id that the model's files name as an end.
pub(crate) fn tokenizer_of(checkpoint: &Checkpoint) -> Result<Tokenizer, NoTokenizer> {
    match checkpoint {
        Checkpoint::Gguf(gguf) => Ok(Tokenizer::from_gguf(&gguf.metadata)?),
        Checkpoint::Safetensors(folder) => tokenizer_of_folder(folder),
    }
}

fn tokenizer_of_folder(folder: &SafetensorsDir) -> Result<Tokenizer, NoTokenizer> {
    let absent =
        "the folder has no tokenizer.json\nhint: download it from where the weights came from, or use a GGUF file";
    let json = folder.tokenizer_json.as_ref().ok_or_else(|| NoTokenizer::Absent(absent.to_owned()))?;
    let mut tokenizer = Tokenizer::from_json(json, folder.tokenizer_config.as_ref())?;
    for config in [folder.generation_config.as_ref(), Some(&folder.config)].into_iter().flatten() {
        tokenizer.add_stop_ids(&end_ids(config));
    }
    Ok(tokenizer)
}

/// `eos_token_id` of a configuration: one id or a list.
fn end_ids(config: &Value) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match config.get("eos_token_id") {
        Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The template of the files, or the one that was chosen instead.
fn template_of(checkpoint: &Checkpoint, chosen: Option<&str>, tokenizer: &Tokenizer) -> Template {
    let source = match checkpoint {
        _ if chosen.is_some() => chosen.map(str::to_owned),
        Checkpoint::Gguf(gguf) => match gguf_template(gguf) {
            Ok(source) => source,
            Err(error) => return Template::Broken(error),
        },
        Checkpoint::Safetensors(folder) => folder.chat_template.clone(),
    };
    let Some(source) = source else { return Template::Missing };
    let text = |id: Option<u32>| id.map(|id| tokenizer.token_text(id)).unwrap_or_default();
    match ChatTemplate::new(&source, &text(tokenizer.bos()), &text(tokenizer.eos())) {
        Ok(template) => Template::Ready(Box::new(template)),
        Err(error) => Template::Broken(error.to_string()),
    }
}

fn gguf_template(gguf: &Gguf) -> Result<Option<String>, String> {
    match gguf.metadata.str("tokenizer.chat_template") {
        Ok(source) => Ok(source.map(str::to_owned)),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn parameter_count(tensors: &Tensors) -> u64 {
    tensors.iter().map(|tensor| tensor.shape.iter().map(|&len| len as u64).product::<u64>()).sum()
}

/// How the weights are stored: the name that the file gives itself, else the type of most of its bytes.
pub(crate) fn quantization_of(checkpoint: &Checkpoint) -> String {
    if let Checkpoint::Gguf(gguf) = checkpoint
        && let Ok(Some(file_type)) = gguf.metadata.u32("general.file_type")
        && let Some(name) = file_type_name(file_type)
    {
        return name.to_owned();
    }
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for tensor in checkpoint.tensors().iter() {
        *bytes.entry(tensor.element.name).or_default() += tensor.data.len() as u64;
    }
    bytes.into_iter().max_by_key(|&(_, bytes)| bytes).map_or_else(String::new, |(name, _)| name.to_lowercase())
}
