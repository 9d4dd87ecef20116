//! A flag that is on unless it is turned off: `--human=false`.

use std::str::FromStr;

use crate::values::{InvalidValue, boolean, invalid};

/// Its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Truth(bool);

impl Truth {
    pub(crate) fn is_true(self) -> bool {
        self.0
    }
}

impl FromStr for Truth {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        boolean::parse(text).map_or_else(|| invalid("expected true or false"), |value| Ok(Self(value)))
    }
}
