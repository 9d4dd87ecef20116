//! Where a file has data.

use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, Stat, seek};
use rustix::io::Errno;

use crate::tar::{MAXIMUM_SEGMENTS, Segment};

/// Unit of `st_blocks`, stat(2).
const BLOCK_BYTES: u64 = 512;

/// The data of a file that has holes; `None` when it has none worth a map, or cannot tell.
pub(super) fn segments(file: BorrowedFd<'_>, status: &Stat) -> Result<Option<Vec<Segment>>, Errno> {
    let size_bytes = u64::try_from(status.st_size).unwrap_or(0);
    let allocated_bytes = u64::try_from(status.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES);
    if allocated_bytes >= size_bytes {
        return Ok(None);
    }
    let mut segments: Vec<Segment> = Vec::new();
    let mut position_bytes = 0;
    while position_bytes < size_bytes {
        let start = match seek(file, SeekFrom::Data(position_bytes)) {
            Ok(start) if start < size_bytes => start,
            // A hole up to the end; beyond it when the file shrinks meanwhile.
            Ok(_) | Err(Errno::NXIO) => break,
            Err(Errno::INVAL) if segments.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = if segments.len() + 1 < MAXIMUM_SEGMENTS {
            seek(file, SeekFrom::Hole(start))?.min(size_bytes)
        } else {
            // The map is full: what is left counts as data.
            size_bytes
        };
        if end <= start {
            break;
        }
        segments.push(Segment { offset_bytes: start, length_bytes: end - start });
        position_bytes = end;
    }
    let whole = segments == [Segment { offset_bytes: 0, length_bytes: size_bytes }];
    Ok((!whole).then_some(segments))
}
