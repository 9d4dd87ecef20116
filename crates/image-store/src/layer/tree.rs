//! Applies tar entries to the image being written, as an extraction inside the layer's own root would.
//!
//! A layer stands alone here: lower layers are not seen. Symbolic links on the way to an entry are followed within
//! the layer; what a whiteout hides is left to overlayfs (OCI image specification, "Whiteouts"; overlayfs
//! documentation, "whiteouts and opaque directories").

use std::collections::{BTreeSet, HashMap, HashSet};

use bulkhead_erofs::{
    DirectoryId, FileType, Found, Metadata, NodeId, Special, WriteError, Writer, is_storable,
};

use super::path::components;
use super::{LayerError, Limits};
use crate::tar::{Entry, Kind};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Prefix of AUFS's own files, of which only the opaque mark means something to others.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
const OPAQUE_ATTRIBUTE: &[u8] = b"trusted.overlay.opaque";
/// An image must not be able to steer overlayfs by itself.
const OVERLAY_PREFIX: &[u8] = b"trusted.overlay.";
/// `MAXSYMLINKS` of Linux.
const MAX_SYMLINKS: u32 = 40;
/// `PATH_MAX` holds no more components.
const MAX_DEPTH: u32 = 2048;
/// Mode of directories that no entry describes, as Docker makes them.
pub(crate) const IMPLICIT_PERMISSIONS: u16 = 0o755;
/// What an entry costs in memory beside its name.
const ENTRY_BYTES: u64 = 96;

pub(super) struct LayerTree<'a> {
    pub(super) writer: Writer,
    limits: &'a Limits,
    symlinks: HashMap<NodeId, Box<[u8]>>,
    whiteouts: HashSet<NodeId>,
    opaque: HashSet<DirectoryId>,
    /// Directories that no entry described. The root is not among them: overlayfs shows that of its upper layer.
    implicit: HashSet<DirectoryId>,
    /// Parent of the entry before and the path that led to it; most entries share it.
    last_parent: Option<(Vec<u8>, DirectoryId)>,
    entries: u64,
    metadata_bytes: u64,
    content_bytes: u64,
}

impl<'a> LayerTree<'a> {
    pub(super) fn new(writer: Writer, limits: &'a Limits) -> Self {
        Self {
            writer,
            limits,
            symlinks: HashMap::new(),
            whiteouts: HashSet::new(),
            opaque: HashSet::new(),
            implicit: HashSet::new(),
            last_parent: None,
            entries: 0,
            metadata_bytes: 0,
            content_bytes: 0,
        }
    }

    /// Whether lower layers are hidden altogether.
    pub(super) fn is_root_opaque(&self) -> bool {
        self.opaque.contains(&Writer::ROOT)
    }

    /// Paths of directories whose owner and mode the layer leaves to lower layers, sorted.
    pub(super) fn implicit_paths(&self) -> Result<BTreeSet<Vec<u8>>, LayerError> {
        let mut paths = BTreeSet::new();
        let mut total_bytes = self.metadata_bytes;
        for path in self.implicit.iter().filter_map(|directory| self.writer.path(*directory)) {
            total_bytes += path.len() as u64;
            if total_bytes > self.limits.max_metadata_bytes() {
                return Err(LayerError::TooMuchMetadata { limit_bytes: self.limits.max_metadata_bytes() });
            }
            paths.insert(path);
        }
        Ok(paths)
    }

