//! Encodes and decodes netlink messages, netlink(7) and rtnetlink(7).

/// Length, type, flags, sequence number and port of `struct nlmsghdr`.
const HEADER_LENGTH_BYTES: usize = 16;
/// `NLA_F_NESTED` of linux/netlink.h.
const NESTED: u16 = 0x8000;
/// Kind without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const KIND_MASK: u16 = 0x3fff;

/// A request under construction.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request with its family's fixed header.
    pub(crate) fn new(kind: u16, flags: u16, family_header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LENGTH_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self { bytes }.raw(family_header)
    }

    /// Appends bytes, padded to 4.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Appends an attribute.
    pub(crate) fn attribute(self, kind: u16, value: &[u8]) -> Self {
        let start = self.bytes.len();
        let mut message = self.raw(&[0; 4]);
        message.bytes.extend_from_slice(value);
        message.close(start, kind)
    }

    /// Appends a number in host byte order.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Appends a text with the terminator that the kernel wants.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Appends an attribute made of what `fill` appends.
    pub(crate) fn nested(self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        fill(self.raw(&[0; 4])).close(start, kind | NESTED)
    }

    fn close(mut self, start: usize, kind: u16) -> Self {
        // No message of ours comes near 64 KiB; the kernel refuses the saturated length.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.raw(&[])
    }

    /// Whether the kernel answers it even on success.
    pub(super) fn wants_acknowledgement(&self) -> bool {
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]);
        flags & u16::try_from(libc::NLM_F_ACK).unwrap_or(0) != 0
    }

    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// A received message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// Splits a datagram; stops at the first malformed message.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = number_at(datagram, 0)? as usize;
        let body = datagram.get(HEADER_LENGTH_BYTES..length)?;
        let received = Received {
            kind: u16::from_ne_bytes([datagram[4], datagram[5]]),
            sequence: number_at(datagram, 8)?,
            body,
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(received)
    })
}

/// Splits attributes; stops at the first malformed one.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & KIND_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The host-order number at an offset.
pub(crate) fn number_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = Message::new(16, 5, &[1, 2, 3, 4])
            .text(3, "abc")
            .nested(18, |message| message.number(1, 7))
            .finish(9);
        let received: Vec<_> = messages(&bytes).collect();
        assert_eq!(received.len(), 1);
        assert_eq!((received[0].kind, received[0].sequence), (16, 9));
        let outer: Vec<_> = attributes(&received[0].body[4..]).collect();
        assert_eq!(outer[0], (3, &b"abc\0"[..]));
        assert_eq!(outer[1].0, 18);
        assert_eq!(attributes(outer[1].1).next(), Some((1, &7_u32.to_ne_bytes()[..])));
    }

    #[test]
    fn short_datagrams_end_the_iteration() {
        assert_eq!(messages(&[200, 0, 0, 0, 1]).count(), 0);
        assert_eq!(attributes(&[9, 0, 1, 0, 1]).count(), 0);
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
    }
}
