//! Containers reach published ports by the host's addresses, as everybody does.
//!
//! The rules for that follow what is published: nobody waits for them, and a container that starts takes longer
//! than they do.

use std::sync::Arc;

use bulkhead_network_control::Failure;

use super::{Networks, gone, system_failure};
use crate::firewall::{self, openings};
use crate::outlet::Outlet;

const WHAT: &str = "the rules of published ports";

/// Where rules are to be changed.
enum Change {
    Host(String),
    OwnNamespace(String),
}

/// Runs until the process ends.
pub(crate) async fn follow(networks: Arc<Networks>) {
    loop {
        networks.ports.changed().await;
        if let Err(failure) = networks.open_published().await {
            tracing::warn!("containers do not reach published ports by the host's addresses: {failure}");
        }
    }
}

impl Networks {
    async fn open_published(&self) -> Result<(), Failure> {
        let change = match &mut *self.uplink() {
            Outlet::Pair(uplink) => uplink.open(self.ports.ranges()).map(Change::Host),
            Outlet::Program(_) => Some(Change::OwnNamespace(openings::change(&self.ports.openings()))),
        };
        match change {
            None => Ok(()),
            Some(Change::OwnNamespace(rules)) => self.load_rules(WHAT, rules).await,
            Some(Change::Host(rules)) => {
                let loading = self.host.spawn(async move {
                    let nft = firewall::load(WHAT, &rules).map_err(|error| system_failure(&error))?;
                    nft.finished().await.map_err(|error| system_failure(&error))
                });
                loading.await.map_err(|_| gone())?
            }
        }
    }
}
