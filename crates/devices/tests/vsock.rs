//! vsock, driven packet by packet
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guest;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bulkhead_devices::{GuestConnection, VsockConfiguration, VsockDevice, VsockError};
use guest::{DATA, Guest, readable, writable};

const RX: usize = 0;
const TX: usize = 1;
const HEADER_BYTES: usize = 44;
const RECEIVE_BUFFERS: u64 = DATA;
const RECEIVE_BUFFER_BYTES: u32 = 3776;
const SEND_AREA: u64 = DATA + 0x10_0000;
const REQUEST: u16 = 1;
const RESPONSE: u16 = 2;
const RESET: u16 = 3;
const SHUTDOWN: u16 = 4;
const DATA_PACKET: u16 = 5;
const CREDIT_UPDATE: u16 = 6;
const CREDIT_REQUEST: u16 = 7;
const BUFFER_BYTES: u32 = 64 * 1024;
const PORT: u32 = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Packet {
    source_cid: u64,
    destination_cid: u64,
    source_port: u32,
    destination_port: u32,
    socket_type: u16,
    operation: u16,
    flags: u32,
    buffer_bytes: u32,
    forwarded_bytes: u32,
    data: Vec<u8>,
}

impl Packet {
    fn new(guest_port: u32, host_port: u32, operation: u16, data: &[u8]) -> Self {
        Self {
            source_cid: 3,
            destination_cid: 2,
            source_port: guest_port,
            destination_port: host_port,
            socket_type: 1,
            operation,
            flags: 0,
            buffer_bytes: 1 << 20,
            forwarded_bytes: 0,
            data: data.to_vec(),
        }
    }

    fn header(&self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.source_cid.to_le_bytes());
        bytes.extend(self.destination_cid.to_le_bytes());
        bytes.extend(self.source_port.to_le_bytes());
        bytes.extend(self.destination_port.to_le_bytes());
        bytes.extend(u32::try_from(length).unwrap().to_le_bytes());
        bytes.extend(self.socket_type.to_le_bytes());
        bytes.extend(self.operation.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.buffer_bytes.to_le_bytes());
        bytes.extend(self.forwarded_bytes.to_le_bytes());
        bytes
    }
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn half(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(bytes[offset..offset + 2].try_into().unwrap())
}

struct Vsock {
    device: VsockDevice,
    accepted: Receiver<GuestConnection>,
    guest: Guest,
    receive_buffers: u64,
}

