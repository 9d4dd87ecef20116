//! The descriptors that a client handed over.

use std::os::fd::{AsFd, OwnedFd};

use bulkhead_guest_protocol::stream::StreamKind;
use bulkhead_runtime_control::DescriptorPurpose;

use super::descriptor::{ClientDescriptor, Direction};

/// A client and how it may be left.
#[derive(Debug)]
pub(crate) struct Client {
    /// 0: came with the process.
    pub(crate) number: u64,
    pub(crate) descriptors: ClientDescriptors,
    /// Empty: no keys let go of it.
    pub(crate) detach_keys: Vec<u8>,
}

/// stdio of one client; whatever is absent goes nowhere.
#[derive(Debug, Default)]
pub(crate) struct ClientDescriptors {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

/// Where input comes from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) descriptor: ClientDescriptor,
    /// A terminal in raw mode, which has no end of file and may be let go of by keys. One that is lent as
    /// stdin is as its user left it: Ctrl-D ends its input, and all keys are data.
    pub(super) is_raw: bool,
}

impl ClientDescriptors {
    pub(super) fn is_empty(&self) -> bool {
        self.stdin.is_none() && self.stdout.is_none() && self.stderr.is_none() && self.terminal.is_none()
    }

    /// Sorts the descriptors of a request; returns those of networks beside.
    pub(crate) fn sort(purposes: &[DescriptorPurpose], descriptors: Vec<OwnedFd>) -> (Self, Vec<OwnedFd>) {
        let mut sorted = Self::default();
        let mut networks = Vec::new();
        for (purpose, descriptor) in purposes.iter().zip(descriptors) {
            match purpose {
                DescriptorPurpose::Stdin => sorted.stdin = Some(descriptor),
                DescriptorPurpose::Stdout => sorted.stdout = Some(descriptor),
                DescriptorPurpose::Stderr => sorted.stderr = Some(descriptor),
                DescriptorPurpose::Terminal => sorted.terminal = Some(descriptor),
                DescriptorPurpose::Network => networks.push(descriptor),
            }
        }
        (sorted, networks)
    }

    /// What the process reads.
    pub(super) fn source(&mut self) -> Option<Source> {
        let terminal = || self.terminal.as_ref().and_then(|terminal| terminal.try_clone().ok());
        let (descriptor, is_raw) = match self.stdin.take() {
            Some(stdin) => (stdin, false),
            None => (terminal()?, true),
        };
        let descriptor = ClientDescriptor::new(descriptor, Direction::Read);
        let is_raw = is_raw && descriptor.is_terminal();
        Some(Source { descriptor, is_raw })
    }

    /// Where an output goes.
    pub(super) fn sink(&mut self, kind: StreamKind) -> Option<ClientDescriptor> {
        let own = match kind {
            StreamKind::Stderr => self.stderr.take(),
            StreamKind::Stdin | StreamKind::Forward | StreamKind::HostSocket => None,
            StreamKind::Stdout | StreamKind::Terminal => self.stdout.take(),
        };
        let descriptor = match (&self.terminal, own) {
            (Some(terminal), None) => terminal.as_fd().try_clone_to_owned().ok()?,
            (_, own) => own?,
        };
        Some(ClientDescriptor::new(descriptor, Direction::Write))
    }
}
