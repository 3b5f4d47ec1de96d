//! Ranges, resumption, failures and checks of the downloader, seen through pulls of an address.

use crate::server::{Reply, Served, Server, file, redirect, status, whole_file};
use crate::{Place, Told, content, gguf, options, pinned, pull, url_source};
use hub::Pieces;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A data directory whose catalog has `mine:1b` at `/m.gguf` of a server, pinned.
fn pinned_place(server: &Server, bytes: &[u8]) -> Place {
    let place = Place::new();
    place.catalog(&pinned(bytes), &[url_source(&server.url("/m.gguf"))]);
    place
}

fn nothing_was_kept(place: &Place) {
    assert_eq!(place.files("blobs"), Vec::<String>::new());
    assert_eq!(place.files("manifests"), Vec::<String>::new());
}

#[test]
fn a_large_file_comes_in_ranges_over_several_connections() {
    let bytes = gguf(40_000, 1);
    let server = Server::start();
    server.on("/m.gguf", [file(&bytes)]);
    let place = pinned_place(&server, &bytes);
    let (hub, told) = (place.hub(), Told::default());
    let manifest = pull(&hub, "mine:1b", &told).unwrap();
    assert_eq!(content(&hub, "mine:1b"), bytes);
    assert!(manifest.is_pinned() && manifest.family == "llama" && manifest.license.as_deref() == Some("mit"));
    // Every byte was asked for exactly once.
    let mut ranges: Vec<(u64, u64)> = server.asked().iter().map(|asked| asked.range.unwrap()).collect();
    ranges.sort_unstable();
    assert!(ranges.len() >= 8, "{ranges:?}");
    assert_eq!((ranges[0], ranges.last().unwrap().1), ((0, 999), 39_999));
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
    assert!(told.text().contains("licence of mine:1b: mit"), "{}", told.text());
    assert_eq!(place.files("partial"), Vec::<String>::new());
    // There already: nothing is asked again.
    server.forget();
    assert_eq!(pull(&hub, "mine:1b", &told).unwrap(), manifest);
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn a_server_without_ranges_sends_the_whole_once() {
    let bytes = gguf(40_000, 2);
    let server = Server::start();
    server.on("/m.gguf", [whole_file(&bytes)]);
    let place = pinned_place(&server, &bytes);
    pull(&place.hub(), "mine:1b", &Told::default()).unwrap();
    assert_eq!(content(&place.hub(), "mine:1b"), bytes);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_server_that_stops_honouring_ranges_is_asked_for_the_whole() {
    let bytes = gguf(40_000, 3);
    let server = Server::start();
    server.on("/m.gguf", [file(&bytes), whole_file(&bytes)]);
    let place = pinned_place(&server, &bytes);
    let told = Told::default();
    pull(&place.hub(), "mine:1b", &told).unwrap();
    assert_eq!(content(&place.hub(), "mine:1b"), bytes);
    assert!(told.text().contains("the server sends only whole files; starting over"), "{}", told.text());
}

#[test]
fn a_cut_connection_goes_on_where_it_stopped() {
    let bytes = gguf(9_000, 4);
    let server = Server::start();
    let cut = Reply::File(Served { cut_after: Some(2_500), ..Served::new(&bytes) });
    server.on("/m.gguf", [cut, file(&bytes)]);
    let place = pinned_place(&server, &bytes);
    let mut options = options();
    options.pieces = Pieces { first: 9_000, least: 9_000, most: 9_000, connections: 1 };
    pull(&place.hub_with(options), "mine:1b", &Told::default()).unwrap();
    let ranges: Vec<_> = server.asked().iter().map(|asked| asked.range.unwrap()).collect();
    assert_eq!(ranges, [(0, 8_999), (2_500, 8_999)]);
}

#[test]
fn what_arrived_before_giving_up_is_kept_for_the_next_pull() {
    let bytes = gguf(9_000, 5);
    let server = Server::start();
    let cut = Reply::File(Served { cut_after: Some(1_000), ..Served::new(&bytes) });
    server.on("/m.gguf", [cut]);
    let place = pinned_place(&server, &bytes);
    let mut options = options();
    options.pieces = Pieces { first: 9_000, least: 9_000, most: 9_000, connections: 1 };
    let error = pull(&place.hub_with(options.clone()), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("the connection was cut") && error.contains("(3 tries)"), "{error}");
    assert!(error.contains("what has arrived is kept"), "{error}");
    nothing_was_kept(&place);
    server.forget();
    server.on("/m.gguf", [file(&bytes)]);
    let told = Told::default();
    pull(&place.hub_with(options), "mine:1b", &told).unwrap();
    let ranges: Vec<_> = server.asked().iter().map(|asked| asked.range.unwrap()).collect();
    assert_eq!(ranges, [(3_000, 8_999)], "each of three tries brought 1,000 bytes");
    assert!(told.text().contains("Some(9000) 3000"), "{}", told.text());
}

#[test]
fn passing_troubles_are_tried_again_and_lasting_ones_are_not() {
    let bytes = gguf(900, 6);
    let server = Server::start();
    let busy = Reply::Status(429, vec![("Retry-After".into(), "0".into())], String::new());
    server.on("/m.gguf", [busy.clone(), status(503), file(&bytes)]);
    let place = pinned_place(&server, &bytes);
    pull(&place.hub(), "mine:1b", &Told::default()).unwrap();
    assert_eq!(server.asked().len(), 3);

    let cases = [
        (status(500), 3, "status 500 Internal Server Error (3 tries)"),
        (busy, 3, "status 429 Too Many Requests (3 tries)"),
        (Reply::Status(429, vec![("Retry-After".into(), "3600".into())], String::new()), 1, "status 429"),
        (status(404), 1, "/m.gguf: not found\nhint: check the name"),
        (status(401), 1, "the server refuses access (401)"),
        (status(403), 1, "the server refuses access (403)"),
        (status(418), 1, "expected status 200, got 418"),
        (redirect("ftp://elsewhere/m.gguf"), 1, "but no address to go on to"),
    ];
    for (reply, tries, expected) in cases {
        let server = Server::start();
        server.on("/m.gguf", [reply]);
        let place = pinned_place(&server, &bytes);
        let error = pull(&place.hub(), "mine:1b", &Told::default()).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(server.asked().len(), tries, "{expected}");
        nothing_was_kept(&place);
    }
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let bytes = gguf(900, 7);
    let (server, other) = (Server::start(), Server::start());
    other.on("/deep/m.gguf", [file(&bytes)]);
    server.on("/m.gguf", [redirect("/next?signature=secret")]);
    server.on("/next", [redirect(other.url("/deep/m.gguf?signature=secret"))]);
    let place = pinned_place(&server, &bytes);
    pull(&place.hub(), "mine:1b", &Told::default()).unwrap();
    assert_eq!(content(&place.hub(), "mine:1b"), bytes);

    server.on("/m.gguf", [redirect("/m.gguf?again=secret")]);
    let place = pinned_place(&server, &bytes);
    let error = pull(&place.hub(), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("more than 10 redirects") && !error.contains("secret"), "{error}");
}

#[test]
fn a_lying_length_is_found_out() {
    let bytes = gguf(9_000, 8);
    for ranges in [true, false] {
        let server = Server::start();
        // The catalog knows better than the server.
        let lie = Served { claimed_total: Some(9_500), ranges, ..Served::new(&bytes) };
        server.on("/m.gguf", [Reply::File(lie.clone())]);
        let place = pinned_place(&server, &bytes);
        let error = pull(&place.hub(), "mine:1b", &Told::default()).unwrap_err();
        assert!(error.contains("expected 9000 bytes, got 9500"), "{error}");
        nothing_was_kept(&place);
        // Nobody knows the length: more is promised than ever comes.
        let place = Place::new();
        place.catalog("", &[url_source(&server.url("/m.gguf"))]);
        let error = pull(&place.hub(), "mine:1b", &Told::default()).unwrap_err();
        assert!(error.contains("tries)"), "{error}");
        nothing_was_kept(&place);
        // Less is promised than there is: what comes is no sound file.
        server.on("/m.gguf", [Reply::File(Served { claimed_total: Some(5_000), ..lie })]);
        let place = Place::new();
        place.catalog("", &[url_source(&server.url("/m.gguf"))]);
        assert!(pull(&place.hub(), "mine:1b", &Told::default()).is_err());
        nothing_was_kept(&place);
    }
}

#[test]
fn a_server_that_breaks_off_every_time_is_given_up_however_much_it_sends() {
    let bytes = gguf(3 << 20, 8);
    let server = Server::start();
    // More than is worth another round of tries, and never the whole, from the beginning each time.
    server.on("/m.gguf", [Reply::File(Served { ranges: false, cut_after: Some(2 << 20), ..Served::new(&bytes) })]);
    let place = Place::new();
    place.catalog("", &[url_source(&server.url("/m.gguf"))]);
    let error = pull(&place.hub(), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("tries)"), "{error}");
    assert!(server.asked().len() < 20, "{}", server.asked().len());
    nothing_was_kept(&place);
}

#[test]
fn a_wrong_hash_keeps_nothing_and_names_both() {
    let (bytes, other) = (gguf(9_000, 9), gguf(9_000, 10));
    let server = Server::start();
    server.on("/m.gguf", [file(&other)]);
    let place = pinned_place(&server, &bytes);
    let error = pull(&place.hub(), "mine:1b", &Told::default()).unwrap_err();
    let (expected, got) = (hub::Sha256::of(&bytes), hub::Sha256::of(&other));
    assert!(error.contains(&format!("expected sha256 {expected}, got sha256 {got}\nhint: ")), "{error}");
    nothing_was_kept(&place);
    assert_eq!(place.files("partial"), Vec::<String>::new());
}

#[test]
fn the_next_source_is_tried_and_all_failures_are_listed() {
    let bytes = gguf(9_000, 11);
    let server = Server::start();
    server.on("/good.gguf", [file(&bytes)]);
    server.on("/wrong.gguf", [file(&gguf(9_000, 12))]);
    let sources = ["/gone.gguf", "/wrong.gguf", "/good.gguf"].map(|path| url_source(&server.url(path)));
    let place = Place::new();
    place.catalog(&pinned(&bytes), &sources);
    let told = Told::default();
    let manifest = pull(&place.hub(), "mine:1b", &told).unwrap();
    assert_eq!(manifest.source, format!("url {}", server.url("/good.gguf")));
    assert!(told.text().contains("/gone.gguf: not found; trying the next source"), "{}", told.text());

    let place = Place::new();
    place.catalog(&pinned(&bytes), &sources[..2]);
    let error = pull(&place.hub(), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.starts_with("no source could give mine:1b:\n  url http://127.0.0.1"), "{error}");
    assert!(error.contains("/gone.gguf: not found") && error.contains("expected sha256"), "{error}");
}

#[test]
fn what_is_not_a_gguf_file_never_enters_the_store() {
    let server = Server::start();
    server.on("/m.gguf", [file(b"<html>log in to this network</html>")]);
    let place = Place::new();
    place.catalog("", &[url_source(&server.url("/m.gguf"))]);
    let error = pull(&place.hub(), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("expected a GGUF file, got one that begins with \"<htm\"\nhint: "), "{error}");
    nothing_was_kept(&place);
    server.on("/m.gguf", [file(&gguf(9_000, 1)[..60])]);
    let error = pull(&place.hub(), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("mine:1b model.gguf: "), "{error}");
    nothing_was_kept(&place);
}

#[test]
fn a_full_disk_is_foreseen_with_both_numbers() {
    let bytes = gguf(40_000, 13);
    let server = Server::start();
    server.on("/m.gguf", [file(&bytes)]);
    let mut options = options();
    options.free_space = Arc::new(|_: &Path| Ok(12_345));
    let place = pinned_place(&server, &bytes);
    let error = pull(&place.hub_with(options.clone()), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("disk full: needs 40000 bytes, free 12345\nhint: free some space"), "{error}");
    assert_eq!(server.asked().len(), 0, "the length was known, so nothing was asked");
    let unpinned = Place::new();
    unpinned.catalog("", &[url_source(&server.url("/m.gguf"))]);
    let error = pull(&unpinned.hub_with(options), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("disk full: needs 40000 bytes, free 12345"), "{error}");
    assert_eq!(server.asked().len(), 1, "the first answer told the length");
}

#[test]
fn no_network_says_so() {
    let place = Place::new();
    let closed = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    place.catalog("", &[url_source(&format!("http://{closed}/m.gguf"))]);
    let hub = place.hub();
    let error = hub.pull(&hub.resolve("mine:1b").unwrap(), &Told::default()).unwrap_err();
    assert!(error.is_offline());
    let text = error.to_string();
    assert!(text.starts_with("cannot reach 127.0.0.1 (no network, or none that leads there): "), "{text}");
    assert!(text.to_lowercase().contains("refused") && !text.contains("error trying"), "the innermost cause: {text}");
    assert!(text.contains("\nhint: connect, or set HTTPS_PROXY"), "{text}");
}

#[test]
fn a_silent_server_is_given_up() {
    let bytes = gguf(9_000, 14);
    let server = Server::start();
    let go_on = Arc::new(AtomicBool::new(false));
    let silent = Served { stall_after: Some((100, go_on.clone())), ..Served::new(&bytes) };
    server.on("/m.gguf", [Reply::File(silent)]);
    let place = pinned_place(&server, &bytes);
    let mut options = options();
    options.retry.stall = Duration::from_millis(100);
    let error = pull(&place.hub_with(options), "mine:1b", &Told::default()).unwrap_err();
    assert!(error.contains("the server was silent for too long"), "{error}");
    go_on.store(true, Ordering::SeqCst);
}

#[test]
fn a_file_that_changes_at_its_source_is_begun_anew() {
    let (old, new) = (gguf(9_000, 15), gguf(9_000, 16));
    let server = Server::start();
    let first = Served { cut_after: Some(500), etag: Some("one"), ..Served::new(&old) };
    server.on("/m.gguf", [Reply::File(first), Reply::File(Served { etag: Some("two"), ..Served::new(&new) })]);
    let place = Place::new();
    place.catalog("", &[url_source(&server.url("/m.gguf"))]);
    let told = Told::default();
    let manifest = pull(&place.hub(), "mine:1b", &told).unwrap();
    assert_eq!(content(&place.hub(), "mine:1b"), new);
    assert!(!manifest.is_pinned());
    assert!(told.text().contains("the file has changed at its source; starting over"), "{}", told.text());
}

#[test]
fn a_file_that_changes_under_several_connections_is_not_mixed() {
    let (old, new) = (gguf(40_000, 19), gguf(40_000, 20));
    let server = Server::start();
    let go_on = Arc::new(AtomicBool::new(false));
    let first = Served { etag: Some("one"), ..Served::new(&old) };
    // This connection still sends the old version when another learns of the new one.
    let slow = Served { stall_after: Some((500, go_on.clone())), ..first.clone() };
    let second = Served { etag: Some("two"), ..Served::new(&new) };
    server.on("/m.gguf", [Reply::File(first), Reply::File(slow), Reply::File(second)]);
    let place = Place::new();
    place.catalog("", &[url_source(&server.url("/m.gguf"))]);
    let told = Told::default();
    std::thread::scope(|scope| {
        let pulled = scope.spawn(|| pull(&place.hub(), "mine:1b", &told));
        while server.asked().len() < 3 {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(50));
        go_on.store(true, Ordering::SeqCst);
        pulled.join().unwrap().unwrap();
    });
    assert!(content(&place.hub(), "mine:1b") == new, "the new version, and nothing of the old");
    assert!(told.text().contains("the file has changed at its source; starting over"), "{}", told.text());
    assert!(server.asked().last().unwrap().range.is_none(), "one answer cannot differ from itself");
}

#[test]
fn mirrors_that_name_one_file_each_in_its_own_way_are_asked_for_the_whole() {
    let bytes = gguf(40_000, 21);
    let server = Server::start();
    let node = |etag| Reply::File(Served { etag: Some(etag), ..Served::new(&bytes) });
    server.on("/m.gguf", (0..40).map(|node_number| node(["a", "b", "c"][node_number % 3])).collect::<Vec<_>>());
    let place = Place::new();
    place.catalog("", &[url_source(&server.url("/m.gguf"))]);
    pull(&place.hub(), "mine:1b", &Told::default()).unwrap();
    assert!(content(&place.hub(), "mine:1b") == bytes);
    // A pinned file is known by its digest, so that all nodes may send parts of it.
    let place = pinned_place(&server, &bytes);
    server.forget();
    pull(&place.hub(), "mine:1b", &Told::default()).unwrap();
    assert!(server.asked().len() >= 8 && content(&place.hub(), "mine:1b") == bytes);
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let bytes = gguf(9_000, 17);
    let server = Server::start();
    let go_on = Arc::new(AtomicBool::new(false));
    let slow = Served { stall_after: Some((200, go_on.clone())), ..Served::new(&bytes) };
    server.on("/m.gguf", [Reply::File(slow), file(&bytes)]);
    let place = pinned_place(&server, &bytes);
    let (first, second) = (Told::default(), Told::default());
    std::thread::scope(|scope| {
        let one = scope.spawn(|| pull(&place.hub(), "mine:1b", &first));
        while server.asked().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let two = scope.spawn(|| pull(&place.hub(), "mine:1b", &second));
        while !second.text().contains("another pull is under way; waiting for it") {
            std::thread::sleep(Duration::from_millis(1));
        }
        go_on.store(true, Ordering::SeqCst);
        assert_eq!(one.join().unwrap().unwrap(), two.join().unwrap().unwrap());
    });
    let asked: u64 = server.asked().iter().map(|asked| asked.range.map_or(0, |(first, last)| last + 1 - first)).sum();
    assert_eq!(asked, 9_000, "every byte was asked for once");
    assert!(!second.text().contains("start "), "{}", second.text());
}

const CHILD: &str = "BANTAM_HUB_TEST_CHILD";

/// Not a test by itself: the process that the next test kills.
#[test]
fn child_that_is_killed() {
    let Some(home) = std::env::var_os(CHILD) else { return };
    let mut options = options();
    options.pieces = Pieces { first: 64 << 20, least: 64 << 20, most: 64 << 20, connections: 1 };
    let hub = hub::Hub::open(hub::Home::at(home), options).unwrap();
    let _ = pull(&hub, "mine:1b", &Told::default());
}

#[test]
fn a_killed_pull_goes_on_where_it_stopped() {
    let bytes = gguf(8 << 20, 18);
    let arrived = 7 << 20;
    let server = Server::start();
    let go_on = Arc::new(AtomicBool::new(false));
    let slow = Served { stall_after: Some((arrived, go_on.clone())), ..Served::new(&bytes) };
    server.on("/m.gguf", [Reply::File(slow), file(&bytes)]);
    let place = pinned_place(&server, &bytes);
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "downloads::child_that_is_killed"])
        .env(CHILD, place.home().root())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let part = place.home().root().join(format!("partial/sha256-{}.part", hub::Sha256::of(&bytes)));
    while std::fs::metadata(&part).map_or(0, |data| data.len()) < arrived as u64 {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    go_on.store(true, Ordering::SeqCst);
    nothing_was_kept(&place);
    server.forget();
    let told = Told::default();
    pull(&place.hub(), "mine:1b", &told).unwrap();
    assert_eq!(content(&place.hub(), "mine:1b"), bytes);
    let asked: u64 =
        server.asked().iter().map(|asked| asked.range.unwrap()).map(|(first, last)| last + 1 - first).sum();
    // The note is written every 2 MiB, so at most that and the missing 1 MiB come again.
    assert!((1 << 20..=3 << 20).contains(&asked), "{asked} bytes were asked for again");
}
