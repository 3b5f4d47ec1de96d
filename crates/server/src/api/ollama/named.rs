//! A model named by `model`, or by the older `name` that old clients still send.

use crate::failure::Failure;

/// The name that a request means.
pub(super) fn named(model: Option<String>, name: Option<String>) -> Result<String, Failure> {
    let model = model.filter(|model| !model.is_empty());
    let name = name.filter(|name| !name.is_empty());
    match (model, name) {
        (Some(model), Some(name)) if model != name => {
            let message = format!("name: expected the same as model ({model:?}), got {name:?}");
            Err(Failure::field("name", message))
        }
        (Some(model), _) | (None, Some(model)) => Ok(model),
        (None, None) => Err(Failure::field("model", "model: expected the name of a model, got none")),
    }
}
