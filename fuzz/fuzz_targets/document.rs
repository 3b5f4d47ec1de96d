//! Any bytes as a document of any format: its text, or a reason. Panics of the libraries that read it end the process that reads
//! documents in the product, so they are findings for them and none for us; ours are both.
#![no_main]

use tasks::documents::FORMATS;

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (format, bytes) = input;
    let format = &FORMATS[usize::from(format) % FORMATS.len()];
    if let Err(reason) = format.parse(bytes) {
        assert!(!reason.is_empty());
    }
});
