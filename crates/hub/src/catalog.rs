//! The catalog: which models there are, what they are pinned to, and where their bytes can be had.
//!
//! One file is built in; files in `catalog.d` of the data directory add models, or sources for a hash that a model is
//! pinned to. An unknown key is an error that names file and line. It knows nothing of how a source is asked: each kind
//! of source reads its own keys. Read next: `model_ref.rs`, then `sources.rs`.

use crate::digest::Sha256;
use crate::model_ref::valid_name;
use crate::sources::{self, Source};
use crate::{Home, HubError, nearest};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;

const BUILT_IN: &str = include_str!("../catalog.toml");
const BUILT_IN_NAME: &str = "the built-in catalog.toml";
/// More than any honest catalog file; a limit on what is read into memory.
const LONGEST_FILE: u64 = 8 << 20;

/// The measures of a decoder, for forecasts of memory and speed before a file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Decoder layers.
    pub layers: usize,
    /// `D`, the model's width.
    pub width: usize,
    /// `H`, query heads.
    pub heads: usize,
    /// `Hkv`, key and value heads.
    pub kv_heads: usize,
    /// `Dh`, a head's width.
    pub head_dim: usize,
    /// `F`, the feed-forward width.
    pub feed_forward: usize,
    /// `V`, the number of tokens.
    pub vocabulary: usize,
    /// Positions that windowed layers see, where there are such layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
}

/// One row of the catalog.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogModel {
    /// The name, as `family:size[-variant]`.
    pub name: String,
    /// Other names of the same row.
    pub aliases: Vec<String>,
    /// Architecture family.
    pub family: String,
    /// What it is, in one line.
    pub description: String,
    /// Number of weights.
    pub parameters: u64,
    /// Positions that the model was trained for.
    pub context: usize,
    /// SPDX identifier, or the licence's own name.
    pub licence: String,
    /// Where the licence can be read.
    pub licence_url: String,
    /// Whether the hub asks for a consent first.
    pub gated: bool,
    /// The page where a consent is given.
    pub page: Option<String>,
    /// The quantisation of the file.
    pub quantization: String,
    /// The file's length, where known.
    pub bytes: Option<u64>,
    /// The file's digest, where truly known; else the source's own is expected and `unpinned` shown.
    pub sha256: Option<Sha256>,
    /// The decoder's measures, where known.
    pub shape: Option<Shape>,
    /// Whether this is the model that is meant when none is named.
    pub default: bool,
    /// Why it cannot be run yet, if it cannot.
    pub unsupported: Option<String>,
    /// The documents in which this row was verified.
    pub cited: Vec<String>,
    /// Where the bytes can be had, in the order to try, mirrors of user files first.
    #[serde(skip)]
    pub(crate) sources: Vec<Arc<dyn Source>>,
}

impl CatalogModel {
    /// Whether it is known to be a model that generates: one that makes vectors has none of a decoder's measures.
    pub fn is_decoder(&self) -> bool {
        self.shape.is_some()
    }

    /// Each source in words, in the order they are tried.
    pub fn source_descriptions(&self) -> Vec<String> {
        self.sources.iter().map(|source| source.describe()).collect()
    }
}

/// All models known by name.
#[derive(Debug, Clone)]
pub struct Catalog {
    models: Vec<CatalogModel>,
    default: usize,
}

impl Catalog {
    /// The built-in catalog and the user's files, in the order of their names.
    pub fn load(home: &Home) -> Result<Catalog, HubError> {
        let mut files = vec![(BUILT_IN_NAME.to_string(), BUILT_IN.to_string())];
        for path in user_files(&home.catalogs())? {
            let length = std::fs::metadata(&path).map_err(HubError::io("read", &path))?.len();
            if length > LONGEST_FILE {
                let reason = format!("expected at most {LONGEST_FILE} bytes, got {length}");
                return Err(HubError::Catalog { file: path.display().to_string(), line: None, reason });
            }
            let text = std::fs::read_to_string(&path).map_err(HubError::io("read", &path))?;
            files.push((path.display().to_string(), text));
        }
        Catalog::from_files(&files)
    }

