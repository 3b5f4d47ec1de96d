//! Any bytes as a table of any format: rows, or a reason.
#![no_main]

use tasks::table;

const EXTENSIONS: [&str; 5] = ["csv", "tsv", "jsonl", "parquet", "xlsx"];

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (format, bytes) = input;
    if let Some(Err(error)) = table::parse(EXTENSIONS[usize::from(format) % EXTENSIONS.len()], bytes) {
        assert!(!error.to_string().is_empty());
    }
});
