//! Leases: what a collection must not take although no name leads to it yet.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_oci::Digest;

/// Keeps content from being collected until it is dropped.
#[derive(Debug)]
#[must_use = "the content is protected only as long as the lease lives"]
pub struct Lease {
    table: Arc<LeaseTable>,
    number: u64,
}

#[derive(Debug, Default)]
pub(crate) struct LeaseTable(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next_number: u64,
    active: HashMap<u64, HashSet<Digest>>,
    /// Collections that have begun and not ended.
    collections: usize,
    /// Digests of leases that were dropped while a collection was under way. Its roots may have been read before
    /// what the lease protected got a name.
    retired: HashSet<Digest>,
}

impl State {
    fn holds(&self, digest: &Digest) -> bool {
        self.retired.contains(digest) || self.active.values().any(|digests| digests.contains(digest))
    }
}

impl LeaseTable {
    pub(crate) fn lease(self: &Arc<Self>, digests: impl IntoIterator<Item = Digest>) -> Lease {
        let mut state = self.state();
        let number = state.next_number;
        state.next_number += 1;
        state.active.insert(number, digests.into_iter().collect());
        Lease { table: Arc::clone(self), number }
    }

    pub(crate) fn begin_collection(self: &Arc<Self>) -> CollectionMark {
        self.state().collections += 1;
        CollectionMark(Arc::clone(self))
    }

    /// Everything that is leased now.
    pub(crate) fn leased(&self) -> HashSet<Digest> {
        let state = self.state();
        state.active.values().flatten().chain(&state.retired).copied().collect()
    }

    /// Runs `remove` unless the digest is leased; nobody can take a lease meanwhile.
    pub(crate) fn unless_leased<T>(&self, digest: &Digest, remove: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        (!state.holds(digest)).then(remove)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is changed in single steps, so it is sound even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Protects more content.
    pub(crate) fn add(&self, digests: impl IntoIterator<Item = Digest>) {
        if let Some(known) = self.table.state().active.get_mut(&self.number) {
            known.extend(digests);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.table.state();
        let digests = state.active.remove(&self.number).unwrap_or_default();
        if state.collections > 0 {
            state.retired.extend(digests);
        }
    }
}

/// A collection under way.
#[derive(Debug)]
pub(crate) struct CollectionMark(Arc<LeaseTable>);

impl Drop for CollectionMark {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.collections -= 1;
        if state.collections == 0 {
            state.retired.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_outlives_itself_during_a_collection() {
        let table = Arc::new(LeaseTable::default());
        let digest = Digest::of(b"x");
        let is_free = || table.unless_leased(&digest, || ()).is_some();
        let lease = table.lease([digest]);
        assert!(!is_free());
        let collection = table.begin_collection();
        drop(lease);
        assert!(!is_free());
        drop(collection);
        assert!(is_free());
        let lease = table.lease([]);
        lease.add([digest]);
        assert!(!is_free());
        drop(lease);
        assert!(is_free());
    }
}
