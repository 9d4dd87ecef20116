//! Directories of which the guest keeps names and attributes, for as long as nobody else changes something.
//!
//! ```text
//!  guest: OPENDIR ──────▶ kept: marked, and said to be so by FOPEN_CACHE_DIR
//!  host: a change ──────▶ told, once: the guest lets go of what it knows of the directory
//!  guest: asks again ───▶ kept: the next change is told
//! ```
//!
//! Between telling and asking nothing of the directory is known in the guest that was asked for after the
//! change, so that a host which writes a thousand times tells once. The guest's end is kernel/patches, 0023.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use rustix::fs::fstatfs;

/// Each keeps a directory of the host in memory.
const MAXIMUM: usize = 16 * 1024;
/// linux/magic.h: ext4, XFS, Btrfs, F2FS and tmpfs, on which nobody but this host changes anything.
const LOCAL: [u32; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

/// By the guest's number: whether the guest was told of a change and has not asked since.
#[derive(Debug)]
pub(super) struct Kept {
    directories: RwLock<HashMap<u64, AtomicBool>>,
    maximum: usize,
    /// Nothing is told any more, or ever was.
    is_closed: AtomicBool,
}

impl Default for Kept {
    fn default() -> Self {
        Self { directories: RwLock::default(), maximum: MAXIMUM, is_closed: AtomicBool::new(false) }
    }
}

impl Kept {
    /// Keeps nothing from now on.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    pub(super) fn contains(&self, inode: u64) -> bool {
        !self.is_closed()
            && self.directories.read().unwrap_or_else(PoisonError::into_inner).contains_key(&inode)
    }

    /// Whether there is room for this one, which then is there.
    pub(super) fn insert(&self, inode: u64) -> bool {
        let mut directories = self.directories.write().unwrap_or_else(PoisonError::into_inner);
        let fits = !self.is_closed() && directories.len() < self.maximum;
        if fits {
            directories.insert(inode, AtomicBool::new(false));
        }
        fits
    }

    pub(super) fn len(&self) -> usize {
        self.directories.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn remove(&self, inode: u64) {
        self.directories.write().unwrap_or_else(PoisonError::into_inner).remove(&inode);
    }

    pub(super) fn clear(&self) {
        self.directories.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The guest asks for something in the directory. To be called before the host is asked.
    pub(super) fn asked(&self, inode: u64) {
        let directories = self.directories.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(is_told) = directories.get(&inode) {
            is_told.store(false, Ordering::SeqCst);
        }
    }

    /// Something in the directory has changed; whether that is to be told.
    pub(super) fn is_news(&self, inode: u64) -> bool {
        let directories = self.directories.read().unwrap_or_else(PoisonError::into_inner);
        directories.get(&inode).is_some_and(|is_told| !is_told.swap(true, Ordering::SeqCst))
    }
}

/// Whether all that changes a directory passes this host's kernel.
pub(super) fn is_local(directory: &File) -> bool {
    let system = fstatfs(directory).ok().and_then(|system| u32::try_from(system.f_type).ok());
    system.is_some_and(|system| LOCAL.contains(&system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_until_the_guest_asks_again() {
        let kept = Kept::default();
        assert!(!kept.is_news(1), "not kept");
        assert!(kept.insert(1));
        assert!(kept.is_news(1) && !kept.is_news(1));
        kept.asked(1);
        assert!(kept.is_news(1) && !kept.is_news(1));
        kept.remove(1);
        assert!(!kept.contains(1) && !kept.is_news(1));
    }

    #[test]
    fn f83_a_guest_keeps_so_many_and_no_more() {
        let kept = Kept { maximum: 2, ..Kept::default() };
        assert!(kept.insert(1) && kept.insert(2) && !kept.insert(3));
        assert!(!kept.contains(3));
        kept.clear();
        assert!(kept.insert(3));
    }
}
