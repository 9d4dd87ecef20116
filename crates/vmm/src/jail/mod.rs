//! The jail around a monitor. What is left to a monitor that turned against us:
//!
//! | | |
//! |---|---|
//! | files | an empty read-only root, its initramfs read-only, one executable tmpfs of bounded size |
//! | processes | its own; it is the init of a PID namespace and dies with the thread that started it |
//! | network, IPC, UTS, cgroup | empty namespaces of its own |
//! | identity | as root: a user and group of its own (below); else the user's, alone in a user namespace |
//! | rights | no capability in any set, none to be gained: bounding set empty, securebits locked, no_new_privs |
//! | user namespaces | none to be made: it lives in a chroot inside its root, where the kernel refuses them |
//! | descriptors | /dev/null, the console, the sockets it was given |
//! | limits | no core, files no larger than its memory, bounded processes and descriptors |
//!
//! As root the jail has no user namespace: a process without any capability in the host's own gains
//! nothing from one, and none are needed on hosts where they are turned off. User ids are those from
//! 0x7000_0000 on, plus the helper's process id: unique among the machines that run, and in a range
//! that no one hands out (systemd, "Users, Groups, UIDs and GIDs"). Nothing on disk belongs to them.
//!
//! Other users' jails use the same steps, in a user namespace that maps the own user only.

mod child;
mod plan;
mod spawn;
mod step;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use thiserror::Error;

pub(crate) use spawn::{Report, spawn};

/// Number of the first of [`JailConfiguration::descriptors`] in the jail; the others follow.
pub(crate) const FIRST_PASSED_DESCRIPTOR: usize = 3;

/// What to run in a jail.
#[derive(Debug)]
pub(crate) struct JailConfiguration {
    pub(crate) executable: File,
    /// Where it is, for errors.
    pub(crate) executable_path: PathBuf,
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Becomes stdout and stderr.
    pub(crate) console: OwnedFd,
    pub(crate) file: ReadOnlyFile,
    /// Size of /scratch.
    pub(crate) scratch_bytes: u64,
    /// Where the new root is mounted.
    pub(crate) staging_directory: CString,
}

/// The one file that the jail shows.
#[derive(Debug)]
pub(crate) struct ReadOnlyFile {
    pub(crate) source: CString,
    /// In the root of the jail.
    pub(crate) name: CString,
}

/// Why no process runs in the jail.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JailError {
    /// /dev/null, a pipe or a copy of a descriptor could not be had.
    #[error("cannot prepare the descriptors of the jail")]
    Descriptors(#[source] io::Error),
    /// clone3(2) failed.
    #[error("cannot make the namespaces of the jail")]
    Clone(#[source] io::Error),
    /// The program is none for this host, or may not be executed.
    #[error("cannot execute '{}'", path.display())]
    Execute {
        /// The program.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A step inside failed.
    #[error("cannot {step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The child died before it could say why.
    #[error("the jailed process ended before it was executed")]
    Vanished,
}
