//! Functions of Go's templates, and those that Docker adds.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::evaluate::EvaluateError;
use super::printf;
use super::value::{Value, present};
use crate::output::json;

/// A function.
#[derive(Clone, Copy)]
pub(super) struct Function {
    pub(super) name: &'static str,
    least: usize,
    most: usize,
    call: fn(&[Value]) -> Result<Value, EvaluateError>,
}

const ANY: usize = usize::MAX;

const FUNCTIONS: &[Function] = &[
    Function { name: "and", least: 1, most: ANY, call: last },
    Function { name: "eq", least: 2, most: ANY, call: equal },
    Function { name: "ge", least: 2, most: 2, call: |values| Ok(compare(values)?.is_ge().into()) },
    Function { name: "gt", least: 2, most: 2, call: |values| Ok(compare(values)?.is_gt().into()) },
    Function { name: "index", least: 1, most: ANY, call: index },
    Function { name: "join", least: 2, most: 2, call: join },
    Function {
        name: "json",
        least: 1,
        most: 1,
        call: |values| Ok(Value::Text(json::line(&values[0].json()))),
    },
    Function { name: "le", least: 2, most: 2, call: |values| Ok(compare(values)?.is_le().into()) },
    Function { name: "len", least: 1, most: 1, call: length },
    Function {
        name: "lower",
        least: 1,
        most: 1,
        call: |values| Ok(Value::Text(text("lower", values, 0)?.to_lowercase())),
    },
    Function { name: "lt", least: 2, most: 2, call: |values| Ok(compare(values)?.is_lt().into()) },
    Function { name: "ne", least: 2, most: 2, call: |values| Ok((!is_equal(&values[0], &values[1])).into()) },
    Function { name: "not", least: 1, most: 1, call: |values| Ok((!values[0].is_true()).into()) },
    Function { name: "or", least: 1, most: ANY, call: last },
    Function { name: "pad", least: 3, most: 3, call: pad },
    Function { name: "print", least: 0, most: ANY, call: |values| Ok(Value::Text(printed(values))) },
    Function {
        name: "printf",
        least: 1,
        most: ANY,
        call: |values| printf::format(&text("printf", values, 0)?, &values[1..]).map(Value::Text),
    },
    Function {
        name: "println",
        least: 0,
        most: ANY,
        call: |values| {
            let words: Vec<String> = values.iter().map(Value::print).collect();
            Ok(Value::Text(words.join(" ") + "\n"))
        },
    },
    Function { name: "slice", least: 1, most: 3, call: slice },
    Function { name: "split", least: 2, most: 2, call: split },
    Function { name: "title", least: 1, most: 1, call: title },
    Function { name: "truncate", least: 2, most: 2, call: truncate },
    Function {
        name: "upper",
        least: 1,
        most: 1,
        call: |values| Ok(Value::Text(text("upper", values, 0)?.to_uppercase())),
    },
];

/// The function of this name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// All of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

impl Function {
    /// Whether it can have so many arguments.
    pub(super) fn takes(&self, count: usize) -> bool {
        (self.least..=self.most).contains(&count)
    }

    /// How many it can have, in words.
    pub(super) fn expected(&self) -> String {
        let noun = if self.least == 1 { "argument" } else { "arguments" };
        match self.most {
            most if most == self.least => format!("{most} {noun}"),
            ANY => format!("{} {noun} or more", self.least),
            most => format!("{} to {most} arguments", self.least),
        }
    }

    /// Whether its result is not known to be a plain value.
    pub(super) fn may_return_anything(&self) -> bool {
        matches!(self.name, "and" | "or" | "index" | "slice" | "split")
    }

