//! A batch as the reference has it.

use super::record::{BatchError, Record, RequestCounts, Status};
use crate::api::openai::page::Paged;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchObject {
    id: String,
    /// Always `batch`.
    object: &'static str,
    endpoint: String,
    /// What is wrong with the batch as a whole, or with lines of its file; null while nothing is.
    errors: Option<BatchErrors>,
    input_file_id: String,
    completion_window: String,
    /// `validating`, `failed`, `in_progress`, `finalizing`, `completed`, `expired`, `cancelling`, `cancelled`.
    status: &'static str,
    /// The lines that were answered; null while there are none.
    output_file_id: Option<String>,
    /// The lines that were not; null while there are none.
    error_file_id: Option<String>,
    /// Seconds since 1970, as all times.
    created_at: u64,
    in_progress_at: Option<u64>,
    expires_at: u64,
    finalizing_at: Option<u64>,
    completed_at: Option<u64>,
    failed_at: Option<u64>,
    expired_at: Option<u64>,
    cancelling_at: Option<u64>,
    cancelled_at: Option<u64>,
    request_counts: RequestCounts,
    metadata: Option<BTreeMap<String, String>>,
    /// What its lines took; all zero until its end.
    usage: BatchUsage,
}

#[derive(Debug, Serialize, ToSchema)]
struct BatchErrors {
    /// Always `list`.
    object: &'static str,
    data: Vec<BatchError>,
}

#[derive(Debug, Serialize, ToSchema)]
struct BatchUsage {
    input_tokens: u64,
    input_tokens_details: BatchInputDetails,
    output_tokens: u64,
    output_tokens_details: BatchOutputDetails,
    total_tokens: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct BatchInputDetails {
    cached_tokens: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct BatchOutputDetails {
    /// Thought is counted with the answers.
    reasoning_tokens: u64,
}

/// A page of batches.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchList {
    #[serde(flatten)]
    page: Paged,
    data: Vec<BatchObject>,
}

impl BatchList {
    pub(super) fn of(page: Paged, records: Vec<Record>) -> BatchList {
        BatchList { page, data: records.into_iter().map(BatchObject::of).collect() }
    }
}

impl BatchObject {
    pub(super) fn of(record: Record) -> BatchObject {
        let at = |status: Status| record.entered.get(&status).copied();
        let tokens = record.tokens;
        BatchObject {
            object: "batch",
            errors: (!record.errors.is_empty()).then_some(BatchErrors { object: "list", data: record.errors }),
            status: record.status.name(),
            output_file_id: record.output_file,
            error_file_id: record.error_file,
            created_at: at(Status::Validating).unwrap_or_default(),
            in_progress_at: at(Status::InProgress),
            expires_at: record.expires,
            finalizing_at: at(Status::Finalizing),
            completed_at: at(Status::Completed),
            failed_at: at(Status::Failed),
            expired_at: at(Status::Expired),
            cancelling_at: at(Status::Cancelling),
            cancelled_at: at(Status::Cancelled),
            request_counts: record.counts,
            metadata: record.metadata,
            usage: BatchUsage {
                input_tokens: tokens.input,
                input_tokens_details: BatchInputDetails { cached_tokens: tokens.cached },
                output_tokens: tokens.output,
                output_tokens_details: BatchOutputDetails { reasoning_tokens: 0 },
                total_tokens: tokens.input + tokens.output,
            },
            id: record.id,
            endpoint: record.endpoint,
            input_file_id: record.input_file,
            completion_window: record.window,
        }
    }
}
