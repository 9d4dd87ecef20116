//! The virtio side of a disk

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::epoll;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP,
};

use super::BlockStatistics;
use super::content::DiskContent;
use super::extent::SECTOR_BYTES;
use super::request::{MAXIMUM_RANGE_SECTORS, MAXIMUM_RANGES, Refusal, Request};
use crate::transport::{Buffers, Chain, KickedQueues, Progress, Queues, RingFault, VirtioDevice};

/// Data descriptors per request: those of a ring of 256 less one for the header and one for the status.
const MAXIMUM_SEGMENTS: u32 = 254;
/// Sectors that a discarded range should start at a multiple of: the block size of the host's file systems.
const DISCARD_ALIGNMENT_SECTORS: u32 = 8;
/// Requests after which messages of the monitor get a turn, and the owner may stop the device.
const REQUESTS_PER_TURN: usize = 256;
/// The same in bytes: one request may move up to 4 GiB.
const BYTES_PER_TURN: usize = 64 << 20;

/// A disk as its thread sees it.
#[derive(Debug)]
pub(super) struct Disk {
    name: String,
    content: DiskContent,
    read_only: bool,
    serial: [u8; 20],
    statistics: Arc<BlockStatistics>,
    /// Set when the latest turn ended before the queue was empty.
    unfinished: bool,
}

impl Disk {
    pub(super) fn new(
        name: String,
        content: DiskContent,
        read_only: bool,
        serial: [u8; 20],
        statistics: Arc<BlockStatistics>,
    ) -> Self {
        Self { name, content, read_only, serial, statistics, unfinished: false }
    }

    /// Carries a request out and returns how many bytes of its writable part are valid.
    fn answer(&self, mut chain: Chain<'_>) -> usize {
        let writable = chain.writable.length();
        let Some(data_length) = writable.checked_sub(1) else {
            // No place for a status: the driver learns only that the chain is its own again.
            self.statistics.invalid_requests.fetch_add(1, Ordering::Relaxed);
            return 0;
        };
        let target = chain.writable.split_front(data_length);
        let mut status = std::mem::take(&mut chain.writable);
        let outcome = Request::parse(chain, target, self.content.length_bytes(), self.read_only);
        let code = match outcome.map(|request| self.execute(request)) {
            Ok(Ok(())) => VIRTIO_BLK_S_OK,
            Ok(Err(error)) => {
                self.report(&error);
                VIRTIO_BLK_S_IOERR
            }
            Err(refusal) => {
                self.statistics.invalid_requests.fetch_add(1, Ordering::Relaxed);
                match refusal {
                    Refusal::Invalid => VIRTIO_BLK_S_IOERR,
                    Refusal::Unsupported => VIRTIO_BLK_S_UNSUPP,
                }
            }
        };
        status.put(&code.to_le_bytes()[..1]);
        // The status is the last byte, so all of it counts as written, as other devices count it too.
        writable
    }

    fn execute(&self, request: Request<'_>) -> io::Result<()> {
        let statistics = &self.statistics;
        match request {
            Request::Read { offset_bytes, target } => {
                let length = target.length();
                self.content.read(offset_bytes, target)?;
                statistics.read_bytes.fetch_add(length as u64, Ordering::Relaxed);
                Ok(())
            }
            Request::Write { offset_bytes, source } => {
                let length = source.length() as u64;
                self.content.write(offset_bytes, source)?;
                statistics.written_bytes.fetch_add(length, Ordering::Relaxed);
                Ok(())
            }
            Request::Flush => {
                if !self.read_only {
                    self.content.flush()?;
                }
                statistics.flushes.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Request::Identify { target } => {
                self.identify(target);
                Ok(())
            }
            Request::Discard { ranges } => {
                for range in ranges {
                    self.content.discard(range.offset_bytes, range.length_bytes)?;
                }
                Ok(())
            }
            Request::WriteZeroes { ranges } => {
                for range in ranges {
                    self.content.write_zeroes(range.offset_bytes, range.length_bytes, range.unmap)?;
                }
                Ok(())
            }
        }
    }

    fn identify(&self, mut target: Buffers<'_>) {
        let length = target.length().min(self.serial.len());
        target.put(&self.serial[..length]);
    }

    /// Counts a failure of the host; logs the first one and then ever fewer, for a guest can cause them at will.
    fn report(&self, error: &io::Error) {
        let count = self.statistics.host_errors.fetch_add(1, Ordering::Relaxed) + 1;
        self.statistics.last_host_errno.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::Relaxed);
        if count.is_power_of_two() {
            tracing::warn!(disk = %self.name, count, %error, "the host failed a disk request");
        }
    }
}

impl VirtioDevice for Disk {
    const QUEUES: usize = 1;

    fn features(&self) -> u64 {
        let common = 1 << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_BLK_SIZE | 1 << VIRTIO_BLK_F_FLUSH;
        if self.read_only {
            common | 1 << VIRTIO_BLK_F_RO
        } else {
            common | 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES
        }
    }

    /// `struct virtio_blk_config` (virtio 1.2, section 5.2.4), packed and little-endian.
    fn configuration(&self) -> Vec<u8> {
        let mut bytes = [0; 60];
        let mut put =
            |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        put(0, &(self.content.length_bytes() / SECTOR_BYTES).to_le_bytes());
        put(12, &MAXIMUM_SEGMENTS.to_le_bytes());
        put(20, &512_u32.to_le_bytes());
        put(36, &MAXIMUM_RANGE_SECTORS.to_le_bytes());
        put(40, &MAXIMUM_RANGES.to_le_bytes());
        put(44, &DISCARD_ALIGNMENT_SECTORS.to_le_bytes());
        put(48, &MAXIMUM_RANGE_SECTORS.to_le_bytes());
        put(52, &MAXIMUM_RANGES.to_le_bytes());
        put(56, &[1]);
        bytes.to_vec()
    }

    fn note_event(&mut self, _token: u64, _flags: epoll::EventFlags) {}

    fn run(&mut self, kicked: KickedQueues, queues: &mut Queues<'_>) -> Result<Progress, RingFault> {
        if !kicked.contains(0) && !self.unfinished {
            return Ok(Progress::Idle);
        }
        self.unfinished = false;
        let memory = queues.memory;
        let Some(ring) = queues.rings.first_mut() else { return Ok(Progress::Idle) };
        ring.disable_kicks(memory)?;
        let mut bytes = 0_usize;
        for _ in 0..REQUESTS_PER_TURN {
            if bytes >= BYTES_PER_TURN {
                break;
            }
            match ring.pop(memory)? {
                Some(chain) => {
                    let head = chain.head;
                    bytes = bytes.saturating_add(chain.readable.length() + chain.writable.length());
                    let written = self.answer(chain);
                    ring.push(memory, head, written)?;
                    // At once, for the next request may have to wait for the host's disk.
                    ring.notify(memory)?;
                }
                None if ring.enable_kicks(memory)? => ring.disable_kicks(memory)?,
                None => return Ok(Progress::Idle),
            }
        }
        self.unfinished = true;
        Ok(Progress::More)
    }
}
