//! Numbers of CPUs, such as `2` or `0.5`.

use std::str::FromStr;

use super::{InvalidValue, invalid};

const WHOLE: u64 = 100;

/// Hundredths of a CPU, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Processors(u64);

impl Processors {
    /// A quota within a period of Linux's scheduler, in microseconds.
    pub(crate) fn of_quota(quota_us: u64, period_us: u64) -> Self {
        Self((quota_us.saturating_mul(WHOLE) / period_us.max(1)).max(1))
    }

    /// That the machine needs for it.
    pub(crate) fn whole(self) -> u32 {
        u32::try_from(self.0.div_ceil(WHOLE)).unwrap_or(u32::MAX)
    }

    /// Where it is not all of those.
    pub(crate) fn percent(self) -> Option<u64> {
        (!self.0.is_multiple_of(WHOLE)).then_some(self.0)
    }
}

impl FromStr for Processors {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = whole.parse::<u32>().or_else(|error| if whole.is_empty() { Ok(0) } else { Err(error) });
        match number {
            Ok(number) if is_number(whole) && is_number(fraction) && text != "." => {
                // Two digits count; what is beyond them rounds up, so that it is never nothing.
                let mut digits = fraction.bytes().map(|byte| u64::from(byte - b'0'));
                let hundredths = digits.next().unwrap_or(0) * 10 + digits.next().unwrap_or(0);
                let rest = u64::from(digits.any(|digit| digit > 0));
                match u64::from(number) * WHOLE + hundredths + rest {
                    0 => invalid("a container needs more than no CPU"),
                    hundredths => Ok(Self(hundredths)),
                }
            }
            _ => invalid("not a number of CPUs: expected one such as 2 or 0.5"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_shares_of_whole_processors() {
        for (text, whole, percent) in [
            ("1", 1, None),
            ("4.0", 4, None),
            ("0.5", 1, Some(50)),
            (".5", 1, Some(50)),
            ("1.", 1, None),
            ("1.25", 2, Some(125)),
            ("0.001", 1, Some(1)),
        ] {
            let processors: Processors = text.parse().unwrap();
            assert_eq!((processors.whole(), processors.percent()), (whole, percent), "{text}");
        }
        for text in ["", ".", "0", "0.0", "-1", "+1", "one", "1.x", "1e3", "99999999999"] {
            assert!(text.parse::<Processors>().is_err(), "{text}");
        }
        assert_eq!(Processors::of_quota(50_000, 100_000).percent(), Some(50));
        assert_eq!(Processors::of_quota(1, 1_000_000).percent(), Some(1));
    }
}
