//! Kernel parameters, written through the container's own /proc/sys before it becomes read-only.

use std::collections::BTreeMap;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use thiserror::Error;

/// What every container gets unless it asks for something else. The first two match the VM, whose
/// memory is the container's own; the others are Docker's defaults for a network of its own.
const DEFAULTS: [(&str, &str); 4] = [
    ("vm.overcommit_memory", "1"),
    ("vm.max_map_count", "262144"),
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

/// A parameter could not be set.
#[derive(Debug, Error)]
pub(crate) enum SysctlError {
    #[error("invalid sysctl name {name:?}")]
    Name { name: String },
    #[error("cannot set sysctl {name}")]
    Write {
        name: String,
        #[source]
        source: Errno,
    },
}

/// Sets the defaults and what the container asks for.
pub(crate) fn apply(requested: &BTreeMap<String, String>) -> Result<(), SysctlError> {
    for (name, value) in DEFAULTS {
        if !requested.contains_key(name) {
            // A kernel without the parameter behaves as if it were set.
            let _ = write(&path_of(name)?, value);
        }
    }
    for (name, value) in requested {
        write(&path_of(name)?, value).map_err(|source| SysctlError::Write { name: name.clone(), source })?;
    }
    Ok(())
}

fn write(path: &str, value: &str) -> Result<(), Errno> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes()).map(drop)
}

/// As sysctl(8): dots separate, unless a slash comes first; then dots are part of names.
fn path_of(name: &str) -> Result<String, SysctlError> {
    let invalid = || SysctlError::Name { name: name.to_owned() };
    let separator = name.find(['.', '/']).ok_or_else(invalid)?;
    let swap = name.as_bytes().get(separator) == Some(&b'.');
    let path: String = name
        .chars()
        .map(|character| match character {
            '.' if swap => '/',
            '/' if swap => '.',
            other => other,
        })
        .collect();
    if path.contains('\0') || path.split('/').any(|part| part.is_empty() || part == "..") {
        return Err(invalid());
    }
    Ok(format!("/proc/sys/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_below_proc_sys() {
        assert_eq!(path_of("vm.overcommit_memory").unwrap(), "/proc/sys/vm/overcommit_memory");
        assert_eq!(
            path_of("net.ipv4.conf.eth0/1.forwarding").unwrap(),
            "/proc/sys/net/ipv4/conf/eth0.1/forwarding"
        );
        assert_eq!(path_of("net/ipv4/conf/eth0.1/mtu").unwrap(), "/proc/sys/net/ipv4/conf/eth0.1/mtu");
    }

    #[test]
    fn names_never_lead_elsewhere() {
        for name in ["", "vm", "vm//a", "../etc/passwd", "a/../../b", ".a", "a.", "net/../../x", "a.b\0"] {
            assert!(path_of(name).is_err(), "{name:?}");
        }
    }
}
