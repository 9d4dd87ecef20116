//! The writer's interface; `directories.rs` has what happens at the end.

use std::fs::File;

use crate::attributes;
use crate::directories;
use crate::layout::{BLOCK, BLOCK_BYTES, Content, FileType, Inode, SLOT, encode_device};
use crate::output::Output;
use crate::packing::Packing;
use crate::tree::{Target, Tree, next_identifier};
use crate::{DirectoryId, Found, Identity, Metadata, NodeId, Special, Summary, WriteError};

const LINK_TARGET_MAX: usize = 4095;

/// All that is remembered of a file, link or device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Byte position of the inode; known once its block is written.
    pub(crate) position: u64,
    pub(crate) kind: FileType,
    pub(crate) compact: bool,
}

#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) parent: DirectoryId,
    /// Its entry in the parent's names; unused for the root.
    entry: u32,
    depth: u32,
    pub(crate) metadata: Metadata,
}

/// Writes one image. Dropping it before [`Self::finish`] leaves a file without superblock.
#[derive(Debug)]
pub struct Writer {
    pub(crate) output: Output,
    pub(crate) tree: Tree,
    pub(crate) nodes: Vec<Node>,
    pub(crate) directories: Vec<Directory>,
    pub(crate) packing: Packing,
    /// The current file's last, partial block.
    partial: Vec<u8>,
}

impl Writer {
    /// The directory that is there from the start.
    pub const ROOT: DirectoryId = DirectoryId(0);

