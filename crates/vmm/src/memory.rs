//! Whether the host can back a machine's memory at all.
//!
//! A machine's memory is a sparse file in a tmpfs of its own, so nothing but the host's memory and
//! the control group of this process limits it. A guest that reached that limit would make the monitor
//! die of SIGBUS in the middle of its work; a machine that can never fit is therefore refused here.

use std::fs;

use thiserror::Error;

/// The machine does not fit.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryError {
    /// Larger than all memory.
    #[error("{wanted_bytes} bytes are wanted and {limit_bytes} exist")]
    Host {
        /// Asked for.
        wanted_bytes: u64,
        /// RAM and swap of the host.
        limit_bytes: u64,
    },
    /// Larger than the control group of this process allows.
    #[error("{wanted_bytes} bytes are wanted and the control group of this process may use {limit_bytes}")]
    ControlGroup {
        /// Asked for.
        wanted_bytes: u64,
        /// Its limit.
        limit_bytes: u64,
    },
}

/// Refuses what can never fit; promises nothing about what may.
///
/// # Errors
/// See [`MemoryError`].
pub fn check_memory(wanted_bytes: u64) -> Result<(), MemoryError> {
    let information = rustix::system::sysinfo();
    let unit = u64::from(information.mem_unit);
    let limit_bytes = information.totalram.saturating_add(information.totalswap).saturating_mul(unit);
    if wanted_bytes > limit_bytes {
        return Err(MemoryError::Host { wanted_bytes, limit_bytes });
    }
    match control_group_limit() {
        Some(limit_bytes) if wanted_bytes > limit_bytes => {
            Err(MemoryError::ControlGroup { wanted_bytes, limit_bytes })
        }
        _ => Ok(()),
    }
}

/// The memory limit of the own control group, in either hierarchy.
fn control_group_limit() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = membership.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let file = if controllers.is_empty() {
            format!("/sys/fs/cgroup{path}/memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")
        } else {
            return None;
        };
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f67_a_machine_larger_than_the_host_is_refused() {
        assert!(matches!(check_memory(u64::MAX), Err(MemoryError::Host { .. })));
        assert_eq!(check_memory(64 << 20), Ok(()));
    }
}
