//! A guest driven by hand: its memory, its virtqueues and the vhost-user connection of its monitor
#![allow(dead_code, reason = "each test file uses its own part of the guest")]

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vhost::vhost_user::message::VhostUserConfigFlags;
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

pub(crate) const RING_SIZE: u16 = 64;
/// Where the guest's memory starts; other than 0 so that translations show.
pub(crate) const MEMORY_START: u64 = 0x10_0000;
pub(crate) const MEMORY_BYTES: u64 = 16 << 20;
/// What the monitor calls the start of the guest's memory.
const MONITOR_START: u64 = 0x7f00_0000_0000;
const QUEUE_STRIDE: u64 = 0x1_0000;
/// Free for the test's own use.
pub(crate) const DATA: u64 = MEMORY_START + 0x10_0000;
const TIMEOUT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// One descriptor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// A buffer that the device reads.
pub(crate) fn readable(address: u64, length: u32) -> (u64, u32, u16) {
    (address, length, 0)
}

/// A buffer that the device writes.
pub(crate) fn writable(address: u64, length: u32) -> (u64, u32, u16) {
    (address, length, WRITE)
}

pub(crate) struct Queue {
    base: u64,
    next_descriptor: u16,
    available: u16,
    used_seen: u16,
    kick: EventFd,
    call: EventFd,
}

pub(crate) struct Guest {
    pub(crate) frontend: Frontend,
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) memory_file: OwnedFd,
    pub(crate) features: u64,
    queues: Vec<Queue>,
}

impl Guest {
    /// Goes through the handshake of virtio_uml.
    pub(crate) fn connect(stream: UnixStream, queue_count: usize) -> Self {
        let mut frontend = Frontend::from_stream(stream, 8);
        frontend.set_owner().unwrap();
        let features = frontend.get_features().unwrap();
        frontend.set_features(features).unwrap();
        let offered = frontend.get_protocol_features().unwrap();
        assert_eq!(offered, VhostUserProtocolFeatures::CONFIG);
        frontend.set_protocol_features(offered).unwrap();

        let memory_file = rustix::fs::memfd_create("guest", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&memory_file, MEMORY_BYTES).unwrap();
        let memory = GuestMemoryMmap::from_ranges_with_files([(
            GuestAddress(MEMORY_START),
            usize::try_from(MEMORY_BYTES).unwrap(),
            Some(FileOffset::new(memory_file.try_clone().unwrap().into(), 0)),
        )])
        .unwrap();
        frontend.set_mem_table(&[memory_region(&memory_file, MEMORY_BYTES)]).unwrap();

        let queues = (0..queue_count).map(|index| start_queue(&mut frontend, index)).collect();
        // Messages have no acknowledgement; a reply shows that all before it have been handled.
        frontend.get_features().unwrap();
        Self { frontend, memory, memory_file, features, queues }
    }

