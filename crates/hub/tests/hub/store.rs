//! What the store does with damage, left-overs and names that are not free.

use crate::server::{Server, file};
use crate::{Place, Told, content, gguf, options, pinned, pull, url_source};
use hub::{Home, Hub, HubOptions, ModelRef, Removed, Sha256};
use std::path::PathBuf;

/// Where a blob lies.
fn blob(home: &Home, bytes: &[u8]) -> PathBuf {
    home.root().join(format!("blobs/sha256-{}", Sha256::of(bytes)))
}

/// Puts other bytes in a blob's place, as a failing disk or a careless program would.
fn damage(home: &Home, bytes: &[u8], instead: &[u8]) {
    let path = blob(home, bytes);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, instead).unwrap();
}

#[test]
fn a_damaged_blob_is_fetched_again_and_never_blessed() {
    let bytes = gguf(9_000, 1);
    let mut flipped = bytes.clone();
    flipped[5_000] ^= 1;
    let server = Server::start();
    server.on("/m.gguf", [file(&bytes)]);
    let place = Place::new();
    place.catalog(&pinned(&bytes), &[url_source(&server.url("/m.gguf"))]);
    let hub = place.hub();
    let good = pull(&hub, "mine:1b", &Told::default()).unwrap();
    // Cut short, flipped, empty; with the manifest that would find it out, and without.
    for instead in [&bytes[..4_000], &flipped, &[]] {
        for manifest_lost in [false, true] {
            damage(&place.home(), &bytes, instead);
            if manifest_lost {
                std::fs::remove_file(place.home().root().join("manifests/mine%3a1b.json")).unwrap();
            }
            let told = Told::default();
            assert_eq!(pull(&hub, "mine:1b", &told).unwrap(), good);
            assert_eq!(content(&hub, "mine:1b"), bytes, "{} bytes instead", instead.len());
            assert!(told.text().contains("is damaged") || told.text().contains("thrown away"), "{}", told.text());
        }
    }
}

#[test]
fn a_prepared_file_goes_with_the_last_name_of_its_model() {
    let place = Place::new();
    let (file, bytes) = (place.path().join("x.gguf"), gguf(900, 1));
    std::fs::write(&file, &bytes).unwrap();
    let hub = place.hub();
    let manifest = hub.import(&file, "one", false, &Told::default()).unwrap();
    let digest = manifest.digest().unwrap();
    assert_eq!(hub.store().prepared_bytes(&manifest), None);
    hub.write_prepared(&digest, 5, &mut |out| out.write_all(b"ready")).unwrap();
    assert_eq!(std::fs::read(hub.store().prepared_path(&digest)).unwrap(), b"ready");
    // One that breaks off leaves what was there.
    let broken = hub.write_prepared(&digest, 5, &mut |out| {
        out.write_all(b"half")?;
        Err(std::io::Error::other("the power went"))
    });
    assert!(broken.unwrap_err().to_string().contains("the power went"));
    assert_eq!((place.files("prepared").len(), hub.store().prepared_bytes(&manifest)), (1, Some(5)));
    hub.copy("one", "two").unwrap();
    hub.store().remove("one").unwrap();
    assert_eq!(hub.store().prepared_bytes(&manifest), Some(5), "another name needs it");
    assert_eq!(hub.store().remove("two").unwrap().bytes_freed, 905);
    assert_eq!(place.files("prepared"), Vec::<String>::new());
    // What is left of a model that is no more, and of a write that was killed, is swept.
    hub.write_prepared(&digest, 5, &mut |out| out.write_all(b"ready")).unwrap();
    std::fs::write(place.home().root().join("prepared/.writing-x"), "half").unwrap();
    hub.import(&file, "three", false, &Told::default()).unwrap();
    assert_eq!(hub.store().discard_prepared(&digest).unwrap(), 5);
    assert_eq!(hub.store().remove("three").unwrap().left_over_bytes_freed, 4);
    let full = HubOptions { free_space: std::sync::Arc::new(|_| Ok(4)), ..options() };
    let error = place.hub_with(full).write_prepared(&digest, 5, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("disk full: needs 5 bytes, free 4\nhint: "), "{error}");
}

#[test]
fn an_import_puts_sound_bytes_in_the_place_of_damaged_ones() {
    let bytes = gguf(900, 2);
    for link in [false, true] {
        let place = Place::new();
        let hub = place.hub();
        let path = place.path().join("m.gguf");
        std::fs::write(&path, &bytes).unwrap();
        hub.import(&path, "one", false, &Told::default()).unwrap();
        damage(&place.home(), &bytes, &gguf(900, 3));
        hub.import(&path, "two", link, &Told::default()).unwrap();
        assert_eq!(content(&hub, "two"), bytes, "linked: {link}");
        assert_eq!(place.files("partial"), Vec::<String>::new());
    }
}

