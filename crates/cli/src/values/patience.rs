//! Seconds that something is waited for; -1 for as long as it takes.

use std::str::FromStr;

use super::{InvalidValue, invalid};

/// Longer than any machine runs.
const FOREVER: u32 = u32::MAX;

/// Seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience(u32);

impl Patience {
    pub(crate) fn seconds(self) -> u64 {
        u64::from(self.0)
    }
}

impl FromStr for Patience {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.parse() {
            Ok(seconds) => Ok(Self(seconds)),
            Err(_) if text == "-1" => Ok(Self(FOREVER)),
            Err(_) => {
                invalid("not a number of seconds: expected 0 or more, or -1 to wait as long as it takes")
            }
        }
    }
}
