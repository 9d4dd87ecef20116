//! A request of the driver: a chain of descriptors, read from guest memory exactly once

use virtio_queue::DescriptorChain;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap};

use super::Buffers;

/// Pieces of memory that one request may consist of. Drivers stay below the queue size; an indirect table of a
/// hostile one could hold 65535.
const MAXIMUM_PIECES: usize = 1024;

/// A popped request. What the guest does to its descriptors afterwards changes nothing.
#[derive(Debug)]
pub(crate) struct Chain<'m> {
    /// Identifies the request when it is given back.
    pub(crate) head: u16,
    /// What the driver sent.
    pub(crate) readable: Buffers<'m>,
    /// Where the driver wants the answer.
    pub(crate) writable: Buffers<'m>,
    /// Whether the chain breaks a rule: it loops or ends early, leaves the guest's memory, mixes directions.
    pub(crate) malformed: bool,
}

impl<'m> Chain<'m> {
    pub(super) fn read(
        memory: &'m GuestMemoryMmap,
        head: u16,
        descriptors: DescriptorChain<&'m GuestMemoryMmap>,
    ) -> Self {
        let mut chain =
            Self { head, readable: Buffers::default(), writable: Buffers::default(), malformed: false };
        // An iterator that cannot follow the chain just ends, which shows by a last descriptor that has a successor.
        let mut complete = false;
        for descriptor in descriptors {
            complete = !descriptor.has_next();
            if chain.add(memory, descriptor).is_none() {
                complete = false;
                break;
            }
        }
        chain.malformed = !complete;
        chain
    }

    fn add(&mut self, memory: &'m GuestMemoryMmap, descriptor: Descriptor) -> Option<()> {
        let writable = descriptor.is_write_only();
        // Writable descriptors come last (virtio 1.2, section 2.7.4.2).
        if !writable && self.writable.piece_count() > 0 {
            return None;
        }
        let target = if writable { &mut self.writable } else { &mut self.readable };
        for piece in memory.get_slices(descriptor.addr(), usize::try_from(descriptor.len()).ok()?) {
            if target.piece_count() == MAXIMUM_PIECES {
                return None;
            }
            target.push(piece.ok()?);
        }
        Some(())
    }
}
