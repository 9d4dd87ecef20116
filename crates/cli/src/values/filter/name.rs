//! `name=web`, `name=^web$`

use std::str::FromStr;

use regex_lite::Regex;

use super::super::{InvalidValue, invalid};

/// A regular expression, which is met by a part of a name unless it says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct NamePattern(Regex);

impl FromStr for NamePattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Regex::new(text)
            .map(Self)
            .or_else(|error| invalid(format!("'{text}' is no regular expression: {error}")))
    }
}

impl NamePattern {
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    /// Docker's names of containers begin with a slash, which those who filter may write or not.
    pub(super) fn matches_container(&self, name: &str) -> bool {
        self.matches(name) || self.matches(&format!("/{name}"))
    }
}
