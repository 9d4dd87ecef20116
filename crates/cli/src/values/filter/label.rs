//! `label=key`, `label=key=value`, `label!=key`

use std::collections::BTreeMap;

use super::super::{InvalidValue, invalid};

/// A label that must be there, or must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelFilter {
    key: String,
    value: Option<String>,
    absent: bool,
}

impl LabelFilter {
    /// `None` when the filter is about something else.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, InvalidValue> {
        let (label, absent) = match (text.strip_prefix("label="), text.strip_prefix("label!=")) {
            (Some(label), _) => (label, false),
            (_, Some(label)) => (label, true),
            _ => return Ok(None),
        };
        let (key, value) = match label.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (label, None),
        };
        if key.is_empty() {
            return invalid("expected label=key or label=key=value");
        }
        Ok(Some(Self { key: key.to_owned(), value, absent }))
    }

    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let there =
            labels.get(&self.key).is_some_and(|found| self.value.as_ref().is_none_or(|value| value == found));
        there != self.absent
    }
}
