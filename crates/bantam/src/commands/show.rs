//! `bantam show`: what is known of a model, whether it fits this machine, and the speed to expect.

use crate::generation::LoadArgs;
use crate::session::{Session, load_options};
use crate::table::{bytes, parameters};
use hub::{CatalogModel, Hub, ModelRef};
use local::{Description, Forecast, LoadOptions, ModelSource, ReadRates};
use serde::Serialize;
use std::path::PathBuf;

/// Show what is known of a model, and whether it fits this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam show smollm2:135m
  bantam show gemma2:2b --context 8192     before it is fetched: does it fit, how fast
  bantam show ./model.gguf")]
pub struct Args {
    /// The model; one of the catalog need not be in the store
    model: String,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Serialize, Default)]
struct Output {
    name: String,
    family: String,
    description: Option<String>,
    quantization: String,
    parameters: u64,
    /// Of all files, as `list` has it.
    bytes: Option<u64>,
    /// Of the weights among them.
    weight_bytes: Option<u64>,
    context: usize,
    vocabulary: Option<usize>,
    licence: Option<String>,
    licence_url: Option<String>,
    sources: Vec<String>,
    digest: Option<String>,
    pinned: bool,
    stored: bool,
    tokenizer: Option<bool>,
    template: Option<bool>,
    think: Option<bool>,
    embed: Option<bool>,
    relevance: Option<bool>,
    forecast_context: Option<usize>,
    fits: Option<bool>,
    obstacle: Option<String>,
    needs_bytes: Option<u64>,
    free_bytes: Option<u64>,
    tokens_per_second: Option<f64>,
    unsupported: Option<String>,
    cited: Vec<String>,
    /// The model that it was made from.
    base: Option<String>,
    system: Option<String>,
    /// What requests leave open, as it is kept.
    options: Option<serde_json::Value>,
    path: Option<PathBuf>,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let hub = session.hub()?;
    let options = load_options(&args.load)?;
    let reference = hub.resolve(&args.model)?;
    let output = describe(&hub, &reference, &options)?;
    if args.json {
        return session.terminal.json(&output);
    }
    let text: String = lines(&output).iter().map(|(name, value)| format!("{:<12}{value}\n", *name)).collect();
    Ok(session.terminal.data(&text)?)
}

fn describe(hub: &Hub, reference: &ModelRef, options: &LoadOptions) -> anyhow::Result<Output> {
    let row = match reference {
        ModelRef::Catalog(name) => hub.catalog().find(name),
        _ => None,
    };
    let manifest = hub.manifest(reference)?;
    let mut output = row.map(from_catalog).unwrap_or_default();
    let rates = ReadRates::new(options);
    let forecast;
    if manifest.is_some() || matches!(reference, ModelRef::Path(_)) {
        let source = ModelSource::stored(hub, reference.store_name(), hub.locate(reference)?, manifest.as_ref());
        let bytes = match &manifest {
            Some(manifest) => manifest.bytes(),
            None => hub::bytes_at(&source.path)?,
        };
        let described = from_file(&source, options, &rates)?;
        forecast = described.1;
        output = Output { bytes: Some(bytes), ..described.0.beside(output) };
    } else if let Some(row) = row {
        if options.yarn.is_some() {
            anyhow::bail!(
                "--yarn: how far {} stretches is known from its file, and it is not in the store\nhint: bantam pull {0}",
                reference.store_name()
            );
        }
        let shape = row
            .shape
            .as_ref()
            .filter(|_| row.unsupported.is_none())
            .map(|shape| super::list::model_shape(shape, row.context));
        let known = shape.zip(super::list::weight_bytes(row));
        forecast = known.map(|(shape, bytes)| Forecast::of(&shape, bytes, options, rates.of(bytes)));
    } else {
        anyhow::bail!("{} is not in the store\nhint: bantam pull {0}", reference.store_name());
    }
    if let Some(manifest) = manifest {
        output.stored = true;
        output.pinned = manifest.is_pinned();
        output.digest = manifest.digest().map(|digest| digest.to_string());
        output.sources = vec![manifest.source.clone()];
        output.licence = manifest.license.or(output.licence);
        output.base = manifest.base;
        let settings = manifest.settings.unwrap_or_default();
        (output.system, output.options) = (settings.system, settings.params);
    }
    if let Some(forecast) = forecast {
        output.forecast_context = Some(forecast.context);
        output.fits = forecast.fits;
        output.obstacle = forecast.obstacle();
        output.needs_bytes = Some(forecast.memory.total());
        output.free_bytes = forecast.free;
        output.tokens_per_second = forecast.tokens_per_second;
    }
    Ok(output)
}

