//! `--filter key=value` of `list`, `prune` and `events`.
//!
//! Docker's rules: filters of one key are alternatives, of several keys conditions; labels are always
//! conditions.

pub(crate) mod container;
pub(crate) mod event;
pub(crate) mod image;
mod label;
mod name;
pub(crate) mod network;
pub(crate) mod prune;
pub(crate) mod volume;

use std::collections::HashSet;

use thiserror::Error;

use label::LabelFilter;

use super::{InvalidValue, boolean, invalid};

/// What others are compared with is not there.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("there is no '{name}' for a filter to compare with")]
pub(crate) struct NothingToCompare {
    name: String,
}

/// One condition.
pub(crate) trait Filter {
    /// What is chosen from.
    type Object;

    /// Whether it is met by an object that is one of `all`.
    fn matches(&self, object: &Self::Object, all: &[Self::Object]) -> bool;

    /// Whether another of the same key is no alternative.
    fn is_label(&self) -> bool;

    /// The name of what it compares with, if that is not among `all`.
    fn lacks(&self, _all: &[Self::Object]) -> Option<&str> {
        None
    }
}

/// An object of which some are needed by containers.
#[derive(Clone, Debug)]
pub(crate) struct Needed<T> {
    pub(crate) object: T,
    pub(crate) is_needed: bool,
}

impl<T> Needed<T> {
    /// Marks those whose name is among those that are needed.
    pub(crate) fn mark<'a>(
        objects: Vec<T>,
        needed: impl Iterator<Item = &'a str>,
        name: impl Fn(&T) -> &str,
    ) -> Vec<Self> {
        let needed: HashSet<&str> = needed.collect();
        let mark = |object| Self { is_needed: needed.contains(name(&object)), object };
        objects.into_iter().map(mark).collect()
    }

    /// The objects alone.
    pub(crate) fn unmark(marked: Vec<Self>) -> Vec<T> {
        marked.into_iter().map(|marked| marked.object).collect()
    }
}

/// Those that meet all filters.
pub(crate) fn select<F: Filter>(
    filters: &[F],
    objects: Vec<F::Object>,
) -> Result<Vec<F::Object>, NothingToCompare> {
    if let Some(name) = filters.iter().find_map(|filter| filter.lacks(&objects)) {
        return Err(NothingToCompare { name: name.to_owned() });
    }
    let chosen: Vec<bool> = objects.iter().map(|object| all_match(filters, object, &objects)).collect();
    Ok(objects.into_iter().zip(chosen).filter_map(|(object, chosen)| chosen.then_some(object)).collect())
}

/// Whether an object meets all filters.
pub(crate) fn all_match<F: Filter>(filters: &[F], object: &F::Object, all: &[F::Object]) -> bool {
    filters.iter().all(|filter| {
        let same_key = |other: &&F| std::mem::discriminant(*other) == std::mem::discriminant(filter);
        match filter.is_label() {
            true => filter.matches(object, all),
            false => filters.iter().filter(same_key).any(|alternative| alternative.matches(object, all)),
        }
    })
}

/// A label, or what `of` makes of another key and its value.
fn parse<F>(
    text: &str,
    label: fn(LabelFilter) -> F,
    of: impl FnOnce(&str, &str) -> Result<F, InvalidValue>,
) -> Result<F, InvalidValue> {
    if let Some(found) = LabelFilter::parse(text)? {
        return Ok(label(found));
    }
    let (key, value) = split(text)?;
    of(key, value)
}

fn split(text: &str) -> Result<(&str, &str), InvalidValue> {
    match text.split_once('=') {
        Some((key, value)) if !value.is_empty() => Ok((key, value)),
        _ => invalid("expected key=value"),
    }
}

fn unknown<T>(expected: &str) -> Result<T, InvalidValue> {
    invalid(format!("unknown filter: expected {expected}"))
}

fn truth(text: &str) -> Result<bool, InvalidValue> {
    boolean::parse(text).map_or_else(|| invalid("expected true or false"), Ok)
}
