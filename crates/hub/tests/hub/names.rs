//! From what a user typed to a model, a near miss, or a prompt.

use crate::{Place, Told, gguf, pinned, pull};
use hub::{Lookup, ModelRef};
use std::path::PathBuf;

#[test]
fn names_prompts_and_near_misses_are_told_apart() {
    let place = Place::new();
    let hub = place.hub();
    let file = place.path().join("m.gguf");
    std::fs::write(&file, gguf(900, 1)).unwrap();
    hub.import(&file, "my-own", false, &Told::default()).unwrap();

    let model = |text: &str| match hub.look_up(text) {
        Lookup::Model(reference) => reference,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(model("smollm2:135m"), ModelRef::Catalog("smollm2:135m".into()));
    assert_eq!(model("SmolLM2"), ModelRef::Catalog("smollm2:135m".into()));
    assert_eq!(model("my-own"), ModelRef::Stored("my-own".into()));
    assert_eq!(model("ollama:x"), ModelRef::Ollama { name: "x".into(), tag: "latest".into() });
    assert_eq!(model("no/such.gguf"), ModelRef::Path(PathBuf::from("no/such.gguf")));
    assert_eq!(model(file.to_str().unwrap()), ModelRef::Path(file.clone()));

    for prompt in ["Name the three primary colours.", "Hello", "yes or no", "hf: what is it?", "what is x.gguf", ""] {
        assert_eq!(hub.look_up(prompt), Lookup::NotAModel, "{prompt}");
    }
    let nearest = |text: &str| match hub.look_up(text) {
        Lookup::NearMiss { nearest } => nearest,
        other => panic!("{text}: {other:?}"),
    };
    assert!(nearest("smolm2:135m").contains(&"smollm2:135m".to_string()));
    assert_eq!(nearest("my-onw"), ["my-own"]);
    // Names of another place, without its prefix: the default model must not answer in their stead.
    assert_eq!(nearest("Qwen/Qwen3-0.6B"), ["hf:Qwen/Qwen3-0.6B"]);
    assert_eq!(nearest("deepseek-r1:7b"), ["ollama:deepseek-r1:7b"]);
    assert_eq!(nearest("hf:foo"), ["hf:owner/repo[@revision][:file or quant]"]);
}

#[test]
fn an_unknown_model_is_an_error_with_the_nearest_names() {
    let hub = Place::new().hub();
    let error = hub.resolve("smolm2:135m").unwrap_err().to_string();
    assert!(error.starts_with("no model \"smolm2:135m\"; the nearest names are smollm2:135m"), "{error}");
    assert!(error.contains("\nhint: `bantam list --available` shows the catalog"), "{error}");
    let error = hub.resolve("Hello there").unwrap_err().to_string();
    assert!(error.starts_with("no model \"Hello there\"\nhint: "), "{error}");
    let error = hub.resolve("deepseek-r1:7b").unwrap_err().to_string();
    assert!(
        error.starts_with("no model \"deepseek-r1:7b\"; perhaps ollama:deepseek-r1:7b is meant\nhint: "),
        "{error}"
    );
}

#[test]
fn what_cannot_be_located_or_pulled_says_why() {
    let place = Place::new();
    place.catalog(&format!("unsupported = \"its attention is sparse\"\n{}", pinned(b"x")), &[]);
    let hub = place.hub();
    let unsupported = pull(&hub, "mine:1b", &Told::default()).unwrap_err();
    assert!(unsupported.starts_with("mine:1b is not supported yet: its attention is sparse\nhint: "), "{unsupported}");
    let located = |text: &str| hub.locate(&hub.resolve(text).unwrap()).unwrap_err().to_string();
    assert!(located("smollm2").starts_with("\"smollm2:135m\" is not in the store"), "{}", located("smollm2"));
    assert!(located("no/such.gguf").starts_with("no/such.gguf: not found\nhint: check the path"));
    let path = pull(&hub, "no/such.gguf", &Told::default()).unwrap_err();
    assert!(path.contains("a file of this machine needs no pull\nhint: run it as it is"), "{path}");
}