/// What a model's own files tell, and what to expect of it where it generates.
fn from_file(
    source: &ModelSource,
    options: &LoadOptions,
    rates: &ReadRates,
) -> anyhow::Result<(Output, Option<Forecast>)> {
    // Whether the context that is asked for can be had is told by the forecast, as for a model that is not here.
    let open = LoadOptions { context: None, ..options.clone() };
    let (info, has_tokenizer, forecast) = if local::is_encoder(&source.path)? {
        (local::describe_encoder(source, &open)?.info, true, None)
    } else {
        let described = local::describe(source, &open)?;
        let forecast = described.forecast(options, rates.of(described.info.weight_bytes));
        let Description { info, has_tokenizer, .. } = described;
        (info, has_tokenizer, Some(forecast))
    };
    let output = Output {
        name: info.name,
        family: info.family,
        quantization: info.quantization,
        parameters: info.parameters,
        weight_bytes: Some(info.weight_bytes),
        context: info.maximum_context,
        vocabulary: Some(info.vocabulary),
        tokenizer: Some(has_tokenizer),
        template: Some(info.capabilities.template),
        embed: Some(info.capabilities.embed),
        relevance: Some(info.capabilities.relevance),
        think: Some(info.capabilities.think),
        path: Some(source.path.clone()),
        ..Output::default()
    };
    Ok((output, forecast))
}

impl Output {
    /// With what the catalog tells beside it.
    fn beside(self, catalog: Output) -> Output {
        let Output { description, licence, licence_url, sources, digest, pinned, unsupported, cited, .. } = catalog;
        Output { description, licence, licence_url, sources, digest, pinned, unsupported, cited, ..self }
    }
}

fn from_catalog(row: &CatalogModel) -> Output {
    Output {
        name: row.name.clone(),
        family: row.family.clone(),
        description: Some(row.description.clone()),
        quantization: row.quantization.clone(),
        parameters: row.parameters,
        bytes: row.bytes,
        context: row.context,
        licence: Some(row.licence.clone()),
        licence_url: Some(row.licence_url.clone()),
        sources: row.source_descriptions(),
        digest: row.sha256.map(|digest| digest.to_string()),
        pinned: row.sha256.is_some(),
        unsupported: row.unsupported.clone(),
        cited: row.cited.clone(),
        ..Output::default()
    }
}

fn lines(output: &Output) -> Vec<(&'static str, String)> {
    let mut lines = vec![("name", output.name.clone()), ("family", output.family.clone())];
    let answers = match (output.embed, output.relevance) {
        (Some(true), _) => Some("with vectors: bantam embed, /v1/embeddings"),
        (_, Some(true)) => Some("how relevant a text is: /v1/rerank"),
        _ => None,
    };
    let mut add = |name: &'static str, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add("about", output.description.clone());
    add("unsupported", output.unsupported.clone());
    add("weights", Some(format!("{} as {}", parameters(output.parameters), output.quantization)));
    add("size", output.bytes.map(bytes));
    add("context", Some(format!("{} positions", output.context)));
    add("vocabulary", output.vocabulary.map(|tokens| format!("{tokens} tokens")));
    if output.tokenizer == Some(false) {
        add("tokenizer", Some("none: it can be kept and quantized, but not run".to_owned()));
    }
    add(
        "template",
        output
            .template
            .filter(|_| output.tokenizer != Some(false) && answers.is_none())
            .map(|template| if template { "yes" } else { "none: plain completion only" }.to_owned()),
    );
    add("answers", answers.map(str::to_owned));
    add("thinks", output.think.filter(|think| *think).map(|_| "yes (--think, --no-think)".to_owned()));
    let licence = match (&output.licence, &output.licence_url) {
        (Some(licence), Some(url)) => Some(format!("{licence}  {url}")),
        (licence, _) => licence.clone(),
    };
    add("licence", licence);
    add("made from", output.base.clone());
    // One line of it says which it is.
    add("system", output.system.as_ref().and_then(|text| Some(text.lines().next()?.to_owned())));
    add("options", output.options.as_ref().map(ToString::to_string));
    add("stored", Some(if output.stored { "yes" } else { "no" }.to_owned()));
    for source in &output.sources {
        add("source", Some(source.clone()));
    }
    let pinned = if output.pinned { "" } else { "  unpinned" };
    add("sha256", output.digest.as_ref().map(|digest| format!("{digest}{pinned}")));
    if let (Some(needs), Some(context)) = (output.needs_bytes, output.forecast_context) {
        let free = output.free_bytes.map_or("?".to_owned(), bytes);
        let needs = format!("needs {} with context {context}, free {free}", bytes(needs));
        add(
            "memory",
            Some(match (output.fits, &output.obstacle) {
                (_, Some(obstacle)) => format!("does not fit: {obstacle}"),
                (Some(_), None) => format!("fits: {needs}"),
                (None, None) => format!("unknown: {needs}"),
            }),
        );
    }
    add(
        "speed",
        output.tokens_per_second.map(|speed| format!("at most {speed:.0} tokens/s (estimated from memory bandwidth)")),
    );
    lines
}
