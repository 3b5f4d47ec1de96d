//! Models made of other models' files, and blobs that come without a name.

use crate::{Place, Told, content, gguf, options};
use hub::{CreatedFrom, FileRole, HubError, OpeningMessage, Settings, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn upload(hub: &hub::Hub, bytes: &[u8], expected: Sha256) -> Result<u64, HubError> {
    let mut upload = hub.upload(expected)?;
    bytes.chunks(100).try_for_each(|piece| upload.write(piece))?;
    upload.finish()
}

fn settings() -> Settings {
    let messages = vec![OpeningMessage { role: "user".to_string(), content: "hi".to_string() }];
    let licenses = vec!["MIT".to_string(), "more".to_string()];
    Settings { system: Some("be brief".to_string()), messages, licenses, ..Settings::default() }
}

#[test]
fn a_made_model_shares_blobs_and_replaces_in_one_step() {
    let place = Place::new();
    let hub = place.hub();
    let (file, bytes) = (place.path().join("x.gguf"), gguf(900, 1));
    std::fs::write(&file, &bytes).unwrap();
    let base = hub.import(&file, "base", false, &Told::default()).unwrap();
    let told = Told::default();
    let mut new = hub.create("mine", &told).unwrap();
    new.share(&base.files[0]).unwrap();
    assert!(new.share(&base.files[0]).unwrap_err().to_string().contains("a name for each file of the model"));
    assert_eq!(std::fs::read(new.locate().unwrap()).unwrap(), bytes);
    assert!(hub.store().get("mine").unwrap().is_none(), "no name before the end");
    let from = CreatedFrom { base: Some("base".to_string()), settings: settings(), ..CreatedFrom::default() };
    new.finish(from).unwrap();
    let made = hub.store().expect("mine").unwrap();
    assert_eq!((made.settings, made.base.as_deref(), made.family.as_str()), (Some(settings()), Some("base"), "llama"));
    assert_eq!((place.files("blobs").len(), place.files("partial")), (1, vec![]));
    // The base goes, the bytes stay; then other bytes come under the name, and these go.
    hub.store().remove("base").unwrap();
    assert_eq!(content(&hub, "mine"), bytes);
    let other = gguf(500, 2);
    std::fs::write(&file, &other).unwrap();
    let mut new = hub.create("mine", &told).unwrap();
    new.copy_model(&file).unwrap();
    assert_eq!(content(&hub, "mine"), bytes, "as it was until the end");
    new.finish(CreatedFrom::default()).unwrap();
    assert_eq!(content(&hub, "mine"), other);
    assert_eq!(place.files("blobs").len(), 1);
    for name in ["hf:o/r", "smollm2:135m", "../x"] {
        assert!(hub.create(name, &told).is_err(), "{name}");
    }
}

#[test]
fn an_upload_is_checked_and_held_until_a_model_uses_it() {
    let place = Place::new();
    let hub = place.hub();
    let (bytes, told) = (gguf(900, 1), Told::default());
    let sha256 = Sha256::of(&bytes);
    assert!(!hub.holds(&sha256).unwrap());
    let error = upload(&hub, b"other", sha256).unwrap_err();
    assert!(matches!(error, HubError::HashMismatch { .. }), "{error}");
    assert!(error.to_string().starts_with("the upload of 5 bytes: expected sha256 "), "{error}");
    drop(hub.upload(sha256).unwrap());
    assert_eq!(place.files("partial"), Vec::<String>::new(), "what broke off leaves nothing");
    assert_eq!(upload(&hub, &bytes, sha256).unwrap(), 900);
    assert!(hub.holds(&sha256).unwrap());
    // A removal of another model sweeps, and spares it; also where that one has the same bytes.
    let file = place.path().join("x.gguf");
    for other in [gguf(500, 2), bytes.clone()] {
        std::fs::write(&file, &other).unwrap();
        hub.import(&file, "other", false, &told).unwrap();
        hub.store().remove("other").unwrap();
        assert!(hub.store().has_blob(&sha256) && place.files("blobs").len() == 1);
    }
    let mut new = hub.create("up", &told).unwrap();
    new.add_blob(&sha256, "model.gguf", FileRole::Model).unwrap();
    for name in ["../x", "a/b", ""] {
        assert!(new.add_blob(&sha256, name, FileRole::Other).is_err(), "{name:?}");
    }
    let absent = new.add_blob(&Sha256::of(b"absent"), "x", FileRole::Other).unwrap_err().to_string();
    assert!(absent.contains("hint: put its bytes into the store first"), "{absent}");
    new.finish(CreatedFrom::default()).unwrap();
    assert_eq!(hub.store().remove("up").unwrap().bytes_freed, 900, "it goes with its model, at once");
}

#[test]
fn a_blob_that_nobody_made_a_model_of_for_a_day_is_swept() {
    let place = Place::new();
    let hub = place.hub();
    let bytes = gguf(900, 1);
    let sha256 = Sha256::of(&bytes);
    upload(&hub, &bytes, sha256).unwrap();
    let held = place.home().root().join("partial").join(format!("held-{sha256}"));
    let yesterday = SystemTime::now() - Duration::from_secs(25 * 3600);
    std::fs::OpenOptions::new().write(true).open(held).unwrap().set_modified(yesterday).unwrap();
    let file = place.path().join("x.gguf");
    std::fs::write(&file, gguf(500, 2)).unwrap();
    hub.import(&file, "other", false, &Told::default()).unwrap();
    assert_eq!(hub.store().remove("other").unwrap().left_over_bytes_freed, 900);
}

#[test]
fn an_upload_stops_before_the_disk_is_full() {
    let place = Place::new();
    let hub = place.hub_with(hub::HubOptions { free_space: Arc::new(|_: &Path| Ok(1000)), ..options() });
    let error = upload(&hub, b"x", Sha256::of(b"x")).unwrap_err();
    assert!(matches!(error, HubError::DiskFull { free: 1000, .. }), "{error}");
}

#[test]
fn a_damaged_blob_is_not_made_into_a_model() {
    let place = Place::new();
    let (hub, told) = (place.hub(), Told::default());
    let bytes = gguf(900, 1);
    let sha256 = Sha256::of(&bytes);
    upload(&hub, &bytes, sha256).unwrap();
    let blob = hub.store().blob_path(&sha256);
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, gguf(900, 2)).unwrap();
    let mut new = hub.create("up", &told).unwrap();
    assert!(new.add_blob(&sha256, "model.gguf", FileRole::Model).is_err());
    assert!(!hub.holds(&sha256).unwrap(), "it is to be sent again");
}

