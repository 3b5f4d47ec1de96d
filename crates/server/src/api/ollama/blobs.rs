//! `HEAD` and `POST /api/blobs/{digest}`: files that models are created from.
//!
//! A file goes to the store piece by piece and is never in memory as a whole, so that the bound on bodies is not its
//! bound; the store refuses what is not of its digest.

use super::Ollama;
use super::progress::is_digest;
use crate::admit::Context;
use crate::api::{Endpoint, Reject, Scope};
use crate::app::App;
use crate::failure::{Failure, FailureKind};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::routing::{head, post};
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use http_body_util::BodyExt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

const PATH: &str = "/api/blobs/{digest}";

pub(super) static HAS: Endpoint = Endpoint {
    method: Method::HEAD,
    path: PATH,
    scope: Scope::Admin,
    summary: "Whether the store has a file",
    request: None,
    response: None,
    route: || head(has),
};

pub(super) static PUT: Endpoint = Endpoint {
    method: Method::POST,
    path: PATH,
    scope: Scope::Admin,
    summary: "Puts a file into the store",
    request: None,
    response: None,
    route: || post(put),
};

async fn has(State(app): State<Arc<App>>, Path(digest): Path<String>) -> Result<StatusCode, Reject<Ollama>> {
    let digest = checked(digest)?;
    match is_there(&app, &digest).await? {
        true => Ok(StatusCode::OK),
        false => Err(Failure::new(FailureKind::NotFound, format!("the store has no file {digest}")).into()),
    }
}

async fn put(
    State(app): State<Arc<App>>,
    Path(digest): Path<String>,
    _context: Context,
    request: Request,
) -> Result<StatusCode, Reject<Ollama>> {
    let digest = checked(digest)?;
    if is_there(&app, &digest).await? {
        return Ok(StatusCode::OK);
    }
    let pieces = pieces(request.into_body(), app.options.body_timeout);
    app.on_host(move |host| Box::pin(async move { host.put_blob(&digest, pieces).await })).await?;
    Ok(StatusCode::CREATED)
}

async fn is_there(app: &Arc<App>, digest: &str) -> Result<bool, Failure> {
    let digest = digest.to_owned();
    app.on_host(move |host| Box::pin(async move { host.has_blob(&digest).await })).await
}

/// A digest, also as file names have it, with a dash.
fn checked(digest: String) -> Result<String, Failure> {
    let digest = digest.replacen("sha256-", "sha256:", 1);
    match is_digest(&digest) {
        true => Ok(digest),
        false => {
            let message = format!("digest: expected sha256: and 64 hexadecimal digits, got {digest:?}");
            Err(Failure::field("digest", message))
        }
    }
}

/// The pieces of a body; each must come within the bound on how long a body may take.
fn pieces(body: Body, within: Duration) -> BoxStream<'static, io::Result<Vec<u8>>> {
    let pieces = unfold(Some(body), move |body| async move {
        let mut body = body?;
        loop {
            let frame = match tokio::time::timeout(within, body.frame()).await {
                Ok(frame) => frame?,
                Err(_) => {
                    let message = format!("nothing came for {} s (--body-timeout)", within.as_secs());
                    return Some((Err(io::Error::new(io::ErrorKind::TimedOut, message)), None));
                }
            };
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => return Some((Ok(data.into()), Some(body))),
                // Trailers are no part of the file.
                Ok(Err(_)) => {}
                Err(error) => return Some((Err(io::Error::other(error)), None)),
            }
        }
    });
    pieces.boxed()
}
