//! A field that holds one text or several, each as text or as token ids.
//!
//! Read next: `completions` and `embeddings`, which take one.

use crate::failure::Failure;
use crate::shapes::by_shape;
use chat::Prompt;
use utoipa::ToSchema;

/// A text, token ids, or a list of either.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[serde(untagged)]
pub(in crate::api) enum Inputs {
    One(String),
    List(Vec<Input>),
}

by_shape!(Inputs, "a text, token ids, or a list of either", text => Inputs::One, list => Inputs::List);

/// What stands in the list.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[serde(untagged)]
pub(in crate::api) enum Input {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

by_shape!(Input, "a text, a token id or a list of token ids", text => Input::Text, id => Input::Id, list => Input::Ids);

impl Input {
    fn kind(&self) -> &'static str {
        match self {
            Input::Text(_) => "a text",
            Input::Id(_) => "a token id",
            Input::Ids(_) => "a list of token ids",
        }
    }
}

impl Inputs {
    /// The prompts, at most so many, of the field of this name.
    pub(in crate::api) fn prompts(self, field: &str, most: usize) -> Result<Vec<Prompt>, Failure> {
        let list = match self {
            Inputs::One(text) => return Ok(vec![Prompt::Text(text)]),
            Inputs::List(list) => list,
        };
        let refuse = |at: usize, message: String| {
            let path = format!("{field}[{at}]");
            Err(Failure::field(path.clone(), format!("{path}: {message}")))
        };
        let Some(first) = list.first() else {
            return Err(Failure::field(field, format!("{field}: expected at least one, got an empty list")));
        };
        let kind = first.kind();
        if let Some(at) = list.iter().position(|one| one.kind() != kind) {
            return refuse(at, format!("expected {kind} as before it, got {}", list[at].kind()));
        }
        if !matches!(first, Input::Id(_)) && list.len() > most {
            return Err(Failure::field(field, format!("{field}: expected at most {most}, got {}", list.len())));
        }
        let mut ids = Vec::new();
        let mut prompts = Vec::new();
        for (at, one) in list.into_iter().enumerate() {
            match one {
                Input::Text(text) => prompts.push(Prompt::Text(text)),
                Input::Id(id) => ids.push(id),
                Input::Ids(ids) if ids.is_empty() => return refuse(at, "expected token ids, got none".to_owned()),
                Input::Ids(ids) => prompts.push(Prompt::Ids(ids)),
            }
        }
        if !ids.is_empty() {
            prompts.push(Prompt::Ids(ids));
        }
        Ok(prompts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;

    fn read(body: &str) -> Result<Vec<Prompt>, String> {
        let inputs: Inputs = parse(body.as_bytes()).map_err(|failure| failure.message)?;
        inputs.prompts("prompt", 2).map_err(|failure| failure.message)
    }

    #[test]
    fn all_four_shapes_are_read() {
        let text = |text: &str| Prompt::Text(text.to_owned());
        assert_eq!(read(r#""a""#), Ok(vec![text("a")]));
        assert_eq!(read(r#"["a","b"]"#), Ok(vec![text("a"), text("b")]));
        assert_eq!(read("[1,2,3]"), Ok(vec![Prompt::Ids(vec![1, 2, 3])]));
        assert_eq!(read("[[1,2],[3]]"), Ok(vec![Prompt::Ids(vec![1, 2]), Prompt::Ids(vec![3])]));
    }

    #[test]
    fn others_are_refused_with_their_place() {
        let refused = |body: &str| read(body).unwrap_err();
        assert_eq!(refused("[]"), "prompt: expected at least one, got an empty list");
        assert_eq!(refused("[1,\"a\"]"), "prompt[1]: expected a token id as before it, got a text");
        assert_eq!(refused("[[1],[]]"), "prompt[1]: expected token ids, got none");
        assert_eq!(refused(r#"["a","b","c"]"#), "prompt: expected at most 2, got 3");
        assert!(refused("7").contains("invalid type: integer `7`, expected a text, token ids, or a list of either"));
        assert!(refused("[[1,-2]]").starts_with("[0][1]: "), "{}", refused("[[1,-2]]"));
        assert!(refused("[4294967296]").starts_with("[0]: invalid value: integer `4294967296`"));
    }
}
