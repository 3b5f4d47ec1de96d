//! Calls as JSON objects between `<tool_call>` marks: Hermes 2 Pro, from which Qwen 2.5, Qwen 3, Granite 4 and many
//! others took it over. Source: what their chat templates tell the model. The small ones (Qwen 2.5 Coder) often leave the
//! marks out and answer with the object alone, or with a block of code that holds it; where it names one of the tools and
//! its arguments, that is a call too.

use super::{Format, Ids, Shape};

pub(super) static HERMES: Format = Format {
    name: "hermes",
    is_written: |template| {
        let forms = ["<tool_call>\n{\"name\": ", "{\"name\": <function-name>, \"arguments\": <args-"];
        template.contains("</tool_call>") && forms.iter().any(|form| template.contains(form))
    },
    opens: &["<tool_call>"],
    closes: Some("</tool_call>"),
    shape: Shape::Objects,
    takes_bare: true,
    before_name: "\n{\"name\": \"",
    after_name: "\", \"arguments\": ",
    after_arguments: "}\n",
    between: "\n",
    ids: Ids::Prefixed,
};
