//! The end of an image: directories, link counts, superblock.

use crate::attributes;
use crate::layout::{
    BLOCK, BLOCK_BYTES, Content, DIRENT_BYTES, FileType, Inode, ROOT_POSITION, SLOT, write_superblock,
};
use crate::tree::{Target, Tree};
use crate::writer::{Node, Writer};
use crate::{Identity, Summary, WriteError};

/// Offset of `i_nlink` in compact and extended inodes.
const COMPACT_LINKS_OFFSET: u64 = 6;
const EXTENDED_LINKS_OFFSET: u64 = 44;

/// Where a directory goes.
#[derive(Clone, Copy, Debug, Default)]
struct Placement {
    live: bool,
    subdirectories: u32,
    /// Its names in `Plan::entries`.
    entries_start: usize,
    entries_end: usize,
    /// Whole directory data in bytes.
    size_bytes: u64,
    /// Blocks of it that stand apart from the inode.
    block_count: u64,
    first_block: u32,
    inline: bool,
    /// Byte position of the inode.
    position: u64,
}

struct Plan {
    placements: Vec<Placement>,
    /// Indices of names, grouped by directory and sorted within.
    entries: Vec<u32>,
    /// Names of each node.
    links: Vec<u32>,
}

pub(crate) fn finish(mut writer: Writer, identity: &Identity) -> Result<Summary, WriteError> {
    let nodes = &mut writer.nodes;
    writer
        .packing
        .write_all(&mut writer.output, |node, position| nodes[node as usize].position = position)?;
    let mut plan = survey(&writer);
    lay_out(&writer, &mut plan)?;
    write_directory_blocks(&mut writer, &plan)?;
    write_directory_inodes(&mut writer, &plan)?;
    patch_links(&mut writer, &plan.links)?;

    let live_nodes = plan.links.iter().filter(|links| **links > 0).count();
    let live_directories = plan.placements.iter().filter(|placement| placement.live).count();
    let inodes = (live_nodes + live_directories) as u64;
    let mut block = [0; BLOCK_BYTES];
    let root = record(&writer, &plan, 0)?;
    block[ROOT_POSITION..ROOT_POSITION + root.len()].copy_from_slice(&root);
    write_superblock(&mut block, inodes, writer.output.block()?, identity);
    writer.output.patch(0, &block)?;
    let length_bytes = writer.output.finish()?;
    Ok(Summary { length_bytes, inodes })
}

/// Finds out which directories are still reachable and which names they have.
fn survey(writer: &Writer) -> Plan {
    let mut placements = vec![Placement::default(); writer.directories.len()];
    let mut links = vec![0_u32; writer.nodes.len()];
    // A directory is made after its parent and its name follows at once, so one pass in order sees parents first.
    placements[0].live = true;
    for (_, parent, target) in writer.tree.remaining() {
        if !placements[parent.0 as usize].live {
            continue;
        }
        placements[parent.0 as usize].entries_end += 1;
        match target {
            Target::Directory(id) => {
                placements[id.0 as usize].live = true;
                placements[parent.0 as usize].subdirectories += 1;
            }
            Target::Node(id) => links[id.0 as usize] += 1,
        }
    }
    let mut next = 0;
    for placement in &mut placements {
        placement.entries_start = next;
        next += placement.entries_end;
        placement.entries_end = placement.entries_start;
    }
    let mut entries = vec![0; next];
    for (entry, parent, _) in writer.tree.remaining() {
        let placement = &mut placements[parent.0 as usize];
        if placement.live {
            entries[placement.entries_end] = entry;
            placement.entries_end += 1;
        }
    }
    for placement in &placements {
        entries[placement.entries_start..placement.entries_end]
            .sort_unstable_by(|left, right| writer.tree.name(*left).cmp(writer.tree.name(*right)));
    }
    Plan { placements, entries, links }
}

