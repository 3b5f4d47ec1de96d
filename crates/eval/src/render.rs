//! A report as people read it: one HTML file that needs nothing else, and Markdown for a pull request.
//!
//! ```text
//! Report -> page (heading, plots, what is sorted) -> templates -> HTML, Markdown
//! ```
//!
//! Whatever comes from data is text and can become no markup, by the one formatter through which all values go. The HTML
//! has no script, and its policy allows none. Read next: `page.rs` for what is shown, `numbers.rs` for how.

mod axis;
mod confusion;
mod labels;
mod numbers;
mod page;
mod plot;
#[cfg(test)]
mod sample;
mod text;

use crate::report::{Figure, Report};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use numbers::{UNKNOWN, Unit};
use page::Page;
pub use page::in_words;
use sha2::{Digest, Sha256};

/// The templates by their names.
const TEMPLATES: &[(&str, &str)] = &[
    ("report.html", include_str!("render/report.html")),
    ("parts.html", include_str!("render/parts.html")),
    ("plot.html", include_str!("render/plot.html")),
    ("candidate.html", include_str!("render/candidate.html")),
    ("report.md", include_str!("render/report.md")),
];

const STYLE: &str = include_str!("render/style.css");

/// A report as one HTML file.
pub fn html(report: &Report) -> String {
    rendered("report.html", report)
}

/// The essentials of a report as Markdown, in the flavour of pull requests.
pub fn markdown(report: &Report) -> String {
    rendered("report.md", report)
}

/// What a page of [`html`] may do: have this style, and nothing else. The page says so itself; a server that hands it
/// out may say it too, as its `content-security-policy`.
pub fn policy() -> String {
    format!("default-src 'none'; style-src {}; base-uri 'none'; form-action 'none'", style_source())
}

/// The style of these pages as policies name it: what a page that frames one must allow too.
pub fn style_source() -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(STYLE)))
}

fn rendered(name: &str, report: &Report) -> String {
    let templates = templates();
    let values = context! {
        page => Value::from(Serde(Page::of(report))),
        style => Value::from_safe_string(STYLE.to_owned()),
        policy => Value::from_safe_string(policy()),
    };
    let rendered = templates.get_template(name).and_then(|template| template.render(values));
    rendered.expect("the templates are our own; this is a bug")
}

fn templates() -> Environment<'static> {
    let mut templates = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    templates.set_syntax(syntax.expect("the delimiters are the usual ones; this is a bug"));
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|name| match name.ends_with(".md") {
        true => AutoEscape::Custom("markdown".into()),
        false => AutoEscape::Html,
    });
    templates.set_formatter(|out, state, value| {
        let escaped = match (value.as_str(), state.auto_escape()) {
            (Some(markup), _) if value.is_safe() => markup.to_owned(),
            (_, AutoEscape::Custom(_)) => text::markdown(&value.to_string()),
            _ => text::html(&value.to_string()),
        };
        out.write_str(&escaped).map_err(Into::into)
    });
    add_filters(&mut templates);
    for (name, source) in TEMPLATES {
        templates.add_template(name, source).expect("the templates are our own; this is a bug");
    }
    templates
}

/// Numbers in templates are written by these alone. What is none is unknown.
fn add_filters(templates: &mut Environment<'static>) {
    fn or_unknown(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
        value.map_or_else(|| UNKNOWN.to_owned(), show)
    }
    fn unit(name: &str) -> Unit {
        if name == "share" { Unit::Share } else { Unit::Plain }
    }
    fn figure(value: &Value) -> Figure {
        let part = |name| value.get_attr(name).ok().and_then(|part| f64::try_from(part).ok()).unwrap_or(f64::NAN);
        Figure { value: part("value"), low: part("low"), high: part("high") }
    }
    templates.add_filter("share", |value: Option<f64>| or_unknown(value, numbers::share));
    templates.add_filter("short_share", |value: Option<f64>| or_unknown(value, numbers::short_share));
    templates.add_filter("dollars", |value: Option<f64>| or_unknown(value, numbers::dollars));
    templates.add_filter("milliseconds", |value: Option<f64>| or_unknown(value, numbers::milliseconds));
    templates.add_filter("energy", |value: Option<f64>| or_unknown(value, numbers::energy));
    templates.add_filter("probability", |value: Option<f64>| or_unknown(value, numbers::probability));
    templates.add_filter("number", |value: Option<f64>| {
        or_unknown(value, |value| numbers::short(&numbers::significant(value, 3)))
    });
    templates.add_filter("short", numbers::short);
    templates.add_filter("rows", |value: Option<u64>| value.map_or_else(|| UNKNOWN.to_owned(), numbers::count));
    templates.add_filter("weights", numbers::weights);
    templates.add_filter("moment", numbers::moment);
    templates.add_filter("figure", |value: Option<f64>, name: &str| or_unknown(value, |value| unit(name).show(value)));
    templates
        .add_filter("goal", |value: Option<f64>, name: &str| or_unknown(value, |value| unit(name).show_short(value)));
    templates.add_filter("interval", |value: Value, name: &str| unit(name).show_interval(&figure(&value)));
    templates.add_filter("difference", |value: f64, name: &str| unit(name).show_difference(value));
    templates.add_filter("distance", |value: f64, name: &str| unit(name).show_distance(value));
    templates.add_filter("difference_interval", |value: Value, name: &str| {
        unit(name).show_difference_interval(&figure(&value))
    });
    templates.add_filter("code", |text: &str| Value::from_safe_string(text::code(text)));
}

#[cfg(test)]
#[path = "render/tests.rs"]
mod tests;
