//! Writes the book of prices that comes with the program, from the catalogue of LiteLLM:
//!
//! ```text
//! cargo run -p router --example price_table -- model_prices_and_context_window.json 2026-11-27 \
//!     crates/router/src/prices/built_in.json
//! ```
//!
//! The day is the one on which the catalogue was read. Only providers of the table are kept, and of the hundreds of
//! models that Fireworks runs for one customer each only those that it has a page for.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a chore of the project, run by hand")]

use router::prices::Date;
use router::{PriceBook, providers::PRESETS};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [catalogue, seen, out] = &arguments[..] else {
        eprintln!("expected a catalogue, its day and the file to write");
        return ExitCode::FAILURE;
    };
    match write(Path::new(catalogue), seen, Path::new(out)) {
        Ok(summary) => {
            eprintln!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(catalogue: &Path, seen: &str, out: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let is_known = |provider: &str| PRESETS.iter().any(|preset| preset.name == provider);
    let converted = PriceBook::from_file(catalogue, &Date::of(seen)?)?;
    let book = converted.book.of_known_providers();
    book.write(out)?;
    let left_out = converted.left_out.iter().filter(|left| is_known(&left.provider));
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    for left in left_out {
        *reasons.entry(left.why.split(" on ").next().unwrap_or_default()).or_default() += 1;
    }
    Ok(format!("{} rows; left out: {reasons:?}", book.len()))
}