    /// Applies an entry. Returns the place of a regular file, whose content the caller then writes.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<Option<(DirectoryId, Vec<u8>)>, LayerError> {
        let parts = components(&entry.path)?;
        let Some((name, parents)) = parts.split_last() else {
            return self.apply_root(entry).map(|()| None);
        };
        let parent = self.parent_of(&entry.path, parents)?;
        self.charge(name.len())?;
        if name.starts_with(WHITEOUT_PREFIX) {
            self.apply_whiteout(&entry.path, parent, name)?;
            return Ok(None);
        }
        let store = |source| LayerError::Store { path: entry.path.clone(), source };
        let existing = self.writer.lookup(parent, name);
        if entry.kind == Kind::Directory {
            self.charge_bytes(entry.attributes.iter().map(|(name, value)| name.len() + value.len()).sum())?;
            self.apply_directory(entry, parent, name, existing).map_err(store)?;
            return Ok(None);
        }
        if entry.kind == Kind::HardLink {
            self.apply_hard_link(entry, parent, name, existing)?;
            return Ok(None);
        }
        self.make_room(parent, name);
        let metadata = Self::metadata_of(entry);
        let (major, minor) = entry.device;
        match entry.kind {
            Kind::File => {
                self.content_bytes = self.content_bytes.saturating_add(entry.size_bytes);
                if self.content_bytes > self.limits.max_layer_bytes {
                    return Err(LayerError::TooLarge { limit_bytes: self.limits.max_layer_bytes });
                }
                return Ok(Some((parent, name.to_vec())));
            }
            Kind::Symlink => {
                self.charge_bytes(entry.link_target.len())?;
                let node =
                    self.writer.create_symlink(parent, name, &metadata, &entry.link_target).map_err(store)?;
                self.symlinks.insert(node, entry.link_target.clone().into_boxed_slice());
            }
            Kind::CharacterDevice => {
                let special = Special::CharacterDevice { major, minor };
                self.writer.create_special(parent, name, &metadata, special).map_err(store)?;
            }
            Kind::BlockDevice => {
                let special = Special::BlockDevice { major, minor };
                self.writer.create_special(parent, name, &metadata, special).map_err(store)?;
            }
            Kind::Fifo => {
                self.writer.create_special(parent, name, &metadata, Special::Fifo).map_err(store)?;
            }
            Kind::HardLink | Kind::Directory => {}
        }
        Ok(None)
    }

    fn apply_root(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != Kind::Directory {
            return Err(LayerError::Root);
        }
        self.set_metadata(Writer::ROOT, Self::metadata_of(entry))
            .map_err(|source| LayerError::Store { path: entry.path.clone(), source })
    }

    fn apply_directory(
        &mut self,
        entry: &Entry,
        parent: DirectoryId,
        name: &[u8],
        existing: Option<Found>,
    ) -> Result<(), WriteError> {
        let metadata = Self::metadata_of(entry);
        if let Some(Found::Directory(directory)) = existing {
            self.implicit.remove(&directory);
            return self.set_metadata(directory, metadata);
        }
        let hides_lower = self.is_whiteout(existing);
        self.make_room(parent, name);
        let directory = self.writer.create_directory(parent, name, metadata)?;
        if hides_lower { self.set_opaque(directory) } else { Ok(()) }
    }

    fn apply_hard_link(
        &mut self,
        entry: &Entry,
        parent: DirectoryId,
        name: &[u8],
        existing: Option<Found>,
    ) -> Result<(), LayerError> {
        let missing = || LayerError::HardLink { path: entry.path.clone(), target: entry.link_target.clone() };
        let parts = components(&entry.link_target).map_err(|_| missing())?;
        let (target_name, target_parents) = parts.split_last().ok_or_else(missing)?;
        let target_parent = self.walk(&entry.path, target_parents, false)?.ok_or_else(missing)?;
        let target = self.writer.lookup(target_parent, target_name);
        let Some(Found::Node(node, _)) = target.filter(|_| !self.is_whiteout(target)) else {
            return Err(missing());
        };
        // A link to itself: already done.
        if existing == target {
            return Ok(());
        }
        self.make_room(parent, name);
        self.writer
            .link(parent, name, node)
            .map_err(|source| LayerError::Store { path: entry.path.clone(), source })
    }

    /// Whiteouts act on lower layers only. An entry of the same name in this layer stays, wherever it stands in the
    /// stream; if it is a directory, the lower one does not shine through.
    fn apply_whiteout(&mut self, path: &[u8], parent: DirectoryId, name: &[u8]) -> Result<(), LayerError> {
        let store = |source| LayerError::Store { path: path.to_vec(), source };
        if name == OPAQUE_MARK {
            return self.set_opaque(parent).map_err(store);
        }
        if name.starts_with(AUFS_PREFIX) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(LayerError::Whiteout { path: path.to_vec() });
        }
        match self.writer.lookup(parent, hidden) {
            Some(Found::Directory(directory)) => self.set_opaque(directory).map_err(store),
            Some(Found::Node(..)) => Ok(()),
            None => {
                let special = Special::CharacterDevice { major: 0, minor: 0 };
                let node = self.writer.create_special(parent, hidden, &Metadata::default(), special);
                self.whiteouts.insert(node.map_err(store)?);
                Ok(())
            }
        }
    }

    fn is_whiteout(&self, found: Option<Found>) -> bool {
        matches!(found, Some(Found::Node(node, FileType::CharacterDevice)) if self.whiteouts.contains(&node))
    }

    /// A later entry replaces an earlier one, with all that is below it.
    fn make_room(&mut self, parent: DirectoryId, name: &[u8]) {
        if self.writer.remove(parent, name) {
            self.last_parent = None;
        }
    }

    fn set_metadata(&mut self, directory: DirectoryId, mut metadata: Metadata) -> Result<(), WriteError> {
        if self.opaque.contains(&directory) {
            metadata.set_attribute(OPAQUE_ATTRIBUTE, b"y");
        }
        self.writer.set_directory_metadata(directory, metadata)
    }

    fn set_opaque(&mut self, directory: DirectoryId) -> Result<(), WriteError> {
        self.opaque.insert(directory);
        let metadata = self.writer.directory_metadata(directory).clone();
        self.set_metadata(directory, metadata)
    }

    fn parent_of(&mut self, path: &[u8], parents: &[&[u8]]) -> Result<DirectoryId, LayerError> {
        let key = parents.join(&b'/');
        if let Some((known, directory)) = &self.last_parent
            && *known == key
        {
            return Ok(*directory);
        }
        let missing = || LayerError::ParentNotDirectory { path: path.to_vec() };
        let directory = self.walk(path, parents, true)?.ok_or_else(missing)?;
        self.last_parent = Some((key, directory));
        Ok(directory)
    }

    /// Follows a path from the root through symbolic links of this layer. Missing directories are created if
    /// `create` says so; else the result is `None`.
    fn walk(
        &mut self,
        path: &[u8],
        parts: &[&[u8]],
        create: bool,
    ) -> Result<Option<DirectoryId>, LayerError> {
        let mut pending: Vec<Vec<u8>> = parts.iter().rev().map(|part| part.to_vec()).collect();
        let mut current = Writer::ROOT;
        let mut symlinks = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                current = self.writer.parent(current);
                continue;
            }
            let found = self.writer.lookup(current, &name);
            match found {
                Some(Found::Directory(directory)) => current = directory,
                Some(Found::Node(node, FileType::Symlink)) => {
                    symlinks += 1;
                    if symlinks > MAX_SYMLINKS {
                        return Err(LayerError::SymlinkLoop { path: path.to_vec() });
                    }
                    let target: &[u8] = self.symlinks.get(&node).map_or(b"", |target| target);
                    if target.starts_with(b"/") {
                        current = Writer::ROOT;
                    }
                    let names =
                        target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
                    pending.extend(names.rev().map(<[u8]>::to_vec));
                }
                Some(_) if !self.is_whiteout(found) => {
                    return Err(LayerError::ParentNotDirectory { path: path.to_vec() });
                }
                _ if !create => return Ok(None),
                _ => current = self.create_implicit(path, current, &name, found.is_some())?,
            }
        }
        Ok(Some(current))
    }

    fn create_implicit(
        &mut self,
        path: &[u8],
        parent: DirectoryId,
        name: &[u8],
        hides_lower: bool,
    ) -> Result<DirectoryId, LayerError> {
        if self.writer.depth(parent) >= MAX_DEPTH {
            return Err(LayerError::TooDeep { path: path.to_vec() });
        }
        self.charge(name.len())?;
        self.make_room(parent, name);
        let store = |source| LayerError::Store { path: path.to_vec(), source };
        let directory = self
            .writer
            .create_directory(parent, name, Metadata::with_permissions(IMPLICIT_PERMISSIONS))
            .map_err(store)?;
        if hides_lower {
            self.set_opaque(directory).map_err(store)?;
        }
        self.implicit.insert(directory);
        Ok(directory)
    }

    fn charge(&mut self, name_bytes: usize) -> Result<(), LayerError> {
        self.entries += 1;
        if self.entries > self.limits.max_layer_entries {
            return Err(LayerError::TooManyEntries { limit: self.limits.max_layer_entries });
        }
        self.metadata_bytes += ENTRY_BYTES;
        self.charge_bytes(name_bytes)
    }

    fn charge_bytes(&mut self, bytes: usize) -> Result<(), LayerError> {
        self.metadata_bytes += bytes as u64;
        if self.metadata_bytes > self.limits.max_metadata_bytes() {
            return Err(LayerError::TooMuchMetadata { limit_bytes: self.limits.max_metadata_bytes() });
        }
        Ok(())
    }

    /// What the image keeps of an entry's metadata.
    pub(super) fn metadata_of(entry: &Entry) -> Metadata {
        let mut metadata = Metadata {
            permissions: entry.permissions,
            uid: entry.uid,
            gid: entry.gid,
            modified_seconds: entry.modified_seconds,
            modified_nanoseconds: entry.modified_nanoseconds,
            attributes: Vec::new(),
        };
        for (name, value) in &entry.attributes {
            // What EROFS has no number for, other file systems would refuse as well; Docker skips it.
            if is_storable(name) && !name.starts_with(OVERLAY_PREFIX) {
                metadata
                    .attributes
                    .push(bulkhead_erofs::Attribute { name: name.clone(), value: value.clone() });
            }
        }
        metadata
    }
}
