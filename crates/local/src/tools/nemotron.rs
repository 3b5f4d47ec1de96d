//! Calls as a JSON list between `<TOOLCALL>` marks: Nemotron Nano 2. Source: its chat template.

use super::{Format, Ids, Shape};

pub(super) static NEMOTRON: Format = Format {
    name: "nemotron",
    is_written: |template| template.contains("<TOOLCALL>[") && template.contains("]</TOOLCALL>"),
    opens: &["<TOOLCALL>"],
    closes: Some("</TOOLCALL>"),
    shape: Shape::List,
    takes_bare: false,
    before_name: "{\"name\": \"",
    after_name: "\", \"arguments\": ",
    after_arguments: "}",
    between: ", ",
    ids: Ids::Prefixed,
};
