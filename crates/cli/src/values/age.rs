//! How long ago: `N` seconds, `Nm`, `Nh`, `Nd`.

use std::str::FromStr;
use std::time::Duration;

use super::{InvalidValue, invalid};

/// Older than any log.
const MAXIMUM: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A span up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(Duration);

impl Age {
    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Age {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (number, unit_seconds) = match text.as_bytes().last() {
            Some(b's') => (&text[..text.len() - 1], 1),
            Some(b'm') => (&text[..text.len() - 1], 60),
            Some(b'h') => (&text[..text.len() - 1], 3600),
            Some(b'd') => (&text[..text.len() - 1], 24 * 3600),
            _ => (text, 1),
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return invalid("expected a number of seconds, or one with suffix m, h or d");
        }
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_seconds));
        match seconds.map(Duration::from_secs) {
            Some(duration) if duration <= MAXIMUM => Ok(Self(duration)),
            _ => invalid("the time is too long"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (text, seconds) in [("90", 90), ("5m", 300), ("2h", 7200), ("3d", 259_200), ("1s", 1), ("0", 0)] {
            assert_eq!(text.parse::<Age>().unwrap().duration(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "m", "-5m", "5 m", "1.5h", "5w", "+5", "99999999999d", "18446744073709551616"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}
