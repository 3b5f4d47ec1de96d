//! The protocol of the Hugging Face hub.

use crate::server::{Reply, Server, file, redirect, status, text};
use crate::{Place, Told, content, gguf, options, pinned, pull};
use hub::{DigestOrigin, HubOptions, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn options_for(server: &Server) -> HubOptions {
    let mut options = options();
    options.servers.huggingface = server.address.clone();
    options.servers.huggingface_token = Some("hf_secret".to_string());
    options
}

fn large(path: &str, bytes: &[u8]) -> String {
    let (sha256, size) = (Sha256::of(bytes), bytes.len());
    format!(
        r#"{{"type":"file","path":"{path}","size":{size},"oid":"ab","lfs":{{"oid":"{sha256}","size":{size},"pointerSize":130}}}}"#
    )
}

fn small(path: &str, bytes: &[u8]) -> String {
    format!(r#"{{"type":"file","path":"{path}","size":{},"oid":"ab"}}"#, bytes.len())
}

fn listing(entries: &[String]) -> Reply {
    let headers = vec![("X-Repo-Commit".to_string(), COMMIT.to_string())];
    Reply::Status(200, headers, format!("[{}]", entries.join(",")))
}

const TREE: &str = "/api/models/o/r/tree/main?recursive=true";

#[test]
fn a_quantisation_is_picked_and_the_token_stays_with_the_hub() {
    let (wanted, other) = (gguf(9_000, 1), gguf(9_000, 2));
    let (server, cdn) = (Server::start(), Server::start());
    server.on(TREE, [listing(&[large("m-Q8_0.gguf", &other), large("m-Q4_K_M.gguf", &wanted)])]);
    server.on(&format!("/o/r/resolve/{COMMIT}/m-Q4_K_M.gguf"), [redirect("/renamed/m.gguf")]);
    server.on("/renamed/m.gguf", [redirect(cdn.url("/blob"))]);
    cdn.on("/blob", [file(&wanted)]);
    let place = Place::new();
    let hub = place.hub_with(options_for(&server));
    let manifest = pull(&hub, "hf:o/r:q4_k_m", &Told::default()).unwrap();
    assert_eq!(manifest.name, "hf:o/r:q4_k_m");
    assert_eq!(manifest.source, format!("huggingface o/r@{COMMIT}"));
    assert_eq!((manifest.files[0].pinned, manifest.files[0].digest_origin), (false, DigestOrigin::Source));
    assert_eq!(content(&hub, "hf:o/r:q4_k_m"), wanted);
    assert!(server.asked().iter().all(|asked| asked.authorization.as_deref() == Some("Bearer hf_secret")));
    assert!(!cdn.asked().is_empty() && cdn.asked().iter().all(|asked| asked.authorization.is_none()));
    assert!(!format!("{:?}", options_for(&server).servers).contains("hf_secret"));
}

#[test]
fn a_gated_model_ends_in_the_page_to_visit() {
    let bytes = gguf(900, 3);
    for code in [401, 403] {
        let server = Server::start();
        server.on(TREE, [listing(&[large("m.gguf", &bytes)])]);
        server.on(&format!("/o/r/resolve/{COMMIT}/m.gguf"), [status(code)]);
        let place = Place::new();
        let error = pull(&place.hub_with(options_for(&server)), "hf:o/r", &Told::default()).unwrap_err();
        let page = server.url("/o/r");
        let expected = format!("is gated ({code})\nhint: visit {page} and accept its terms, then set HF_TOKEN");
        assert!(error.contains(&expected), "{error}");
        assert!(!error.contains("hf_secret"));
    }
}

#[test]
fn a_repository_that_is_not_there_is_not_called_gated() {
    let server = Server::start();
    let headers = vec![("X-Error-Code".to_string(), "RepoNotFound".to_string())];
    server.on(TREE, [Reply::Status(401, headers, String::new())]);
    let error = pull(&Place::new().hub_with(options_for(&server)), "hf:o/r", &Told::default()).unwrap_err();
    assert!(error.contains("/api/models/o/r/tree/main: not found\nhint: check the name"), "{error}");
}

#[test]
fn ambiguity_lists_the_choices() {
    let bytes = gguf(900, 4);
    let server = Server::start();
    server.on(TREE, [listing(&[large("a-Q4_0.gguf", &bytes), large("a-Q8_0.gguf", &bytes)])]);
    let error = pull(&Place::new().hub_with(options_for(&server)), "hf:o/r", &Told::default()).unwrap_err();
    assert!(error.starts_with("hf:o/r could be any of: a-Q4_0.gguf, a-Q8_0.gguf\nhint: name one"), "{error}");
}

#[test]
fn a_repository_of_safetensors_becomes_a_folder() {
    let server = Server::start();
    let files: [(&str, &[u8]); 3] =
        [("config.json", br#"{"model_type":"qwen3"}"#), ("tokenizer.json", b"{}"), ("model.safetensors", b"weights")];
    let entries: Vec<String> = files
        .iter()
        .map(|(name, bytes)| if *name == "model.safetensors" { large(name, bytes) } else { small(name, bytes) })
        .collect();
    server.on("/api/models/o/r/tree/v1?recursive=true", [listing(&entries)]);
    for (name, bytes) in files {
        server.on(&format!("/o/r/resolve/{COMMIT}/{name}"), [file(bytes)]);
    }
    let place = Place::new();
    let hub = place.hub_with(options_for(&server));
    let manifest = pull(&hub, "hf:o/r@v1", &Told::default()).unwrap();
    assert_eq!(manifest.family, "qwen3");
    let origins: Vec<_> = manifest.files.iter().map(|file| (file.file_name.as_str(), file.digest_origin)).collect();
    assert_eq!(origins[0], ("model.safetensors", DigestOrigin::Source));
    assert_eq!(origins[1], ("config.json", DigestOrigin::Computed));
    let folder = hub.locate(&hub.resolve("hf:o/r@v1").unwrap()).unwrap();
    for (name, bytes) in files {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), bytes, "{name}");
    }
}

#[test]
fn shards_are_all_fetched_and_lie_side_by_side() {
    let (one, two) = (gguf(900, 5), gguf(1_200, 6));
    let names = ["m-q8_0-00001-of-00002.gguf", "m-q8_0-00002-of-00002.gguf"];
    let server = Server::start();
    server.on(TREE, [listing(&[large(names[1], &two), large(names[0], &one)])]);
    server.on(&format!("/o/r/resolve/{COMMIT}/{}", names[0]), [file(&one)]);
    server.on(&format!("/o/r/resolve/{COMMIT}/{}", names[1]), [file(&two)]);
    let place = Place::new();
    let hub = place.hub_with(options_for(&server));
    let manifest = pull(&hub, "hf:o/r:Q8_0", &Told::default()).unwrap();
    assert_eq!(manifest.bytes(), 2_100);
    let first = hub.locate(&hub.resolve("hf:o/r:Q8_0").unwrap()).unwrap();
    assert_eq!(std::fs::read(&first).unwrap(), one);
    assert_eq!(std::fs::read(first.with_file_name(names[1])).unwrap(), two);
}

#[test]
fn a_pinned_row_refuses_other_bytes_before_fetching_them() {
    let (pinned_bytes, offered) = (gguf(900, 7), gguf(900, 8));
    let server = Server::start();
    server.on(TREE, [listing(&[large("m.gguf", &offered)])]);
    let place = Place::new();
    let source = "kind = \"huggingface\"\nrepo = \"o/r\"\nfile = \"m.gguf\"".to_string();
    place.catalog(&pinned(&pinned_bytes), &[source]);
    let error = pull(&place.hub_with(options_for(&server)), "mine:1b", &Told::default()).unwrap_err();
    let (expected, got) = (Sha256::of(&pinned_bytes), Sha256::of(&offered));
    assert!(error.contains(&format!("expected sha256 {expected}, got sha256 {got}")), "{error}");
    assert_eq!(server.asked().len(), 1, "only the listing was asked for");
}

#[test]
fn long_listings_come_in_pages_of_the_same_server() {
    let bytes = gguf(900, 9);
    let (server, elsewhere) = (Server::start(), Server::start());
    let link = |to: String| vec![("Link".to_string(), format!("<{to}>; rel=\"next\""))];
    let first = format!("[{}]", small("README.md", b"x"));
    server.on(TREE, [Reply::Status(200, link(server.url("/page2?cursor=x")), first)]);
    let second = format!("[{}]", large("m.gguf", &bytes));
    server.on("/page2?cursor=x", [Reply::Status(200, link(elsewhere.url("/page3")), second)]);
    server.on("/o/r/resolve/main/m.gguf", [file(&bytes)]);
    let place = Place::new();
    let hub = place.hub_with(options_for(&server));
    pull(&hub, "hf:o/r", &Told::default()).unwrap();
    assert_eq!(content(&hub, "hf:o/r"), bytes);
    assert_eq!(elsewhere.asked().len(), 0);
}

#[test]
fn a_listing_without_an_end_is_refused_and_not_cut() {
    let server = Server::start();
    let next = vec![("Link".to_string(), format!("<{}>; rel=\"next\"", server.url("/more")))];
    let page = format!("[{}]", large("m.gguf", &gguf(900, 10)));
    server.on(TREE, [Reply::Status(200, next.clone(), page)]);
    server.on("/more", [Reply::Status(200, next, format!("[{}]", small("x", b"x")))]);
    let error = pull(&Place::new().hub_with(options_for(&server)), "hf:o/r", &Told::default()).unwrap_err();
    let expected = "hf:o/r: expected a list of files of at most 20 pages, got 20 files and more\nhint: ";
    assert!(error.contains(expected), "{error}");
    assert_eq!(server.asked().len(), 20);
}

#[test]
fn an_answer_that_is_no_listing_is_told() {
    let server = Server::start();
    server.on(TREE, [text("<html>")]);
    let error = pull(&Place::new().hub_with(options_for(&server)), "hf:o/r", &Told::default()).unwrap_err();
    assert!(error.contains("expected a list of files, got ") && error.contains("HF_ENDPOINT"), "{error}");
}
