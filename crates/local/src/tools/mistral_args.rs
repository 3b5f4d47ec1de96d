//! `[TOOL_CALLS]name[ARGS]{..}`, in some with `[CALL_ID]id` between: Mistral's models from version 11 of its tokenizers
//! (Devstral, Mistral Small 3.2, Ministral 3). Source: their chat templates.

use super::{Format, Ids, Shape};

pub(super) static MISTRAL_ARGS: Format = Format {
    name: "mistral-args",
    is_written: |template| template.contains("[TOOL_CALLS]") && template.contains("[ARGS]"),
    opens: &["[TOOL_CALLS]"],
    closes: None,
    shape: Shape::Named { id_mark: "[CALL_ID]", arguments_mark: "[ARGS]" },
    takes_bare: false,
    before_name: "",
    after_name: "[ARGS]",
    after_arguments: "",
    between: "",
    ids: Ids::Nine,
};
