//! Reading and writing the files behind a disk as if they were one

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use rustix::io::Errno;

use super::extent::{Extent, SECTOR_BYTES};
use super::{BlockError, start_sectors};
use crate::transport::Buffers;

/// Host files in a row.
#[derive(Debug)]
pub(super) struct DiskContent {
    extents: Vec<Extent>,
    /// Byte at which each extent starts on the disk.
    starts: Vec<u64>,
    length_bytes: u64,
}

/// The part of a range of the disk that lies in one extent.
struct Piece<'a> {
    file: BorrowedFd<'a>,
    file_offset_bytes: u64,
    length_bytes: u64,
}

impl DiskContent {
    pub(super) fn new(name: &str, extents: Vec<Extent>) -> Result<Self, BlockError> {
        let mut length_bytes = 0_u64;
        for (index, extent) in extents.iter().enumerate() {
            let end_in_file = extent.file_offset_bytes.checked_add(extent.length_bytes);
            let fits = |end: &u64| i64::try_from(*end).is_ok();
            let whole = extent.length_bytes > 0 && extent.length_bytes.is_multiple_of(SECTOR_BYTES);
            let next = length_bytes.checked_add(extent.length_bytes).filter(fits);
            match (next, end_in_file.filter(fits), whole) {
                (Some(next), Some(_), true) => length_bytes = next,
                _ => {
                    let (name, length_bytes) = (name.to_owned(), extent.length_bytes);
                    return Err(BlockError::Length { name, index, length_bytes });
                }
            }
        }
        if extents.is_empty() {
            return Err(BlockError::Empty { name: name.to_owned() });
        }
        let starts = start_sectors(&extents).into_iter().map(|sector| sector * SECTOR_BYTES).collect();
        Ok(Self { extents, starts, length_bytes })
    }

    pub(super) fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// The first part of what starts at `offset_bytes`; at most `length_bytes` of it.
    fn piece(&self, offset_bytes: u64, length_bytes: u64) -> Option<Piece<'_>> {
        let index = self.starts.partition_point(|start| *start <= offset_bytes).checked_sub(1)?;
        let extent = self.extents.get(index)?;
        let within = offset_bytes - self.starts.get(index)?;
        let rest = extent.length_bytes.checked_sub(within).filter(|rest| *rest > 0)?;
        Some(Piece {
            file: extent.file.as_fd(),
            file_offset_bytes: extent.file_offset_bytes + within,
            length_bytes: rest.min(length_bytes),
        })
    }

    /// Moves bytes between `buffers` and the disk piece by piece.
    fn transfer(
        &self,
        mut offset_bytes: u64,
        mut buffers: Buffers<'_>,
        move_bytes: impl Fn(&Buffers<'_>, BorrowedFd<'_>, u64) -> io::Result<usize>,
        at_end_of_file: impl Fn(&Buffers<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while buffers.length() > 0 {
            let piece =
                self.piece(offset_bytes, buffers.length() as u64).ok_or(io::ErrorKind::InvalidInput)?;
            let length = usize::try_from(piece.length_bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
            let mut part = buffers.split_front(length);
            let mut position = piece.file_offset_bytes;
            while part.length() > 0 {
                let moved = move_bytes(&part, piece.file, position)?;
                if moved == 0 {
                    at_end_of_file(&part)?;
                    break;
                }
                part.advance(moved);
                position += moved as u64;
            }
            offset_bytes += piece.length_bytes;
        }
        Ok(())
    }

    /// Reads; what lies beyond the end of a file is zero. The range must lie on the disk.
    pub(super) fn read(&self, offset_bytes: u64, buffers: Buffers<'_>) -> io::Result<()> {
        let read = |part: &Buffers<'_>, file: BorrowedFd<'_>, position| part.read_from(file, position);
        self.transfer(offset_bytes, buffers, read, |rest| {
            rest.fill_zeroes();
            Ok(())
        })
    }

    /// Writes. The range must lie on the disk.
    pub(super) fn write(&self, offset_bytes: u64, buffers: Buffers<'_>) -> io::Result<()> {
        let write = |part: &Buffers<'_>, file: BorrowedFd<'_>, position| part.write_to(file, position);
        self.transfer(offset_bytes, buffers, write, |_| Err(io::ErrorKind::WriteZero.into()))
    }

    /// Makes everything written before durable.
    pub(super) fn flush(&self) -> io::Result<()> {
        for extent in &self.extents {
            rustix::io::retry_on_intr(|| fdatasync(&extent.file))?;
        }
        Ok(())
    }

    /// Gives the space of a range back to the host where its file system can; the content is zero or unchanged.
    pub(super) fn discard(&self, offset_bytes: u64, length_bytes: u64) -> io::Result<()> {
        self.for_each_piece(offset_bytes, length_bytes, |piece| {
            match allocate(&piece, FallocateFlags::PUNCH_HOLE) {
                // Discarding is a hint (virtio 1.2, section 5.2.6.2).
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
                outcome => Ok(outcome?),
            }
        })
    }

    /// Fills a range with zeroes, if `unmap` is set without keeping its space.
    pub(super) fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64, unmap: bool) -> io::Result<()> {
        self.for_each_piece(offset_bytes, length_bytes, |piece| {
            let first = if unmap { FallocateFlags::PUNCH_HOLE } else { FallocateFlags::ZERO_RANGE };
            match allocate(&piece, first) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(allocate(&piece, FallocateFlags::PUNCH_HOLE)?),
                outcome => Ok(outcome?),
            }
        })
    }

    fn for_each_piece(
        &self,
        mut offset_bytes: u64,
        mut length_bytes: u64,
        action: impl Fn(Piece<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while length_bytes > 0 {
            let piece = self.piece(offset_bytes, length_bytes).ok_or(io::ErrorKind::InvalidInput)?;
            let done = piece.length_bytes;
            action(piece)?;
            offset_bytes += done;
            length_bytes -= done;
        }
        Ok(())
    }
}

fn allocate(piece: &Piece<'_>, flags: FallocateFlags) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| {
        let flags = flags | FallocateFlags::KEEP_SIZE;
        fallocate(piece.file, flags, piece.file_offset_bytes, piece.length_bytes)
    })
}
