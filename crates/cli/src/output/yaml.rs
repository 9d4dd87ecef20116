//! YAML.

use bulkhead_api::error::ErrorCode;
use serde_json::Value;

use crate::failure::Failure;

/// A document.
pub(super) fn render(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map_err(|error| Failure::caused_by(ErrorCode::InternalError, "cannot write YAML", &error))
}
