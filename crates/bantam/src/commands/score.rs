//! `bantam score`: how likely a text is to a model, token by token, and how far another model's opinion lies from it.

use crate::failure::UsedWrongly;
use crate::generation::LoadArgs;
use crate::session::Session;
use anyhow::Context;
use chat::{ChatModel, ScoreInput, ScoreRequest, ScoreResponse, ScoredToken};
use futures::executor::block_on;
use serde::Serialize;
use std::path::PathBuf;
use tokenizer::Encode;

/// Tell how likely a text is to a model, token by token
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam score smollm2:135m --text letter.txt
  bantam score small-q4 --text letter.txt --against small-f16   what quantization cost: KL divergence, same choice
  bantam score smollm2:135m --ids ids.json --json               a JSON list of token ids, taken as they are")]
pub struct Args {
    /// The model
    model: String,
    /// A file of UTF-8 text; `-` is standard input
    #[arg(long, value_name = "FILE", required_unless_present = "ids", conflicts_with = "ids")]
    text: Option<PathBuf>,
    /// A file of token ids: a JSON list, or numbers between blanks
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Also compare with this model (same vocabulary): KL divergence from it and top-1 agreement
    #[arg(long, value_name = "BASE")]
    against: Option<String>,
    /// Leave out the list of tokens
    #[arg(long)]
    summary: bool,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Serialize)]
struct Output {
    model: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<ScoredToken>,
    token_count: usize,
    /// Tokens that have one before them: those whose log-probability is known.
    scored_count: usize,
    sum: f64,
    mean: f64,
    perplexity: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Comparison>,
}

/// How far a model's opinion lies from a base's, over the same positions.
#[derive(Debug, Serialize, PartialEq)]
struct Comparison {
    base: String,
    /// Mean over positions of `Σ p_base (ln p_base - ln p_model)`, in nats.
    kl_divergence: f64,
    /// The largest of them.
    kl_divergence_max: f64,
    /// Share of positions where both find the same token likeliest.
    top1_agreement: f64,
    base_mean: f64,
    base_perplexity: f64,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let input = input(&args)?;
    let request = ScoreRequest { input, full_distribution: args.against.is_some() };
    let response = score(session, &args.model, &args.load, request.clone())?;
    let summary = Summary::of(&response.tokens)?;
    let against = match &args.against {
        Some(base) => Some(compare(session, &args, base, request, &response)?),
        None => None,
    };
    if args.json {
        return session.terminal.json(&Output {
            model: args.model,
            token_count: response.tokens.len(),
            scored_count: summary.count,
            tokens: if args.summary { Vec::new() } else { response.tokens },
            sum: summary.sum,
            mean: summary.mean,
            perplexity: summary.perplexity,
            against,
        });
    }
    let mut text = String::new();
    if !args.summary {
        for token in &response.tokens {
            let logprob = token.logprob.map_or("-".to_owned(), |logprob| format!("{logprob:.4}"));
            text.push_str(&format!("{:>8} {logprob:>10}  {:?}\n", token.id, token.text));
        }
    }
    text.push_str(&format!(
        "tokens {}  sum {:.4}  mean {:.6}  perplexity {:.4}\n",
        summary.count, summary.sum, summary.mean, summary.perplexity
    ));
    if let Some(comparison) = &against {
        text.push_str(&format!(
            "against {}: KL divergence mean {:.6}, max {:.4} nats; same top choice {:.2} %; its perplexity {:.4}\n",
            comparison.base,
            comparison.kl_divergence,
            comparison.kl_divergence_max,
            100.0 * comparison.top1_agreement,
            comparison.base_perplexity,
        ));
    }
    Ok(session.terminal.data(&text)?)
}

fn score(session: &Session, model: &str, load: &LoadArgs, request: ScoreRequest) -> anyhow::Result<ScoreResponse> {
    let loaded = session.load(model, load)?;
    if request.full_distribution {
        let tokens = match &request.input {
            ScoreInput::Ids(ids) => ids.len(),
            ScoreInput::Text(text) => {
                loaded.model.tokenizer().encode(text, Encode { add_bos_eos: true, parse_special: false }).len()
            }
        };
        distributions_fit(tokens, loaded.model.info().vocabulary, local::free_memory())?;
    }
    Ok(block_on(loaded.model.score(request))?)
}

/// A comparison holds both models' log-probabilities of the whole vocabulary at every position: `2 T V` numbers.
fn distributions_fit(tokens: usize, vocabulary: usize, free: Option<u64>) -> anyhow::Result<()> {
    let needed = 2 * 4 * (tokens as u64).saturating_mul(vocabulary as u64);
    match free {
        Some(free) if needed > free => anyhow::bail!(
            "--against: {tokens} tokens over a vocabulary of {vocabulary} need {}, free are {}\n\
             hint: compare on a shorter text",
            crate::table::bytes(needed),
            crate::table::bytes(free),
        ),
        _ => Ok(()),
    }
}

