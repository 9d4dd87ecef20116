//! What the container uses.

use std::os::fd::OwnedFd;

use bulkhead_guest_protocol::messages::Statistics;
use rustix::mount::MountAttrFlags;

use crate::cgroup::{read_file, sum_of, value_of};
use crate::mounts::FileSystem;

/// Reads the numbers of the control group; for what it lacks, those of the whole guest, which
/// runs nothing but the container.
pub(crate) fn read(group: &OwnedFd) -> Statistics {
    let file = |name: &str| read_file(group, name).unwrap_or_default();
    let proc = FileSystem::open("proc").and_then(|proc| proc.mount(MountAttrFlags::empty())).ok();
    let proc_file =
        |name: &str| proc.as_ref().and_then(|proc| read_file(proc, name).ok()).unwrap_or_default();
    let memory_info = proc_file("meminfo");
    let total_bytes = memory_info_bytes(&memory_info, "MemTotal:");
    let (network_received_bytes, network_sent_bytes) = network_bytes(&proc_file("self/net/dev"));
    let block = file("io.stat");
    Statistics {
        memory_usage_bytes: memory_usage(&file("memory.current"), &file("memory.stat"))
            .unwrap_or_else(|| total_bytes.saturating_sub(memory_info_bytes(&memory_info, "MemAvailable:"))),
        memory_limit_bytes: file("memory.max").trim().parse().unwrap_or(total_bytes),
        cpu_usage_us: value_of(&file("cpu.stat"), "usage_usec").unwrap_or(0),
        network_received_bytes,
        network_sent_bytes,
        block_read_bytes: sum_of(&block, "rbytes"),
        block_written_bytes: sum_of(&block, "wbytes"),
        process_count: file("pids.current").trim().parse().unwrap_or(0),
    }
}

/// Without the page cache that the kernel would drop first, as `docker stats` counts.
fn memory_usage(current: &str, statistics: &str) -> Option<u64> {
    let current: u64 = current.trim().parse().ok()?;
    Some(current.saturating_sub(value_of(statistics, "inactive_file").unwrap_or(0)))
}

/// Value of a line "MemTotal:   65536 kB".
fn memory_info_bytes(text: &str, key: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib.saturating_mul(1024))
}

/// Received and sent bytes of all interfaces but loopback, from /proc/net/dev.
fn network_bytes(text: &str) -> (u64, u64) {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.trim() != "lo")
        .map(|(_, numbers)| {
            let mut numbers =
                numbers.split_ascii_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
            // Eight columns of received, then eight of sent.
            (numbers.next().unwrap_or(0), numbers.nth(7).unwrap_or(0))
        })
        .fold((0, 0), |(received, sent), (r, s)| (received.saturating_add(r), sent.saturating_add(s)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_summed_without_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
            lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0\n  eth0: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n  \
            eth1:5 1 0 0 0 0 0 0 6 2 0 0 0 0 0 0\n";
        assert_eq!(network_bytes(text), (15, 26));
        assert_eq!(network_bytes("eth0: x"), (0, 0));
    }

    #[test]
    fn memory_is_counted_without_droppable_cache() {
        assert_eq!(memory_usage("4096\n", "anon 1\ninactive_file 1024\n"), Some(3072));
        assert_eq!(memory_usage("", ""), None);
        assert_eq!(memory_info_bytes("MemTotal:   64 kB\nMemFree: 1 kB\n", "MemTotal:"), 65536);
    }
}
