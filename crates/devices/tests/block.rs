//! A disk, driven request by request
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guest;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use bulkhead_devices::block::start_sectors;
use bulkhead_devices::{BlockConfiguration, BlockDevice, BlockError, DeviceEnd, Extent};
use guest::{DATA, Descriptor, Guest, INDIRECT, MEMORY_BYTES, MEMORY_START, NEXT, WRITE, readable, writable};

const HEADER: u64 = DATA;
const STATUS: u64 = DATA + 0x100;
const BUFFER: u64 = DATA + 0x1000;
const READ: u32 = 0;
const WRITE_OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

struct Disk {
    device: BlockDevice,
    guest: Guest,
    files: Vec<Arc<File>>,
}

fn file_of(bytes: &[u8]) -> Arc<File> {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    Arc::new(file)
}

fn extents(files: &[Arc<File>]) -> Vec<Extent> {
    let extent = |file: &Arc<File>| {
        let length_bytes = file.metadata().unwrap().len().next_multiple_of(4096);
        Extent { file: Arc::clone(file), file_offset_bytes: 0, length_bytes }
    };
    files.iter().map(extent).collect()
}

fn configuration(extents: Vec<Extent>, read_only: bool) -> BlockConfiguration {
    BlockConfiguration { name: "disk".into(), extents, read_only, serial: *b"serial-number-of-20b" }
}

impl Disk {
    fn new(contents: &[&[u8]], read_only: bool) -> Self {
        let files: Vec<_> = contents.iter().map(|bytes| file_of(bytes)).collect();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let device = BlockDevice::spawn(ours, configuration(extents(&files), read_only)).unwrap();
        Self { device, guest: Guest::connect(theirs, 1), files }
    }

    fn put_header(&self, kind: u32, sector: u64) {
        let mut header = Vec::new();
        header.extend(kind.to_le_bytes());
        header.extend(0_u32.to_le_bytes());
        header.extend(sector.to_le_bytes());
        self.guest.write(HEADER, &header);
        self.guest.write(STATUS, &[0xff]);
    }

    fn request(&mut self, kind: u32, sector: u64, data: &[(u64, u32, u16)]) -> u8 {
        self.put_header(kind, sector);
        let mut chain = vec![readable(HEADER, 16)];
        chain.extend(data);
        chain.push(writable(STATUS, 1));
        self.guest.submit(0, &chain);
        self.guest.read(STATUS, 1)[0]
    }

    fn ranges(&mut self, kind: u32, ranges: &[(u64, u32, u32)]) -> u8 {
        let mut bytes = Vec::new();
        for (sector, sectors, flags) in ranges {
            bytes.extend(sector.to_le_bytes());
            bytes.extend(sectors.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
        }
        self.guest.write(BUFFER, &bytes);
        self.request(kind, 0, &[readable(BUFFER, u32::try_from(bytes.len()).unwrap())])
    }
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 251).unwrap().wrapping_add(seed)).collect()
}

#[test]
fn describes_itself() {
    let mut disk = Disk::new(&[&pattern(8192, 0)], false);
    let configuration = disk.guest.configuration(60);
    assert_eq!(configuration[..8], 16_u64.to_le_bytes());
    assert_eq!(configuration[20..24], 512_u32.to_le_bytes());
    assert_eq!(disk.guest.features >> 5 & 1, 0);
    // A driver may ask for more than there is.
    assert_eq!(disk.guest.configuration(200)[60..], [0; 140]);
    assert_eq!(disk.request(GET_ID, 0, &[writable(BUFFER, 20)]), OK);
    assert_eq!(disk.guest.read(BUFFER, 20), b"serial-number-of-20b");
    assert_eq!(disk.request(GET_ID, 0, &[writable(BUFFER, 5)]), OK);
}

#[test]
fn reads_several_files_as_one_disk() {
    let (first, second) = (pattern(5000, 1), pattern(4096, 2));
    let mut disk = Disk::new(&[&first, &second], true);
    assert_eq!(disk.guest.features >> 5 & 1, 1);
    assert_eq!(start_sectors(&extents(&disk.files)), [0, 16]);
    let mut expected = first;
    expected.resize(8192, 0);
    expected.extend(second);
    // One request over both files and the padding between them, into uneven buffers.
    let chain = [writable(BUFFER, 1000), writable(BUFFER + 0x2000, 6000), writable(BUFFER + 0x4000, 5288)];
    assert_eq!(disk.request(READ, 0, &chain), OK);
    let mut seen = disk.guest.read(BUFFER, 1000);
    seen.extend(disk.guest.read(BUFFER + 0x2000, 6000));
    seen.extend(disk.guest.read(BUFFER + 0x4000, 5288));
    assert!(seen == expected);
    assert_eq!(disk.device.statistics().read_bytes(), 12288);
}

