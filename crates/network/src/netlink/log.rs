//! Packets that nftables logs to a group.

use std::fmt::Display;

use rustix::io::Errno;

use super::message::{Message, attributes, messages};
use super::{NetlinkError, Socket, flags};

/// Constants of linux/netfilter/nfnetlink.h and nfnetlink_log.h.
const NFNL_SUBSYS_ULOG: u16 = 4;
const NFULNL_MSG_PACKET: u16 = 0;
const NFULNL_MSG_CONFIG: u16 = 1;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
/// Of each packet; headers are enough.
const COPIED_BYTES: u32 = 128;
/// Hundredths of a second that the kernel collects packets.
const DELAY: u32 = 2;
/// `struct nfgenmsg`
const HEADER_BYTES: usize = 4;

/// A group of the calling thread's namespace.
#[derive(Debug)]
pub(crate) struct Log {
    socket: Socket,
}

impl Log {
    /// Listens to a group; there is one listener.
    pub(crate) fn open(group: u16) -> Result<Self, NetlinkError> {
        let mut socket = Socket::netfilter()?;
        let kind = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
        let resource = group.to_be_bytes();
        let header = [0, 0, resource[0], resource[1]];
        let request = flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
        let mut mode = COPIED_BYTES.to_be_bytes().to_vec();
        // `struct nfulnl_msg_config_mode` is packed: range, mode, padding.
        mode.extend([NFULNL_COPY_PACKET, 0]);
        let bind = Message::new(kind, request, &header).attribute(NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND]);
        let set = Message::new(kind, request, &header)
            .attribute(NFULA_CFG_MODE, &mode)
            .attribute(NFULA_CFG_TIMEOUT, &DELAY.to_be_bytes());
        for message in [bind, set] {
            socket.request("listen to what nftables logs", vec![message])?;
        }
        Ok(Self { socket })
    }

    /// Hands the head of each packet to `visit`; returns why it ended.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&[u8])) -> impl Display {
        let mut buffer = vec![0; super::RECEIVE_BUFFER_BYTES];
        loop {
            let length = match rustix::io::read(&self.socket.socket, &mut buffer) {
                Ok(length) => length,
                // There was more than the socket holds.
                Err(Errno::INTR | Errno::NOBUFS) => continue,
                Err(error) => return error,
            };
            for received in messages(&buffer[..length]) {
                if received.kind != NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET {
                    continue;
                }
                let attributes = attributes(received.body.get(HEADER_BYTES..).unwrap_or_default());
                for (kind, value) in attributes {
                    if kind == NFULA_PAYLOAD {
                        visit(value);
                    }
                }
            }
        }
    }
}