    /// Parses named texts; the first is the built-in one, which alone says what the default is.
    fn from_files(files: &[(String, String)]) -> Result<Catalog, HubError> {
        let mut models: Vec<CatalogModel> = Vec::new();
        let mut mirrors = Vec::new();
        let mut default = None;
        for (index, (file, text)) in files.iter().enumerate() {
            let place = Place { file, text };
            let raw: RawFile = toml::from_str(text).map_err(|error| place.toml(&error, 0))?;
            for spanned in raw.model {
                let span = spanned.span();
                let model = read_model(&place, spanned)?;
                for name in std::iter::once(&model.name).chain(&model.aliases) {
                    if !valid_name(name) || sources::has_prefix(name) {
                        return Err(place.wrong(&span, format!("{name:?} cannot be a model's name")));
                    }
                    if models.iter().any(|other| other.is_called(name)) {
                        return Err(place.wrong(&span, format!("{name:?} is already the name of a model")));
                    }
                }
                if model.default {
                    if index > 0 || default.is_some() {
                        let reason = "the one default stands in the built-in catalog; remove `default = true`";
                        return Err(place.wrong(&span, reason.to_string()));
                    }
                    default = Some(models.len());
                }
                models.push(model);
            }
            for spanned in raw.mirror {
                mirrors.push((file, text, index > 0, spanned));
            }
        }
        for (file, text, of_user, spanned) in mirrors {
            let place = Place { file, text };
            let span = spanned.span();
            let raw = spanned.into_inner();
            let found = read_sources(&place, raw.source)?;
            let mut known = false;
            for model in models.iter_mut().filter(|model| model.sha256 == Some(raw.sha256)) {
                known = true;
                let at = if of_user { 0 } else { model.sources.len() };
                model.sources.splice(at..at, found.iter().cloned());
            }
            if !known {
                return Err(place.wrong(&span, format!("no model is pinned to sha256 {}", raw.sha256)));
            }
        }
        let reason = || "expected one model with `default = true`, got none".to_string();
        let no_default = || HubError::Catalog { file: BUILT_IN_NAME.to_string(), line: None, reason: reason() };
        Ok(Catalog { default: default.ok_or_else(no_default)?, models })
    }

    /// Every model, in the order of the files.
    pub fn entries(&self) -> &[CatalogModel] {
        &self.models
    }

    /// The model that is meant when none is named.
    pub fn default_model(&self) -> &CatalogModel {
        &self.models[self.default]
    }

    /// The model of that name or alias; upper and lower case are the same.
    pub fn find(&self, name: &str) -> Option<&CatalogModel> {
        self.models.iter().find(|model| model.is_called(name))
    }

    /// Names near to a text, the nearest first; none if nothing is near.
    pub fn nearest(&self, text: &str) -> Vec<String> {
        nearest::nearest(text, self.names())
    }

    /// Every name and alias.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().flat_map(|model| std::iter::once(&model.name).chain(&model.aliases)).map(String::as_str)
    }
}

impl CatalogModel {
    fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    model: Vec<Spanned<RawModel>>,
    #[serde(default)]
    mirror: Vec<Spanned<RawMirror>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMirror {
    sha256: Sha256,
    source: Vec<Spanned<toml::Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    family: String,
    #[serde(default)]
    description: String,
    parameters: u64,
    context: usize,
    licence: String,
    #[serde(default)]
    licence_url: String,
    #[serde(default)]
    gated: bool,
    page: Option<String>,
    quantization: String,
    bytes: Option<u64>,
    sha256: Option<Sha256>,
    shape: Option<Shape>,
    #[serde(default)]
    default: bool,
    unsupported: Option<String>,
    #[serde(default)]
    cited: Vec<String>,
    #[serde(default)]
    source: Vec<Spanned<toml::Table>>,
}

fn read_model(place: &Place<'_>, spanned: Spanned<RawModel>) -> Result<CatalogModel, HubError> {
    let span = spanned.span();
    let raw = spanned.into_inner();
    if raw.source.is_empty() && raw.unsupported.is_none() {
        return Err(place.wrong(&span, format!("{}: expected a source, got none", raw.name)));
    }
    Ok(CatalogModel {
        sources: read_sources(place, raw.source)?,
        name: raw.name,
        aliases: raw.aliases,
        family: raw.family,
        description: raw.description,
        parameters: raw.parameters,
        context: raw.context,
        licence: raw.licence,
        licence_url: raw.licence_url,
        gated: raw.gated,
        page: raw.page,
        quantization: raw.quantization,
        bytes: raw.bytes,
        sha256: raw.sha256,
        shape: raw.shape,
        default: raw.default,
        unsupported: raw.unsupported,
        cited: raw.cited,
    })
}

fn read_sources(place: &Place<'_>, raw: Vec<Spanned<toml::Table>>) -> Result<Vec<Arc<dyn Source>>, HubError> {
    raw.into_iter()
        .map(|spanned| {
            let span = spanned.span();
            sources::parse(spanned.into_inner()).map_err(|reason| place.wrong(&span, reason))
        })
        .collect()
}

/// A file being read, for errors that name the line.
struct Place<'a> {
    file: &'a str,
    text: &'a str,
}

impl Place<'_> {
    fn wrong(&self, span: &Range<usize>, reason: String) -> HubError {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        HubError::Catalog { file: self.file.to_string(), line: Some(line), reason }
    }

    fn toml(&self, error: &toml::de::Error, start: usize) -> HubError {
        let span = error.span().unwrap_or(start..start);
        self.wrong(&span, error.message().trim_end().replace('\n', "; "))
    }
}

