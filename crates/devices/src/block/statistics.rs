//! What a disk has done so far

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Counters of a disk, updated by its thread and readable at any time.
#[derive(Debug, Default)]
pub struct BlockStatistics {
    pub(super) read_bytes: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) host_errors: AtomicU64,
    pub(super) last_host_errno: AtomicI32,
    pub(super) invalid_requests: AtomicU64,
}

impl BlockStatistics {
    /// Bytes that the guest has read.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that the guest has written.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Flushes that the guest has asked for and that succeeded.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// Requests that failed because the host did (a full or a broken disk); the guest saw an I/O error.
    #[must_use]
    pub fn host_errors(&self) -> u64 {
        self.host_errors.load(Ordering::Relaxed)
    }

    /// `errno` of the latest host error, for example 28 (`ENOSPC`).
    #[must_use]
    pub fn last_host_errno(&self) -> Option<i32> {
        Some(self.last_host_errno.load(Ordering::Relaxed)).filter(|errno| *errno != 0)
    }

    /// Requests that a well-behaved driver does not make; the guest saw an I/O error.
    #[must_use]
    pub fn invalid_requests(&self) -> u64 {
        self.invalid_requests.load(Ordering::Relaxed)
    }
}
