//! How the health of a container is checked.

use bulkhead_api::health::HealthCheckRequest;
use clap::Args;

use crate::values::duration::Span;

/// Flags of the health check.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct HealthFlags {
    /// Check the health of the container by a shell command, in place of the image's check
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,

    /// Time between two checks [default: the image's, else 30s]
    #[arg(long, value_name = "TIME")]
    health_interval: Option<Span>,

    /// Failures in a row that make the container unhealthy [default: the image's, else 3]
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<u32>,

    /// Time between two checks within the start period [default: the image's, else 5s]
    #[arg(long, value_name = "TIME")]
    health_start_interval: Option<Span>,

    /// Time after the start in which failures do not count [default: the image's, else 0s]
    #[arg(long, value_name = "TIME")]
    health_start_period: Option<Span>,

    /// Time after which a check is killed and has failed [default: the image's, else 30s]
    #[arg(long, value_name = "TIME")]
    health_timeout: Option<Span>,

    /// Check nothing, whatever the image says
    #[arg(long, conflicts_with_all = ["health_cmd", "health_interval", "health_retries",
        "health_start_interval", "health_start_period", "health_timeout"])]
    no_healthcheck: bool,
}

impl HealthFlags {
    pub(crate) fn request(&self) -> HealthCheckRequest {
        HealthCheckRequest {
            command: self.health_cmd.clone(),
            interval_ms: self.health_interval.map(Span::milliseconds),
            timeout_ms: self.health_timeout.map(Span::milliseconds),
            start_period_ms: self.health_start_period.map(Span::milliseconds),
            start_interval_ms: self.health_start_interval.map(Span::milliseconds),
            retries: self.health_retries,
            disabled: self.no_healthcheck,
        }
    }
}
