//! Any text as a task file: a task, or a reason with its place.
//!
//! Seeds: `examples/*/*.toml`.
#![no_main]

use std::path::Path;

use tasks::Task;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = Task::parse(text, Path::new("task.toml")) {
        assert!(error.to_string().contains("task.toml"));
    }
});
