//! The image file: appended to in order, with holes where there are only zeros.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::WriteError;
use crate::layout::{BLOCK, BLOCK_BYTES};

const BUFFER_BYTES: usize = 1 << 20;
/// Shorter runs of zeros are written: each hole costs the host's file system an extent.
const SHORTEST_HOLE_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Output {
    file: File,
    buffer: Vec<u8>,
    /// Where the buffer's first byte belongs.
    buffer_position: u64,
}

impl Output {
    pub(crate) fn new(file: File) -> Self {
        Self { file, buffer: Vec::with_capacity(BUFFER_BYTES), buffer_position: 0 }
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.buffer_position + self.buffer.len() as u64
    }

    /// The block that the next byte belongs to, by its 32-bit address.
    pub(crate) fn block(&self) -> Result<u32, WriteError> {
        u32::try_from(self.position() / BLOCK).map_err(|_| WriteError::TooLarge)
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.file.write_all_at(bytes, self.buffer_position).map_err(WriteError::Output)?;
            self.buffer_position += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Appends whole blocks, leaving holes in place of long runs of zeros.
    pub(crate) fn append_blocks(&mut self, blocks: &[u8]) -> Result<(), WriteError> {
        let mut pending = 0;
        let mut index = 0;
        while index < blocks.len() {
            let zeros = leading_zero_blocks(&blocks[index..]);
            if zeros >= SHORTEST_HOLE_BYTES {
                self.append(&blocks[pending..index])?;
                self.append_zeros(zeros as u64)?;
                pending = index + zeros;
            }
            index += zeros.max(BLOCK_BYTES);
        }
        self.append(&blocks[pending..])
    }

    pub(crate) fn append_zeros(&mut self, length_bytes: u64) -> Result<(), WriteError> {
        match usize::try_from(length_bytes) {
            Ok(length) if length < SHORTEST_HOLE_BYTES => {
                const ZEROS: &[u8] = &[0; SHORTEST_HOLE_BYTES];
                self.append(&ZEROS[..length])
            }
            _ => {
                self.flush()?;
                self.buffer_position =
                    self.buffer_position.checked_add(length_bytes).ok_or(WriteError::TooLarge)?;
                Ok(())
            }
        }
    }

    /// Fills the current block up with zeros.
    pub(crate) fn align(&mut self) -> Result<(), WriteError> {
        self.append_zeros(self.position().next_multiple_of(BLOCK) - self.position())
    }

    /// Overwrites what was appended before.
    pub(crate) fn patch(&mut self, position: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.flush()?;
        self.file.write_all_at(bytes, position).map_err(WriteError::Output)
    }

    pub(crate) fn flush(&mut self) -> Result<(), WriteError> {
        self.file.write_all_at(&self.buffer, self.buffer_position).map_err(WriteError::Output)?;
        self.buffer_position += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Gives the file its length, which holes at the end need.
    pub(crate) fn finish(mut self) -> Result<u64, WriteError> {
        self.flush()?;
        self.file.set_len(self.buffer_position).map_err(WriteError::Output)?;
        Ok(self.buffer_position)
    }
}

/// Length in bytes of the zero blocks at the start.
fn leading_zero_blocks(blocks: &[u8]) -> usize {
    let is_zero = |block: &&[u8]| block.len() == BLOCK_BYTES && block[..16] == [0; 16] && is_all_zero(block);
    blocks.chunks(BLOCK_BYTES).take_while(is_zero).count() * BLOCK_BYTES
}

fn is_all_zero(block: &[u8]) -> bool {
    block.iter().fold(0, |bits, byte| bits | byte) == 0
}
