//! nftables: set elements, which change with every lease, and the removal of tables. Everything else
//! is written once by the nft program.

use std::time::Duration;

use super::message::{Message, attributes};
use super::{NetlinkError, Socket, flags};
use crate::firewall::PORTS;

/// Constants of linux/netfilter/nfnetlink.h and nf_tables.h.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_GETSET: u16 = 10;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_DATA_VALUE: u16 = 1;
/// `struct nfgenmsg`
const HEADER_BYTES: usize = 4;

/// Protocol families of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Family {
    Ipv4 = 2,
    Ipv6 = 10,
    Bridge = 7,
}

/// A named set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    pub(crate) family: Family,
    pub(crate) table: &'static str,
    pub(crate) name: &'static str,
}

impl Socket {
    /// Puts a key into a set.
    pub(crate) fn add_element(&mut self, set: Set, key: &[u8]) -> Result<(), NetlinkError> {
        let operation = format!("add to nftables set '{}'", set.name);
        let create = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE;
        self.request(&operation, batch(element(NFT_MSG_NEWSETELEM, create, set, key)))
    }

    /// Takes a key out of a set; fine if it is not there.
    pub(crate) fn remove_element(&mut self, set: Set, key: &[u8]) -> Result<(), NetlinkError> {
        let operation = format!("remove from nftables set '{}'", set.name);
        let delete = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        ignore_missing(self.request(&operation, batch(element(NFT_MSG_DELSETELEM, delete, set, key))))
    }

