//! The virtio side of vsock: finds the connection of each packet and gives each connection its turn

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use rustix::event::epoll::{self, EventFlags};
use vm_memory::GuestMemoryMmap;

use super::GuestConnection;
use super::connection::{Connection, Fate, Output};
use super::credit::Credit;
use super::packet::{HEADER_BYTES, HOST_CID, Header, Operation, TYPE_STREAM};
use crate::transport::{
    Buffers, Chain, FIRST_DEVICE_TOKEN, KickedQueues, Progress, Queues, Ring, RingFault, VirtioDevice,
};

const RECEIVE_QUEUE: usize = 0;
const TRANSMIT_QUEUE: usize = 1;
/// Packets per direction and turn, so that neither starves the other.
const PACKETS_PER_TURN: usize = 256;
/// Credit updates that are kept until another packet goes back. Linux sends one for every read that empties a buffer, in
/// the middle of a round trip, and giving it back at once would interrupt the guest only to free 44 bytes.
const MAXIMUM_HELD: usize = 16;
/// Refusals that may wait for receive buffers; beyond, the guest's packets stay in its own queue.
const MAXIMUM_REFUSALS: usize = 256;

/// What the muxer is allowed to do.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) guest_cid: u64,
    pub(super) ports: HashSet<u32>,
    pub(super) maximum_connections: usize,
    pub(super) connection_buffer_bytes: u32,
}

/// All connections of a guest.
#[derive(Debug)]
pub(super) struct Muxer {
    limits: Limits,
    epoll: Arc<OwnedFd>,
    accepted: SyncSender<GuestConnection>,
    connections: HashMap<u64, Connection>,
    /// By guest port and host port.
    by_ports: HashMap<(u32, u32), u64>,
    next_id: u64,
    /// Connections with output, in the order of their turns.
    ready: VecDeque<u64>,
    refusals: VecDeque<Header>,
    transmit_unfinished: bool,
    /// Handled credit updates that have not been given back.
    held: Vec<u16>,
}

impl Muxer {
    pub(super) fn new(limits: Limits, accepted: SyncSender<GuestConnection>, epoll: Arc<OwnedFd>) -> Self {
        Self {
            limits,
            epoll,
            accepted,
            connections: HashMap::new(),
            by_ports: HashMap::new(),
            next_id: 0,
            ready: VecDeque::new(),
            refusals: VecDeque::new(),
            transmit_unfinished: false,
            held: Vec::with_capacity(MAXIMUM_HELD),
        }
    }

    /// Handles one packet of the guest and tells what it was.
    fn handle(&mut self, mut chain: Chain<'_>) -> Option<Operation> {
        let bytes = chain.readable.take_array().filter(|_| !chain.malformed)?;
        let header = Header::parse(&bytes);
        self.dispatch(header, chain.readable);
        Some(header.operation)
    }

    fn dispatch(&mut self, header: Header, mut data: Buffers<'_>) {
        let addressed = header.source_cid == self.limits.guest_cid && header.destination_cid == HOST_CID;
        if !addressed || header.socket_type != TYPE_STREAM {
            return self.refuse(header);
        }
        if header.operation == Operation::Request {
            return self.open(header);
        }
        let ports = (header.source_port, header.destination_port);
        let Some(id) = self.by_ports.get(&ports).copied() else { return self.refuse(header) };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let waited = connection.waits_for_room();
        connection.credit.announced_by_guest(header.buffer_bytes, header.forwarded_bytes);
        let mut allowed = true;
        match header.operation {
            Operation::Data => {
                let length = header.length_bytes as usize;
                allowed = length <= data.length() && connection.receive(data.split_front(length)).is_ok();
            }
            Operation::Shutdown => connection.guest_shuts_down(header.flags),
            Operation::CreditRequest => connection.request_update(),
            Operation::CreditUpdate => {}
            Operation::Reset => {
                self.by_ports.remove(&ports);
                if connection.guest_resets() == Fate::Ended {
                    self.remove(id);
                }
                return;
            }
            Operation::Request | Operation::Response | Operation::Unknown => allowed = false,
        }
        if !allowed {
            self.refuse(header);
            self.remove(id);
            return;
        }
        if !waited {
            self.watch_for_room(id);
        }
        self.enqueue(id);
    }