#[test]
fn a_linked_file_that_was_overwritten_in_place_is_not_taken_for_a_pull() {
    let bytes = gguf(900, 4);
    let server = Server::start();
    server.on("/m.gguf", [file(&bytes)]);
    let place = Place::new();
    place.catalog(&pinned(&bytes), &[url_source(&server.url("/m.gguf"))]);
    let hub = place.hub();
    let theirs = place.path().join("theirs.gguf");
    std::fs::write(&theirs, &bytes).unwrap();
    hub.import(&theirs, "linked", true, &Told::default()).unwrap();
    let other = gguf(900, 5);
    std::fs::write(&theirs, &other).unwrap();
    pull(&hub, "mine:1b", &Told::default()).unwrap();
    assert_eq!(content(&hub, "mine:1b"), bytes);
    assert_eq!(std::fs::read(&theirs).unwrap(), other, "the other program's file is left alone");
}

/// A hub with a model `one` made of these bytes.
fn hub_with(place: &Place, bytes: &[u8]) -> Hub {
    let hub = place.hub();
    let path = place.path().join("one.gguf");
    std::fs::write(&path, bytes).unwrap();
    hub.import(&path, "one", false, &Told::default()).unwrap();
    hub
}

#[test]
fn a_copy_shares_its_blobs_and_takes_no_name_that_is_taken() {
    let place = Place::new();
    let bytes = gguf(900, 6);
    let hub = hub_with(&place, &bytes);
    let one = hub.store().expect("one").unwrap();
    assert_eq!(hub.copy("one", "two").unwrap().files, one.files);
    assert_eq!(hub.store().remove("one").unwrap(), Removed::default());
    assert_eq!(content(&hub, "two"), bytes);
    let error = hub.copy("two", "two").unwrap_err().to_string();
    assert!(error.starts_with("\"two\" is already in the store"), "{error}");
    let error = hub.copy("twp", "three").unwrap_err().to_string();
    assert!(error.starts_with("\"twp\" is not in the store"), "{error}");
}

#[test]
fn no_copy_takes_the_catalogs_name_for_other_bytes() {
    let place = Place::new();
    let (bytes, other) = (gguf(900, 7), gguf(900, 8));
    let aliases = "aliases = [\"mine\"]\n".to_string();
    place.catalog(&(aliases + &pinned(&bytes)), &[url_source("http://127.0.0.1:9/m.gguf")]);
    let hub = hub_with(&place, &other);
    for name in ["mine:1b", "MINE:1b", "mine", "Mine", "smollm2:135m", "hf:o/r", "ollama:x:y"] {
        for error in [hub.copy("one", name).unwrap_err(), hub.check_new_name(name).unwrap_err()] {
            assert!(error.to_string().contains("cannot be the name of this model: "), "{name}: {error}");
        }
    }
    assert!(hub.check_new_name("one").is_err() && hub.check_new_name("two").is_ok());
    // The very bytes that the catalog means may have its name, and are pinned then.
    let path = place.path().join("right.gguf");
    std::fs::write(&path, &bytes).unwrap();
    hub.import(&path, "right", false, &Told::default()).unwrap();
    assert!(hub.copy("right", "mine:1b").unwrap().is_pinned());
    assert!(hub.copy("right", "mine").is_err(), "an alias would never be looked for");
}

#[test]
fn other_bytes_under_the_catalogs_name_are_not_taken_for_it() {
    let place = Place::new();
    let (bytes, other) = (gguf(900, 9), gguf(900, 10));
    let server = Server::start();
    server.on("/m.gguf", [file(&bytes)]);
    let hub = hub_with(&place, &other);
    // As an older version left it, before names were checked.
    let manifests = place.home().root().join("manifests");
    let text = std::fs::read_to_string(manifests.join("one.json")).unwrap().replace("\"one\"", "\"mine:1b\"");
    std::fs::write(manifests.join("mine%3a1b.json"), text).unwrap();
    drop(hub);
    place.catalog(&pinned(&bytes), &[url_source(&server.url("/m.gguf"))]);
    let hub = place.hub();
    let reference = ModelRef::Catalog("mine:1b".into());
    let told = Told::default();
    assert_eq!(hub.present(&reference).unwrap(), None);
    assert_eq!(hub.manifest(&reference).unwrap(), None);
    let error = hub.locate(&reference).unwrap_err().to_string();
    assert!(error.starts_with("\"mine:1b\" is not in the store"), "{error}");
    pull(&hub, "mine:1b", &told).unwrap();
    assert_eq!(told.text().matches("mine:1b: the store has another version; fetching the catalog's").count(), 1);
    assert_eq!(content(&hub, "mine:1b"), bytes);
}

