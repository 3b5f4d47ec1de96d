//! `bantam create`: a Modelfile becomes a model that shares its base's bytes.

use crate::shapes::{assert_shape, checkpoint};
use crate::{bantam, run};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::tempdir;

fn import(home: &Path) {
    let (code, _, err) = run(bantam(home).arg("import").arg(checkpoint()).args(["--name", "tiny"]));
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_modelfile_becomes_a_model_that_shares_its_bytes() {
    let home = tempdir().unwrap();
    import(home.path());
    let file = home.path().join("Modelfile");
    let text =
        "# mine\nFROM tiny\nPARAMETER num_ctx 64\nPARAMETER stop a\nSYSTEM \"\"\"Be\nbrief.\"\"\"\nREQUIRES 0.14\n";
    std::fs::write(&file, text).unwrap();
    let create = |extra: &[&str]| {
        let (code, out, err) = run(bantam(home.path()).args(["create", "mine", "--json", "-f"]).arg(&file).args(extra));
        assert_eq!(code, 0, "{err}");
        (serde_json::from_str::<Value>(&out).unwrap(), out, err)
    };
    let (made, out, err) = create(&[]);
    assert_shape("create", 0, &out);
    assert_eq!((&made["name"], &made["base"]), (&json!("mine"), &json!("tiny")));
    assert!(err.contains("REQUIRES 0.14 has no effect here"), "{err}");
    let blobs = || std::fs::read_dir(home.path().join("blobs")).unwrap().count();
    assert_eq!(blobs(), 1);
    let (code, out, err) = run(bantam(home.path()).args(["show", "mine", "--json"]));
    assert_eq!(code, 0, "{err}");
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["forecast_context"], 64);
    // The same name once more: replaced, and its own bytes now.
    let (made, ..) = create(&["--quantize", "q8_0"]);
    assert!(made["bytes"].as_u64() < shown["bytes"].as_u64(), "{made}");
    assert_eq!(blobs(), 2);
    let (code, _, err) = run(bantam(home.path()).args(["rm", "tiny", "mine"]));
    assert_eq!((code, blobs()), (0, 0), "{err}");
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_makes_nothing() {
    let home = tempdir().unwrap();
    import(home.path());
    for (text, code, expected) in [
        ("FROM tiny\nHEAT 1", 2, "Modelfile: line 2: expected one of FROM, "),
        ("FROM tiny\nPARAMETER heat 1", 2, "line 2: PARAMETER: parameters that have no effect here: heat\nhint: "),
        ("FROM tiny\nTEMPLATE {{ .Prompt }}", 2, "templates are Jinja here; leave it out"),
        ("FROM nothing-like-it", 1, "no model \"nothing-like-it\""),
        ("FROM tiny\nADAPTER ./absent.gguf", 1, "adapters: ./absent.gguf: there is no such file"),
        ("FROM ./Modelfile", 1, "Modelfile"),
    ] {
        std::fs::write(home.path().join("Modelfile"), text).unwrap();
        let mut command = bantam(home.path());
        let (got, out, err) = run(command.current_dir(home.path()).args(["create", "mine"]));
        assert_eq!((got, out.as_str()), (code, ""), "{text}: {err}");
        assert!(err.contains(expected), "{text}: {err}");
    }
    let (code, _, err) = run(bantam(home.path()).args(["show", "mine"]));
    assert!(code == 1 && err.contains("no model \"mine\""), "{err}");
}
