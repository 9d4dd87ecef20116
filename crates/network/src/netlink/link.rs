//! Network devices.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::message::{Message, attributes, number_at};
use super::{NetlinkError, Socket, flags};

/// `VETH_INFO_PEER` of linux/veth.h.
const VETH_INFO_PEER: u16 = 1;
/// `IFLA_BR_MCAST_SNOOPING` of linux/if_link.h.
const BRIDGE_MULTICAST_SNOOPING: u16 = 23;
/// Length of `struct ifinfomsg`.
const LINK_HEADER_BYTES: usize = 16;
const UP: u32 = libc::IFF_UP.cast_unsigned();

/// A device as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Driver: "veth", "bridge"; empty for hardware.
    pub(crate) kind: String,
    /// Index of its bridge.
    pub(crate) master: Option<u32>,
    /// Bytes.
    pub(crate) mtu: u32,
    /// Free text.
    pub(crate) alias: String,
}

/// One end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: Option<[u8; 6]>,
    /// IFF_NOARP: the kernel at this end never speaks ARP.
    pub(crate) silent: bool,
}

/// A veth pair; the first end appears in the socket's namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) near: End<'a>,
    pub(crate) far: End<'a>,
    pub(crate) far_namespace: BorrowedFd<'a>,
    pub(crate) mtu: u32,
    /// Bridge of the near end.
    pub(crate) master: Option<u32>,
    pub(crate) alias: &'a str,
}

impl Socket {
    /// Makes a bridge, up, that spreads multicast like broadcast.
    pub(crate) fn add_bridge(&mut self, name: &str, mac: [u8; 6], mtu: u32) -> Result<(), NetlinkError> {
        let request = create(UP)
            .text(libc::IFLA_IFNAME, name)
            .attribute(libc::IFLA_ADDRESS, &mac)
            .number(libc::IFLA_MTU, mtu)
            .nested(libc::IFLA_LINKINFO, |info| {
                info.text(libc::IFLA_INFO_KIND, "bridge")
                    .nested(libc::IFLA_INFO_DATA, |data| data.attribute(BRIDGE_MULTICAST_SNOOPING, &[0]))
            });
        self.request(&format!("create bridge '{name}'"), vec![request])
    }

    /// Makes a veth pair, its near end up. The far end needs [`Self::set_up`] in its namespace: the
    /// kernel configures it before it has a peer, and then refuses to open it.
    pub(crate) fn add_pair(&mut self, pair: &Pair<'_>) -> Result<(), NetlinkError> {
        let mut request = create(UP | silence(&pair.near)).text(libc::IFLA_IFNAME, pair.near.name);
        if let Some(master) = pair.master {
            request = request.number(libc::IFLA_MASTER, master);
        }
        if !pair.alias.is_empty() {
            request = request.attribute(libc::IFLA_IFALIAS, pair.alias.as_bytes());
        }
        request = address(request, &pair.near).number(libc::IFLA_MTU, pair.mtu).nested(
            libc::IFLA_LINKINFO,
            |info| {
                info.text(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA, |data| {
                    data.nested(VETH_INFO_PEER, |peer| far_end(peer, pair))
                })
            },
        );
        self.request(&format!("create veth pair '{}'", pair.near.name), vec![request])
    }

