//! How much memory a model will take, and how much there is: told before any of it is taken.
//!
//! Read next: `loading`, which refuses by it, and `forecast`, which tells it of models that are not here yet.

use crate::LoadOptions;
use chat::ChatError;
use kernels::KvShape;
use model::DecoderSpec;
use serde::Serialize;
use std::path::Path;

/// Tokens computed in one step, prompt pieces and decoding sequences together. Large enough that a matrix is read once
/// for many tokens, small enough that a dropped stream is noticed soon.
pub(crate) const STEP_TOKENS: usize = 512;

/// Rows of logits computed in one step: bounds them to 64 MiB at a vocabulary of 262,144.
pub(crate) const STEP_LOGIT_ROWS: usize = 64;

/// What a loaded model takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// The weights as stored: mapped from the file, and in memory while they are used.
    pub weights: u64,
    /// Keys and values of all sequences, as pages that they share.
    pub kv: u64,
    /// Buffers of a step, logits included.
    pub workspace: u64,
}

impl MemoryPlan {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.workspace)
    }

    /// The plan of a decoder with these dimensions. `kv_shape` as it will be allocated.
    pub(crate) fn of(spec: &DecoderSpec, weights: u64, kv_shape: &KvShape) -> MemoryPlan {
        let kv = kv_shape.bytes().map_or(u64::MAX, |bytes| bytes as u64);
        let heads = (spec.heads + 2 * spec.kv_heads) * spec.head_dim;
        MemoryPlan { weights, kv, workspace: workspace_bytes(spec.width, heads, spec.feed_forward, spec.vocabulary) }
    }

    /// Refuses what does not fit into the memory that is free; where nobody knows how much that is, nothing. `advice` is
    /// what to choose instead, beside smaller weights.
    pub(crate) fn check(&self, name: &str, options: &LoadOptions, advice: &str) -> Result<(), ChatError> {
        let Some(free) = options.free_memory() else { return Ok(()) };
        if self.total() <= free {
            return Ok(());
        }
        let context = match (options.kv_memory, options.sequences) {
            (Some(_), _) => "keys and values".to_owned(),
            (None, 0 | 1) => "context".to_owned(),
            (None, sequences) => format!("context of {sequences} sequences"),
        };
        Err(ChatError::Unloadable(format!(
            "{name} needs {} of memory (weights {}, {context} {}, buffers {}), {} {}\n\
             hint: choose {advice}{}, a smaller quantization or a smaller model",
            human_bytes(self.total()),
            human_bytes(self.weights),
            human_bytes(self.kv),
            human_bytes(self.workspace),
            if options.memory.is_some_and(|memory| memory <= free) { "--memory allows" } else { "free are" },
            human_bytes(free),
            if options.kv_memory.is_none() && options.sequences > 1 { ", fewer --sequences" } else { "" },
        )))
    }
}

/// Buffers of a step of [`STEP_TOKENS`] tokens, in f32: residual, branch and its norm `[T, D]`, heads in and out
/// `[T, (2H + 2Hkv) Dh]`, gate and up `[T, F]` and their product, and `[STEP_LOGIT_ROWS, V]` logits; besides the widest input
/// of a product rounded to eight bits, for which its sums and scales double the byte.
pub(crate) fn workspace_bytes(width: usize, heads: usize, feed_forward: usize, vocabulary: usize) -> u64 {
    let per_token = 3 * width as u64 + 2 * heads as u64 + 3 * feed_forward as u64;
    let rounded = 2 * width.max(heads).max(feed_forward) as u64;
    (4 * per_token + rounded) * STEP_TOKENS as u64 + 4 * vocabulary as u64 * STEP_LOGIT_ROWS as u64
}

/// Bytes that this process may still take: the smaller of what the system has available and what the control groups
/// that it is in leave. `None` where the system does not tell.
pub fn free_memory() -> Option<u64> {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_in_meminfo(&text));
    let group = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| left_in_groups(&text));
    match (system, group) {
        (Some(system), Some(group)) => Some(system.min(group)),
        (one, other) => one.or(other),
    }
}

/// The most memory that this process has used so far, in bytes. `None` where the system does not tell.
pub fn peak_memory() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// `MemAvailable` of `/proc/meminfo` (proc_meminfo(5)).
fn available_in_meminfo(text: &str) -> Option<u64> {
    kibibytes(text, "MemAvailable:")
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What the limits of the control groups leave, version 2 and version 1 (cgroups(7)); the tightest of the group and
/// those above it.
fn left_in_groups(cgroup: &str) -> Option<u64> {
    let mut tightest: Option<u64> = None;
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (root, limit, used) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max", "memory.current")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            continue;
        };
        let mut folder = Path::new(root).join(path.trim_start_matches('/'));
        while folder.starts_with(root) {
            let left = left_in_group(&folder, limit, used);
            tightest = match (tightest, left) {
                (Some(tightest), Some(left)) => Some(tightest.min(left)),
                (one, other) => one.or(other),
            };
            if !folder.pop() {
                break;
            }
        }
    }
    tightest
}

/// Limit less use of one group; files that were only read count as free, for they give way.
fn left_in_group(folder: &Path, limit: &str, used: &str) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    // "max" is no number, and so no limit.
    let limit: u64 = read(limit)?.trim().parse().ok()?;
    let used: u64 = read(used)?.trim().parse().ok()?;
    let files = read("memory.stat").map_or(0, |text| {
        let row = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
        row("inactive_file ").unwrap_or(0) + row("active_file ").unwrap_or(0)
    });
    Some(limit.saturating_sub(used.saturating_sub(files)))
}

/// A number of bytes as people write it: `98.4 MB`. Powers of 1000 for memory too, because what is compared with it, the
/// size of a download and of a file, is told so everywhere: by the hubs, the catalog and the progress bars.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        assert_eq!(available_in_meminfo("MemTotal:  99 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available_in_meminfo("MemAvailable: many kB\n"), None);
        assert_eq!(available_in_meminfo(""), None);
    }

    #[test]
    fn a_group_leaves_its_limit_less_what_cannot_give_way() {
        let folder = std::env::temp_dir().join(format!("bantam-cgroup-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        write("memory.stat", "anon 300\nfile 400\ninactive_file 350\nactive_file 50\n");
        assert_eq!(left_in_group(&folder, "memory.max", "memory.current"), Some(700));
        write("memory.max", "max\n");
        assert_eq!(left_in_group(&folder, "memory.max", "memory.current"), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_numbers() {
        let plan = MemoryPlan { weights: 3_000_000_000, kv: 1_000_000_000, workspace: 1_000_000 };
        let check = |memory, sequences| {
            let options = LoadOptions { memory: Some(memory), sequences, ..LoadOptions::default() };
            plan.check("big:70b", &options, "a smaller --context than 4096")
        };
        let error = check(1_000_000_000, 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "big:70b needs 4.0 GB of memory (weights 3.0 GB, context 1.0 GB, buffers 1.0 MB), --memory allows 1.0 GB\n\
             hint: choose a smaller --context than 4096, a smaller quantization or a smaller model"
        );
        let error = check(1_000_000_000, 8).unwrap_err().to_string();
        assert!(error.contains("context of 8 sequences 1.0 GB"), "{error}");
        assert!(check(5 << 30, 1).is_ok());
    }

    #[test]
    fn bytes_are_written_as_people_do() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_536, "1.5 kB"),
            (98_362_432, "98.4 MB"),
            (999_999_999, "1.0 GB"),
            (u64::MAX, "18446744.1 TB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
