//! What the clients of one network share, so that one of them cannot take it all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bounds of all clients together and of each.
#[derive(Debug)]
pub(super) struct Shares {
    all: usize,
    each: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Shares {
    pub(super) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if the client has its part, or nothing is left.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Share> {
        let mut held = self.held();
        let own = held.get(&client).copied().unwrap_or_default();
        if own >= self.each || held.values().sum::<usize>() >= self.all {
            return None;
        }
        held.insert(client, own + 1);
        Some(Share { shares: Arc::clone(self), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        if let Some(own) = held.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_does_not_take_what_others_need() {
        let shares = Shares::new(5, 3);
        let [greedy, other, third] = [1, 2, 3].map(|last| IpAddr::from([192, 168, 64, last]));
        let mut taken: Vec<Share> = std::iter::from_fn(|| shares.take(greedy)).take(10).collect();
        assert_eq!(taken.len(), 3);
        let others = [shares.take(other), shares.take(other)].map(Option::unwrap);
        assert!(shares.take(third).is_none());
        taken.pop();
        assert!(shares.take(third).is_some());
        drop((taken, others));
        assert!(shares.held().is_empty());
    }
}
