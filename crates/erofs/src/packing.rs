//! Packs inodes with their attributes and tails into blocks.
//!
//! A file's tail must not cross a block (`erofs_map_blocks_flatmode`), so records are fitted into a few open
//! blocks, the fullest that has room first. Full blocks wait until there are 64 of them and then go to the
//! output together, which keeps metadata close to metadata on disk.

use crate::WriteError;
use crate::layout::{BLOCK_BYTES, SLOT_BYTES};
use crate::output::Output;

const OPEN_BLOCKS: usize = 16;
const READY_BLOCKS: usize = 64;
/// A block with less room than a small file needs is not worth keeping open.
const CLOSE_BELOW_BYTES: usize = 96;

#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    /// Node and its offset in the block.
    nodes: Vec<(u32, u16)>,
}

impl Block {
    fn room(&self) -> usize {
        BLOCK_BYTES - self.bytes.len()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Packing {
    open: Vec<Block>,
    ready: Vec<Block>,
}

impl Packing {
    /// Takes a node's record of at most a block.
    pub(crate) fn place(&mut self, node: u32, record: &[u8]) {
        let fitting = self.open.iter().enumerate().filter(|(_, block)| block.room() >= record.len());
        let index = match fitting.min_by_key(|(_, block)| block.room()) {
            Some((index, _)) => index,
            None => {
                self.open.push(Block { bytes: Vec::with_capacity(BLOCK_BYTES), nodes: Vec::new() });
                self.open.len() - 1
            }
        };
        let block = &mut self.open[index];
        #[expect(clippy::cast_possible_truncation, reason = "a block has 4096 bytes")]
        block.nodes.push((node, block.bytes.len() as u16));
        block.bytes.extend_from_slice(record);
        block.bytes.resize(block.bytes.len().next_multiple_of(SLOT_BYTES), 0);
        let closing = if block.room() < CLOSE_BELOW_BYTES {
            Some(index)
        } else if self.open.len() > OPEN_BLOCKS {
            let fullest = self.open.iter().enumerate().min_by_key(|(_, block)| block.room());
            fullest.map(|(index, _)| index)
        } else {
            None
        };
        if let Some(index) = closing {
            self.ready.push(self.open.swap_remove(index));
        }
    }

    /// Writes blocks if enough are ready; must not be called in the midst of a file's data.
    pub(crate) fn write_ready(
        &mut self,
        output: &mut Output,
        placed: impl FnMut(u32, u64),
    ) -> Result<(), WriteError> {
        if self.ready.len() >= READY_BLOCKS { self.write(output, placed) } else { Ok(()) }
    }

    /// Writes all that is left.
    pub(crate) fn write_all(
        &mut self,
        output: &mut Output,
        placed: impl FnMut(u32, u64),
    ) -> Result<(), WriteError> {
        self.ready.append(&mut self.open);
        self.write(output, placed)
    }

    fn write(&mut self, output: &mut Output, mut placed: impl FnMut(u32, u64)) -> Result<(), WriteError> {
        for block in self.ready.drain(..) {
            let position = output.position();
            for (node, offset) in block.nodes {
                placed(node, position + u64::from(offset));
            }
            output.append(&block.bytes)?;
            output.align()?;
        }
        Ok(())
    }
}
