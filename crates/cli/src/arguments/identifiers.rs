//! What bulk verbs act on.

use std::str::FromStr;

use bulkhead_api::error::ErrorCode;

use crate::failure::Failure;
use crate::values::{InvalidValue, invalid};

/// An id or name as typed; the daemon knows whether it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identifier(String);

impl Identifier {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identifier {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text.is_empty() { invalid("an id must not be empty") } else { Ok(Self(text.to_owned())) }
    }
}

/// The objects of a bulk verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of them.
    All,
    /// Each once, in the order of the command line.
    These(Vec<String>),
}

impl Selection {
    /// Either ids or `--all`: a refusal of the request (1), not of its grammar (64).
    pub(crate) fn resolve(what: &str, all: bool, ids: &[Identifier]) -> Result<Self, Failure> {
        match (all, ids.is_empty()) {
            (true, true) => Ok(Self::All),
            (true, false) => Err(Failure::refused(
                ErrorCode::InvalidArgument,
                format!("explicitly supplied {what} ids conflict with the --all flag"),
            )),
            (false, true) => Err(Failure::refused(
                ErrorCode::InvalidArgument,
                format!("no {what}s specified and --all not supplied"),
            )),
            (false, false) => {
                let mut unique = Vec::with_capacity(ids.len());
                for id in ids {
                    if !unique.contains(&id.0) {
                        unique.push(id.0.clone());
                    }
                }
                Ok(Self::These(unique))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_or_all_and_each_once() {
        let ids: Vec<Identifier> = ["b", "a", "b"].map(|text| text.parse().unwrap()).into();
        assert_eq!(
            Selection::resolve("container", false, &ids).unwrap(),
            Selection::These(vec!["b".to_owned(), "a".to_owned()])
        );
        assert_eq!(Selection::resolve("container", true, &[]).unwrap(), Selection::All);
        assert!(Selection::resolve("container", false, &[]).is_err());
        assert!(Selection::resolve("container", true, &ids).is_err());
    }
}
