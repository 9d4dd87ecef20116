//! EROFS images that the disk or somebody else has damaged.
#![no_main]

use std::io::Write;

use bulkhead_erofs::{BLOCK_BYTES, FileType, Image};
use libfuzzer_sys::fuzz_target;

/// A damaged image may contain itself.
const MAX_DIRECTORIES: usize = 1000;
const MAX_CONTENT_BYTES: u64 = 1 << 20;
/// Where the superblock begins, and what this target writes into it (fs/erofs/erofs_fs.h).
const SUPERBLOCK: usize = 1024;
const CHECKSUM: usize = SUPERBLOCK + 4;
const BLOCKS: usize = SUPERBLOCK + 36;

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    // Nobody guesses a checksum: without this no damage of the root or the superblock would be looked at.
    let mut sealed = bytes.to_vec();
    sealed.resize(bytes.len().next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES), 0);
    let blocks = u32::try_from(sealed.len() / BLOCK_BYTES).expect("inputs are small");
    sealed[BLOCKS..BLOCKS + 4].copy_from_slice(&blocks.to_le_bytes());
    sealed[CHECKSUM..CHECKSUM + 4].fill(0);
    let checksum = crc32c(&sealed[SUPERBLOCK..BLOCK_BYTES]);
    sealed[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum.to_le_bytes());
    read(&sealed);
});

fn read(bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("temporary file");
    file.write_all(bytes).expect("temporary file");
    let Ok(image) = Image::open(file) else { return };
    drop(image.lookup(b"folder/deep/file-1"));
    let Ok(root) = image.root() else { return };
    let mut pending = vec![root];
    for _ in 0..MAX_DIRECTORIES {
        let Some(stat) = pending.pop() else { return };
        match stat.kind {
            FileType::Directory => pending.extend(
                image.entries(&stat).into_iter().flatten().map(|(_, stat)| stat).take(MAX_DIRECTORIES),
            ),
            _ => drop(image.content(&stat, MAX_CONTENT_BYTES)),
        }
    }
}

/// CRC-32C as EROFS uses it: all ones at the start, not inverted at the end.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |mut checksum, byte| {
        checksum ^= u32::from(*byte);
        for _ in 0..8 {
            checksum = checksum >> 1 ^ (0x82f6_3b78 & (checksum & 1).wrapping_neg());
        }
        checksum
    })
}
