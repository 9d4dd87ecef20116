//! Values of `--format`.

use std::ffi::OsStr;
use std::marker::PhantomData;

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

const JSON: &str = "json";
const TABLE: &str = "table";
const YAML: &str = "yaml";
const TOML: &str = "toml";

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
    Words::<T> { words: &[JSON, TABLE, YAML, TOML], objects: PhantomData }.try_map(|text| {
        match text.as_str() {
            TABLE => Ok(Format::Table),
            _ => parse::<T>(&text, "table, "),
        }
    })
}

/// Reads `--format` of `inspect`, which has no table.
pub(crate) fn details_parser<T: Templated>() -> impl TypedValueParser<Value = Format> {
    Words::<T> { words: &[JSON, YAML, TOML], objects: PhantomData }.try_map(|text| parse::<T>(&text, ""))
}

fn parse<T: Templated>(text: &str, more: &str) -> Result<Format, FormatError> {
    match text {
        JSON => Ok(Format::Structured(Structure::Json)),
        YAML => Ok(Format::Structured(Structure::Yaml)),
        TOML => Ok(Format::Structured(Structure::Toml)),
        text if text.contains("{{") => Ok(Format::Template(Template::new(text, &T::vocabulary())?)),
        _ => {
            let message = format!("expected json, {more}yaml, toml or a template such as '{{{{.id}}}}'");
            Err(InvalidValue(message).into())
        }
    }
}

/// A text, of which help and completion name the plain ones.
struct Words<T> {
    words: &'static [&'static str],
    objects: PhantomData<fn() -> T>,
}

impl<T> Clone for Words<T> {
    fn clone(&self) -> Self {
        Self { words: self.words, objects: PhantomData }
    }
}

impl<T: 'static> TypedValueParser for Words<T> {
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
        Some(Box::new(self.words.iter().map(|word| PossibleValue::new(*word))))
    }
}
