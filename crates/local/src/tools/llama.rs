//! A call as the whole answer, a JSON object with `parameters`: Llama 3.1 to 3.3. `<|python_tag|>` may come before it.
//! Source: what their chat templates tell the model, and the prompt formats of Llama's model cards.

use super::{Format, Ids, Shape};

pub(super) static LLAMA: Format = Format {
    name: "llama",
    is_written: |template| template.contains("{\"name\": function name, \"parameters\": "),
    opens: &["<|python_tag|>"],
    closes: None,
    shape: Shape::Bare,
    takes_bare: true,
    before_name: "{\"name\": \"",
    after_name: "\", \"parameters\": ",
    after_arguments: "}",
    between: "; ",
    ids: Ids::Prefixed,
};
