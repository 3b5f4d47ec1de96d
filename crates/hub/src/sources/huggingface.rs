//! Files of a repository on a Hugging Face hub.
//!
//! The tree API lists a repository's files with the SHA-256 of those in large-file storage; `resolve` serves each. A
//! token is sent to the hub alone. Nothing here knows of GGUF's inside: files are chosen by their names.
//! Source: the hub's API documentation (huggingface.co/docs/hub/api) and its OpenAPI description.

use super::{Context, Fetch, Offer, OfferedFile, Prefix, Source, address, keys};
use crate::HubError;
use crate::digest::Sha256;
use crate::http::{Bearer, Request};
use crate::manifest::FileRole;
use crate::model_ref::{ModelRef, valid_segment};
use formats::ShardName;
use reqwest::Url;
use reqwest::header::{self, HeaderMap};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const PUBLIC: &str = "https://huggingface.co";
const MAIN: &str = "main";
/// A page of the tree API lists up to 1,000 files.
const MOST_PAGES: usize = 20;
const LONGEST_PAGE: u64 = 16 << 20;

pub(super) const PREFIX: Prefix =
    Prefix { prefix: "hf", form: "hf:owner/repo[@revision][:file or quant]", parse: parse_ref };

fn parse_ref(rest: &str) -> Option<ModelRef> {
    let (place, wanted) = rest.split_once(':').map_or((rest, None), |(place, wanted)| (place, Some(wanted)));
    let (place, revision) = place.split_once('@').map_or((place, None), |(place, revision)| (place, Some(revision)));
    let (owner, repo) = place.split_once('/')?;
    let sound = valid_segment(owner) && valid_segment(repo) && revision.is_none_or(valid_segment);
    if !sound || !wanted.is_none_or(valid_path) {
        return None;
    }
    Some(ModelRef::HuggingFace {
        owner: owner.to_string(),
        repo: repo.to_string(),
        revision: revision.map(str::to_string),
        file_or_quant: wanted.map(str::to_string),
    })
}

/// What of a repository is wanted.
#[derive(Debug)]
enum Wanted {
    /// These files.
    Files(Vec<String>),
    /// A file of this name, or the GGUF of this quantisation.
    FileOrQuant(String),
    /// The one GGUF, or the safetensors folder.
    Anything,
}

/// A repository.
#[derive(Debug)]
pub(crate) struct HuggingFace {
    repo: String,
    revision: String,
    wanted: Wanted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    repo: String,
    revision: Option<String>,
    file: Option<String>,
    files: Option<Vec<String>>,
}

pub(super) fn parse(table: toml::Table) -> Result<Arc<dyn Source>, String> {
    let keys: Keys = keys(table)?;
    let (owner, repo) = keys.repo.split_once('/').unwrap_or_default();
    if !valid_segment(owner) || !valid_segment(repo) {
        return Err(format!("repo: expected owner/name, got {:?}", keys.repo));
    }
    let revision = keys.revision.unwrap_or_else(|| MAIN.to_string());
    if !valid_path(&revision) {
        return Err(format!("revision: expected a branch, tag or commit, got {revision:?}"));
    }
    let files = match (keys.file, keys.files) {
        (Some(file), None) => vec![file],
        (None, Some(files)) if !files.is_empty() => files,
        _ => return Err("expected either `file` or `files`".to_string()),
    };
    if let Some(wrong) = files.iter().find(|file| !valid_path(file)) {
        return Err(format!("file: expected the path of a file in the repository, got {wrong:?}"));
    }
    Ok(Arc::new(HuggingFace { repo: keys.repo, revision, wanted: Wanted::Files(files) }))
}

impl HuggingFace {
    /// The source of a reference that no catalog has.
    pub(crate) fn uncatalogued(owner: &str, repo: &str, revision: Option<&str>, wanted: Option<&str>) -> HuggingFace {
        HuggingFace {
            repo: format!("{owner}/{repo}"),
            revision: revision.unwrap_or(MAIN).to_string(),
            wanted: wanted.map_or(Wanted::Anything, |wanted| Wanted::FileOrQuant(wanted.to_string())),
        }
    }

    fn request(&self, context: &Context<'_>, path: &str) -> Result<Request, HubError> {
        let base = &context.servers.huggingface;
        let mut request = Request::new(&address(base, path))?;
        if let Some(token) = &context.servers.huggingface_token {
            let server = Request::new(base)?.url;
            request.bearer = Some(Bearer { token: token.clone(), server });
        }
        Ok(request)
    }

