//! Machine monitors: the [`Vmm`] trait, its User-Mode Linux backend and the jail around the process.
//!
//! ```text
//!  runtime helper ── clone3 into new namespaces ──▶ child: builds its own empty root, drops every right,
//!        │                                          execs the monitor by descriptor
//!        ├── vhost-user sockets, packet sockets, console pipe: all inherited, nothing is looked up by path
//!        └── pidfd, PDEATHSIG: neither outlives the other unnoticed
//! ```
//!
//! The monitor is taken to belong to the attacker from its first instruction; what it can still reach
//! is listed in `jail`. A further backend is one more implementation of [`Vmm`].

mod configuration;
mod jail;
pub mod map_count;
mod memory;
pub mod probe;
mod process;
mod uml;

use std::fmt::Debug;
use std::path::PathBuf;

use thiserror::Error;

pub use configuration::{MachineConfiguration, NetworkDevice};
pub use jail::JailError;
pub use memory::{MemoryError, check_memory, memory_shortage, out_of_memory_kills};
pub use process::{VmmEnd, VmmProcess};
pub use uml::Uml;

/// A kind of machine monitor.
pub trait Vmm: Debug + Send {
    /// Starts a machine; [`VmmProcess::confirm`] tells whether its monitor got to execute.
    ///
    /// The monitor dies with the calling *thread* (prctl(2), `PR_SET_PDEATHSIG`): call it from one
    /// that lives as long as the process.
    ///
    /// # Errors
    /// See [`StartError`].
    fn start(&self, machine: MachineConfiguration) -> Result<VmmProcess, StartError>;
}

/// Why a machine could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kernel image or the initramfs cannot be opened.
    #[error("cannot open '{}'", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The jailed user is nobody's friend, so the file must be open to all.
    #[error("'{}' must be readable and, if it is a kernel, executable by everybody", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
    },
    /// An argument or path holds a NUL byte.
    #[error("'{text}' cannot be an argument of the machine monitor")]
    Argument {
        /// The argument.
        text: String,
    },
    /// The host has less memory than the machine's kernel needs to describe what it is to have.
    #[error("the machine cannot boot on this host")]
    Memory(#[source] MemoryError),
    /// The jail could not be built.
    #[error("cannot start the machine monitor")]
    Jail(#[source] JailError),
}
