//! Signals by number or name, as signal(7) lists them for x86 and ARM.

use bulkhead_api::error::ApiError;

use crate::error::invalid;

pub(crate) const HANGUP: u32 = 1;
pub(crate) const KILL: u32 = 9;
pub(crate) const TERMINATE: u32 = 15;

/// Names of signals 1 to 31.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// First and last real-time signal that programs may use.
const REAL_TIME: (u32, u32) = (34, 64);

/// "TERM", "sigterm", "15", "RTMIN+3".
pub(crate) fn parse(text: &str) -> Result<u32, ApiError> {
    let unknown = || {
        let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
        invalid(format!("'{shown}' is not a signal"))
    };
    if let Ok(number) = text.parse::<u32>() {
        return if (1..=REAL_TIME.1).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let position = NAMES.iter().position(|known| *known == name);
    if let Some(number) = position.and_then(|position| u32::try_from(position + 1).ok()) {
        return Ok(number);
    }
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text[1..].parse::<u32>().ok() };
    let real_time = match name {
        "IOT" => Some(6),
        "POLL" => Some(29),
        "CLD" => Some(17),
        _ => match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => {
                offset(rest).and_then(|offset| REAL_TIME.0.checked_add(offset))
            }
            (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => {
                offset(rest).and_then(|offset| REAL_TIME.1.checked_sub(offset))
            }
            _ => None,
        },
    };
    let special = matches!(name, "IOT" | "POLL" | "CLD");
    real_time.filter(|number| special || (REAL_TIME.0..=REAL_TIME.1).contains(number)).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_are_understood() {
        let cases = [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("1", 1),
            ("64", 64),
            ("SYS", 31),
            ("IOT", 6),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for text in ["", "0", "65", "-1", "SIG", "TERMINATE", "RTMIN+40", "RTMAX+1", "RTMIN3", "RTMIN+é"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
