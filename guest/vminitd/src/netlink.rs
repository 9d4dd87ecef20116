//! Just enough of rtnetlink(7): several requests in one datagram, errors by request.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// The kernel never makes a dump message larger.
const RECEIVE_BYTES: usize = 32 * 1024;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Requests that the kernel handles in order within one send(2).
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    open_message: usize,
    count: u32,
}

impl Batch {
    /// Starts a request; attributes follow. Its number counts from 0.
    pub(crate) fn request(&mut self, message_type: u16, flags: u16, body: &[u8]) -> &mut Self {
        self.open_message = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(message_type.to_ne_bytes());
        self.bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.count += 1;
        self.append(body);
        self
    }

    /// Adds an attribute to the request.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(ATTRIBUTE_HEADER_BYTES + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.append(value);
        self
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let length = u32::try_from(self.bytes.len() - self.open_message).unwrap_or(u32::MAX);
        if let Some(prefix) = self.bytes.get_mut(self.open_message..self.open_message + 4) {
            prefix.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// A request that the kernel refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) request: usize,
    pub(crate) source: Errno,
}

/// A NETLINK_ROUTE socket.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    pub(crate) fn open() -> Result<Self, Errno> {
        // Protocol 0 is NETLINK_ROUTE.
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).map(Self)
    }

    /// Sends the batch. The kernel has handled it when send(2) returns; as no request asks for an
    /// acknowledgement, whatever can be read then is an error.
    pub(crate) fn send(&self, batch: &Batch) -> Result<Option<Refused>, Errno> {
        send(&self.0, &batch.bytes, SendFlags::empty())?;
        let mut buffer = [0; 1024];
        match recv(&self.0, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((count, _)) => Ok(messages(buffer.get(..count).unwrap_or_default()).find_map(|message| {
                let source = error_of(&message)?;
                Some(Refused { request: message.sequence as usize, source })
            })),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for all objects of a kind and hands each body to `visit`.
    pub(crate) fn dump(
        &self,
        message_type: u16,
        body: &[u8],
        mut visit: impl FnMut(&[u8]),
    ) -> Result<(), Errno> {
        let mut batch = Batch::default();
        batch.request(message_type, NLM_F_DUMP, body);
        send(&self.0, &batch.bytes, SendFlags::empty())?;
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            let (count, _) = recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())?;
            for message in messages(buffer.get(..count).unwrap_or_default()) {
                if message.kind == NLMSG_DONE {
                    return Ok(());
                }
                if let Some(error) = error_of(&message) {
                    return Err(error);
                }
                visit(message.body);
            }
        }
    }
}

struct Message<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = number(bytes.get(..4)?) as usize;
        let message = Message {
            kind: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?),
            sequence: number(bytes.get(8..12)?),
            body: bytes.get(HEADER_BYTES..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Attributes behind the fixed part of a message.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn error_of(message: &Message<'_>) -> Option<Errno> {
    if message.kind != NLMSG_ERROR {
        return None;
    }
    let code = i32::from_ne_bytes(message.body.get(..4)?.try_into().ok()?);
    (code != 0).then(|| Errno::from_raw_os_error(code.saturating_neg()))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_padded_and_counted() {
        let mut batch = Batch::default();
        batch.request(16, 0, &[1; 16]).attribute(3, b"eth0\0");
        batch.request(20, 0x600, &[2; 8]);
        let parsed: Vec<_> = messages(&batch.bytes).map(|m| (m.kind, m.sequence, m.body.len())).collect();
        assert_eq!(parsed, [(16, 0, 28), (20, 1, 8)]);
        let first = messages(&batch.bytes).next().unwrap();
        let found: Vec<_> = attributes(&first.body[16..]).collect();
        assert_eq!(found, [(3, b"eth0\0".as_slice())]);
    }

    #[test]
    fn broken_lengths_end_the_iteration() {
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(messages(&[0xff; 64]).count(), 0);
        assert_eq!(attributes(&[1, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn the_kernel_answers_a_dump_and_names_the_refused_request() {
        let netlink = Netlink::open().unwrap();
        let mut interfaces = 0;
        netlink.dump(18, &[0; 16], |_| interfaces += 1).unwrap();
        assert!(interfaces > 0);
        let mut batch = Batch::default();
        let mut body = [0; 16];
        body[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        batch.request(16, 0, &body);
        assert_eq!(netlink.send(&batch).unwrap().unwrap().request, 0);
    }
}
