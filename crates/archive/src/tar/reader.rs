//! The reader itself.

use std::io::BufRead;

use super::TarError;
use super::extended::Extended;
use super::header::{BLOCK_BYTES, Entry, Header, Kind, until_nul};
use super::number::parse_decimal;
use super::sparse::{self, Segment};

/// Room for a path of 4 KiB, a link of the same length and several attributes of 64 KiB.
const MAX_EXTENDED_BYTES: usize = 1 << 20;
/// Chains of extended headers longer than this only waste time.
const MAX_EXTENDED_HEADERS: usize = 64;

/// The stream below, by blocks and with its position.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    position_bytes: u64,
}

impl<R: BufRead> Input<R> {
    pub(super) fn position_bytes(&self) -> u64 {
        self.position_bytes
    }

    /// The next block; `None` at the end of the stream.
    pub(super) fn read_block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, TarError> {
        let mut block = [0; BLOCK_BYTES];
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            let read = fill(&mut self.reader, |available| {
                let length = available.len().min(BLOCK_BYTES - filled);
                block[filled..filled + length].copy_from_slice(&available[..length]);
                length
            })?;
            self.position_bytes += read as u64;
            filled += read;
            if read == 0 {
                break;
            }
        }
        match filled {
            0 => Ok(None),
            BLOCK_BYTES => Ok(Some(block)),
            _ => Err(TarError::Truncated { position_bytes: self.position_bytes }),
        }
    }

    fn truncated(&self) -> TarError {
        TarError::Truncated { position_bytes: self.position_bytes }
    }

    fn skip(&mut self, mut length_bytes: u64) -> Result<(), TarError> {
        while length_bytes > 0 {
            let read = fill(&mut self.reader, |available| clamp(available.len(), length_bytes))? as u64;
            if read == 0 {
                return Err(self.truncated());
            }
            self.position_bytes += read;
            length_bytes -= read;
        }
        Ok(())
    }
}

/// Shows the buffered bytes to `take` and consumes as many as it says; 0 only at the end of the stream.
fn fill<R: BufRead>(reader: &mut R, mut take: impl FnMut(&[u8]) -> usize) -> Result<usize, TarError> {
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(0),
            Ok(available) => {
                let length = take(available);
                reader.consume(length);
                return Ok(length);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(TarError::Input(error)),
        }
    }
}

fn clamp(available: usize, limit: u64) -> usize {
    usize::try_from(limit).map_or(available, |limit| available.min(limit))
}

/// A part of a file's content.
#[derive(Debug)]
pub enum Piece<'a> {
    /// Bytes.
    Data(&'a [u8]),
    /// A hole of this many bytes.
    Zeros(u64),
}

/// Iterates over the entries of a tar stream.
#[derive(Debug)]
pub struct Reader<R> {
    input: Input<R>,
    /// What is left of the current entry's content in the stream.
    stored_bytes: u64,
    padding_bytes: u64,
    /// The current entry's logical length and, if it is sparse, where its data belongs.
    size_bytes: u64,
    segments: Option<Vec<Segment>>,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from the start of a stream.
    pub fn new(reader: R) -> Self {
        Self {
            input: Input { reader, position_bytes: 0 },
            stored_bytes: 0,
            padding_bytes: 0,
            size_bytes: 0,
            segments: None,
            ended: false,
        }
    }

    /// The stream, positioned somewhere behind the last entry.
    pub fn into_inner(self) -> R {
        self.input.reader
    }

