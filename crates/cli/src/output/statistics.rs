//! Use of resources in tables.

use std::time::Duration;

use bulkhead_api::observation::ContainerStatistics;
use serde::Serialize;

/// One reading of a container, and what two tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Sample {
    /// 100 is one whole processor; absent: one reading does not tell.
    #[serde(skip)]
    pub(super) cpu_percent: Option<f64>,
    pub(super) latest: ContainerStatistics,
}

impl Sample {
    /// Titles of the columns.
    pub(crate) const HEADER: [&'static str; 6] =
        ["Container ID", "Cpu %", "Memory Usage", "Net Rx/Tx", "Block I/O", "Pids"];

    pub(crate) fn new(before: &ContainerStatistics, latest: ContainerStatistics, elapsed: Duration) -> Self {
        let used = latest.cpu_usage_usec.zip(before.cpu_usage_usec);
        let cpu_percent = used.map(|(latest, before)| {
            let used = Duration::from_micros(latest.saturating_sub(before));
            used.as_secs_f64() / elapsed.as_secs_f64().max(f64::EPSILON) * 100.0
        });
        Self { cpu_percent, latest }
    }

    /// One reading.
    pub(crate) fn once(latest: ContainerStatistics) -> Self {
        Self { cpu_percent: None, latest }
    }

    /// Of a container that does not run.
    pub(crate) fn nothing(id: &str) -> Self {
        Self::once(ContainerStatistics { id: id.to_owned(), ..ContainerStatistics::default() })
    }

    pub(crate) fn id(&self) -> &str {
        &self.latest.id
    }

    pub(crate) fn row(&self) -> Vec<String> {
        let latest = &self.latest;
        let pair = |one, other| format!("{} / {}", size(one), size(other));
        vec![
            latest.id.clone(),
            self.cpu_percent.map_or_else(absent, |percent| format!("{percent:.2}%")),
            pair(latest.memory_usage_bytes, latest.memory_limit_bytes),
            pair(latest.network_rx_bytes, latest.network_tx_bytes),
            pair(latest.block_read_bytes, latest.block_write_bytes),
            latest.num_processes.map_or_else(absent, |count| count.to_string()),
        ]
    }
}

/// In place of what cannot be told.
pub(super) fn absent() -> String {
    "--".to_owned()
}

/// As the compatible command shows sizes: two digits, KiB at least.
fn size(bytes: Option<u64>) -> String {
    const KIB: f64 = 1024.0;
    let Some(bytes) = bytes else { return absent() };
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let value = bytes as f64;
    if value >= KIB * KIB * KIB {
        format!("{:.2} GiB", value / (KIB * KIB * KIB))
    } else if value >= KIB * KIB {
        format!("{:.2} MiB", value / (KIB * KIB))
    } else {
        format!("{:.2} KiB", value / KIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(cpu_usage_usec: Option<u64>) -> ContainerStatistics {
        ContainerStatistics {
            id: "web".to_owned(),
            memory_usage_bytes: Some(3 << 20),
            memory_limit_bytes: Some(1 << 30),
            cpu_usage_usec,
            network_rx_bytes: Some(512),
            network_tx_bytes: Some(0),
            block_read_bytes: Some(u64::MAX),
            block_write_bytes: None,
            num_processes: Some(2),
        }
    }

    #[test]
    fn rows_are_those_of_the_compatible_command() {
        let sample = Sample::new(&reading(Some(1_000_000)), reading(Some(1_500_000)), Duration::from_secs(2));
        let expected =
            ["web", "25.00%", "3.00 MiB / 1.00 GiB", "0.50 KiB / 0.00 KiB", "17179869184.00 GiB / --", "2"];
        assert_eq!(sample.row(), expected);
        let reset = Sample::new(&reading(Some(9)), reading(Some(3)), Duration::ZERO);
        assert_eq!(reset.row()[1], "0.00%");
        assert_eq!(Sample::new(&reading(None), reading(Some(3)), Duration::ZERO).row()[1], "--");
    }
}
