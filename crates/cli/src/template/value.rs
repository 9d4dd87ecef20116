//! Values of a template, and how Go prints them.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::output::escape;

/// The object that a template is applied to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Element {
    /// As `--format json` prints it.
    pub(super) json: Json,
    /// Its parts as Docker calls them.
    pub(super) words: Json,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// The object that the template is applied to.
    Element(Arc<Element>),
    /// Data of an object, whose texts may hold anything. Null is what could be there and is not.
    Data(Json),
    /// Text that the user wrote or a function made: harmless for terminals.
    Text(String),
    /// A key that an object happens not to have.
    Absent,
}

impl<T: Into<Json>> From<T> for Value {
    fn from(value: T) -> Self {
        Self::Data(value.into())
    }
}

impl Value {
    /// As `if` sees it.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Element(_) => true,
            Self::Text(text) => !text.is_empty(),
            Self::Absent => false,
            Self::Data(json) => match json {
                Json::Null => false,
                Json::Bool(flag) => *flag,
                Json::Number(number) => number.as_f64() != Some(0.0),
                Json::String(text) => !text.is_empty(),
                Json::Array(items) => !items.is_empty(),
                Json::Object(members) => present(members).next().is_some(),
            },
        }
    }

    /// What is there as JSON.
    pub(super) fn json(&self) -> Json {
        match self {
            Self::Element(element) => without_absent(&element.json),
            Self::Data(json) => without_absent(json),
            Self::Text(text) => Json::String(text.clone()),
            Self::Absent => Json::Null,
        }
    }

    /// The value of a key.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        let of = |json: &Json| match json {
            Json::Object(members) => Some(members.get(name).cloned()),
            _ => None,
        };
        let found = match self {
            Self::Element(element) => {
                of(&element.json).flatten().map_or_else(|| of(&element.words), |found| Some(Some(found)))
            }
            Self::Data(Json::Null) | Self::Absent => return Some(self.clone()),
            Self::Data(json) => of(json),
            Self::Text(_) => None,
        }?;
        Some(found.map_or(Self::Absent, Self::Data))
    }

    /// Text as it is printed, if it is one.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Data(Json::String(text)) => Some(escape::text(text).into_owned()),
            Self::Text(text) => Some(text.clone()),
            Self::Data(Json::Null) | Self::Absent => Some(String::new()),
            Self::Element(_) | Self::Data(_) => None,
        }
    }

    /// Itself, or where nothing is there what Go's types have in its place: the zero of the other's kind.
    pub(super) fn or_zero_like(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Data(Json::Null) | Self::Absent, Self::Data(Json::Bool(_))) => false.into(),
            (Self::Data(Json::Null) | Self::Absent, Self::Data(Json::Number(_))) => 0.into(),
            _ => self.clone(),
        }
    }

    /// As `print` of Go has it.
    pub(super) fn print(&self) -> String {
        match self {
            Self::Element(element) => print_json(&element.json),
            Self::Data(json) => print_json(json),
            Self::Text(text) => text.clone(),
            Self::Absent => "<no value>".to_owned(),
        }
    }

    /// What to call it in a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Element(_) => "an object",
            Self::Text(_) => "a text",
            Self::Absent => "nothing",
            Self::Data(json) => match json {
                Json::Null => "nothing",
                Json::Bool(_) => "a truth",
                Json::Number(_) => "a number",
                Json::String(_) => "a text",
                Json::Array(_) => "a list",
                Json::Object(_) => "an object",
            },
        }
    }
}

/// Members that are there, sorted by key.
pub(super) fn present(members: &Map<String, Json>) -> impl Iterator<Item = (&String, &Json)> {
    let mut members: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    members.into_iter()
}

fn without_absent(json: &Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.iter().map(without_absent).collect()),
        Json::Object(members) => {
            Json::Object(present(members).map(|(key, value)| (key.clone(), without_absent(value))).collect())
        }
        other => other.clone(),
    }
}

/// `map[a:1 b:[x y]]`
fn print_json(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::Bool(flag) => flag.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => escape::text(text).into_owned(),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(print_json).collect();
            format!("[{}]", items.join(" "))
        }
        Json::Object(members) => {
            let mut text = String::new();
            for (key, value) in present(members) {
                let gap = if text.is_empty() { "" } else { " " };
                // Writing into a String cannot fail.
                let _ = write!(text, "{gap}{}:{}", escape::text(key), print_json(value));
            }
            format!("map[{text}]")
        }
    }
}
