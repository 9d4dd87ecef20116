//! Which files are watched, and what is told of a change.

use std::collections::HashMap;

use super::Exists;
use super::changes::{Change, Place};
use super::identity::Identity;
use super::mask;

/// As the guest knows a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    inode: u64,
    /// Of what its programs want to know; empty if it only keeps what is in there.
    mask: u32,
    is_kept: bool,
}

impl Watch {
    /// The number of a kept directory.
    pub(super) fn kept(self) -> Option<u64> {
        self.is_kept.then_some(self.inode)
    }
}

#[derive(Debug, Default)]
pub(super) struct Table(HashMap<Identity, Watch>);

/// `struct fuse_host_event` of the guest's kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) directory: u64,
    pub(crate) node: u64,
    pub(crate) mask: u32,
    pub(crate) cookie: u32,
    pub(crate) name: Vec<u8>,
}

impl Table {
    pub(super) fn is_watched(&self, identity: &Identity) -> bool {
        self.0.get(identity).is_some_and(|watch| watch.mask != 0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns what was there.
    pub(super) fn insert(&mut self, identity: Identity, inode: u64, mask: u32) -> Option<Watch> {
        let is_kept = self.0.get(&identity).is_some_and(|watch| watch.is_kept && watch.inode == inode);
        self.0.insert(identity, Watch { inode, mask, is_kept })
    }

    /// Keeps a directory; returns what was there.
    pub(super) fn keep(&mut self, identity: Identity, inode: u64) -> Option<Watch> {
        let mask = self.0.get(&identity).filter(|watch| watch.inode == inode).map_or(0, |watch| watch.mask);
        self.0.insert(identity, Watch { inode, mask, is_kept: true })
    }

    /// A directory that was deleted is kept no longer; returns its number.
    pub(super) fn let_go(&mut self, change: &Change<'_>) -> Option<u64> {
        let Change::Changed { file: Some(identity), mask, .. } = change else { return None };
        let is_kept = self.0.get(identity).is_some_and(|watch| watch.is_kept);
        if !is_kept || mask & mask::DELETE_SELF == 0 {
            return None;
        }
        self.0.remove(identity).map(|watch| watch.inode)
    }

    /// Kept directories that a change is about.
    pub(super) fn kept(&self, change: &Change<'_>) -> Vec<u64> {
        let (first, second) = match change {
            Change::Lost => (None, None),
            Change::Renamed { from, to, .. } => {
                (from.as_ref().map(|place| &place.directory), to.as_ref().map(|place| &place.directory))
            }
            Change::Changed { place, file, .. } => {
                (place.as_ref().map(|place| &place.directory), file.as_ref())
            }
        };
        let kept = |identity: &Identity| self.0.get(identity).filter(|watch| watch.is_kept);
        [first, second].into_iter().flatten().filter_map(kept).map(|watch| watch.inode).collect()
    }

    pub(super) fn restore(&mut self, identity: &Identity, watch: Option<Watch>) {
        match watch {
            Some(watch) => self.0.insert(identity.clone(), watch),
            None => self.0.remove(identity),
        };
    }

    /// Watches it no longer; whether it goes on being kept.
    pub(super) fn remove(&mut self, identity: &Identity) -> bool {
        match self.0.get_mut(identity) {
            Some(watch) if watch.is_kept => {
                watch.mask = 0;
                true
            }
            _ => {
                self.0.remove(identity);
                false
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Nothing for what nobody in the guest watches.
    pub(super) fn records(&self, change: &Change<'_>, cookie: u32) -> Vec<Record> {
        match change {
            Change::Lost => Vec::new(),
            Change::Renamed { from, to, is_directory } => {
                let directory = if *is_directory { mask::IS_DIRECTORY } else { 0 };
                let ends = [(from, mask::MOVED_FROM), (to, mask::MOVED_TO)];
                let record = |(place, mask): (&Option<Place<'_>>, u32)| {
                    let place = place.as_ref()?;
                    let watch = self.0.get(&place.directory).filter(|watch| watch.mask & mask != 0)?;
                    let (directory, mask) = (watch.inode, mask | directory);
                    Some(Record { directory, node: 0, mask, cookie, name: place.name.to_vec() })
                };
                ends.into_iter().filter_map(record).collect()
            }
            Change::Changed { place, file, mask } => self.record(place.as_ref(), file.as_ref(), *mask),
        }
    }

    fn record(&self, place: Option<&Place<'_>>, file: Option<&Identity>, told: u32) -> Vec<Record> {
        let parent = place.and_then(|place| self.0.get(&place.directory));
        let of_parent = parent.map_or(0, |watch| {
            let content = if watch.mask & mask::ON_CHILD == 0 { 0 } else { mask::CONTENT };
            told & watch.mask & (content | mask::CREATE | mask::DELETE)
        });
        let node = file.and_then(|file| self.0.get(file));
        let of_node = node.map_or(0, |watch| {
            // It may have lost its last name.
            let gone = if watch.mask & mask::DELETE_SELF == 0 { 0 } else { mask::ATTRIBUTES };
            told & (watch.mask | gone) & (mask::CONTENT | mask::OWN)
        });
        if of_parent | of_node == 0 {
            return Vec::new();
        }
        let parent = parent.filter(|_| of_parent != 0);
        let name = place.filter(|_| parent.is_some()).map_or(Vec::new(), |place| place.name.to_vec());
        vec![Record {
            directory: parent.map_or(0, |watch| watch.inode),
            node: node.filter(|_| of_node != 0).map_or(0, |watch| watch.inode),
            mask: of_parent | of_node | told & mask::IS_DIRECTORY,
            cookie: 0,
            name,
        }]
    }
}

/// fanotify tells at once that a name came and went, and what happened to its file in between after that. If
/// the name is there now it has come last, else it goes last.
pub(super) fn in_order(records: Vec<Record>, exists: &Exists) -> Vec<Record> {
    let both = mask::CREATE | mask::DELETE;
    let mut ordered = Vec::with_capacity(records.len());
    let mut gone: Vec<Record> = Vec::new();
    for record in records {
        if record.mask & both != both {
            ordered.push(record);
            continue;
        }
        let deleted = Record { mask: mask::DELETE | record.mask & mask::IS_DIRECTORY, ..record.clone() };
        let rest = Record { mask: record.mask & !mask::DELETE, ..record };
        if exists(rest.directory, &rest.name) {
            ordered.extend([deleted, rest]);
        } else {
            ordered.push(rest);
            gone.push(deleted);
        }
    }
    for deleted in gone {
        let same = |other: &Record| other.directory == deleted.directory && other.name == deleted.name;
        let behind = ordered.iter().rposition(same).map_or(ordered.len(), |last| last + 1);
        ordered.insert(behind, deleted);
    }
    ordered
}

impl Record {
    /// As the guest reads it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + self.name.len().next_multiple_of(8));
        bytes.extend(self.directory.to_ne_bytes());
        bytes.extend(self.node.to_ne_bytes());
        bytes.extend(self.mask.to_ne_bytes());
        bytes.extend(self.cookie.to_ne_bytes());
        bytes.extend(u32::try_from(self.name.len()).unwrap_or(0).to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &[u8]) -> Identity {
        Identity::new(&[0; 8], 1, name)
    }

    fn place(name: &[u8]) -> Option<Place<'_>> {
        Some(Place { directory: identity(b"directory"), name })
    }

    fn changed<'a>(name: &'a [u8], file: &[u8], mask: u32) -> Change<'a> {
        Change::Changed { place: place(name), file: Some(identity(file)), mask }
    }

    #[test]
    fn only_what_is_watched_is_told() {
        let mut table = Table::default();
        table.insert(identity(b"directory"), 5, mask::MODIFY | mask::MOVED_TO | mask::ON_CHILD);
        table.insert(identity(b"file"), 6, mask::DELETE_SELF);
        let record = |directory, node, mask, cookie, name: &[u8]| Record {
            directory,
            node,
            mask,
            cookie,
            name: name.to_vec(),
        };
        let told = table.records(&changed(b"a", b"other", mask::MODIFY | mask::ATTRIBUTES), 0);
        assert_eq!(told, [record(5, 0, mask::MODIFY, 0, b"a")]);
        let told = table.records(&changed(b"a", b"file", mask::ATTRIBUTES), 0);
        assert_eq!(told, [record(0, 6, mask::ATTRIBUTES, 0, b"")]);
        assert_eq!(table.records(&changed(b"a", b"other", mask::CREATE), 0), []);
        let renamed = Change::Renamed { from: place(b"old"), to: place(b"new"), is_directory: true };
        let told = table.records(&renamed, 9);
        assert_eq!(told, [record(5, 0, mask::MOVED_TO | mask::IS_DIRECTORY, 9, b"new")]);
    }

    #[test]
    fn a_name_that_is_there_was_created_last() {
        let mask = mask::CREATE | mask::DELETE | mask::MODIFY;
        let record = Record { directory: 5, node: 0, mask, cookie: 0, name: b"a".to_vec() };
        let other = Record { name: b"b".to_vec(), mask: mask::ATTRIBUTES, ..record.clone() };
        let after = Record { mask: mask::CLOSE_WRITE, ..record.clone() };
        let masks = |there| {
            let records = vec![record.clone(), after.clone(), other.clone()];
            let ordered = in_order(records, &move |directory, name: &[u8]| {
                assert_eq!((directory, name), (5, b"a".as_slice()));
                there
            });
            ordered.iter().map(|record| record.mask).collect::<Vec<u32>>()
        };
        let created = mask::CREATE | mask::MODIFY;
        assert_eq!(masks(true), [mask::DELETE, created, mask::CLOSE_WRITE, mask::ATTRIBUTES]);
        assert_eq!(masks(false), [created, mask::CLOSE_WRITE, mask::DELETE, mask::ATTRIBUTES]);
    }

    #[test]
    fn records_are_as_the_kernel_reads_them() {
        let record = Record { directory: 1, node: 2, mask: 3, cookie: 4, name: b"nine char".to_vec() };
        let bytes = record.bytes();
        assert_eq!(bytes.len(), 48);
        assert_eq!(bytes[24..28], 9_u32.to_ne_bytes());
        assert_eq!(bytes[32..41], *b"nine char");
    }
}
