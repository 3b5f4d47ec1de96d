//! What stands behind the `?` of an address, as a type that refuses what it does not know.

use crate::api::{Dialect, Reject};
use crate::failure::{Failure, FailureKind};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::marker::PhantomData;

/// The parameters of a request as `T`; a refusal has the shape of the dialect `D`.
pub(crate) struct Parameters<D, T>(pub(crate) T, pub(crate) PhantomData<D>);

impl<S: Send + Sync, D: Dialect, T: DeserializeOwned> FromRequestParts<S> for Parameters<D, T> {
    type Rejection = Reject<D>;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Parameters<D, T>, Reject<D>> {
        let read = Query::try_from_uri(&parts.uri);
        let Query(parameters) = read.map_err(|error| Failure::new(FailureKind::Invalid, told(&error)))?;
        Ok(Parameters(parameters, PhantomData))
    }
}

/// The parser's own words, without those of the layers around it.
fn told(error: &QueryRejection) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("parameters of the address: {innermost}")
}