/// Decides sizes and positions of all directories.
fn lay_out(writer: &Writer, plan: &mut Plan) -> Result<(), WriteError> {
    let mut position = writer.output.position();
    for index in 0..plan.placements.len() {
        if !plan.placements[index].live {
            continue;
        }
        let mut blocks = 0_u64;
        let mut last_bytes = 0;
        for_each_block(&writer.tree, plan, index, |names| {
            blocks += 1;
            last_bytes = names.iter().map(|name| DIRENT_BYTES + name.bytes(&writer.tree).len()).sum();
        });
        let size_bytes = (blocks - 1) * BLOCK + last_bytes as u64;
        plan.placements[index].size_bytes = size_bytes;
        let head_bytes = head(writer, plan, index)?.len();
        let room = if index == 0 { BLOCK_BYTES - ROOT_POSITION } else { BLOCK_BYTES };
        if index == 0 && head_bytes > room {
            return Err(WriteError::AttributesTooLarge { size_bytes: head_bytes });
        }
        let inline = last_bytes < BLOCK_BYTES && head_bytes + last_bytes <= room;
        let placement = &mut plan.placements[index];
        placement.inline = inline;
        placement.block_count = if inline { blocks - 1 } else { blocks };
        placement.first_block = u32::try_from(position / BLOCK).map_err(|_| WriteError::TooLarge)?;
        position += placement.block_count * BLOCK;
    }
    plan.placements[0].position = ROOT_POSITION as u64;
    for index in 1..plan.placements.len() {
        if plan.placements[index].live {
            let length = record_bytes(writer, plan, index)?;
            position = slot_for(position, length);
            plan.placements[index].position = position;
            position += length;
        }
    }
    Ok(())
}

/// The next position at which a record of that length does not cross a block, or begins one if it must.
fn slot_for(position: u64, length: u64) -> u64 {
    let position = position.next_multiple_of(SLOT);
    if position % BLOCK + length > BLOCK { position.next_multiple_of(BLOCK) } else { position }
}

/// A name in a directory, the two that every directory has included.
#[derive(Clone, Copy, Debug)]
enum Name {
    Itself,
    Parent,
    Entry(u32),
}

impl Name {
    fn bytes(self, tree: &Tree) -> &[u8] {
        match self {
            Self::Itself => b".",
            Self::Parent => b"..",
            Self::Entry(entry) => tree.name(entry),
        }
    }
}

/// Calls `visit` with the names of each block of a directory, in byte order as the kernel's search needs it.
fn for_each_block(tree: &Tree, plan: &Plan, index: usize, mut visit: impl FnMut(&[Name])) {
    let placement = &plan.placements[index];
    let entries = &plan.entries[placement.entries_start..placement.entries_end];
    let split = |name: &[u8]| entries.partition_point(|entry| tree.name(*entry) < name);
    let (before, after) = (split(b"."), split(b".."));
    let names = entries[..before]
        .iter()
        .map(|entry| Name::Entry(*entry))
        .chain([Name::Itself])
        .chain(entries[before..after].iter().map(|entry| Name::Entry(*entry)))
        .chain([Name::Parent])
        .chain(entries[after..].iter().map(|entry| Name::Entry(*entry)));
    let mut block = Vec::new();
    let mut used = 0;
    for name in names {
        let bytes = DIRENT_BYTES + name.bytes(tree).len();
        if used + bytes > BLOCK_BYTES {
            visit(&block);
            block.clear();
            used = 0;
        }
        used += bytes;
        block.push(name);
    }
    visit(&block);
}

/// One block of directory entries, not padded.
fn encode_block(writer: &Writer, plan: &Plan, index: usize, names: &[Name], bytes: &mut Vec<u8>) {
    let directory_number = |id: usize| plan.placements[id].position / SLOT;
    let mut name_offset = names.len() * DIRENT_BYTES;
    for name in names {
        let (number, kind) = match name {
            Name::Itself => (directory_number(index), FileType::Directory),
            Name::Parent => {
                (directory_number(writer.directories[index].parent.0 as usize), FileType::Directory)
            }
            Name::Entry(entry) => match writer.tree.target(*entry) {
                Target::Directory(id) => (directory_number(id.0 as usize), FileType::Directory),
                Target::Node(id) => {
                    let node: &Node = &writer.nodes[id.0 as usize];
                    (node.number(), node.kind)
                }
            },
        };
        bytes.extend(number.to_le_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "names start within their block of 4096 bytes")]
        bytes.extend((name_offset as u16).to_le_bytes());
        bytes.extend([kind as u8, 0]);
        name_offset += name.bytes(&writer.tree).len();
    }
    for name in names {
        bytes.extend_from_slice(name.bytes(&writer.tree));
    }
}

