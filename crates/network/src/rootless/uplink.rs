//! The way out of an ordinary user, as far as networks are concerned.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use bulkhead_paths::Directories;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::Handle;

use super::host_addresses::HostAddresses;
use super::slirp::{self, Slirp};
use super::{Namespace, RootlessError, holder};
use crate::egress::pins::Pins;
use crate::firewall;
use crate::netlink::{NetlinkError, Socket};
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;
use crate::uplink::{ipv6, keep_answers, set_up_own_namespace};
use crate::worker::Worker;

/// Where the uplink's own addresses may be, beside those of root's uplinks. Only our namespace knows
/// them: each user may have the same.
const SUBNETS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 127, 191, 0), Ipv4Addr::new(10, 255, 191, 0), Ipv4Addr::new(172, 31, 191, 0)];
const PREFIX_LENGTH: u8 = 24;

/// The uplink of this process.
#[derive(Debug)]
pub(crate) struct UserUplink {
    host_links: Socket,
    subnet: Subnet,
    slirp: Slirp,
    pin: PathBuf,
    /// What an earlier process left of names.
    pub(crate) pins: Pins,
}

impl UserUplink {
    /// Moves the calling thread into the namespace and makes a way out. `host` runs in the host's.
    pub(crate) fn establish(
        directories: &Directories,
        namespace: &Namespace,
        host: &Handle,
    ) -> Result<Self, RootlessError> {
        let mut host_links = Socket::route().map_err(RootlessError::Device)?;
        let routed = host_links.routed_subnets().map_err(RootlessError::Device)?;
        let mut all = SUBNETS.iter().filter_map(|first| Subnet::new(*first, PREFIX_LENGTH));
        let free = all.clone().find(|subnet| !routed.iter().any(|other| other.overlaps(*subnet)));
        // A host that is reached by all of them loses the last for its containers.
        let subnet = free.or(all.next_back()).ok_or(RootlessError::Exhausted)?;
        let addresses = HostAddresses::of_this_namespace((subnet, slirp::PREFIX6))?;

        move_into_link_name_space(namespace.network_namespace(), Some(LinkNameSpaceType::Network))
            .map_err(|error| RootlessError::Enter(error.into()))?;
        let pins = Pins::read_or_none();
        // Nobody of the host comes in by it.
        let inner = firewall::inner_rules(Ipv4Addr::UNSPECIFIED, (None, None));
        firewall::load("the rules of the container namespace", &inner)
            .and_then(|nft| nft.finish())
            .map_err(RootlessError::Firewall)?;
        set_up_own_namespace().map_err(RootlessError::Switches)?;
        let mut links = Socket::route().map_err(RootlessError::Device)?;
        links.set_up("lo").map_err(RootlessError::Device)?;
        keep_answers(&mut links).map_err(RootlessError::Device)?;
        addresses.refuse()?;
        let ipv6 = match ipv6::is_known() {
            true => Some(Worker::start("uplink").map_err(RootlessError::Worker)?),
            false => None,
        };
        let slirp = Slirp::start(host, subnet, ipv6);
        Ok(Self { host_links, subnet, slirp, pin: directories.network_namespace(), pins })
    }

    /// What the host has routes to, and what is ours.
    pub(crate) fn host_subnets(&mut self) -> Result<Vec<Subnet>, NetlinkError> {
        let mut subnets = self.host_links.routed_subnets()?;
        subnets.push(self.subnet);
        Ok(subnets)
    }

    /// As [`Self::host_subnets`], for IPv6.
    pub(crate) fn host_subnets6(&mut self) -> Result<Vec<Subnet6>, NetlinkError> {
        let mut subnets = self.host_links.routed_subnets6()?;
        subnets.extend(Subnet6::new(ipv6::USERS_END, ipv6::PREFIX_LENGTH));
        Ok(subnets)
    }

    /// Removes what would outlive this process.
    pub(crate) fn take_down(&mut self) -> Result<(), RootlessError> {
        self.slirp.stop();
        holder::end(&self.pin).map_err(|source| RootlessError::Holder { path: self.pin.clone(), source })
    }
}
