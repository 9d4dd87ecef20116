//! The files behind a disk

use std::fs::File;
use std::sync::Arc;

/// Unit of every address on a virtio disk, whatever its logical block size is (virtio 1.2, section 5.2.4).
pub const SECTOR_BYTES: u64 = 512;

/// A part of a disk: a range of a host file, never probed for any format.
#[derive(Debug, Clone)]
pub struct Extent {
    /// The file; several extents and several devices may share it.
    pub file: Arc<File>,
    /// Where in the file the extent starts.
    pub file_offset_bytes: u64,
    /// Length on the disk, a non-zero multiple of 512. May be longer than the file: what is past its end reads as
    /// zeroes, so that blobs of any length can be padded to whole blocks.
    pub length_bytes: u64,
}

/// Sector at which each of `extents` starts on the disk that they form together.
#[must_use]
pub fn start_sectors(extents: &[Extent]) -> Vec<u64> {
    extents
        .iter()
        .scan(0_u64, |next, extent| {
            let start = *next;
            *next = next.saturating_add(extent.length_bytes / SECTOR_BYTES);
            Some(start)
        })
        .collect()
}