/// Inode and attributes of a directory.
fn head(writer: &Writer, plan: &Plan, index: usize) -> Result<Vec<u8>, WriteError> {
    let placement = &plan.placements[index];
    let metadata = &writer.directories[index].metadata;
    let attributes = attributes::encode(&metadata.attributes)?;
    let first_block = placement.first_block;
    let inode = Inode {
        kind: FileType::Directory,
        metadata,
        attribute_bytes: attributes.len(),
        size_bytes: placement.size_bytes,
        content: if placement.inline {
            Content::Inline { first_block }
        } else {
            Content::Plain { first_block }
        },
        links: placement.subdirectories.saturating_add(2),
        serial: u32::try_from(writer.nodes.len() + index + 2).unwrap_or(u32::MAX),
    };
    let mut bytes = Vec::with_capacity(inode.encoded_bytes() + attributes.len());
    inode.encode(&mut bytes);
    bytes.extend(attributes);
    Ok(bytes)
}

fn record_bytes(writer: &Writer, plan: &Plan, index: usize) -> Result<u64, WriteError> {
    let placement = &plan.placements[index];
    let tail_bytes = placement.size_bytes.saturating_sub(placement.block_count * BLOCK);
    Ok(head(writer, plan, index)?.len() as u64 + tail_bytes)
}

/// Inode, attributes and, where it has one, tail of a directory.
fn record(writer: &Writer, plan: &Plan, index: usize) -> Result<Vec<u8>, WriteError> {
    let placement = &plan.placements[index];
    let mut bytes = head(writer, plan, index)?;
    if placement.inline {
        let mut block_index = 0;
        for_each_block(&writer.tree, plan, index, |names| {
            if block_index == placement.block_count {
                encode_block(writer, plan, index, names, &mut bytes);
            }
            block_index += 1;
        });
    }
    Ok(bytes)
}

fn write_directory_blocks(writer: &mut Writer, plan: &Plan) -> Result<(), WriteError> {
    let mut blocks = Vec::new();
    for index in 0..plan.placements.len() {
        let placement = &plan.placements[index];
        if !placement.live || placement.block_count == 0 {
            continue;
        }
        let mut written = 0;
        for_each_block(&writer.tree, plan, index, |names| {
            if written < placement.block_count {
                encode_block(writer, plan, index, names, &mut blocks);
                blocks.resize(blocks.len().next_multiple_of(BLOCK_BYTES), 0);
            }
            written += 1;
        });
        writer.output.append(&blocks)?;
        blocks.clear();
    }
    Ok(())
}

fn write_directory_inodes(writer: &mut Writer, plan: &Plan) -> Result<(), WriteError> {
    for index in 1..plan.placements.len() {
        let placement = &plan.placements[index];
        if placement.live {
            let bytes = record(writer, plan, index)?;
            writer.output.append_zeros(placement.position - writer.output.position())?;
            writer.output.append(&bytes)?;
        }
    }
    writer.output.align()
}

/// Inodes are written with one link, before further names can be known.
fn patch_links(writer: &mut Writer, links: &[u32]) -> Result<(), WriteError> {
    for (node, links) in writer.nodes.iter().zip(links.iter().copied()) {
        match links {
            0 | 1 => {}
            _ if node.compact => {
                let links = u16::try_from(links).map_err(|_| WriteError::TooManyLinks { links })?;
                writer.output.patch(node.position + COMPACT_LINKS_OFFSET, &links.to_le_bytes())?;
            }
            _ => writer.output.patch(node.position + EXTENDED_LINKS_OFFSET, &links.to_le_bytes())?,
        }
    }
    Ok(())
}