fn input(args: &Args) -> anyhow::Result<ScoreInput> {
    if let Some(path) = &args.ids {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let ids = text.split(|c: char| c.is_whitespace() || "[],".contains(c)).filter(|word| !word.is_empty());
        let ids: Result<Vec<u32>, _> = ids
            .map(|word| {
                word.parse::<u32>()
                    .map_err(|_| UsedWrongly(format!("{}: expected token ids, got {word:?}", path.display())))
            })
            .collect();
        return Ok(ScoreInput::Ids(ids?));
    }
    let path = args.text.as_ref().ok_or_else(|| UsedWrongly("expected --text or --ids".to_owned()))?;
    let text =
        if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    Ok(ScoreInput::Text(text.with_context(|| path.display().to_string())?))
}

struct Summary {
    count: usize,
    sum: f64,
    mean: f64,
    perplexity: f64,
}

impl Summary {
    /// # Errors
    /// No token has one before it: there is nothing to take the mean of.
    fn of(tokens: &[ScoredToken]) -> anyhow::Result<Summary> {
        let scored: Vec<f64> = tokens.iter().filter_map(|token| token.logprob).map(f64::from).collect();
        let sum: f64 = scored.iter().sum();
        if scored.is_empty() {
            anyhow::bail!(
                "expected two tokens or more, got {}: the first has nothing before it to be judged by\n\
                 hint: score a longer text",
                tokens.len()
            );
        }
        let mean = sum / scored.len() as f64;
        Ok(Summary { count: scored.len(), sum, mean, perplexity: (-mean).exp() })
    }
}

fn compare(
    session: &Session,
    args: &Args,
    base: &str,
    request: ScoreRequest,
    model: &ScoreResponse,
) -> anyhow::Result<Comparison> {
    // Both models read the same ids; a base with another tokenizer would make the comparison meaningless.
    let ids: Vec<u32> = model.tokens.iter().map(|token| token.id).collect();
    let reference = score(session, base, &args.load, ScoreRequest { input: ScoreInput::Ids(ids), ..request })?;
    let same_texts = model.tokens.iter().zip(&reference.tokens).all(|(one, other)| one.text == other.text);
    if !same_texts || model.distributions.len() != reference.distributions.len() {
        anyhow::bail!(
            "{} and {base} have different vocabularies\nhint: --against takes another quantization of the same model",
            args.model
        );
    }
    let vocabulary = model.distributions.len() / model.tokens.len().max(1);
    let summary = Summary::of(&reference.tokens)?;
    let (mut total, mut largest, mut same) = (0.0f64, 0.0f64, 0usize);
    let rows = reference.distributions.chunks_exact(vocabulary).zip(model.distributions.chunks_exact(vocabulary));
    for (base_row, model_row) in rows {
        let divergence = kl_divergence(base_row, model_row);
        total += divergence;
        largest = largest.max(divergence);
        same += usize::from(likeliest(base_row) == likeliest(model_row));
    }
    let positions = model.tokens.len().max(1) as f64;
    Ok(Comparison {
        base: base.to_owned(),
        kl_divergence: total / positions,
        kl_divergence_max: largest,
        top1_agreement: same as f64 / positions,
        base_mean: summary.mean,
        base_perplexity: summary.perplexity,
    })
}

/// `Σ p (ln p - ln q)` over rows of log-probabilities, in nats (Kullback and Leibler 1951).
fn kl_divergence(base: &[f32], model: &[f32]) -> f64 {
    base.iter().zip(model).map(|(&p, &q)| f64::from(p).exp() * (f64::from(p) - f64::from(q))).sum()
}

fn likeliest(row: &[f32]) -> Option<usize> {
    (0..row.len()).reduce(|best, next| if row[next] > row[best] { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_zero_for_equals_and_as_computed_by_hand_otherwise() {
        let fair = [0.5f32.ln(), 0.5f32.ln()];
        let biased = [0.25f32.ln(), 0.75f32.ln()];
        assert_eq!(kl_divergence(&fair, &fair), 0.0);
        let by_hand = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((kl_divergence(&fair, &biased) - by_hand).abs() < 1e-6);
        assert_eq!(likeliest(&biased), Some(1));
    }

    #[test]
    fn a_comparison_that_cannot_fit_is_refused_with_both_numbers() {
        assert!(distributions_fit(1000, 50_000, Some(1 << 30)).is_ok());
        let error = distributions_fit(10_000, 262_144, Some(1_000_000_000)).unwrap_err().to_string();
        assert!(error.contains("need 21.0 GB, free are 1.0 GB"), "{error}");
    }

    #[test]
    fn the_first_token_has_no_context_and_does_not_count() {
        let token = |logprob| ScoredToken { id: 1, text: "a".to_owned(), logprob };
        let summary = Summary::of(&[token(None), token(Some(-1.0)), token(Some(-3.0))]).unwrap();
        assert_eq!((summary.count, summary.sum, summary.mean), (2, -4.0, -2.0));
        assert!((summary.perplexity - 2.0f64.exp()).abs() < 1e-12);
        for alone in [[].as_slice(), &[token(None)]] {
            let error = Summary::of(alone).err().unwrap().to_string();
            assert!(error.contains("expected two tokens or more") && error.contains("hint: "), "{error}");
        }
    }
}
