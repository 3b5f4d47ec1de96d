//! The protocol of an Ollama registry.

use crate::server::{Server, file, text};
use crate::{Place, Told, content, gguf, options, pull};
use hub::{DigestOrigin, HubOptions, Sha256};

fn options_for(server: &Server) -> HubOptions {
    let mut options = options();
    options.servers.ollama = server.address.clone();
    options
}

fn layer(kind: &str, bytes: &[u8]) -> String {
    let (sha256, size) = (Sha256::of(bytes), bytes.len());
    format!(r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"sha256:{sha256}","size":{size}}}"#)
}

fn manifest(layers: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"config":{{}},"layers":[{}]}}"#, layers.join(","))
}

fn blob_path(bytes: &[u8]) -> String {
    format!("/v2/library/smollm2/blobs/sha256:{}", Sha256::of(bytes))
}

const MANIFEST: &str = "/v2/library/smollm2/manifests/135m";

#[test]
fn weights_are_fetched_and_settings_kept() {
    let weights = gguf(9_000, 1);
    let template = b"{{ .Prompt }}";
    let params = br#"{"stop":["<|im_end|>"]}"#;
    let (system, first, second) = (b"Be brief.", b"\nApache License\n2.0", b"More terms");
    let server = Server::start();
    let layers = [
        layer("license", first),
        layer("template", template),
        layer("params", params),
        layer("system", system),
        layer("license", second),
        layer("model", &weights),
        layer("messages", b"[]"),
    ];
    server.on(MANIFEST, [text(manifest(&layers))]);
    for small in [template.as_slice(), params, system, first, second] {
        server.on(&blob_path(small), [file(small)]);
    }
    server.on(&blob_path(&weights), [file(&weights)]);
    let place = Place::new();
    let hub = place.hub_with(options_for(&server));
    let told = Told::default();
    let pulled = pull(&hub, "ollama:smollm2:135m", &told).unwrap();
    assert_eq!(content(&hub, "ollama:smollm2:135m"), weights);
    assert_eq!((pulled.files.len(), pulled.files[0].digest_origin), (1, DigestOrigin::Source));
    assert_eq!(pulled.license.as_deref(), Some("Apache License"));
    let settings = pulled.settings.unwrap();
    assert_eq!(settings.template.as_deref(), Some("{{ .Prompt }}"));
    assert_eq!(settings.system.as_deref(), Some("Be brief."));
    assert_eq!(settings.licenses, ["\nApache License\n2.0", "More terms"]);
    assert_eq!(settings.params.unwrap()["stop"][0], "<|im_end|>");
    assert!(told.text().contains("left out its layer \"messages\""), "{}", told.text());
    assert!(told.text().contains("kept, but not applied: its template"), "{}", told.text());
    assert!(!told.text().contains("adapter"), "{}", told.text());
    let accept = server.asked_for(MANIFEST)[0].accept.clone();
    assert_eq!(accept.as_deref(), Some("application/vnd.docker.distribution.manifest.v2+json"));
}

#[test]
fn what_a_registry_gets_wrong_is_told() {
    let weights = gguf(900, 2);
    let cases = [
        (manifest(&[]), "expected a layer of weights, got none"),
        ("[]".to_string(), "expected a manifest with layers, got "),
        (manifest(&[layer("model", &weights).replace("sha256:", "md5:")]), "expected a digest sha256:…, got \"md5:"),
        (manifest(&[layer("model", &weights)]), "expected sha256"),
        (manifest(&[layer("template", b"promised")]), "expected sha256"),
    ];
    for (answer, expected) in cases {
        let server = Server::start();
        server.on(MANIFEST, [text(answer)]);
        server.on(&blob_path(&weights), [file(&gguf(900, 3))]);
        server.on(&blob_path(b"promised"), [file(b"another template")]);
        let place = Place::new();
        let error = pull(&place.hub_with(options_for(&server)), "ollama:smollm2:135m", &Told::default()).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(place.files("blobs"), Vec::<String>::new());
    }
    let server = Server::start();
    let error = pull(&Place::new().hub_with(options_for(&server)), "ollama:me/none", &Told::default()).unwrap_err();
    assert!(error.contains("/v2/me/none/manifests/latest: not found"), "{error}");
}
