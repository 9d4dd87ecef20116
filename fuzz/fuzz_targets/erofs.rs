//! EROFS images that the disk or somebody else has damaged.
#![no_main]

use std::io::Write;

use bulkhead_erofs::{FileType, Image};
use libfuzzer_sys::fuzz_target;

/// A damaged image may contain itself.
const MAX_DIRECTORIES: usize = 1000;
const MAX_CONTENT_BYTES: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::tempfile().expect("temporary file");
    file.write_all(bytes).expect("temporary file");
    let Ok(image) = Image::open(file) else { return };
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
});
