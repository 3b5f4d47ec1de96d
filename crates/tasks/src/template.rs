//! The text of an input: words of the task's author with the fields of a row between them.

use crate::{Input, TaskError};
use serde_json::Value;

/// What an input's text is made of: `Subject: {subject}` takes the row's field `subject`; `{{` and `}}` stand for
/// braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Words(String),
    Field(String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A brace without its other half, or a field without a name.
    pub fn parse(source: &str) -> Result<Template, TaskError> {
        let wrong = |at: usize, what: &str| {
            let column = source[..at].chars().count() + 1;
            let hint = "hint: a field stands as {name}, a brace as {{ or }}";
            TaskError::File(format!("character {column} of the template: {what}\n{hint}"))
        };
        let (mut parts, mut words, mut at) = (Vec::new(), String::new(), 0);
        while let Some(next) = source[at..].find(['{', '}']).map(|next| at + next) {
            words.push_str(&source[at..next]);
            let rest = &source[next..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                words.push_str(&rest[..1]);
                at = next + 2;
                continue;
            }
            let end = match rest.strip_prefix('{') {
                None => return Err(wrong(next, "expected `}}` or a `{` before it, got `}` alone")),
                Some(inner) => inner.find(['{', '}', '\n']).filter(|&end| inner[end..].starts_with('}')),
            };
            let Some(end) = end else { return Err(wrong(next, "expected a `}` that ends the field, got none")) };
            let name = rest[1..=end].trim();
            if name.is_empty() {
                return Err(wrong(next, "expected the name of a field between the braces, got none"));
            }
            if !words.is_empty() {
                parts.push(Part::Words(std::mem::take(&mut words)));
            }
            parts.push(Part::Field(name.to_owned()));
            at = next + end + 2;
        }
        words.push_str(&source[at..]);
        if !words.is_empty() {
            parts.push(Part::Words(words));
        }
        Ok(Template { parts, source: source.to_owned() })
    }

    /// One field and nothing else.
    pub fn field(name: &str) -> Template {
        Template { parts: vec![Part::Field(name.to_owned())], source: format!("{{{name}}}") }
    }

    /// The template as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The fields that it names, each once, in their order.
    pub fn fields(&self) -> Vec<&str> {
        let mut fields = Vec::new();
        for part in &self.parts {
            if let Part::Field(name) = part
                && !fields.contains(&name.as_str())
            {
                fields.push(name.as_str());
            }
        }
        fields
    }

    /// The text of an input.
    ///
    /// # Errors
    /// The input lacks a field that is named.
    pub fn fill(&self, input: &Input) -> Result<String, TaskError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Words(words) => text.push_str(words),
                Part::Field(name) => text.push_str(&field_text(input, name)?),
            }
        }
        Ok(text)
    }
}

/// A field of an input as text: null is empty, numbers and what has parts are as JSON has them.
///
/// # Errors
/// The input has no such field; the text names those that it has.
pub fn field_text(input: &Input, name: &str) -> Result<String, TaskError> {
    match input.fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Null) => Ok(String::new()),
        Some(other) => Ok(other.to_string()),
        None => {
            let names: Vec<_> = input.fields.keys().map(String::as_str).collect();
            let has = if names.is_empty() { "no fields at all".to_owned() } else { names.join(", ") };
            Err(TaskError::Input(format!(
                "the input has no field {name:?}, which the task reads\nhint: it has {has}; `input` in the task \
                 file says which fields are read"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: Value) -> Input {
        Input { fields: value.as_object().unwrap().clone(), pages: Vec::new() }
    }

    #[test]
    fn fields_stand_where_they_are_named_and_doubled_braces_are_braces() {
        let template = Template::parse("{{{subject}}}: { body } {n}{nothing}").unwrap();
        let input = row(json!({"subject": "Hello", "body": "a {b}", "n": 3, "nothing": null}));
        assert_eq!(template.fill(&input).unwrap(), "{Hello}: a {b} 3");
        assert_eq!(template.fields(), ["subject", "body", "n", "nothing"]);
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_those_that_are() {
        let error = Template::field("text").fill(&row(json!({"subject": "", "body": ""}))).unwrap_err();
        let expected = "the input has no field \"text\", which the task reads\n\
                        hint: it has subject, body; `input` in the task file says which fields are read";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn half_a_pair_of_braces_is_an_error_with_its_place() {
        let error = |source: &str| Template::parse(source).unwrap_err().to_string().lines().next().unwrap().to_owned();
        assert_eq!(error("ä {name"), "character 3 of the template: expected a `}` that ends the field, got none");
        assert_eq!(error("a }"), "character 3 of the template: expected `}}` or a `{` before it, got `}` alone");
        assert_eq!(
            error("{ }"),
            "character 1 of the template: expected the name of a field between the braces, got none"
        );
    }
}