    /// The next entry; content of the one before that was not read is skipped. `None` at the end.
    ///
    /// # Errors
    /// When the stream is malformed, truncated or cannot be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        if self.ended {
            return Ok(None);
        }
        self.input.skip(self.stored_bytes + self.padding_bytes)?;
        (self.stored_bytes, self.padding_bytes, self.size_bytes, self.segments) = (0, 0, 0, None);
        let mut extended = Extended::default();
        let mut extended_bytes = 0;
        for _ in 0..MAX_EXTENDED_HEADERS {
            let position_bytes = self.input.position_bytes;
            let Some(block) = self.next_header()? else {
                self.ended = true;
                return Ok(None);
            };
            let header = Header::check(&block, position_bytes)?;
            match header.type_flag() {
                b'x' | b'X' => {
                    let bytes = self.read_extended(&header, &mut extended_bytes)?;
                    extended.add_records(&bytes).ok_or(TarError::Extended { position_bytes })?;
                }
                // Global headers hold notes such as a commit; Go's and Docker's readers do not apply them either.
                b'g' => drop(self.read_extended(&header, &mut extended_bytes)?),
                b'L' => {
                    let bytes = self.read_extended(&header, &mut extended_bytes)?;
                    extended.gnu_path = Some(until_nul(&bytes).to_vec());
                }
                b'K' => {
                    let bytes = self.read_extended(&header, &mut extended_bytes)?;
                    extended.gnu_link_path = Some(until_nul(&bytes).to_vec());
                }
                // A volume's label.
                b'V' => self.input.skip(header.size_bytes()?.next_multiple_of(BLOCK_BYTES as u64))?,
                _ => return self.begin(&header, extended).map(Some),
            }
        }
        let position_bytes = self.input.position_bytes;
        Err(TarError::ExtendedTooLarge { position_bytes, limit_bytes: MAX_EXTENDED_BYTES })
    }

    /// Passes the current entry's content to `sink`, holes included. Padding is read too.
    ///
    /// # Errors
    /// When the stream is truncated or cannot be read, or `sink` fails.
    pub fn read_content<E: From<TarError>>(
        &mut self,
        mut sink: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut written = 0;
        match self.segments.take() {
            None => {
                let size_bytes = self.stored_bytes;
                self.copy(size_bytes, &mut sink)?;
                written = size_bytes;
            }
            Some(segments) => {
                for segment in segments {
                    if segment.offset_bytes > written {
                        sink(Piece::Zeros(segment.offset_bytes - written))?;
                    }
                    self.copy(segment.length_bytes, &mut sink)?;
                    written = segment.offset_bytes + segment.length_bytes;
                }
            }
        }
        if self.size_bytes > written {
            sink(Piece::Zeros(self.size_bytes - written))?;
        }
        let padding_bytes = std::mem::take(&mut self.padding_bytes);
        Ok(self.input.skip(padding_bytes)?)
    }

    fn copy<E: From<TarError>>(
        &mut self,
        mut length_bytes: u64,
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while length_bytes > 0 {
            let mut outcome = Ok(());
            let read = fill(&mut self.input.reader, |available| {
                let length = clamp(available.len(), length_bytes);
                outcome = sink(Piece::Data(&available[..length]));
                length
            })?;
            outcome?;
            if read == 0 {
                return Err(self.input.truncated().into());
            }
            let read = read as u64;
            self.input.position_bytes += read;
            self.stored_bytes -= read;
            length_bytes -= read;
        }
        Ok(())
    }

    /// A header block, or `None` at the end: two zero blocks, or the end of the stream, which many tools accept.
    fn next_header(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, TarError> {
        let Some(block) = self.input.read_block()? else { return Ok(None) };
        if block != [0; BLOCK_BYTES] {
            return Ok(Some(block));
        }
        let position_bytes = self.input.position_bytes;
        match self.input.read_block()? {
            None => Ok(None),
            Some(second) if second == [0; BLOCK_BYTES] => Ok(None),
            Some(_) => Err(TarError::Checksum { position_bytes }),
        }
    }

    fn read_extended(&mut self, header: &Header<'_>, total: &mut usize) -> Result<Vec<u8>, TarError> {
        let position_bytes = header.position_bytes;
        let too_large = TarError::ExtendedTooLarge { position_bytes, limit_bytes: MAX_EXTENDED_BYTES };
        let Ok(size) = usize::try_from(header.size_bytes()?) else { return Err(too_large) };
        if size > MAX_EXTENDED_BYTES || *total + size > MAX_EXTENDED_BYTES {
            return Err(too_large);
        }
        *total += size;
        let mut bytes = Vec::with_capacity(size.next_multiple_of(BLOCK_BYTES));
        while bytes.len() < size {
            bytes.extend(self.input.read_block()?.ok_or_else(|| self.input.truncated())?);
        }
        bytes.truncate(size);
        Ok(bytes)
    }

    fn begin(&mut self, header: &Header<'_>, extended: Extended) -> Result<Entry, TarError> {
        let position_bytes = header.position_bytes;
        let mut kind = match header.type_flag() {
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            kind => return Err(TarError::Kind { position_bytes, kind }),
        };
        let mut stored_bytes = match extended.record(b"size") {
            Some(text) => parse_decimal(text).ok_or_else(|| header.field_error("size"))?,
            None => header.size_bytes()?,
        };
        if stored_bytes > i64::MAX.cast_unsigned() - BLOCK_BYTES as u64 {
            return Err(header.field_error("size"));
        }
        // Only files have content, whatever the field says (Go's `isHeaderOnly`).
        if kind != Kind::File {
            stored_bytes = 0;
        }
        self.padding_bytes = stored_bytes.next_multiple_of(BLOCK_BYTES as u64) - stored_bytes;
        self.stored_bytes = stored_bytes;
        self.size_bytes = stored_bytes;
        if header.type_flag() == b'S' && header.is_gnu() {
            let map = sparse::read_old_gnu(&mut self.input, header.block, stored_bytes, position_bytes)?;
            (self.size_bytes, self.segments) = (map.size_bytes, Some(map.segments));
        } else if kind == Kind::File
            && let Some((map, map_bytes)) =
                sparse::read_pax(&mut self.input, &extended, stored_bytes, position_bytes)?
        {
            self.stored_bytes -= map_bytes;
            (self.size_bytes, self.segments) = (map.size_bytes, Some(map.segments));
        }
        let entry = header.entry(kind, extended, self.size_bytes)?;
        // Before POSIX had a type for them, directories were files with a trailing slash.
        if header.type_flag() == 0 && entry.path.ends_with(b"/") {
            kind = Kind::Directory;
        }
        Ok(Entry { kind, ..entry })
    }
}
