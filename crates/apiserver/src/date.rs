//! Dates as the interface shows them.

/// Now, RFC 3339, whole seconds, UTC.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Unix time in microseconds.
pub(crate) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// RFC 3339 with microseconds, UTC.
pub(crate) fn from_us(microseconds: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(microseconds).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// From one RFC 3339 date to another; 0 when one cannot be read.
pub(crate) fn milliseconds_between(from: &str, to: &str) -> i128 {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().ok();
    match (parse(from), parse(to)) {
        (Some(from), Some(to)) => (to.as_nanosecond() - from.as_nanosecond()) / 1_000_000,
        _ => 0,
    }
}
