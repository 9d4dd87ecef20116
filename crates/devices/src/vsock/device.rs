//! The vsock device and its configuration

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, sync_channel};

use super::muxer::{Limits, Muxer};
use crate::{DeviceEnd, DeviceThread, Frontend};

const MAXIMUM_CONNECTIONS: usize = 65536;
const BUFFER_BYTES: std::ops::RangeInclusive<u32> = 4096..=16 << 20;

/// What the guest may reach through vsock.
#[derive(Debug, Clone)]
pub struct VsockConfiguration {
    /// Name of the thread, at most 15 bytes are shown by the kernel.
    pub name: String,
    /// The guest's address, 3 or greater and below 2^32 - 1.
    pub guest_cid: u32,
    /// Host ports that the guest may connect to; any other is refused.
    pub ports: Vec<u32>,
    /// Connections that may exist at once; more are refused.
    pub maximum_connections: usize,
    /// Bytes per connection that the guest may send ahead of the host's reader.
    pub connection_buffer_bytes: u32,
}

impl VsockConfiguration {
    /// Accepts connections to `ports`, with the limits of a normal container.
    #[must_use]
    pub fn new(name: impl Into<String>, ports: impl Into<Vec<u32>>) -> Self {
        Self {
            name: name.into(),
            guest_cid: 3,
            ports: ports.into(),
            maximum_connections: 512,
            connection_buffer_bytes: 256 * 1024,
        }
    }
}

/// A connection that the guest has opened.
#[derive(Debug)]
pub struct GuestConnection {
    /// Host port that the guest dialled.
    pub port: u32,
    /// Port that the guest dialled from.
    pub guest_port: u32,
    /// Our end, in blocking mode. Shutting down one direction shuts it down in the guest.
    pub stream: UnixStream,
}

/// Why a vsock device cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VsockError {
    /// The address is one of the reserved ones (virtio 1.2, section 5.10.4).
    #[error("{guest_cid} cannot be the address of a guest")]
    GuestCid {
        /// The refused address.
        guest_cid: u32,
    },
    /// A limit is zero or too large.
    #[error("a vsock device needs 1 to 65536 connections and buffers of 4 KiB to 16 MiB")]
    Limits,
    /// The thread could not be started.
    #[error("cannot start the thread of vsock device {name}")]
    Spawn {
        /// Name of the device.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A vsock device being served. Dropping it leaves the device in service.
#[derive(Debug)]
pub struct VsockDevice {
    thread: DeviceThread,
}

impl VsockDevice {
    /// Starts to serve vsock to `frontend`; what the guest opens arrives in the receiver, which ends when the
    /// device does. When the receiver is dropped or not read for long, further connections are refused.
    ///
    /// # Errors
    /// A [`VsockError`] if the configuration is impossible or the thread cannot be started.
    pub fn spawn(
        frontend: impl Into<Frontend>,
        configuration: VsockConfiguration,
    ) -> Result<(Self, Receiver<GuestConnection>), VsockError> {
        let VsockConfiguration { name, guest_cid, ports, maximum_connections, connection_buffer_bytes } =
            configuration;
        if !(3..u32::MAX).contains(&guest_cid) {
            return Err(VsockError::GuestCid { guest_cid });
        }
        let connections_fit = (1..=MAXIMUM_CONNECTIONS).contains(&maximum_connections);
        if !connections_fit || !BUFFER_BYTES.contains(&connection_buffer_bytes) {
            return Err(VsockError::Limits);
        }
        let limits = Limits {
            guest_cid: u64::from(guest_cid),
            ports: ports.into_iter().collect(),
            maximum_connections,
            connection_buffer_bytes,
        };
        let (offer, accepted) = sync_channel(maximum_connections);
        let thread =
            DeviceThread::spawn(&name, frontend.into(), move |epoll| Muxer::new(limits, offer, epoll))
                .map_err(|source| VsockError::Spawn { name, source })?;
        Ok((Self { thread }, accepted))
    }

    /// The device's thread: wait for its end, stop it.
    #[must_use]
    pub fn thread(&self) -> &DeviceThread {
        &self.thread
    }

    /// Blocks until the monitor has disconnected or the device was stopped.
    #[must_use]
    pub fn wait(self) -> DeviceEnd {
        self.thread.wait()
    }
}
