//! Adapters in GGUF files, as `convert_lora_to_gguf.py` of llama.cpp writes them.
//!
//! Source of the keys and names: that script, and `src/llama-adapter.cpp` for what absent ones mean. Rows of query and key
//! stand as in GGUF files of the base.

use std::collections::BTreeMap;

use formats::Gguf;

use super::{Halves, MADE_FOR_ANOTHER, Modules, Pair, both, refuse_unused, shown, wrong};
use crate::ModelError;
use crate::arch::Family;

const ALPHA: &str = "adapter.lora.alpha";

/// The entries about the adapter that say nothing about the computation, beside those that are read.
const HARMLESS: [&str; 2] = ["adapter.lora.task_name", "adapter.lora.prompt_prefix"];
/// The entries that are read.
const READ: [&str; 2] = ["adapter.type", ALPHA];

/// The pairs of a file, for a base of this family.
pub(super) fn pairs<'t>(file: &'t Gguf, family: &Family, modules: &'t Modules) -> Result<Vec<Pair<'t>>, ModelError> {
    let metadata = &file.metadata;
    let text = |key: &str| -> Result<String, ModelError> {
        Ok(metadata.str(key)?.map_or_else(|| "nothing".to_owned(), |text| format!("\"{}\"", shown(text))))
    };
    for (key, expected, hint) in [
        ("general.type", "adapter", "the file holds a whole model or something else; give an adapter"),
        ("adapter.type", "lora", "only LoRA adapters are supported"),
    ] {
        let got = text(key)?;
        if got != format!("\"{expected}\"") {
            return Err(wrong(key, format!("\"{expected}\""), got, hint));
        }
    }
    let key = "general.architecture";
    let got = text(key)?;
    if !family.gguf.iter().any(|name| got == format!("\"{name}\"")) {
        return Err(wrong(key, format!("\"{}\", as of the base", family.gguf.join("\" or \"")), got, MADE_FOR_ANOTHER));
    }
    let known = |key: &str| READ.contains(&key) || HARMLESS.contains(&key);
    if let Some((key, _)) = metadata.iter().find(|(key, _)| key.starts_with("adapter.") && !known(key)) {
        return Err(wrong(
            &shown(key),
            "an adapter without this entry",
            "it",
            "this kind of adapter is not supported; save it as plain LoRA",
        ));
    }
    let alpha = metadata.f32(ALPHA)?;

    let mut found: BTreeMap<&str, Halves<'t>> = BTreeMap::new();
    let mut unused = Vec::new();
    for tensor in file.tensors.iter() {
        let a = tensor.name.strip_suffix(".lora_a").map(|module| (module, true));
        let half = a.or_else(|| tensor.name.strip_suffix(".lora_b").map(|module| (module, false)));
        match half.filter(|(module, _)| modules.contains_key(*module)) {
            Some((module, true)) => found.entry(module).or_default().a = Some(tensor),
            Some((module, false)) => found.entry(module).or_default().b = Some(tensor),
            None => unused.push(tensor.name.as_str()),
        }
    }
    refuse_unused(&unused)?;
    let pair = |(module, halves): (&&str, &Halves<'t>)| {
        let (a, b) = both(halves, [&format!("{module}.lora_a"), &format!("{module}.lora_b")])?;
        // An absent alpha, and 0, stand for a factor of 1.
        let scale = move |rank: usize| match alpha {
            Some(alpha) if alpha != 0.0 => (f64::from(alpha) / rank as f64) as f32,
            _ => 1.0,
        };
        Ok(Pair { module: &modules[*module], a, b, rank: None, scale: Box::new(scale) })
    };
    found.iter().map(pair).collect()
}
