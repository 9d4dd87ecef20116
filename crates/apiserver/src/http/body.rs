//! Bodies and queries, with failures in the interface's own shape.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use bulkhead_api::error::{ApiError, ErrorCode};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::error::invalid;

/// A JSON body of any content type; an empty one is `{}`.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| invalid(format!("the body cannot be read: {rejection}")))?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            Problem(ApiError::caused_by(
                ErrorCode::InvalidArgument,
                "the body is not what was expected",
                &error,
            ))
        })
    }
}

/// A query string.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => Err(invalid(format!("the query cannot be understood: {rejection}")).into()),
        }
    }
}