    fn refuse(&mut self, header: Header) {
        if header.operation != Operation::Reset {
            self.refusals.push_back(header.refusal());
        }
    }

    /// Opens a connection and hands its other end out, or refuses.
    fn open(&mut self, header: Header) {
        let ports = (header.source_port, header.destination_port);
        if let Some(id) = self.by_ports.get(&ports).copied() {
            // The guest knows nothing of the old connection, or it would not reuse its port.
            self.remove(id);
            return self.refuse(header);
        }
        let full = self.connections.len() >= self.limits.maximum_connections;
        if full || !self.limits.ports.contains(&header.destination_port) {
            return self.refuse(header);
        }
        let Ok((ours, theirs)) = UnixStream::pair() else { return self.refuse(header) };
        let id = self.next_id;
        self.next_id += 1;
        let token = epoll::EventData::new_u64(FIRST_DEVICE_TOKEN + id);
        if epoll::add(&*self.epoll, &ours, token, READ_EVENTS).is_err() {
            return self.refuse(header);
        }
        let offer =
            GuestConnection { port: header.destination_port, guest_port: header.source_port, stream: theirs };
        if self.accepted.try_send(offer).is_err() {
            return self.refuse(header);
        }
        let credit = Credit::new(self.limits.connection_buffer_bytes);
        let mut connection = Connection::new(header.source_port, header.destination_port, credit, ours);
        connection.credit.announced_by_guest(header.buffer_bytes, header.forwarded_bytes);
        self.connections.insert(id, connection);
        self.by_ports.insert(ports, id);
        self.enqueue(id);
    }

    fn remove(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let ports = (connection.guest_port, connection.host_port);
        // After a reset the guest may have reused the ports already.
        if self.by_ports.get(&ports) == Some(&id) {
            self.by_ports.remove(&ports);
        }
        connection.close();
    }

    fn enqueue(&mut self, id: u64) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.queued
            && connection.has_output()
        {
            connection.queued = true;
            self.ready.push_back(id);
        }
    }

    /// Has the host's socket report room exactly while data waits for it: otherwise every read of the host's side
    /// would wake this thread.
    fn watch_for_room(&self, id: u64) {
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.waits_for_room() {
            self.watch(id, connection, READ_EVENTS | EventFlags::OUT);
        }
    }

    fn watch(&self, id: u64, connection: &Connection, events: EventFlags) {
        let token = epoll::EventData::new_u64(FIRST_DEVICE_TOKEN + id);
        // Changing what is registered already needs no memory and cannot fail.
        let _ = epoll::modify(&*self.epoll, connection.stream(), token, events);
    }

    /// Handles the guest's packets; false if some are left.
    fn drain(&mut self, ring: &mut Ring, memory: &GuestMemoryMmap) -> Result<bool, RingFault> {
        ring.disable_kicks(memory)?;
        let mut finished = false;
        let mut given_back = false;
        for _ in 0..PACKETS_PER_TURN {
            if self.refusals.len() >= MAXIMUM_REFUSALS {
                break;
            }
            match ring.pop(memory)? {
                Some(chain) => {
                    self.held.push(chain.head);
                    let operation = self.handle(chain);
                    if operation != Some(Operation::CreditUpdate) || self.held.len() >= MAXIMUM_HELD {
                        for head in self.held.drain(..) {
                            ring.push(memory, head, 0)?;
                        }
                        given_back = true;
                    }
                }
                None if ring.enable_kicks(memory)? => ring.disable_kicks(memory)?,
                None => {
                    finished = true;
                    break;
                }
            }
        }
        if given_back {
            ring.notify(memory)?;
        }
        Ok(finished)
    }

    /// Sends to the guest while there is something to send and a buffer to put it in; false if there is more of both.
    fn fill(&mut self, ring: &mut Ring, memory: &GuestMemoryMmap) -> Result<bool, RingFault> {
        for _ in 0..PACKETS_PER_TURN {
            if self.refusals.is_empty() && self.ready.is_empty() {
                return Ok(true);
            }
            let Some(mut chain) = ring.pop(memory)? else {
                if ring.enable_kicks(memory)? {
                    ring.disable_kicks(memory)?;
                    continue;
                }
                return Ok(true);
            };
            // Without room for any data a connection would never get rid of what it has.
            if chain.malformed || chain.writable.length() <= HEADER_BYTES {
                ring.push(memory, chain.head, 0)?;
                continue;
            }
            let mut header_target = chain.writable.split_front(HEADER_BYTES);
            let packet = match self.refusals.pop_front() {
                Some(refusal) => Some(refusal),
                None => self.next_packet(&chain),
            };
            let Some(header) = packet else {
                ring.put_back();
                return Ok(true);
            };
            header_target.put(&header.to_bytes());
            ring.push(memory, chain.head, HEADER_BYTES + header.length_bytes as usize)?;
            ring.notify(memory)?;
        }
        Ok(false)
    }

    /// Lets connections speak in turn until one has something to say.
    fn next_packet(&mut self, chain: &Chain<'_>) -> Option<Header> {
        while let Some(id) = self.ready.pop_front() {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.queued = false;
            let Some(output) = connection.produce(&chain.writable) else {
                self.enqueue(id);
                continue;
            };
            let header = header_of(self.limits.guest_cid, connection, output);
            if connection.is_orphaned() {
                self.remove(id);
            } else {
                self.enqueue(id);
            }
            return Some(header);
        }
        None
    }
}

