//! The vhost-user socket, read without ever waiting for the monitor

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send,
};

use super::message::{HEADER_BYTES, Header, MAXIMUM_BODY_BYTES, MAXIMUM_REGIONS, Request};

/// Why the connection cannot go on.
#[derive(Debug)]
pub(super) enum ChannelEnd {
    Disconnected,
    /// What arrived is not a message that makes sense here.
    Nonsense,
    /// The monitor does not read its replies, or the kernel refuses.
    Failed(Errno),
}

/// A connection and the message that is arriving on it.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    header: [u8; HEADER_BYTES],
    body: [u8; MAXIMUM_BODY_BYTES],
    received: usize,
    descriptors: Vec<OwnedFd>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            header: [0; HEADER_BYTES],
            body: [0; MAXIMUM_BODY_BYTES],
            received: 0,
            descriptors: Vec::new(),
        }
    }

    /// The next request, or nothing if it has not arrived yet.
    pub(super) fn receive(&mut self) -> Result<Option<(Header, Request)>, ChannelEnd> {
        loop {
            // Descriptors come with the first byte of their message, so that no read may go beyond one.
            let header = if self.received < HEADER_BYTES {
                None
            } else {
                let header = Header::parse(self.header).ok_or(ChannelEnd::Nonsense)?;
                let body = self.body.get(..header.body_bytes).ok_or(ChannelEnd::Nonsense)?;
                if self.received == HEADER_BYTES + header.body_bytes {
                    self.received = 0;
                    let descriptors = std::mem::take(&mut self.descriptors);
                    let request = Request::parse(header, body, descriptors).ok_or(ChannelEnd::Nonsense)?;
                    return Ok(Some((header, request)));
                }
                Some(header)
            };
            let missing = match header {
                None => self.header.get_mut(self.received..),
                Some(header) => self.body.get_mut(self.received - HEADER_BYTES..header.body_bytes),
            };
            match read(&self.stream, missing.unwrap_or_default(), &mut self.descriptors)? {
                Some(count) => self.received += count,
                None => return Ok(None),
            }
        }
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, header: Header, body: &[u8]) -> Result<(), ChannelEnd> {
        let message = header.reply(body);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::io::retry_on_intr(|| send(&self.stream, &message, flags)) {
            Ok(sent) if sent == message.len() => Ok(()),
            // Replies are shorter than any socket buffer: one that does not fit follows hundreds of unread ones.
            Ok(_) => Err(ChannelEnd::Failed(Errno::AGAIN)),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(ChannelEnd::Disconnected),
            Err(error) => Err(ChannelEnd::Failed(error)),
        }
    }
}

/// Reads into `target`; nothing if there is nothing yet.
fn read(
    stream: &UnixStream,
    target: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Option<usize>, ChannelEnd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAXIMUM_REGIONS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let outcome =
        rustix::io::retry_on_intr(|| recvmsg(stream, &mut [IoSliceMut::new(target)], &mut control, flags));
    let message = match outcome {
        Ok(message) => message,
        Err(Errno::AGAIN) => return Ok(None),
        Err(Errno::CONNRESET) => return Err(ChannelEnd::Disconnected),
        Err(error) => return Err(ChannelEnd::Failed(error)),
    };
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = ancillary {
            descriptors.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MAXIMUM_REGIONS {
        return Err(ChannelEnd::Nonsense);
    }
    if message.bytes == 0 { Err(ChannelEnd::Disconnected) } else { Ok(Some(message.bytes)) }
}
