//! `vm.max_map_count`: a guest page that cannot be merged with its neighbours is one mapping of the
//! host under User-Mode Linux, in the process that stands for the guest's.

use std::fs;
use std::io;

const PATH: &str = "/proc/sys/vm/max_map_count";
const PAGE_BYTES: u64 = 4096;
/// 4 GiB of scattered pages, for hosts that cannot tell how much memory they have.
const MINIMUM: u64 = 1_048_576;
/// The kernel keeps it in an int.
const MAXIMUM: u64 = 0x7fff_ffff;

/// The limit in force; `None` where there is none.
#[must_use]
pub fn current() -> Option<u64> {
    fs::read_to_string(PATH).ok()?.trim().parse().ok()
}

/// A limit that no guest reaches before the host's memory is full.
#[must_use]
pub fn wanted() -> u64 {
    let information = rustix::system::sysinfo();
    let memory_bytes = information.totalram.saturating_mul(information.mem_unit.into());
    (memory_bytes / PAGE_BYTES).next_power_of_two().clamp(MINIMUM, MAXIMUM)
}

/// Raises it to [`wanted`]; returns the limit before, `None` when it was high enough.
///
/// # Errors
/// It cannot be read, or this process may not change it.
pub fn raise() -> io::Result<Option<u64>> {
    let current = fs::read_to_string(PATH)?.trim().parse::<u64>().map_err(io::Error::other)?;
    if current >= wanted() {
        return Ok(None);
    }
    fs::write(PATH, wanted().to_string()).map(|()| Some(current))
}

/// Memory in bytes that a process of a guest can surely touch; `None` when the limit is no matter.
#[must_use]
pub fn scattered_memory_bytes() -> Option<u64> {
    current().filter(|current| *current < wanted()).map(|current| current.saturating_mul(PAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_host_may_be_a_mapping() {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find(|line| line.starts_with("MemTotal:")).unwrap();
        let memory_kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(wanted() >= memory_kib / 4);
        assert!((MINIMUM..=MAXIMUM).contains(&wanted()));
    }
}
