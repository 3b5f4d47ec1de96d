//! `bantam bench`: how fast a model reads and writes on this machine.

use crate::failure::UsedWrongly;
use crate::generation::LoadArgs;
use crate::progress::{Progress, Unit};
use crate::session::{Session, load_options};
use crate::table::{Align, table};
use futures::executor::block_on;
use local::{BenchRequest, LoadOptions, LocalHost, LocalModel, ModelSource, TokenCost};
use serde::Serialize;
use std::time::Duration;

/// Measure how fast a model reads prompts and generates, and how near to what this machine can do
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam bench smollm2:135m
  bantam bench smollm2:135m --prompt 512 --generate 128 --repeat 5
  bantam bench smollm2:135m --depth 4096 --kv-type q8_0 with keys and values in bytes
  bantam bench smollm2:135m --batch 8 --depth 4096      eight sequences at once, each after 4096 tokens

The context is that of one sequence; where --context does not say, it is what --depth and the larger of --prompt and
--generate need. Memory is taken for as many as --batch says.

OF LIMIT compares with the most that this machine could do, measured first with the same threads:
  int8   multiplications and additions of 8-bit integers, from registers. A token takes two for each weight
         of the layers; a generated one also two for each of the head.
  read   bytes read from a buffer as large as the weights, at most 1 GiB and a quarter of the free memory.
         A generated token takes all weights (a batch shares them) and the keys and values before it.
The limit that would be reached first is shown. Attention comes on top, so deep contexts stay further below.")]
pub struct Args {
    /// The model
    model: String,
    /// Tokens of each prompt; 0 leaves that part out
    #[arg(long, value_name = "N", default_value_t = 512)]
    prompt: usize,
    /// Tokens to generate; 0 leaves that part out
    #[arg(long, value_name = "N", default_value_t = 64)]
    generate: usize,
    /// Sequences at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// Tokens that each sequence holds before the clock starts
    #[arg(long, value_name = "N", default_value_t = 0)]
    depth: usize,
    /// Times to measure, after one run that does not count
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Serialize)]
struct Output {
    model: String,
    threads: usize,
    isa: String,
    context: usize,
    kv_type: &'static str,
    load_seconds: f64,
    peak_memory_bytes: Option<u64>,
    limits: MeasuredLimits,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct MeasuredLimits {
    int8_ops_per_second: f64,
    read_bytes_per_second: f64,
}

impl MeasuredLimits {
    /// Measured before the model takes its memory, so that the two do not add up to a peak.
    fn of(host: &LocalHost, weight_bytes: u64, options: &LoadOptions) -> anyhow::Result<MeasuredLimits> {
        let limits = kernels::measure_limits(host.runtime(), local::measured_bytes(weight_bytes, options))?;
        Ok(MeasuredLimits {
            int8_ops_per_second: limits.int8_ops_per_second,
            read_bytes_per_second: limits.read_bytes_per_second,
        })
    }