const READ_EVENTS: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

fn header_of(guest_cid: u64, connection: &mut Connection, output: Output) -> Header {
    let (buffer_bytes, forwarded_bytes) = connection.credit.announce();
    Header {
        source_cid: HOST_CID,
        destination_cid: guest_cid,
        source_port: connection.host_port,
        destination_port: connection.guest_port,
        length_bytes: output.data_bytes,
        socket_type: TYPE_STREAM,
        operation: output.operation,
        flags: output.flags,
        buffer_bytes,
        forwarded_bytes,
    }
}

impl VirtioDevice for Muxer {
    const QUEUES: usize = 3;

    /// No bits means stream sockets only (virtio 1.2, section 5.10.3).
    fn features(&self) -> u64 {
        0
    }

    fn configuration(&self) -> Vec<u8> {
        self.limits.guest_cid.to_le_bytes().to_vec()
    }

    fn note_event(&mut self, token: u64, flags: EventFlags) {
        let id = token - FIRST_DEVICE_TOKEN;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let waited = connection.waits_for_room();
        if connection.note_event(flags) == Fate::Ended {
            return self.remove(id);
        }
        if waited
            && let Some(connection) = self.connections.get(&id)
            && !connection.waits_for_room()
        {
            self.watch(id, connection, READ_EVENTS);
        }
        self.enqueue(id);
    }

    fn run(&mut self, kicked: KickedQueues, queues: &mut Queues<'_>) -> Result<Progress, RingFault> {
        let memory = queues.memory;
        if (kicked.contains(TRANSMIT_QUEUE) || self.transmit_unfinished)
            && let Some(ring) = queues.rings.get_mut(TRANSMIT_QUEUE)
        {
            self.transmit_unfinished = !self.drain(ring, memory)?;
        }
        let mut receive_unfinished = false;
        if let Some(ring) = queues.rings.get_mut(RECEIVE_QUEUE) {
            receive_unfinished = !self.fill(ring, memory)?;
        }
        // With refusals piled up the guest's packets wait until it provides receive buffers, which it announces.
        let transmit_waits = self.refusals.len() >= MAXIMUM_REFUSALS;
        let more = receive_unfinished || (self.transmit_unfinished && !transmit_waits);
        Ok(if more { Progress::More } else { Progress::Idle })
    }
}