    /// The truth of a value at which it needs no further ones.
    pub(super) fn ends_at(&self) -> Option<bool> {
        match self.name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        }
    }

    pub(super) fn call(&self, values: &[Value]) -> Result<Value, EvaluateError> {
        (self.call)(values)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

fn unfit(function: &'static str, value: &Value) -> EvaluateError {
    EvaluateError::Argument { function, kind: value.kind() }
}

fn text(function: &'static str, values: &[Value], index: usize) -> Result<String, EvaluateError> {
    values[index].text().ok_or_else(|| unfit(function, &values[index]))
}

/// A position or a length.
fn number(function: &'static str, value: &Value) -> Result<usize, EvaluateError> {
    match value {
        Value::Data(Json::Number(number)) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
        _ => None,
    }
    .ok_or_else(|| unfit(function, value))
}

/// Of `and` and `or`, which are evaluated argument by argument.
fn last(values: &[Value]) -> Result<Value, EvaluateError> {
    Ok(values.last().cloned().unwrap_or(Value::Absent))
}

fn equal(values: &[Value]) -> Result<Value, EvaluateError> {
    Ok(values[1..].iter().any(|other| is_equal(&values[0], other)).into())
}

fn is_equal(one: &Value, other: &Value) -> bool {
    let (one, other) = (&one.or_zero_like(other), &other.or_zero_like(one));
    match (one.text(), other.text()) {
        (Some(one), Some(other)) => one == other,
        _ => match (one.json(), other.json()) {
            (Json::Number(one), Json::Number(other)) => order(&one, &other) == Some(Ordering::Equal),
            (one, other) => one == other,
        },
    }
}

fn order(one: &serde_json::Number, other: &serde_json::Number) -> Option<Ordering> {
    match (one.as_i64(), other.as_i64(), one.as_u64(), other.as_u64()) {
        (Some(one), Some(other), ..) => Some(one.cmp(&other)),
        (.., Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

fn compare(values: &[Value]) -> Result<Ordering, EvaluateError> {
    let (one, other) = (&values[0].or_zero_like(&values[1]), &values[1].or_zero_like(&values[0]));
    let ordering = match (one, other) {
        (Value::Data(Json::Number(one)), Value::Data(Json::Number(other))) => order(one, other),
        _ => one.text().zip(other.text()).map(|(one, other)| one.cmp(&other)),
    };
    ordering.ok_or(EvaluateError::Order { one: one.kind(), other: other.kind() })
}

pub(super) fn index(values: &[Value]) -> Result<Value, EvaluateError> {
    let mut found = values[0].clone();
    for key in &values[1..] {
        found = match (&found, key) {
            (Value::Data(Json::Array(items)), _) => {
                let index = number("index", key)?;
                let length = items.len();
                let item = items.get(index).ok_or(EvaluateError::Range { index, length })?;
                Value::Data(item.clone())
            }
            (Value::Text(_) | Value::Data(Json::Bool(_) | Json::Number(_) | Json::String(_)), _) => {
                return Err(unfit("index", &found));
            }
            _ => {
                let name = key.text().ok_or_else(|| unfit("index", key))?;
                match found.field(&name) {
                    // As in a map of texts.
                    Some(Value::Absent) | None => Value::Data(Json::Null),
                    Some(value) => value,
                }
            }
        };
    }
    Ok(found)
}

fn length(values: &[Value]) -> Result<Value, EvaluateError> {
    let length = match (&values[0], values[0].json()) {
        (Value::Text(text), _) => text.len(),
        (_, Json::String(text)) => text.len(),
        (_, Json::Array(items)) => items.len(),
        (_, Json::Object(members)) => present(&members).count(),
        (_, Json::Null) => 0,
        (value, Json::Bool(_) | Json::Number(_)) => return Err(unfit("len", value)),
    };
    Ok(length.into())
}

/// As Go's `print`: a space between two that are no texts.
fn printed(values: &[Value]) -> String {
    let mut printed = String::new();
    for (index, value) in values.iter().enumerate() {
        let is_beside_text = |index: usize| values.get(index).is_none_or(|value| value.text().is_some());
        if index > 0 && !is_beside_text(index) && !is_beside_text(index - 1) {
            printed.push(' ');
        }
        printed.push_str(&value.print());
    }
    printed
}

fn join(values: &[Value]) -> Result<Value, EvaluateError> {
    let separator = text("join", values, 1)?;
    match values[0].json() {
        Json::Array(items) => {
            let items: Vec<String> = items.into_iter().map(|item| Value::Data(item).print()).collect();
            Ok(Value::Text(items.join(&separator)))
        }
        Json::Null => Ok(Value::Text(String::new())),
        _ => Err(unfit("join", &values[0])),
    }
}

fn split(values: &[Value]) -> Result<Value, EvaluateError> {
    let (whole, separator) = (text("split", values, 0)?, text("split", values, 1)?);
    let parts: Vec<String> = match separator.is_empty() {
        true => whole.chars().map(String::from).collect(),
        false => whole.split(&separator).map(str::to_owned).collect(),
    };
    Ok(parts.into())
}

fn title(values: &[Value]) -> Result<Value, EvaluateError> {
    let mut title = String::new();
    let mut begins = true;
    for character in text("title", values, 0)?.chars() {
        if begins {
            title.extend(character.to_uppercase())
        } else {
            title.push(character)
        }
        begins = character.is_whitespace();
    }
    Ok(Value::Text(title))
}

fn truncate(values: &[Value]) -> Result<Value, EvaluateError> {
    let length = number("truncate", &values[1])?;
    Ok(Value::Text(text("truncate", values, 0)?.chars().take(length).collect()))
}

/// Spaces before and behind, as many as said.
fn pad(values: &[Value]) -> Result<Value, EvaluateError> {
    /// More is a mistake.
    const MOST: usize = 1000;
    let spaces = |index| Ok(" ".repeat(number("pad", &values[index])?.min(MOST)));
    let whole = text("pad", values, 0)?;
    if whole.is_empty() {
        return Ok(Value::Text(whole));
    }
    Ok(Value::Text(format!("{}{whole}{}", spaces(1)?, spaces(2)?)))
}

fn slice(values: &[Value]) -> Result<Value, EvaluateError> {
    let bounds = |length: usize| {
        let bound =
            |index: usize, otherwise| values.get(index).map_or(Ok(otherwise), |value| number("slice", value));
        let (start, end) = (bound(1, 0)?, bound(2, length)?);
        if start <= end && end <= length {
            Ok(start..end)
        } else {
            Err(EvaluateError::Range { index: start.max(end), length })
        }
    };
    match (values[0].text(), values[0].json()) {
        (Some(whole), _) => {
            let range = bounds(whole.len())?;
            let (index, length) = (range.end, whole.len());
            let part = whole.get(range).ok_or(EvaluateError::Range { index, length })?;
            Ok(Value::Text(part.to_owned()))
        }
        (None, Json::Array(items)) => Ok(items[bounds(items.len())?].to_vec().into()),
        _ => Err(unfit("slice", &values[0])),
    }
}
