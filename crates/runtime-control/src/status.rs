//! What a helper knows of its container.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where the container is in its life.
///
/// ```text
/// Starting ──▶ Running ──▶ Stopping ──▶ Stopped
///     └───────────┴──────────────────────▲
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuntimeState {
    /// The VM boots.
    Starting,
    /// The first process runs.
    Running,
    /// The first process ended, the VM does not yet.
    Stopping,
    /// The VM is gone.
    Stopped,
}

/// Answer to `Subscribe` and `Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeStatus {
    /// Protocol generation of the helper.
    pub generation: u32,
    /// The container it serves.
    pub container_id: String,
    /// Now.
    pub state: RuntimeState,
    /// Process id of the helper.
    pub helper_pid: u32,
    /// Process id of the VMM.
    pub vmm_pid: Option<u32>,
    /// Of the first process.
    pub exit_status: Option<ExitStatus>,
    /// Numbers of further processes that still run.
    pub processes: Vec<u32>,
    /// The highest number that a client has had.
    #[serde(default)]
    pub last_client: u64,
    /// How the start went.
    pub timeline: Timeline,
    /// The container's processes are frozen.
    #[serde(default)]
    pub paused: bool,
    /// RFC 3339, UTC: since when the guest does not answer. Absent as long as it does.
    #[serde(default)]
    pub unresponsive_since: Option<String>,
}

/// Milestones of a start, in microseconds after the helper received `Start`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// The VMM process exists.
    pub vmm_spawned_us: u64,
    /// vminitd dialled the helper.
    pub agent_connected_us: u64,
    /// The container's process was executed.
    pub process_started_us: u64,
    /// Guest CLOCK_BOOTTIME at the entry of vminitd: what the guest kernel took to boot.
    pub guest_boot_us: u64,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitReason {
    /// Its first process ended.
    ProcessExited,
    /// The VMM ended before the process did: kernel panic, kill -9, out of memory on the host.
    VmmLost,
    /// The helper ended before it could tell.
    HelperLost,
    /// The container never started.
    StartFailed,
    /// It was killed from outside by ending its VM.
    Killed,
}

/// How a process or a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitStatus {
    /// 0-255; 128 + n for death by signal n.
    pub exit_code: i32,
    /// Signal that ended it.
    pub signal: Option<u32>,
    /// The guest's OOM killer struck.
    pub out_of_memory: bool,
    /// Why.
    pub reason: ExitReason,
    /// One sentence for `ExitReason`s other than `ProcessExited`; for that one if what the process wrote could
    /// not be written where its client wanted it.
    pub message: Option<String>,
    /// RFC 3339, UTC.
    pub finished_date: String,
}

impl ExitStatus {
    /// Writes `exit.json` so that it survives a power cut: temporary file, fsync, rename, fsync of
    /// the directory.
    ///
    /// # Errors
    /// Any of these steps failed; an earlier file is then untouched.
    pub fn persist(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("json.tmp");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
    }

    /// Reads what [`Self::persist`] wrote; `None` when there is nothing.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
