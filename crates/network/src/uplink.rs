//! The way out: one veth pair between the host's namespace and ours.
//!
//! Several instances run on one host, each with the same container subnets. So packets leave our
//! namespace with the uplink's address, which is unique on the host, and the host with its own.
//! `/run/bulkhead-uplinks/<inode of the host's namespace>/<number>` is locked by the process that has
//! uplink number so-and-so, for as long as it lives.

mod address;
mod forwarding;
pub(crate) mod ipv6;
mod registry;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use bulkhead_network_control::PortRange;
use bulkhead_paths::Directories;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use thiserror::Error;

use crate::egress::pins::Pins;
use crate::firewall::host::{self, HostRules};
use crate::firewall::{self, ANSWERS_MARK, FirewallError, UPLINK};
use crate::netlink::filter::Family;
use crate::netlink::link::{End, Pair};
use crate::netlink::{NetlinkError, Socket, route};
use crate::pin;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

use address::Addresses;
use forwarding::Forwarding;
pub(crate) use forwarding::{LoopbackRoute, set_up_own_namespace};
use registry::Registry;

/// Ethernet's MTU; packets that are too long for the host's own devices are answered by the host.
const UPLINK_MTU: u32 = 1500;

/// Why there is no way out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum UplinkError {
    /// The list of uplinks cannot be used.
    #[error("cannot use '{}'", path.display())]
    Registry {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Every number or address is taken.
    #[error("no free uplink address on this host")]
    Exhausted,
    /// unshare(2) failed.
    #[error("cannot make the network namespace")]
    Namespace(#[source] io::Error),
    /// The kernel refused a device, address or route.
    #[error("cannot set up the uplink")]
    Device(#[source] NetlinkError),
    /// Packet forwarding could not be turned on.
    #[error("cannot turn on '{path}'")]
    Forwarding {
        path: &'static str,
        #[source]
        source: io::Error,
    },
    /// nftables.
    #[error("cannot set up the uplink's rules")]
    Firewall(#[source] FirewallError),
}

/// The uplink of this process.
#[derive(Debug)]
pub(crate) struct Uplink {
    host_links: Socket,
    host_filters: Socket,
    /// Hears of changes of the host's rules, until somebody listens.
    rule_changes: Option<Socket>,
    forwarding: Forwarding,
    registry: Registry,
    device: String,
    /// Of that device.
    index: u32,
    /// The host's end's address.
    outer: Ipv4Addr,
    /// Our end's address.
    inner: Ipv4Addr,
    /// The same for IPv6, if the host forwards that.
    inner6: Option<Ipv6Addr>,
    /// Numbers of the devices that there were when forwarding was turned on, if we did that.
    devices_before: Option<Vec<u32>>,
    /// Networks to which the host has a route.
    led: Vec<Subnet>,
    /// Addresses that stand for the host's loopback.
    redirects: Vec<Ipv4Addr>,
    /// Ports that containers reach by the host's addresses.
    published: Vec<PortRange>,
    /// What an earlier process left of names.
    pub(crate) pins: Pins,
    /// Nothing of it is there any more.
    is_down: bool,
    entry: PathBuf,
    pin: PathBuf,
    /// Locked.
    _claim: File,
}

impl Uplink {
    /// Moves the calling thread, which must be the only one, into a new namespace with a way out.
    ///
    /// # Errors
    /// Leftovers of a failure are removed by the next start.
    pub(crate) fn establish(directories: &Directories) -> Result<Self, UplinkError> {
        let mut host_links = Socket::route().map_err(UplinkError::Device)?;
        let mut host_filters = Socket::netfilter().map_err(UplinkError::Device)?;
        let rule_changes = Socket::rule_changes().map_err(UplinkError::Device)?;
        let host_namespace: OwnedFd =
            File::open("/proc/thread-self/ns/net").map_err(UplinkError::Namespace)?.into();
        let mut forwarding = Forwarding::of_this_namespace()?;
        let registry = Registry::open(&host_namespace)?;
        let lock = registry.lock()?;
        let earlier = registry.remove_dead(&directories.runtime_root, &mut host_links, &mut host_filters)?;
        let addresses = Addresses::choose(earlier, &registry, &mut host_links)?;
        let (entry, claim) = registry.claim(addresses.number, &directories.runtime_root)?;
        let device = addresses.device();
        let host_devices = host_links.links().map_err(UplinkError::Device)?;
        let devices_before = forwarding.prepare(&registry.forwarding_marker(), &host_devices)?;
        let inner6 = ipv6::is_forwarded().then(|| ipv6::end(addresses.number, 2));
        let rules = HostRules {
            device: &device,
            outer: addresses.outer,
            inner: addresses.inner,
            inner6,
            redirects: &[],
            published: &[],
            devices_before: devices_before.as_deref(),
        };
        let outer = firewall::load("the host's rules", &rules.text()).map_err(UplinkError::Firewall)?;

        let pin = directories.network_namespace();
        enter_own_namespace(&pin)?;
        let pins = Pins::read_or_none();
        let rules = firewall::inner_rules(addresses.outer, (Some(addresses.inner), inner6));
        let inner =
            firewall::load("the rules of the container namespace", &rules).map_err(UplinkError::Firewall)?;
        set_up_own_namespace()?;
        let mut links = Socket::route().map_err(UplinkError::Device)?;
        // Of an earlier process; usually it went with its other end.
        links.delete_link(UPLINK).map_err(UplinkError::Device)?;
        let host_links_index =
            connect(&mut links, &mut host_links, &host_namespace, &addresses).map_err(UplinkError::Device)?;
        if inner6.is_some()
            && let Err(error) = connect6(&mut links, &mut host_links, &addresses)
        {
            tracing::warn!("IPv6 does not lead outside: {error:#}");
        }
        outer.finish().and_then(|()| inner.finish()).map_err(UplinkError::Firewall)?;
        // Not before the rules are there that forward nothing else.
        forwarding.turn_on()?;
        drop(lock);
        tracing::info!(device, address = %addresses.inner, "uplink is ready");
        Ok(Self {
            host_links,
            host_filters,
            rule_changes: Some(rule_changes),
            forwarding,
            registry,
            index: host_links_index,
            device,
            outer: addresses.outer,
            inner: addresses.inner,
            inner6,
            devices_before,
            led: Vec::new(),
            redirects: Vec::new(),
            published: Vec::new(),
            pins,
            is_down: false,
            entry,
            pin,
            _claim: claim,
        })
    }

    /// What the host has routes to, but for those to containers.
    pub(crate) fn host_subnets(&mut self) -> Result<Vec<Subnet>, NetlinkError> {
        self.host_links.routed_subnets()
    }

    /// As [`Self::host_subnets`], for IPv6.
    pub(crate) fn host_subnets6(&mut self) -> Result<Vec<Subnet6>, NetlinkError> {
        self.host_links.routed_subnets6()
    }

    /// The host's end: its name.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// The host's end: its address.
    pub(crate) fn host_address(&self) -> Ipv4Addr {
        self.outer
    }

    /// Gives the host a route to a network.
    pub(crate) fn lead_to(&mut self, subnet: Subnet) -> Result<(), NetlinkError> {
        if self.led.contains(&subnet) {
            return Ok(());
        }
        self.host_links.add_route(subnet, self.inner, self.index)?;
        self.led.push(subnet);
        Ok(())
    }

    /// Takes it away again.
    pub(crate) fn lead_no_more(&mut self, subnet: Subnet) -> Result<(), NetlinkError> {
        if !self.led.contains(&subnet) {
            return Ok(());
        }
        self.host_links.delete_route(subnet, self.inner, self.index)?;
        self.led.retain(|led| *led != subnet);
        Ok(())
    }

    /// Has addresses stand for the host's loopback; the rules that make it so and the switch that lets
    /// them, both for the host's namespace, if that is a change.
    pub(crate) fn redirect(&mut self, mut addresses: Vec<Ipv4Addr>) -> Option<(String, LoopbackRoute)> {
        addresses.sort_unstable();
        addresses.dedup();
        if addresses == self.redirects {
            return None;
        }
        self.redirects = addresses;
        Some((self.rules(), LoopbackRoute { device: self.device.clone(), is_on: !self.redirects.is_empty() }))
    }

    /// The addresses of the last [`Self::redirect`].
    pub(crate) fn redirects(&self) -> &[Ipv4Addr] {
        &self.redirects
    }

    /// The rules of a [`Self::redirect`] are not in force: these addresses are redirected as before.
    pub(crate) fn keep_redirects(&mut self, addresses: Vec<Ipv4Addr>) {
        self.redirects = addresses;
    }

    /// Has containers reach published ports by the host's addresses; the rules of the host's namespace that do so,
    /// if that is a change.
    pub(crate) fn open(&mut self, mut published: Vec<PortRange>) -> Option<String> {
        published.retain(host::is_open);
        if self.is_down || published == self.published {
            return None;
        }
        self.published = published;
        Some(host::change_of_published(&self.device, &self.published))
    }

    fn rules(&self) -> String {
        let rules = HostRules {
            device: &self.device,
            outer: self.outer,
            inner: self.inner,
            inner6: self.inner6,
            redirects: &self.redirects,
            published: &self.published,
            devices_before: self.devices_before.as_deref(),
        };
        rules.text()
    }

    /// For whoever looks after the rules.
    pub(crate) fn take_rule_changes(&mut self) -> Option<Socket> {
        self.rule_changes.take()
    }

    /// The host's rules if somebody removed them, as `nft flush ruleset` does.
    pub(crate) fn missing_rules(&mut self) -> Result<Option<String>, NetlinkError> {
        if self.is_down {
            return Ok(None);
        }
        let table = host::table(&self.device);
        let is_there = self.host_filters.has_table(Family::Ipv4, &table)?
            && (self.inner6.is_none() || self.host_filters.has_table(Family::Ipv6, &table)?);
        Ok((!is_there).then(|| self.rules()))
    }

    /// Removes everything that is in the host's namespace.
    pub(crate) fn take_down(&mut self) -> Result<(), UplinkError> {
        self.is_down = true;
        pin::remove(&self.pin).map_err(UplinkError::Namespace)?;
        let _lock = self.registry.lock()?;
        // Our own.
        if self.registry.entries()?.len() <= 1 {
            // Before the rules go that forward nothing else.
            let others = self.host_links.links().map_err(UplinkError::Device)?;
            self.forwarding.restore(&self.registry.forwarding_marker(), &others)?;
        }
        remove(&self.device, &mut self.host_links, &mut self.host_filters)?;
        let entry = |source| UplinkError::Registry { path: self.entry.clone(), source };
        fs::remove_file(&self.entry).map_err(entry)?;
        self.registry.remove_if_unused()
    }
}

/// The namespace that an earlier process left, else a new one. Stays for the calling thread and those
/// that it starts.
fn enter_own_namespace(pin: &Path) -> Result<(), UplinkError> {
    match pin::find(pin).map_err(UplinkError::Namespace)? {
        Some(namespace) => {
            tracing::info!("taking over the network namespace of an earlier process");
            return move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| UplinkError::Namespace(error.into()));
        }
        // Nothing is mounted there, or not a namespace.
        None => pin::remove(pin).map_err(UplinkError::Namespace)?,
    }
    // SAFETY: only the calling thread's network namespace changes; descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|error| UplinkError::Namespace(error.into()))?;
    if let Err(error) = pin::make(pin) {
        tracing::warn!("cannot keep the network namespace for a crash of this process: {error}");
    }
    Ok(())
}

fn connect(
    links: &mut Socket,
    host_links: &mut Socket,
    host_namespace: &OwnedFd,
    addresses: &Addresses,
) -> Result<u32, NetlinkError> {
    let device = addresses.device();
    links.set_up("lo")?;
    keep_answers(links)?;
    links.add_pair(&Pair {
        near: End { name: UPLINK, mac: None, silent: false },
        far: End { name: &device, mac: None, silent: false },
        far_namespace: host_namespace.as_fd(),
        mtu: UPLINK_MTU,
        master: None,
        alias: "",
    })?;
    let inner = links.link(UPLINK)?;
    links.add_address(inner.index, addresses.inner.into(), addresses.subnet.prefix_length())?;
    let outer = host_links.link(&device)?;
    host_links.set_up(&device)?;
    host_links.add_address(outer.index, addresses.outer.into(), addresses.subnet.prefix_length())?;
    links.spread_link(inner.index)?;
    host_links.spread_link(outer.index)?;
    links.add_default_route(addresses.outer.into(), inner.index)?;
    Ok(outer.index)
}

/// Leads what answers the clients of published ports to the proxy, in our namespace.
pub(crate) fn keep_answers(links: &mut Socket) -> Result<(), NetlinkError> {
    links.keep_marked(ANSWERS_MARK, route::Family::Ipv4)?;
    if ipv6::is_known() {
        links.keep_marked(ANSWERS_MARK, route::Family::Ipv6)?;
    }
    Ok(())
}

/// IPv6 addresses of both ends, and the way out by them.
fn connect6(links: &mut Socket, host_links: &mut Socket, addresses: &Addresses) -> anyhow::Result<()> {
    ipv6::turn_on_uplink(UPLINK)?;
    let [outer, inner] = [1, 2].map(|which| ipv6::end(addresses.number, which));
    let host_end = host_links.link(&addresses.device())?.index;
    host_links.add_address(host_end, outer.into(), ipv6::PREFIX_LENGTH)?;
    let our_end = links.link(UPLINK)?.index;
    links.add_address(our_end, inner.into(), ipv6::PREFIX_LENGTH)?;
    Ok(links.add_default_route(outer.into(), our_end)?)
}

fn remove(device: &str, links: &mut Socket, filters: &mut Socket) -> Result<(), UplinkError> {
    links.delete_link(device).map_err(UplinkError::Device)?;
    for family in [Family::Ipv4, Family::Ipv6] {
        filters.delete_table(family, &host::table(device)).map_err(UplinkError::Device)?;
    }
    Ok(())
}
