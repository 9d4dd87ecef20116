//! Use of resources.

use bulkhead_api::observation::ContainerStatistics;
use serde_json::{Value, json};

use super::{Templated, binary_size, size};
use crate::output::statistics::{Sample, absent};

impl Templated for Sample {
    fn examples() -> Vec<Self> {
        let latest = ContainerStatistics {
            id: String::new(),
            memory_usage_bytes: Some(0),
            memory_limit_bytes: Some(0),
            cpu_usage_usec: Some(0),
            network_rx_bytes: Some(0),
            network_tx_bytes: Some(0),
            block_read_bytes: Some(0),
            block_write_bytes: Some(0),
            num_processes: Some(0),
        };
        vec![Self { cpu_percent: None, latest }]
    }

    fn words(&self) -> Value {
        let latest = &self.latest;
        let percent = |value: Option<f64>| value.map_or_else(absent, |percent| format!("{percent:.2}%"));
        let pair = |one: Option<u64>, other: Option<u64>, write: fn(u64) -> String| {
            format!("{} / {}", one.map_or_else(absent, write), other.map_or_else(absent, write))
        };
        #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
        let memory_percent = latest
            .memory_usage_bytes
            .zip(latest.memory_limit_bytes)
            .map(|(used, limit)| used as f64 / (limit.max(1)) as f64 * 100.0);
        json!({
            "ID": latest.id,
            "Name": latest.id,
            "Container": latest.id,
            "CPUPerc": percent(self.cpu_percent),
            "MemUsage": pair(latest.memory_usage_bytes, latest.memory_limit_bytes, binary_size),
            "MemPerc": percent(memory_percent),
            "NetIO": pair(latest.network_rx_bytes, latest.network_tx_bytes, size),
            "BlockIO": pair(latest.block_read_bytes, latest.block_write_bytes, size),
            "PIDs": latest.num_processes.map_or_else(absent, |count| count.to_string()),
        })
    }
}
