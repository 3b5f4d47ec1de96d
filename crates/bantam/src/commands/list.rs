//! `bantam list`: the models in the store, or with `--available` those that the catalog knows.

use crate::generation::{LoadArgs, kv_type};
use crate::session::{Session, load_options};
use crate::table::{Align, bytes, parameters, table};
use hub::{CatalogModel, Hub, Manifest, ModelRef, Shape, Unreadable};
use kernels::{Format, KvElement};
use local::{Forecast, LoadOptions, ModelShape, ReadRates};
use serde::Serialize;

/// List the models in the store, or those that can be had
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam list                              what is on this machine
  bantam list --available                  the catalog: what fits this machine, and the speed to expect
  bantam list --available --context 32768  the same for long prompts")]
pub struct Args {
    /// List the catalog instead of the store
    #[arg(long)]
    available: bool,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
    /// Positions that the forecast is about; the default is each model's own, at most 8192
    #[arg(long, value_name = "N", requires = "available")]
    context: Option<usize>,
    /// Threads that the forecast is about; the default is the physical cores that this process may use
    #[arg(long, value_name = "N", requires = "available")]
    threads: Option<usize>,
    /// How keys and values are kept, for the forecast; the default is i16
    #[arg(long, value_name = "TYPE", requires = "available", value_parser = kv_type())]
    kv_type: Option<KvElement>,
}

#[derive(Serialize)]
struct Stored {
    name: String,
    family: Option<String>,
    licence: Option<String>,
    bytes: Option<u64>,
    digest: Option<String>,
    pinned: bool,
    source: Option<String>,
    base: Option<String>,
    prepared_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

#[derive(Serialize)]
struct Available<'a> {
    name: &'a str,
    aliases: &'a [String],
    family: &'a str,
    description: &'a str,
    parameters: u64,
    quantization: &'a str,
    bytes: Option<u64>,
    about_bytes: Option<u64>,
    context: usize,
    licence: &'a str,
    gated: bool,
    stored: bool,
    pinned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsupported: Option<&'a str>,
    fits: Option<bool>,
    obstacle: Option<String>,
    needs_bytes: Option<u64>,
    tokens_per_second: Option<f64>,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let hub = session.hub()?;
    if args.available { available(&args, session, &hub) } else { stored(&args, session, &hub) }
}

fn stored(args: &Args, session: &Session, hub: &Hub) -> anyhow::Result<()> {
    let listing = hub.store().list()?;
    for model in &listing.unreadable {
        let hint = "hint: bantam rm it, or bantam pull or import it again";
        session.terminal.warn(&format!("{} cannot be read: {}\n{hint}", model.name, model.reason));
    }
    for model in &listing.models {
        let unknown = model.unknown_fields().join(", ");
        if !unknown.is_empty() {
            session.terminal.note(&format!("{}: fields of a newer version have no effect here: {unknown}", model.name));
        }
    }
    if args.json {
        let readable = listing.models.into_iter().map(|model| {
            let prepared_bytes = hub.store().prepared_bytes(&model);
            Stored { prepared_bytes, ..Stored::of(model) }
        });
        let rows: Vec<Stored> = readable.chain(listing.unreadable.into_iter().map(Stored::of_unreadable)).collect();
        return session.terminal.json(&rows);
    }
    let rows = listing.models;
    if rows.is_empty() {
        session.terminal.note("no models yet\nhint: bantam list --available, then bantam pull NAME");
        return Ok(());
    }
    let header = [
        ("NAME", Align::Left),
        ("FAMILY", Align::Left),
        ("SIZE", Align::Right),
        ("LICENCE", Align::Left),
        ("SHA-256", Align::Left),
        ("", Align::Left),
    ];
    let cells = rows.iter().map(|row| {
        let digest = row.digest().map_or("-".to_owned(), |digest| digest.to_string()[..12].to_owned());
        vec![
            row.name.clone(),
            row.family.clone(),
            bytes(row.bytes()),
            row.license.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{digest}{}", if row.is_pinned() { "" } else { " unpinned" }),
            hub.store().prepared_bytes(row).map_or(String::new(), |more| format!("prepared, {} more", bytes(more))),
        ]
    });
    Ok(session.terminal.data(&table(&header, &cells.collect::<Vec<_>>()))?)
}

impl Stored {
    fn of(manifest: Manifest) -> Stored {
        Stored {
            bytes: Some(manifest.bytes()),
            digest: manifest.digest().map(|digest| digest.to_string()),
            pinned: manifest.is_pinned(),
            name: manifest.name,
            family: Some(manifest.family),
            licence: manifest.license,
            source: Some(manifest.source),
            base: manifest.base,
            prepared_bytes: None,
            unreadable: None,
        }
    }

    fn of_unreadable(model: Unreadable) -> Stored {
        Stored {
            name: model.name,
            family: None,
            licence: None,
            bytes: None,
            digest: None,
            pinned: false,
            source: None,
            base: None,
            prepared_bytes: None,
            unreadable: Some(model.reason),
        }
    }
}

