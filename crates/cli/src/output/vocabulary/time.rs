//! Times as Docker writes them.

use jiff::Timestamp;

const MINUTE_SECONDS: i64 = 60;
const HOUR_SECONDS: i64 = 60 * MINUTE_SECONDS;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// `2026-01-02 03:04:05 +0000 UTC`
pub(super) fn date(rfc3339: &str) -> String {
    rfc3339
        .parse::<Timestamp>()
        .map_or_else(|_| rfc3339.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string())
}

/// `5 minutes`, up to now.
pub(super) fn since(rfc3339: &str) -> String {
    let Ok(time) = rfc3339.parse::<Timestamp>() else { return String::new() };
    span(Timestamp::now().as_second().saturating_sub(time.as_second()).max(0))
}

/// `5 minutes ago`
pub(super) fn ago(rfc3339: &str) -> String {
    let since = since(rfc3339);
    if since.is_empty() { since } else { since + " ago" }
}

/// Docker's words for a length of time.
fn span(seconds: i64) -> String {
    let (minutes, days) = (seconds / MINUTE_SECONDS, seconds / DAY_SECONDS);
    let hours = (seconds + HOUR_SECONDS / 2) / HOUR_SECONDS;
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        _ if seconds < MINUTE_SECONDS => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if days < 14 => format!("{days} days"),
        _ if days < 60 => format!("{} weeks", days / 7),
        _ if days < 730 => format!("{} months", days / 30),
        _ => format!("{} years", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dockers() {
        assert_eq!(date("2026-01-02T03:04:05Z"), "2026-01-02 03:04:05 +0000 UTC");
        assert_eq!(date("?"), "?");
        for (seconds, expected) in [
            (0, "Less than a second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (47 * 3600, "47 hours"),
            (3 * 86400, "3 days"),
            (20 * 86400, "2 weeks"),
            (90 * 86400, "3 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(span(seconds), expected);
        }
        assert!(ago(&Timestamp::now().to_string()).ends_with(" ago"));
    }
}
