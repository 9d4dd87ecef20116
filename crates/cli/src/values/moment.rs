//! Points in time: `2026-01-31T12:00:00Z`, the same without zone or time of day, a Unix time, or how long ago.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::duration::Span;
use super::{InvalidValue, invalid};

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    unix_us: i64,
}

impl Moment {
    /// Unix time in microseconds.
    pub(crate) fn unix_us(self) -> i64 {
        self.unix_us
    }
}

impl FromStr for Moment {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Ok(span) = text.parse::<Span>() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
            return Ok(Self { unix_us: now_us.saturating_sub(span.microseconds()) });
        }
        if let Some(unix_us) = unix_time(text) {
            return Ok(Self { unix_us });
        }
        match text.parse::<jiff::Timestamp>().ok().or_else(|| local_time(text)) {
            Some(time) => Ok(Self { unix_us: time.as_microsecond() }),
            None => invalid(
                "expected a time such as 2026-01-31T12:00:00Z, a date, a Unix time, or a span such as 10m",
            ),
        }
    }
}

/// Of the user's time zone; a date is the beginning of that day.
fn local_time(text: &str) -> Option<jiff::Timestamp> {
    let time = text.parse::<jiff::civil::DateTime>().ok()?;
    time.to_zoned(jiff::tz::TimeZone::system()).ok().map(|time| time.timestamp())
}

/// Seconds with up to six digits behind the point; more are cut off.
fn unix_time(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) {
        return None;
    }
    let microseconds: String = fraction.chars().chain("000000".chars()).take(6).collect();
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(microseconds.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, expected) in [
            ("1700000000", 1_700_000_000_000_000),
            ("1700000000.5", 1_700_000_000_500_000),
            ("1700000000.123456789", 1_700_000_000_123_456),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000_000),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000_000),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().unix_us(), expected, "{text}");
        }
        // Zones are up to fourteen hours from UTC.
        let day = "2023-11-14T22:13:20".parse::<Moment>().unwrap().unix_us();
        assert!((day - 1_700_000_000_000_000).abs() <= 14 * 3_600_000_000);
        assert_eq!("2023-11-14".parse(), "2023-11-14T00:00:00".parse::<Moment>());
        let hour_ago = "1h".parse::<Moment>().unwrap().unix_us();
        assert!("1s".parse::<Moment>().unwrap().unix_us() - hour_ago >= 3_598_000_000);
        for text in ["", "yesterday", "1.", ".5", "2023-11-", "14:30", "99999999999999999999"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
