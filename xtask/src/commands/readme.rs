//! `cargo xtask readme`: writes the tables in README.md, of supported models from the catalog and of speeds from what was
//! measured.
//!
//! Each stands between two markers; a test fails when one is not what its source says. Read next: `bench/results.rs` for
//! the speeds.

use anyhow::Context;
use std::path::Path;
use std::process::ExitCode;

/// A table of the README.
struct Section {
    begin: &'static str,
    end: &'static str,
    table: fn(&Path) -> anyhow::Result<String>,
}

const SECTIONS: &[Section] = &[
    Section {
        begin: "<!-- models: written by `cargo xtask readme` -->\n",
        end: "<!-- end of models -->",
        table: models,
    },
    Section {
        begin: "<!-- bench: written by `cargo xtask bench` -->\n",
        end: "<!-- end of bench -->",
        table: super::bench::table,
    },
    Section {
        begin: "<!-- load: written by `cargo xtask loadtest` -->\n",
        end: "<!-- end of load -->",
        table: super::loadtest::table,
    },
];

/// Rewrites the tables.
///
/// # Errors
/// A file that cannot be read or written, or a README without the markers.
pub(super) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let path = root.join("README.md");
    let readme = std::fs::read_to_string(&path)?;
    std::fs::write(&path, with_tables(&readme, root)?)?;
    super::say("README.md: the tables are what the catalog and the results say");
    Ok(ExitCode::SUCCESS)
}

fn with_tables(readme: &str, root: &Path) -> anyhow::Result<String> {
    SECTIONS.iter().try_fold(readme.to_owned(), |readme, section| {
        let missing = || format!("README.md: expected the markers {} and {}", section.begin.trim(), section.end);
        let begin = readme.find(section.begin).with_context(missing)? + section.begin.len();
        let end = begin + readme[begin..].find(section.end).with_context(missing)?;
        Ok(format!("{}{}{}", &readme[..begin], (section.table)(root)?, &readme[end..]))
    })
}

fn models(root: &Path) -> anyhow::Result<String> {
    let catalog: toml::Table = toml::from_str(&std::fs::read_to_string(root.join("crates/hub/catalog.toml"))?)?;
    let mut text = String::from("| name | family | weights | as | size | context | licence | pinned |\n");
    text.push_str("|---|---|---:|---|---:|---:|---|---|\n");
    for model in catalog["model"].as_array().context("catalog.toml: no models")? {
        let word = |key: &str| model.get(key).and_then(toml::Value::as_str).unwrap_or("");
        let number = |key: &str| model.get(key).and_then(toml::Value::as_integer);
        let size = number("bytes").map_or("".to_owned(), |bytes| format!("{:.2} GB", bytes as f64 / 1e9));
        let weights = number("parameters").map_or("".to_owned(), |count| match count {
            0..1_000_000_000 => format!("{:.0}M", count as f64 / 1e6),
            _ => format!("{:.1}B", count as f64 / 1e9),
        });
        let pinned = match (model.get("unsupported"), model.get("sha256")) {
            (Some(_), _) => "not supported yet",
            (None, Some(_)) => "yes",
            (None, None) => "no",
        };
        let context = number("context").unwrap_or(0);
        let cells = [word("name"), word("family"), &weights, word("quantization"), &size, &context.to_string()];
        text.push_str(&format!("| `{}` | {} | {} | {pinned} |\n", cells[0], cells[1..].join(" | "), word("licence")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_what_the_catalog_and_the_results_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
        let expected = with_tables(&readme, &root).unwrap();
        assert!(readme == expected, "a table is stale\nhint: cargo xtask readme");
    }

    #[test]
    fn a_readme_without_markers_is_an_error() {
        assert!(with_tables("no markers", Path::new(".")).is_err());
    }
}
