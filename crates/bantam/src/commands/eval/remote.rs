//! Candidates that answer elsewhere: named by their provider, or by an endpoint of the task file; what they cost, and what
//! may be spent.

use crate::commands::prices;
use crate::failure::UsedWrongly;
use crate::session::Session;
use ::eval::{Contender, Plan, Price};
use chat::{ChatModel, Usage};
use router::prices::{Date, Terms};
use router::providers::PRESETS;
use router::{Budget, Key, Link, Metered, Policy, PriceBook, Remote, RemoteModel};
use std::sync::{Arc, OnceLock};
use tasks::{Answerer, Candidate, Endpoint, Grading, TokenPrice};

/// Requests that one endpoint has under way at once.
pub const AT_ONCE: usize = 8;
/// Bytes of a prompt that are taken for a token, and tokens of an answer where nothing bounds it, for an estimate.
const BYTES_OF_TOKEN: usize = 3;
const USUAL_ANSWER: usize = 200;

/// Whether a candidate's model answers elsewhere.
pub fn is_remote(candidate: &Candidate) -> bool {
    let Answerer::Model(name) = &candidate.answerer else { return false };
    let provider = name.split_once('/').map_or("", |(provider, _)| provider);
    candidate.endpoint.is_some() || PRESETS.iter().any(|preset| preset.name == provider)
}

/// The connections to providers, what they take, and what may be spent.
pub struct Remotes {
    link: OnceLock<Link>,
    book: PriceBook,
    budget: Option<Budget>,
}

impl Remotes {
    /// Nothing is opened before it is needed.
    pub fn new(max_cost: Option<f64>) -> anyhow::Result<Remotes> {
        let budget = max_cost.map(Budget::new).transpose();
        let budget = budget.map_err(|error| UsedWrongly(format!("--max-cost: {error}")))?;
        Ok(Remotes { link: OnceLock::new(), book: prices::book()?, budget })
    }

    fn link(&self) -> anyhow::Result<Link> {
        if let Some(link) = self.link.get() {
            return Ok(link.clone());
        }
        let link = Link::new(Policy::default())?;
        Ok(self.link.get_or_init(|| link).clone())
    }

    /// The model of a candidate, with what it takes.
    pub fn model(&self, candidate: &Candidate, name: &str) -> anyhow::Result<(Arc<dyn ChatModel>, Price)> {
        let model = match &candidate.endpoint {
            Some(endpoint) => RemoteModel::new(self.link()?, remote(candidate, endpoint)?, name),
            None => RemoteModel::open(self.link()?, name)?,
        };
        let model: Arc<dyn ChatModel> = Arc::new(model);
        let price = candidate.price.map(own_price).or_else(|| self.book.find_name(name));
        let Some(price) = price else {
            if self.budget.is_some() {
                anyhow::bail!(
                    "{name}: its price is not known, so --max-cost cannot be kept\n\
                     hint: `price = {{ input = .., output = .. }}` of the candidate, US dollars for a million tokens"
                );
            }
            return Ok((model, Price::Unknown));
        };
        let model = match &self.budget {
            Some(budget) => Arc::new(Metered::new(model, price.clone(), budget.clone())),
            None => model,
        };
        let cost = move |outcome: &tasks::Outcome| {
            let usage = Usage {
                prompt_tokens: outcome.prompt_tokens,
                cached_tokens: outcome.cached_tokens,
                completion_tokens: outcome.completion_tokens,
                ..Usage::default()
            };
            Some(price.cost(&usage))
        };
        Ok((model, Price::Provider(Box::new(cost))))
    }

    /// Says what was not asked for want of money.
    pub fn tell(&self, session: &Session) {
        if let Some(budget) = self.budget.as_ref().filter(|budget| budget.refused() > 0) {
            let (refused, spent) = (budget.refused(), budget.spent());
            session.terminal.warn(&format!(
                "{refused} requests were not sent, as they might have passed --max-cost; ${spent:.4} were spent\n\
                 hint: what was answered is kept: a higher --max-cost goes on with the rest"
            ));
        }
    }
}

fn remote(candidate: &Candidate, endpoint: &Endpoint) -> anyhow::Result<Remote> {
    let lookup = |variable: &str| std::env::var(variable).ok();
    let key = endpoint.key_variable.as_ref().map(|variable| Key::of_variable(variable, &lookup)).transpose()?;
    Ok(Remote::custom(&candidate.name, &endpoint.protocol, &endpoint.base_url, key)?)
}

