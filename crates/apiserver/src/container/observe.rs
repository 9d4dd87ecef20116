//! What can be seen of a container from outside: processes, changes, use of resources.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::error::{ApiError, ErrorCode};
use bulkhead_api::files::{Change, ChangeKind};
use bulkhead_api::observation::{ContainerStatistics, ProcessEntry};
use bulkhead_guest_protocol::frame;
use bulkhead_guest_protocol::messages as guest;
use bulkhead_runtime_control::{BuiltIn, DescriptorPurpose, Reply, Request};
use jiff::Timestamp;
use tokio::io::AsyncReadExt;

use super::built_in::{self, pipe};
use super::registry::Container;
use crate::error::{from_control, timed_out};

/// A guest that says more is lying.
const MAXIMUM_LIST_BYTES: u64 = 64 << 20;
/// Reading processes takes milliseconds; one of them may be in the way.
const PROCESSES_LIMIT: Duration = Duration::from_secs(10);
/// A disk with millions of changes takes its time, beside a boot.
const CHANGES_LIMIT: Duration = Duration::from_secs(300);
/// Major number of Unix 98 terminals (Linux allocated devices, 136-143).
const TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

impl Container {
    /// `GET /v1/containers/{id}/processes`
    pub(crate) async fn processes(self: &Arc<Self>) -> Result<Vec<ProcessEntry>, ApiError> {
        // A stopped container has none, and no machine is to be booted to find that out.
        self.running().await?;
        let bytes = self.collect(BuiltIn::ListProcesses, PROCESSES_LIMIT).await?;
        let now = Timestamp::now();
        self.decode(&bytes, |entry: guest::ProcessEntry| process_entry(entry, now))
    }

    /// `GET /v1/containers/{id}/changes`
    pub(crate) async fn changes(self: &Arc<Self>) -> Result<Vec<Change>, ApiError> {
        let bytes = self.collect(BuiltIn::ListChanges, CHANGES_LIMIT).await?;
        let changes = self.decode(&bytes, |change: guest::Change| {
            let kind = match change.kind() {
                guest::change::Kind::Added => ChangeKind::Added,
                guest::change::Kind::Changed => ChangeKind::Changed,
                guest::change::Kind::Deleted => ChangeKind::Deleted,
                guest::change::Kind::Unspecified => return None,
            };
            Some(Change { kind, path: String::from_utf8_lossy(&change.path).into_owned() })
        })?;
        Ok(changes.into_iter().flatten().collect())
    }

    /// `GET /v1/containers/{id}/statistics`
    pub(crate) async fn statistics(&self) -> Result<ContainerStatistics, ApiError> {
        let run = self.running().await?;
        match run.ask(Request::Statistics).await {
            Ok(Reply::Statistics(numbers)) => Ok(ContainerStatistics {
                id: self.id.clone(),
                memory_usage_bytes: Some(numbers.memory_usage_bytes),
                memory_limit_bytes: Some(numbers.memory_limit_bytes),
                cpu_usage_usec: Some(numbers.cpu_usage_us),
                network_rx_bytes: Some(numbers.network_received_bytes),
                network_tx_bytes: Some(numbers.network_sent_bytes),
                block_read_bytes: Some(numbers.block_read_bytes),
                block_write_bytes: Some(numbers.block_written_bytes),
                num_processes: Some(numbers.process_count),
            }),
            Ok(_) => Err(self.nonsense()),
            Err(error) => Err(from_control(&self.id, error)),
        }
    }

    /// Everything that a work writes.
    async fn collect(self: &Arc<Self>, work: BuiltIn, limit: Duration) -> Result<Vec<u8>, ApiError> {
        let (reader, writer) = pipe(&self.id)?;
        let mut running = built_in::start(self, work, (DescriptorPurpose::Stdout, writer)).await?;
        let mut bytes = Vec::new();
        let mut reader = reader.take(MAXIMUM_LIST_BYTES);
        let collected = tokio::time::timeout(limit, async {
            // A broken pipe ends like any other; the exit code tells.
            drop(reader.read_to_end(&mut bytes).await);
            if reader.limit() == 0 {
                return Err(self.nonsense());
            }
            running.finished().await
        });
        match collected.await {
            Ok(Ok(_)) => Ok(bytes),
            Ok(Err(error)) => {
                running.cancel().await;
                Err(error)
            }
            Err(_) => {
                running.cancel().await;
                let seconds = limit.as_secs();
                Err(timed_out(format!("container '{}' did not answer within {seconds} s", self.id)))
            }
        }
    }

    fn decode<M: prost::Message + Default, T>(
        &self,
        mut bytes: &[u8],
        translate: impl Fn(M) -> T,
    ) -> Result<Vec<T>, ApiError> {
        let mut items = Vec::new();
        while let Some(message) = frame::read::<M>(&mut bytes).map_err(|_| self.nonsense())? {
            items.push(translate(message));
        }
        Ok(items)
    }

    fn nonsense(&self) -> ApiError {
        ApiError::new(
            ErrorCode::InternalError,
            format!("the machine of container '{}' gave an answer that makes no sense", self.id),
        )
    }
}

fn process_entry(entry: guest::ProcessEntry, now: Timestamp) -> ProcessEntry {
    let age = i64::try_from(entry.age_ms).unwrap_or(i64::MAX);
    let started = now.checked_sub(jiff::SignedDuration::from_millis(age)).unwrap_or(Timestamp::UNIX_EPOCH);
    ProcessEntry {
        pid: entry.pid,
        parent_pid: entry.parent_pid,
        uid: entry.user_id,
        cpu_time_ms: entry.cpu_time_ms,
        started_date: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        age_ms: entry.age_ms,
        terminal: terminal(entry.terminal),
        command: String::from_utf8_lossy(&entry.command).into_owned(),
        name: String::from_utf8_lossy(&entry.name).into_owned(),
        // The guest of an earlier version says none.
        state: u8::try_from(entry.state)
            .ok()
            .filter(u8::is_ascii_alphabetic)
            .map_or('?', char::from)
            .to_string(),
        nice: entry.nice,
        threads: entry.threads,
        process_group: entry.process_group,
        session: entry.session,
        virtual_memory_bytes: entry.virtual_memory_bytes,
        resident_memory_bytes: entry.resident_memory_bytes,
    }
}

/// Name of a controlling terminal; its number is packed as in proc_pid_stat(5), "tty_nr".
fn terminal(number: u32) -> Option<String> {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match (number, major) {
        (0, _) => None,
        (_, major) if TERMINALS.contains(&major) => {
            Some(format!("pts/{}", minor + (major - TERMINALS.start()) * 256))
        }
        (_, major) => Some(format!("{major}:{minor}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_have_their_names() {
        assert_eq!(terminal(0), None);
        assert_eq!(terminal(136 << 8), Some("pts/0".to_owned()));
        assert_eq!(terminal(136 << 8 | 7), Some("pts/7".to_owned()));
        assert_eq!(terminal(137 << 8 | 1), Some("pts/257".to_owned()));
        assert_eq!(terminal(5 << 8 | 1), Some("5:1".to_owned()));
    }

    #[test]
    fn absurd_ages_are_survived() {
        let entry = guest::ProcessEntry { pid: 1, age_ms: u64::MAX, ..guest::ProcessEntry::default() };
        assert_eq!(process_entry(entry, Timestamp::now()).started_date, "1970-01-01T00:00:00Z");
    }
}
