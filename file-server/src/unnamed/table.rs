//! Which numbers the guest has for files without a name, and for those of them that it has open.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::borrowed::bad_descriptor;

/// virtiofsd counts from one.
const FIRST: u64 = 1 << 63;

/// Whether it is one of these numbers, of a file or a handle, that virtiofsd does not know.
pub(crate) fn is_own(number: u64) -> bool {
    number >= FIRST
}

/// By what the host tells files apart; the number, which answers have, comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    number: u64,
    device: u64,
}

impl Place {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let status = file.metadata()?;
        Ok(Self { number: status.ino(), device: status.dev() })
    }
}

/// What virtiofsd has found by a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// None of these files.
    Another,
    /// This one, which the guest knows once more.
    Own(u64),
    /// One that got a name since, or another with its number on another file system.
    Unclear,
}

#[derive(Debug)]
struct Node {
    /// As O_PATH: it may be executed.
    file: Arc<File>,
    place: Place,
    /// How often the guest was told of it.
    known: u64,
    /// The number of virtiofsd, which remembers it for as long.
    named: Option<u64>,
}

#[derive(Debug)]
struct Handle {
    node: u64,
    file: Arc<File>,
}

#[derive(Debug)]
struct State {
    next: u64,
    nodes: HashMap<u64, Node>,
    handles: HashMap<u64, Handle>,
    places: BTreeMap<Place, u64>,
}

/// All of one guest.
#[derive(Debug)]
pub(super) struct Table {
    state: Mutex<State>,
    maximum: usize,
}

impl Table {
    /// Of so many descriptors.
    pub(super) fn new(maximum: usize) -> Self {
        let (nodes, handles, places) = Default::default();
        Self { state: Mutex::new(State { next: FIRST, nodes, handles, places }), maximum }
    }

    /// A new file, opened as O_PATH and as its first program wants it; returns both their numbers.
    pub(super) fn insert(&self, file: File, open: File) -> io::Result<(u64, u64)> {
        let place = Place::of(&file)?;
        let mut state = self.lock();
        state.make_room(2, self.maximum)?;
        let (node, handle) = (state.number(), state.number());
        state.nodes.insert(node, Node { file: Arc::new(file), place, known: 1, named: None });
        state.handles.insert(handle, Handle { node, file: Arc::new(open) });
        state.places.insert(place, node);
        Ok((node, handle))
    }

    /// The file was opened once more.
    pub(super) fn open(&self, node: u64, file: File) -> io::Result<u64> {
        let mut state = self.lock();
        state.make_room(1, self.maximum)?;
        let handle = state.number();
        state.handles.insert(handle, Handle { node, file: Arc::new(file) });
        Ok(handle)
    }

    pub(super) fn node(&self, node: u64) -> io::Result<Arc<File>> {
        self.lock().nodes.get(&node).map(|node| Arc::clone(&node.file)).ok_or_else(bad_descriptor)
    }

    pub(super) fn handle(&self, node: u64, handle: u64) -> io::Result<Arc<File>> {
        let state = self.lock();
        let found = state.handles.get(&handle).filter(|found| found.node == node);
        found.map(|found| Arc::clone(&found.file)).ok_or_else(bad_descriptor)
    }

    pub(super) fn release(&self, node: u64, handle: u64) -> io::Result<()> {
        let _ = self.handle(node, handle)?;
        self.lock().handles.remove(&handle);
        Ok(())
    }

    /// The guest is told of it once more.
    pub(super) fn tell(&self, node: u64) -> io::Result<()> {
        let mut state = self.lock();
        let node = state.nodes.get_mut(&node).ok_or_else(bad_descriptor)?;
        node.known = node.known.saturating_add(1);
        Ok(())
    }

    /// The guest forgets what it was told so often; returns what virtiofsd may forget then.
    pub(super) fn forget(&self, node: u64, count: u64) -> Option<u64> {
        let mut state = self.lock();
        let known = state.nodes.get_mut(&node)?;
        known.known = known.known.saturating_sub(count);
        if known.known > 0 {
            return None;
        }
        let gone = state.nodes.remove(&node)?;
        state.places.remove(&gone.place);
        gone.named
    }

    /// virtiofsd has found a file: its number on the host, and that of virtiofsd.
    pub(super) fn find(&self, number: u64, named: u64) -> Found {
        let mut state = self.lock();
        let alike = Place { number, device: 0 }..=Place { number, device: u64::MAX };
        let alike: Vec<u64> = state.places.range(alike).map(|(_, node)| *node).collect();
        let mut found = Found::Another;
        for number in alike {
            match state.nodes.get_mut(&number) {
                Some(node) if node.named == Some(named) => {
                    node.known = node.known.saturating_add(1);
                    return Found::Own(number);
                }
                Some(node) if node.named.is_none() => found = Found::Unclear,
                _ => {}
            }
        }
        found
    }

    /// What virtiofsd has found is there: if that is one of these files, which the guest knows once more then, it has
    /// both numbers from now on. Also tells whether this was new.
    pub(super) fn name(&self, place: Place, named: u64) -> Option<(u64, bool)> {
        let mut state = self.lock();
        let number = *state.places.get(&place)?;
        let node = state.nodes.get_mut(&number)?;
        let is_new = node.named.is_none();
        // Through another mount it has another number of virtiofsd.
        if *node.named.get_or_insert(named) != named {
            return None;
        }
        node.known = node.known.saturating_add(1);
        Some((number, is_new))
    }

    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.nodes.clear();
        state.handles.clear();
        state.places.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The guest's kernel forgets what nobody uses, and asks again (kernel/patches, 0018).
    fn make_room(&self, wanted: usize, maximum: usize) -> io::Result<()> {
        if self.nodes.len() + self.handles.len() + wanted > maximum {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        Ok(())
    }

    /// None is ever used again.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