fn available(args: &Args, session: &Session, hub: &Hub) -> anyhow::Result<()> {
    let options =
        load_options(&LoadArgs { context: args.context, threads: args.threads, yarn: None, kv_type: args.kv_type })?;
    let rates = ReadRates::new(&options);
    let mut rows: Vec<Available<'_>> = Vec::new();
    for model in hub.catalog().entries() {
        // As `show` and `run` see it: other bytes than the catalog pins are another model.
        let stored = hub.manifest(&ModelRef::Catalog(model.name.clone())).is_ok_and(|manifest| manifest.is_some());
        rows.push(available_row(model, stored, &options, &rates));
    }
    if args.json {
        return session.terminal.json(&rows);
    }
    let header = [
        ("NAME", Align::Left),
        ("WEIGHTS", Align::Right),
        ("AS", Align::Left),
        ("SIZE", Align::Right),
        ("CONTEXT", Align::Right),
        ("LICENCE", Align::Left),
        ("FITS", Align::Left),
        ("TOKENS/S", Align::Right),
        ("", Align::Left),
    ];
    let cells = rows.iter().map(cells);
    session.terminal.data(&table(&header, &cells.collect::<Vec<_>>()))?;
    session
        .terminal
        .note("SIZE with ~: computed from the number of weights; FITS: weights and KV cache in the memory that is free now, and the context is one that it was made for; TOKENS/S: an estimate, at most this");
    Ok(())
}

fn available_row<'a>(model: &'a CatalogModel, stored: bool, options: &LoadOptions, rates: &ReadRates) -> Available<'a> {
    let forecast = model
        .shape
        .as_ref()
        .filter(|_| model.unsupported.is_none())
        .zip(weight_bytes(model))
        .map(|(shape, bytes)| Forecast::of(&model_shape(shape, model.context), bytes, options, rates.of(bytes)));
    Available {
        name: &model.name,
        aliases: &model.aliases,
        family: &model.family,
        description: &model.description,
        parameters: model.parameters,
        quantization: &model.quantization,
        bytes: model.bytes,
        about_bytes: weight_bytes(model),
        context: model.context,
        licence: &model.licence,
        gated: model.gated,
        stored,
        pinned: model.sha256.is_some(),
        unsupported: model.unsupported.as_deref(),
        fits: forecast.and_then(|forecast| forecast.fits),
        obstacle: forecast.and_then(|forecast| forecast.obstacle()),
        needs_bytes: forecast.map(|forecast| forecast.memory.total()),
        tokens_per_second: forecast.and_then(|forecast| forecast.tokens_per_second),
    }
}

/// Bytes of a model's weights: as the catalog has it, else what so many weights take in that quantization.
pub fn weight_bytes(model: &CatalogModel) -> Option<u64> {
    model.bytes.or_else(|| {
        let mixed = model.quantization.strip_suffix("_m").or_else(|| model.quantization.strip_suffix("_s"));
        let format = Format::from_name(mixed.unwrap_or(&model.quantization))?;
        let plain = model.parameters as f64 * format.block_bytes() as f64 / format.block_len() as f64;
        Some((plain * if mixed.is_some() { MIX_OVERHEAD } else { 1.0 }) as u64)
    })
}

/// A mix keeps its sensitive matrices in wider formats: Llama 3.1 8B has 4.85 bits a weight in Q4_K_M, 4.5 in Q4_K.
const MIX_OVERHEAD: f64 = 4.85 / 4.5;

/// The catalog's measures as a forecast takes them.
pub fn model_shape(shape: &Shape, context: usize) -> ModelShape {
    ModelShape {
        layers: shape.layers,
        width: shape.width,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        head_dim: shape.head_dim,
        feed_forward: shape.feed_forward,
        vocabulary: shape.vocabulary,
        context,
    }
}

fn cells(row: &Available<'_>) -> Vec<String> {
    let fits = match (row.unsupported, row.fits) {
        (Some(_), _) => "not supported yet",
        (None, Some(true)) => "yes",
        (None, Some(false)) => "no",
        (None, None) => "?",
    };
    let mut notes = Vec::new();
    for (holds, note) in
        [(row.stored, "stored"), (row.gated, "gated"), (!row.pinned && row.unsupported.is_none(), "unpinned")]
    {
        if holds {
            notes.push(note);
        }
    }
    vec![
        row.name.to_owned(),
        parameters(row.parameters),
        row.quantization.to_owned(),
        row.bytes.map(bytes).or_else(|| row.about_bytes.map(|about| format!("~{}", bytes(about)))).unwrap_or_default(),
        row.context.to_string(),
        row.licence.to_owned(),
        fits.to_owned(),
        row.tokens_per_second.map_or("?".to_owned(), |speed| format!("{speed:.0}")),
        notes.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::{Catalog, Home};

    #[test]
    fn computed_sizes_are_near_the_known_ones() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::load(&Home::at(folder.path())).unwrap();
        let model = |name: &str| catalog.find(name).unwrap().clone();
        for name in ["llama3.1:8b", "llama3.2:3b-q6_k", "qwen2.5:1.5b-q8_0"] {
            let mut known = model(name);
            let bytes = known.bytes.take().unwrap() as f64;
            let computed = weight_bytes(&known).unwrap() as f64;
            assert!((computed / bytes - 1.0).abs() < 0.2, "{name}: {computed} against {bytes}");
        }
    }
}
