//! The options that say what an answer must be.

use crate::failure::UsedWrongly;
use chat::AnswerFormat;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What the answer must be: one of these at most.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What the answer must be")]
#[group(multiple = false)]
pub struct FormatArgs {
    /// JSON that is valid against the JSON Schema in this file
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// A JSON object, whatever is in it
    #[arg(long)]
    json_object: bool,
    /// Text that this regular expression matches as a whole
    #[arg(long, value_name = "REGEX")]
    regex: Option<String>,
    /// One of these texts, with commas between them; may be given several times
    #[arg(long, value_name = "TEXT,..", value_delimiter = ',')]
    choices: Vec<String>,
    /// Text of the grammar in this file, GBNF (rules with ::=) or Lark
    #[arg(long, value_name = "FILE")]
    grammar: Option<PathBuf>,
}

impl FormatArgs {
    /// The format, read from its file where it stands in one; none where nothing was said.
    ///
    /// # Errors
    /// A file that cannot be read, or is no JSON: used wrongly.
    pub fn format(&self) -> Result<Option<AnswerFormat>, UsedWrongly> {
        if let Some(path) = &self.schema {
            let schema: Value = serde_json::from_str(&read("--schema", path)?).map_err(|error| {
                UsedWrongly(format!("--schema: {}: expected a JSON Schema: {error}", path.display()))
            })?;
            return Ok(Some(AnswerFormat::JsonSchema(schema)));
        }
        if let Some(path) = &self.grammar {
            return Ok(Some(AnswerFormat::of_grammar(read("--grammar", path)?)));
        }
        if let Some(expression) = &self.regex {
            return Ok(Some(AnswerFormat::Regex(expression.clone())));
        }
        if !self.choices.is_empty() {
            return Ok(Some(AnswerFormat::Choices(self.choices.clone())));
        }
        Ok(self.json_object.then_some(AnswerFormat::JsonObject))
    }
}

fn read(flag: &str, path: &Path) -> Result<String, UsedWrongly> {
    std::fs::read_to_string(path).map_err(|error| UsedWrongly(format!("{flag}: {}: {error}", path.display())))
}
