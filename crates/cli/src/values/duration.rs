//! Spans of time as Go reads them: `1m30s`, `500ms`, `1.5h`.

use std::str::FromStr;
use std::time::Duration;

use super::{InvalidValue, invalid};

/// Longer than any check or history.
const MAXIMUM: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
const EXPECTED: &str = "expected a time such as 30s, 1m30s, 1.5h or 500ms";
/// What follows them is less than four nanoseconds even of an hour.
const FRACTION_DIGITS: usize = 12;

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(Duration);

impl Span {
    /// Rounded up: a span that is not zero must not become what zero means.
    pub(crate) fn milliseconds(self) -> u64 {
        u64::try_from(self.0.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
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
            let is_of_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
            let (number, following) = rest.split_at(rest.bytes().take_while(is_of_number).count());
            let letters = following.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, following) = following.split_at(letters);
            let unit_ms: u64 = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60 * 1000,
                "h" => 3600 * 1000,
                _ => return invalid(EXPECTED),
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if fraction.contains('.') || whole.is_empty() && fraction.is_empty() {
                return invalid(EXPECTED);
            }
            let sum = part(whole, fraction, unit_ms).and_then(|part| total.checked_add(part));
            match sum {
                Some(sum) if sum <= MAXIMUM => total = sum,
                _ => return invalid("the time is too long"),
            }
            rest = following;
        }
        if text.is_empty() { invalid(EXPECTED) } else { Ok(Self(total)) }
    }
}

/// `None` when it is too long. Either side of the point may be empty, as in Go: `.5s`, `1.s`.
fn part(whole: &str, fraction: &str, unit_ms: u64) -> Option<Duration> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits: String =
        fraction.chars().chain("0".repeat(FRACTION_DIGITS).chars()).take(FRACTION_DIGITS).collect();
    let fraction: u128 = digits.parse().ok()?;
    let fraction_ns =
        fraction * u128::from(unit_ms) * 1_000_000 / 10_u128.pow(u32::try_from(FRACTION_DIGITS).ok()?);
    let whole = Duration::from_millis(whole.checked_mul(unit_ms)?);
    whole.checked_add(Duration::from_nanos(u64::try_from(fraction_ns).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("2h", 7_200_000),
            ("0s", 0),
            ("1.5h", 5_400_000),
            ("1h0.5m", 3_630_000),
            (".25s", 250),
            ("1.s", 1000),
            ("0.3ms", 1),
            ("0.00000000000000000001h", 0),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().milliseconds(), milliseconds, "{text}");
        }
        assert_eq!("0.1h".parse::<Span>().unwrap().microseconds(), 360_000_000);
        for text in [
            "",
            "30",
            "1.5",
            "s",
            ".s",
            "1.2.3s",
            "-1s",
            "1d",
            "1s ",
            "99999999999999999999h",
            "18446744073709551615h",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
