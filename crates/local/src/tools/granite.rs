//! Calls as a JSON list after `<|tool_call|>`: Granite 3. Source: what its chat templates tell the model.

use super::{Format, Ids, Shape};

pub(super) static GRANITE: Format = Format {
    name: "granite",
    is_written: |template| template.contains("<|tool_call|> followed by a JSON list"),
    opens: &["<|tool_call|>"],
    closes: None,
    shape: Shape::List,
    takes_bare: false,
    before_name: "{\"name\": \"",
    after_name: "\", \"arguments\": ",
    after_arguments: "}",
    between: ", ",
    ids: Ids::Prefixed,
};
