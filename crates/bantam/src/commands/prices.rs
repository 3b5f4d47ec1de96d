//! `bantam prices`: what tokens of models elsewhere cost, and a table of your own that comes before the built-in one.

use crate::failure::UsedWrongly;
use crate::session::Session;
use crate::table::{Align, table};
use clap::Subcommand;
use router::PriceBook;
use router::prices::{Changes, Converted, Date, Listed, Terms, Tier};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Changes of one sort that people are shown at once.
const SHOWN: usize = 20;

/// List and update the prices of models elsewhere, which `bantam eval` reckons with
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bantam prices                                     the table, a model a line
  bantam prices list mini                           those with `mini` in their name
  bantam prices show openai/gpt-4o-mini             one, with tiers, day and source
  bantam prices update --file model_prices_and_context_window.json

Two public catalogues can be read: model_prices_and_context_window.json of LiteLLM, and data_slim.json of genai-prices. What
is read goes to prices.json of the data directory, each row with its day and its source, and comes before the table that
the program brings. Nothing is fetched.")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print JSON (shape: docs/json.md)
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the prices, in US dollars for a million tokens
    #[command(after_help = "Example:\n  bantam prices list anthropic/")]
    List {
        /// Only models with this in their name
        #[arg(value_name = "PART")]
        part: Option<String>,
    },
    /// Show all that is known of one price
    #[command(after_help = "Example:\n  bantam prices show openai/gpt-4o-mini")]
    Show {
        /// As candidates are named: provider/model
        #[arg(value_name = "MODEL")]
        model: String,
    },
    /// Read a catalogue, say what changed, and keep it before the built-in table
    #[command(after_help = "Example:\n  bantam prices update --file data_slim.json --seen 2026-11-27")]
    Update {
        /// The catalogue
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// The day on which it was read, as 2026-11-27; the default is today
        #[arg(long, value_name = "DAY", value_parser = Date::of)]
        seen: Option<Date>,
        /// Take prices that look as if they were for another number of tokens
        #[arg(long)]
        accept_odd: bool,
    },
}

#[derive(Serialize)]
struct Output<'a> {
    model: String,
    #[serde(flatten)]
    terms: &'a Terms,
    context: Option<usize>,
    source: &'a str,
    seen: &'a Date,
    own: bool,
}

impl<'a> Output<'a> {
    fn of(listed: &'a Listed, own: &PriceBook) -> Output<'a> {
        let Listed { provider, model, price, context } = listed;
        Output {
            model: listed.name(),
            terms: &price.terms,
            context: *context,
            source: &price.source,
            seen: &price.seen,
            own: own.find(provider, model).is_some(),
        }
    }
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    match args.action.unwrap_or(Action::List { part: None }) {
        Action::List { part } => list(part.as_deref().unwrap_or_default(), args.json, session),
        Action::Show { model } => show(&model, args.json, session),
        Action::Update { file, seen, accept_odd } => {
            update(&file, &seen.unwrap_or_else(Date::today), accept_odd, args.json, session)
        }
    }
}

/// The owner's table, and behind it the one that the program brings.
pub fn book() -> anyhow::Result<PriceBook> {
    Ok(own()?.before(PriceBook::built_in()))
}

fn own_file() -> anyhow::Result<PathBuf> {
    Ok(hub::Home::from_env()?.root().join("prices.json"))
}

/// The owner's table; an empty one where there is none.
fn own() -> anyhow::Result<PriceBook> {
    let file = own_file()?;
    if file.exists() { Ok(PriceBook::read(&file)?) } else { Ok(PriceBook::default()) }
}

fn list(part: &str, as_json: bool, session: &Session) -> anyhow::Result<()> {
    let own = own()?;
    let mut listed = book()?.listed();
    listed.retain(|one| one.name().contains(part));
    if as_json {
        return session.terminal.json(&listed.iter().map(|one| Output::of(one, &own)).collect::<Vec<_>>());
    }
    if listed.is_empty() {
        session
            .terminal
            .note(&format!("no price of a model with {part:?} in its name\nhint: bantam prices update --file FILE"));
        return Ok(());
    }
    let header = [
        ("MODEL", Align::Left),
        ("INPUT", Align::Right),
        ("CACHED", Align::Right),
        ("OUTPUT", Align::Right),
        ("CONTEXT", Align::Right),
        ("READ", Align::Left),
        ("TABLE", Align::Left),
    ];
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|one| {
            let Terms { input, output, cached_input, .. } = one.price.terms;
            let is_own = own.find(&one.provider, &one.model).is_some();
            vec![
                one.name(),
                format!("${input}"),
                cached_input.map_or("-".to_owned(), |price| format!("${price}")),
                format!("${output}"),
                one.context.map_or("-".to_owned(), |context| context.to_string()),
                one.price.seen.to_string(),
                if is_own { "own" } else { "built in" }.to_owned(),
            ]
        })
        .collect();
    Ok(session.terminal.data(&table(&header, &rows))?)
}

