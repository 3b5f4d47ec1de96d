//! Fields without a schema: a list of names, or names with what each is, become a schema whose values may all be
//! missing.

use crate::TaskError;
use crate::reader::{Entry, nearest};
use serde_json::{Map, Value, json};

/// A type that a field may have, as task files name it, and its schema but for being null.
const TYPES: [(&str, &str, Option<&str>); 5] = [
    ("text", "string", None),
    ("number", "number", None),
    ("integer", "integer", None),
    ("boolean", "boolean", None),
    ("date", "string", Some("date")),
];

/// Characters of a text that is told as a field and not by a schema: more than a name, an address or a remark has. A
/// small model that begins to repeat itself would else go on to the end of its tokens, and the row would be lost.
const LONGEST_TEXT: usize = 500;

/// A field that is extracted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in the object.
    pub name: String,
    /// What it is, in words, where the name does not say it all.
    pub description: Option<String>,
    /// `text`, `number`, `integer`, `boolean` or `date`.
    pub kind: String,
}

impl Field {
    /// A field that is text.
    pub fn text(name: impl Into<String>) -> Field {
        Field { name: name.into(), description: None, kind: "text".to_owned() }
    }

    /// A field as lists name it: `name`, `name:type`, `name=description` or `name:type=description`.
    pub fn parse(text: &str) -> Field {
        let (text, description) = match text.split_once('=') {
            Some((text, description)) => (text, Some(description.trim().to_owned())),
            None => (text, None),
        };
        let field = match text.split_once(':') {
            Some((name, kind)) => Field { kind: kind.trim().to_owned(), ..Field::text(name.trim()) },
            None => Field::text(text.trim()),
        };
        Field { description: description.filter(|text| !text.is_empty()), ..field }
    }

    fn is_type(kind: &str) -> bool {
        TYPES.iter().any(|(name, ..)| *name == kind)
    }
}

/// The type that a value has, beside those that had one before it; empty while all are null.
pub fn type_of(before: Option<&str>, value: &Value) -> &'static str {
    let kind = match value {
        Value::Null => "",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        _ => "text",
    };
    match (before.unwrap_or(""), kind) {
        ("", kind) => kind,
        (before, kind) if kind.is_empty() || before == kind => {
            TYPES.iter().find(|row| row.0 == before).map_or("", |row| row.0)
        }
        ("number" | "integer", "number" | "integer") => "number",
        _ => "text",
    }
}

/// The schema of an object that has all these fields, null where a text does not say.
///
/// # Errors
/// No fields, one without a name, two of the same name, a type that there is not.
pub fn schema_of(fields: &[Field]) -> Result<Value, String> {
    if fields.is_empty() {
        return Err("there are no fields\nhint: name at least one".to_owned());
    }
    let mut properties = Map::new();
    for field in fields {
        if field.name.trim().is_empty() {
            return Err("a field has no name\nhint: a field is named by a word or a few".to_owned());
        }
        let Some((_, json_type, format)) = TYPES.iter().find(|(name, ..)| *name == field.kind) else {
            let names = TYPES.map(|(name, ..)| name);
            let near = nearest(&field.kind, &names).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
            let types = names.join(", ");
            return Err(format!("there is no type {:?}\nhint: {near}expected one of {types}", field.kind));
        };
        let mut property = json!({ "type": [json_type, "null"] });
        if let Some(format) = format {
            property["format"] = json!(format);
        }
        if field.kind == "text" {
            property["maxLength"] = json!(LONGEST_TEXT);
        }
        if let Some(description) = &field.description {
            property["description"] = json!(description);
        }
        if properties.insert(field.name.clone(), property).is_some() {
            return Err(format!("the field {:?} stands twice\nhint: leave one of them out", field.name));
        }
    }
    let names: Vec<_> = properties.keys().cloned().collect();
    Ok(json!({ "type": "object", "properties": properties, "required": names, "additionalProperties": false }))
}

/// Whether the schema lists what the value at a pointer may be, so that it need not stand in a text.
pub fn is_of_a_list(schema: &Value, pointer: &str) -> bool {
    let lists = |schema: &Value| schema.get("enum").is_some() || schema.get("const").is_some();
    let mut at = Some(schema);
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        at = at.and_then(|schema| match key.parse::<usize>() {
            Ok(_) if schema.get("items").is_some() => schema.get("items"),
            _ => schema.get("properties").and_then(|properties| properties.get(&key)),
        });
    }
    at.is_some_and(lists)
}

/// What is to be said of texts that are as long as their schema lets them be: they may go on in the source.
pub fn at_the_bound(schema: &Value, value: &Value) -> Vec<String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let cut = properties.into_iter().flatten().filter_map(|(name, property)| {
        let most = usize::try_from(property.get("maxLength")?.as_u64()?).ok()?;
        let text = value.get(name)?.as_str()?;
        (text.chars().count() >= most).then(|| {
            format!("{name:?} may be incomplete: it has the {most} characters that its schema allows (maxLength)")
        })
    });
    cut.collect()
}

/// Reads `fields`: a list as [`Field::parse`] reads it, or a table of names with a type, a description or both.
pub fn read(entry: Entry<'_>) -> Result<Value, TaskError> {
    let whole = entry.wrong("");
    let mut fields = Vec::new();
    if entry.is_list() {
        for item in entry.items()? {
            fields.push(Field::parse(&item.text()?));
        }
    } else {
        for entry in entry.free_section()?.entries() {
            fields.push(read_field(entry)?);
        }
    }
    schema_of(&fields).map_err(|why| match whole {
        TaskError::File(place) => TaskError::File(place + &why),
        other => other,
    })
}

fn read_field(entry: Entry<'_>) -> Result<Field, TaskError> {
    let field = Field::text(entry.key.as_str());
    if entry.is_text() {
        let says = entry.text()?;
        let is_type = Field::is_type(&says);
        return Ok(if is_type { Field { kind: says, ..field } } else { Field { description: Some(says), ..field } });
    }
    let mut section = entry.section(&["type", "description"])?;
    let kind = section.text("type")?.unwrap_or_else(|| "text".to_owned());
    Ok(Field { kind, description: section.text("description")?, ..field })
}
