//! Which crate may depend on which: the table of the design, and nothing beside it.
//!
//! Tests are held to it too: a crate that needs an upper layer to be tested is in the wrong place.

use anyhow::Context;

use super::Violation;
use super::tree::Tree;

/// May depend on every other crate.
const TOP: &[&str] = &["bantam", "xtask"];

/// One row a crate: those it may depend on. A crate that has no row may not be added without one.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("formats", &[]),
    ("chat", &[]),
    ("ledger", &[]),
    ("tokenizer", &["formats"]),
    ("grammar", &["tokenizer"]),
    ("hub", &["formats"]),
    ("model", &["kernels", "formats"]),
    ("engine", &["model", "kernels"]),
    ("train", &["model", "tokenizer", "formats", "kernels"]),
    ("local", &["chat", "hub", "engine", "model", "kernels", "tokenizer", "grammar", "formats"]),
    ("router", &["chat", "ledger"]),
    ("tasks", &["chat", "ledger"]),
    ("sandbox", &[]),
    ("eval", &["chat", "tasks", "ledger", "sandbox"]),
    ("server", &["chat", "tasks", "eval", "ledger"]),
];

pub(super) fn check(tree: &Tree) -> anyhow::Result<Vec<Violation>> {
    let manifests: Vec<(&str, &str, &str)> = tree
        .texts()
        .filter_map(|(path, text)| {
            let name = path.strip_suffix("/Cargo.toml")?;
            let name = name.strip_prefix("crates/").or((name == "xtask").then_some(name))?;
            Some((name, path, text))
        })
        .collect();
    let ours: Vec<&str> = manifests.iter().map(|(name, ..)| *name).collect();
    let mut violations = Vec::new();
    for (name, path, text) in &manifests {
        if TOP.contains(name) {
            continue;
        }
        let allowed = ALLOWED.iter().find(|(row, _)| row == name).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            let message = format!("the crate {name} has no row in the table of layers");
            violations.push(Violation { path: path.to_string(), line: 1, message });
            continue;
        };
        for dependency in dependencies(text).with_context(|| format!("cannot read {path}"))? {
            if ours.contains(&dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                let line = text.lines().position(|line| names_dependency(line, &dependency)).unwrap_or(0) + 1;
                let message = format!("{name} must not depend on {dependency}; it may on: {}", allowed.join(", "));
                violations.push(Violation { path: path.to_string(), line, message });
            }
        }
    }
    Ok(violations)
}

fn names_dependency(line: &str, dependency: &str) -> bool {
    line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
}

/// The names in all tables of dependencies, those of single platforms too.
fn dependencies(manifest: &str) -> anyhow::Result<Vec<String>> {
    fn collect(table: &toml::Table, names: &mut Vec<String>) {
        for (key, value) in table {
            let Some(inner) = value.as_table() else { continue };
            if key.ends_with("dependencies") {
                names.extend(inner.keys().cloned());
            } else {
                collect(inner, names);
            }
        }
    }
    let mut names = Vec::new();
    collect(&toml::from_str(manifest)?, &mut names);
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upward_dependency_is_found_with_its_line() {
        let tree = Tree::of(&[
            ("crates/hub/Cargo.toml", "[dependencies]\nformats.workspace = true\n"),
            ("crates/formats/Cargo.toml", "[package]\nname = 'formats'\n[dev-dependencies]\nhub.workspace = true\n"),
            ("crates/engine/Cargo.toml", "[target.'cfg(unix)'.dependencies]\nhub = { workspace = true }\n"),
            ("crates/bantam/Cargo.toml", "[dependencies]\nhub.workspace = true\n"),
        ]);
        let found: Vec<String> = check(&tree).unwrap().iter().map(Violation::to_string).collect();
        assert_eq!(
            found,
            [
                "crates/formats/Cargo.toml:4: formats must not depend on hub; it may on: ",
                "crates/engine/Cargo.toml:2: engine must not depend on hub; it may on: model, kernels",
            ]
        );
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let tree = Tree::of(&[("crates/new/Cargo.toml", "[package]\nname = 'new'\n")]);
        let found = check(&tree).unwrap();
        assert_eq!(found[0].to_string(), "crates/new/Cargo.toml:1: the crate new has no row in the table of layers");
    }
}