    /// Begins an image in an empty file. The root belongs to uid 0 with mode 0755 until
    /// [`Self::set_directory_metadata`] says otherwise.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: File) -> Result<Self, WriteError> {
        let mut output = Output::new(file);
        output.append(&[0; BLOCK_BYTES])?;
        Ok(Self {
            output,
            tree: Tree::new(),
            nodes: Vec::new(),
            directories: vec![Directory {
                parent: Self::ROOT,
                entry: 0,
                depth: 0,
                metadata: Metadata::with_permissions(0o755),
            }],
            packing: Packing::default(),
            partial: Vec::with_capacity(BLOCK_BYTES),
        })
    }

    /// What `directory` has under `name`.
    #[must_use]
    pub fn lookup(&self, directory: DirectoryId, name: &[u8]) -> Option<Found> {
        Some(match self.tree.find(directory, name)? {
            Target::Directory(id) => Found::Directory(id),
            Target::Node(id) => Found::Node(id, self.nodes[id.0 as usize].kind),
        })
    }

    /// Bytes written so far.
    #[must_use]
    pub fn position_bytes(&self) -> u64 {
        self.output.position()
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// When the name is invalid or taken, or the attributes cannot be stored.
    pub fn create_directory(
        &mut self,
        parent: DirectoryId,
        name: &[u8],
        metadata: Metadata,
    ) -> Result<DirectoryId, WriteError> {
        attributes::encode(&metadata.attributes)?;
        let id = DirectoryId(next_identifier(self.directories.len())?);
        let entry = self.tree.insert(parent, name, Target::Directory(id))?;
        let depth = self.depth(parent).saturating_add(1);
        self.directories.push(Directory { parent, entry, depth, metadata });
        Ok(id)
    }

    /// What a directory has now.
    #[must_use]
    pub fn directory_metadata(&self, directory: DirectoryId) -> &Metadata {
        &self.directories[directory.0 as usize].metadata
    }

    /// Replaces what a directory has.
    ///
    /// # Errors
    /// When the attributes cannot be stored.
    pub fn set_directory_metadata(
        &mut self,
        directory: DirectoryId,
        metadata: Metadata,
    ) -> Result<(), WriteError> {
        attributes::encode(&metadata.attributes)?;
        self.directories[directory.0 as usize].metadata = metadata;
        Ok(())
    }

    /// The directory that `directory` is in; the root is in itself.
    #[must_use]
    pub fn parent(&self, directory: DirectoryId) -> DirectoryId {
        self.directories[directory.0 as usize].parent
    }

    /// The path of a directory from the root, without a leading slash; `None` if it was removed.
    #[must_use]
    pub fn path(&self, directory: DirectoryId) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        let mut current = directory;
        while current != Self::ROOT {
            let Directory { parent, entry, .. } = &self.directories[current.0 as usize];
            if self.tree.is_removed(*entry) {
                return None;
            }
            names.push(self.tree.name(*entry));
            current = *parent;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    /// How many directories `directory` is below the root.
    #[must_use]
    pub fn depth(&self, directory: DirectoryId) -> u32 {
        self.directories[directory.0 as usize].depth
    }

    /// Begins a regular file. It appears under its name when [`FileWriter::finish`] is called.
    ///
    /// # Errors
    /// When the name is taken, the attributes cannot be stored or the output fails.
    pub fn create_file<'a>(
        &'a mut self,
        parent: DirectoryId,
        name: &'a [u8],
        metadata: &'a Metadata,
    ) -> Result<FileWriter<'a>, WriteError> {
        if self.tree.find(parent, name).is_some() {
            return Err(WriteError::Exists { name: name.to_vec() });
        }
        let attributes = attributes::encode(&metadata.attributes)?;
        let first_block = self.begin_content()?;
        Ok(FileWriter { writer: self, parent, name, metadata, attributes, first_block, size_bytes: 0 })
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// When the name is invalid or taken, the target is empty, too long or holds a NUL byte, the attributes
    /// cannot be stored or the output fails.
    pub fn create_symlink(
        &mut self,
        parent: DirectoryId,
        name: &[u8],
        metadata: &Metadata,
        target: &[u8],
    ) -> Result<NodeId, WriteError> {
        if target.is_empty() || target.len() > LINK_TARGET_MAX || target.contains(&0) {
            return Err(WriteError::LinkTarget { length_bytes: target.len() });
        }
        let attributes = attributes::encode(&metadata.attributes)?;
        let first_block = self.begin_content()?;
        self.partial.extend_from_slice(target);
        let size_bytes = target.len() as u64;
        self.add(parent, name, metadata, &attributes, FileType::Symlink, size_bytes, first_block)
    }

    /// Adds a device, fifo or socket.
    ///
    /// # Errors
    /// When the name is invalid or taken, the device number out of range, the attributes cannot be stored or the
    /// output fails.
    pub fn create_special(
        &mut self,
        parent: DirectoryId,
        name: &[u8],
        metadata: &Metadata,
        special: Special,
    ) -> Result<NodeId, WriteError> {
        let encode = |major, minor| encode_device(major, minor).ok_or(WriteError::Device { major, minor });
        let (kind, number) = match special {
            Special::CharacterDevice { major, minor } => (FileType::CharacterDevice, encode(major, minor)?),
            Special::BlockDevice { major, minor } => (FileType::BlockDevice, encode(major, minor)?),
            Special::Fifo => (FileType::Fifo, 0),
            Special::Socket => (FileType::Socket, 0),
        };
        let attributes = attributes::encode(&metadata.attributes)?;
        self.begin_content()?;
        self.add(parent, name, metadata, &attributes, kind, 0, number)
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// When the name is invalid or taken.
    pub fn link(&mut self, parent: DirectoryId, name: &[u8], node: NodeId) -> Result<(), WriteError> {
        self.tree.insert(parent, name, Target::Node(node)).map(drop)
    }

    /// Removes a name, with all that is below it if it is a directory's. Other names of the same file stay.
    /// Returns whether there was one. The space of a removed file's data is not regained.
    pub fn remove(&mut self, parent: DirectoryId, name: &[u8]) -> bool {
        self.tree.remove(parent, name)
    }

    /// Writes directories and superblock. The file is complete but not yet synced.
    ///
    /// # Errors
    /// When the output fails, or the tree exceeds what EROFS can hold.
    pub fn finish(self, identity: Identity) -> Result<Summary, WriteError> {
        directories::finish(self, &identity)
    }

    /// Between two files is the time to write inodes. Returns the block at which content would begin.
    fn begin_content(&mut self) -> Result<u32, WriteError> {
        let nodes = &mut self.nodes;
        self.packing
            .write_ready(&mut self.output, |node, position| nodes[node as usize].position = position)?;
        self.partial.clear();
        self.output.block()
    }

    /// Makes an inode of `self.partial` and what `union` says: the first block, or a device's number.
    #[expect(clippy::too_many_arguments, reason = "the fields of an inode; private")]
    fn add(
        &mut self,
        parent: DirectoryId,
        name: &[u8],
        metadata: &Metadata,
        attributes: &[u8],
        kind: FileType,
        size_bytes: u64,
        union: u32,
    ) -> Result<NodeId, WriteError> {
        let id = next_identifier(self.nodes.len())?;
        self.tree.insert(parent, name, Target::Node(NodeId(id)))?;
        let mut inode = Inode {
            kind,
            metadata,
            attribute_bytes: attributes.len(),
            size_bytes,
            content: Content::Inline { first_block: union },
            links: 1,
            serial: id + 2,
        };
        let head_bytes = inode.encoded_bytes() + attributes.len();
        let has_content = matches!(kind, FileType::Regular | FileType::Symlink);
        if !has_content {
            inode.content = Content::Device { number: union };
        } else if self.partial.is_empty() || head_bytes + self.partial.len() > BLOCK_BYTES {
            // The data before is contiguous with this: nothing was written since the file began.
            self.output.append(&self.partial)?;
            self.output.align()?;
            self.partial.clear();
            inode.content = Content::Plain { first_block: union };
        }
        let mut record = Vec::with_capacity(head_bytes + self.partial.len());
        inode.encode(&mut record);
        record.extend_from_slice(attributes);
        record.extend_from_slice(&self.partial);
        self.partial.clear();
        self.nodes.push(Node { position: 0, kind, compact: inode.is_compact() });
        if record.len() <= BLOCK_BYTES {
            self.packing.place(id, &record);
        } else {
            self.nodes[id as usize].position = self.output.position();
            self.output.append(&record)?;
            self.output.align()?;
        }
        debug_assert_eq!(self.output.position() % BLOCK, 0);
        Ok(NodeId(id))
    }
}

impl Node {
    /// The number that directory entries have.
    pub(crate) fn number(&self) -> u64 {
        self.position / SLOT
    }
}

/// A regular file whose content is arriving. Dropped without [`Self::finish`], the file does not exist.
#[derive(Debug)]
pub struct FileWriter<'a> {
    writer: &'a mut Writer,
    parent: DirectoryId,
    name: &'a [u8],
    metadata: &'a Metadata,
    attributes: Vec<u8>,
    first_block: u32,
    size_bytes: u64,
}

