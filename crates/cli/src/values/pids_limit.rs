//! `--pids-limit`

use std::str::FromStr;

use super::{InvalidValue, invalid};

/// Most processes and threads, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidsLimit(Option<u64>);

impl PidsLimit {
    /// `None` is no limit.
    pub(crate) fn count(self) -> Option<u64> {
        self.0
    }
}

impl FromStr for PidsLimit {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.parse::<i64>() {
            Ok(-1 | 0) => Ok(Self(None)),
            Ok(count) if count > 0 => Ok(Self(Some(count.unsigned_abs()))),
            _ => invalid("expected a number of processes, or -1 for no limit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_one_and_zero_are_no_limit() {
        for (text, expected) in
            [("100", Some(Some(100))), ("-1", Some(None)), ("0", Some(None)), ("-2", None), ("x", None)]
        {
            assert_eq!(text.parse::<PidsLimit>().ok().map(PidsLimit::count), expected, "{text:?}");
        }
    }
}
