//! Names in memory: 20 bytes per entry plus the name itself, found through a hash table over all directories.

use std::hash::{BuildHasher, RandomState};

use crate::{FileType, WriteError};

const NAME_MAX: usize = 255;
const NONE: u32 = u32::MAX;
/// Set in an entry's target where that is a directory.
const DIRECTORY_BIT: u32 = 1 << 31;

/// A directory of the image being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirectoryId(pub(crate) u32);

/// Anything but a directory of the image being written; a file may have many names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A directory.
    Directory(DirectoryId),
    /// Something else.
    Node(NodeId, FileType),
}

/// What an entry leads to, without the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Directory(DirectoryId),
    Node(NodeId),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    directory: u32,
    name_start: u32,
    name_length: u8,
    removed: bool,
    target: u32,
    /// The next entry of the same bucket.
    next: u32,
}

#[derive(Debug)]
pub(crate) struct Tree {
    entries: Vec<Entry>,
    names: Vec<u8>,
    buckets: Vec<u32>,
    /// Keyed, so that an image cannot aim at one bucket.
    hash: RandomState,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            names: Vec::new(),
            buckets: vec![NONE; 1 << 10],
            hash: RandomState::new(),
        }
    }

    pub(crate) fn find(&self, directory: DirectoryId, name: &[u8]) -> Option<Target> {
        let mut index = self.buckets[self.bucket(directory.0, name)];
        while index != NONE {
            let entry = &self.entries[index as usize];
            if entry.directory == directory.0 && self.name_of(entry) == name {
                return Some(target_of(entry));
            }
            index = entry.next;
        }
        None
    }

    /// Adds a name that [`Self::find`] does not know. Returns the entry's index.
    pub(crate) fn insert(
        &mut self,
        directory: DirectoryId,
        name: &[u8],
        target: Target,
    ) -> Result<u32, WriteError> {
        check_name(name)?;
        if self.find(directory, name).is_some() {
            return Err(WriteError::Exists { name: name.to_vec() });
        }
        let name_start = u32::try_from(self.names.len()).map_err(|_| WriteError::TooManyEntries)?;
        let name_length = u8::try_from(name.len()).map_err(|_| WriteError::Name { name: name.to_vec() })?;
        let index = u32::try_from(self.entries.len()).map_err(|_| WriteError::TooManyEntries)?;
        if index >= NONE - 1 {
            return Err(WriteError::TooManyEntries);
        }
        if self.entries.len() >= self.buckets.len() {
            self.grow();
        }
        let bucket = self.bucket(directory.0, name);
        let target = match target {
            Target::Directory(id) => id.0 | DIRECTORY_BIT,
            Target::Node(id) => id.0,
        };
        let next = self.buckets[bucket];
        self.names.extend_from_slice(name);
        self.entries.push(Entry {
            directory: directory.0,
            name_start,
            name_length,
            removed: false,
            target,
            next,
        });
        self.buckets[bucket] = index;
        Ok(index)
    }

    /// Forgets a name; what it led to stays unless it was the last one.
    pub(crate) fn remove(&mut self, directory: DirectoryId, name: &[u8]) -> bool {
        let bucket = self.bucket(directory.0, name);
        let mut previous = NONE;
        let mut index = self.buckets[bucket];
        while index != NONE {
            let entry = self.entries[index as usize];
            if entry.directory == directory.0 && self.name_of(&entry) == name {
                match previous {
                    NONE => self.buckets[bucket] = entry.next,
                    _ => self.entries[previous as usize].next = entry.next,
                }
                self.entries[index as usize].removed = true;
                return true;
            }
            previous = index;
            index = entry.next;
        }
        false
    }

    /// All names that were not removed, in the order they were added, with their directory and target.
    /// A removed directory's own entries are among them.
    pub(crate) fn remaining(&self) -> impl Iterator<Item = (u32, DirectoryId, Target)> + '_ {
        self.entries
            .iter()
            .zip(0_u32..)
            .filter(|(entry, _)| !entry.removed)
            .map(|(entry, index)| (index, DirectoryId(entry.directory), target_of(entry)))
    }

    pub(crate) fn name(&self, entry: u32) -> &[u8] {
        self.name_of(&self.entries[entry as usize])
    }

    pub(crate) fn is_removed(&self, entry: u32) -> bool {
        self.entries[entry as usize].removed
    }

    pub(crate) fn target(&self, entry: u32) -> Target {
        target_of(&self.entries[entry as usize])
    }

    fn name_of(&self, entry: &Entry) -> &[u8] {
        let start = entry.name_start as usize;
        &self.names[start..start + usize::from(entry.name_length)]
    }

    fn bucket(&self, directory: u32, name: &[u8]) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits are used")]
        let hash = self.hash.hash_one((directory, name)) as usize;
        hash & (self.buckets.len() - 1)
    }

    fn grow(&mut self) {
        self.buckets = vec![NONE; self.buckets.len() * 2];
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            if !entry.removed {
                let bucket = self.bucket(entry.directory, self.name_of(&entry));
                self.entries[index].next = self.buckets[bucket];
                #[expect(clippy::cast_possible_truncation, reason = "`insert` keeps the count below 2^32")]
                let number = index as u32;
                self.buckets[bucket] = number;
            }
        }
    }
}

fn target_of(entry: &Entry) -> Target {
    match entry.target & DIRECTORY_BIT {
        0 => Target::Node(NodeId(entry.target)),
        _ => Target::Directory(DirectoryId(entry.target & !DIRECTORY_BIT)),
    }
}

/// The next identifier after `count` others.
pub(crate) fn next_identifier(count: usize) -> Result<u32, WriteError> {
    u32::try_from(count).ok().filter(|id| *id < DIRECTORY_BIT - 1).ok_or(WriteError::TooManyEntries)
}

fn check_name(name: &[u8]) -> Result<(), WriteError> {
    let valid = !name.is_empty()
        && name.len() <= NAME_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
    if valid { Ok(()) } else { Err(WriteError::Name { name: name.to_vec() }) }
}
