//! Two books of prices beside each other: what is new, what changed, what is gone, and which prices look wrong.
//!
//! A price that is wrong by the unit of a catalogue (for one token, for a thousand, for a million) is wrong by a factor of a
//! thousand or more; no provider has changed one like that.

use super::{Date, Price, PriceBook, Terms};
use std::collections::BTreeMap;

/// A price that is so many times another one is none that a provider changed.
const ODD_FACTOR: f64 = 100.0;
/// US dollars for a million tokens of the dearest kind, between which the models of all providers lie, by a wide margin.
const LEAST: f64 = 0.001;
const MOST: f64 = 5_000.0;

/// A model of a book with today's price.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its provider.
    pub provider: String,
    /// The provider's name for it.
    pub model: String,
    /// What it costs, since when and by whom that is known.
    pub price: Price,
    /// Positions of its context, where they are known.
    pub context: Option<usize>,
}

impl Listed {
    /// Provider and model, as candidates are named.
    pub fn name(&self) -> String {
        format!("{}/{}", self.provider, self.model)
    }
}

/// What differs between two books.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Models that only the later one has.
    pub new: Vec<Listed>,
    /// Models with other terms, before and after.
    pub changed: Vec<(Listed, Listed)>,
    /// Models that only the earlier one has.
    pub gone: Vec<Listed>,
}

/// A price that looks wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Odd {
    /// The model.
    pub name: String,
    /// What is odd about it.
    pub why: String,
}

impl PriceBook {
    /// Every model with today's price, by provider and name; of a model that stands there twice the first counts.
    pub fn listed(&self) -> Vec<Listed> {
        let today = Date::today();
        let mut listed: BTreeMap<(String, String), Listed> = BTreeMap::new();
        for group in &self.groups {
            for row in &group.rows {
                let Some(price) = self.find_on(&group.provider, &row.model, &today) else { continue };
                let (provider, model) = (group.provider.clone(), row.model.clone());
                let of = (provider.clone(), model.clone());
                listed.entry(of).or_insert(Listed { provider, model, price, context: row.context });
            }
        }
        listed.into_values().collect()
    }

    /// What a later book has otherwise.
    pub fn changes_to(&self, later: &PriceBook) -> Changes {
        let mut before: BTreeMap<String, Listed> = self.listed().into_iter().map(|one| (one.name(), one)).collect();
        let mut changes = Changes::default();
        for after in later.listed() {
            match before.remove(&after.name()) {
                None => changes.new.push(after),
                Some(before) if !is_same(&before, &after) => changes.changed.push((before, after)),
                Some(_) => {}
            }
        }
        changes.gone = before.into_values().collect();
        changes
    }
}

/// Whether two models cost the same, since whatever day that holds.
fn is_same(one: &Listed, other: &Listed) -> bool {
    let of = |listed: &Listed| Terms { from: None, ..listed.price.terms.clone() };
    of(one) == of(other)
}

impl Changes {
    /// Prices that look as if they were for another number of tokens.
    pub fn odd(&self) -> Vec<Odd> {
        let alone = self.new.iter().chain(self.changed.iter().map(|(_, after)| after)).filter_map(|listed| {
            let dearest = listed.price.terms.input.max(listed.price.terms.output);
            let told = |is: &str| Odd {
                name: listed.name(),
                why: format!(
                    "${dearest} for a million tokens is {is} than any price: is it one for another number of tokens?"
                ),
            };
            match dearest {
                price if price < LEAST => Some(told("less")),
                price if price > MOST => Some(told("more")),
                _ => None,
            }
        });
        let jumps = self.changed.iter().filter_map(|(before, after)| {
            let (old, new) = (&before.price.terms, &after.price.terms);
            let (from, to) = [(old.input, new.input), (old.output, new.output)]
                .into_iter()
                .find(|&(from, to)| from > 0.0 && to > 0.0 && (to >= from * ODD_FACTOR || from >= to * ODD_FACTOR))?;
            Some(Odd {
                name: after.name(),
                why: format!("from ${from} to ${to} for a million tokens is no change of a price"),
            })
        });
        let mut odd: Vec<Odd> = alone.chain(jumps).collect();
        odd.sort_by(|one, other| one.name.cmp(&other.name));
        odd.dedup_by(|one, other| one.name == other.name);
        odd
    }
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::*;

    fn book(rows: &[(&str, f64, f64)]) -> PriceBook {
        let mut book = PriceBook::default();
        for (model, input, output) in rows {
            let terms = vec![Terms::flat(*input, *output)];
            let row = Row { model: (*model).to_owned(), rule: None, context: None, terms };
            book.add("openai", "https://prices.example", &Date::of("2026-11-27").unwrap(), row);
        }
        book
    }

    #[test]
    fn books_differ_by_what_is_new_changed_and_gone() {
        let changes = book(&[("same", 1.0, 2.0), ("dearer", 1.0, 2.0), ("gone", 1.0, 2.0)]).changes_to(&book(&[
            ("same", 1.0, 2.0),
            ("dearer", 1.5, 2.0),
            ("new", 0.1, 0.2),
        ]));
        let names = |listed: &[Listed]| listed.iter().map(Listed::name).collect::<Vec<_>>();
        assert_eq!(
            (names(&changes.new), names(&changes.gone)),
            (vec!["openai/new".into()], vec!["openai/gone".into()])
        );
        let [(before, after)] = &changes.changed[..] else { panic!("{changes:?}") };
        assert_eq!(
            (before.price.terms.input, after.price.terms.input, after.name()),
            (1.0, 1.5, "openai/dearer".into())
        );
        assert_eq!(changes.odd(), []);
    }

    #[test]
    fn the_first_of_a_model_counts() {
        let both = book(&[("m", 1.0, 1.0)]).before(book(&[("m", 9.0, 9.0)]));
        assert_eq!(both.listed().iter().map(|one| one.price.terms.input).collect::<Vec<_>>(), [1.0]);
    }

    #[test]
    fn prices_of_another_number_of_tokens_are_odd() {
        let odd = |before: &[(&str, f64, f64)], after: &[(&str, f64, f64)]| {
            let odd = book(before).changes_to(&book(after)).odd();
            odd.into_iter().map(|odd| format!("{}: {}", odd.name, odd.why)).collect::<Vec<_>>()
        };
        assert_eq!(
            odd(&[], &[("m", 1.5e-7, 6e-7)]),
            [
                "openai/m: $0.0000006 for a million tokens is less than any price: is it one for another number of tokens?"
            ]
        );
        assert_eq!(
            odd(&[("m", 0.15, 0.6)], &[("m", 150.0, 600.0)]),
            ["openai/m: from $0.15 to $150 for a million tokens is no change of a price"]
        );
        assert!(odd(&[], &[("m", 150_000.0, 600_000.0)])[0].contains("is more than any price"));
        assert_eq!(odd(&[("m", 0.15, 0.6)], &[("m", 1.0, 4.0)]), [""; 0]);
    }
}
