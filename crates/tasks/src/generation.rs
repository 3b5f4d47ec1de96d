//! The table `[options]` of a task file: how to generate.

use crate::TaskError;
use crate::reader::Entry;
use chat::GenerationOptions;

/// One option: its key and how a value of it is taken.
struct Row {
    key: &'static str,
    set: fn(&mut GenerationOptions, Entry<'_>) -> Result<(), TaskError>,
}

/// Bias on single tokens and log-probabilities are left out: the first are ids of one model, the second a kind asks
/// for itself.
const ROWS: [Row; 10] = [
    Row {
        key: "max_tokens",
        set: |options, entry| {
            options.max_tokens =
                Some(entry.number("a whole number of 1 or more", |n| n >= 1.0 && n.fract() == 0.0)? as usize);
            Ok(())
        },
    },
    Row {
        key: "temperature",
        set: |options, entry| {
            options.temperature = Some(entry.number("a number of 0 or more", |n| n >= 0.0)? as f32);
            Ok(())
        },
    },
    Row {
        key: "top_k",
        set: |options, entry| {
            options.top_k = Some(entry.count()?);
            Ok(())
        },
    },
    Row {
        key: "top_p",
        set: |options, entry| {
            options.top_p = Some(entry.number("a number above 0, at most 1", |n| n > 0.0 && n <= 1.0)? as f32);
            Ok(())
        },
    },
    Row {
        key: "min_p",
        set: |options, entry| {
            options.min_p = Some(entry.number("a number of 0 or more, below 1", |n| (0.0..1.0).contains(&n))? as f32);
            Ok(())
        },
    },
    Row {
        key: "repeat_penalty",
        set: |options, entry| {
            options.repeat_penalty = Some(entry.number("a number above 0", |n| n > 0.0)? as f32);
            Ok(())
        },
    },
    Row {
        key: "presence_penalty",
        set: |options, entry| {
            options.presence_penalty = Some(entry.number("a number", |_| true)? as f32);
            Ok(())
        },
    },
    Row {
        key: "frequency_penalty",
        set: |options, entry| {
            options.frequency_penalty = Some(entry.number("a number", |_| true)? as f32);
            Ok(())
        },
    },
    Row {
        key: "seed",
        set: |options, entry| {
            options.seed = Some(entry.seed()?);
            Ok(())
        },
    },
    Row {
        key: "stop",
        set: |options, entry| {
            options.stop.clear();
            let items = if entry.is_list() { entry.items()? } else { vec![entry] };
            for item in items {
                let (text, empty) = (item.is_text(), item.expected("a text of at least one character"));
                options.stop.push(item.text()?);
                if text && options.stop.last().is_some_and(String::is_empty) {
                    return Err(empty);
                }
            }
            Ok(())
        },
    },
];

/// Reads the table. What it does not name is as in `base`.
pub fn read_over(base: &GenerationOptions, entry: Entry<'_>) -> Result<GenerationOptions, TaskError> {
    let mut section = entry.section(&ROWS.map(|row| row.key))?;
    let mut options = base.clone();
    for row in &ROWS {
        if let Some(entry) = section.take(row.key) {
            (row.set)(&mut options, entry)?;
        }
    }
    Ok(options)
}