    /// All files of the repository at one commit, and that commit where the hub tells it.
    fn tree(&self, context: &Context<'_>) -> Result<(Vec<TreeFile>, Option<String>), HubError> {
        let path = format!("api/models/{}/tree/{}?recursive=true", self.repo, encode_revision(&self.revision));
        let mut request = self.request(context, &path)?;
        let mut files = Vec::new();
        let mut commit = None;
        for _ in 0..MOST_PAGES {
            let (text, headers) = context.http.text(&request, LONGEST_PAGE)?;
            let entries: Vec<Entry> = serde_json::from_str(&text).map_err(|error| HubError::Refused {
                what: request.shown(),
                reason: format!("expected a list of files, got {error}"),
                hint: "HF_ENDPOINT should be the base address of a hub".to_string(),
            })?;
            files.extend(entries.into_iter().filter_map(Entry::into_file));
            let told = headers.get("x-repo-commit").and_then(|commit| commit.to_str().ok());
            commit = commit.or_else(|| told.filter(|told| is_commit(told)).map(str::to_string));
            match next_page(&headers, &request.url) {
                Some(next) => request.url = next,
                None => return Ok((files, commit)),
            }
        }
        // What is not listed might be the file that is wanted, or the second one that answers to its name.
        Err(HubError::Refused {
            what: format!("hf:{}", self.repo),
            reason: format!(
                "expected a list of files of at most {MOST_PAGES} pages, got {} files and more",
                files.len()
            ),
            hint: "give the address of the file itself: a source of kind url in catalog.d".to_string(),
        })
    }
}

impl Source for HuggingFace {
    fn describe(&self) -> String {
        let what = match &self.wanted {
            Wanted::Files(files) => format!(" {}", files.join(", ")),
            Wanted::FileOrQuant(wanted) => format!(" {wanted}"),
            Wanted::Anything => String::new(),
        };
        format!("huggingface {}{what}", self.repo)
    }

    fn offer(&self, context: &Context<'_>) -> Result<Offer, HubError> {
        let page = address(&context.servers.huggingface, &self.repo);
        let (tree, commit) = self.tree(context).map_err(|error| gated(error, &self.repo, &page))?;
        // Names at one commit stay what they are, whatever is pushed meanwhile.
        let revision = commit.unwrap_or_else(|| self.revision.clone());
        let mut files = Vec::new();
        for file in choose(&self.repo, &tree, &self.wanted)? {
            let path = format!("{}/resolve/{}/{}", self.repo, encode_revision(&revision), file.path);
            files.push(OfferedFile {
                role: FileRole::of_name(&file.path),
                file_name: stored_name(&file.path),
                bytes: Some(file.size),
                sha256: file.sha256,
                fetch: Fetch::Address(self.request(context, &path)?),
            });
        }
        let origin = format!("huggingface {}@{revision}", self.repo);
        Ok(Offer { files, origin, license: None, page: Some(page), settings: None })
    }
}