impl Vsock {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut VsockConfiguration)) -> Self {
        let mut configuration = VsockConfiguration::new("vsock", [PORT, PORT + 1]);
        configuration.connection_buffer_bytes = BUFFER_BYTES;
        change(&mut configuration);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (device, accepted) = VsockDevice::spawn(ours, configuration).unwrap();
        let guest = Guest::connect(theirs, 3);
        let mut vsock = Self { device, accepted, guest, receive_buffers: 0 };
        vsock.provide(32);
        vsock
    }

    /// Posts receive buffers.
    fn provide(&mut self, count: u64) {
        for _ in 0..count {
            // The address follows from the descriptor, so that a used head says where its data is.
            let head = self.receive_buffers % 64;
            self.receive_buffers += 1;
            let address = RECEIVE_BUFFERS + head * 4096;
            assert_eq!(u64::from(self.guest.offer(RX, &[writable(address, RECEIVE_BUFFER_BYTES)])), head);
        }
        self.guest.kick(RX);
    }

    fn send(&mut self, packet: &Packet) {
        self.send_in_pieces(packet, usize::MAX);
    }

    /// Sends a packet whose data is spread over descriptors of `piece` bytes.
    fn send_in_pieces(&mut self, packet: &Packet, piece: usize) {
        self.guest.write(SEND_AREA, &packet.header(packet.data.len()));
        let mut chain = vec![readable(SEND_AREA, 44)];
        let mut address = SEND_AREA + 0x1000;
        for bytes in packet.data.chunks(piece.min(packet.data.len().max(1))) {
            self.guest.write(address, bytes);
            chain.push(readable(address, u32::try_from(bytes.len()).unwrap()));
            address += bytes.len() as u64 + 8;
        }
        if packet.operation == CREDIT_UPDATE {
            // The device may keep these for a while.
            self.guest.offer(TX, &chain);
            self.guest.kick(TX);
        } else {
            let head = self.guest.offer(TX, &chain);
            self.guest.kick(TX);
            while self.guest.take_used(TX).0 != head {}
        }
    }

    fn parse(&mut self, head: u16, length: u32) -> Packet {
        let bytes = self.guest.read(RECEIVE_BUFFERS + u64::from(head) * 4096, length as usize);
        assert!(bytes.len() >= HEADER_BYTES);
        assert_eq!(word(&bytes, 24) as usize, bytes.len() - HEADER_BYTES);
        Packet {
            source_cid: u64::from_le_bytes(bytes[..8].try_into().unwrap()),
            destination_cid: u64::from_le_bytes(bytes[8..16].try_into().unwrap()),
            source_port: word(&bytes, 16),
            destination_port: word(&bytes, 20),
            socket_type: half(&bytes, 28),
            operation: half(&bytes, 30),
            flags: word(&bytes, 32),
            buffer_bytes: word(&bytes, 36),
            forwarded_bytes: word(&bytes, 40),
            data: bytes[HEADER_BYTES..].to_vec(),
        }
    }

    /// The next packet of the host; its buffer is posted again.
    fn receive(&mut self) -> Packet {
        let (head, length) = self.guest.take_used(RX);
        let packet = self.parse(head, length);
        self.provide(1);
        packet
    }

    fn receive_nothing(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        assert!(self.guest.try_take_used(RX).is_none());
    }

    fn connect(&mut self, guest_port: u32) -> UnixStream {
        self.send(&Packet::new(guest_port, PORT, REQUEST, &[]));
        let response = self.receive();
        assert_eq!((response.operation, response.destination_port), (RESPONSE, guest_port));
        assert_eq!((response.source_cid, response.destination_cid, response.source_port), (2, 3, PORT));
        assert_eq!(response.buffer_bytes, BUFFER_BYTES);
        let connection = self.accepted.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!((connection.port, connection.guest_port), (PORT, guest_port));
        connection.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        connection.stream
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 253).unwrap()).collect()
}

#[test]
fn tells_the_guest_its_address() {
    let mut vsock = Vsock::new();
    assert_eq!(vsock.guest.configuration(8), 3_u64.to_le_bytes());
}

#[test]
fn carries_data_both_ways() {
    let mut vsock = Vsock::new();
    let mut host = vsock.connect(5000);
    vsock.send(&Packet::new(5000, PORT, DATA_PACKET, b"hello"));
    let mut seen = [0; 5];
    host.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"hello");
    host.write_all(b"answer").unwrap();
    let packet = vsock.receive();
    assert_eq!((packet.operation, packet.data.as_slice()), (DATA_PACKET, b"answer".as_slice()));
    assert_eq!(packet.forwarded_bytes, 5);
}

#[test]
fn accepts_packets_in_many_descriptors() {
    let mut vsock = Vsock::new();
    let mut host = vsock.connect(5000);
    let data = pattern(40_000);
    vsock.send_in_pieces(&Packet::new(5000, PORT, DATA_PACKET, &data), 1371);
    let mut seen = vec![0; data.len()];
    host.read_exact(&mut seen).unwrap();
    assert!(seen == data);
    // A header that is itself in pieces.
    let packet = Packet::new(5000, PORT, DATA_PACKET, b"xyz");
    vsock.guest.write(SEND_AREA, &packet.header(3));
    vsock.guest.write(SEND_AREA + 0x1000, b"xyz");
    let pieces = [(0, 10), (10, 30), (40, 4)].map(|(at, length)| readable(SEND_AREA + at, length));
    vsock.guest.submit(TX, &[pieces[0], pieces[1], pieces[2], readable(SEND_AREA + 0x1000, 3)]);
    host.read_exact(&mut seen[..3]).unwrap();
    assert_eq!(&seen[..3], b"xyz");
}

