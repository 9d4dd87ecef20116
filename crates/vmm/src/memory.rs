//! Whether the host can back a machine's memory.
//!
//! A machine's memory is a sparse file in a tmpfs of its own: what the guest never touches costs
//! nothing, and a machine may be given more than the host has. Nothing but the host's memory and the
//! control group of this process limits it; a guest that reaches that limit is ended by the host. Its
//! kernel however describes every page at its boot: a machine whose page descriptions do not fit is
//! refused.

use std::fs;

use thiserror::Error;

/// A page of 4 KiB has a `struct page` of 64 bytes; as much again for page tables and the rest.
const DESCRIPTION_DIVISOR: u64 = 32;
/// Below this the host would have to take memory from what already runs, or end it, for a further
/// machine: an idle one takes about 20 MiB, and its start page cache besides.
const RESERVE_BYTES: u64 = 64 << 20;

/// The host has less memory than the machine.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryError {
    /// Less than all memory.
    #[error("the machine has {} MiB of memory and this host {} MiB", wanted_bytes >> 20, limit_bytes >> 20)]
    Host {
        /// Asked for.
        wanted_bytes: u64,
        /// RAM and swap of the host.
        limit_bytes: u64,
    },
    /// Less than the control group of this process allows.
    #[error(
        "the machine has {} MiB of memory and the control group of this process may use {} MiB",
        wanted_bytes >> 20,
        limit_bytes >> 20
    )]
    ControlGroup {
        /// Asked for.
        wanted_bytes: u64,
        /// Its limit.
        limit_bytes: u64,
    },
    /// Other programs have it.
    #[error(
        "the host has only {} MiB of memory left and a further machine needs {} MiB: stop other containers or \
         programs, or add memory or swap",
        available_bytes >> 20,
        RESERVE_BYTES >> 20
    )]
    Reserve {
        /// What could still be had without ending anything.
        available_bytes: u64,
    },
}

/// Refuses what can never boot, or not now; promises nothing about what may.
///
/// # Errors
/// See [`MemoryError`].
pub fn check_memory(wanted_bytes: u64) -> Result<(), MemoryError> {
    if let Some(error) = compare(wanted_bytes, wanted_bytes / DESCRIPTION_DIVISOR) {
        return Err(error);
    }
    let information = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match available_bytes(&information) {
        Some(available_bytes) if available_bytes < RESERVE_BYTES => {
            Err(MemoryError::Reserve { available_bytes })
        }
        _ => Ok(()),
    }
}

/// Memory and swap that are free or could be freed at once, proc_meminfo(5).
fn available_bytes(information: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = information.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(field("MemAvailable")?.saturating_add(field("SwapFree").unwrap_or(0)))
}

/// How far a machine that may boot exceeds what the host can back.
#[must_use]
pub fn memory_shortage(wanted_bytes: u64) -> Option<MemoryError> {
    compare(wanted_bytes, wanted_bytes)
}

/// How often the host has killed a process because memory ran out, proc_vmstat(5).
#[must_use]
pub fn out_of_memory_kills() -> Option<u64> {
    let statistics = fs::read_to_string("/proc/vmstat").ok()?;
    statistics.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

fn compare(wanted_bytes: u64, needed_bytes: u64) -> Option<MemoryError> {
    let information = rustix::system::sysinfo();
    let unit = u64::from(information.mem_unit);
    let limit_bytes = information.totalram.saturating_add(information.totalswap).saturating_mul(unit);
    if needed_bytes > limit_bytes {
        return Some(MemoryError::Host { wanted_bytes, limit_bytes });
    }
    let limit_bytes = control_group_limit().filter(|limit_bytes| needed_bytes > *limit_bytes)?;
    Some(MemoryError::ControlGroup { wanted_bytes, limit_bytes })
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
    fn f67_a_machine_that_cannot_boot_is_refused() {
        assert!(matches!(check_memory(u64::MAX), Err(MemoryError::Host { .. })));
        assert_eq!(check_memory(64 << 20), Ok(()));
    }

    #[test]
    fn f66_a_host_without_memory_is_told_from_one_that_swaps() {
        let information = |available_kib, swap_kib| {
            format!("MemTotal: 1000 kB\nMemAvailable:  {available_kib} kB\nSwapFree: {swap_kib} kB\n")
        };
        assert_eq!(available_bytes(&information(40_000, 0)), Some(40_000 * 1024));
        assert_eq!(available_bytes(&information(40_000, 50_000)), Some(90_000 * 1024));
        assert_eq!(available_bytes("MemTotal: 1 kB\n"), None);
        let error = MemoryError::Reserve { available_bytes: 40 << 20 };
        assert!(error.to_string().starts_with("the host has only 40 MiB of memory left"), "{error}");
        let here = fs::read_to_string("/proc/meminfo").unwrap();
        assert!(available_bytes(&here).unwrap() > RESERVE_BYTES, "this host could start nothing");
    }

    #[test]
    fn f67_a_machine_may_have_more_memory_than_the_host() {
        let information = rustix::system::sysinfo();
        let host_bytes = information.totalram * u64::from(information.mem_unit);
        assert_eq!(check_memory(2 * host_bytes), Ok(()));
        assert!(memory_shortage(2 * host_bytes + information.totalswap).is_some());
        assert_eq!(memory_shortage(64 << 20), None);
        assert!(out_of_memory_kills().is_some());
    }
}
