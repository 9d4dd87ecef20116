//! Which lines of a log are wanted, and how.

use bulkhead_api::request::LogsQuery;
use jiff::Timestamp;

/// Which lines of a log are wanted, and how.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Only the last lines of those within the window.
    pub(super) tail: Option<usize>,
    /// Each line begins with its time.
    pub(super) timestamps: bool,
    pub(super) window: Window,
}

impl From<LogsQuery> for View {
    fn from(query: LogsQuery) -> Self {
        Self {
            tail: query.tail,
            timestamps: query.timestamps,
            window: Window { since: query.since_us.map(written), until: query.until_us.map(written) },
        }
    }
}

/// The times between which lines are shown, as log files have them: of one width and in UTC, so that they
/// compare as text.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    since: Option<String>,
    until: Option<String>,
}

impl Window {
    /// Whether a line of this time is shown.
    pub(super) fn contains(&self, date: &[u8]) -> bool {
        self.since.as_ref().is_none_or(|since| date >= since.as_bytes())
            && self.until.as_ref().is_none_or(|until| date <= until.as_bytes())
    }
}

fn written(unix_us: i64) -> String {
    // Before 1970 and after 9999 there are no lines.
    let time = Timestamp::from_microsecond(unix_us.max(0)).unwrap_or(Timestamp::MAX);
    format!("{time:.9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_compare_as_text() {
        let query = LogsQuery {
            since_us: Some(1_700_000_000_000_000),
            until_us: Some(i64::MAX),
            ..LogsQuery::default()
        };
        let window = View::from(query).window;
        assert_eq!(window.since.as_deref(), Some("2023-11-14T22:13:20.000000000Z"));
        assert!(window.contains(b"2023-11-14T22:13:20.000000000Z"));
        assert!(window.contains(b"2026-01-01T00:00:00.000000001Z"));
        assert!(!window.contains(b"2023-11-14T22:13:19.999999999Z"));
        let window = Window { since: None, until: Some(written(-5)) };
        assert!(!window.contains(b"2023-11-14T22:13:20.000000000Z"));
        assert!(Window::default().contains(b""));
    }
}
