//! Finds the last lines of a file from its end, without reading the rest.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::line::{LONGEST_PREFIX_BYTES, Stream, parse};
use super::reader::Format;
use super::view::Window;

const BLOCK_BYTES: u64 = 64 * 1024;

/// What has been walked over already, from the end of the last file.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// Whether there was something of stdout, of stderr.
    has: [bool; 2],
}

impl Later {
    /// Whether there was something of this stream; from now on there was.
    fn replace(&mut self, stream: Stream) -> bool {
        std::mem::replace(&mut self.has[stream as usize - 1], true)
    }
}

/// Where the last `wanted` lines begin, and how many there are when the file has fewer.
///
/// A line of the container may be several lines of the file: all but its last are marked as pieces,
/// so the one before it must be a last one too. A piece that nothing follows is the end of a line
/// without newline, which tail(1) counts as well.
pub(super) fn start_of_last_lines(
    file: &File,
    format: Format,
    wanted: usize,
    window: &Window,
    later: &mut Later,
) -> io::Result<(u64, usize)> {
    let length = file.metadata()?.len();
    if wanted == 0 {
        return Ok((length, 0));
    }
    let mut found = 0;
    let mut line_end = length;
    let mut block = Vec::new();
    let mut block_start = length;
    // Walks over the line starts from the last to the first; a start is 0 or follows a newline.
    while line_end > 0 {
        let mut start = line_end - 1;
        loop {
            if start == 0 {
                break;
            }
            if start - 1 < block_start {
                block_start = start.saturating_sub(BLOCK_BYTES);
                block.resize(usize::try_from(start - block_start).map_err(io::Error::other)?, 0);
                file.read_exact_at(&mut block, block_start)?;
            }
            let index = usize::try_from(start - 1 - block_start).map_err(io::Error::other)?;
            if block[index] == b'\n' {
                break;
            }
            start -= 1;
        }
        if ends_a_line(file, format, start..line_end, window, later)? {
            if found == wanted {
                return Ok((line_end, found));
            }
            found += 1;
        }
        line_end = start;
    }
    Ok((0, found))
}

/// Lines outside the window do not count.
fn ends_a_line(
    file: &File,
    format: Format,
    Range { start, end }: Range<u64>,
    window: &Window,
    later: &mut Later,
) -> io::Result<bool> {
    if format == Format::Raw {
        return Ok(true);
    }
    let mut prefix = [0; LONGEST_PREFIX_BYTES];
    let length = usize::try_from(end - start).map_or(prefix.len(), |length| length.min(prefix.len()));
    file.read_exact_at(&mut prefix[..length], start)?;
    let line = parse(&prefix[..length]).filter(|line| window.contains(line.date));
    Ok(line.is_some_and(|line| !later.replace(line.stream) || line.complete))
}
