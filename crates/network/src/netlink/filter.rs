//! nftables: set elements, which change with every lease, and the removal of tables. Everything else
//! is written once by the nft program.

use super::message::Message;
use super::{NetlinkError, Socket, flags};

/// Constants of linux/netfilter/nfnetlink.h and nf_tables.h.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_DATA_VALUE: u16 = 1;

/// Protocol families of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Family {
    Ipv4 = 2,
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

    /// Removes a table; fine if there is none.
    pub(crate) fn delete_table(&mut self, family: Family, table: &str) -> Result<(), NetlinkError> {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE;
        let delete = flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
        let message = Message::new(kind, delete, &header(family as u8, 0)).text(NFTA_TABLE_NAME, table);
        ignore_missing(self.request(&format!("delete nftables table '{table}'"), batch(message)))
    }
}

fn ignore_missing(outcome: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
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
    let request = flags(libc::NLM_F_REQUEST);
    let subsystem = header(0, NFNL_SUBSYS_NFTABLES);
    vec![
        Message::new(NFNL_MSG_BATCH_BEGIN, request, &subsystem),
        message,
        Message::new(NFNL_MSG_BATCH_END, request, &subsystem),
    ]
}

/// `struct nfgenmsg`: family, version 0, resource id in network byte order.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}
