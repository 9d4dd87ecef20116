//! Tar streams, entry by entry.
#![no_main]

use bulkhead_archive::tar::{Piece, Reader, TarError};
use libfuzzer_sys::fuzz_target;

/// Sparse files may be as long as they like; nobody writes them out here.
const MAX_ENTRIES: usize = 10_000;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    for _ in 0..MAX_ENTRIES {
        match reader.next_entry() {
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
        let mut data_bytes = 0;
        let read = reader.read_content(|piece| {
            if let Piece::Data(data) = piece {
                data_bytes += data.len();
            }
            Ok::<(), TarError>(())
        });
        assert!(data_bytes <= bytes.len(), "more data than there was");
        if read.is_err() {
            return;
        }
    }
});
