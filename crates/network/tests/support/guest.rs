//! What sits at the other end of a packet socket: hand-made frames, or a namespace with a TAP device
//! and so a whole network stack.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bulkhead_network_control::Lease;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::namespace::{Namespace, run_program};
use super::owned;
use super::packet::{BROADCAST, arp, checksum, ethernet, parse_mac};

/// `struct virtio_net_hdr` before each frame.
pub(crate) const HEADER_BYTES: usize = 10;

/// A guest that makes its frames by hand.
pub(crate) struct RawGuest {
    pub(crate) socket: OwnedFd,
    pub(crate) mac: [u8; 6],
    pub(crate) address: Ipv4Addr,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) address6: Option<Ipv6Addr>,
}

impl RawGuest {
    pub(crate) fn new((lease, socket): (Lease, OwnedFd)) -> Self {
        let address = lease.ipv4_address.split('/').next().unwrap().parse().unwrap();
        let address6 = lease.ipv6_address.map(|text| text.split('/').next().unwrap().parse().unwrap());
        Self { socket, mac: parse_mac(&lease.mac_address), address, gateway: lease.ipv4_gateway, address6 }
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        self.send_with(&[0; HEADER_BYTES], frame);
    }

    pub(crate) fn send_with(&self, header: &[u8; HEADER_BYTES], frame: &[u8]) {
        let bytes = [header, frame].concat();
        assert_eq!(rustix::io::write(&self.socket, &bytes).unwrap(), bytes.len());
    }

    /// The first frame within `limit` that `wanted` accepts.
    pub(crate) fn receive(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let end = Instant::now() + limit;
        let mut buffer = vec![0; 70_000];
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            if readable(&[self.socket.as_fd()], left) {
                let length = rustix::io::read(&self.socket, &mut buffer).unwrap();
                let (header, frame) = buffer[..length].split_at_mut(HEADER_BYTES);
                finish_checksum(header, frame);
                let frame = &*frame;
                if wanted(frame) {
                    return Some(frame.to_vec());
                }
            }
        }
    }

    /// The gateway's MAC address by ARP.
    pub(crate) fn find_gateway(&self) -> Option<[u8; 6]> {
        self.send(&ethernet(BROADCAST, self.mac, 0x0806, &arp(1, self.mac, self.address, self.gateway)));
        let reply =
            self.receive(Duration::from_secs(2), |frame| frame[12..14] == [8, 6] && frame[21] == 2)?;
        assert_eq!(reply[28..32], self.gateway.octets());
        Some(reply[22..28].try_into().unwrap())
    }
}

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the sum of the pseudo header is there, the rest is the receiver's.
fn finish_checksum(header: &[u8], frame: &mut [u8]) {
    let number = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
    if header[0] & 1 != 0 {
        let (start, offset) = (number(6), number(8));
        let sum = checksum(&frame[start..]);
        frame[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

fn readable(descriptors: &[std::os::fd::BorrowedFd<'_>], limit: Duration) -> bool {
    let mut polled: Vec<_> =
        descriptors.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
    poll(&mut polled, Some(&Timespec::try_from(limit).unwrap())).unwrap() > 0
}

/// A guest with a network stack.
pub(crate) struct Guest {
    pub(crate) namespace: Namespace,
    pub(crate) address: Ipv4Addr,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) address6: Option<Ipv6Addr>,
    pub(crate) gateway6: Option<Ipv6Addr>,
    /// Of frames towards the guest.
    pub(crate) longest_frame: Arc<AtomicUsize>,
    ending: Arc<AtomicBool>,
    pump: Option<JoinHandle<()>>,
}

impl Guest {
    pub(crate) fn new((lease, socket): (Lease, OwnedFd)) -> Self {
        let namespace = Namespace::new();
        let address: Ipv4Addr = lease.ipv4_address.split('/').next().unwrap().parse().unwrap();
        let gateway = lease.ipv4_gateway;
        let address6 =
            lease.ipv6_address.as_ref().map(|text| text.split('/').next().unwrap().parse().unwrap());
        let gateway6 = lease.ipv6_gateway;
        let tap = namespace.run(open_tap);
        namespace.run(move || {
            let gateway = lease.ipv4_gateway.to_string();
            run_program("ip", &["link", "set", "lo", "up"]);
            run_program(
                "ip",
                &["link", "set", "tap", "address", &lease.mac_address, "mtu", &lease.mtu.to_string()],
            );
            run_program("ip", &["address", "add", &lease.ipv4_address, "dev", "tap"]);
            run_program("ip", &["link", "set", "tap", "up"]);
            run_program("ip", &["route", "add", "default", "via", &gateway]);
            if let Some(address) = &lease.ipv6_address {
                run_program("ip", &["address", "add", address, "dev", "tap", "nodad"]);
                let gateway = lease.ipv6_gateway.unwrap().to_string();
                run_program("ip", &["-6", "route", "add", "default", "via", &gateway]);
            }
        });
        let ending = Arc::new(AtomicBool::new(false));
        let longest_frame = Arc::new(AtomicUsize::new(0));
        let (stop, longest) = (Arc::clone(&ending), Arc::clone(&longest_frame));
        let pump = thread::spawn(move || pump(&tap, &socket, &stop, &longest));
        Self { namespace, address, gateway, address6, gateway6, longest_frame, ending, pump: Some(pump) }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(pump) = self.pump.take() {
            drop(pump.join());
        }
    }
}

fn open_tap() -> OwnedFd {
    // SAFETY: a plain open.
    let tap = owned(unsafe { libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) });
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, byte) in request.ifr_name.iter_mut().zip(b"tap") {
        *target = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR).unwrap();
    // SAFETY: TUNSETIFF reads an ifreq.
    let outcome = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    // What UML's driver takes: unfinished checksums and trains of TCP segments.
    let offloads = libc::c_ulong::from(libc::TUN_F_CSUM | libc::TUN_F_TSO4);
    // SAFETY: TUNSETOFFLOAD takes a number.
    let outcome = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD, offloads) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    tap
}

fn pump(tap: &OwnedFd, socket: &OwnedFd, ending: &AtomicBool, longest: &AtomicUsize) {
    let mut buffer = vec![0; 70_000];
    while !ending.load(Ordering::Relaxed) {
        let mut polled = [PollFd::new(tap, PollFlags::IN), PollFd::new(socket, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })).unwrap();
        let ready = polled.map(|polled| polled.revents().contains(PollFlags::IN));
        if ready[0] {
            let length = rustix::io::read(tap, &mut buffer).unwrap();
            // Frames may be lost, as on any wire.
            let _lost = rustix::io::write(socket, &buffer[..length]);
        }
        if ready[1] {
            let Ok(length) = rustix::io::read(socket, &mut buffer) else { continue };
            // Of a train, the length of its longest segment: headers and `gso_size`.
            let train = u16::from_ne_bytes([buffer[4], buffer[5]]);
            let frame = match train {
                0 => length - HEADER_BYTES,
                _ => usize::from(u16::from_ne_bytes([buffer[2], buffer[3]])) + usize::from(train),
            };
            longest.fetch_max(frame, Ordering::Relaxed);
            let _lost = rustix::io::write(tap, &buffer[..length]);
        }
    }
}
