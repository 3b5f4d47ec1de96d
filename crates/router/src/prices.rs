//! What models elsewhere cost: a book of prices, each with its date and source.
//!
//! A price that is not in the book is unknown, and an unknown price is never 0. The book that comes with the program is
//! `prices/built_in.json`; a newer one is made from either of two public catalogues (`prices/litellm.rs`,
//! `prices/genai.rs`). Read next: `prices/terms.rs` for what a price is.

mod changes;
mod date;
mod genai;
mod litellm;
mod rule;
mod terms;

pub use changes::{Changes, Listed, Odd};
pub use date::Date;
pub use rule::Rule;
pub use terms::{Terms, Tier};

use crate::providers::PRESETS;
use chat::Usage;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Bytes of a catalogue; the larger of the two has 3 MB.
const LARGEST_FILE: u64 = 64 << 20;
/// The mark of our own files.
const FORMAT: &str = "bantam-prices-1";

/// Prices by the size of a model, which a catalogue fills in where the provider names none.
const UNPRICED: (&str, &str) = ("fireworks", "https://github.com/BerriAI/litellm");

/// Why there is no book of prices.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// The file cannot be read or written.
    #[error("{path}: {reason}\nhint: check the path and its permissions")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: std::io::Error,
    },
    /// The file is no book and no catalogue.
    #[error(
        "{path}: expected a book of prices, the LiteLLM catalogue or that of genai-prices, got {got}\nhint: they are \
         model_prices_and_context_window.json and data_slim.json"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        got: String,
    },
}

/// What a model costs on some day.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// The terms.
    pub terms: Terms,
    /// Where it was read.
    pub source: String,
    /// When it was read.
    pub seen: Date,
}

impl Price {
    /// The cost of an answer in USD.
    pub fn cost(&self, usage: &Usage) -> f64 {
        self.terms.cost(usage)
    }
}

/// Prices of one provider that were read at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    provider: String,
    source: String,
    seen: Date,
    rows: Vec<Row>,
}

/// A model, or all models of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    model: String,
    /// Which names it is the price of, beside its own.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    rule: Option<Rule>,
    /// Positions of the context, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<usize>,
    /// By the day from which they hold, the first of them for ever before; at least one.
    terms: Vec<Terms>,
}

/// The file of a book.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    format: String,
    groups: Vec<Group>,
}

/// Prices by provider and model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PriceBook {
    groups: Vec<Group>,
}

/// A model of a catalogue that the book leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its provider.
    pub provider: String,
    /// Its name.
    pub model: String,
    /// Why.
    pub why: String,
}

/// A catalogue as a book, and what of it is not in the book.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Converted {
    /// The book.
    pub book: PriceBook,
    /// Models whose price is not one of tokens alone, or is none.
    pub left_out: Vec<LeftOut>,
}

impl PriceBook {
    /// The book that comes with the program.
    pub fn built_in() -> PriceBook {
        let book = serde_json::from_str::<Book>(include_str!("prices/built_in.json"));
        PriceBook { groups: book.expect("a test reads the same file; this is a bug").groups }
    }

