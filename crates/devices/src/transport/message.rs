//! Messages of the vhost-user protocol, as far as a device here needs them
//!
//! Numbers and layouts: "Vhost-user Protocol" in the QEMU documentation. All integers are in the machine's own order.

use std::os::fd::OwnedFd;

/// Request, flags and length of the body, four bytes each.
pub(super) const HEADER_BYTES: usize = 12;
/// Longest body of a request here: a full configuration space.
pub(super) const MAXIMUM_BODY_BYTES: usize = 12 + MAXIMUM_CONFIGURATION_BYTES;
/// Regions of memory that a monitor without `CONFIGURE_MEM_SLOTS` may have.
pub(super) const MAXIMUM_REGIONS: usize = 8;
/// Largest configuration space.
const MAXIMUM_CONFIGURATION_BYTES: usize = 256;
const REGION_BYTES: usize = 32;
const VERSION_MASK: u32 = 3;
const VERSION: u32 = 1;
const REPLY_FLAG: u32 = 4;
/// In a message with a descriptor: there is none.
const NO_DESCRIPTOR: u64 = 1 << 8;

/// A region of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) guest_address: u64,
    pub(super) length_bytes: u64,
    pub(super) monitor_address: u64,
    pub(super) file_offset_bytes: u64,
}

/// Where a ring lies, in addresses of the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RingAddresses {
    pub(super) descriptors: u64,
    pub(super) used: u64,
    pub(super) available: u64,
}

/// A request of the monitor.
#[derive(Debug)]
pub(super) enum Request {
    GetFeatures,
    SetFeatures(u64),
    SetOwner,
    SetMemoryTable(Vec<(Region, OwnedFd)>),
    SetRingSize { queue: u32, size: u32 },
    SetRingAddresses { queue: u32, addresses: RingAddresses },
    SetRingBase { queue: u32, base: u32 },
    GetRingBase { queue: u32 },
    SetKick { queue: u32, descriptor: Option<OwnedFd> },
    SetCall { queue: u32, descriptor: Option<OwnedFd> },
    SetError { queue: u32 },
    GetProtocolFeatures,
    SetProtocolFeatures(u64),
    GetQueueCount,
    EnableRing { queue: u32, enable: bool },
    GetConfiguration { offset: u32, length: u32, flags: u32 },
    SetConfiguration,
}

/// The fixed part of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) request: u32,
    flags: u32,
    pub(super) body_bytes: usize,
}

impl Header {
    /// Nothing if this is not the header of a request that could be meant for us.
    pub(super) fn parse(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let mut fields = Fields(&bytes);
        let (request, flags, length) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let body_bytes = usize::try_from(length).ok().filter(|length| *length <= MAXIMUM_BODY_BYTES)?;
        let valid = flags & VERSION_MASK == VERSION && flags & REPLY_FLAG == 0;
        valid.then_some(Self { request, flags, body_bytes })
    }

    /// The message that answers this one.
    pub(super) fn reply(self, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
        message.extend(self.request.to_ne_bytes());
        message.extend((self.flags & VERSION_MASK | REPLY_FLAG).to_ne_bytes());
        message.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_ne_bytes());
        message.extend(body);
        message
    }
}

impl Request {
    /// Nothing if the message is not one that a monitor of ours sends.
    pub(super) fn parse(header: Header, body: &[u8], descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut fields = Fields(body);
        let mut descriptors = descriptors.into_iter();
        let request = match header.request {
            1 => Self::GetFeatures,
            2 => Self::SetFeatures(fields.u64()?),
            3 => Self::SetOwner,
            5 => {
                let count = usize::try_from(fields.u32()?).ok()?;
                fields.u32()?;
                let expected = count.checked_mul(REGION_BYTES)?;
                if !(1..=MAXIMUM_REGIONS).contains(&count) || fields.0.len() != expected {
                    return None;
                }
                let mut regions = Vec::with_capacity(count);
                for _ in 0..count {
                    regions.push((fields.region()?, descriptors.next()?));
                }
                Self::SetMemoryTable(regions)
            }
            8 => Self::SetRingSize { queue: fields.u32()?, size: fields.u32()? },
            9 => {
                let (queue, _flags) = (fields.u32()?, fields.u32()?);
                let (descriptors, used, available) = (fields.u64()?, fields.u64()?, fields.u64()?);
                let _log = fields.u64()?;
                Self::SetRingAddresses { queue, addresses: RingAddresses { descriptors, used, available } }
            }
            10 => Self::SetRingBase { queue: fields.u32()?, base: fields.u32()? },
            11 => {
                let (queue, _unused) = (fields.u32()?, fields.u32()?);
                Self::GetRingBase { queue }
            }
            12..=14 => {
                let value = fields.u64()?;
                let queue = u32::try_from(value & 0xff).ok()?;
                let descriptor = descriptors.next();
                if (value & NO_DESCRIPTOR == 0) != descriptor.is_some() {
                    return None;
                }
                match header.request {
                    12 => Self::SetKick { queue, descriptor },
                    13 => Self::SetCall { queue, descriptor },
                    _ => Self::SetError { queue },
                }
            }
            15 => Self::GetProtocolFeatures,
            16 => Self::SetProtocolFeatures(fields.u64()?),
            17 => Self::GetQueueCount,
            18 => {
                let (queue, enable) = (fields.u32()?, fields.u32()?);
                (enable <= 1).then_some(Self::EnableRing { queue, enable: enable == 1 })?
            }
            24 | 25 => {
                let (offset, length, flags) = (fields.u32()?, fields.u32()?, fields.u32()?);
                // A read comes with room for its answer.
                if usize::try_from(length).ok()? != fields.0.len() {
                    return None;
                }
                fields = Fields(&[]);
                if header.request == 24 {
                    Self::GetConfiguration { offset, length, flags }
                } else {
                    Self::SetConfiguration
                }
            }
            _ => return None,
        };
        (fields.0.is_empty() && descriptors.next().is_none()).then_some(request)
    }
}

/// Reads integers off the front of a body.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_ne_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*bytes))
    }

    fn region(&mut self) -> Option<Region> {
        Some(Region {
            guest_address: self.u64()?,
            length_bytes: self.u64()?,
            monitor_address: self.u64()?,
            file_offset_bytes: self.u64()?,
        })
    }
}