fn show(name: &str, as_json: bool, session: &Session) -> anyhow::Result<()> {
    let (own, book) = (own()?, book()?);
    let Some((provider, model)) = name.split_once('/') else {
        return Err(
            UsedWrongly(format!("expected provider/model, got {name:?}\nhint: bantam prices list {name}")).into()
        );
    };
    let Some(price) = book.find(provider, model) else {
        anyhow::bail!(
            "the price of {name} is not known\nhint: `bantam prices list` shows those that are, `bantam prices \
                       update --file FILE` reads more, `price = {{ input = .., output = .. }}` of a candidate says it"
        );
    };
    let context = book.context(provider, model);
    let listed = Listed { provider: provider.to_owned(), model: model.to_owned(), price, context };
    if as_json {
        return session.terminal.json(&Output::of(&listed, &own));
    }
    Ok(session.terminal.data(&described(&listed))?)
}

fn described(listed: &Listed) -> String {
    let Terms { input, output, cached_input, cache_write, tiers, .. } = &listed.price.terms;
    let prices = |input: f64, output: f64, cached: Option<f64>, written: Option<f64>| {
        let cached = cached.map_or(String::new(), |price| format!(", ${price} for what its cache had"));
        let written = written.map_or(String::new(), |price| format!(", ${price} for what it is to keep"));
        format!("${input} for a million tokens of prompts{cached}{written}, ${output} for a million generated\n")
    };
    let mut text = format!("{}: {}", listed.name(), prices(*input, *output, *cached_input, *cache_write));
    for tier in tiers {
        let of_tier = prices(tier.input, tier.output, tier.cached_input, tier.cache_write);
        text.push_str(&format!("  prompts over {} tokens: {of_tier}", tier.above));
    }
    let context = listed.context.map_or(String::new(), |context| format!("; a context of {context} tokens"));
    text + &format!("  read on {} at {}{context}\n", listed.price.seen, listed.price.source)
}

fn update(file: &Path, seen: &Date, accepts_odd: bool, as_json: bool, session: &Session) -> anyhow::Result<()> {
    let Converted { book: read, left_out } = PriceBook::from_file(file, seen)?;
    let new = read.of_known_providers();
    if new.is_empty() {
        anyhow::bail!("{}: expected a price of a provider that is known here, got none", file.display());
    }
    let known = new.listed();
    let changes = book()?.changes_to(&new.clone().before(PriceBook::built_in()));
    let odd = changes.odd();
    if !odd.is_empty() && !accepts_odd {
        let named: Vec<String> = odd.iter().take(SHOWN).map(|odd| format!("{}: {}", odd.name, odd.why)).collect();
        anyhow::bail!(
            "{}: {} wrong, and nothing was changed\n{}\nhint: look at the file; --accept-odd takes them as they are",
            file.display(),
            if odd.len() == 1 { "a price looks".to_owned() } else { format!("{} prices look", odd.len()) },
            named.join("\n")
        );
    }
    new.write(&own_file()?)?;
    if as_json {
        let names = |listed: &[Listed]| listed.iter().map(Listed::name).collect::<Vec<_>>();
        let changed = changes.changed.iter().map(
            |(before, after)| json!({"model": after.name(), "before": before.price.terms, "after": after.price.terms}),
        );
        return session.terminal.json(&json!({
            "prices": known.len(), "new": names(&changes.new), "changed": changed.collect::<Vec<_>>(),
            "gone": names(&changes.gone), "left_out": left_out.len(),
        }));
    }
    session.terminal.data(&told(&changes))?;
    // Of models that nobody can name here it is of no interest why they are left out.
    let providers: Vec<&str> = known.iter().map(|one| one.provider.as_str()).collect();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for left in left_out.iter().filter(|left| providers.contains(&left.provider.as_str())) {
        *reasons.entry(left.why.split(" on ").next().unwrap_or_default()).or_default() += 1;
    }
    let mut reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if !reasons.is_empty() {
        let named: Vec<String> = reasons.iter().map(|(why, count)| format!("{count} ({why})")).collect();
        session.terminal.note(&format!("left out: {}", named.join(", ")));
    }
    session.terminal.note(&format!("{} prices are kept in {}", known.len(), own_file()?.display()));
    Ok(())
}

fn told(changes: &Changes) -> String {
    let price = |listed: &Listed| {
        let Terms { input, output, cached_input, cache_write, tiers, .. } = &listed.price.terms;
        let cached = cached_input.map_or(String::new(), |price| format!(", cached ${price}"));
        let kept = cache_write.map_or(String::new(), |price| format!(", kept ${price}"));
        let others = |tier: &Tier| format!(", over {} tokens ${} in, ${} out", tier.above, tier.input, tier.output);
        format!("${input} in{cached}{kept}, ${output} out{}", tiers.iter().map(others).collect::<String>())
    };
    let mut lines: Vec<String> = Vec::new();
    let mut part = |word: &str, all: Vec<String>| {
        lines.extend(all.iter().take(SHOWN).map(|one| format!("{word}: {one}")));
        if all.len() > SHOWN {
            lines.push(format!("{word}: {} more", all.len() - SHOWN));
        }
    };
    let changed = changes.changed.iter().map(|(old, new)| format!("{}: {} -> {}", new.name(), price(old), price(new)));
    part("changed", changed.collect());
    part("new", changes.new.iter().map(|one| format!("{}: {}", one.name(), price(one))).collect());
    part("gone", changes.gone.iter().map(|one| format!("{}: {}", one.name(), price(one))).collect());
    if lines.is_empty() {
        return "no price has changed\n".to_owned();
    }
    lines.join("\n") + "\n"
}