    /// Reads either public catalogue, or a book. `seen` is the day that prices are dated with.
    ///
    /// # Errors
    /// The file cannot be read, or is none of the three.
    pub fn from_file(path: &Path, seen: &Date) -> Result<Converted, PriceError> {
        let text = text_of(path)?;
        let wrong = |got: String| PriceError::Format { path: path.to_owned(), got };
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| wrong(format!("no JSON: {error}")))?;
        let converted = match &value {
            serde_json::Value::Array(providers) => genai::convert(providers, seen),
            serde_json::Value::Object(object) if object.contains_key("format") => {
                Converted { book: PriceBook::of_text(path, &text)?, left_out: Vec::new() }
            }
            serde_json::Value::Object(object) => litellm::convert(object, seen),
            _ => return Err(wrong("another JSON value".to_owned())),
        };
        if converted.book.groups.is_empty() {
            return Err(wrong("a file without one price".to_owned()));
        }
        Ok(converted)
    }

    /// Reads a book that [`PriceBook::write`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, or is no book.
    pub fn read(path: &Path) -> Result<PriceBook, PriceError> {
        PriceBook::of_text(path, &text_of(path)?)
    }

    fn of_text(path: &Path, text: &str) -> Result<PriceBook, PriceError> {
        let wrong = |got: String| PriceError::Format { path: path.to_owned(), got };
        let book: Book = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if book.format != FORMAT {
            return Err(wrong(format!("a book of the format {:?}", book.format)));
        }
        for row in book.groups.iter().flat_map(|group| &group.rows) {
            let rule = row.rule.as_ref().map_or(Ok(()), Rule::check);
            let terms = if row.terms.is_empty() { Err("no price".to_owned()) } else { Ok(()) };
            let checked = rule.and(terms).and_then(|()| row.terms.iter().try_for_each(Terms::check));
            checked.map_err(|why| wrong(format!("a row {:?} with {why}", row.model)))?;
        }
        Ok(PriceBook { groups: book.groups })
    }

    /// Writes the book, a row a line; whoever reads the file meanwhile sees the old one or the new one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PriceError> {
        let failed = |reason| PriceError::File { path: path.to_owned(), reason };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        std::io::Write::write_all(&mut file, self.text().as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// The file of the book.
    fn text(&self) -> String {
        let mut text = format!("{{\"format\":{},\"groups\":[", json(&FORMAT));
        for (index, group) in self.groups.iter().enumerate() {
            let Group { provider, source, seen, rows } = group;
            let comma = if index == 0 { "" } else { "," };
            let (provider, source, seen) = (json(provider), json(source), json(seen));
            let _ = write!(text, "{comma}\n{{\"provider\":{provider},\"source\":{source},\"seen\":{seen},\"rows\":[");
            for (index, row) in rows.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(text, "{comma}\n{}", json(row));
            }
            text.push_str("\n]}");
        }
        text.push_str("\n]}\n");
        text
    }

    /// This book, and another one for what it does not have.
    pub fn before(mut self, other: PriceBook) -> PriceBook {
        self.groups.extend(other.groups);
        self
    }

    /// The prices of providers that candidates can be of. Of the hundreds of models that one of them runs for a customer each
    /// only those are kept that it names a price for: the catalogue fills the others in by the size of the model.
    pub fn of_known_providers(mut self) -> PriceBook {
        let is_known = |provider: &str| PRESETS.iter().any(|preset| preset.name == provider);
        self.groups
            .retain(|group| is_known(&group.provider) && (group.provider.as_str(), group.source.as_str()) != UNPRICED);
        self
    }

    /// Today's price of a model, by the provider's name and its own for the model; none where it is unknown.
    pub fn find(&self, provider: &str, model: &str) -> Option<Price> {
        self.find_on(provider, model, &Date::today())
    }

    /// Today's price of `provider/model`.
    pub fn find_name(&self, name: &str) -> Option<Price> {
        let (provider, model) = name.split_once('/')?;
        self.find(provider, model)
    }

    /// The price of a model on a day.
    pub fn find_on(&self, provider: &str, model: &str, day: &Date) -> Option<Price> {
        let (group, row) = self.row(provider, model)?;
        let is_valid = |terms: &&Terms| terms.from.as_ref().is_none_or(|from| from <= day);
        let terms = row.terms.iter().rev().find(is_valid)?.clone();
        Some(Price { terms, source: group.source.clone(), seen: group.seen.clone() })
    }

    /// Positions of a model's context, where they are known.
    pub fn context(&self, provider: &str, model: &str) -> Option<usize> {
        self.row(provider, model)?.1.context
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.rows.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A row of that very name, else the first whose rule fits.
    fn row(&self, provider: &str, model: &str) -> Option<(&Group, &Row)> {
        let rows = || {
            let groups = self.groups.iter().filter(|group| group.provider == provider);
            groups.flat_map(|group| group.rows.iter().map(move |row| (group, row)))
        };
        let fits = |row: &Row| row.rule.as_ref().is_some_and(|rule| rule.fits(model));
        rows().find(|(_, row)| row.model == model).or_else(|| rows().find(|(_, row)| fits(row)))
    }
}

fn text_of(path: &Path) -> Result<String, PriceError> {
    let failed = |reason| PriceError::File { path: path.to_owned(), reason };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > LARGEST_FILE {
        let got = format!("a file of {bytes} bytes, more than {LARGEST_FILE}");
        return Err(PriceError::Format { path: path.to_owned(), got });
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// One of our own types as JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types are always JSON; this is a bug")
}

#[cfg(test)]
mod tests;