#[test]
fn reads_from_the_middle_of_a_file() {
    let file = file_of(&pattern(16384, 0));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let extent = Extent { file, file_offset_bytes: 3, length_bytes: 1024 };
    let _device = BlockDevice::spawn(ours, configuration(vec![extent], true)).unwrap();
    let mut guest = Guest::connect(theirs, 1);
    guest.write(HEADER, &[0; 8]);
    guest.write(HEADER + 8, &1_u64.to_le_bytes());
    let chain = [readable(HEADER, 16), writable(BUFFER, 512), writable(STATUS, 1)];
    assert_eq!(guest.submit(0, &chain), 513);
    assert_eq!(guest.read(BUFFER, 512), pattern(16384, 0)[515..1027]);
}

#[test]
fn writes_and_flushes() {
    let mut disk = Disk::new(&[&[0; 8192], &[0; 8192]], false);
    let bytes = pattern(4096, 7);
    disk.guest.write(BUFFER, &bytes);
    assert_eq!(disk.request(WRITE_OUT, 12, &[readable(BUFFER, 4096)]), OK);
    assert_eq!(disk.request(FLUSH, 0, &[]), OK);
    let mut seen = vec![0; 2048];
    disk.files[0].read_exact_at(&mut seen, 6144).unwrap();
    assert_eq!(seen, bytes[..2048]);
    disk.files[1].read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(seen, bytes[2048..]);
    let statistics = disk.device.statistics();
    assert_eq!((statistics.written_bytes(), statistics.flushes()), (4096, 1));
}

#[test]
fn discards_and_zeroes() {
    let mut disk = Disk::new(&[&pattern(65536, 1)], false);
    assert_eq!(disk.ranges(DISCARD, &[(0, 8, 0), (16, 8, 0)]), OK);
    assert_eq!(disk.ranges(WRITE_ZEROES, &[(32, 8, 0)]), OK);
    assert_eq!(disk.ranges(WRITE_ZEROES, &[(48, 8, 1)]), OK);
    for offset in [0, 8192, 16384, 24576] {
        let mut seen = vec![1; 4096];
        disk.files[0].read_exact_at(&mut seen, offset).unwrap();
        assert_eq!(seen, [0; 4096], "at {offset}");
    }
    assert_eq!(disk.files[0].metadata().unwrap().len(), 65536);
    for bad in
        [(128, 8, 0), (120, 9, 0), (0, 0, 0), (u64::MAX, 8, 0), (1 << 55, 8, 0), (0, 8, 2), (0, u32::MAX, 0)]
    {
        assert_eq!(disk.ranges(WRITE_ZEROES, &[bad]), IO_ERROR, "{bad:?}");
    }
    assert_eq!(disk.ranges(DISCARD, &[(0, 8, 1)]), IO_ERROR);
    assert_eq!(disk.ranges(DISCARD, &[(0, 8, 0); 17]), IO_ERROR);
    assert_eq!(disk.ranges(DISCARD, &[]), IO_ERROR);
}

#[test]
fn refuses_what_is_not_on_the_disk() {
    let mut disk = Disk::new(&[&pattern(8192, 1)], false);
    for (sector, length) in
        [(16, 512), (15, 1024), (u64::MAX, 512), (1 << 55, 512), (0, 511), (0, 513), (0, 8192 + 512)]
    {
        assert_eq!(
            disk.request(READ, sector, &[writable(BUFFER, length)]),
            IO_ERROR,
            "read {sector}+{length}"
        );
        assert_eq!(disk.request(WRITE_OUT, sector, &[readable(BUFFER, length)]), IO_ERROR);
    }
    assert_eq!(disk.request(READ, 0, &[]), IO_ERROR);
    assert_eq!(disk.request(WRITE_OUT, 0, &[]), IO_ERROR);
    assert_eq!(disk.request(99, 0, &[]), UNSUPPORTED);
    assert_eq!(disk.device.statistics().invalid_requests(), 17);
    assert_eq!(disk.request(READ, 15, &[writable(BUFFER, 512)]), OK);
}

#[test]
fn refuses_writes_to_a_read_only_disk() {
    let mut disk = Disk::new(&[&pattern(8192, 1)], true);
    assert_eq!(disk.request(WRITE_OUT, 0, &[readable(BUFFER, 512)]), IO_ERROR);
    assert_eq!(disk.ranges(DISCARD, &[(0, 8, 0)]), IO_ERROR);
    assert_eq!(disk.ranges(WRITE_ZEROES, &[(0, 8, 0)]), IO_ERROR);
    assert_eq!(disk.request(FLUSH, 0, &[]), OK);
    let mut seen = vec![0; 8192];
    disk.files[0].read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(seen, pattern(8192, 1));
}

#[test]
fn reports_failures_of_the_host() {
    // Opened for reading only, so that every write fails with EBADF as on a broken disk.
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(8192).unwrap();
    let extent =
        Extent { file: Arc::new(File::open(file.path()).unwrap()), file_offset_bytes: 0, length_bytes: 8192 };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let device = BlockDevice::spawn(ours, configuration(vec![extent], false)).unwrap();
    let guest = Guest::connect(theirs, 1);
    let mut disk = Disk { device, guest, files: Vec::new() };
    assert_eq!(disk.request(WRITE_OUT, 0, &[readable(BUFFER, 512)]), IO_ERROR);
    assert_eq!(disk.device.statistics().host_errors(), 1);
    assert_eq!(disk.device.statistics().last_host_errno(), Some(9));
    assert_eq!(disk.request(READ, 0, &[writable(BUFFER, 512)]), OK);
}

