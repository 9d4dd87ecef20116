//! How many of the last lines: a number, or `all`.

use std::str::FromStr;

use super::{InvalidValue, invalid};

/// A number of lines; none: all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineCount(pub(crate) Option<usize>);

impl FromStr for LineCount {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            // Docker's default, in both spellings.
            "all" | "-1" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|lines| Self(Some(lines)))
                .or_else(|_| invalid("it is a number of lines, or all")),
        }
    }
}