impl FileWriter<'_> {
    /// Appends bytes.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        self.size_bytes = self.size_bytes.checked_add(bytes.len() as u64).ok_or(WriteError::TooLarge)?;
        let Writer { partial, output, .. } = &mut *self.writer;
        if !partial.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - partial.len()));
            partial.extend_from_slice(head);
            bytes = rest;
            if partial.len() < BLOCK_BYTES {
                return Ok(());
            }
            output.append(partial)?;
            partial.clear();
        }
        let (blocks, rest) = bytes.split_at(bytes.len() / BLOCK_BYTES * BLOCK_BYTES);
        output.append_blocks(blocks)?;
        partial.extend_from_slice(rest);
        Ok(())
    }

    /// Appends zeros that take no space on disk.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write_zeros(&mut self, length_bytes: u64) -> Result<(), WriteError> {
        const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
        let partial_bytes = self.writer.partial.len() as u64;
        let to_boundary = if partial_bytes == 0 { 0 } else { (BLOCK - partial_bytes).min(length_bytes) };
        self.write(&ZEROS[..usize::try_from(to_boundary).unwrap_or(0)])?;
        let rest = length_bytes - to_boundary;
        let tail_bytes = rest % BLOCK;
        self.size_bytes = self.size_bytes.checked_add(rest - tail_bytes).ok_or(WriteError::TooLarge)?;
        self.writer.output.append_zeros(rest - tail_bytes)?;
        self.write(&ZEROS[..usize::try_from(tail_bytes).unwrap_or(0)])
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When the name is invalid or the output fails.
    pub fn finish(self) -> Result<NodeId, WriteError> {
        let Self { writer, parent, name, metadata, attributes, first_block, size_bytes } = self;
        writer.add(parent, name, metadata, &attributes, FileType::Regular, size_bytes, first_block)
    }
}
