//! Models that are on this machine already: files, folders, and other programs' stores.

use crate::{Place, Told, content, gguf, url_source};
use hub::{DigestOrigin, HubError, OtherStore, Removed, Sha256};
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
fn bytes_of_the_catalog_are_known_under_any_name() {
    let place = Place::new();
    let (file, bytes) = (place.path().join("x.gguf"), gguf(900, 1));
    write(&file, &bytes);
    place.catalog(&format!("sha256 = \"{}\"", Sha256::of(&bytes)), &[url_source("http://127.0.0.1:1/m.gguf")]);
    let (hub, told) = (place.hub(), Told::default());
    let manifest = hub.import(&file, "another", false, &told).unwrap();
    assert_eq!((manifest.is_pinned(), manifest.license.as_deref()), (true, Some("mit")));
    assert!(told.text().contains("another: these are the bytes of mine:1b in the catalog"), "{}", told.text());
    let (other, bytes) = (place.path().join("y.gguf"), gguf(900, 2));
    write(&other, &bytes);
    let manifest = hub.import(&other, "unknown", false, &told).unwrap();
    assert_eq!((manifest.is_pinned(), manifest.license), (false, None));
}

#[test]
fn a_damaged_model_that_only_the_store_knows_is_told_by_a_pull() {
    let place = Place::new();
    let hub = place.hub();
    let (file, bytes) = (place.path().join("x.gguf"), gguf(900, 1));
    write(&file, &bytes);
    hub.import(&file, "mine", false, &Told::default()).unwrap();
    let reference = hub.resolve("mine").unwrap();
    assert!(hub.pull(&reference, &Told::default()).is_ok());
    let blob = hub.store().blob_path(&Sha256::of(&bytes));
    std::fs::remove_file(&blob).unwrap();
    write(&blob, &gguf(900, 2));
    let text = hub.pull(&reference, &Told::default()).unwrap_err().to_string();
    assert!(text.starts_with("mine: model.gguf is damaged in the store: its bytes are not those of sha256 "), "{text}");
    assert!(
        text.contains("\nhint: it came from file ") && text.contains("x.gguf: bantam rm mine, and import"),
        "{text}"
    );
}

#[test]
fn what_was_made_of_a_model_is_moved_in_and_says_of_which() {
    let place = Place::new();
    let hub = place.hub();
    let (base, made) = (place.path().join("base.gguf"), hub.store().home().root().join("made.gguf"));
    let (bytes, smaller) = (gguf(900, 1), gguf(500, 1));
    write(&base, &bytes);
    hub.import(&base, "base", false, &Told::default()).unwrap();
    let digest = Sha256::of(&bytes);
    let origins = [("base", "base".to_string()), (base.to_str().unwrap(), format!("file {}", base.display()))];
    for (index, (model, shown)) in origins.into_iter().enumerate() {
        write(&made, &smaller);
        let model = hub.resolve(model).unwrap();
        let name = format!("small:{index}");
        let manifest = hub.import_derived(&made, &name, &model, "quantized to q4_0", &Told::default()).unwrap();
        assert_eq!(manifest.source, format!("quantized to q4_0 from {shown} (sha256 {digest})"));
        assert_eq!(content(&hub, &name), smaller);
        assert!(!made.exists(), "moved, not copied");
    }
    let blob = hub.store().blob_path(&Sha256::of(&smaller));
    assert!(std::fs::metadata(blob).unwrap().permissions().readonly());
    assert_eq!(hub.store().remove("small:0").unwrap(), Removed::default(), "the other name has the same bytes");
    let freed = Removed { bytes_freed: 500, blobs_freed: 1, ..Removed::default() };
    assert_eq!(hub.store().remove("small:1").unwrap(), freed);
    write(&made, &smaller);
    let model = hub.resolve("base").unwrap();
    for name in ["hf:o/r", "smollm2:135m"] {
        let error = hub.import_derived(&made, name, &model, "quantized to q4_0", &Told::default()).unwrap_err();
        assert!(matches!(error, HubError::Reserved { .. }), "{name}: {error}");
    }
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

/// Puts a model into a store of Ollama's, made of layers of these kinds.
fn ollama_model(root: &Path, place: &str, layers: &[(&str, &[u8])]) {
    let mut described = Vec::new();
    for (kind, bytes) in layers {
        let (sha256, size) = (Sha256::of(bytes), bytes.len());
        write(&root.join("blobs").join(format!("sha256-{sha256}")), bytes);
        described.push(format!(
            r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"sha256:{sha256}","size":{size}}}"#
        ));
    }
    let manifest = format!(r#"{{"layers":[{}]}}"#, described.join(","));
    write(&root.join("manifests/registry.example").join(place), manifest.as_bytes());
}