    /// Puts a key into a set for some time, counted anew if it is there already.
    pub(crate) fn pin(
        &mut self,
        family: Family,
        set: &str,
        key: &[u8],
        timeout: Duration,
    ) -> Result<(), NetlinkError> {
        let operation = format!("pin in nftables set '{set}'");
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).to_be_bytes();
        let list = |kind: u16, request_flags: i32, timeout_ms: Option<&[u8]>| {
            Message::new(NFNL_SUBSYS_NFTABLES << 8 | kind, flags(request_flags), &header(family as u8, 0))
                .text(NFTA_SET_ELEM_LIST_TABLE, PORTS.table)
                .text(NFTA_SET_ELEM_LIST_SET, set)
                .nested(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
                    list.nested(NFTA_LIST_ELEM, |element| {
                        let element =
                            element.nested(NFTA_SET_ELEM_KEY, |data| data.attribute(NFTA_DATA_VALUE, key));
                        match timeout_ms {
                            Some(timeout_ms) => element.attribute(NFTA_SET_ELEM_TIMEOUT, timeout_ms),
                            None => element,
                        }
                    })
                })
        };
        let acknowledged = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let add = |further_flags: i32| {
            let flags = acknowledged | libc::NLM_F_CREATE | further_flags;
            list(NFT_MSG_NEWSETELEM, flags, Some(&timeout_ms))
        };
        // A guest that asks for ever new names must not make transactions fail: the kernel waits for all its
        // processors after each that does.
        match self.request(&operation, batch(add(libc::NLM_F_EXCL))) {
            Err(error) if error.is_existing() => {
                let renewal = vec![list(NFT_MSG_DELSETELEM, acknowledged, None), add(0)];
                match self.request(&operation, transaction(renewal)) {
                    // Its time ran out in between.
                    Err(error) if error.is_missing() => self.request(&operation, batch(add(0))),
                    outcome => outcome,
                }
            }
            outcome => outcome,
        }
    }

    /// Names of the sets of our table of a family; none if there is no such table.
    pub(crate) fn sets(&mut self, family: Family) -> Result<Vec<String>, NetlinkError> {
        let message = dump(NFT_MSG_GETSET, family).text(NFTA_SET_TABLE, PORTS.table);
        let mut names = Vec::new();
        let found = self.query("list nftables sets", message, |_, body| {
            let name = attributes(body.get(HEADER_BYTES..).unwrap_or_default())
                .find(|(kind, _)| *kind == NFTA_SET_NAME);
            names.extend(name.map(|(_, name)| {
                String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned()
            }));
        });
        ignore_missing(found).map(|()| names)
    }

    /// Keys of a set whose elements expire, each with the milliseconds that are left.
    pub(crate) fn elements(
        &mut self,
        family: Family,
        set: &str,
    ) -> Result<Vec<(Vec<u8>, u64)>, NetlinkError> {
        let message = dump(NFT_MSG_GETSETELEM, family)
            .text(NFTA_SET_ELEM_LIST_TABLE, PORTS.table)
            .text(NFTA_SET_ELEM_LIST_SET, set);
        let mut found = Vec::new();
        self.query(&format!("list nftables set '{set}'"), message, |_, body| {
            let lists = attributes(body.get(HEADER_BYTES..).unwrap_or_default());
            for (_, list) in lists.filter(|(kind, _)| *kind == NFTA_SET_ELEM_LIST_ELEMENTS) {
                found.extend(attributes(list).filter_map(|(_, element)| expiring(element)));
            }
        })?;
        Ok(found)
    }

    /// Whether there is a table.
    pub(crate) fn has_table(&mut self, family: Family, table: &str) -> Result<bool, NetlinkError> {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
        let get = flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
        let message = Message::new(kind, get, &header(family as u8, 0)).text(NFTA_TABLE_NAME, table);
        match self.query(&format!("find nftables table '{table}'"), message, |_, _| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a table; fine if there is none.
    pub(crate) fn delete_table(&mut self, family: Family, table: &str) -> Result<(), NetlinkError> {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE;
        let delete = flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
        let message = Message::new(kind, delete, &header(family as u8, 0)).text(NFTA_TABLE_NAME, table);
        ignore_missing(self.request(&format!("delete nftables table '{table}'"), batch(message)))
    }
}

fn dump(kind: u16, family: Family) -> Message {
    let request = flags(libc::NLM_F_REQUEST | libc::NLM_F_DUMP);
    Message::new(NFNL_SUBSYS_NFTABLES << 8 | kind, request, &header(family as u8, 0))
}

/// Key and time left of an element.
fn expiring(element: &[u8]) -> Option<(Vec<u8>, u64)> {
    let find = |wanted: u16| attributes(element).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let key = attributes(find(NFTA_SET_ELEM_KEY)?).find(|(kind, _)| *kind == NFTA_DATA_VALUE)?.1;
    let left_ms = find(NFTA_SET_ELEM_EXPIRATION)?.try_into().ok().map(u64::from_be_bytes)?;
    Some((key.to_vec(), left_ms))
}

pub(super) fn ignore_missing(outcome: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match outcome {
        Err(error) if error.is_missing() => Ok(()),
        outcome => outcome,
    }
}

fn element(kind: u16, request_flags: i32, set: Set, key: &[u8]) -> Message {
    let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
    Message::new(kind, flags(request_flags), &header(set.family as u8, 0))
        .text(NFTA_SET_ELEM_LIST_TABLE, set.table)
        .text(NFTA_SET_ELEM_LIST_SET, set.name)
        .nested(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
            list.nested(NFTA_LIST_ELEM, |element| {
                element.nested(NFTA_SET_ELEM_KEY, |data| data.attribute(NFTA_DATA_VALUE, key))
            })
        })
}

/// nftables takes changes only as a transaction.
fn batch(message: Message) -> Vec<Message> {
    transaction(vec![message])
}

fn transaction(mut messages: Vec<Message>) -> Vec<Message> {
    let request = flags(libc::NLM_F_REQUEST);
    let subsystem = header(0, NFNL_SUBSYS_NFTABLES);
    messages.insert(0, Message::new(NFNL_MSG_BATCH_BEGIN, request, &subsystem));
    messages.push(Message::new(NFNL_MSG_BATCH_END, request, &subsystem));
    messages
}

/// `struct nfgenmsg`: family, version 0, resource id in network byte order.
pub(super) fn header(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}