#[test]
fn survives_malformed_chains() {
    let mut disk = Disk::new(&[&pattern(8192, 1)], false);
    let end = MEMORY_START + MEMORY_BYTES;
    let chains: &[&[(u64, u32, u16)]] = &[
        &[readable(HEADER, 15), writable(STATUS, 1)],
        &[readable(HEADER, 16)],
        &[writable(STATUS, 1)],
        &[writable(BUFFER, 512), readable(HEADER, 16), writable(STATUS, 1)],
        &[readable(HEADER, 16), writable(end - 256, 512), writable(STATUS, 1)],
        &[readable(HEADER, 16), writable(u64::MAX - 100, 512), writable(STATUS, 1)],
        &[readable(HEADER, 16), writable(0, 512), writable(STATUS, 1)],
        &[readable(HEADER, 16), writable(BUFFER, u32::MAX), writable(STATUS, 1)],
        &[readable(0, 16), writable(STATUS, 1)],
        &[readable(HEADER, 0), writable(STATUS, 0)],
    ];
    for chain in chains {
        disk.put_header(READ, 0);
        disk.guest.submit(0, chain);
        assert_ne!(disk.guest.read(STATUS, 1)[0], OK, "{chain:?}");
    }
    assert_eq!(disk.request(READ, 0, &[writable(BUFFER, 512)]), OK);
}

#[test]
fn survives_loops_and_bad_indirect_tables() {
    let mut disk = Disk::new(&[&pattern(8192, 1)], false);
    let table = disk.guest.table(0);
    let indirect = DATA + 0x8000;
    let descriptor = |address, length, flags, next| Descriptor { address, length, flags, next };
    let cases = [
        descriptor(HEADER, 16, NEXT, 40),
        descriptor(BUFFER, 512, NEXT | WRITE, 40),
        descriptor(HEADER, 16, NEXT, 1000),
        descriptor(indirect, 15, INDIRECT, 0),
        descriptor(indirect, 0, INDIRECT, 0),
        descriptor(0, 48, INDIRECT, 0),
        descriptor(u64::MAX - 7, 48, INDIRECT, 0),
        descriptor(indirect, 16 * 65535, INDIRECT, 0),
    ];
    // The table's first entry is an indirect one again, which is forbidden.
    disk.guest.put_descriptors(indirect, &[descriptor(indirect, 48, INDIRECT, 0)]);
    for case in cases {
        disk.guest.put_descriptors(table + 40 * 16, &[case]);
        disk.guest.offer_head(0, 40);
        disk.guest.kick(0);
        assert_eq!(disk.guest.take_used(0).0, 40, "{case:?}");
    }
    // A correct indirect table works.
    disk.put_header(READ, 1);
    disk.guest.put_descriptors(
        indirect,
        &[
            descriptor(HEADER, 16, NEXT, 1),
            descriptor(BUFFER, 512, NEXT | WRITE, 2),
            descriptor(STATUS, 1, WRITE, 0),
        ],
    );
    disk.guest.put_descriptors(table + 40 * 16, &[descriptor(indirect, 48, INDIRECT, 0)]);
    disk.guest.offer_head(0, 40);
    disk.guest.kick(0);
    assert_eq!(disk.guest.take_used(0), (40, 513));
    assert_eq!(disk.guest.read(STATUS, 1)[0], OK);
    assert_eq!(disk.guest.read(BUFFER, 512), pattern(8192, 1)[512..1024]);
}

#[test]
fn ends_when_the_ring_itself_is_broken() {
    let mut disk = Disk::new(&[&pattern(8192, 1)], false);
    disk.guest.set_available_index(0, 40000);
    disk.guest.kick(0);
    assert!(matches!(disk.device.wait(), DeviceEnd::Ring(_)));

    let mut disk = Disk::new(&[&pattern(8192, 1)], false);
    disk.guest.offer_head(0, 64);
    disk.guest.kick(0);
    assert!(matches!(disk.device.wait(), DeviceEnd::Ring(_)));
}

#[test]
fn ends_with_its_monitor_or_its_owner() {
    let disk = Disk::new(&[&[0; 4096]], false);
    drop(disk.guest);
    assert!(matches!(disk.device.wait(), DeviceEnd::Disconnected));

    let disk = Disk::new(&[&[0; 4096]], false);
    disk.device.thread().stop();
    assert!(matches!(disk.device.wait(), DeviceEnd::Stopped | DeviceEnd::Disconnected));
}

#[test]
fn refuses_impossible_configurations() {
    let spawn = |extents| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        BlockDevice::spawn(ours, configuration(extents, true)).unwrap_err()
    };
    assert!(matches!(spawn(Vec::new()), BlockError::Empty { .. }));
    let extent = |length_bytes| Extent { file: file_of(&[]), file_offset_bytes: 0, length_bytes };
    for bad in [vec![extent(0)], vec![extent(1000)], vec![extent(1 << 62), extent(1 << 62)]] {
        assert!(matches!(spawn(bad), BlockError::Length { .. }));
    }
}
