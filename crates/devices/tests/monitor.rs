//! A monitor that breaks the vhost-user protocol
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guest;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use bulkhead_devices::{BlockConfiguration, BlockDevice, DeviceEnd, Extent, Frontend};
use guest::{Guest, MEMORY_BYTES, MEMORY_START, memory_region};
use vhost::vhost_user::VhostUserFrontend;
use vhost::{VhostBackend, VhostUserMemoryRegionInfo};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

fn device(frontend: impl Into<Frontend>) -> BlockDevice {
    let file = tempfile::tempfile().unwrap();
    file.set_len(4096).unwrap();
    let extents = vec![Extent { file: Arc::new(file), file_offset_bytes: 0, length_bytes: 4096 }];
    let configuration = BlockConfiguration { name: "disk".into(), extents, read_only: true, serial: [0; 20] };
    BlockDevice::spawn(frontend, configuration).unwrap()
}

fn pair() -> (BlockDevice, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (device(ours), theirs)
}

fn message(request: u32, flags: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(request.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    bytes.extend(body);
    bytes
}

/// Ends for one reason or another, but ends.
fn ends(device: BlockDevice) -> DeviceEnd {
    device.wait()
}

#[test]
fn accepts_exactly_one_connection() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let device = device(UnixListener::bind(&path).unwrap());
    let first = Guest::connect(UnixStream::connect(&path).unwrap(), 1);
    assert!(UnixStream::connect(&path).is_err());
    drop(first);
    assert!(matches!(ends(device), DeviceEnd::Disconnected));
}

#[test]
fn stops_while_waiting_for_a_connection() {
    let directory = tempfile::tempdir().unwrap();
    let device = device(UnixListener::bind(directory.path().join("socket")).unwrap());
    assert!(!device.thread().is_ended());
    device.thread().stop();
    assert!(matches!(ends(device), DeviceEnd::Stopped));
}

#[test]
fn stops_in_the_middle_of_a_message() {
    let (device, mut monitor) = pair();
    monitor.write_all(&message(1, 1, &[])[..7]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    device.thread().stop();
    ends(device);
}

#[test]
fn understands_messages_that_come_in_pieces() {
    let (device, mut monitor) = pair();
    let mut bytes = message(2, 1, &(1_u64 << 32).to_ne_bytes());
    bytes.extend(message(1, 1, &[]));
    for byte in bytes {
        monitor.write_all(&[byte]).unwrap();
        std::thread::yield_now();
    }
    let mut reply = [0; 20];
    monitor.read_exact(&mut reply).unwrap();
    assert_eq!(reply[..12], message(1, 5, &[0; 8])[..12]);
    assert!(!device.thread().is_ended());
}

#[test]
fn ends_when_replies_are_not_read() {
    let (device, mut monitor) = pair();
    let request = message(1, 1, &[]);
    monitor.set_write_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    while monitor.write_all(&request).is_ok() {}
    assert!(matches!(ends(device), DeviceEnd::Connection(_)));
}

#[test]
fn survives_nonsense() {
    let mut seed = 0x1234_5678_u32;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed
    };
    for round in 0..3000_u32 {
        let (device, mut monitor) = pair();
        let length = (random() % 300) as usize;
        let body: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[0] & 0x83).collect();
        let mut bytes = message(random() % 48, 1 | (random() & 8), &body);
        if round % 3 == 0 {
            bytes.extend(message(random() % 48, 1, &[0; 8]));
        }
        let file = File::from(rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        if round % 2 == 0 {
            monitor.send_with_fds(&[bytes.as_slice()], &[file.as_raw_fd()]).unwrap();
        } else {
            monitor.write_all(&bytes).unwrap();
        }
        monitor.shutdown(std::net::Shutdown::Write).unwrap();
        ends(device);
        let _ = monitor.read(&mut [0; 4096]);
    }
}

