//! When the processes of a run stand still: while it is paused, and while a work reads its files as they are in one
//! moment.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of one run.
#[derive(Debug, Default)]
pub(super) struct Standstill(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    paused: bool,
    /// Numbers of the works for which they stand still.
    works: BTreeSet<u32>,
    /// How often they have been brought to a stand.
    begun: u64,
}

/// They moved when this was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moving(u64);

impl Standstill {
    pub(super) fn set_paused(&self, paused: bool) {
        let mut state = self.lock();
        state.begun += u64::from(paused);
        state.paused = paused;
    }

    /// For a work that is about to be started.
    pub(super) fn begin(&self, work: u32) {
        let mut state = self.lock();
        state.begun += 1;
        state.works.insert(work);
    }

    /// A process has ended, which may be such a work.
    pub(super) fn process_ended(&self, number: u32) {
        self.lock().works.remove(&number);
    }

    /// The works for which they stand still.
    pub(super) fn works(&self) -> Vec<u32> {
        self.lock().works.iter().copied().collect()
    }

    /// `None` while they stand still.
    pub(super) fn moving(&self) -> Option<Moving> {
        let state = self.lock();
        (!state.paused && state.works.is_empty()).then_some(Moving(state.begun))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_still_in_between_is_known() {
        let standstill = Standstill::default();
        let before = standstill.moving();
        assert!(before.is_some());
        standstill.begin(3);
        standstill.set_paused(true);
        standstill.process_ended(3);
        assert_eq!((standstill.moving(), standstill.works()), (None, vec![]));
        standstill.set_paused(false);
        let after = standstill.moving();
        assert!(after.is_some() && after != before);
        standstill.process_ended(4);
        assert_eq!(standstill.moving(), after);
    }
}
