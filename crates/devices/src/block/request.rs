//! Requests of the driver, checked (virtio 1.2, section 5.2.6)

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
    VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};

use super::SECTOR_BYTES;
use crate::transport::{Buffers, Chain};

/// Ranges in one `DISCARD` or `WRITE_ZEROES`.
pub(super) const MAXIMUM_RANGES: u32 = 16;
/// Sectors in one such range: 1 GiB, so that one request does not hold the disk up for long.
pub(super) const MAXIMUM_RANGE_SECTORS: u32 = 1 << 21;
const RANGE_BYTES: usize = 16;

/// A range of the disk, certain to lie on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) offset_bytes: u64,
    pub(super) length_bytes: u64,
    pub(super) unmap: bool,
}

/// A request that may be carried out.
#[derive(Debug)]
pub(super) enum Request<'m> {
    Read { offset_bytes: u64, target: Buffers<'m> },
    Write { offset_bytes: u64, source: Buffers<'m> },
    Flush,
    Identify { target: Buffers<'m> },
    Discard { ranges: Vec<Range> },
    WriteZeroes { ranges: Vec<Range> },
}

/// Why a request is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A driver that follows the specification does not send this.
    Invalid,
    /// The type is unknown.
    Unsupported,
}

impl<'m> Request<'m> {
    /// Parses a chain whose status byte has been cut off already.
    pub(super) fn parse(
        chain: Chain<'m>,
        target: Buffers<'m>,
        disk_bytes: u64,
        read_only: bool,
    ) -> Result<Self, Refusal> {
        let Chain { mut readable, malformed, .. } = chain;
        let header = readable.take_array::<16>().filter(|_| !malformed).ok_or(Refusal::Invalid)?;
        let [kind, _priority, sector_low, sector_high] = words(&header);
        let sector = u64::from(sector_high) << 32 | u64::from(sector_low);
        let writable_disk = || if read_only { Err(Refusal::Invalid) } else { Ok(()) };
        match kind {
            VIRTIO_BLK_T_IN => {
                let offset_bytes = data_offset(sector, target.length(), disk_bytes)?;
                Ok(Self::Read { offset_bytes, target })
            }
            VIRTIO_BLK_T_OUT => {
                writable_disk()?;
                let offset_bytes = data_offset(sector, readable.length(), disk_bytes)?;
                Ok(Self::Write { offset_bytes, source: readable })
            }
            VIRTIO_BLK_T_FLUSH => Ok(Self::Flush),
            VIRTIO_BLK_T_GET_ID => Ok(Self::Identify { target }),
            VIRTIO_BLK_T_DISCARD => {
                writable_disk()?;
                Ok(Self::Discard { ranges: ranges(&readable, disk_bytes, 0)? })
            }
            VIRTIO_BLK_T_WRITE_ZEROES => {
                writable_disk()?;
                let allowed = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
                Ok(Self::WriteZeroes { ranges: ranges(&readable, disk_bytes, allowed)? })
            }
            _ => Err(Refusal::Unsupported),
        }
    }
}

fn words(bytes: &[u8; 16]) -> [u32; 4] {
    let (chunks, _) = bytes.as_chunks::<4>();
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u32::from_le_bytes(*chunk);
    }
    words
}

fn data_offset(sector: u64, length: usize, disk_bytes: u64) -> Result<u64, Refusal> {
    let length = length as u64;
    if length == 0 || !length.is_multiple_of(SECTOR_BYTES) {
        return Err(Refusal::Invalid);
    }
    let offset = sector.checked_mul(SECTOR_BYTES).ok_or(Refusal::Invalid)?;
    let end = offset.checked_add(length).ok_or(Refusal::Invalid)?;
    if end > disk_bytes { Err(Refusal::Invalid) } else { Ok(offset) }
}

fn ranges(source: &Buffers<'_>, disk_bytes: u64, allowed_flags: u32) -> Result<Vec<Range>, Refusal> {
    let length = source.length();
    if length == 0 || !length.is_multiple_of(RANGE_BYTES) || length > RANGE_BYTES * MAXIMUM_RANGES as usize {
        return Err(Refusal::Invalid);
    }
    let mut bytes = Vec::with_capacity(length);
    source.append_to(&mut bytes);
    let (chunks, _) = bytes.as_chunks::<RANGE_BYTES>();
    chunks
        .iter()
        .map(|chunk| {
            let [sector_low, sector_high, sectors, flags] = words(chunk);
            let sector = u64::from(sector_high) << 32 | u64::from(sector_low);
            if flags & !allowed_flags != 0 || sectors == 0 || sectors > MAXIMUM_RANGE_SECTORS {
                return Err(Refusal::Invalid);
            }
            let offset_bytes = sector.checked_mul(SECTOR_BYTES).ok_or(Refusal::Invalid)?;
            let length_bytes = u64::from(sectors) * SECTOR_BYTES;
            let end = offset_bytes.checked_add(length_bytes).ok_or(Refusal::Invalid)?;
            if end > disk_bytes {
                return Err(Refusal::Invalid);
            }
            Ok(Range { offset_bytes, length_bytes, unmap: flags != 0 })
        })
        .collect()
}
