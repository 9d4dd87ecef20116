//! `--change`: what instructions of a Dockerfile make of a configuration.

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_oci::instruction;
use serde_json::{Map, Value};

use crate::container::signals;

/// The member `config` of a configuration after `--change`.
pub(crate) fn with_changes(
    mut config: Map<String, Value>,
    changes: &[String],
) -> Result<Map<String, Value>, ApiError> {
    instruction::apply(changes.iter().map(String::as_str), &mut config).map_err(|error| {
        ApiError::caused_by(ErrorCode::InvalidArgument, "the change cannot be made", &error)
    })?;
    if let Some(signal) = config.get("StopSignal").and_then(Value::as_str) {
        signals::parse(signal)?;
    }
    Ok(config)
}