    /// The limit that tokens of this cost would reach first, and how many a second that would be.
    fn first(&self, cost: TokenCost) -> (&'static str, f64) {
        let int8 = self.int8_ops_per_second / cost.operations;
        let read = self.read_bytes_per_second / cost.bytes;
        if int8 < read { ("int8", int8) } else { ("read", read) }
    }
}

#[derive(Serialize)]
struct Run {
    test: &'static str,
    /// Tokens of one sequence.
    tokens: usize,
    batch: usize,
    depth: usize,
    repeats: usize,
    tokens_per_second_mean: f64,
    tokens_per_second_deviation: f64,
    operations_per_token: f64,
    bytes_per_token: f64,
    limit: &'static str,
    of_limit: f64,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    for (flag, value) in
        [("--batch", args.batch), ("--repeat", args.repeat), ("--prompt or --generate", args.prompt.max(args.generate))]
    {
        if value == 0 {
            return Err(UsedWrongly(format!("{flag}: expected 1 or more, got 0")).into());
        }
    }
    if args.batch > BenchRequest::MOST_SEQUENCES {
        let most = BenchRequest::MOST_SEQUENCES;
        return Err(UsedWrongly(format!("--batch: expected 1 to {most}, got {}", args.batch)).into());
    }
    let needed = needed_context(&args)?;
    let options = load_options(&args.load)?;
    let options = LoadOptions { context: options.context.or(Some(needed)), sequences: args.batch, ..options };
    let host = session.host(options.clone())?;
    let progress = session.download_progress();
    let source = host.source(&args.model, &progress)?;
    let weight_bytes = check_model(&args, needed, &source, &options)?;
    let limits = MeasuredLimits::of(&host, weight_bytes, &options)?;
    let model = host.load_local(&args.model, &progress)?;
    let mut runs = Vec::new();
    if args.prompt > 0 {
        runs.push(measure(&args, session, &model, &limits, Test::Prompt)?);
    }
    if args.generate > 0 {
        runs.push(measure(&args, session, &model, &limits, Test::Generate)?);
    }
    let output = Output {
        model: chat::ChatModel::info(model.as_ref()).name.clone(),
        threads: host.runtime().threads(),
        isa: host.runtime().isa().name().to_owned(),
        context: chat::ChatModel::info(model.as_ref()).context,
        kv_type: options.kv_element.name(),
        load_seconds: model.load_time().as_secs_f64(),
        peak_memory_bytes: local::peak_memory(),
        limits,
        runs,
    };
    if args.json {
        return session.terminal.json(&output);
    }
    session.terminal.data(&speeds(&output.runs))?;
    let memory = output.peak_memory_bytes.map_or("unknown".to_owned(), crate::table::bytes);
    let Output { threads, isa, load_seconds, limits, .. } = &output;
    session.terminal.note(&format!(
        "limits of {threads} threads, {isa}: {:.3} Tops/s int8, {:.1} GB/s read",
        limits.int8_ops_per_second / 1e12,
        limits.read_bytes_per_second / 1e9
    ));
    session.terminal.note(&format!("load {load_seconds:.2} s, peak memory {memory}"));
    Ok(())
}

/// Positions of one sequence that the tests take; prompts and answers are timed apart.
///
/// # Errors
/// More than can be counted, or a `--context` that does not hold them: used wrongly.
fn needed_context(args: &Args) -> Result<usize, UsedWrongly> {
    let needed = args.depth.checked_add(args.prompt.max(args.generate)).ok_or_else(|| {
        UsedWrongly(format!("expected at most {} tokens of one sequence, got {}", usize::MAX, asked(args)))
    })?;
    match args.load.context {
        Some(context) if context < needed => Err(UsedWrongly(format!(
            "--context: expected at least {needed} for {}, got {context}\nhint: leave --context out",
            asked(args)
        ))),
        _ => Ok(needed),
    }
}

/// Refuses more positions than the model was made for and more memory than is free, before any is taken to measure the
/// limits; returns the bytes of the weights.
fn check_model(args: &Args, needed: usize, source: &ModelSource, options: &LoadOptions) -> anyhow::Result<u64> {
    if local::is_encoder(&source.path)? {
        anyhow::bail!(
            "{} is a model that embeds: bench measures those that generate\nhint: `bantam list` shows which there are",
            source.name
        );
    }
    // A --context that is too long is refused here, in the words of loading.
    let described = local::describe(source, &LoadOptions { context: args.load.context, ..options.clone() })?;
    let maximum = described.info.maximum_context;
    if needed > maximum {
        anyhow::bail!(
            "{} needs a context of {needed}, {} was made for {maximum}\n\
             hint: lower --depth, --prompt or --generate, or choose a model made for a longer context",
            asked(args),
            source.name,
        );
    }
    described.check_memory(options, "a lower --batch, --depth, --prompt or --generate")?;
    Ok(described.info.weight_bytes)
}

/// `--depth 4096 with --prompt 512`
fn asked(args: &Args) -> String {
    let (flag, tokens) =
        if args.prompt >= args.generate { ("--prompt", args.prompt) } else { ("--generate", args.generate) };
    format!("--depth {} with {flag} {tokens}", args.depth)
}

fn speeds(runs: &[Run]) -> String {
    let header = [
        ("TEST", Align::Left),
        ("TOKENS", Align::Right),
        ("BATCH", Align::Right),
        ("DEPTH", Align::Right),
        ("TOKENS/S", Align::Right),
        ("DEVIATION", Align::Right),
        ("OF LIMIT", Align::Right),
    ];
    let rows = runs.iter().map(|run| {
        vec![
            run.test.to_owned(),
            run.tokens.to_string(),
            run.batch.to_string(),
            run.depth.to_string(),
            format!("{:.1}", run.tokens_per_second_mean),
            format!("{:.1}", run.tokens_per_second_deviation),
            format!("{:.0} % {}", 100.0 * run.of_limit, run.limit),
        ]
    });
    table(&header, &rows.collect::<Vec<_>>())
}

#[derive(Clone, Copy, PartialEq)]
enum Test {
    Prompt,
    Generate,
}

fn measure(
    args: &Args,
    session: &Session,
    model: &LocalModel,
    limits: &MeasuredLimits,
    test: Test,
) -> anyhow::Result<Run> {
    let (name, tokens) = match test {
        Test::Prompt => ("prompt", args.prompt),
        Test::Generate => ("generate", args.generate),
    };
    let request = BenchRequest {
        prompt: if test == Test::Prompt { tokens } else { 0 },
        generate: if test == Test::Generate { tokens } else { 0 },
        batch: args.batch,
        depth: args.depth,
    };
    let bar = Progress::new(session.terminal, Unit::Things);
    bar.begin(name, Some((args.repeat as u64).saturating_add(1)), 0);
    let mut speeds = Vec::new();
    for repeat in 0..=args.repeat {
        let sample = block_on(model.bench(request))?;
        let took: Duration = if test == Test::Prompt { sample.prompt } else { sample.generation };
        bar.add(1);
        // The first run pays for pages that the system has not mapped yet.
        if repeat > 0 {
            speeds.push(tokens as f64 * args.batch as f64 / took.as_secs_f64());
        }
    }
    bar.end();
    let (mean, deviation) = mean_and_deviation(&speeds);
    let cost = match test {
        Test::Prompt => model.prompt_cost(request),
        Test::Generate => model.generation_cost(request),
    };
    let (limit, most) = limits.first(cost);
    Ok(Run {
        test: name,
        tokens,
        batch: args.batch,
        depth: args.depth,
        repeats: args.repeat,
        tokens_per_second_mean: mean,
        tokens_per_second_deviation: deviation,
        operations_per_token: cost.operations,
        bytes_per_token: cost.bytes,
        limit,
        of_limit: mean / most,
    })
}

/// Mean and sample standard deviation (0 for one value).
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, if values.len() > 1 { (squares / (values.len() - 1) as f64).sqrt() } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_one_that_is_reached_first() {
        let limits = MeasuredLimits { int8_ops_per_second: 1000.0, read_bytes_per_second: 100.0 };
        assert_eq!(limits.first(TokenCost { operations: 10.0, bytes: 0.5 }), ("int8", 100.0));
        assert_eq!(limits.first(TokenCost { operations: 10.0, bytes: 2.0 }), ("read", 50.0));
    }

    #[test]
    fn deviation_is_of_a_sample() {
        assert_eq!(mean_and_deviation(&[1.0, 3.0]), (2.0, 2.0f64.sqrt()));
        assert_eq!(mean_and_deviation(&[5.0]), (5.0, 0.0));
    }
}
