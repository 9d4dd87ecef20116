//! Health checks: commands that say whether a container does its work.

use serde::{Deserialize, Serialize};

/// Between checks within the start period when nobody says another; Docker's, too.
pub const DEFAULT_START_INTERVAL_MS: u64 = 5000;

/// How a container's health is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// argv; exit code 0 means healthy.
    pub command: Vec<String>,
    /// From the end of a check to the next.
    pub interval_ms: u64,
    /// A check that takes longer is killed and has failed.
    pub timeout_ms: u64,
    /// After the start of the container; failures do not count until then, or until a success.
    pub start_period_ms: u64,
    /// In place of the interval within the start period, until the first success.
    #[serde(default = "default_start_interval_ms")]
    pub start_interval_ms: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

impl HealthCheck {
    /// As Docker writes it into the configuration of an image: times in nanoseconds, and a check by the shell, which
    /// is kept as what it comes to, as one again.
    #[must_use]
    pub fn docker_document(&self) -> serde_json::Value {
        let test = match self.command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["/bin/sh", "-c", line] => vec!["CMD-SHELL", line],
            ref words => [&["CMD"], words].concat(),
        };
        let nanoseconds = |milliseconds: u64| milliseconds.saturating_mul(1_000_000);
        serde_json::json!({
            "Test": test,
            "Interval": nanoseconds(self.interval_ms),
            "Timeout": nanoseconds(self.timeout_ms),
            "StartPeriod": nanoseconds(self.start_period_ms),
            "StartInterval": nanoseconds(self.start_interval_ms),
            "Retries": self.retries,
        })
    }
}

/// Docker's. Containers of an earlier version have none.
fn default_start_interval_ms() -> u64 {
    DEFAULT_START_INTERVAL_MS
}

/// Flags of `run` and `create`; what is absent comes from the image. As in Docker, an interval, a timeout
/// or retries of zero are as good as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheckRequest {
    /// Shell command; replaces the image's.
    pub command: Option<String>,
    /// See [`HealthCheck`].
    pub interval_ms: Option<u64>,
    /// See [`HealthCheck`].
    pub timeout_ms: Option<u64>,
    /// See [`HealthCheck`].
    pub start_period_ms: Option<u64>,
    /// See [`HealthCheck`].
    pub start_interval_ms: Option<u64>,
    /// See [`HealthCheck`].
    pub retries: Option<u32>,
    /// Check nothing, whatever the image says.
    pub disabled: bool,
}

/// How the health of a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthStatus {
    /// In one word.
    pub status: HealthState,
    /// Failures since the last success.
    pub failing_streak: u32,
    /// The last checks, the latest last.
    pub log: Vec<HealthCheckResult>,
}

/// In one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HealthState {
    /// Not known yet.
    #[default]
    Starting,
    /// The last check succeeded.
    Healthy,
    /// Too many failed in a row.
    Unhealthy,
}

impl HealthState {
    /// As filters and JSON have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckResult {
    /// RFC 3339, whole seconds, UTC.
    pub start: String,
    /// RFC 3339, whole seconds, UTC.
    pub end: String,
    /// Of the command; -1 when it could not be run or was killed at its timeout.
    pub exit_code: i32,
    /// The first 4 KiB of stdout and stderr.
    pub output: String,
}
