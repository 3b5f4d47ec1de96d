//! What the store does with damage, left-overs and names that are not free.

use crate::server::{Server, file};
use crate::{Place, Told, content, gguf, pinned, pull, url_source};
use hub::{Home, Sha256};
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
