//! Spans of time as Go writes them: `1m30s`, `500ms`.

use std::str::FromStr;
use std::time::Duration;

use super::{InvalidValue, invalid};

/// Longer than any check or history.
const MAXIMUM: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(Duration);

impl Span {
    pub(crate) fn milliseconds(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn microseconds(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }
}

impl FromStr for Span {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, following) = rest.split_at(digits);
            let letters = following.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, following) = following.split_at(letters);
            let unit_ms: u64 = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60 * 1000,
                "h" => 3600 * 1000,
                _ => return invalid("expected a time such as 30s, 1m30s or 500ms"),
            };
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
            let sum = part.and_then(|part| total.checked_add(Duration::from_millis(part)));
            match sum {
                Some(sum) if sum <= MAXIMUM => total = sum,
                _ if number.is_empty() => return invalid("expected a time such as 30s, 1m30s or 500ms"),
                _ => return invalid("the time is too long"),
            }
            rest = following;
        }
        if text.is_empty() { invalid("expected a time such as 30s, 1m30s or 500ms") } else { Ok(Self(total)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, milliseconds) in
            [("30s", 30_000), ("1m30s", 90_000), ("500ms", 500), ("2h", 7_200_000), ("0s", 0)]
        {
            assert_eq!(text.parse::<Span>().unwrap().milliseconds(), milliseconds, "{text}");
        }
        for text in
            ["", "30", "s", "-1s", "1.5s", "1d", "1s ", "99999999999999999999h", "18446744073709551615h"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