    pub(crate) fn configuration(&mut self, length: u32) -> Vec<u8> {
        let wanted = vec![0; length as usize];
        let flags = VhostUserConfigFlags::empty();
        self.frontend.get_config(0, length, flags, &wanted).unwrap().1
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    pub(crate) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    /// Writes descriptors as they are, without any chain between them.
    pub(crate) fn put_descriptors(&mut self, table: u64, descriptors: &[Descriptor]) {
        for (index, descriptor) in descriptors.iter().enumerate() {
            let address = table + index as u64 * 16;
            self.write(address, &descriptor.address.to_le_bytes());
            self.write(address + 8, &descriptor.length.to_le_bytes());
            self.write(address + 12, &descriptor.flags.to_le_bytes());
            self.write(address + 14, &descriptor.next.to_le_bytes());
        }
    }

    pub(crate) fn table(&self, queue: usize) -> u64 {
        self.queues[queue].base
    }

    /// Makes a chain of buffers available, without a kick, and returns its head.
    pub(crate) fn offer(&mut self, queue: usize, buffers: &[(u64, u32, u16)]) -> u16 {
        let count = u16::try_from(buffers.len()).unwrap();
        let state = &mut self.queues[queue];
        if state.next_descriptor + count > RING_SIZE {
            state.next_descriptor = 0;
        }
        let head = state.next_descriptor;
        state.next_descriptor += count;
        let table = state.base;
        for (position, (address, length, flags)) in (0..count).zip(buffers) {
            let last = position + 1 == count;
            let descriptor = Descriptor {
                address: *address,
                length: *length,
                flags: if last { *flags } else { *flags | NEXT },
                next: if last { 0 } else { head + position + 1 },
            };
            self.put_descriptors(table + u64::from(head + position) * 16, &[descriptor]);
        }
        self.offer_head(queue, head);
        head
    }

    /// Makes the chain at `head` available, without a kick.
    pub(crate) fn offer_head(&mut self, queue: usize, head: u16) {
        let state = &mut self.queues[queue];
        let available = available_ring(state.base);
        let slot = available + 4 + u64::from(state.available % RING_SIZE) * 2;
        state.available = state.available.wrapping_add(1);
        let index = state.available;
        self.write(slot, &head.to_le_bytes());
        self.set_available_index(queue, index);
    }

    pub(crate) fn set_available_index(&mut self, queue: usize, index: u16) {
        let address = GuestAddress(available_ring(self.queues[queue].base) + 2);
        self.memory.store(index, address, Ordering::Release).unwrap();
    }

    pub(crate) fn kick(&self, queue: usize) {
        self.queues[queue].kick.write(1).unwrap();
    }

    /// The next chain that the device has given back, if there is one now.
    pub(crate) fn try_take_used(&mut self, queue: usize) -> Option<(u16, u32)> {
        let state = &mut self.queues[queue];
        let used = used_ring(state.base);
        let index: u16 = self.memory.load(GuestAddress(used + 2), Ordering::Acquire).unwrap();
        if index == state.used_seen {
            return None;
        }
        let slot = used + 4 + u64::from(state.used_seen % RING_SIZE) * 8;
        state.used_seen = state.used_seen.wrapping_add(1);
        // Ask for an interrupt for the next one (used_event).
        let event = available_ring(state.base) + 4 + u64::from(RING_SIZE) * 2;
        self.memory.store(state.used_seen, GuestAddress(event), Ordering::SeqCst).unwrap();
        let element = self.read(slot, 8);
        let head = u32::from_le_bytes(element[..4].try_into().unwrap());
        let length = u32::from_le_bytes(element[4..].try_into().unwrap());
        Some((u16::try_from(head).unwrap(), length))
    }

    /// Waits for the device to give a chain back.
    pub(crate) fn take_used(&mut self, queue: usize) -> (u16, u32) {
        loop {
            if let Some(used) = self.try_take_used(queue) {
                return used;
            }
            let call = &self.queues[queue].call;
            assert!(wait_readable(call.as_raw_fd()), "the device does not answer on queue {queue}");
            call.read().unwrap();
        }
    }

    /// Offers a chain, kicks and waits for it.
    pub(crate) fn submit(&mut self, queue: usize, buffers: &[(u64, u32, u16)]) -> u32 {
        let head = self.offer(queue, buffers);
        self.kick(queue);
        let (used, length) = self.take_used(queue);
        assert_eq!(used, head);
        length
    }
}

pub(crate) fn memory_region(file: &OwnedFd, bytes: u64) -> VhostUserMemoryRegionInfo {
    VhostUserMemoryRegionInfo {
        guest_phys_addr: MEMORY_START,
        memory_size: bytes,
        userspace_addr: MONITOR_START,
        mmap_offset: 0,
        mmap_handle: file.as_raw_fd(),
    }
}

fn wait_readable(descriptor: i32) -> bool {
    // SAFETY: the descriptor is open for as long as the caller's reference to its owner lives.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    poll(&mut [PollFd::new(&borrowed, PollFlags::IN)], Some(&TIMEOUT)).unwrap() == 1
}

fn available_ring(base: u64) -> u64 {
    base + 0x4000
}

fn used_ring(base: u64) -> u64 {
    base + 0x8000
}

fn start_queue(frontend: &mut Frontend, index: usize) -> Queue {
    let base = MEMORY_START + index as u64 * QUEUE_STRIDE;
    let monitor = |address: u64| address - MEMORY_START + MONITOR_START;
    let kick = EventFd::new(0).unwrap();
    let call = EventFd::new(0).unwrap();
    frontend.set_vring_call(index, &call).unwrap();
    frontend.set_vring_num(index, RING_SIZE).unwrap();
    frontend.set_vring_base(index, 0).unwrap();
    let rings = VringConfigData {
        queue_max_size: RING_SIZE,
        queue_size: RING_SIZE,
        flags: 0,
        desc_table_addr: monitor(base),
        used_ring_addr: monitor(used_ring(base)),
        avail_ring_addr: monitor(available_ring(base)),
        log_addr: None,
    };
    frontend.set_vring_addr(index, &rings).unwrap();
    frontend.set_vring_kick(index, &kick).unwrap();
    frontend.set_vring_enable(index, true).unwrap();
    Queue { base, next_descriptor: 0, available: 0, used_seen: 0, kick, call }
}
