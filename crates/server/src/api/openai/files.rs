//! `/v1/files`: what batches read, and what they write.
//!
//! A server keeps no text of requests by itself; a file is what its client asks it to keep, until it is deleted. Read
//! next: `upload` for how a file comes in, `batches` for what becomes of it.

#[cfg(test)]
mod tests;
mod upload;

use super::OpenAi;
use super::page::{Page, Paged};
use crate::admit::Context;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::failure::{Failure, FailureKind};
use crate::files::{StoredFile, may_see};
use crate::openapi::schema_of;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use axum::routing::{delete, get, post};
use futures::stream::unfold;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use utoipa::ToSchema;

/// The purpose of a file that a batch reads, and the only one that can be uploaded.
pub(super) const BATCH: &str = "batch";
/// The purpose of a file that a batch has written.
pub(super) const BATCH_OUTPUT: &str = "batch_output";

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

const PATH: &str = "/v1/files";
const ONE_PATH: &str = "/v1/files/{file_id}";

pub(super) static UPLOAD: Endpoint = Endpoint {
    method: Method::POST,
    path: PATH,
    scope: Scope::Infer,
    summary: "Keeps a file of requests for a batch (multipart: purpose=batch, file=@requests.jsonl)",
    request: None,
    response: Some(schema_of::<FileObject>),
    route: || post(upload),
};

pub(super) static LIST: Endpoint = Endpoint {
    method: Method::GET,
    path: PATH,
    scope: Scope::Infer,
    summary: "The files that are kept",
    request: None,
    response: Some(schema_of::<FileList>),
    route: || get(list),
};

pub(super) static ONE: Endpoint = Endpoint {
    method: Method::GET,
    path: ONE_PATH,
    scope: Scope::Infer,
    summary: "One file",
    request: None,
    response: Some(schema_of::<FileObject>),
    route: || get(one),
};

pub(super) static DELETE: Endpoint = Endpoint {
    method: Method::DELETE,
    path: ONE_PATH,
    scope: Scope::Infer,
    summary: "Removes a file and its text",
    request: None,
    response: Some(schema_of::<FileDeleted>),
    route: || delete(remove),
};

pub(super) static CONTENT: Endpoint = Endpoint {
    method: Method::GET,
    path: "/v1/files/{file_id}/content",
    scope: Scope::Infer,
    summary: "The bytes of a file",
    request: None,
    response: None,
    route: || get(content),
};

/// A file.
#[derive(Debug, Serialize, ToSchema)]
struct FileObject {
    id: String,
    /// Always `file`.
    object: &'static str,
    bytes: u64,
    /// Seconds since 1970.
    created_at: u64,
    /// Always null: a file stays until it is deleted.
    expires_at: Option<u64>,
    /// What its client calls it.
    filename: String,
    /// `batch`, or `batch_output`.
    purpose: String,
    /// Always `processed`.
    status: &'static str,
}

/// A page of files.
#[derive(Debug, Serialize, ToSchema)]
struct FileList {
    #[serde(flatten)]
    page: Paged,
    data: Vec<FileObject>,
}

/// A file that is gone.
#[derive(Debug, Serialize, ToSchema)]
struct FileDeleted {
    id: String,
    /// Always `file`.
    object: &'static str,
    deleted: bool,
}

impl From<StoredFile> for FileObject {
    fn from(file: StoredFile) -> FileObject {
        FileObject {
            id: file.id,
            object: "file",
            bytes: file.bytes,
            created_at: file.created,
            expires_at: None,
            filename: file.name,
            purpose: file.purpose,
            status: "processed",
        }
    }
}

async fn upload(
    State(app): State<Arc<App>>,
    context: Context,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<FileObject>, Reject<OpenAi>> {
    let file = upload::receive(&app, &context, &headers, request.into_body()).await?;
    Ok(Json(file.into()))
}

async fn list(
    State(app): State<Arc<App>>,
    context: Context,
    page: Page<OpenAi>,
) -> Result<Json<FileList>, Reject<OpenAi>> {
    let key = context.key.clone();
    let mut files = app.on_files(|kept| kept.store.list()).await?;
    files.retain(|file| may_see(file.owner.as_deref(), key.as_deref()));
    files.retain(|file| page.purpose.as_ref().is_none_or(|purpose| file.purpose == *purpose));
    let (files, page) = page.of(files, |file| &file.id)?;
    Ok(Json(FileList { page, data: files.into_iter().map(FileObject::from).collect() }))
}

async fn one(
    State(app): State<Arc<App>>,
    context: Context,
    Path(id): Path<String>,
) -> Result<Json<FileObject>, Reject<OpenAi>> {
    let file = app.on_files(move |kept| kept.store.get(&id, context.key.as_deref())).await?;
    Ok(Json(file.into()))
}

async fn remove(
    State(app): State<Arc<App>>,
    context: Context,
    Path(id): Path<String>,
) -> Result<Json<FileDeleted>, Reject<OpenAi>> {
    let removed = app.on_files(move |kept| {
        let file = kept.store.get(&id, context.key.as_deref())?;
        if let Some(batch) = kept.batches.unfinished_on(&file.id)? {
            let (id, status) = (&batch.id, batch.status.name());
            let message = format!(
                "the file {} is read by {id}, which is {status}\n\
                 hint: wait for it, or cancel it: POST /v1/batches/{id}/cancel",
                file.id
            );
            return Err(Failure::field("file_id", message));
        }
        kept.store.delete(&file)?;
        Ok(file.id)
    });
    Ok(Json(FileDeleted { id: removed.await?, object: "file", deleted: true }))
}

async fn content(
    State(app): State<Arc<App>>,
    context: Context,
    Path(id): Path<String>,
) -> Result<Response, Reject<OpenAi>> {
    let opened = app.on_files(move |kept| {
        let file = kept.store.get(&id, context.key.as_deref())?;
        Ok((kept.store.open(&file)?, file))
    });
    let (opened, file) = opened.await?;
    let mut response = Response::new(Body::from_stream(pieces(opened)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(file.bytes));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    Ok(response)
}

/// The bytes of a file, read apart from the threads that serve connections.
fn pieces(file: File) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
    unfold(Some(file), |file| async move {
        let mut file = file?;
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE);
            let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece);
            read.map(|_| (piece, file))
        });
        match read.await.map_err(io::Error::other).and_then(|read| read) {
            Ok((piece, _)) if piece.is_empty() => None,
            Ok((piece, file)) => Some((Ok(Bytes::from(piece)), Some(file))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// The refusal of a server that keeps no files.
pub(crate) fn keeps_none() -> Failure {
    Failure::new(
        FailureKind::NotFound,
        "this server keeps no files, and so has no batches\nhint: whoever runs it says where they may be kept",
    )
}