#[test]
fn closes_each_direction_on_its_own() {
    let mut vsock = Vsock::new();
    let mut host = vsock.connect(5000);
    vsock.send(&Packet::new(5000, PORT, DATA_PACKET, b"last"));
    vsock.send(&Packet { flags: 2, ..Packet::new(5000, PORT, SHUTDOWN, &[]) });
    let mut seen = Vec::new();
    host.read_to_end(&mut seen).unwrap();
    assert_eq!(seen, b"last");
    host.write_all(b"still here").unwrap();
    assert_eq!(vsock.receive().data, b"still here");
    host.shutdown(Shutdown::Write).unwrap();
    let packet = vsock.receive();
    assert_eq!(packet.operation, SHUTDOWN);
    assert_eq!(packet.flags & 2, 2);
    vsock.send(&Packet { flags: 3, ..Packet::new(5000, PORT, SHUTDOWN, &[]) });
    assert_eq!(vsock.receive().operation, RESET);
}

#[test]
fn tells_the_guest_when_the_host_is_done() {
    let mut vsock = Vsock::new();
    let mut host = vsock.connect(5000);
    host.shutdown(Shutdown::Write).unwrap();
    let packet = vsock.receive();
    assert_eq!((packet.operation, packet.flags), (SHUTDOWN, 2));
    vsock.send(&Packet::new(5000, PORT, DATA_PACKET, b"more"));
    let mut seen = [0; 4];
    host.read_exact(&mut seen).unwrap();
    drop(host);
    let packet = vsock.receive();
    assert_eq!((packet.operation, packet.flags), (SHUTDOWN, 3));
    // What was under way is swallowed.
    vsock.send(&Packet::new(5000, PORT, DATA_PACKET, b"late"));
    vsock.receive_nothing();
    vsock.send(&Packet::new(5000, PORT, RESET, &[]));
    let _again = vsock.connect(5000);
}

#[test]
fn delivers_everything_before_a_close() {
    let mut vsock = Vsock::with(|configuration| configuration.connection_buffer_bytes = 1 << 20);
    vsock.send(&Packet::new(5000, PORT, REQUEST, &[]));
    assert_eq!(vsock.receive().operation, RESPONSE);
    let mut host = vsock.accepted.recv().unwrap().stream;
    // More than a socket holds, so that a part waits in the device.
    let data = pattern(50_000);
    for _ in 0..16 {
        vsock.send(&Packet::new(5000, PORT, DATA_PACKET, &data));
    }
    vsock.send(&Packet { flags: 3, ..Packet::new(5000, PORT, SHUTDOWN, &[]) });
    vsock.send(&Packet::new(5000, PORT, RESET, &[]));
    let mut seen = Vec::new();
    host.read_to_end(&mut seen).unwrap();
    assert!(seen == data.repeat(16));
}

