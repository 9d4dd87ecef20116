//! Volumes: disks that outlive containers.
//!
//! A volume is one sparse ext4 file that the host never mounts. It is the disk of one machine at a
//! time: two kernels on one ext4 would destroy it. A shared volume is a directory instead, which any
//! number of machines have at a time, each by a file server of its own. The registry knows, for each
//! volume,
//!
//! * its users: containers, running or not, whose configuration mounts it, which keep it from being
//!   deleted;
//! * the holder of its disk: the container whose machine has it now. The helper locks the disk as well, so that
//!   not even a second service could give it away twice.
//!
//! Both are rebuilt from the containers at the start of the service.

mod create;
mod delete;
mod format;
mod options;
mod shared;
mod users;

pub(crate) use create::validate_name;
pub(crate) use shared::occupied_bytes;
pub(crate) use users::{Holder, MountedVolume, Purpose};

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_api::error::ApiError;
use bulkhead_api::volume::{VolumeConfiguration, VolumeResource};
use bulkhead_paths::Directories;
use bulkhead_state::Quarantined;
use tokio::sync::{OnceCell, watch};

use crate::error::not_found;
use crate::history::History;
use crate::records::Records;

/// All volumes. The map is locked for single look-ups only.
#[derive(Debug)]
pub(crate) struct Volumes {
    directories: Directories,
    records: Arc<Records>,
    history: Arc<History>,
    all: Mutex<BTreeMap<String, Entry>>,
    /// Names whose records are damaged. Their disks are there, and nobody may get them by accident.
    set_aside: HashSet<String>,
    /// Changes whenever a machine has let go of its volumes.
    released: watch::Sender<()>,
}

/// A volume and who uses it.
#[derive(Debug)]
struct Entry {
    volume: Arc<Volume>,
    users: BTreeSet<String>,
    holder: Option<Holder>,
}

/// A volume; its name is taken from the moment on when somebody begins to create it.
#[derive(Debug)]
struct Volume {
    configuration: VolumeConfiguration,
    /// Set when its disk and its record exist, or cannot be made.
    made: OnceCell<Result<(), ApiError>>,
}

impl Volume {
    fn is_ready(&self) -> bool {
        matches!(self.made.get(), Some(Ok(())))
    }
}

impl Volumes {
    pub(crate) fn new(
        directories: &Directories,
        records: Arc<Records>,
        history: Arc<History>,
        contents: Vec<VolumeConfiguration>,
        quarantined: &[Quarantined],
    ) -> Self {
        let set_aside =
            quarantined.iter().filter(|row| row.origin == "volume").map(|row| row.key.clone()).collect();
        let known = contents.into_iter().map(|configuration| {
            let name = configuration.name.clone();
            let volume = Arc::new(Volume { configuration, made: OnceCell::new_with(Some(Ok(()))) });
            (name, Entry { volume, users: BTreeSet::new(), holder: None })
        });
        let all = Mutex::new(known.collect());
        let released = watch::Sender::new(());
        Self { directories: directories.clone(), records, history, all, set_aside, released }
    }

    /// All volumes, by name.
    pub(crate) fn list(&self) -> Vec<VolumeResource> {
        self.lock().values().filter_map(Entry::resource).collect()
    }

    /// One volume.
    pub(crate) fn inspect(&self, name: &str) -> Result<VolumeResource, ApiError> {
        self.lock().get(name).and_then(Entry::resource).ok_or_else(|| missing(name))
    }

    /// Disk or directory of a volume.
    fn place(&self, name: &str, shared: bool) -> PathBuf {
        if shared { self.directories.volume_content(name) } else { self.directories.volume_disk(name) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_shared(&self) -> bool {
        options::is_shared(&self.volume.configuration.options)
    }

    /// As it is shown; `None` as long as it is being created.
    fn resource(&self) -> Option<VolumeResource> {
        let configuration = self.volume.is_ready().then(|| self.volume.configuration.clone())?;
        Some(VolumeResource { id: configuration.name.clone(), configuration })
    }
}

fn missing(name: &str) -> ApiError {
    let shown: String = name.chars().take(80).flat_map(char::escape_default).collect();
    not_found(format!("volume '{shown}' not found"))
}
