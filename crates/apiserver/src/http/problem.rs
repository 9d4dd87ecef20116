//! Failures as responses.

use axum::Json;
use axum::response::{IntoResponse, Response};
use bulkhead_api::error::ApiError;
use http::StatusCode;

/// An [`ApiError`] with the status of its code.
#[derive(Debug)]
pub(super) struct Problem(pub(super) ApiError);

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}
