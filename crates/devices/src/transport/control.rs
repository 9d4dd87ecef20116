//! What the monitor sets up through vhost-user

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::epoll;
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueT;

use super::message::{Request, RingAddresses};
use super::ring::RingFault;
use super::{GuestRam, MemoryFault, Ring};

/// Feature bit of vhost-user itself: there are protocol features, and rings start disabled.
const PROTOCOL_FEATURES: u64 = 1 << 30;
/// Protocol feature: the monitor asks for the configuration space. `REPLY_ACK` is left out on purpose: it would turn
/// two thirds of the messages of a boot into round trips. A refused message ends the connection instead.
const CONFIGURATION: u64 = 1 << 9;
/// Features of every device: the current version of virtio, fewer interrupts, long requests in one descriptor.
const TRANSPORT_FEATURES: u64 = 1 << VIRTIO_F_VERSION_1
    | 1 << VIRTIO_RING_F_EVENT_IDX
    | 1 << VIRTIO_RING_F_INDIRECT_DESC
    | PROTOCOL_FEATURES;

/// Why the monitor's messages were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlFault {
    /// What arrived is not a message that a monitor sends to such a device.
    #[error("the monitor sent something that is not a message")]
    Nonsense,
    /// The memory table is unusable.
    #[error("the monitor sent an unusable memory table")]
    Memory(#[source] MemoryFault),
    /// A queue that the device does not have.
    #[error("the monitor addressed queue {queue}, which does not exist")]
    NoSuchQueue {
        /// Its number.
        queue: u32,
    },
    /// A ring that is not in the guest's memory, misaligned or of a wrong size.
    #[error("the monitor described an impossible ring of queue {queue}")]
    ImpossibleRing {
        /// Position of the queue.
        queue: usize,
    },
    /// Features that were not offered.
    #[error("the monitor acknowledged features that were not offered: {features:#x}")]
    Features {
        /// The excess bits.
        features: u64,
    },
    /// A descriptor that cannot announce anything.
    #[error("the monitor sent an unusable notification descriptor for queue {queue}")]
    Notification {
        /// Position of the queue.
        queue: usize,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What the monitor has set up so far.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) ram: GuestRam,
    pub(super) rings: Vec<Ring>,
    /// Queues that have started since the caller looked last.
    pub(super) started: u64,
    features: u64,
    configuration: Vec<u8>,
    epoll: Arc<OwnedFd>,
    first_token: u64,
}

impl Control {
    pub(super) fn new(
        device_features: u64,
        configuration: Vec<u8>,
        queues: usize,
        epoll: Arc<OwnedFd>,
        first_token: u64,
    ) -> Result<Self, RingFault> {
        Ok(Self {
            ram: GuestRam::default(),
            rings: (0..queues).map(Ring::new).collect::<Result<_, _>>()?,
            started: 0,
            features: device_features | TRANSPORT_FEATURES,
            configuration,
            epoll,
            first_token,
        })
    }

    fn ring(&mut self, queue: u32) -> Result<&mut Ring, ControlFault> {
        usize::try_from(queue)
            .ok()
            .and_then(|index| self.rings.get_mut(index))
            .ok_or(ControlFault::NoSuchQueue { queue })
    }

    /// A ring that may be described anew because it is not running.
    fn stopped_ring(&mut self, queue: u32) -> Result<&mut Ring, ControlFault> {
        let ring = self.ring(queue)?;
        if ring.registered { Err(ControlFault::ImpossibleRing { queue: ring.index }) } else { Ok(ring) }
    }