#[test]
fn a_manifest_that_cannot_be_read_hides_nothing_and_can_be_removed() {
    let place = Place::new();
    let bytes = gguf(900, 11);
    let hub = hub_with(&place, &bytes);
    hub.copy("one", "two").unwrap();
    hub.copy("one", "Bad:1b").unwrap();
    let manifests = place.home().root().join("manifests");
    std::fs::write(manifests.join("%42ad%3a1b.json"), "{").unwrap();
    let listing = hub.store().list().unwrap();
    assert_eq!(listing.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(listing.unreadable.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["Bad:1b"]);
    assert!(listing.unreadable[0].reason.contains("%42ad%3a1b.json: "), "{}", listing.unreadable[0].reason);
    // Others can be removed; but nobody knows what the bad one uses.
    hub.store().remove("two").unwrap();
    let removed = hub.store().remove("one").unwrap();
    assert_eq!(removed, Removed { kept_for: vec!["Bad:1b".to_string()], ..Removed::default() });
    assert_eq!(place.files("blobs").len(), 1);
    // It is no hindrance to an import of that name, nor is it to its own removal.
    let path = place.path().join("one.gguf");
    hub.import(&path, "Bad:1b", false, &Told::default()).unwrap();
    assert_eq!(content(&hub, "Bad:1b"), bytes);
    for (file, name) in [("%42ad%3a1b.json", "Bad:1b"), ("not a name.json", "not a name")] {
        std::fs::write(manifests.join(file), "{").unwrap();
        hub.store().check_held(name).unwrap();
        hub.store().remove(name).unwrap();
        assert!(!manifests.join(file).exists());
    }
}

#[test]
fn a_newer_versions_fields_are_kept_and_told() {
    let place = Place::new();
    let hub = hub_with(&place, &gguf(900, 12));
    let path = place.home().root().join("manifests/one.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["tuned_on"] = "triage".into();
    manifest["files"][0]["mirror"] = serde_json::json!(["a"]);
    std::fs::write(&path, manifest.to_string()).unwrap();
    let copy = hub.copy("one", "two").unwrap();
    assert_eq!(copy.unknown_fields(), ["mirror", "tuned_on"]);
    let two = std::fs::read(place.home().root().join("manifests/two.json")).unwrap();
    manifest["name"] = "two".into();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&two).unwrap(), manifest);
}

#[test]
fn removing_sweeps_up_what_broken_off_work_left() {
    let place = Place::new();
    let hub = hub_with(&place, &gguf(900, 13));
    hub.copy("one", "two").unwrap();
    let root = place.home().root().to_path_buf();
    let orphan = gguf(1_200, 14);
    std::fs::write(blob(&place.home(), &orphan), &orphan).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 24 * 3600);
    for (name, bytes) in [("sha256-old.part", 300), ("scratch-x.part", 50), ("sha256-new.part", 7)] {
        std::fs::write(root.join("partial").join(name), vec![0; bytes]).unwrap();
    }
    std::fs::File::options().write(true).open(root.join("partial/sha256-old.part")).unwrap().set_modified(old).unwrap();
    let removed = hub.store().remove("two").unwrap();
    assert_eq!(removed, Removed { left_over_bytes_freed: 1_550, ..Removed::default() });
    assert_eq!(place.files("blobs").len(), 1);
    assert_eq!(place.files("partial"), ["sha256-new.part"], "what is new can be gone on with");
    hub.locate(&hub.resolve("one").unwrap()).unwrap();
}

#[test]
fn nothing_is_swept_up_while_a_pull_is_under_way() {
    use std::sync::atomic::Ordering;
    let (weights, config) = (gguf(900, 15), gguf(900, 16));
    let server = Server::start();
    let go_on = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let slow = crate::server::Served { stall_after: Some((200, go_on.clone())), ..crate::server::Served::new(&config) };
    server.on(
        "/api/models/o/r/tree/main",
        [crate::server::text(format!(
            r#"[{{"type":"file","path":"m-00001-of-00002.gguf","size":900,"lfs":{{"oid":"{}"}}}},
            {{"type":"file","path":"m-00002-of-00002.gguf","size":900,"lfs":{{"oid":"{}"}}}}]"#,
            Sha256::of(&weights),
            Sha256::of(&config)
        ))],
    );
    server.on("/o/r/resolve/main/m-00001-of-00002.gguf", [file(&weights)]);
    server.on("/o/r/resolve/main/m-00002-of-00002.gguf", [crate::server::Reply::File(slow)]);
    let place = Place::new();
    hub_with(&place, &gguf(900, 17));
    let mut options = options();
    options.servers.huggingface = server.address.clone();
    let hub = place.hub_with(options);
    std::thread::scope(|scope| {
        let pulled = scope.spawn(|| pull(&hub, "hf:o/r", &Told::default()));
        while !blob(&place.home(), &weights).exists() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(hub.store().remove("one").unwrap().left_over_bytes_freed, 0);
        go_on.store(true, Ordering::SeqCst);
        pulled.join().unwrap().unwrap();
    });
    assert_eq!(content(&hub, "hf:o/r"), weights);
}
