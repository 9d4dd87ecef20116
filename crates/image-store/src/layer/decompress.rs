//! Decompression, chosen by the content's first bytes as every other client does it: builders have written layers
//! whose media type was wrong, and the digests settle what the content is.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

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

/// The name of a compression that no layer has.
fn unknown(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        // With the first block's number: a tar stream may begin with a file whose name begins so.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Some("bzip2"),
        _ => None,
    }
}

/// Decompresses `input`, all its members or frames.
pub(crate) fn decompress<'a>(mut input: impl BufRead + 'a) -> Result<(Compression, Box<dyn Read + 'a>)> {
    // A buffer of fresh data holds more than four bytes unless the stream is shorter.
    let start = input.fill_buf()?;
    if let Some(name) = unknown(start) {
        let message =
            format!("it is compressed by {name}, not by gzip or zstd; '{name} -dc' makes a tar stream of it");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let compression = sniff(start);
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
