//! TOML, whose documents are tables: an array becomes the key `items`.

use bulkhead_api::error::ErrorCode;
use serde_json::Value;

use crate::failure::Failure;

/// A document.
pub(super) fn render(value: &Value) -> Result<String, Failure> {
    let document = match convert(value) {
        Some(toml::Value::Table(table)) => table,
        Some(other) => toml::Table::from_iter([("items".to_owned(), other)]),
        None => toml::Table::new(),
    };
    toml::to_string(&document)
        .map_err(|error| Failure::caused_by(ErrorCode::InternalError, "cannot write TOML", &error))
}

/// TOML knows no null, and no integers beyond 64 bits with sign: those become text.
fn convert(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => toml::Value::Boolean(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => toml::Value::Integer(integer),
            (None, Some(integer)) => toml::Value::String(integer.to_string()),
            (None, None) => toml::Value::Float(number.as_f64()?),
        },
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(convert).collect()),
        Value::Object(members) => toml::Value::Table(
            members.iter().filter_map(|(key, value)| Some((key.clone(), convert(value)?))).collect(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arrays_become_items() {
        assert_eq!(render(&json!([])).unwrap(), "items = []\n");
        assert_eq!(
            render(&json!([{"b": u64::MAX, "a": null}])).unwrap(),
            "[[items]]\nb = \"18446744073709551615\"\n"
        );
    }
}
