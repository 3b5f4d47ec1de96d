//! Calls as a JSON list after `[TOOL_CALLS]`: Mistral's models up to version 3 of its tokenizers (Mistral 7B 0.3, Nemo),
//! whose templates want ids of nine letters and digits. An id that the model gives itself comes after the arguments, too
//! late to name the call by; it is read and left. Source: their chat templates.

use super::{Format, Ids, Shape};

pub(super) static MISTRAL: Format = Format {
    name: "mistral",
    is_written: |template| ["[TOOL_CALLS][", "[TOOL_CALLS] ["].iter().any(|form| template.contains(form)),
    opens: &["[TOOL_CALLS]"],
    closes: None,
    shape: Shape::List,
    takes_bare: false,
    before_name: "{\"name\": \"",
    after_name: "\", \"arguments\": ",
    after_arguments: "}",
    between: ", ",
    ids: Ids::Nine,
};
