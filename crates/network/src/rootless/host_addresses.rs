//! Keeps containers from the services of the host. For root that is a rule about what leaves the uplink;
//! here connections are made by a program of the user, and the host cannot tell them from others of his.
//! So they are stopped on their way to it: nothing goes to an address that the host has at the moment.

use std::thread;
use std::time::Duration;

use super::RootlessError;
use crate::firewall;
use crate::netlink::Socket;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// After a failure, before all is read anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Listens to changes of the host's addresses.
#[derive(Debug)]
pub(super) struct HostAddresses {
    changes: Socket,
    host: Socket,
    /// The uplink's own, which the program at its end answers for.
    uplink: (Subnet, Subnet6),
    known: (Vec<Subnet>, Vec<Subnet6>),
}

impl HostAddresses {
    /// To be called in the host's network namespace.
    pub(super) fn of_this_namespace(uplink: (Subnet, Subnet6)) -> Result<Self, RootlessError> {
        let changes = Socket::address_changes().map_err(RootlessError::Device)?;
        let host = Socket::route().map_err(RootlessError::Device)?;
        Ok(Self { changes, host, uplink, known: (Vec::new(), Vec::new()) })
    }

    /// Refuses them from now on; to be called in our network namespace.
    pub(super) fn refuse(mut self) -> Result<(), RootlessError> {
        self.update()?;
        let follow = move || {
            loop {
                // What is lost when there is too much of it is read again as a whole.
                self.changes.wait_for_change();
                while let Err(error) = self.update() {
                    tracing::error!("cannot follow the host's addresses: {:#}", anyhow::Error::new(error));
                    thread::sleep(PAUSE);
                }
            }
        };
        thread::Builder::new().name("addresses".to_owned()).spawn(follow).map_err(RootlessError::Spawn)?;
        Ok(())
    }

    fn update(&mut self) -> Result<(), RootlessError> {
        let addresses = self.host.local_subnets().map_err(RootlessError::Device)?;
        let addresses6 = self.host.local_subnets6().map_err(RootlessError::Device)?;
        let addresses = (addresses, addresses6);
        if addresses != self.known {
            let refused: Vec<Subnet> = addresses.0.iter().copied().chain([self.uplink.0]).collect();
            let refused6: Vec<Subnet6> = addresses.1.iter().copied().chain([self.uplink.1]).collect();
            // The network of the uplink's own is none that the host has.
            let rules = firewall::host_rules(&refused, &refused6)
                + &firewall::openings::change_of_hosts(&addresses.0);
            firewall::load("the rules about the host's addresses", &rules)
                .and_then(|nft| nft.finish())
                .map_err(RootlessError::Firewall)?;
            self.known = addresses;
        }
        Ok(())
    }
}
