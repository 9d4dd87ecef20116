//! Objects in the format that was asked for.

use bulkhead_api::error::ErrorCode;
use serde::Serialize;
use serde_json::Value;

use super::format::{Format, Structure};
use super::vocabulary::{self, Templated};
use super::{escape, json, table, toml_text, yaml};
use crate::failure::Failure;

/// An object that tables can show.
pub(crate) trait Listed: Templated {
    /// Titles of the columns.
    const HEADER: &'static [&'static str];

    /// One cell for each title.
    fn row(&self) -> Vec<String>;

    /// What `--quiet` shows.
    fn id(&self) -> &str;
}

/// A list; `quiet` changes the table only.
pub(crate) fn list<T: Listed>(objects: &[T], format: &Format, quiet: bool) -> Result<String, Failure> {
    match format {
        Format::Table if quiet => {
            Ok(objects.iter().map(|object| format!("{}\n", escape::text(object.id()))).collect())
        }
        Format::Table => {
            let rows: Vec<_> = objects.iter().map(Listed::row).collect();
            Ok(table(T::HEADER, &rows))
        }
        _ => objects_as(objects, format),
    }
}

/// Objects without a table of their own.
pub(crate) fn objects_as<T: Templated>(objects: &[T], format: &Format) -> Result<String, Failure> {
    match format {
        Format::Table => structured(objects, Structure::Json),
        Format::Structured(structure) => structured(objects, *structure),
        Format::Template(template) => vocabulary::apply(objects, template),
    }
}

/// One object without a table of its own.
pub(crate) fn object_as<T: Templated>(object: &T, format: &Format) -> Result<String, Failure> {
    match format {
        Format::Table => structured(object, Structure::Json),
        Format::Structured(structure) => structured(object, *structure),
        Format::Template(template) => vocabulary::apply(std::slice::from_ref(object), template),
    }
}

/// Data in this notation.
pub(crate) fn structured<T: Serialize + ?Sized>(value: &T, structure: Structure) -> Result<String, Failure> {
    let value = to_value(value)?;
    match structure {
        Structure::Json => Ok(json::line(&value)),
        Structure::Yaml => yaml::render(&harmless(value)),
        Structure::Toml => toml_text::render(&harmless(value)),
    }
}

/// `inspect`: an array, indented unless something else is asked for.
pub(crate) fn inspect<T: Templated>(objects: &[T], format: Option<&Format>) -> Result<String, Failure> {
    match format {
        None => Ok(json::pretty(&to_value(objects)?)),
        Some(format) => objects_as(objects, format),
    }
}

/// One object, indented.
pub(crate) fn pretty<T: Serialize>(object: &T) -> Result<String, Failure> {
    Ok(json::pretty(&to_value(object)?))
}

/// A table of ready-made cells.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    table::render(header, rows)
}

pub(super) fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, Failure> {
    serde_json::to_value(value)
        .map_err(|error| Failure::caused_by(ErrorCode::InternalError, "cannot write JSON", &error))
}

/// YAML and TOML writers may leave control characters as they are.
fn harmless(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(escape::text(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(harmless).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(key, value)| (escape::text(&key).into_owned(), harmless(value)))
            .collect(),
        other => other,
    }
}
