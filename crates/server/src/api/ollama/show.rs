//! `POST /api/show`: all that is known of a model.

use super::Ollama;
use super::details::{DetailsObject, modified_at};
use super::named::named;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::routing::post;
use chat::{Capabilities, ModelDetails};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/api/show",
    scope: Scope::Infer,
    summary: "All that is known of a model",
    request: Some(schema_of::<ShowRequest>),
    response: Some(schema_of::<ShowResponse>),
    route: || post(show),
};

/// Which model to show.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ShowRequest)]
#[serde(deny_unknown_fields)]
struct ShowRequest {
    model: Option<String>,
    /// The older name of `model`.
    name: Option<String>,
    /// Whether to list the tensors.
    verbose: Option<bool>,
    /// Only empty: what is shown is what is kept.
    system: Option<String>,
    /// Only empty, as `system`.
    template: Option<String>,
    /// Only empty, as `system`.
    options: Option<Map<String, Value>>,
}

/// All that is known of a model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShowResponse)]
struct ShowResponse {
    license: String,
    /// The file that would make it again.
    modelfile: String,
    /// One a line.
    parameters: String,
    /// The chat template, Jinja.
    template: String,
    system: String,
    details: DetailsObject,
    /// The metadata of its file; null stands for what is long.
    model_info: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tensors: Vec<TensorObject>,
    capabilities: Vec<&'static str>,
    modified_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tensor)]
struct TensorObject {
    name: String,
    r#type: String,
    shape: Vec<usize>,
}

async fn show(
    State(app): State<Arc<App>>,
    JsonBody(request, ..): JsonBody<Ollama, ShowRequest>,
) -> Result<Json<ShowResponse>, Reject<Ollama>> {
    let sent = [
        ("system", request.system.is_some_and(|system| !system.is_empty())),
        ("template", request.template.is_some_and(|template| !template.is_empty())),
        ("options", request.options.is_some_and(|options| !options.is_empty())),
    ];
    if let Some((field, _)) = sent.iter().find(|(_, sent)| *sent) {
        return Err(Failure::field(*field, format!("{field}: expected none; what is shown is what is kept")).into());
    }
    let name = named(request.model, request.name)?;
    let details = app.on_host(move |host| Box::pin(async move { host.show(&name).await })).await?;
    Ok(Json(shown(details, request.verbose.unwrap_or(false))))
}

fn shown(details: ModelDetails, verbose: bool) -> ShowResponse {
    let modelfile = modelfile(&details);
    // Only files of one kind carry their architecture under this key.
    let format = if details.metadata.contains_key("general.architecture") { "gguf" } else { "" };
    let tensor = |(name, shape, r#type)| TensorObject { name, r#type, shape };
    ShowResponse {
        license: details.licenses.join("\n"),
        modelfile,
        parameters: parameters(&details.parameters),
        template: details.template,
        system: details.system.unwrap_or_default(),
        details: DetailsObject::of(&details.summary, format),
        model_info: details.metadata,
        tensors: if verbose { details.tensors.into_iter().map(tensor).collect() } else { Vec::new() },
        capabilities: capabilities(&details.capabilities),
        modified_at: modified_at(&details.summary),
    }
}

/// The reference's words for what a model can do.
fn capabilities(has: &Capabilities) -> Vec<&'static str> {
    let all = [
        (has.complete, "completion"),
        (has.tools, "tools"),
        (has.insert, "insert"),
        (has.embed, "embedding"),
        (has.think, "thinking"),
    ];
    all.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect()
}

/// One parameter a line, a line for each value of a list.
fn parameters(parameters: &Map<String, Value>) -> String {
    let lines = parameters.iter().flat_map(|(name, value)| {
        let values = match value {
            Value::Array(values) => &values[..],
            one => std::slice::from_ref(one),
        };
        values.iter().map(move |value| format!("{name:<30} {value}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A Modelfile that would make the model again from what it is made from.
fn modelfile(details: &ModelDetails) -> String {
    let summary = &details.summary;
    let mut file = format!("FROM {}\n", summary.base.as_ref().unwrap_or(&summary.name));
    let block = |file: &mut String, word: &str, text: &str| {
        let _ = writeln!(file, "{word} \"\"\"{text}\"\"\"");
    };
    if !details.template.is_empty() {
        block(&mut file, "TEMPLATE", &details.template);
    }
    if let Some(system) = &details.system {
        block(&mut file, "SYSTEM", system);
    }
    for line in parameters(&details.parameters).lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let _ = writeln!(file, "PARAMETER {name} {}", value.trim_start());
    }
    for license in &details.licenses {
        block(&mut file, "LICENSE", license);
    }
    file
}
