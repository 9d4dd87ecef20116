//! Resource limits of processes, setrlimit(2).

use bulkhead_guest_protocol::messages::ResourceLimit;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::{Resource, Rlimit};
use thiserror::Error;

use crate::mounts::{FileSystem, MountError};

/// As asm-generic/resource.h numbers them, with what users call them.
const KINDS: [(Resource, &str); 16] = [
    (Resource::Cpu, "cpu"),
    (Resource::Fsize, "fsize"),
    (Resource::Data, "data"),
    (Resource::Stack, "stack"),
    (Resource::Core, "core"),
    (Resource::Rss, "rss"),
    (Resource::Nproc, "nproc"),
    (Resource::Nofile, "nofile"),
    (Resource::Memlock, "memlock"),
    (Resource::As, "as"),
    (Resource::Locks, "locks"),
    (Resource::Sigpending, "sigpending"),
    (Resource::Msgqueue, "msgqueue"),
    (Resource::Nice, "nice"),
    (Resource::Rtprio, "rtprio"),
    (Resource::Rttime, "rttime"),
];
const OPEN_FILES: u32 = 7;
const UNLIMITED: u64 = u64::MAX;

/// What no process may exceed, whatever its rights (Documentation/admin-guide/sysctl/fs.rst, "nr_open").
const OPEN_FILES_PARAMETER: &str = "sys/fs/nr_open";
/// The most that the parameter takes (fs/file.c, `sysctl_nr_open_max`).
const MAXIMUM_OPEN_FILES: u64 = 0x7fff_ffc0;

/// A limit could not be set.
#[derive(Debug, Error)]
pub(crate) enum LimitError {
    #[error("there is no resource limit {number}")]
    Unknown { number: u32 },
    #[error("the limit nofile can be {MAXIMUM_OPEN_FILES} at most, or unlimited, not {wanted}")]
    TooManyFiles { wanted: u64 },
    #[error("cannot mount proc to set the limit nofile")]
    Proc(#[source] MountError),
    #[error("cannot set the limit {name}")]
    Set {
        name: &'static str,
        #[source]
        source: Errno,
    },
}

/// Limits that the kernel takes, from those that were asked for: PID 1 makes room for as many open files, and no
/// limit of them is the kernel's own.
pub(crate) fn resolve(limits: &[ResourceLimit]) -> Result<Vec<ResourceLimit>, LimitError> {
    let mut resolved = limits.to_vec();
    for limit in resolved.iter_mut().filter(|limit| limit.resource == OPEN_FILES) {
        let wanted = [limit.soft, limit.hard].into_iter().filter(|value| *value != UNLIMITED).max();
        let most = make_room(wanted.unwrap_or(0))?;
        limit.soft = limit.soft.min(most);
        limit.hard = limit.hard.min(most);
    }
    Ok(resolved)
}

/// Returns how many files a process may have open.
fn make_room(wanted: u64) -> Result<u64, LimitError> {
    if wanted > MAXIMUM_OPEN_FILES {
        return Err(LimitError::TooManyFiles { wanted });
    }
    let proc = FileSystem::open("proc")
        .and_then(|proc| proc.mount(MountAttrFlags::empty()))
        .map_err(LimitError::Proc)?;
    let set = |source| LimitError::Set { name: "nofile", source };
    let parameter =
        openat(&proc, OPEN_FILES_PARAMETER, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(set)?;
    let mut buffer = [0; 32];
    let count = rustix::io::read(&parameter, &mut buffer).map_err(set)?;
    let present = parse(&buffer[..count]).ok_or_else(|| set(Errno::INVAL))?;
    if wanted <= present {
        return Ok(present);
    }
    // At the begin: elsewhere it is refused (Documentation/admin-guide/sysctl/kernel.rst, "sysctl_writes_strict").
    rustix::io::pwrite(&parameter, wanted.to_string().as_bytes(), 0).map_err(set)?;
    Ok(wanted)
}

fn parse(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Sets limits of the caller that [`resolve`] returned.
pub(crate) fn set(limits: &[ResourceLimit]) -> Result<(), LimitError> {
    for limit in limits {
        let kind = usize::try_from(limit.resource).ok().and_then(|number| KINDS.get(number));
        let (resource, name) = *kind.ok_or(LimitError::Unknown { number: limit.resource })?;
        let value = |number: u64| (number != UNLIMITED).then_some(number);
        let limit = Rlimit { current: value(limit.soft), maximum: value(limit.hard) };
        rustix::process::setrlimit(resource, limit).map_err(|source| LimitError::Set { name, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_called_as_users_write_it() {
        assert_eq!(KINDS[OPEN_FILES as usize].1, "nofile");
        for (number, (resource, name)) in KINDS.iter().enumerate() {
            assert_eq!(format!("{resource:?}").to_lowercase(), *name, "{number}");
        }
        // Whoever runs this, and what else it runs, may go on as before.
        let beyond = [ResourceLimit { resource: OPEN_FILES, soft: UNLIMITED, hard: UNLIMITED }];
        let told = set(&beyond).unwrap_err().to_string();
        assert_eq!(told, "cannot set the limit nofile");
        let unknown = [ResourceLimit { resource: 16, soft: 1, hard: 1 }];
        assert!(set(&unknown).unwrap_err().to_string().contains("16"));
    }

    #[test]
    fn no_kernel_takes_more_open_files() {
        let limits = [ResourceLimit { resource: OPEN_FILES, soft: 1, hard: MAXIMUM_OPEN_FILES + 1 }];
        let told = resolve(&limits).unwrap_err().to_string();
        assert!(told.contains("2147483584"), "{told}");
        let other = [ResourceLimit { resource: 4, soft: UNLIMITED, hard: UNLIMITED }];
        assert_eq!(resolve(&other).unwrap(), other);
    }
}
