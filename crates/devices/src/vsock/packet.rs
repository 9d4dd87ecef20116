//! The header of a packet (virtio 1.2, section 5.10.6)

/// Length of a header.
pub(super) const HEADER_BYTES: usize = 44;
/// The address of the host.
pub(super) const HOST_CID: u64 = 2;
/// The only type of socket that is offered.
pub(super) const TYPE_STREAM: u16 = 1;
/// `SHUTDOWN`: the sender receives no more.
pub(super) const SHUTDOWN_RECEIVE: u32 = 1;
/// `SHUTDOWN`: the sender sends no more.
pub(super) const SHUTDOWN_SEND: u32 = 2;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Request,
    Response,
    Reset,
    Shutdown,
    Data,
    CreditUpdate,
    CreditRequest,
    /// Anything else; no connection survives it.
    Unknown,
}

impl Operation {
    fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Reset,
            4 => Self::Shutdown,
            5 => Self::Data,
            6 => Self::CreditUpdate,
            7 => Self::CreditRequest,
            _ => Self::Unknown,
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::Unknown => 0,
            Self::Request => 1,
            Self::Response => 2,
            Self::Reset => 3,
            Self::Shutdown => 4,
            Self::Data => 5,
            Self::CreditUpdate => 6,
            Self::CreditRequest => 7,
        }
    }
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source_cid: u64,
    pub(super) destination_cid: u64,
    pub(super) source_port: u32,
    pub(super) destination_port: u32,
    pub(super) length_bytes: u32,
    pub(super) socket_type: u16,
    pub(super) operation: Operation,
    pub(super) flags: u32,
    pub(super) buffer_bytes: u32,
    pub(super) forwarded_bytes: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let u64_at = |offset: usize| u64::from_le_bytes(part(bytes, offset));
        let u32_at = |offset: usize| u32::from_le_bytes(part(bytes, offset));
        let u16_at = |offset: usize| u16::from_le_bytes(part(bytes, offset));
        Self {
            source_cid: u64_at(0),
            destination_cid: u64_at(8),
            source_port: u32_at(16),
            destination_port: u32_at(20),
            length_bytes: u32_at(24),
            socket_type: u16_at(28),
            operation: Operation::from_number(u16_at(30)),
            flags: u32_at(32),
            buffer_bytes: u32_at(36),
            forwarded_bytes: u32_at(40),
        }
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put =
            |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        put(0, &self.source_cid.to_le_bytes());
        put(8, &self.destination_cid.to_le_bytes());
        put(16, &self.source_port.to_le_bytes());
        put(20, &self.destination_port.to_le_bytes());
        put(24, &self.length_bytes.to_le_bytes());
        put(28, &self.socket_type.to_le_bytes());
        put(30, &self.operation.number().to_le_bytes());
        put(32, &self.flags.to_le_bytes());
        put(36, &self.buffer_bytes.to_le_bytes());
        put(40, &self.forwarded_bytes.to_le_bytes());
        bytes
    }

    /// The answer that ends whatever the sender thinks it is part of.
    pub(super) fn refusal(self) -> Self {
        Self {
            source_cid: self.destination_cid,
            destination_cid: self.source_cid,
            source_port: self.destination_port,
            destination_port: self.source_port,
            length_bytes: 0,
            socket_type: self.socket_type,
            operation: Operation::Reset,
            flags: 0,
            buffer_bytes: 0,
            forwarded_bytes: 0,
        }
    }
}

fn part<const N: usize>(bytes: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[offset..offset + N]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_a_round_trip() {
        let header = Header {
            source_cid: 3,
            destination_cid: HOST_CID,
            source_port: 0x0102_0304,
            destination_port: 1024,
            length_bytes: 7,
            socket_type: TYPE_STREAM,
            operation: Operation::Data,
            flags: SHUTDOWN_SEND,
            buffer_bytes: 0xffff_ffff,
            forwarded_bytes: 9,
        };
        let bytes = header.to_bytes();
        assert_eq!(bytes[16..20], [4, 3, 2, 1]);
        assert_eq!(Header::parse(&bytes), header);
    }
}