fn own_price(price: TokenPrice) -> router::Price {
    let terms = Terms::flat(price.input, price.output);
    router::Price { terms, source: "the task file".to_owned(), seen: Date::today() }
}

/// Says what all candidates elsewhere will cost, and asks once whether that is right.
pub fn agree(
    plan: &Plan<'_>,
    candidates: &[Candidate],
    ready: &[Option<Contender>],
    judge: Option<&Candidate>,
    remotes: &Remotes,
    session: &Session,
) -> anyhow::Result<()> {
    let (mut lines, mut sum, mut is_known) = (Vec::new(), 0.0, true);
    if let Some(judge) = judge.filter(|judge| is_remote(judge)) {
        let (answers, cost) = grading(plan, candidates, judge, remotes)?;
        let told = cost.map_or("at a price that is not known".to_owned(), |cost| format!("about ${cost:.4}"));
        lines.push(format!("{} will grade at most {answers} answers, {told}", judge.name));
        sum += cost.unwrap_or(0.0);
        is_known &= cost.is_some();
    }
    for (place, (candidate, contender)) in candidates.iter().zip(ready).enumerate() {
        let Some(contender) = contender else { continue };
        let rows = plan.to_ask(place)?;
        if rows.is_empty() {
            continue;
        }
        let cost = rows.iter().map(|row| estimate(candidate, contender, &row.example.input)).sum::<Option<f64>>();
        let told = cost.map_or("at a price that is not known".to_owned(), |cost| format!("about ${cost:.4}"));
        lines.push(format!("{} will be sent {} requests, {told}", candidate.name, rows.len()));
        sum += cost.unwrap_or(0.0);
        is_known &= cost.is_some();
    }
    if lines.is_empty() {
        return Ok(());
    }
    let more = if is_known { "" } else { " and what is not known" };
    let question = format!("{}\nthat is ${sum:.4}{more}", lines.join("\n"));
    if !session.terminal.stdin {
        let hint = "hint: --max-cost USD bounds it, --yes goes on without asking";
        return Err(UsedWrongly(format!("nobody is there to say whether this is right:\n{question}\n{hint}")).into());
    }
    session.terminal.note(&format!("{question}. Go on? [y/N]"));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        anyhow::bail!("nothing was asked")
    }
}

/// How many answers a judge elsewhere will grade at most, and what that costs, about: the input and the answer are what it
/// reads.
fn grading(
    plan: &Plan<'_>,
    candidates: &[Candidate],
    judge: &Candidate,
    remotes: &Remotes,
) -> anyhow::Result<(usize, Option<f64>)> {
    let Answerer::Model(name) = &judge.answerer else { return Ok((0, None)) };
    let rows = plan.rows();
    let (_, price) = remotes.model(judge, name)?;
    // Each try of a model is an answer, a baseline has one; and the answers that people graded are graded too.
    let tries = |candidate: &Candidate| match candidate.answerer {
        Answerer::Model(_) => plan.tries() as usize,
        Answerer::Baseline(_) => 1,
    };
    let is_rated = matches!(&judge.task.goal.grading, Some(Grading::Judge(judge)) if judge.rated.is_some());
    let times = candidates.iter().map(tries).sum::<usize>() + usize::from(is_rated);
    let Price::Provider(price) = price else { return Ok((rows.len() * times, None)) };
    let of_row = |row: &::eval::TestRow| {
        let bytes = judge.task.input.fill(&row.example.input).map_or(0, |text| text.len());
        price(&tasks::Outcome {
            prompt_tokens: bytes.div_ceil(BYTES_OF_TOKEN) + 2 * USUAL_ANSWER,
            completion_tokens: USUAL_ANSWER,
            ..tasks::Outcome::default()
        })
    };
    let once = rows.iter().map(of_row).sum::<Option<f64>>();
    Ok((rows.len() * times, once.map(|cost| cost * times as f64)))
}

/// What one request costs, about; none where no price is known.
fn estimate(candidate: &Candidate, contender: &Contender, input: &tasks::Input) -> Option<f64> {
    let Price::Provider(price) = &contender.price else { return None };
    let bytes = (contender.preview)(input).map_or(0, |text| text.len());
    price(&tasks::Outcome {
        prompt_tokens: bytes.div_ceil(BYTES_OF_TOKEN),
        completion_tokens: candidate.task.options.max_tokens.unwrap_or(USUAL_ANSWER),
        ..tasks::Outcome::default()
    })
}