    /// Removes a device; fine if there is none.
    pub(crate) fn delete_link(&mut self, name: &str) -> Result<(), NetlinkError> {
        let request =
            Message::new(libc::RTM_DELLINK, flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK), &header(0))
                .text(libc::IFLA_IFNAME, name);
        match self.request(&format!("delete network device '{name}'"), vec![request]) {
            Err(error) if error.is_missing() => Ok(()),
            outcome => outcome,
        }
    }

    /// Changes a device's MTU.
    pub(crate) fn set_mtu(&mut self, name: &str, mtu: u32) -> Result<(), NetlinkError> {
        let request =
            Message::new(libc::RTM_NEWLINK, flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK), &header(0))
                .text(libc::IFLA_IFNAME, name)
                .number(libc::IFLA_MTU, mtu);
        self.request(&format!("set the MTU of network device '{name}'"), vec![request])
    }

    /// Gives a device its free text; one that is about to be created takes none.
    pub(crate) fn set_alias(&mut self, name: &str, alias: &str) -> Result<(), NetlinkError> {
        let request =
            Message::new(libc::RTM_NEWLINK, flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK), &header(0))
                .text(libc::IFLA_IFNAME, name)
                .attribute(libc::IFLA_IFALIAS, alias.as_bytes());
        self.request(&format!("describe network device '{name}'"), vec![request])
    }

    /// Brings a device up.
    pub(crate) fn set_up(&mut self, name: &str) -> Result<(), NetlinkError> {
        let request =
            Message::new(libc::RTM_NEWLINK, flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK), &header(UP))
                .text(libc::IFLA_IFNAME, name);
        self.request(&format!("bring network device '{name}' up"), vec![request])
    }

    /// The device of that name.
    pub(crate) fn link(&mut self, name: &str) -> Result<Link, NetlinkError> {
        let operation = format!("find network device '{name}'");
        let request =
            Message::new(libc::RTM_GETLINK, flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK), &header(0))
                .text(libc::IFLA_IFNAME, name);
        let mut found = None;
        self.query(&operation, request, |_, body| found = parse(body))?;
        found.ok_or(NetlinkError::Malformed { operation })
    }

    /// Has the kernel act on a link that has come up. By itself it does so once a second when there are
    /// many, and until then a bridge neither forwards for a port nor sends itself. Whoever asks for a
    /// device makes it act at once (`rtnl_getlink` of Linux 6.4 and newer).
    pub(crate) fn spread_link(&mut self, index: u32) -> Result<(), NetlinkError> {
        let mut wanted = header(0);
        wanted[4..8].copy_from_slice(&index.to_ne_bytes());
        let request = Message::new(libc::RTM_GETLINK, flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK), &wanted);
        self.query(&format!("ask for network device {index}"), request, |_, _| {})
    }

    /// All devices.
    pub(crate) fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let request =
            Message::new(libc::RTM_GETLINK, flags(libc::NLM_F_REQUEST | libc::NLM_F_DUMP), &header(0));
        let mut found = Vec::new();
        self.query("list network devices", request, |_, body| found.extend(parse(body)))?;
        Ok(found)
    }
}

fn create(up: u32) -> Message {
    let create = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    Message::new(libc::RTM_NEWLINK, flags(create), &header(up))
}

fn far_end(peer: Message, pair: &Pair<'_>) -> Message {
    let peer = peer
        .raw(&header(silence(&pair.far)))
        .text(libc::IFLA_IFNAME, pair.far.name)
        .number(libc::IFLA_MTU, pair.mtu)
        .number(libc::IFLA_NET_NS_FD, pair.far_namespace.as_raw_fd().cast_unsigned());
    address(peer, &pair.far)
}

fn silence(end: &End<'_>) -> u32 {
    if end.silent { libc::IFF_NOARP.cast_unsigned() } else { 0 }
}

fn address(message: Message, end: &End<'_>) -> Message {
    match end.mac {
        Some(mac) => message.attribute(libc::IFLA_ADDRESS, &mac),
        None => message,
    }
}

/// `struct ifinfomsg` that sets the given flags and selects by name.
fn header(set: u32) -> [u8; LINK_HEADER_BYTES] {
    let mut header = [0; LINK_HEADER_BYTES];
    header[8..12].copy_from_slice(&set.to_ne_bytes());
    header[12..16].copy_from_slice(&set.to_ne_bytes());
    header
}

fn parse(body: &[u8]) -> Option<Link> {
    let mut link = Link { index: number_at(body, 4)?, ..Link::default() };
    for (kind, value) in attributes(body.get(LINK_HEADER_BYTES..)?) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_MTU => link.mtu = number_at(value, 0).unwrap_or(0),
            libc::IFLA_MASTER => link.master = number_at(value, 0),
            libc::IFLA_IFALIAS => link.alias = text(value),
            libc::IFLA_LINKINFO => {
                let kind = attributes(value).find(|(kind, _)| *kind == libc::IFLA_INFO_KIND);
                link.kind = kind.map(|(_, value)| text(value)).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(link)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}
