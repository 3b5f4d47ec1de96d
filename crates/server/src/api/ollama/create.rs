//! `POST /api/create`: makes a model from another one, or from files that were put into the store before.
//!
//! Read next: `progress`; `blobs`, where files are put.

use super::Ollama;
use super::chat::messages::{MessageField, opening};
use super::named::named;
use super::options::options;
use super::progress::{ProgressLine, Work, is_digest, work};
use crate::admit::Context;
use crate::api::text_or::TextOr;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::body::JsonBody;
use crate::failure::Failure;
use crate::openapi::schema_of;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::post;
use chat::{CreateRequest, HostFuture, ModelHost, PullProgress};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) static ENDPOINT: Endpoint = Endpoint {
    method: Method::POST,
    path: "/api/create",
    scope: Scope::Admin,
    summary: "Makes a model from another one, or from files",
    request: Some(schema_of::<MakeRequest>),
    response: Some(schema_of::<ProgressLine>),
    route: || post(create),
};

/// A model to make.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateRequest)]
#[serde(deny_unknown_fields)]
struct MakeRequest {
    /// Its name.
    model: Option<String>,
    /// The older name of `model`.
    name: Option<String>,
    /// The model that it is made from.
    from: Option<String>,
    /// Its files by name: digest, as they were put under `/api/blobs`.
    files: Option<BTreeMap<String, String>>,
    /// Adapters (LoRA) by name: digest.
    adapters: Option<BTreeMap<String, String>>,
    /// Options that requests leave open.
    parameters: Option<Map<String, Value>>,
    /// The system text of conversations that have none.
    system: Option<String>,
    /// The chat template, Jinja.
    template: Option<String>,
    license: Option<TextOr<String>>,
    /// Messages that stand before every conversation.
    messages: Option<Vec<MessageField>>,
    /// Quantize the weights so, as `q4_k_m`.
    #[serde(alias = "quantization")]
    quantize: Option<String>,
    /// A line for each step, unless false.
    stream: Option<bool>,
}

async fn create(
    State(app): State<Arc<App>>,
    context: Context,
    JsonBody(request, ..): JsonBody<Ollama, MakeRequest>,
) -> Result<Response, Reject<Ollama>> {
    let stream = request.stream.unwrap_or(true);
    let make = Make(asked(request)?);
    Ok(work(&app, context, stream, make).await?)
}

fn asked(request: MakeRequest) -> Result<CreateRequest, Failure> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let from = some(request.from);
    let files = digests("files", request.files)?;
    if from.is_none() && files.is_empty() {
        return Err(Failure::field("from", "from: expected a model to make it from, or files, got none"));
    }
    let parameters = request.parameters.unwrap_or_default();
    options("parameters", Some(&parameters))?;
    let licenses = request.license.map(TextOr::into_texts).unwrap_or_default();
    Ok(CreateRequest {
        name: named(request.model, request.name)?,
        from,
        files,
        adapters: digests("adapters", request.adapters)?,
        template: some(request.template),
        system: some(request.system),
        messages: opening(request.messages.unwrap_or_default())?,
        licenses: licenses.into_iter().filter(|license| !license.is_empty()).collect(),
        parameters: parameters.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        quantize: some(request.quantize),
    })
}

/// Files by name, each known by its digest: a client over the network names no file of this machine.
fn digests(field: &str, files: Option<BTreeMap<String, String>>) -> Result<BTreeMap<String, String>, Failure> {
    let files = files.unwrap_or_default();
    match files.iter().find(|(_, digest)| !is_digest(digest)) {
        Some((name, digest)) => {
            let path = format!("{field}.{name}");
            let message = format!("{path}: expected sha256: and 64 hexadecimal digits, got {digest:?}");
            Err(Failure::field(path, message))
        }
        None => Ok(files),
    }
}

struct Make(CreateRequest);

impl Work for Make {
    fn begin<'a>(&'a self, host: &'a dyn ModelHost, progress: &'a dyn PullProgress) -> HostFuture<'a, ()> {
        host.create(self.0.clone(), progress)
    }
}
