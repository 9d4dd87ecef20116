//! Decompression, chosen by the content's first bytes as every other client does it: builders have written layers
//! whose media type was wrong, and the digests settle what the content is.

use std::io::{BufRead, Read, Result};

use bulkhead_oci::Compression;

/// zstd's own default limit, 128 MiB, which `--ultra` levels reach. Memory is touched only as far as data goes.
const MAX_WINDOW_LOG: u32 = 27;

/// What the first bytes of a stream say.
pub(crate) fn sniff(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A frame, or a skippable frame such as zstd:chunked puts anywhere (RFC 8878, 3.1).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Decompresses `input`, all its members or frames.
pub(crate) fn decompress<'a>(mut input: impl BufRead + 'a) -> Result<(Compression, Box<dyn Read + 'a>)> {
    // A buffer of fresh data holds more than four bytes unless the stream is shorter.
    let compression = sniff(input.fill_buf()?);
    Ok((
        compression,
        match compression {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Box::new(decoder)
            }
        },
    ))
}
