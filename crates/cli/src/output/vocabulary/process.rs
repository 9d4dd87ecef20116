//! Processes of a container, and changes of its files.

use bulkhead_api::files::{Change, ChangeKind};
use bulkhead_api::observation::ProcessEntry;

use super::Templated;

impl Templated for ProcessEntry {
    fn examples() -> Vec<Self> {
        vec![Self {
            pid: 0,
            parent_pid: 0,
            uid: 0,
            cpu_time_ms: 0,
            started_date: String::new(),
            age_ms: 0,
            terminal: Some(String::new()),
            command: String::new(),
            name: String::new(),
            state: String::new(),
            nice: 0,
            threads: 0,
            process_group: 0,
            session: 0,
            virtual_memory_bytes: 0,
            resident_memory_bytes: 0,
        }]
    }
}

impl Templated for Change {
    fn examples() -> Vec<Self> {
        vec![Self { kind: ChangeKind::Added, path: String::new() }]
    }
}
