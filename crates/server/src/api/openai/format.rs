//! What an answer must be: `response_format`, and the fields that vLLM has beside it.

use crate::api::format::AskedFormat;
use crate::failure::Failure;
use chat::AnswerFormat;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ResponseFormat {
    Text {},
    /// A JSON object.
    JsonObject {},
    /// JSON that is valid against a schema.
    JsonSchema {
        json_schema: NamedSchema,
    },
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedSchema {
    /// For people; it changes nothing.
    #[serde(rename = "name")]
    _name: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    /// A JSON Schema.
    schema: Option<Value>,
    /// Either way the answer is held to the schema.
    #[serde(rename = "strict")]
    _strict: Option<bool>,
}

/// vLLM's newer way of asking: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StructuredOutputs {
    /// A JSON Schema, or its text.
    #[schema(value_type = Option<Value>)]
    json: Option<Value>,
    /// A regular expression that the whole answer matches.
    regex: Option<String>,
    /// The answer is one of these texts.
    choice: Option<Vec<String>>,
    /// A grammar in Lark's notation, or in GBNF.
    grammar: Option<String>,
    /// Whether the answer is a JSON object.
    json_object: Option<bool>,
    /// There is none beside one blank after a comma and a colon, either way.
    #[serde(rename = "disable_any_whitespace")]
    _disable_any_whitespace: Option<bool>,
}

impl StructuredOutputs {
    /// Refuses one that asks for nothing.
    fn check(&self) -> Result<(), Failure> {
        let StructuredOutputs { json, regex, choice, grammar, json_object, .. } = self;
        let is_asked =
            [json.is_some(), regex.is_some(), choice.is_some(), grammar.is_some(), *json_object == Some(true)];
        if is_asked.contains(&true) {
            return Ok(());
        }
        let message = "structured_outputs: expected one of json, regex, choice, grammar or json_object, got none";
        Err(Failure::field("structured_outputs", message))
    }
}

/// All fields that say what the answer must be.
#[derive(Debug, Default)]
pub(super) struct FormatFields {
    pub(super) response_format: Option<ResponseFormat>,
    pub(super) structured_outputs: Option<StructuredOutputs>,
    pub(super) guided_json: Option<Value>,
    pub(super) guided_regex: Option<String>,
    pub(super) guided_choice: Option<Vec<String>>,
    pub(super) guided_grammar: Option<String>,
}

impl FormatFields {
    /// What they ask for, which may be one thing.
    pub(super) fn asked(self) -> Result<Option<AskedFormat>, Failure> {
        let mut all = Vec::new();
        let mut add = |field: &str, format: Option<AnswerFormat>| {
            all.extend(format.map(|format| AskedFormat { format, field: field.to_owned() }));
        };
        match self.response_format {
            None | Some(ResponseFormat::Text {}) => {}
            Some(ResponseFormat::JsonObject {}) => add("response_format", Some(AnswerFormat::JsonObject)),
            Some(ResponseFormat::JsonSchema { json_schema }) => {
                let field = "response_format.json_schema.schema";
                let missing = || Failure::field(field, format!("{field}: expected a JSON Schema, got none"));
                add(field, Some(AnswerFormat::JsonSchema(json_schema.schema.ok_or_else(missing)?)));
            }
        }
        let [json, object] = ["structured_outputs.json", "structured_outputs.json_object"];
        if let Some(outputs) = self.structured_outputs {
            outputs.check()?;
            add(json, outputs.json.map(|schema| schema_of(json, schema)).transpose()?);
            add(object, outputs.json_object.filter(|is_asked| *is_asked).map(|_| AnswerFormat::JsonObject));
            add("structured_outputs.regex", outputs.regex.map(AnswerFormat::Regex));
            add("structured_outputs.choice", outputs.choice.map(AnswerFormat::Choices));
            add("structured_outputs.grammar", outputs.grammar.map(AnswerFormat::of_grammar));
        }
        add("guided_json", self.guided_json.map(|schema| schema_of("guided_json", schema)).transpose()?);
        add("guided_regex", self.guided_regex.map(AnswerFormat::Regex));
        add("guided_choice", self.guided_choice.map(AnswerFormat::Choices));
        add("guided_grammar", self.guided_grammar.map(AnswerFormat::of_grammar));
        if let [first, second, ..] = &all[..] {
            let (first, second) = (&first.field, &second.field);
            return Err(Failure::field(second.clone(), format!("{second}: expected none beside {first}")));
        }
        Ok(all.pop())
    }
}

/// A schema, which may be sent as text.
fn schema_of(field: &str, schema: Value) -> Result<AnswerFormat, Failure> {
    match schema {
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(schema) => Ok(AnswerFormat::JsonSchema(schema)),
            Err(error) => Err(Failure::field(field, format!("{field}: expected a JSON Schema, got a text: {error}"))),
        },
        schema => Ok(AnswerFormat::JsonSchema(schema)),
    }
}
