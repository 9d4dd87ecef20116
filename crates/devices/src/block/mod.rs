//! virtio-blk: one or several host files as one disk (virtio 1.2, section 5.2)

mod content;
mod device;
mod disk;
mod extent;
mod request;
mod statistics;

pub use device::{BlockConfiguration, BlockDevice, BlockError};
pub use extent::{Extent, SECTOR_BYTES, start_sectors};
pub use statistics::BlockStatistics;
