//! The container's control group, version 2.

use std::fmt::Write;
use std::os::fd::{AsFd, OwnedFd};

use bulkhead_guest_protocol::messages::ResourceLimits;
use rustix::event::{Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, open, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use thiserror::Error;

const CPU_PERIOD_US: u64 = 100_000;

/// A limit could not be set.
#[derive(Debug, Error)]
#[error("cannot set {file} of the control group to {value}")]
pub(crate) struct LimitError {
    file: &'static str,
    value: String,
    #[source]
    source: Errno,
}

/// Makes the group and returns its directory.
pub(crate) fn prepare() -> Result<OwnedFd, Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"cgroup2", c"/cgroup", c"cgroup2", flags, c"nsdelegate")?;
    enable_controllers()?;
    mkdirat(CWD, c"/cgroup/container", Mode::from_raw_mode(0o755))?;
    open(c"/cgroup/container", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn enable_controllers() -> Result<(), Errno> {
    if write_file(CWD, "/cgroup/cgroup.subtree_control", "+cpu +memory +pids +io").is_ok() {
        return Ok(());
    }
    // One unknown controller refuses the whole line: a kernel with fewer of them.
    let available = read_file(CWD, "/cgroup/cgroup.controllers")?;
    let mut line = String::new();
    for controller in available.split_ascii_whitespace() {
        // Writing to a string cannot fail.
        let _ = write!(line, "+{controller} ");
    }
    write_file(CWD, "/cgroup/cgroup.subtree_control", &line)
}

/// Sets the limits of the container.
pub(crate) fn apply(group: &OwnedFd, limits: &ResourceLimits) -> Result<(), LimitError> {
    let set = |file: &'static str, value: String| {
        write_file(group, file, &value).map_err(|source| LimitError { file, value, source })
    };
    if limits.memory_bytes != 0 {
        set("memory.max", limits.memory_bytes.to_string())?;
    }
    if limits.pids != 0 {
        set("pids.max", limits.pids.to_string())?;
    }
    if limits.cpu_percent != 0 {
        let quota_us = limits.cpu_percent.saturating_mul(CPU_PERIOD_US / 100);
        set("cpu.max", format!("{quota_us} {CPU_PERIOD_US}"))?;
    }
    Ok(())
}

/// How long the kernel may take to stop every process: one in an uninterruptible sleep holds it up.
const FREEZE_ROUNDS: usize = 200;
const FREEZE_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// Stops all processes of the group or lets them go on; returns once they all stand still. One that
/// does not is given up, and everything goes on (cgroup-v2.rst, "cgroup.freeze").
pub(crate) fn set_frozen(group: &OwnedFd, frozen: bool) -> Result<(), Errno> {
    write_file(group, "cgroup.freeze", if frozen { "1" } else { "0" })?;
    if !frozen {
        return Ok(());
    }
    for _ in 0..FREEZE_ROUNDS {
        if value_of(&read_file(group, "cgroup.events")?, "frozen") == Some(1) {
            return Ok(());
        }
        // A pause, in which the processes get to run to where they can stop.
        let _ = poll(&mut [], Some(&FREEZE_PAUSE));
    }
    write_file(group, "cgroup.freeze", "0")?;
    Err(Errno::TIMEDOUT)
}

/// Whether the kernel's OOM killer ever struck in the group.
pub(crate) fn was_out_of_memory(group: &OwnedFd) -> bool {
    let events = read_file(group, "memory.events").unwrap_or_default();
    value_of(&events, "oom_kill").is_some_and(|count| count > 0)
}

/// Number after `key` in a flat-keyed file.
pub(crate) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Sum of all `key=<number>` in a nested-keyed file such as io.stat.
pub(crate) fn sum_of(text: &str, key: &str) -> u64 {
    text.split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

/// Reads a short file of the kernel.
pub(crate) fn read_file(directory: impl AsFd, path: &str) -> Result<String, Errno> {
    let file = openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::with_capacity(4096);
    while rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))? > 0 {
        if text.len() > 256 * 1024 {
            break;
        }
        text.reserve(4096);
    }
    String::from_utf8(text).map_err(|_| Errno::ILSEQ)
}

fn write_file(directory: impl AsFd, path: &str, value: &str) -> Result<(), Errno> {
    let file = openat(directory, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_files_are_read_exactly() {
        let events = "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(value_of(events, "oom_kill"), Some(2));
        assert_eq!(value_of(events, "oom"), Some(1));
        assert_eq!(value_of(events, "swap"), None);
        let io = "254:0 rbytes=10 wbytes=20 rios=1\n254:16 rbytes=5 wbytes=7 rios=1\n";
        assert_eq!(sum_of(io, "rbytes"), 15);
        assert_eq!(sum_of(io, "wbytes"), 27);
        assert_eq!(sum_of("8:0 rbytes=18446744073709551615 rbytes=9", "rbytes"), u64::MAX);
    }
}
