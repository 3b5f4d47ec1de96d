//! Adapters in folders as the PEFT library saves them.
//!
//! Source of the keys and of what they mean: `LoraConfig` and `check_target_module_exists` of PEFT 0.21. A setting that is
//! neither read nor known to say nothing about the computation must be off: later versions may add kinds of adapter, and
//! to pass over one would change every answer in silence.

use std::collections::BTreeMap;

use formats::PeftDir;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::{DAMAGED, Halves, Modules, Pair, both, refuse_unused, shown, wrong};
use crate::ModelError;
use crate::weights::HF_PREFIXES;

/// What the library writes before the name of every tensor.
const WRAPPER: &str = "base_model.model.";
const HALVES: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];

/// The keys that are read below.
const READ: [&str; 12] = [
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "target_modules",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "init_lora_weights",
    "layers_to_transform",
    "layers_pattern",
    "exclude_modules",
];

/// Keys that say where an adapter comes from, how it was trained, or how a kind would work that another key turns on.
const HARMLESS: [&str; 17] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "parent_library",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// The ways of starting the training that leave the base as it is.
const STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// The most entries of a list or a table; a list that names every module of a large model has some hundreds.
const ENTRIES_MAX: usize = 1 << 13;
/// The most entries that are patterns rather than names, and the memory of each.
const PATTERNS_MAX: usize = 64;
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The pairs of a folder.
pub(super) fn pairs<'t>(folder: &'t PeftDir, modules: &'t Modules) -> Result<Vec<Pair<'t>>, ModelError> {
    let config = Config::new(&folder.config)?;
    let mut found: BTreeMap<&str, Halves<'t>> = BTreeMap::new();
    let mut unused = Vec::new();
    // The prefix of the names below the wrapper, the same for all.
    let mut prefix = None;
    for tensor in folder.tensors.iter() {
        let inner = tensor.name.strip_prefix(WRAPPER);
        let half = inner.and_then(|inner| {
            HALVES.iter().enumerate().find_map(|(half, ending)| Some((half, inner.strip_suffix(ending)?)))
        });
        let place = half.and_then(|(half, name)| {
            let known = HF_PREFIXES.iter().map(|(decoder, _)| *decoder);
            let (decoder, module) = known
                .filter(|decoder| prefix.is_none_or(|prefix| prefix == *decoder))
                .filter_map(|decoder| Some((decoder, name.strip_prefix(decoder)?)))
                .find(|(_, module)| modules.contains_key(*module))?;
            Some((half, decoder, module))
        });
        let Some((half, decoder, module)) = place else {
            unused.push(tensor.name.as_str());
            continue;
        };
        prefix = Some(decoder);
        let halves = found.entry(module).or_default();
        *if half == 0 { &mut halves.a } else { &mut halves.b } = Some(tensor);
    }
    refuse_unused(&unused)?;
    let prefix = prefix.unwrap_or(HF_PREFIXES[0].0);
    config.check_targets(prefix, modules, &found)?;
    let pair = |(module, halves): (&&str, &Halves<'t>)| {
        let name = format!("{prefix}{module}");
        let [a, b] = HALVES.map(|half| format!("{WRAPPER}{name}{half}"));
        let (a, b) = both(halves, [&a, &b])?;
        let (rank, alpha, is_stabilised) = (config.rank_of(&name), config.alpha_of(&name), config.is_stabilised);
        let scale = move |rank: usize| {
            let divisor = if is_stabilised { (rank as f64).sqrt() } else { rank as f64 };
            (alpha / divisor) as f32
        };
        Ok(Pair { module: &modules[*module], a, b, rank: Some(rank), scale: Box::new(scale) })
    };
    found.iter().map(pair).collect()
}

/// What the configuration says.
struct Config {
    rank: usize,
    alpha: f64,
    is_stabilised: bool,
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
    targets: Targets,
    /// Whether some modules that are targets may have no pair all the same.
    is_partial: bool,
}