/// A refusal, turned into the page to visit.
pub(crate) fn gated(error: HubError, what: &str, page: &str) -> HubError {
    match error {
        HubError::Denied { status, .. } => HubError::Gated { what: what.to_string(), status, page: page.to_string() },
        other => other,
    }
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    oid: String,
    size: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TreeFile {
    path: String,
    size: u64,
    sha256: Option<Sha256>,
}

impl Entry {
    /// A file whose path can be one; anything else in a listing is not asked for.
    fn into_file(self) -> Option<TreeFile> {
        if self.kind != "file" || !valid_path(&self.path) {
            return None;
        }
        let sha256 = self.lfs.as_ref().and_then(|large| large.oid.trim_start_matches("sha256:").parse().ok());
        let size = self.lfs.and_then(|large| large.size).unwrap_or(self.size);
        Some(TreeFile { path: self.path, size, sha256 })
    }
}

/// Chooses the files that make the wanted model.
fn choose(repo: &str, tree: &[TreeFile], wanted: &Wanted) -> Result<Vec<TreeFile>, HubError> {
    match wanted {
        Wanted::Files(paths) => paths.iter().map(|path| find(repo, tree, path)).collect(),
        Wanted::FileOrQuant(wanted) => {
            if let Some(file) = tree.iter().find(|file| file.path == *wanted) {
                return shards_of(repo, tree, file);
            }
            one_of(
                repo,
                wanted,
                gguf_sets(tree).into_iter().filter(|(stem, _)| has_quant(stem, wanted)).collect(),
                tree,
            )
        }
        Wanted::Anything => {
            let sets = gguf_sets(tree);
            if sets.is_empty() { safetensors(repo, tree) } else { one_of(repo, "", sets, tree) }
        }
    }
}

fn find(repo: &str, tree: &[TreeFile], path: &str) -> Result<TreeFile, HubError> {
    let missing = || HubError::NotFound {
        what: format!("{repo}: {path}"),
        hint: format!("its files are {}", listed(tree.iter().map(|file| file.path.as_str()))),
    };
    tree.iter().find(|file| file.path == path).cloned().ok_or_else(missing)
}

/// The file, or all shards of the set that it belongs to.
fn shards_of(repo: &str, tree: &[TreeFile], file: &TreeFile) -> Result<Vec<TreeFile>, HubError> {
    if file.path.ends_with(".safetensors") {
        return safetensors(repo, tree);
    }
    let sets = gguf_sets(tree);
    let whole = sets.into_values().find(|set| set.iter().any(|shard| shard.path == file.path));
    Ok(whole.unwrap_or_else(|| vec![file.clone()]))
}

type GgufSets = BTreeMap<String, Vec<TreeFile>>;

/// GGUF files by what they are called without `.gguf` and shard numbers. Projectors of images are no models.
fn gguf_sets(tree: &[TreeFile]) -> GgufSets {
    let mut sets = GgufSets::new();
    for file in tree {
        let lower = file.path.to_ascii_lowercase();
        let Some(stem) = lower.strip_suffix(".gguf") else { continue };
        if !base_name(stem).contains("mmproj") && !base_name(stem).contains("imatrix") {
            let set = ShardName::parse(&lower).map_or_else(|| stem.to_string(), |shard| shard.stem);
            sets.entry(set).or_default().push(file.clone());
        }
    }
    for set in sets.values_mut() {
        set.sort_by(|a, b| a.path.cmp(&b.path));
    }
    sets
}

/// Whether a lower-case file name (or its folder) says that quantisation: the label stands between separators, and
/// does not go on (`q4_k` is not `q4_k_m`).
fn has_quant(stem: &str, quant: &str) -> bool {
    let quant = quant.to_ascii_lowercase();
    stem.match_indices(quant.as_str()).any(|(at, _)| {
        let before = stem[..at].chars().next_back();
        let after = stem[at + quant.len()..].chars().next();
        before.is_none_or(|c| "-._/".contains(c)) && after.is_none_or(|c| "-./".contains(c))
    })
}

fn one_of(repo: &str, wanted: &str, sets: GgufSets, tree: &[TreeFile]) -> Result<Vec<TreeFile>, HubError> {
    let what = if wanted.is_empty() { format!("hf:{repo}") } else { format!("hf:{repo}:{wanted}") };
    if sets.len() > 1 {
        let choices = sets.into_values().filter_map(|set| set.into_iter().next()).map(|file| file.path).collect();
        return Err(HubError::Ambiguous { what, choices });
    }
    let all = gguf_sets(tree);
    let names = all.values().filter_map(|set| set.first()).map(|file| file.path.as_str());
    let hint = if all.is_empty() {
        "the repository has no GGUF file; leave the part after the colon away to take its safetensors".to_string()
    } else {
        format!("its GGUF files are {}", listed(names))
    };
    sets.into_values().next().ok_or(HubError::NotFound { what, hint })
}

/// Files beside the weights that a safetensors folder is read with.
const COMPANIONS: [&str; 10] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];

