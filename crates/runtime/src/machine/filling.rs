//! New volumes that the guest fills before its process starts: who does it, and for how long.
//!
//! A shared volume is filled by one machine at a time. The lock is a file of the host beside the volume, where no
//! container reaches it, and is freed with the helper whatever becomes of that.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use bulkhead_runtime_control::{Backing, MountSpecification, RuntimeSpecification};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use crate::input::Input;

/// What is filled takes as long as it takes, but a guest is not to hold up a start for ever.
pub(super) const FILL_LIMIT: Duration = Duration::from_secs(30 * 60);
/// vminitd tells of its progress three times less often; more is of no use.
const NEWS_INTERVAL: Duration = Duration::from_secs(3);
/// Between two looks at the lock of somebody else.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What vminitd has in a volume while it fills it.
const STAGING: &str = ".bulkhead-filling";

/// How far a start goes on that takes long.
#[derive(Debug)]
pub(super) struct Filling {
    began: Instant,
    told: Option<Instant>,
    /// Of the volumes that this machine fills.
    pub(super) locks: Vec<File>,
}

impl Filling {
    pub(super) fn new(began: Instant) -> Self {
        Self { began, told: None, locks: Vec::new() }
    }

    /// Whether this is news: not too early, and not too late either.
    pub(super) fn goes_on(&mut self, now: Instant) -> bool {
        let since = |instant| now.saturating_duration_since(instant);
        let is_news = self.told.is_none_or(|told| since(told) >= NEWS_INTERVAL);
        if !is_news || since(self.began) >= FILL_LIMIT {
            return false;
        }
        self.told = Some(now);
        true
    }
}

/// Whether the guest has anything to fill.
pub(super) fn is_wanted(specification: &RuntimeSpecification) -> bool {
    specification.mounts.iter().any(is_filled)
}

fn is_filled(mount: &MountSpecification) -> bool {
    mount.fill.is_some() && !mount.no_copy
}

/// The locks of the shared volumes that the guest fills, in an order that is the same for all.
pub(super) fn locks(specification: &RuntimeSpecification) -> Vec<PathBuf> {
    let shared = |mount: &&MountSpecification| matches!(mount.backing, Some(Backing::Folder(_)));
    let filled = specification.mounts.iter().filter(|mount| is_filled(mount)).filter(shared);
    let mut locks: Vec<PathBuf> = filled.filter_map(|mount| mount.fill_lock.clone()).collect();
    locks.sort();
    locks.dedup();
    locks
}

/// The guest has to do without its new volumes.
#[derive(Debug, Error)]
pub(crate) enum LockError {
    /// The file of the host cannot be made or locked.
    #[error("cannot lock '{}' to fill the new volume", path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("another container has been filling the new volume of '{}' for too long", path.display())]
    TooLong { path: PathBuf },
}

/// Waits for all of these locks. The main thread hears of it, and that this takes time.
pub(crate) fn lock(paths: &[PathBuf], inputs: &SyncSender<Input>) -> Result<(), LockError> {
    if paths.is_empty() {
        return Ok(());
    }
    let began = Instant::now();
    let mut told = began;
    let mut locks = Vec::with_capacity(paths.len());
    for path in paths {
        let failed = |source| LockError::Lock { path: path.clone(), source };
        let mut options = File::options();
        options.write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path).map_err(failed)?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
            if began.elapsed() >= FILL_LIMIT {
                return Err(LockError::TooLong { path: path.clone() });
            }
            if told.elapsed() >= NEWS_INTERVAL {
                told = Instant::now();
                // Without the main thread nobody starts anything.
                let _ = inputs.send(Input::FillingGoesOn);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        locks.push(file);
    }
    let _ = inputs.send(Input::FillingBegins(locks));
    Ok(())
}

/// Notes that shared volumes hold something that were not known to: the host sees their content itself.
pub(super) fn note_content(specification: &RuntimeSpecification) {
    for mount in &specification.mounts {
        let (Some(Backing::Folder(index)), Some(filled)) = (mount.backing, &mount.fill) else { continue };
        let Some(folder) = specification.folders.get(index) else { continue };
        if holds_content(&folder.path) {
            note(filled);
        }
    }
}

fn holds_content(volume: &Path) -> bool {
    // Where the owner keeps us out, the next container looks.
    let Ok(mut entries) = fs::read_dir(volume) else { return false };
    // In this order: what is there before that of vminitd is gone may be half of what is to come.
    entries.next().is_some() && !is_being_filled(volume)
}

/// As vminitd sees it: a link of that name is a container's, and leads to what is none of its business.
fn is_being_filled(volume: &Path) -> bool {
    fs::symlink_metadata(volume.join(STAGING)).is_ok_and(|metadata| metadata.is_dir())
}

/// Not synced: whoever does not find it looks again.
pub(super) fn note(filled: &Path) {
    if let Err(error) = File::create(filled) {
        tracing::warn!("cannot note that a volume is filled, '{}': {error}", filled.display());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn f78_progress_is_news_at_times_and_not_for_ever() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut filling = Filling::new(began);
        assert!(filling.goes_on(at(1)));
        assert!(!filling.goes_on(at(1)) && !filling.goes_on(at(3)));
        assert!(filling.goes_on(at(10)) && filling.goes_on(at(1799)));
        assert!(!filling.goes_on(at(1800)) && !filling.goes_on(at(9999)));
    }

    #[test]
    fn a_volume_is_filled_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a.lock"), folder.path().join("b.lock")];
        let (sender, inputs) = sync_channel(16);
        lock(&paths, &sender).unwrap();
        let Ok(Input::FillingBegins(held)) = inputs.recv() else { panic!("no lock") };
        assert_eq!(held.len(), 2);
        std::thread::scope(|scope| {
            scope.spawn(|| lock(&paths[1..], &sender).unwrap());
            let waited = inputs.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(matches!(waited, Input::FillingGoesOn), "{waited:?}");
            drop(held);
            while !matches!(inputs.recv().unwrap(), Input::FillingBegins(_)) {}
        });
    }
    #[test]
    fn links_of_a_guest_are_not_followed() {
        let volume = tempfile::tempdir().unwrap();
        assert!(!holds_content(volume.path()));
        let staging = volume.path().join(STAGING);
        std::os::unix::fs::symlink("/", &staging).unwrap();
        assert!(holds_content(volume.path()));
        fs::remove_file(&staging).unwrap();
        fs::create_dir(&staging).unwrap();
        assert!(!holds_content(volume.path()));
    }
}