#[test]
fn refuses_bad_memory_tables() {
    let memory = |bytes: u64| {
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, bytes).unwrap();
        file
    };
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    type Change = fn(&mut VhostUserMemoryRegionInfo);
    let cases: [(OwnedFd, Change); 7] = [
        (memory(4096), |_| {}),
        (memory(MEMORY_BYTES), |region| region.mmap_offset = 4096),
        (memory(MEMORY_BYTES), |region| region.mmap_offset = u64::MAX - 4096),
        (memory(MEMORY_BYTES), |region| region.guest_phys_addr = u64::MAX - 4096),
        (memory(MEMORY_BYTES), |region| region.memory_size = 1 << 50),
        (reader, |_| {}),
        (EventFd::new(0).map(|event| rustix::io::dup(AsFd(&event)).unwrap()).unwrap(), |_| {}),
    ];
    for (index, (file, change)) in cases.into_iter().enumerate() {
        let (device, monitor) = pair();
        let guest = Guest::connect(monitor, 1);
        let mut region = memory_region(&file, MEMORY_BYTES);
        change(&mut region);
        // vhost itself refuses some of them; the others the device has to.
        let sent = guest.frontend.set_mem_table(&[region]).is_ok();
        drop(guest);
        let end = ends(device);
        assert!(!sent || matches!(end, DeviceEnd::Control(_)), "case {index}: {end:?}");
    }
    // Regions that overlap.
    let (device, monitor) = pair();
    let guest = Guest::connect(monitor, 1);
    let file = memory(MEMORY_BYTES);
    let region = memory_region(&file, MEMORY_BYTES);
    guest.frontend.set_mem_table(&[region, region]).unwrap();
    assert!(matches!(ends(device), DeviceEnd::Control(_)));
}

struct AsFd<'a>(&'a EventFd);

impl std::os::fd::AsFd for AsFd<'_> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        // SAFETY: the event descriptor is open for as long as it is borrowed.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

#[test]
fn refuses_bad_rings() {
    let set = |queue: usize, change: &dyn Fn(&mut vhost::VringConfigData)| {
        let (device, monitor) = pair();
        let mut guest = Guest::connect(monitor, 1);
        // Stopped, a ring may be described anew.
        guest.frontend.set_vring_enable(0, false).unwrap();
        let base = 0x7f00_0000_0000;
        let mut rings = vhost::VringConfigData {
            queue_max_size: 64,
            queue_size: 64,
            flags: 0,
            desc_table_addr: base,
            used_ring_addr: base + 0x8000,
            avail_ring_addr: base + 0x4000,
            log_addr: None,
        };
        change(&mut rings);
        guest.frontend.set_vring_addr(queue, &rings).unwrap();
        // A device that has refused the addresses may have hung up before it could be enabled.
        let enabled = guest.frontend.set_vring_enable(0, true).is_ok();
        drop(guest);
        let refused = matches!(ends(device), DeviceEnd::Control(_));
        assert!(enabled || refused);
        refused
    };
    assert!(!set(0, &|_| {}));
    assert!(set(1, &|_| {}));
    assert!(set(0, &|rings| rings.desc_table_addr = 0));
    assert!(set(0, &|rings| rings.desc_table_addr = MEMORY_START));
    assert!(set(0, &|rings| rings.used_ring_addr = 0x7f00_0000_0000 + MEMORY_BYTES - 4));
    assert!(set(0, &|rings| rings.avail_ring_addr = 0x7f00_0000_0000 + MEMORY_BYTES - 4));
    assert!(set(0, &|rings| rings.avail_ring_addr = u64::MAX - 1));
}

#[test]
fn refuses_files_as_notifications() {
    let (device, monitor) = pair();
    let guest = Guest::connect(monitor.try_clone().unwrap(), 1);
    let file = tempfile::tempfile().unwrap();
    let request = message(12, 1, &0_u64.to_le_bytes());
    monitor.send_with_fds(&[request.as_slice()], &[file.as_raw_fd()]).unwrap();
    assert!(matches!(ends(device), DeviceEnd::Control(_)));
    drop(guest);
    assert_eq!(file.metadata().unwrap().len(), 0);
}

#[test]
fn shows_its_end_to_a_poll() {
    let (device, monitor) = pair();
    drop(monitor);
    let descriptor = device.thread().end_descriptor();
    let mut polled = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::empty())];
    assert_eq!(rustix::event::poll(&mut polled, None).unwrap(), 1);
    assert!(polled[0].revents().contains(rustix::event::PollFlags::HUP));
}