#[test]
fn a_close_without_pending_data_is_confirmed_at_once() {
    let mut vsock = Vsock::new();
    let mut host = vsock.connect(5000);
    host.write_all(b"never read by the guest").unwrap();
    assert_eq!(vsock.receive().operation, DATA_PACKET);
    vsock.send(&Packet { flags: 3, ..Packet::new(5000, PORT, SHUTDOWN, &[]) });
    assert_eq!(vsock.receive().operation, RESET);
    assert_eq!(host.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(host.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn grants_credit_only_for_what_has_left() {
    let mut vsock = Vsock::new();
    let mut host = vsock.connect(5000);
    let data = pattern(32 * 1024);
    // The socket takes some of it; then the device's own buffer fills up without a further grant.
    let mut granted = BUFFER_BYTES;
    let mut sent = 0_u32;
    while sent + 32 * 1024 <= granted {
        vsock.send(&Packet::new(5000, PORT, DATA_PACKET, &data));
        sent += 32 * 1024;
        std::thread::sleep(Duration::from_millis(2));
        while let Some((head, length)) = vsock.guest.try_take_used(RX) {
            let packet = vsock.parse(head, length);
            vsock.provide(1);
            assert_eq!(packet.operation, CREDIT_UPDATE);
            granted = packet.forwarded_bytes + packet.buffer_bytes;
        }
        assert!(sent < 4 << 20, "the device never stops granting");
    }
    let mut seen = vec![0; sent as usize];
    host.read_exact(&mut seen).unwrap();
    assert!(seen.chunks(32 * 1024).all(|chunk| chunk == data));
    let packet = vsock.receive();
    assert_eq!(packet.operation, CREDIT_UPDATE);
    assert!(packet.forwarded_bytes + packet.buffer_bytes > granted);
}

#[test]
fn resets_a_guest_that_exceeds_its_credit() {
    let mut vsock = Vsock::with(|configuration| configuration.connection_buffer_bytes = 4096);
    vsock.send(&Packet::new(5000, PORT, REQUEST, &[]));
    assert_eq!(vsock.receive().operation, RESPONSE);
    vsock.send(&Packet::new(5000, PORT, DATA_PACKET, &pattern(4097)));
    assert_eq!(vsock.receive().operation, RESET);
    let mut host = vsock.accepted.recv().unwrap().stream;
    assert_eq!(host.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn stays_within_the_guests_credit() {
    let mut vsock = Vsock::new();
    vsock.send(&Packet { buffer_bytes: 1000, ..Packet::new(5000, PORT, REQUEST, &[]) });
    assert_eq!(vsock.receive().operation, RESPONSE);
    let mut host = vsock.accepted.recv().unwrap().stream;
    host.write_all(&pattern(5000)).unwrap();
    assert_eq!(vsock.receive().data.len(), 1000);
    assert_eq!(vsock.receive().operation, CREDIT_REQUEST);
    vsock.receive_nothing();
    let update =
        Packet { buffer_bytes: 1000, forwarded_bytes: 600, ..Packet::new(5000, PORT, CREDIT_UPDATE, &[]) };
    vsock.send(&update);
    assert_eq!(vsock.receive().data, pattern(5000)[1000..1600]);
    // A counter that runs ahead of what was sent grants nothing and breaks nothing.
    assert_eq!(vsock.receive().operation, CREDIT_REQUEST);
    vsock.send(&Packet { forwarded_bytes: 5_000_000, ..update });
    vsock.receive_nothing();
}

#[test]
fn waits_for_receive_buffers() {
    let mut vsock = Vsock::new();
    let mut host = vsock.connect(5000);
    let data = pattern(300_000);
    let expected = data.clone();
    let writer = std::thread::spawn(move || {
        host.write_all(&data).unwrap();
        host
    });
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        let packet = vsock.receive();
        assert_eq!(packet.operation, DATA_PACKET);
        seen.extend(packet.data);
    }
    assert!(seen == expected);
    drop(writer.join().unwrap());
    assert_eq!(vsock.receive().flags, 3);
}

#[test]
fn serves_connections_in_turn() {
    let mut vsock = Vsock::new();
    let mut loud = vsock.connect(5000);
    let mut quiet = vsock.connect(5001);
    loud.write_all(&pattern(200_000)).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    quiet.write_all(b"me too").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    // The 31 buffers posted so far are full of the loud one; of the next ones the quiet one gets its share.
    let mut before = 0;
    while vsock.receive().destination_port != 5001 {
        before += 1;
        assert!(before < 40);
    }
}

#[test]
fn gives_credit_updates_back_late_but_surely() {
    let mut vsock = Vsock::new();
    let _host = vsock.connect(5000);
    let update = Packet::new(5000, PORT, CREDIT_UPDATE, &[]);
    vsock.guest.write(SEND_AREA, &update.header(0));
    let offered: Vec<_> = (0..20).map(|_| vsock.guest.offer(TX, &[readable(SEND_AREA, 44)])).collect();
    vsock.guest.kick(TX);
    for head in &offered[..16] {
        assert_eq!(vsock.guest.take_used(TX).0, *head);
    }
    let request = vsock.guest.offer(TX, &[readable(SEND_AREA + 64, 44)]);
    vsock.guest.write(SEND_AREA + 64, &Packet::new(5000, PORT, CREDIT_REQUEST, &[]).header(0));
    vsock.guest.kick(TX);
    for head in offered[16..].iter().chain([&request]) {
        assert_eq!(vsock.guest.take_used(TX).0, *head);
    }
}

#[test]
fn answers_credit_requests() {
    let mut vsock = Vsock::new();
    let _host = vsock.connect(5000);
    vsock.send(&Packet::new(5000, PORT, CREDIT_REQUEST, &[]));
    assert_eq!(vsock.receive().operation, CREDIT_UPDATE);
}

#[test]
fn refuses_what_leads_nowhere() {
    let mut vsock = Vsock::new();
    let base = Packet::new(5000, PORT, REQUEST, &[]);
    let cases = [
        Packet { destination_port: 9, ..base.clone() },
        Packet { source_cid: 4, ..base.clone() },
        Packet { destination_cid: 3, ..base.clone() },
        Packet { destination_cid: 1, ..base.clone() },
        Packet { socket_type: 2, ..base.clone() },
        Packet { operation: DATA_PACKET, data: b"x".to_vec(), ..base.clone() },
        Packet { operation: SHUTDOWN, ..base.clone() },
        Packet { operation: RESPONSE, ..base.clone() },
        Packet { operation: 77, ..base.clone() },
    ];
    for case in cases {
        vsock.send(&case);
        let answer = vsock.receive();
        assert_eq!(answer.operation, RESET, "{case:?}");
        assert_eq!(answer.destination_port, case.source_port);
        assert_eq!(answer.source_port, case.destination_port);
    }
    vsock.send(&Packet { operation: RESET, ..base });
    vsock.receive_nothing();
    assert!(vsock.accepted.try_recv().is_err());
}

#[test]
fn resets_connections_that_break_the_rules() {
    let mut vsock = Vsock::new();
    for operation in [RESPONSE, 0, 8, 0xffff] {
        let mut host = vsock.connect(5000);
        vsock.send(&Packet::new(5000, PORT, operation, &[]));
        assert_eq!(vsock.receive().operation, RESET, "operation {operation}");
        assert_eq!(host.read(&mut [0; 8]).unwrap(), 0);
    }
    // Data after the end of data.
    let _host = vsock.connect(5000);
    vsock.send(&Packet { flags: 2, ..Packet::new(5000, PORT, SHUTDOWN, &[]) });
    vsock.send(&Packet::new(5000, PORT, DATA_PACKET, b"x"));
    assert_eq!(vsock.receive().operation, RESET);
    // A second request for the same pair of ports.
    let _host = vsock.connect(5000);
    vsock.send(&Packet::new(5000, PORT, REQUEST, &[]));
    assert_eq!(vsock.receive().operation, RESET);
    // A packet that claims more data than it carries.
    let _host = vsock.connect(5000);
    let lie = Packet::new(5000, PORT, DATA_PACKET, &[]).header(10_000);
    vsock.guest.write(SEND_AREA, &lie);
    vsock.guest.submit(TX, &[readable(SEND_AREA, 44), readable(SEND_AREA + 0x1000, 100)]);
    assert_eq!(vsock.receive().operation, RESET);
}

#[test]
fn limits_connections() {
    let mut vsock = Vsock::with(|configuration| configuration.maximum_connections = 2);
    let first = vsock.connect(5000);
    let _second = vsock.connect(5001);
    vsock.send(&Packet::new(5002, PORT, REQUEST, &[]));
    assert_eq!(vsock.receive().operation, RESET);
    drop(first);
    assert_eq!(vsock.receive().operation, SHUTDOWN);
    vsock.send(&Packet::new(5000, PORT, RESET, &[]));
    let _third = vsock.connect(5002);
}

#[test]
fn refuses_when_nobody_accepts() {
    let mut vsock = Vsock::with(|configuration| configuration.maximum_connections = 2);
    // Opened and reset at once, so that only the unaccepted ends remain.
    for port in 5000..5002 {
        vsock.send(&Packet::new(port, PORT, REQUEST, &[]));
        assert_eq!(vsock.receive().operation, RESPONSE);
        vsock.send(&Packet::new(port, PORT, RESET, &[]));
    }
    vsock.send(&Packet::new(5002, PORT, REQUEST, &[]));
    assert_eq!(vsock.receive().operation, RESET);
    let (_, other) = std::sync::mpsc::sync_channel(1);
    drop(std::mem::replace(&mut vsock.accepted, other));
    vsock.send(&Packet::new(5003, PORT, REQUEST, &[]));
    assert_eq!(vsock.receive().operation, RESET);
}

#[test]
fn survives_a_flood() {
    let mut vsock = Vsock::with(|configuration| configuration.maximum_connections = 8);
    let mut host = vsock.connect(4000);
    // Requests without a look at the answers: the device stops taking packets rather than collect refusals.
    let mut taken = 0_u32;
    let mut stalled = false;
    for port in 0..2000_u32 {
        stalled = port - taken >= 60;
        if stalled {
            break;
        }
        let address = SEND_AREA + u64::from(port % 60) * 64;
        vsock.guest.write(address, &Packet::new(10_000 + port, port, REQUEST, &[]).header(0));
        vsock.guest.offer(TX, &[readable(address, 44)]);
        vsock.guest.kick(TX);
        for _ in 0..100 {
            std::thread::yield_now();
            while vsock.guest.try_take_used(TX).is_some() {
                taken += 1;
            }
        }
    }
    assert!(stalled && taken < 400, "{taken} packets were taken");
    // Receiving again gets everything moving, and the old connection works.
    for _ in 0..40 {
        let packet = vsock.receive();
        assert!(packet.operation == RESET || packet.operation == RESPONSE);
    }
    host.write_all(b"alive").unwrap();
    while vsock.receive().data != b"alive" {}
}

#[test]
fn survives_useless_receive_buffers() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (_device, accepted) = VsockDevice::spawn(ours, VsockConfiguration::new("vsock", [PORT])).unwrap();
    let mut guest = Guest::connect(theirs, 3);
    for length in [0, 1, 43, 44] {
        guest.offer(RX, &[writable(DATA, length)]);
    }
    guest.offer(RX, &[readable(DATA, 4096)]);
    guest.offer(RX, &[writable(0, 4096)]);
    guest.offer(RX, &[writable(DATA, 45)]);
    guest.kick(RX);
    guest.write(SEND_AREA, &Packet::new(5000, PORT, REQUEST, &[]).header(0));
    guest.submit(TX, &[readable(SEND_AREA, 44)]);
    let lengths: Vec<_> = (0..7).map(|_| guest.take_used(RX).1).collect();
    assert_eq!(lengths, [0, 0, 0, 0, 0, 0, 44]);
    let mut host = accepted.recv().unwrap().stream;
    host.write_all(b"ab").unwrap();
    for _ in 0..2 {
        guest.offer(RX, &[writable(DATA, 45)]);
        guest.kick(RX);
        assert_eq!(guest.take_used(RX).1, 45);
    }
}

#[test]
fn survives_malformed_packets() {
    let mut vsock = Vsock::new();
    vsock.guest.submit(TX, &[readable(SEND_AREA, 43)]);
    vsock.guest.submit(TX, &[writable(SEND_AREA, 44)]);
    vsock.guest.submit(TX, &[readable(0, 44)]);
    vsock.guest.submit(TX, &[readable(SEND_AREA, 44), readable(u64::MAX - 50, 100)]);
    let _host = vsock.connect(5000);
}

#[test]
fn ends_the_streams_with_the_monitor() {
    let mut vsock = Vsock::new();
    let mut host = vsock.connect(5000);
    let Vsock { device, accepted, guest, .. } = vsock;
    drop(guest);
    assert_eq!(host.read(&mut [0; 8]).unwrap(), 0);
    assert!(accepted.recv().is_err());
    let _ = device.wait();
}

#[test]
fn refuses_impossible_configurations() {
    let spawn = |change: fn(&mut VsockConfiguration)| {
        let mut configuration = VsockConfiguration::new("vsock", [1]);
        change(&mut configuration);
        VsockDevice::spawn(UnixStream::pair().unwrap().0, configuration).unwrap_err()
    };
    for cid in [0, 1, 2, u32::MAX] {
        let mut configuration = VsockConfiguration::new("vsock", [1]);
        configuration.guest_cid = cid;
        let error = VsockDevice::spawn(UnixStream::pair().unwrap().0, configuration).unwrap_err();
        assert!(matches!(error, VsockError::GuestCid { guest_cid } if guest_cid == cid));
    }
    assert!(matches!(spawn(|limits| limits.maximum_connections = 0), VsockError::Limits));
    assert!(matches!(spawn(|limits| limits.connection_buffer_bytes = 1), VsockError::Limits));
}