    /// Does what the monitor asks for; the body of the reply, if the request has one.
    pub(super) fn handle(&mut self, request: Request) -> Result<Option<Vec<u8>>, ControlFault> {
        match request {
            Request::GetFeatures => return Ok(Some(self.features.to_ne_bytes().to_vec())),
            Request::SetFeatures(features) => self.set_features(features)?,
            Request::GetProtocolFeatures => return Ok(Some(CONFIGURATION.to_ne_bytes().to_vec())),
            Request::SetProtocolFeatures(features) => check_features(features, CONFIGURATION)?,
            Request::GetQueueCount => return Ok(Some((self.rings.len() as u64).to_ne_bytes().to_vec())),
            Request::SetMemoryTable(regions) => {
                self.ram = GuestRam::map(regions).map_err(ControlFault::Memory)?;
                for (queue, ring) in self.rings.iter().enumerate() {
                    if ring.registered && !ring.queue.is_valid(self.ram.table()) {
                        return Err(ControlFault::ImpossibleRing { queue });
                    }
                }
            }
            Request::SetRingSize { queue, size } => {
                let ring = self.stopped_ring(queue)?;
                let size = u16::try_from(size).ok().and_then(|size| ring.queue.try_set_size(size).ok());
                size.ok_or(ControlFault::ImpossibleRing { queue: ring.index })?;
            }
            Request::SetRingAddresses { queue, addresses } => self.set_addresses(queue, addresses)?,
            Request::SetRingBase { queue, base } => {
                let ring = self.stopped_ring(queue)?;
                let base = u16::try_from(base);
                ring.queue
                    .set_next_avail(base.map_err(|_| ControlFault::ImpossibleRing { queue: ring.index })?);
            }
            Request::GetRingBase { queue } => return self.stop(queue).map(Some),
            Request::SetKick { queue, descriptor } => self.set_kick(queue, descriptor)?,
            Request::SetCall { queue, descriptor } => {
                let ring = self.ring(queue)?;
                ring.call = descriptor.map(|call| notification_descriptor(ring.index, call)).transpose()?;
            }
            Request::SetError { queue } => {
                self.ring(queue)?;
            }
            Request::EnableRing { queue, enable } => {
                let ring = self.ring(queue)?;
                let index = ring.index;
                ring.enabled = enable;
                self.update(index)?;
            }
            Request::GetConfiguration { offset, length, flags } => {
                return Ok(Some(self.configuration_reply(offset, length, flags)));
            }
            // No field of any device here is writable, and writing to one that is not has no effect.
            Request::SetConfiguration | Request::SetOwner => {}
        }
        Ok(None)
    }

    fn set_features(&mut self, features: u64) -> Result<(), ControlFault> {
        check_features(features, self.features)?;
        let event_index = features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        // Without this feature there is no way to enable rings, and they start enabled (vhost-user, "Ring states").
        let enable = features & PROTOCOL_FEATURES == 0;
        for queue in 0..self.rings.len() {
            if let Some(ring) = self.rings.get_mut(queue) {
                ring.queue.set_event_idx(event_index);
                ring.enabled |= enable;
            }
            self.update(queue)?;
        }
        Ok(())
    }

    fn set_addresses(&mut self, queue: u32, addresses: RingAddresses) -> Result<(), ControlFault> {
        let translated = (
            self.ram.guest_address(addresses.descriptors),
            self.ram.guest_address(addresses.available),
            self.ram.guest_address(addresses.used),
        );
        let table = self.ram.table().clone();
        let ring = self.stopped_ring(queue)?;
        let impossible = || ControlFault::ImpossibleRing { queue: ring.index };
        let (Some(descriptors), Some(available), Some(used)) = translated else { return Err(impossible()) };
        ring.queue.try_set_desc_table_address(descriptors).map_err(|_| impossible())?;
        ring.queue.try_set_avail_ring_address(available).map_err(|_| impossible())?;
        ring.queue.try_set_used_ring_address(used).map_err(|_| impossible())?;
        // SET_VRING_BASE carries only the other index; a ring that was in use before goes on where it was.
        let next_used = ring.queue.used_idx(&table, Ordering::Relaxed).map_err(|_| impossible())?;
        ring.queue.set_next_used(next_used.0);
        Ok(())
    }

    fn set_kick(&mut self, queue: u32, descriptor: Option<OwnedFd>) -> Result<(), ControlFault> {
        self.forget_kick(queue)?;
        let ring = self.ring(queue)?;
        let index = ring.index;
        // Without a descriptor the ring would have to be polled, which no monitor of ours asks for.
        let kick = descriptor.ok_or(ControlFault::Nonsense)?;
        ring.kick = Some(notification_descriptor(index, kick)?);
        ring.queue.set_ready(true);
        self.update(index)
    }