/// Which modules were trained.
enum Targets {
    /// It is not said.
    Unknown,
    /// Every projection of the layers.
    All,
    /// Those of these names, or whose names end so after a dot.
    Names(Vec<String>),
    /// Those whose whole name is of this pattern.
    Pattern(Regex),
}

/// An entry of a table by module: the end of a name, after a dot or the whole of it.
enum Pattern {
    Name(String),
    Regex(Regex),
}

impl Pattern {
    fn matches(&self, module: &str) -> bool {
        match self {
            Pattern::Name(name) => ends_with(module, name),
            Pattern::Regex(regex) => regex.is_match(module),
        }
    }
}

fn ends_with(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// A refusal of a setting.
fn setting(key: &str, expected: impl Into<String>, got: impl ToString, hint: &'static str) -> ModelError {
    wrong(&format!("adapter_config.json: {}", shown(key)), expected, got, hint)
}

/// A value as a message shows it.
fn value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", shown(text)),
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Object(entries) => format!("an object of {}", entries.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

impl Config {
    fn new(root: &Value) -> Result<Config, ModelError> {
        let empty = Map::new();
        let config = root.as_object().unwrap_or(&empty);
        let get = |key: &str| config.get(key).filter(|value| !value.is_null());
        match get("peft_type").and_then(Value::as_str) {
            Some(kind) if kind.eq_ignore_ascii_case("lora") => {}
            kind => {
                let got = kind.map_or_else(|| "nothing".to_owned(), |kind| format!("\"{}\"", shown(kind)));
                return Err(setting("peft_type", "\"LORA\"", got, "other kinds of adapter are not supported"));
            }
        }
        let is_known = |key: &str| READ.contains(&key) || HARMLESS.contains(&key);
        if let Some((key, got)) = config.iter().find(|(key, got)| !is_known(key) && !is_off(got)) {
            let hint = "this variant of LoRA is not supported; train or save the adapter without it";
            return Err(setting(key, "it to be off", value(got), hint));
        }
        match get("bias").map(|bias| bias.as_str()) {
            None | Some(Some("none")) => {}
            Some(_) => {
                let hint = "adapters that train biases are not supported";
                return Err(setting("bias", "\"none\"", value(&config["bias"]), hint));
            }
        }
        match get("init_lora_weights") {
            None | Some(Value::Bool(_)) => {}
            Some(Value::String(start)) if STARTS.contains(&start.as_str()) => {}
            Some(other) => {
                let hint = "this way of starting changes the base too; save the adapter converted to plain LoRA";
                let expected = format!("true, false or one of {}", STARTS.join(", "));
                return Err(setting("init_lora_weights", expected, value(other), hint));
            }
        }
        let is_stabilised = match get("use_rslora") {
            None => false,
            Some(flag) => flag.as_bool().ok_or_else(|| setting("use_rslora", "a truth value", value(flag), DAMAGED))?,
        };
        let partial = ["layers_to_transform", "layers_pattern", "exclude_modules"];
        Ok(Config {
            // The library's own defaults.
            rank: get("r").map_or(Ok(8), |got| rank("r", got))?,
            alpha: get("lora_alpha").map_or(Ok(8.0), |got| alpha("lora_alpha", got))?,
            is_stabilised,
            ranks: table("rank_pattern", get("rank_pattern"), rank)?,
            alphas: table("alpha_pattern", get("alpha_pattern"), alpha)?,
            targets: Targets::new(get("target_modules"))?,
            is_partial: partial.iter().any(|key| get(key).is_some_and(|value| !is_off(value))),
        })
    }

    fn rank_of(&self, module: &str) -> usize {
        self.ranks.iter().find(|(pattern, _)| pattern.matches(module)).map_or(self.rank, |(_, rank)| *rank)
    }

    fn alpha_of(&self, module: &str) -> f64 {
        self.alphas.iter().find(|(pattern, _)| pattern.matches(module)).map_or(self.alpha, |(_, alpha)| *alpha)
    }

    /// Holds the tensors against the modules that were trained: one more or less is a file that does not belong to the
    /// configuration.
    fn check_targets(
        &self,
        prefix: &str,
        modules: &Modules,
        found: &BTreeMap<&str, Halves<'_>>,
    ) -> Result<(), ModelError> {
        for module in modules.keys() {
            let name = format!("{prefix}{module}");
            let is_target = match &self.targets {
                Targets::Unknown => return Ok(()),
                Targets::All => true,
                Targets::Names(names) => names.iter().any(|target| ends_with(&name, target)),
                Targets::Pattern(pattern) => pattern.is_match(&name),
            };
            let is_found = found.contains_key(module.as_str());
            if is_found && !is_target {
                let expected = format!("it to name {name}, for which there are tensors");
                return Err(setting("target_modules", expected, "others alone", DAMAGED));
            }
            if is_target && !is_found && !self.is_partial {
                let subject = format!("tensor {WRAPPER}{name}{}", HALVES[0]);
                return Err(wrong(&subject, "it, as target_modules names this module", "nothing", DAMAGED));
            }
        }
        Ok(())
    }
}

impl Targets {
    fn new(targets: Option<&Value>) -> Result<Targets, ModelError> {
        let key = "target_modules";
        match targets {
            None => Ok(Targets::Unknown),
            Some(Value::String(all)) if all == "all-linear" => Ok(Targets::All),
            Some(Value::String(pattern)) => Ok(Targets::Pattern(regex(key, pattern, "")?)),
            Some(Value::Array(names)) if names.len() <= ENTRIES_MAX => {
                let name = |name: &Value| name.as_str().map(str::to_owned);
                let names: Option<Vec<String>> = names.iter().map(name).collect();
                names.map(Targets::Names).ok_or_else(|| setting(key, "names of modules", "other values", DAMAGED))
            }
            Some(other) => {
                let expected = format!("a pattern or a list of at most {ENTRIES_MAX} names of modules");
                Err(setting(key, expected, value(other), DAMAGED))
            }
        }
    }
}

fn rank(key: &str, got: &Value) -> Result<usize, ModelError> {
    let rank =
        got.as_u64().and_then(|rank| usize::try_from(rank).ok()).filter(|rank| (1..=super::MOST_RANK).contains(rank));
    rank.ok_or_else(|| setting(key, format!("a rank of 1 to {}", super::MOST_RANK), value(got), DAMAGED))
}

fn alpha(key: &str, got: &Value) -> Result<f64, ModelError> {
    let alpha = got.as_f64().filter(|alpha| (*alpha as f32).is_finite());
    alpha.ok_or_else(|| setting(key, "a finite number", value(got), DAMAGED))
}

/// A table of values by module. The first entry that fits a module holds.
fn table<T>(
    key: &str,
    got: Option<&Value>,
    read: fn(&str, &Value) -> Result<T, ModelError>,
) -> Result<Vec<(Pattern, T)>, ModelError> {
    let Some(got) = got else { return Ok(Vec::new()) };
    let entries = got
        .as_object()
        .filter(|entries| entries.len() <= ENTRIES_MAX)
        .ok_or_else(|| setting(key, format!("an object of at most {ENTRIES_MAX} modules"), value(got), DAMAGED))?;
    let mut patterns = 0;
    let mut table = Vec::with_capacity(entries.len());
    for (module, got) in entries {
        let is_name = module.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character));
        let pattern = if is_name {
            Pattern::Name(module.clone())
        } else {
            patterns += 1;
            if patterns > PATTERNS_MAX {
                return Err(setting(key, format!("at most {PATTERNS_MAX} patterns"), "more", DAMAGED));
            }
            Pattern::Regex(regex(key, module, r"(?:.*\.)?")?)
        };
        table.push((pattern, read(&format!("{key}: {module}"), got)?));
    }
    Ok(table)
}

/// A pattern for the whole of a name, after `before`.
fn regex(key: &str, pattern: &str, before: &str) -> Result<Regex, ModelError> {
    let whole = format!("^{before}(?:{pattern})$");
    RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build().map_err(|_| {
        let hint = "name the modules instead; look-around and references backwards are not supported in patterns";
        setting(key, "a regular expression", shown(pattern), hint)
    })
}
