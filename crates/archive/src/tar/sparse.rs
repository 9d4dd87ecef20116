//! Sparse files: GNU's old format and PAX formats 0.0, 0.1 and 1.0.

use std::io::BufRead;

use super::TarError;
use super::extended::Extended;
use super::header::BLOCK_BYTES;
use super::number::{parse_decimal, parse_field};
use super::reader::Input;

/// More pieces than any file system fragments a file into; each takes 16 bytes of memory here.
pub const MAXIMUM_SEGMENTS: usize = 1 << 18;

/// A piece of a file that has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where in the file.
    pub offset_bytes: u64,
    /// How long.
    pub length_bytes: u64,
}

/// A sparse file's map, checked against its size and its data.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) segments: Vec<Segment>,
    /// Length of the whole file.
    pub(super) size_bytes: u64,
}

impl Map {
    /// Segments must be in order, within the file and together as long as the data in the stream.
    fn check(numbers: &[u64], size_bytes: u64, stored_bytes: u64) -> Option<Self> {
        if !numbers.len().is_multiple_of(2) {
            return None;
        }
        let mut segments = Vec::with_capacity(numbers.len() / 2);
        let (mut end, mut total) = (0, 0_u64);
        for pair in numbers.chunks_exact(2) {
            let segment = Segment { offset_bytes: pair[0], length_bytes: pair[1] };
            let segment_end = segment.offset_bytes.checked_add(segment.length_bytes)?;
            if segment.offset_bytes < end || segment_end > size_bytes {
                return None;
            }
            end = segment_end;
            total = total.checked_add(segment.length_bytes)?;
            segments.push(segment);
        }
        (total == stored_bytes).then_some(Self { segments, size_bytes })
    }
}

/// Pushes a field's number; the number of segments is bounded.
fn push(numbers: &mut Vec<u64>, number: Option<u64>) -> Option<()> {
    numbers.push(number?);
    (numbers.len() <= 2 * MAXIMUM_SEGMENTS).then_some(())
}

/// Pairs of 12-byte fields up to the first empty one.
fn push_fields(numbers: &mut Vec<u64>, fields: &[u8]) -> Option<()> {
    for pair in fields.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        for field in [&pair[..12], &pair[12..]] {
            push(numbers, parse_field(field).and_then(|number| u64::try_from(number).ok()))?;
        }
    }
    Some(())
}

/// The map of a type `S` entry: in its header and in blocks that follow it, before the data.
pub(super) fn read_old_gnu<R: BufRead>(
    input: &mut Input<R>,
    header: &[u8; BLOCK_BYTES],
    stored_bytes: u64,
    position_bytes: u64,
) -> Result<Map, TarError> {
    let error = || TarError::Sparse { position_bytes };
    let mut numbers = Vec::new();
    push_fields(&mut numbers, &header[386..482]).ok_or_else(error)?;
    let mut is_extended = header[482] != 0;
    while is_extended {
        let block =
            input.read_block()?.ok_or(TarError::Truncated { position_bytes: input.position_bytes() })?;
        push_fields(&mut numbers, &block[..504]).ok_or_else(error)?;
        is_extended = block[504] != 0;
    }
    let size_bytes = parse_field(&header[483..495]).and_then(|size| u64::try_from(size).ok());
    Map::check(&numbers, size_bytes.ok_or_else(error)?, stored_bytes).ok_or_else(error)
}

/// The map of a PAX sparse file and how many bytes of the entry's content it takes; `None` if it is not sparse.
pub(super) fn read_pax<R: BufRead>(
    input: &mut Input<R>,
    extended: &Extended,
    stored_bytes: u64,
    position_bytes: u64,
) -> Result<Option<(Map, u64)>, TarError> {
    let error = || TarError::Sparse { position_bytes };
    let decimal = |key: &[u8]| match extended.record(key) {
        Some(text) => parse_decimal(text).map(Some).ok_or_else(error),
        None => Ok(None),
    };
    let version = (decimal(b"GNU.sparse.major")?, decimal(b"GNU.sparse.minor")?);
    let size_bytes = decimal(b"GNU.sparse.realsize")?.or(decimal(b"GNU.sparse.size")?);
    let (numbers, map_bytes) = match version {
        (Some(1), Some(0)) => read_map_blocks(input, stored_bytes, position_bytes)?,
        (None | Some(0), None | Some(0 | 1)) => {
            let mut numbers = Vec::new();
            if let Some(map) = extended.record(b"GNU.sparse.map") {
                for text in map.split(|byte| *byte == b',').filter(|text| !text.is_empty()) {
                    push(&mut numbers, parse_decimal(text)).ok_or_else(error)?;
                }
            } else if extended.record(b"GNU.sparse.numblocks").is_some() {
                numbers.clone_from(&extended.sparse_pairs);
            } else {
                return Ok(None);
            }
            (numbers, 0)
        }
        _ => return Err(error()),
    };
    let stored_bytes = stored_bytes.checked_sub(map_bytes).ok_or_else(error)?;
    let map = Map::check(&numbers, size_bytes.ok_or_else(error)?, stored_bytes).ok_or_else(error)?;
    Ok(Some((map, map_bytes)))
}

/// Format 1.0: decimal lines at the start of the content, the first their count, padded to a block.
fn read_map_blocks<R: BufRead>(
    input: &mut Input<R>,
    stored_bytes: u64,
    position_bytes: u64,
) -> Result<(Vec<u64>, u64), TarError> {
    let error = || TarError::Sparse { position_bytes };
    let mut numbers = Vec::new();
    let mut wanted = None;
    let mut line = Vec::new();
    let mut map_bytes = 0;
    while wanted != Some(numbers.len()) {
        map_bytes += BLOCK_BYTES as u64;
        if map_bytes > stored_bytes {
            return Err(error());
        }
        let block =
            input.read_block()?.ok_or(TarError::Truncated { position_bytes: input.position_bytes() })?;
        for byte in block {
            if wanted == Some(numbers.len()) {
                break;
            }
            if byte != b'\n' {
                line.push(byte);
                if line.len() > 20 {
                    return Err(error());
                }
                continue;
            }
            let number = parse_decimal(&line).ok_or_else(error)?;
            line.clear();
            match wanted {
                None => {
                    let count = usize::try_from(number).ok().filter(|count| *count <= MAXIMUM_SEGMENTS);
                    wanted = Some(2 * count.ok_or_else(error)?);
                }
                Some(_) => numbers.push(number),
            }
        }
    }
    Ok((numbers, map_bytes))
}
