//! One virtqueue and the descriptors that announce its changes

use std::os::fd::OwnedFd;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

use super::Chain;

/// Descriptors of a ring; virtio_uml always asks for exactly that many, QEMU for at most that many.
pub(crate) const MAXIMUM_RING_SIZE: u16 = 1024;

/// Why a ring cannot be served any longer: its guest broke the rules of the ring itself.
#[derive(Debug, thiserror::Error)]
#[error("virtqueue {queue} is broken")]
pub struct RingFault {
    /// Position of the queue.
    pub queue: usize,
    /// The broken rule.
    #[source]
    pub source: virtio_queue::Error,
}

/// A virtqueue.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(super) index: usize,
    pub(super) queue: Queue,
    pub(super) kick: Option<OwnedFd>,
    pub(super) call: Option<OwnedFd>,
    pub(super) enabled: bool,
    pub(super) registered: bool,
}

impl Ring {
    pub(super) fn new(index: usize) -> Result<Self, RingFault> {
        let queue = Queue::new(MAXIMUM_RING_SIZE).map_err(|source| RingFault { queue: index, source })?;
        Ok(Self { index, queue, kick: None, call: None, enabled: false, registered: false })
    }

    fn fault(&self) -> impl FnOnce(virtio_queue::Error) -> RingFault + use<> {
        let queue = self.index;
        move |source| RingFault { queue, source }
    }

    /// Whether requests may be taken.
    pub(crate) fn is_running(&self) -> bool {
        self.enabled && self.queue.ready()
    }

    /// Takes the next request.
    pub(crate) fn pop<'m>(&mut self, memory: &'m GuestMemoryMmap) -> Result<Option<Chain<'m>>, RingFault> {
        if !self.is_running() {
            return Ok(None);
        }
        let fault = self.fault();
        let size = self.queue.size();
        let Some(descriptors) = self.queue.iter(memory).map_err(fault)?.next() else { return Ok(None) };
        let head = descriptors.head_index();
        if head >= size {
            return Err(self.fault()(virtio_queue::Error::InvalidDescriptorIndex));
        }
        Ok(Some(Chain::read(memory, head, descriptors)))
    }

    /// Undoes the latest `pop`.
    pub(crate) fn put_back(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Gives a request back with `written_bytes` in its writable part.
    pub(crate) fn push(
        &mut self,
        memory: &GuestMemoryMmap,
        head: u16,
        written_bytes: usize,
    ) -> Result<(), RingFault> {
        let fault = self.fault();
        self.queue.add_used(memory, head, u32::try_from(written_bytes).unwrap_or(u32::MAX)).map_err(fault)
    }

    /// Asks the driver not to kick while the ring is being worked on.
    pub(crate) fn disable_kicks(&mut self, memory: &GuestMemoryMmap) -> Result<(), RingFault> {
        if !self.is_running() {
            return Ok(());
        }
        let fault = self.fault();
        self.queue.disable_notification(memory).map_err(fault)
    }

    /// Asks the driver to kick for its next request; true if there is one already.
    pub(crate) fn enable_kicks(&mut self, memory: &GuestMemoryMmap) -> Result<bool, RingFault> {
        if !self.is_running() {
            return Ok(false);
        }
        let fault = self.fault();
        self.queue.enable_notification(memory).map_err(fault)
    }

    /// Interrupts the driver, if it wants to hear of what was given back since the last time.
    pub(crate) fn notify(&mut self, memory: &GuestMemoryMmap) -> Result<(), RingFault> {
        if !self.is_running() {
            return Ok(());
        }
        let fault = self.fault();
        if self.queue.needs_notification(memory).map_err(fault)?
            && let Some(call) = &self.call
        {
            // A full pipe or counter means that an earlier interrupt is still unseen, so nothing is lost. A closed
            // one means that the monitor is gone, which the control connection reports.
            let _ = rustix::io::write(call, &1_u64.to_ne_bytes());
        }
        Ok(())
    }
}
