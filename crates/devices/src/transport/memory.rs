//! The guest's memory as the monitor shares it

use std::fs::File;
use std::os::fd::OwnedFd;

use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use super::message::Region;

/// Most memory that is mapped for one virtual machine: the address space of a process, with room to spare.
const MAXIMUM_BYTES: u64 = 1 << 46;

/// Why the monitor's memory table was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryFault {
    /// The descriptor of a region cannot be examined.
    #[error("cannot examine the file of memory region {region}")]
    Examine {
        /// Position in the table.
        region: usize,
        /// What the kernel said.
        #[source]
        source: rustix::io::Errno,
    },
    /// The descriptor of a region is something else than a file.
    #[error("memory region {region} is not backed by a regular file")]
    NotAFile {
        /// Position in the table.
        region: usize,
    },
    /// A region reaches beyond its file, so that touching it would fault.
    #[error("memory region {region} reaches beyond the end of its file")]
    BeyondFile {
        /// Position in the table.
        region: usize,
    },
    /// A region's numbers overflow or are absurd.
    #[error("memory region {region} has impossible bounds")]
    Bounds {
        /// Position in the table.
        region: usize,
    },
    /// A region cannot be mapped.
    #[error("cannot map memory region {region}")]
    Map {
        /// Position in the table.
        region: usize,
        /// What the kernel said.
        #[source]
        source: vm_memory::mmap::MmapRegionError,
    },
    /// Regions overlap or are not sorted.
    #[error("the memory regions do not form an address space")]
    Table(#[source] vm_memory::GuestRegionCollectionError),
}

#[derive(Debug)]
struct MonitorRange {
    monitor_address: u64,
    guest_address: u64,
    length_bytes: u64,
}

/// The mapped memory of a guest.
#[derive(Debug, Default)]
pub(crate) struct GuestRam {
    table: GuestMemoryMmap,
    monitor_ranges: Vec<MonitorRange>,
}

impl GuestRam {
    /// Maps the regions of a `SET_MEM_TABLE` message.
    pub(super) fn map(regions: Vec<(Region, OwnedFd)>) -> Result<Self, MemoryFault> {
        let mut mapped = Vec::with_capacity(regions.len());
        let mut monitor_ranges = Vec::with_capacity(regions.len());
        for (region, (bounds, descriptor)) in regions.into_iter().enumerate() {
            let Region { guest_address, length_bytes: length, monitor_address, file_offset_bytes: offset } =
                bounds;
            let file = File::from(descriptor);
            let end = offset.checked_add(length).filter(|_| (1..=MAXIMUM_BYTES).contains(&length));
            let end = end.ok_or(MemoryFault::Bounds { region })?;
            if guest_address.checked_add(length).is_none() || monitor_address.checked_add(length).is_none() {
                return Err(MemoryFault::Bounds { region });
            }
            let status =
                rustix::fs::fstat(&file).map_err(|source| MemoryFault::Examine { region, source })?;
            if !rustix::fs::FileType::from_raw_mode(status.st_mode).is_file() {
                return Err(MemoryFault::NotAFile { region });
            }
            if u64::try_from(status.st_size).map_or(true, |size| end > size) {
                return Err(MemoryFault::BeyondFile { region });
            }
            let length_here = usize::try_from(length).map_err(|_| MemoryFault::Bounds { region })?;
            let mapping = MmapRegion::from_file(FileOffset::new(file, offset), length_here)
                .map_err(|source| MemoryFault::Map { region, source })?;
            mapped.push(
                GuestRegionMmap::new(mapping, GuestAddress(guest_address))
                    .ok_or(MemoryFault::Bounds { region })?,
            );
            monitor_ranges.push(MonitorRange { monitor_address, guest_address, length_bytes: length });
        }
        // The table may come in any order; the address space must not.
        mapped.sort_by_key(|region| vm_memory::GuestMemoryRegion::start_addr(region).0);
        let table = GuestMemoryMmap::from_regions(mapped).map_err(MemoryFault::Table)?;
        Ok(Self { table, monitor_ranges })
    }

    /// The guest's physical address space.
    pub(crate) fn table(&self) -> &GuestMemoryMmap {
        &self.table
    }

    /// Rings are given in addresses of the monitor's own address space (vhost-user, `SET_VRING_ADDR`).
    pub(crate) fn guest_address(&self, monitor_address: u64) -> Option<GuestAddress> {
        self.monitor_ranges.iter().find_map(|range| {
            let offset = monitor_address.checked_sub(range.monitor_address)?;
            (offset < range.length_bytes).then(|| GuestAddress(range.guest_address + offset))
        })
    }
}
