//! Everything the daemon owns, shared by all requests.

use std::sync::Arc;

use bulkhead_paths::Directories;
use tokio_util::sync::CancellationToken;

use crate::container::registry::Containers;
use crate::disk::Disks;
use crate::helper_pool::HelperPool;
use crate::history::History;
use crate::image::Images;
use crate::machine::Machines;
use crate::network::Networks;
use crate::records::Records;
use crate::settings::Settings;
use crate::volume::Volumes;

/// The service. No field is guarded by a lock that is held across an await.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) directories: Directories,
    pub(crate) settings: Settings,
    pub(crate) records: Arc<Records>,
    pub(crate) images: Images,
    pub(crate) containers: Containers,
    pub(crate) networks: Networks,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) helpers: Arc<HelperPool>,
    pub(crate) disks: Disks,
    pub(crate) machines: Machines,
    pub(crate) history: Arc<History>,
    /// Cancelled when the daemon is to end.
    pub(crate) ending: CancellationToken,
}

#[cfg(test)]
pub(crate) mod testing {
    //! A service in a temporary directory, with no programs installed.

    use super::*;
    use bulkhead_state::Contents;

    pub(crate) fn directories(folder: &std::path::Path) -> Directories {
        let directories = Directories {
            app_root: folder.join("app"),
            install_root: folder.join("install"),
            log_root: folder.join("log"),
            runtime_root: folder.join("run"),
        };
        directories.create().unwrap();
        directories
    }

    /// Only the database.
    pub(crate) fn records(folder: &std::path::Path) -> (Records, Contents) {
        Records::open(&directories(folder).database()).unwrap()
    }

    pub(crate) fn service(folder: &std::path::Path) -> (Arc<Service>, Contents) {
        let directories = directories(folder);
        let settings = Settings { disk_bytes: 64 << 20, ..Settings::default() };
        let (records, contents) = records(folder);
        let records = Arc::new(records);
        let history: Arc<History> = Arc::default();
        let volumes = Volumes::new(&directories, Arc::clone(&records), Arc::clone(&history), Vec::new(), &[]);
        let service = Service {
            volumes: Arc::new(volumes),
            images: Images::open(&directories, &settings, Arc::clone(&records), Vec::new()).unwrap(),
            containers: Containers::default(),
            networks: Networks::new(&directories, &settings, Arc::clone(&records), Vec::new(), Vec::new()),
            helpers: Arc::new(HelperPool::new(&directories)),
            disks: Disks::new(directories.disk_templates(), settings.disk_bytes),
            machines: Machines::detect(&directories, &settings),
            history,
            ending: CancellationToken::new(),
            directories,
            settings,
            records,
        };
        (Arc::new(service), contents)
    }
}