fn user_files(folder: &Path) -> Result<Vec<PathBuf>, HubError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(HubError::io("list", folder)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(HubError::io("list", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_user_file(text: &str) -> Result<Catalog, HubError> {
        let home = tempfile::tempdir().unwrap();
        let home = Home::at(home.path());
        std::fs::create_dir_all(home.catalogs()).unwrap();
        std::fs::write(home.catalogs().join("mine.toml"), text).unwrap();
        std::fs::write(home.catalogs().join("notes.txt"), "not a catalog").unwrap();
        Catalog::load(&home)
    }

    const MINE: &str = r#"
[[model]]
name = "mine:1b"
aliases = ["mine"]
family = "llama"
parameters = 1000000000
context = 4096
licence = "mit"
quantization = "q8_0"
[[model.source]]
kind = "url"
url = "https://models.example.org/mine.gguf"
"#;

    fn reason(text: &str) -> String {
        with_user_file(text).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_catalog_is_sound_and_cites_its_documents() {
        let catalog = Catalog::load(&Home::at("no-such-folder")).unwrap();
        assert_eq!(catalog.default_model().name, "smollm2:135m");
        for model in catalog.entries() {
            assert!(!model.cited.is_empty(), "{} cites nothing", model.name);
            assert!(!model.licence.is_empty() && !model.description.is_empty(), "{}", model.name);
            assert!(model.context > 0 && model.parameters > 1_000_000, "{}", model.name);
            // Shapes are for what keys and values will take; an encoder keeps none.
            let is_encoder = ["bert", "nomic-bert"].contains(&model.family.as_str());
            assert!(model.unsupported.is_some() || is_encoder || model.shape.is_some(), "{} has no shape", model.name);
        }
    }

    #[test]
    fn a_user_file_adds_models_and_mirrors() {
        let pinned = Catalog::load(&Home::at("no-such-folder")).unwrap().default_model().sha256.unwrap();
        let mirror = format!(
            "{MINE}\n[[mirror]]\nsha256 = \"{pinned}\"\n[[mirror.source]]\nkind = \"path\"\npath = \"/m/smollm2.gguf\"\n"
        );
        let catalog = with_user_file(&mirror).unwrap();
        assert_eq!(catalog.find("MINE").unwrap().name, "mine:1b");
        let sources = catalog.default_model().source_descriptions();
        assert_eq!(sources[0], "path /m/smollm2.gguf", "the user's own mirror is tried first");
        assert!(sources.len() > 1);
    }

    #[test]
    fn a_wrong_file_is_named_with_its_line() {
        let unknown = reason(&MINE.replace("context", "kontext"));
        assert!(unknown.contains("mine.toml:7: unknown field `kontext`"), "{unknown}");
        let source = reason(&MINE.replace("url =", "uri ="));
        assert!(source.contains("mine.toml:10: unknown field `uri`"), "{source}");
        let kind = reason(&MINE.replace("\"url\"", "\"carrier-pigeon\""));
        assert!(kind.contains("mine.toml:10: expected kind huggingface"), "{kind}");
        assert!(kind.contains("got \"carrier-pigeon\""), "{kind}");
        let taken = reason(&MINE.replace("mine:1b", "smollm2:135m"));
        assert!(taken.contains("\"smollm2:135m\" is already the name of a model"), "{taken}");
        let second = reason(&MINE.replace("family", "default = true\nfamily"));
        assert!(second.contains("the one default stands in the built-in catalog"), "{second}");
        let digest = reason(&MINE.replace("family", "sha256 = \"abc\"\nfamily"));
        assert!(digest.contains("mine.toml:5: expected a SHA-256 of 64 hexadecimal digits, got \"abc\""), "{digest}");
        let name = reason(&MINE.replace("mine:1b", "../../etc/passwd"));
        assert!(name.contains("cannot be a model's name"), "{name}");
        let prefix = reason(&MINE.replace("mine:1b", "hf:1b"));
        assert!(prefix.contains("cannot be a model's name"), "{prefix}");
        let sha256 = "0".repeat(64);
        let mirror = format!("[[mirror]]\nsha256 = \"{sha256}\"\n[[mirror.source]]\nkind = \"path\"\npath = \"/m\"\n");
        assert!(reason(&mirror).contains(&format!("mine.toml:1: no model is pinned to sha256 {sha256}")));
        assert!(reason("[[model").contains("mine.toml:1: "));
    }

    proptest::proptest! {
        #[test]
        fn hostile_text_is_an_error_not_a_panic(text in "[\\[\\]a-z0-9=\"{}.\n ]{0,200}") {
            let files = [(BUILT_IN_NAME.to_string(), BUILT_IN.to_string()), ("x".to_string(), text)];
            let _ = Catalog::from_files(&files);
        }
    }
}