    fn stop(&mut self, queue: u32) -> Result<Vec<u8>, ControlFault> {
        self.forget_kick(queue)?;
        let ring = self.ring(queue)?;
        ring.queue.set_ready(false);
        ring.call = None;
        let mut state = queue.to_ne_bytes().to_vec();
        state.extend(u32::from(ring.queue.next_avail()).to_ne_bytes());
        Ok(state)
    }

    /// As many bytes as were asked for, which virtio_uml insists on; what the device does not have is zero.
    fn configuration_reply(&self, offset: u32, length: u32, flags: u32) -> Vec<u8> {
        let mut reply = Vec::new();
        for field in [offset, length, flags] {
            reply.extend(field.to_ne_bytes());
        }
        let known = self.configuration.iter().copied();
        let bytes = known.chain(std::iter::repeat(0)).skip(offset.min(MAXIMUM_OFFSET) as usize);
        reply.extend(bytes.take(length as usize));
        reply
    }

    /// Listens to a queue's kicks exactly while it is running.
    fn update(&mut self, queue: usize) -> Result<(), ControlFault> {
        let Some(ring) = self.rings.get_mut(queue) else { return Ok(()) };
        let Some(kick) = &ring.kick else { return Ok(()) };
        let running = ring.enabled && ring.queue.ready();
        let outcome = if running && !ring.registered {
            if !ring.queue.is_valid(self.ram.table()) {
                return Err(ControlFault::ImpossibleRing { queue });
            }
            self.started |= 1 << queue;
            // Edge-triggered: every write announces itself, and the counter never has to be read, which a hostile
            // monitor could make us wait for.
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            let token = epoll::EventData::new_u64(self.first_token + queue as u64);
            epoll::add(&*self.epoll, kick, token, flags)
        } else if !running && ring.registered {
            epoll::delete(&*self.epoll, kick)
        } else {
            return Ok(());
        };
        outcome.map_err(|error| ControlFault::Notification { queue, source: error.into() })?;
        ring.registered = running;
        Ok(())
    }

    /// Stops listening before the descriptor is closed: the monitor's copy would keep the registration alive.
    fn forget_kick(&mut self, queue: u32) -> Result<(), ControlFault> {
        let epoll = Arc::clone(&self.epoll);
        let ring = self.ring(queue)?;
        if ring.registered
            && let Some(kick) = &ring.kick
        {
            epoll::delete(&*epoll, kick)
                .map_err(|error| ControlFault::Notification { queue: ring.index, source: error.into() })?;
            ring.registered = false;
        }
        ring.kick = None;
        Ok(())
    }
}

/// Beyond every configuration space.
const MAXIMUM_OFFSET: u32 = 1 << 16;

fn check_features(features: u64, offered: u64) -> Result<(), ControlFault> {
    match features & !offered {
        0 => Ok(()),
        features => Err(ControlFault::Features { features }),
    }
}

/// Accepts an eventfd (or another anonymous inode), a pipe, or a socket, which virtio_uml uses for its interrupts
/// because an eventfd does not raise SIGIO. A file is refused: we would write to it with our rights in the monitor's
/// name.
fn notification_descriptor(queue: usize, descriptor: OwnedFd) -> Result<OwnedFd, ControlFault> {
    let refused = |error: rustix::io::Errno| ControlFault::Notification { queue, source: error.into() };
    let mode = rustix::fs::fstat(&descriptor).map_err(refused)?.st_mode;
    let file_type = rustix::fs::FileType::from_raw_mode(mode);
    let anonymous = mode & libc::S_IFMT == 0;
    if !file_type.is_fifo() && !file_type.is_socket() && !anonymous {
        return Err(refused(rustix::io::Errno::INVAL));
    }
    let flags = rustix::fs::fcntl_getfl(&descriptor).map_err(refused)?;
    if !flags.contains(rustix::fs::OFlags::NONBLOCK) {
        rustix::fs::fcntl_setfl(&descriptor, flags | rustix::fs::OFlags::NONBLOCK).map_err(refused)?;
    }
    Ok(descriptor)
}
