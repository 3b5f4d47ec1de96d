//! How a file comes in: a form of several parts (RFC 7578), written to the disk as it comes.
//!
//! The bound on bodies is not its bound; it has one of its own. A part that is not known is refused by its name.

use super::BATCH;
use crate::admit::Context;
use crate::api::openai::now;
use crate::app::App;
use crate::failure::{Failure, FailureKind, nearest_hint};
use crate::files::{FileStore, Incoming, LONGEST_NAME, StoredFile};
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use multer::{Constraints, Field, Multipart, SizeLimit};
use std::sync::Arc;

/// The parts of the form.
const PARTS: [&str; 2] = ["file", "purpose"];
/// Longest purpose, and what the form may have beside the file.
const LONGEST_PURPOSE: u64 = 64;
const BESIDE_FILE: u64 = 16 << 10;
/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// Reads the form and keeps its file.
pub(super) async fn receive(
    app: &Arc<App>,
    context: &Context,
    headers: &HeaderMap,
    body: Body,
) -> Result<StoredFile, Failure> {
    let most = app.kept()?.store.max_file_bytes();
    let limits = SizeLimit::new().whole_stream(most.saturating_add(BESIDE_FILE)).for_field("file", most);
    let constraints = Constraints::new().size_limit(limits.for_field("purpose", LONGEST_PURPOSE));
    let mut form = Multipart::with_constraints(body.into_data_stream(), boundary(headers)?, constraints);
    let (mut file, mut purpose) = (None, None);
    while let Some(part) = next(app, form.next_field()).await?.map_err(|error| refusal(&error, most))? {
        match part.name().unwrap_or_default() {
            "file" if file.is_none() => file = Some(write(app, part, most).await?),
            "purpose" if purpose.is_none() => {
                purpose = Some(next(app, part.text()).await?.map_err(|error| refusal(&error, most))?);
            }
            name => return Err(unknown_part(name)),
        }
    }
    check_purpose(purpose.as_deref())?;
    let Some((incoming, name)) = file else { return Err(missing("file", "the file itself")) };
    let owner = context.key.as_ref().map(|key| key.id.clone());
    let (id, purpose, created) = (FileStore::new_id(), BATCH.to_owned(), now());
    let file = StoredFile { id, name, purpose, bytes: 0, created, owner };
    app.on_files(move |kept| kept.store.upload(incoming, file)).await
}

fn boundary(headers: &HeaderMap) -> Result<String, Failure> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    multer::parse_boundary(kind).map_err(|_| {
        let message = format!(
            "content-type: expected multipart/form-data with its boundary, got {kind:?}\n\
             hint: curl -F purpose=batch -F file=@requests.jsonl"
        );
        Failure::new(FailureKind::Invalid, message)
    })
}

/// What comes next of a body; it must come within the bound on how long a body may take.
async fn next<F: Future>(app: &App, coming: F) -> Result<F::Output, Failure> {
    let within = app.options.body_timeout;
    tokio::time::timeout(within, coming).await.map_err(|_| {
        let message = format!("nothing came for {} s (--body-timeout)", within.as_secs());
        Failure::new(FailureKind::Timeout, message)
    })
}

/// Writes the part that is the file, and returns it with its name.
async fn write(app: &Arc<App>, mut part: Field<'_>, most: u64) -> Result<(Incoming, String), Failure> {
    let name = part.file_name().unwrap_or_default().to_owned();
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        let message = format!("file: expected a file with a name of 1 to {LONGEST_NAME} printable bytes");
        return Err(Failure::field("file", message));
    }
    let mut incoming = app.on_files(|kept| kept.store.begin_upload()).await?;
    let mut buffer: Vec<u8> = Vec::new();
    while let Some(piece) = next(app, part.chunk()).await?.map_err(|error| refusal(&error, most))? {
        buffer.extend_from_slice(&piece);
        if buffer.len() >= BUFFER {
            incoming = put(app, incoming, std::mem::take(&mut buffer).into()).await?;
        }
    }
    Ok((put(app, incoming, buffer.into()).await?, name))
}

async fn put(app: &Arc<App>, mut incoming: Incoming, bytes: Bytes) -> Result<Incoming, Failure> {
    let written = app.on_files(move |kept| {
        kept.store.write(&mut incoming, &bytes)?;
        Ok(incoming)
    });
    written.await
}

fn check_purpose(purpose: Option<&str>) -> Result<(), Failure> {
    match purpose {
        Some(BATCH) => Ok(()),
        Some(other) => {
            let message = format!("purpose: expected `{BATCH}`, the one purpose that files have here, got {other:?}");
            Err(Failure::field("purpose", message))
        }
        None => Err(missing("purpose", &format!("`{BATCH}`"))),
    }
}

fn missing(part: &str, expected: &str) -> Failure {
    Failure::field(part, format!("{part}: missing part `{part}` of the form, expected {expected}"))
}

fn unknown_part(name: &str) -> Failure {
    let shown: String = name.chars().take(64).collect();
    let message = match shown.as_str() {
        "file" | "purpose" => format!("{shown}: the part `{shown}` came twice, expected it once"),
        "expires_after[anchor]" | "expires_after[seconds]" => {
            format!(
                "{shown}: files do not expire here\nhint: leave it out, and delete the file: DELETE /v1/files/{{file_id}}"
            )
        }
        _ => {
            let hint = nearest_hint(&shown, PARTS.into_iter()).unwrap_or_default();
            format!("{shown}: unknown part `{shown}`, expected `file`, `purpose`{hint}")
        }
    };
    Failure::field(shown, message)
}

fn refusal(error: &multer::Error, most: u64) -> Failure {
    match error {
        multer::Error::FieldSizeExceeded { field_name, .. } if field_name.as_deref() == Some("purpose") => {
            Failure::field(
                "purpose",
                format!("purpose: expected `{BATCH}`, got a text of more than {LONGEST_PURPOSE} bytes"),
            )
        }
        multer::Error::FieldSizeExceeded { .. } | multer::Error::StreamSizeExceeded { .. } => {
            let message = format!("the file has more than {most} bytes (--max-file-bytes)");
            Failure { field: Some("file".to_owned()), ..Failure::new(FailureKind::TooLarge, message) }
        }
        error => Failure::new(FailureKind::Invalid, format!("the body is not the form that was expected: {error}")),
    }
}
