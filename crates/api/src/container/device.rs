//! Devices of a machine that a container can be given.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A device of the guest's kernel that /dev has only for who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Device {
    /// File systems of programs.
    #[serde(rename = "/dev/fuse")]
    Fuse,
    /// Interfaces of programs.
    #[serde(rename = "/dev/net/tun")]
    Tun,
}

impl Device {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Fuse, Self::Tun];

    /// Its place in the container.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Fuse => "/dev/fuse",
            Self::Tun => "/dev/net/tun",
        }
    }
}

/// Of the host, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a device that a container can have")]
pub struct UnknownDevice;

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        Self::ALL.into_iter().find(|device| device.path() == text).ok_or(UnknownDevice)
    }
}