#[test]
fn an_adapter_lies_beside_its_model_and_never_among_its_weights() {
    let place = Place::new();
    let (hub, told) = (place.hub(), Told::default());
    let (file, bytes) = (place.path().join("x.gguf"), gguf(900, 1));
    std::fs::write(&file, &bytes).unwrap();
    let base = hub.import(&file, "base", false, &told).unwrap();
    let folder = place.path().join("lora");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("adapter_config.json"), "{}").unwrap();
    let half = hub.import(&folder, "lora", false, &told).unwrap_err().to_string();
    assert!(half.contains("hint: an adapter is adapter_config.json and adapter_model.safetensors together"), "{half}");
    std::fs::write(folder.join("adapter_model.safetensors"), "weights").unwrap();
    let alone = hub.import(&folder, "lora", false, &told).unwrap();
    assert!(alone.is_adapter() && !base.is_adapter() && hub::is_adapter(&folder));
    let mut new = hub.create("both", &told).unwrap();
    new.share(&base.files[0]).unwrap();
    new.copy_adapter(&folder).unwrap();
    assert!(new.copy_adapter(&file).unwrap_err().to_string().contains("expected an adapter, got something else"));
    let both = new.finish(CreatedFrom::default()).unwrap();
    assert_eq!(std::fs::read(hub.store().locate(&both).unwrap()).unwrap(), bytes);
    assert!(!both.is_adapter() && both.sole_digest() == base.sole_digest());
    let beside = hub.store().locate_adapter(&both).unwrap().unwrap();
    assert_eq!(std::fs::read(beside.join("adapter_model.safetensors")).unwrap(), b"weights");
    assert_eq!(hub.store().locate_adapter(&base).unwrap(), None);
    hub.store().remove("both").unwrap();
    assert!(!beside.exists());
}

#[test]
fn manifests_of_older_versions_are_read() {
    let place = Place::new();
    let hub = place.hub();
    let file = place.path().join("x.gguf");
    std::fs::write(&file, gguf(900, 1)).unwrap();
    hub.import(&file, "old", false, &Told::default()).unwrap();
    let path = place.home().root().join("manifests/old.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let ollama = r#""ollama": {"template": "{{ .Prompt }}", "system": "s", "license": "MIT", "params": {}},"#;
    std::fs::write(&path, text.replacen('{', &format!("{{{ollama}"), 1)).unwrap();
    let read = hub.store().expect("old").unwrap();
    assert_eq!(read.unknown_fields(), Vec::<&str>::new());
    let settings = read.settings.unwrap();
    assert_eq!((settings.licenses, settings.system.as_deref()), (vec!["MIT".to_string()], Some("s")));
}