#[test]
fn ollamas_models_are_found_and_linked() {
    let place = Place::new();
    let (root, bytes) = (place.path().join("ollama"), gguf(900, 3));
    let sha256 = Sha256::of(&bytes);
    ollama_model(&root, "library/tiny/1b", &[("model", &bytes)]);
    ollama_model(&root, "me/own/latest", &[("model", &bytes)]);
    let found = OtherStore::named("ollama").unwrap().models(Some(&root)).unwrap().models;
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
fn ollamas_settings_come_along_as_from_its_registry() {
    let place = Place::new();
    let (root, bytes) = (place.path().join("ollama"), gguf(900, 10));
    let layers: [(&str, &[u8]); 6] = [
        ("model", &bytes),
        ("template", b"{{ .Prompt }}"),
        ("system", b"Be brief."),
        ("params", br#"{"stop":["<|im_end|>"],"temperature":0.5}"#),
        ("license", b"\nApache License\n2.0"),
        ("messages", b"[]"),
    ];
    ollama_model(&root, "library/tiny/1b", &layers);
    let found = OtherStore::named("ollama").unwrap().models(Some(&root)).unwrap();
    assert_eq!(found.skipped, []);
    let (hub, told) = (place.hub(), Told::default());
    let manifest = hub.import_found(&found.models[0], "ollama:tiny:1b", &told).unwrap();
    assert_eq!(manifest.parameters().unwrap()["temperature"], 0.5);
    assert_eq!(manifest.license.as_deref(), Some("Apache License"));
    let settings = manifest.settings.unwrap();
    assert_eq!(settings.template.as_deref(), Some("{{ .Prompt }}"));
    assert_eq!(settings.system.as_deref(), Some("Be brief."));
    for expected in ["kept, but not applied: its template", "left out its layer \"messages\""] {
        assert!(told.text().contains(expected), "{expected}: {}", told.text());
    }
}

#[test]
fn what_of_ollamas_cannot_be_taken_over_is_named_with_the_reason() {
    let place = Place::new();
    let (root, bytes) = (place.path().join("ollama"), gguf(900, 11));
    ollama_model(&root, "library/adapted/1b", &[("model", &bytes), ("adapter", b"lora")]);
    ollama_model(&root, "library/remote/1b", &[("template", b"x")]);
    ollama_model(&root, "library/two/1b", &[("model", &bytes), ("model", b"more")]);
    ollama_model(&root, "library/params/1b", &[("model", &bytes), ("params", b"{")]);
    ollama_model(&root, "library/bad name/1b", &[("model", &bytes)]);
    write(&root.join("manifests/registry.example/library/broken/1b"), b"{");
    ollama_model(&root, "library/gone/1b", &[("model", b"gone")]);
    std::fs::remove_file(root.join("blobs").join(format!("sha256-{}", Sha256::of(b"gone")))).unwrap();
    let found = OtherStore::named("ollama").unwrap().models(Some(&root)).unwrap();
    assert_eq!(found.models, []);
    let expected = [
        ("ollama:adapted:1b", "it has an adapter, which cannot be applied yet"),
        ("ollama:bad name:1b", "expected a name of at most"),
        ("ollama:broken:1b", "expected a manifest with layers, got "),
        ("ollama:gone:1b", "sha256-"),
        ("ollama:params:1b", "expected parameters in JSON, got "),
        ("ollama:remote:1b", "expected a layer of weights, got none"),
        ("ollama:two:1b", "expected one layer of weights, got several"),
    ];
    assert_eq!(found.skipped.len(), expected.len(), "{:?}", found.skipped);
    for (skipped, (name, reason)) in found.skipped.iter().zip(expected) {
        assert!(skipped.name == name && skipped.reason.contains(reason), "{skipped:?}");
    }
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
    let found = OtherStore::named("hf-cache").unwrap().models(Some(&root)).unwrap().models;
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
    let found = OtherStore::named("lmstudio").unwrap().models(Some(&root)).unwrap().models;
    let shown: Vec<(&str, usize, u64)> =
        found.iter().map(|model| (model.name.as_str(), model.files.len(), model.bytes)).collect();
    assert_eq!(shown, [("pub/repo:big-00001-of-00002", 2, 1_800), ("pub/repo:m-Q4_0", 1, 900)]);
    let none = OtherStore::named("lmstudio").unwrap().models(Some(Path::new("no/such"))).unwrap_err().to_string();
    assert_eq!(none, "models of lmstudio: not found\nhint: looked in no/such");
    assert!(OtherStore::named("winamp").is_none());
}
