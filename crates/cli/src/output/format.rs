//! Values of `--format`.

use std::ffi::OsStr;

use bulkhead_api::system_event::SystemEvent;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};

use super::vocabulary::Templated;
use crate::template::{Template, TemplateError};
use crate::values::InvalidValue;

/// How objects are shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// All of them, for programs.
    Structured(Structure),
    /// What a template says of each.
    Template(Template),
}

/// Notation of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Structure {
    Json,
    Yaml,
    Toml,
}

/// How events are shown, a line each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EventFormat {
    Plain,
    Json,
    Template(Template),
}

const JSON: &str = "json";
const PLAIN: &str = "plain";
const TABLE: &str = "table";
const TOML: &str = "toml";
const YAML: &str = "yaml";

/// Why a text is no format.
#[derive(Debug, thiserror::Error)]
enum FormatError {
    /// Neither a word nor a template.
    #[error(transparent)]
    Word(#[from] InvalidValue),
    /// A template that is wrong, or wrong for these objects.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// Reads `--format` of a list of such objects.
pub(crate) fn parser<T: Templated>() -> impl TypedValueParser<Value = Format> {
    format_parser::<T>(&[JSON, TABLE, YAML, TOML])
}

/// Reads `--format` of `inspect`, which has no table.
pub(crate) fn details_parser<T: Templated>() -> impl TypedValueParser<Value = Format> {
    format_parser::<T>(&[JSON, YAML, TOML])
}

/// Reads `--format` of `events`.
pub(crate) fn event_parser() -> impl TypedValueParser<Value = EventFormat> {
    const WORDS: &[&str] = &[PLAIN, JSON];
    Words(WORDS).try_map(|text| match template::<SystemEvent>(&text, WORDS)? {
        Some(template) if template.is_table() => Err(InvalidValue("events are no table".to_owned()).into()),
        Some(template) => Ok(EventFormat::Template(template)),
        None if text == JSON => Ok(EventFormat::Json),
        None => Ok::<_, FormatError>(EventFormat::Plain),
    })
}

fn format_parser<T: Templated>(words: &'static [&'static str]) -> impl TypedValueParser<Value = Format> {
    Words(words).try_map(move |text| {
        Ok::<_, FormatError>(match (template::<T>(&text, words)?, text.as_str()) {
            (Some(template), _) => Format::Template(template),
            (None, JSON) => Format::Structured(Structure::Json),
            (None, YAML) => Format::Structured(Structure::Yaml),
            (None, TOML) => Format::Structured(Structure::Toml),
            (None, _) => Format::Table,
        })
    })
}

/// `None` for one of the words.
fn template<T: Templated>(text: &str, words: &[&str]) -> Result<Option<Template>, FormatError> {
    match text {
        word if words.contains(&word) => Ok(None),
        text if text.contains("{{") => Ok(Some(Template::new(text, &T::vocabulary())?)),
        _ => {
            let words = words.join(", ");
            Err(InvalidValue(format!("expected {words} or a template such as '{{{{.id}}}}'")).into())
        }
    }
}

/// A text, of which help and completion name the plain ones.
#[derive(Clone)]
struct Words(&'static [&'static str]);

impl TypedValueParser for Words {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(|word| PossibleValue::new(*word))))
    }
}
