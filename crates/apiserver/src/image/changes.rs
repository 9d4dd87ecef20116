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
    let signal =
        |config: &Map<String, Value>| config.get("StopSignal").and_then(Value::as_str).map(str::to_owned);
    let before = signal(&config);
    instruction::apply(changes.iter().map(String::as_str), &mut config).map_err(|error| {
        ApiError::caused_by(ErrorCode::InvalidArgument, "the change cannot be made", &error)
    })?;
    // What the image says is taken as it is, as at a start.
    if let Some(signal) = signal(&config).filter(|_| signal(&config) != before) {
        signals::parse(&signal)?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_of_the_image_is_taken_and_one_of_a_change_must_exist() {
        let config = Map::from_iter([("StopSignal".to_owned(), Value::from("SIGFOO"))]);
        let changed = with_changes(config.clone(), &["USER www".to_owned()]).unwrap();
        assert_eq!(changed["StopSignal"], "SIGFOO");
        assert!(with_changes(config, &["STOPSIGNAL SIGBAR".to_owned()]).is_err());
    }
}
