//! Who mounts a volume, and whose machine has it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bulkhead_api::container::{ContainerConfiguration, Mount, MountKind};
use bulkhead_api::error::ApiError;
use tokio::sync::watch;

use super::{Volumes, missing, options};
use crate::error::invalid_state;

/// A volume's disk as one container mounts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountedVolume {
    pub(crate) name: String,
    /// Every mount of it is read-only.
    pub(crate) read_only: bool,
    /// `data=…`, if the volume was created with one.
    pub(crate) journal_option: Option<String>,
    /// A directory in place of a disk.
    pub(crate) shared: bool,
    /// As long as it is not known to hold something: the file that will say so.
    pub(crate) fill: Option<PathBuf>,
}

/// Whose machine has the disk of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) container: String,
    pub(crate) purpose: Purpose,
}

/// What a machine has a disk for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The container runs, or is about to.
    Run,
    /// The container does not run, and its files are copied.
    Copy,
}

impl Volumes {
    /// Makes a container that exists a user of its volumes.
    pub(crate) fn adopt(&self, configuration: &ContainerConfiguration) {
        let mut all = self.lock();
        for name in names(&configuration.mounts) {
            match all.get_mut(&name) {
                Some(entry) => {
                    entry.users.insert(configuration.id.clone());
                }
                None => tracing::warn!(id = configuration.id, name, "the volume of a container is missing"),
            }
        }
    }

    /// The container is no more.
    pub(crate) fn detach(&self, container: &str) {
        for entry in self.lock().values_mut() {
            entry.users.remove(container);
        }
    }

    /// The container has another name.
    pub(crate) fn rename(&self, old: &str, new: &str) {
        for entry in self.lock().values_mut() {
            if entry.users.remove(old) {
                entry.users.insert(new.to_owned());
            }
            if let Some(holder) = entry.holder.as_mut().filter(|holder| holder.container == old) {
                new.clone_into(&mut holder.container);
            }
        }
    }

    /// Gives a container all its volumes for one machine, or none.
    pub(crate) fn hold(
        &self,
        configuration: &ContainerConfiguration,
        purpose: Purpose,
    ) -> Result<(), ApiError> {
        let (container, names) = (&configuration.id, names(&configuration.mounts));
        let mut all = self.lock();
        for name in &names {
            let entry = all.get(name).ok_or_else(|| missing(name))?;
            if entry.is_shared() {
                continue;
            }
            if let Some(holder) = entry.holder.as_ref().filter(|holder| holder.container != *container) {
                return Err(in_use(name, holder));
            }
        }
        for name in &names {
            if let Some(entry) = all.get_mut(name).filter(|entry| !entry.is_shared()) {
                entry.holder = Some(Holder { container: container.clone(), purpose });
            }
        }
        Ok(())
    }

    /// The container whose machine has the volume's disk.
    pub(crate) fn holder(&self, name: &str) -> Option<Holder> {
        self.lock().get(name)?.holder.clone()
    }

    /// Whether a copy with another container is all that a start waits for.
    pub(crate) fn are_being_copied(&self, configuration: &ContainerConfiguration) -> bool {
        let all = self.lock();
        let names = names(&configuration.mounts);
        let holders = names.iter().filter_map(|name| all.get(name)?.holder.as_ref());
        let mut others = holders.filter(|holder| holder.container != configuration.id).peekable();
        others.peek().is_some() && others.all(|holder| holder.purpose == Purpose::Copy)
    }

    /// Tells whenever a machine has let go of its volumes.
    pub(crate) fn watch_releases(&self) -> watch::Receiver<()> {
        self.released.subscribe()
    }

    /// Its machine is gone.
    pub(crate) fn release(&self, container: &str) {
        for entry in self.lock().values_mut() {
            if entry.holder.as_ref().is_some_and(|holder| holder.container == container) {
                entry.holder = None;
            }
        }
        self.released.send_replace(());
    }

    /// The volumes that a container mounts, each once, in the order of their first mounts.
    pub(crate) fn mounted(&self, mounts: &[Mount]) -> Vec<MountedVolume> {
        let all = self.lock();
        let mut mounted: Vec<MountedVolume> = Vec::new();
        for mount in mounts {
            let MountKind::Volume { name, .. } = &mount.kind else { continue };
            let read_only = mount.options.iter().any(|option| option == "ro");
            if let Some(known) = mounted.iter_mut().find(|known| known.name == *name) {
                known.read_only &= read_only;
                continue;
            }
            let configuration = all.get(name).map(|entry| &entry.volume.configuration);
            let journal_option =
                configuration.and_then(|configuration| options::mount_option(&configuration.options));
            let shared = configuration.is_some_and(|found| options::is_shared(&found.options));
            let filled = self.directories.volume_filled(name);
            let fill = (!filled.exists()).then_some(filled);
            mounted.push(MountedVolume { name: name.clone(), read_only, journal_option, shared, fill });
        }
        mounted
    }
}

fn in_use(name: &str, holder: &Holder) -> ApiError {
    let Holder { container, purpose } = holder;
    match purpose {
        Purpose::Run => invalid_state(format!("volume '{name}' is in use by container '{container}'"))
            .with_hint(format!(
                "A volume is the disk of one running container at a time. Stop that one first: \
                 container stop {container}; or use a volume that was created with --opt type=shared"
            )),
        Purpose::Copy => invalid_state(format!(
            "volume '{name}' is being copied from, or to, with container '{container}'"
        ))
        .with_hint("Try again when that is done."),
    }
}

/// Names of the volumes in these mounts.
fn names(mounts: &[Mount]) -> BTreeSet<String> {
    let names = mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume { name, .. } => Some(name.clone()),
        _ => None,
    });
    names.collect()
}
