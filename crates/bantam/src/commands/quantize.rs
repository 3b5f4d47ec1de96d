//! `bantam quantize`: makes a smaller model of one, and keeps it in the store.

use crate::generation::LoadArgs;
use crate::progress::{Progress, Unit};
use crate::scratch::Scratch;
use crate::session::{Session, load_options};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use local::{Calibration, Mix, QuantizeProgress, QuantizeReport, mix_names};
use serde::Serialize;
use std::path::PathBuf;

/// Make a smaller model of one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam quantize ./model-f16.gguf --to q4_k_m --name mine-q4
  bantam quantize ./model-f16.gguf --to q4_k_m --name mine-q4 --calibrate examples.txt
  bantam score mine-q4 --text examples.txt --against ./model-f16.gguf    what it cost")]
pub struct Args {
    /// The model; best one in f16, bf16 or f32
    model: String,
    /// The quantization to make
    #[arg(long, value_name = "QUANTIZATION", value_parser = mix())]
    to: &'static Mix,
    /// The new model's name in the store
    #[arg(long)]
    name: String,
    /// A text of the kind that the model will meet: shows which weights matter most
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Threads to compute with
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Takes the name of a quantization; the help and the refusal of another list them.
fn mix() -> impl TypedValueParser<Value = &'static Mix> {
    PossibleValuesParser::new(mix_names())
        .map(|name| Mix::from_name(&name).expect("the parser knows these names alone; this is a bug"))
}

#[derive(Serialize)]
struct Output<'a> {
    model: &'a str,
    name: &'a str,
    quantization: &'a str,
    #[serde(flatten)]
    report: QuantizeReport,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let mix = args.to;
    let load = LoadArgs { threads: args.threads, ..LoadArgs::default() };
    let host = session.host(load_options(&load)?)?;
    host.hub().check_new_name(&args.name)?;
    let downloads = session.download_progress();
    let source = host.source(&args.model, &downloads)?;
    let text = args.calibrate.as_ref().map(|path| crate::input::file(path)).transpose()?;
    let calibration = text.as_ref().map(|text| Calibration { text, runtime: host.runtime() });
    // Written beside the store, so that the file is moved into it and never there twice.
    let folder = Scratch::create(host.hub().store().home().root(), &session.interrupts)?;
    let file = folder.path().join("model.gguf");
    let shown = Shown::new(session);
    let threads = host.runtime().threads();
    let report =
        local::quantize(&source.path, &file, mix, calibration.as_ref(), threads, &mut |step| shown.step(step))?;
    shown.bytes.end();
    let base = host.hub().resolve(&args.model)?;
    host.hub().import_derived(&file, &args.name, &base, &format!("quantized to {}", mix.name), &hub::Silent)?;
    if report.requantized {
        session
            .terminal
            .warn("the model was quantized already: errors of two roundings add up (start from f16 if you can)");
    }
    if report.bytes_after >= report.bytes_before {
        session.terminal.warn("the new model is not smaller than the old one, and no more exact");
    }
    if args.json {
        let output = Output { model: &args.model, name: &args.name, quantization: mix.name, report };
        return session.terminal.json(&output);
    }
    let fallbacks = report.tensors.iter().filter(|tensor| tensor.instead_of.is_some()).count();
    if fallbacks > 0 {
        session.terminal.note(&format!(
            "of {} tensors, rows are no whole blocks: a nearby format is used for {fallbacks} (--json lists them)",
            report.tensors.len()
        ));
    }
    let (before, after) = (crate::table::bytes(report.bytes_before), crate::table::bytes(report.bytes_after));
    Ok(session.terminal.data(&format!("{}  {before} -> {after}\n", args.name))?)
}

/// A bar for each of two kinds of work.
struct Shown {
    tokens: Progress,
    bytes: Progress,
    at: std::cell::Cell<(&'static str, u64)>,
}

impl Shown {
    fn new(session: &Session) -> Shown {
        Shown {
            tokens: Progress::new(session.terminal, Unit::Things),
            bytes: Progress::new(session.terminal, Unit::Bytes),
            at: std::cell::Cell::new(("", 0)),
        }
    }

    fn step(&self, step: QuantizeProgress<'_>) {
        let (bar, phase, done, total) = match step {
            QuantizeProgress::Calibrating { done, total } => {
                (&self.tokens, "calibrating (tokens)", done as u64, total as u64)
            }
            QuantizeProgress::Writing { done, total, .. } => (&self.bytes, "quantizing", done, total),
        };
        let (current, before) = self.at.get();
        if current == phase {
            bar.add(done.saturating_sub(before));
        } else {
            self.tokens.end();
            bar.begin(phase, Some(total), done);
        }
        self.at.set((phase, done));
    }
}
