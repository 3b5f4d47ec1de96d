//! `bantam score`: how likely a text is to a model, token by token, and how far another model's opinion lies from it.

use crate::failure::UsedWrongly;
use crate::generation::LoadArgs;
use crate::input;
use crate::progress::{Progress, Unit};
use crate::session::{Session, load_options};
use chat::{Prompt, ScoreRequest, ScoredToken};
use futures::executor::block_on;
use local::{Description, ScoredPiece, ScoredPieces};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

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
    let input = what_to_score(&args)?;
    let (tokens, against) = match &args.against {
        Some(base) => {
            let (tokens, comparison) = compare(session, &args, base, input)?;
            (tokens, Some(comparison))
        }
        None => {
            let loaded = session.load(&args.model, load_options(&args.load)?)?;
            let bar = Arc::new(Progress::new(session.terminal, Unit::Things));
            let scored = loaded.model.score_watched(ScoreRequest { input }, |tokens| {
                bar.begin("scoring (tokens)", Some(tokens as u64), 0);
                let bar = Arc::clone(&bar);
                Box::new(move |count| bar.add(count as u64))
            });
            let scored = block_on(scored);
            bar.end();
            (scored?.tokens, None)
        }
    };
    let summary = Summary::of(&tokens)?;
    if args.json {
        return session.terminal.json(&Output {
            model: args.model,
            token_count: tokens.len(),
            scored_count: summary.count,
            tokens: if args.summary { Vec::new() } else { tokens },
            sum: summary.sum,
            mean: summary.mean,
            perplexity: summary.perplexity,
            against,
        });
    }
    let mut text = String::new();
    if !args.summary {
        for token in &tokens {
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

fn what_to_score(args: &Args) -> anyhow::Result<Prompt> {
    if let Some(path) = &args.ids {
        let text = input::file(path)?;
        let ids = text.split(|c: char| c.is_whitespace() || "[],".contains(c)).filter(|word| !word.is_empty());
        let ids: Result<Vec<u32>, _> = ids
            .map(|word| {
                word.parse::<u32>()
                    .map_err(|_| UsedWrongly(format!("{}: expected token ids, got {word:?}", path.display())))
            })
            .collect();
        return Ok(Prompt::Ids(ids?));
    }
    let path = args.text.as_ref().ok_or_else(|| UsedWrongly("expected --text or --ids".to_owned()))?;
    let text = if path.as_os_str() == "-" { input::standard()? } else { input::file(path)? };
    if text.is_empty() {
        anyhow::bail!("{}: expected a text of two tokens or more, got nothing", path.display());
    }
    Ok(Prompt::Text(text))
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

/// Scores a text by both models in turns, a piece each: both are in memory, and never more than a piece of what they say.
fn compare(
    session: &Session,
    args: &Args,
    base: &str,
    input: Prompt,
) -> anyhow::Result<(Vec<ScoredToken>, Comparison)> {
    let options = load_options(&args.load)?;
    let host = session.host(options.clone())?;
    // Both names are looked up before anything is fetched.
    host.hub().resolve(&args.model)?;
    host.hub().resolve(base)?;
    let downloads = session.download_progress();
    let describe =
        |name: &str| -> anyhow::Result<Description> { Ok(local::describe(&host.source(name, &downloads)?, &options)?) };
    let (described, base_described) = (describe(&args.model)?, describe(base)?);
    let vocabulary = described.info.vocabulary;
    if vocabulary != base_described.info.vocabulary {
        return Err(different_vocabularies(&args.model, base));
    }
    let needs = [&described, &base_described].map(|one| {
        let memory = one.forecast(&options, None).memory;
        memory.total().saturating_add(ScoredPieces::piece_bytes(vocabulary))
    });
    both_fit([&args.model, base], needs, local::free_memory())?;
    // Not shared by the host: a model may be compared with itself, and each reads the text.
    let load = |name: &str| host.load_unshared(name, &downloads);
    let (model, reference) = (load(&args.model)?, load(base)?);
    let pieces = model.score_pieces(input)?;
    let ids = pieces.ids().to_vec();
    // Both models read the same ids; a base with another tokenizer would make the comparison meaningless.
    if ids.iter().any(|&id| model.tokenizer().token_text(id) != reference.tokenizer().token_text(id)) {
        return Err(different_vocabularies(&args.model, base));
    }
    let base_pieces = reference.score_pieces(Prompt::Ids(ids.clone()))?;
    let bar = Progress::new(session.terminal, Unit::Things);
    bar.begin("scoring (tokens)", Some(ids.len() as u64), 0);
    let mut distance = Distance { vocabulary, ..Distance::default() };
    let (mut logprobs, mut base_logprobs) = (Vec::new(), Vec::new());
    for (piece, base_piece) in pieces.zip(base_pieces) {
        let (piece, base_piece) = (piece?, base_piece?);
        bar.add(distance.add(&piece, &base_piece));
        logprobs.extend(piece.logprobs);
        base_logprobs.extend(base_piece.logprobs);
    }
    bar.end();
    let summary = Summary::of(&reference.scored_tokens(&ids, &base_logprobs))?;
    Ok((model.scored_tokens(&ids, &logprobs), distance.comparison(base, &summary)))
}

fn different_vocabularies(model: &str, base: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "{model} and {base} have different vocabularies\nhint: --against takes another quantization of the same model"
    )
}

/// Refuses two models that do not fit into memory together, each with a piece of what it says of the text.
fn both_fit(names: [&str; 2], needs: [u64; 2], free: Option<u64>) -> anyhow::Result<()> {
    let together = needs[0].saturating_add(needs[1]);
    match free {
        Some(free) if together > free => anyhow::bail!(
            "--against: {} and {} need {} of memory together ({} and {}), free are {}\n\
             hint: choose a smaller --context, or score each alone (without --against)",
            names[0],
            names[1],
            crate::table::bytes(together),
            crate::table::bytes(needs[0]),
            crate::table::bytes(needs[1]),
            crate::table::bytes(free),
        ),
        _ => Ok(()),
    }
}

/// How far two models lie apart over the positions so far.
#[derive(Default)]
struct Distance {
    vocabulary: usize,
    positions: usize,
    divergence_sum: f64,
    divergence_max: f64,
    same_choice: usize,
}

impl Distance {
    /// Adds the same positions as both see them; returns how many.
    fn add(&mut self, model: &ScoredPiece, base: &ScoredPiece) -> u64 {
        let (rows, base_rows) = (&model.distributions, &base.distributions);
        let place = (model.first_position, rows.len());
        assert_eq!(place, (base.first_position, base_rows.len()), "models take the same steps; this is a bug");
        for (base, model) in base_rows.chunks_exact(self.vocabulary).zip(rows.chunks_exact(self.vocabulary)) {
            let divergence = kl_divergence(base, model);
            self.divergence_sum += divergence;
            self.divergence_max = self.divergence_max.max(divergence);
            self.same_choice += usize::from(likeliest(base) == likeliest(model));
        }
        let positions = rows.len() / self.vocabulary;
        self.positions += positions;
        positions as u64
    }

    fn comparison(&self, base: &str, summary: &Summary) -> Comparison {
        let positions = self.positions.max(1) as f64;
        Comparison {
            base: base.to_owned(),
            kl_divergence: self.divergence_sum / positions,
            kl_divergence_max: self.divergence_max,
            top1_agreement: self.same_choice as f64 / positions,
            base_mean: summary.mean,
            base_perplexity: summary.perplexity,
        }
    }
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
    fn two_models_that_cannot_fit_together_are_refused_with_the_numbers() {
        assert!(both_fit(["q4", "f16"], [1 << 20, 1 << 20], Some(1 << 30)).is_ok());
        assert!(both_fit(["q4", "f16"], [1 << 40, 1 << 40], None).is_ok(), "unknown free memory refuses nothing");
        let error = both_fit(["q4", "f16"], [6_000_000_000, 15_000_000_000], Some(16_000_000_000)).unwrap_err();
        let expected = "--against: q4 and f16 need 21.0 GB of memory together (6.0 GB and 15.0 GB), free are 16.0 GB";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn pieces_add_up_to_what_the_whole_is() {
        let row = |p: f32| [p.ln(), (1.0 - p).ln()];
        let (model, base) = ([row(0.5), row(0.25), row(0.75)].concat(), [row(0.25), row(0.5), row(0.75)].concat());
        let piece = |rows: &[f32], from: usize, to: usize| ScoredPiece {
            first_position: from,
            logprobs: Vec::new(),
            distributions: rows[2 * from..2 * to].to_vec(),
        };
        let distance = |ends: &[usize]| {
            let mut distance = Distance { vocabulary: 2, ..Distance::default() };
            for pair in ends.windows(2) {
                let (from, to) = (pair[0], pair[1]);
                assert_eq!(distance.add(&piece(&model, from, to), &piece(&base, from, to)), (to - from) as u64);
            }
            let summary = Summary { count: 1, sum: -1.0, mean: -1.0, perplexity: 1.0f64.exp() };
            distance.comparison("base", &summary)
        };
        let whole = distance(&[0, 3]);
        assert_eq!(distance(&[0, 1, 2, 3]), whole);
        assert!(whole.kl_divergence > 0.0 && whole.kl_divergence_max > whole.kl_divergence);
        assert_eq!(whole.top1_agreement, 1.0 / 3.0);
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