fn safetensors(repo: &str, tree: &[TreeFile]) -> Result<Vec<TreeFile>, HubError> {
    let at_root = |file: &&TreeFile| !file.path.contains('/');
    // Weights under other names (`consolidated`, of some publishers) are the same ones a second time.
    let weights = |file: &&TreeFile| file.path.starts_with("model") && file.path.ends_with(".safetensors");
    let mut files: Vec<TreeFile> = tree.iter().filter(at_root).filter(weights).cloned().collect();
    let config = tree.iter().any(|file| file.path == "config.json");
    if files.is_empty() || !config {
        return Err(HubError::NotFound {
            what: format!("hf:{repo}: a GGUF file, or config.json with model*.safetensors"),
            hint: format!("its files are {}", listed(tree.iter().map(|file| file.path.as_str()))),
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.extend(tree.iter().filter(|file| COMPANIONS.contains(&file.path.as_str())).cloned());
    Ok(files)
}

/// The name in the store, which has no folders. What is in a folder of its own keeps the folder's name.
fn stored_name(path: &str) -> String {
    if COMPANIONS.contains(&path) { path.replace('/', ".") } else { base_name(path).to_string() }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn valid_path(path: &str) -> bool {
    path.split('/').all(valid_segment)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 30;
    let names: Vec<&str> = names.collect();
    match names.len() {
        0 => "none".to_string(),
        count if count > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
        _ => names.join(", "),
    }
}

fn encode_revision(revision: &str) -> String {
    revision.replace('/', "%2F")
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The address in a `Link: <…>; rel="next"` header (RFC 8288), if it stays on the server.
fn next_page(headers: &HeaderMap, from: &Url) -> Option<Url> {
    let links = headers.get(header::LINK)?.to_str().ok()?;
    let link = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let address = link.trim().strip_prefix('<')?.split('>').next()?;
    from.join(address).ok().filter(|next| next.origin() == from.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Vec<TreeFile> {
        paths.iter().map(|path| TreeFile { path: path.to_string(), size: 1, sha256: None }).collect()
    }

    fn chosen(paths: &[&str], wanted: Wanted) -> Result<Vec<String>, String> {
        let chosen = choose("o/r", &tree(paths), &wanted).map_err(|error| error.to_string())?;
        Ok(chosen.into_iter().map(|file| file.path).collect())
    }

    fn quant(text: &str) -> Wanted {
        Wanted::FileOrQuant(text.to_string())
    }

    const FILES: [&str; 8] = [
        "README.md",
        "m-Q4_K_M.gguf",
        "m-Q4_K_S.gguf",
        "m.IQ4_XS.gguf",
        "m-q8_0-00002-of-00002.gguf",
        "m-q8_0-00001-of-00002.gguf",
        "mmproj-F16.gguf",
        "BF16/m-BF16.gguf",
    ];

    #[test]
    fn a_quantisation_picks_its_file_in_either_case_with_all_shards() {
        assert_eq!(chosen(&FILES, quant("q4_k_m")).unwrap(), ["m-Q4_K_M.gguf"]);
        assert_eq!(chosen(&FILES, quant("iq4_xs")).unwrap(), ["m.IQ4_XS.gguf"]);
        assert_eq!(chosen(&FILES, quant("bf16")).unwrap(), ["BF16/m-BF16.gguf"]);
        let shards = ["m-q8_0-00001-of-00002.gguf", "m-q8_0-00002-of-00002.gguf"];
        assert_eq!(chosen(&FILES, quant("Q8_0")).unwrap(), shards);
        assert_eq!(chosen(&FILES, quant("m-q8_0-00002-of-00002.gguf")).unwrap(), shards);
    }

    #[test]
    fn what_is_missing_or_ambiguous_lists_the_choices() {
        let none = chosen(&FILES, quant("q4_k")).unwrap_err();
        assert!(none.contains("hf:o/r:q4_k: not found\nhint: its GGUF files are "), "{none}");
        assert!(none.contains("m-Q4_K_M.gguf") && !none.contains("mmproj"), "{none}");
        let many = chosen(&["a-Q8_0.gguf", "b-Q8_0.gguf"], quant("q8_0")).unwrap_err();
        assert!(many.contains("hf:o/r:q8_0 could be any of: a-Q8_0.gguf, b-Q8_0.gguf"), "{many}");
        let any = chosen(&FILES, Wanted::Anything).unwrap_err();
        assert!(any.contains("hf:o/r could be any of: "), "{any}");
        let gone = chosen(&FILES, Wanted::Files(vec!["x.gguf".into()])).unwrap_err();
        assert!(gone.contains("o/r: x.gguf: not found\nhint: its files are README.md"), "{gone}");
        assert_eq!(chosen(&["only-Q8_0.gguf"], Wanted::Anything).unwrap(), ["only-Q8_0.gguf"]);
    }

    #[test]
    fn without_gguf_the_safetensors_folder_is_taken() {
        let files = ["config.json", "model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"];
        let more = ["model.safetensors.index.json", "tokenizer.json", "consolidated.safetensors", "onnx/model.onnx"];
        let taken = chosen(&[files.as_slice(), more.as_slice()].concat(), Wanted::Anything).unwrap();
        let weights = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        assert_eq!(taken[..2], weights);
        assert_eq!(taken[2..], ["config.json", "model.safetensors.index.json", "tokenizer.json"]);
        let nothing = chosen(&["pytorch_model.bin"], Wanted::Anything).unwrap_err();
        assert!(nothing.contains("a GGUF file, or config.json with model*.safetensors: not found"), "{nothing}");
        let quantised = chosen(&files, quant("q8_0")).unwrap_err();
        assert!(quantised.contains("the repository has no GGUF file"), "{quantised}");
    }

    #[test]
    fn listings_are_hostile() {
        let text = r#"[{"type":"file","path":"../../x.gguf","size":1},{"type":"file","path":"/etc/x.gguf"},
            {"type":"directory","path":"d"},{"type":"file","path":"a.gguf","size":1,"lfs":{"oid":"zz","size":7}}]"#;
        let entries: Vec<Entry> = serde_json::from_str(text).unwrap();
        let files: Vec<TreeFile> = entries.into_iter().filter_map(Entry::into_file).collect();
        assert_eq!(files, [TreeFile { path: "a.gguf".into(), size: 7, sha256: None }]);
    }

    #[test]
    fn keys_are_checked() {
        let error = |text: &str| parse(text.parse().unwrap()).unwrap_err();
        assert_eq!(error("repo = 'a'\nfile = 'x'"), "repo: expected owner/name, got \"a\"");
        assert_eq!(error("repo = 'a/b'"), "expected either `file` or `files`");
        let path = error("repo = 'a/b'\nfile = '../x'");
        assert_eq!(path, "file: expected the path of a file in the repository, got \"../x\"");
    }
}
