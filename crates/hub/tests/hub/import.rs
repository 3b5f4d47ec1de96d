//! Models that are on this machine already: files, folders, and other programs' stores.

use crate::{Place, Told, content, gguf};
use hub::{DigestOrigin, OtherStore, Removed, Sha256};
use std::path::Path;

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_is_copied_or_linked() {
    let place = Place::new();
    let hub = place.hub();
    let (file, bytes) = (place.path().join("x.gguf"), gguf(900, 1));
    write(&file, &bytes);
    let copied = hub.import(&file, "copied", false, &Told::default()).unwrap();
    assert_eq!((copied.family.as_str(), copied.files[0].digest_origin), ("llama", DigestOrigin::Computed));
    assert_eq!(
        hub.store().remove("copied").unwrap(),
        Removed { bytes_freed: 900, blobs_freed: 1, ..Removed::default() }
    );
    hub.import(&file, "linked", true, &Told::default()).unwrap();
    assert_eq!(content(&hub, "linked"), bytes);
    assert_eq!(hub.store().remove("linked").unwrap(), Removed { blobs_freed: 1, ..Removed::default() });
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

#[test]
fn what_cannot_be_imported_says_why() {
    let place = Place::new();
    let hub = place.hub();
    let (good, bad) = (place.path().join("x.gguf"), place.path().join("bad.gguf"));
    write(&good, &gguf(900, 2));
    write(&bad, b"no model at all");
    let error = |path: &Path, name: &str| hub.import(path, name, false, &Told::default()).unwrap_err().to_string();
    assert!(error(&bad, "bad").contains("bad.gguf: expected "), "{}", error(&bad, "bad"));
    assert!(error(&good, "../x").starts_with("\"../x\": expected a name of at most"));
    // The catalog's names, its aliases and other spellings of them, and the names of repositories.
    for name in ["smollm2:135m", "SmolLM2:135M", "smollm2"] {
        let text = error(&good, name);
        assert!(text.contains("the catalog calls other bytes that (smollm2:135m") && text.contains("hint:"), "{text}");
    }
    assert!(error(&good, "hf:o/r").contains("it stands for what a hub or registry has under it"));
    assert_eq!((place.files("blobs"), place.files("partial")), (Vec::new(), Vec::new()), "nothing was kept");
    hub.import(&good, "mine", false, &Told::default()).unwrap();
    assert!(error(&good, "mine").starts_with("\"mine\" is already in the store"));
}

#[test]
fn ollamas_models_are_found_and_linked() {
    let place = Place::new();
    let (root, bytes) = (place.path().join("ollama"), gguf(900, 3));
    let sha256 = Sha256::of(&bytes);
    let model =
        format!(r#"{{"layers":[{{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{sha256}"}}]}}"#);
    write(&root.join("manifests/registry.example/library/tiny/1b"), model.as_bytes());
    write(&root.join("manifests/registry.example/me/own/latest"), model.as_bytes());
    write(&root.join("manifests/registry.example/library/broken/1b"), b"{");
    write(&root.join("blobs").join(format!("sha256-{sha256}")), &bytes);
    let found = OtherStore::named("ollama").unwrap().models(Some(&root)).unwrap();
    let names: Vec<&str> = found.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["ollama:me/own:latest", "ollama:tiny:1b"]);
    let hub = place.hub();
    let manifest = hub.import_found(&found[1], &found[1].name, &Told::default()).unwrap();
    assert_eq!(manifest.files[0].digest_origin, DigestOrigin::Source);
    assert_eq!(content(&hub, "ollama:tiny:1b"), bytes);
    // A blob that is not what its name says is refused.
    write(&root.join("blobs").join(format!("sha256-{sha256}")), &gguf(900, 4));
    let other = place.path().join("second");
    let second = hub::Hub::open(hub::Home::at(other), crate::options()).unwrap();
    let error = second.import_found(&found[0], "own", &Told::default()).unwrap_err().to_string();
    assert!(error.contains(&format!("expected sha256 {sha256}, got sha256 ")), "{error}");
}

#[test]
fn the_hub_clients_cache_is_found() {
    let place = Place::new();
    let root = place.path().join("cache");
    let repo = root.join("models--Qwen--Tiny");
    write(&repo.join("refs/main"), b"c2");
    write(&repo.join("snapshots/c1/old-Q8_0.gguf"), &gguf(900, 5));
    write(&repo.join("snapshots/c2/new-Q8_0.gguf"), &gguf(900, 6));
    write(&repo.join("snapshots/c2/mmproj-F16.gguf"), &gguf(900, 6));
    let folder = root.join("models--o--st/snapshots/c");
    for (name, bytes) in [("config.json", "{}"), ("model.safetensors", "w"), ("tokenizer.json", "{}"), ("a.md", "x")] {
        write(&folder.join(name), bytes.as_bytes());
    }
    write(&root.join("datasets--o--d/snapshots/c/x.gguf"), b"x");
    let found = OtherStore::named("hf-cache").unwrap().models(Some(&root)).unwrap();
    let names: Vec<&str> = found.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["hf:Qwen/Tiny:new-Q8_0.gguf", "hf:o/st"]);
    let files: Vec<&str> = found[1].files.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(files, ["model.safetensors", "config.json", "tokenizer.json"]);
    let hub = place.hub();
    hub.import_found(&found[1], &found[1].name, &Told::default()).unwrap();
    let located = hub.locate(&hub.resolve("hf:o/st").unwrap()).unwrap();
    assert_eq!(std::fs::read(located.join("model.safetensors")).unwrap(), b"w");
}

#[test]
fn lm_studios_folder_is_found_with_shards_together() {
    let place = Place::new();
    let root = place.path().join("lm");
    write(&root.join("pub/repo/m-Q4_0.gguf"), &gguf(900, 7));
    write(&root.join("pub/repo/big-00001-of-00002.gguf"), &gguf(900, 8));
    write(&root.join("pub/repo/big-00002-of-00002.gguf"), &gguf(900, 9));
    let found = OtherStore::named("lmstudio").unwrap().models(Some(&root)).unwrap();
    let shown: Vec<(&str, usize, u64)> =
        found.iter().map(|model| (model.name.as_str(), model.files.len(), model.bytes)).collect();
    assert_eq!(shown, [("pub/repo:big-00001-of-00002", 2, 1_800), ("pub/repo:m-Q4_0", 1, 900)]);
    let none = OtherStore::named("lmstudio").unwrap().models(Some(Path::new("no/such"))).unwrap_err().to_string();
    assert_eq!(none, "models of lmstudio: not found\nhint: looked in no/such");
    assert!(OtherStore::named("winamp").is_none());
}
